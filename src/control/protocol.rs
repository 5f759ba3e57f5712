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

pub use super::settings::{IncrementReport, JailChange, JailSettingsReport, SettingsReport};
use super::shadow::ShadowReport;
use crate::limits::Limits;
use crate::source::LogStatus;
use crate::time::Timestamp;

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

/// One ban, in force or over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BanInfo {
    pub jail: String,
    pub target: String,
    #[serde(with = "epoch")]
    pub since: Timestamp,
    /// `None`: for ever.
    #[serde(with = "epoch::option")]
    pub until: Option<Timestamp>,
    pub failures: u32,
    pub count: u32,
    /// `jail`, `manual`, `import`, `kernel`.
    pub origin: String,
    pub reason: Option<String>,
    pub effective: bool,
    /// Only where it is over: when and how it ended.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ending>,
}

impl BanInfo {
    /// `ban` as it is shown.
    pub fn of(ban: &crate::jail::Ban) -> BanInfo {
        use crate::jail::Origin;
        BanInfo {
            jail: ban.jail.to_string(),
            target: ban.target.to_string(),
            since: ban.since,
            until: ban.until,
            failures: ban.failures,
            count: ban.count,
            origin: match ban.origin {
                Origin::Jail => "jail",
                Origin::Manual => "manual",
                Origin::Import => "import",
                Origin::Kernel => "kernel",
            }
            .to_owned(),
            reason: ban.reason.clone(),
            effective: ban.effective,
            ended: None,
        }
    }
}

/// How a ban ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    #[serde(with = "epoch")]
    pub ended_at: Timestamp,
    /// `expired`, `unban`, `flush`, `allowed`, `reload`.
    pub ended_how: String,
    /// Who lifted it, where a person did.
    pub ended_by: Option<String>,
    pub ended_reason: Option<String>,
}

/// What a target was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    Address,
    Network,
    Account,
}

/// `status TARGET`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub target: String,
    pub kind: TargetKind,
    /// An account counts as banned if an address that tried it is.
    pub banned: bool,
    pub bans: Vec<BanInfo>,
    #[serde(with = "epoch::option")]
    pub grace_until: Option<Timestamp>,
    pub allowed: bool,
    /// Failures now counted against it, by jail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowInfo>,
}

/// Failures within findtime that have not led to a ban.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowInfo {
    pub jail: String,
    pub key: String,
    pub failures: u32,
    pub maxretry: u32,
}

/// `why TARGET`: the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyReport {
    #[serde(flatten)]
    pub status: TargetStatus,
    /// Newest last.
    pub lines: Vec<EvidenceLine>,
    /// Of an address or network: the accounts tried from there. Of an account: itself, by spelling.
    pub accounts: Vec<AccountInfo>,
    /// Of an account: the addresses that tried it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressInfo>,
    /// Bans that are over, latest first.
    pub earlier: Vec<BanInfo>,
    /// The command that lifts it; `None` where there is nothing to lift.
    pub unban_command: Option<String>,
}

/// A log line that counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceLine {
    #[serde(with = "epoch")]
    pub time: Timestamp,
    /// `None`: a line that no jail counted (a good login).
    pub jail: Option<String>,
    pub event: crate::filter::Outcome,
    pub ip: Option<String>,
    pub log: String,
    /// Control bytes and invalid UTF-8 escaped.
    pub line: String,
}

/// An account tried from an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountInfo {
    pub account: String,
    pub failures: u32,
    pub successes: u32,
    #[serde(with = "epoch::option")]
    pub last: Option<Timestamp>,
}

/// An address that tried an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddressInfo {
    pub ip: String,
    pub failures: u32,
    pub successes: u32,
    #[serde(with = "epoch::option")]
    pub last: Option<Timestamp>,
    pub banned: bool,
    /// Other accounts tried from there.
    pub other_accounts: u32,
}

/// `status` without a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    pub version: String,
    /// Seconds.
    pub uptime: u64,
    /// The backend's name.
    pub firewall: String,
    /// Whether the kernel holds what it should.
    pub in_step: bool,
    pub jails: Vec<JailInfo>,
    pub caps: Limits,
    /// What is wrong beside the jails: store, firewall, clock, configuration.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Nothing is enforced: log-only, or `--shadow`.
    #[serde(default)]
    pub shadow: bool,
    /// What the daemon noticed and a person should know, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a jail fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JailState {
    /// Reads at least one log.
    Guarding,
    /// None of its logs is there.
    Waiting,
    /// Its configuration is bad; it does nothing.
    Broken,
    /// Its configuration went bad at a reload; it guards on in its last good form.
    Outdated,
}

