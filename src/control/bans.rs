//! Bodies about bans: those that are, those that a person makes or lifts, and who is never banned.

use serde::{Deserialize, Serialize};

use super::epoch;
use super::protocol::ErrorBody;
use crate::jail::{Ban, Origin};
use crate::time::Timestamp;

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
    pub fn of(ban: &Ban) -> BanInfo {
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

/// `unban`: the answer for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unbanned {
    pub target: String,
    pub lifted: Vec<Lifted>,
    /// What stayed banned, and why.
    pub kept: Vec<Kept>,
    #[serde(with = "epoch::option")]
    pub grace_until: Option<Timestamp>,
    /// Length of `lifted`, also where that list was cut at [`LIFTED_SHOWN_MAX`](super::protocol::LIFTED_SHOWN_MAX).
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
    /// Hand this back as [`Request::Bans`](super::protocol::Request::Bans)' `after`; `None`: that was all.
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
