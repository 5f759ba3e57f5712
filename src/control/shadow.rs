//! What `banctl shadow` answers.

use serde::{Deserialize, Serialize};

use super::epoch;
use super::status::EvidenceLine;
use crate::time::Timestamp;

/// Who one would ban and the other not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// What is compared: bans from here to `until`.
    #[serde(with = "epoch")]
    pub since: Timestamp,
    #[serde(with = "epoch")]
    pub until: Timestamp,
    /// fail2ban's log, and whether it can be read.
    pub log: String,
    pub log_state: String,
    /// How far two times of one ban may be apart. Seconds.
    pub tolerance: u64,
    /// Bans that both made.
    pub both: u64,
    /// Bans of who was banned by the other already, or still.
    pub covered: u64,
    /// Bans too young to tell.
    pub undecided: u64,
    /// The latest first.
    pub only_portero: Vec<Difference>,
    pub only_fail2ban: Vec<Difference>,
    /// Differences beyond the number shown.
    pub more: u64,
}

/// One ban that the other side did not make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub jail: String,
    pub target: String,
    #[serde(with = "epoch")]
    pub at: Timestamp,
    /// What most likely makes the difference.
    pub why: String,
    /// Log lines that portero's jails counted, up to the ban, oldest first.
    pub lines: Vec<EvidenceLine>,
    /// What fail2ban's log says of the target, up to the ban, oldest first. Escaped.
    pub fail2ban: Vec<String>,
}
