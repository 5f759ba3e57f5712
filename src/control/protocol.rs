//! What goes over the control socket: one [`RequestLine`] up, one [`ResponseLine`] down, each one line of
//! JSON; any number of such pairs on one connection.
//!
//! ```text
//! {"v":1,"command":"status","target":"203.0.113.7"}
//! {"v":1,"answer":"target","body":{"target":"203.0.113.7","kind":"address","banned":true,...}}
//! ```
//! `body` is what `banctl --json` prints, so keys here never change their meaning. New keys may come; a reader
//! passes over keys it does not know.

use serde::{Deserialize, Serialize};

pub use super::bans::{
    AllowAnswer, AllowEntry, BanAnswer, BanInfo, Banned, BansPage, Ending, Kept, Lifted, Unbanned,
};
pub use super::settings::{IncrementReport, JailChange, JailSettingsReport, SettingsReport};
pub use super::shadow::ShadowReport;
pub use super::status::{
    AccountInfo, AddressInfo, EvidenceLine, JailInfo, JailNumbers, JailReport, JailState, Overview,
    TargetKind, TargetStatus, WhyReport, WindowInfo,
};
pub use super::upkeep::{Flushed, Pong, ProblemInfo, ReloadReport, Stopping};

/// The protocol's version; another one is answered with [`ErrorCode::Version`].
pub const VERSION: u32 = 1;

/// The most bans in one [`BansPage`]; a client asks for the next page with its `after`.
pub const PAGE_BANS_MAX: usize = 1000;

/// The most entries of one `lifted` list; `lifted_total` counts the rest too.
pub const LIFTED_SHOWN_MAX: usize = 10_000;

/// One request as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    pub v: u32,
    #[serde(flatten)]
    pub request: Request,
}

/// What can be asked of a running daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// The overview, or what is known of one jail, address, network or account, tried in that order;
    /// `jail:NAME` and `account:NAME` force one. Answers: [`Response::Overview`], [`Response::Jail`],
    /// [`Response::Target`].
    Status {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// [`Response::Why`].
    Why { target: String },
    /// [`Response::Unban`], one entry for each target; with `all` one entry whose target is `all`.
    Unban {
        #[serde(default)]
        targets: Vec<String>,
        #[serde(default)]
        all: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jail: Option<String>,
        /// For how long no jail may ban the target again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// By account: also the addresses that tried other accounts.
        #[serde(default)]
        all_addresses: bool,
    },
    /// [`Response::Ban`], one entry for each target.
    Ban {
        targets: Vec<String>,
        /// `None`: the jail `manual`, all ports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jail: Option<String>,
        /// `None`: the jail's bantime. Negative: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_secs: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Also networks wider than /16 (IPv4) or /32 (IPv6).
        #[serde(default)]
        force: bool,
    },
    /// [`Response::Bans`]: one page, ordered so that `after` (of the page before) goes on without a gap.
    Bans {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jail: Option<String>,
        /// The bans that are over, latest first, instead of those in force.
        #[serde(default)]
        ended: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Never ban `targets`, for `for_secs` or for good. [`Response::Allow`].
    AllowAdd {
        targets: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// [`Response::Allow`].
    AllowRm { targets: Vec<String> },
    /// [`Response::AllowList`].
    AllowList,
    /// Reads the configuration anew. [`Response::Reload`].
    Reload,
    /// [`Response::Ping`].
    Ping,
    /// In shadow mode: whose bans differ. [`Response::Shadow`].
    Shadow {
        /// For how long back; `None`: since shadow mode began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tolerance_secs: Option<u64>,
    },
    /// Ends every ban and removes the table. [`Response::Flush`].
    Flush,
    /// Everything a jail is told, as it is in force now. [`Response::JailSettings`].
    JailSettings { jail: String },
    /// Other settings for one jail, until the next reload. [`Response::JailSettings`], as they are then.
    JailSet {
        jail: String,
        #[serde(flatten)]
        change: JailChange,
    },
    /// What holds for all jails. [`Response::Settings`].
    Settings,
    /// Ends the daemon as SIGTERM does; the bans stay in the kernel. [`Response::Stop`].
    Stop,
}

impl Request {
    /// The command as a person types it.
    pub fn command(&self) -> &'static str {
        match self {
            Request::Status { .. } => "status",
            Request::Why { .. } => "why",
            Request::Unban { .. } => "unban",
            Request::Ban { .. } => "ban",
            Request::Bans { .. } => "bans",
            Request::AllowAdd { .. } => "allow add",
            Request::AllowRm { .. } => "allow rm",
            Request::AllowList => "allow list",
            Request::Reload => "reload",
            Request::Ping => "ping",
            Request::Shadow { .. } => "shadow",
            Request::Flush => "flush",
            Request::JailSettings { .. } => "jail settings",
            Request::JailSet { .. } => "jail set",
            Request::Settings => "settings",
            Request::Stop => "stop",
        }
    }
}

/// One answer as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseLine {
    pub v: u32,
    #[serde(flatten)]
    pub response: Response,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "body", rename_all = "kebab-case")]
pub enum Response {
    Overview(Box<Overview>),
    Jail(Box<JailReport>),
    Target(TargetStatus),
    Why(Box<WhyReport>),
    Unban(Vec<Unbanned>),
    Ban(Vec<BanAnswer>),
    Bans(BansPage),
    Allow(Vec<AllowAnswer>),
    AllowList(Vec<AllowEntry>),
    Reload(ReloadReport),
    Ping(Pong),
    Shadow(Box<ShadowReport>),
    Flush(Flushed),
    JailSettings(Box<JailSettingsReport>),
    Settings(SettingsReport),
    Stop(Stopping),
    Error(ErrorBody),
}

impl Response {
    /// An error without help.
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Response {
        Response::Error(ErrorBody { code, message: message.into(), help: None })
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// What failed, on what, and why.
    pub message: String,
    /// What helps, where something does.
    pub help: Option<String>,
}

/// The kinds of errors, each with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The peer's role does not allow it.
    NotPermitted,
    /// The target is no address, network or account, or the request makes no sense.
    BadRequest,
    /// No such jail.
    UnknownJail,
    /// Not to be banned: own, loopback, ignored, too wide.
    NeverBanned,
    /// Nothing known, nothing to lift.
    NotFound,
    /// The request is longer than `limits.request_bytes_max`.
    TooLarge,
    /// Too many clients, or the engine's queue is full.
    Busy,
    /// The peer was too slow, or the daemon was.
    Timeout,
    /// Another version of the protocol.
    Version,
    /// No daemon answers (made by the client).
    Unreachable,
    /// The configuration is bad.
    Config,
    /// The daemon failed at it: disk, kernel.
    Internal,
    /// A code that a newer daemon knows.
    #[serde(other)]
    Other,
}

impl ErrorCode {
    /// The exit code: sysexits as DESIGN lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::NotPermitted => 77,
            ErrorCode::BadRequest | ErrorCode::UnknownJail | ErrorCode::TooLarge => 64,
            ErrorCode::Busy | ErrorCode::Timeout | ErrorCode::Version | ErrorCode::Unreachable => 69,
            ErrorCode::Config => 78,
            ErrorCode::NeverBanned | ErrorCode::NotFound | ErrorCode::Internal | ErrorCode::Other => 1,
        }
    }
}