/// One jail in the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JailInfo {
    pub name: String,
    pub state: JailState,
    /// Failures counted since the jail was made.
    pub failures: u64,
    /// Addresses (keys) with open failures.
    pub tracked: u64,
    /// Bans in force.
    pub banned: u64,
    pub banned_total: u64,
    pub logs: Vec<LogStatus>,
    pub problem: Option<String>,
}

/// `status JAIL`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JailReport {
    #[serde(flatten)]
    pub info: JailInfo,
    pub settings: JailNumbers,
    /// The latest, [`PAGE_BANS_MAX`] at most; `banctl bans --jail` lists them all.
    pub bans: Vec<BanInfo>,
}

/// A jail's settings as a person wants them read out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JailNumbers {
    pub filter: String,
    pub maxretry: u32,
    pub findtime_secs: u64,
    /// `None`: for ever.
    pub bantime_secs: Option<u64>,
    pub ports: String,
    pub action: String,
}

/// `unban`: the answer for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unbanned {
    pub target: String,
    pub lifted: Vec<Lifted>,
    /// What stayed banned, and why.
    pub kept: Vec<Kept>,
    #[serde(with = "epoch::option")]
    pub grace_until: Option<Timestamp>,
    /// Length of `lifted`, also where that list was cut at [`LIFTED_SHOWN_MAX`].
    #[serde(default)]
    pub lifted_total: u64,
    /// The target was no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// A ban that was lifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lifted {
    pub jail: String,
    pub target: String,
}

/// A ban that was not lifted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub target: String,
    pub why: String,
}

/// `ban`: the answer for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BanAnswer {
    Refused { target: String, error: ErrorBody },
    Banned(Banned),
}

/// A ban made by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Banned {
    pub target: String,
    pub jail: String,
    #[serde(with = "epoch::option")]
    pub until: Option<Timestamp>,
    /// It took the place of a ban that was in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewed: bool,
}

/// One page of `bans`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BansPage {
    pub bans: Vec<BanInfo>,
    /// Hand this back as [`Request::Bans`]' `after`; `None`: that was all.
    pub after: Option<String>,
}

/// `allow add` and `allow rm`: the answer for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllowAnswer {
    pub target: String,
    /// Whether it changed anything.
    pub done: bool,
    #[serde(with = "epoch::option")]
    pub until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// One entry of what is never banned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllowEntry {
    pub target: String,
    /// Where it comes from: `banctl`, `ignoreip`, `self`, `gateway`, `resolver`, `trusted-proxy`, `session`.
    pub source: String,
    pub by: Option<String>,
    pub reason: Option<String>,
    #[serde(with = "epoch::option")]
    pub until: Option<Timestamp>,
}

/// `reload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// False if anything is wrong with the configuration.
    pub ok: bool,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
    pub unchanged: Vec<String>,
    pub problems: Vec<ProblemInfo>,
}

/// Something wrong in the configuration, of `reload` and `check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProblemInfo {
    /// `None`: not of one jail.
    pub jail: Option<String>,
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    pub message: String,
    /// The whole report: place, message, source line, caret.
    pub text: String,
}

impl ProblemInfo {
    /// `error` as it is shown; of no jail.
    pub fn of(error: &crate::config::ReportedError) -> ProblemInfo {
        let place = error.place.as_deref();
        ProblemInfo {
            jail: None,
            file: Some(error.file.clone()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            message: error.message.clone(),
            text: error.to_string(),
        }
    }
}

/// `ping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// Every present log is open and the firewall is in step.
    pub ok: bool,
    pub version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// `--flush`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flushed {
    pub ok: bool,
    /// Bans ended.
    pub ended: u64,
}

/// `stop`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    pub ok: bool,
}

/// Times as JSON has them: epoch seconds, an integer where there is no fraction.
pub mod epoch {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::time::Timestamp;

    pub fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        time.to_json().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        f64::deserialize(from).map(Timestamp::from_secs_f64)
    }

    /// The same, `null` for none.
    pub mod option {
        use super::*;

        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
            time.map(Timestamp::to_json).serialize(to)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<f64>::deserialize(from)?.map(Timestamp::from_secs_f64))
        }
    }
}
