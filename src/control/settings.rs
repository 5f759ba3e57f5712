//! The part of the protocol that tells and changes settings: of one jail, and of all.

use serde::{Deserialize, Serialize};

/// Everything a jail is told, as it is in force now. Where a jail of portero's own has no such setting, it is
/// what portero does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JailSettingsReport {
    pub jail: String,
    /// `file`, `systemd`.
    pub backend: String,
    pub maxretry: u32,
    pub findtime_secs: u64,
    /// `None`: for ever.
    pub bantime_secs: Option<u64>,
    pub increment: IncrementReport,
    /// Lines of evidence kept for each address.
    pub maxmatches: u64,
    /// Lines that one pattern may span.
    pub maxlines: u64,
    /// The global entries, then the jail's own.
    pub ignoreip: Vec<String>,
    pub ignoreself: bool,
    pub ignorecommand: Option<String>,
    pub ignorecache: Option<String>,
    /// The log files that are there.
    pub logs: Vec<String>,
    pub log_encoding: String,
    pub log_timezone: Option<String>,
    pub journalmatch: Vec<String>,
    /// As configured.
    pub prefregex: Option<String>,
    pub failregex: Vec<String>,
    pub ignoreregex: Vec<String>,
    pub datepattern: Option<String>,
    pub usedns: String,
    pub actions: Vec<String>,
}

/// How bans grow, as configured; `None` where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IncrementReport {
    pub enabled: Option<bool>,
    pub factor: Option<String>,
    pub formula: Option<String>,
    pub multipliers: Option<String>,
    pub maxtime_secs: Option<u64>,
    pub rndtime_secs: Option<u64>,
    pub overalljails: Option<bool>,
}

/// One change of a jail's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "setting", content = "value", rename_all = "kebab-case")]
pub enum JailChange {
    /// Seconds; negative: for ever. Bans in force keep their end.
    Bantime(f64),
    /// Seconds.
    Findtime(f64),
    /// Failures, 1 to [`MAXRETRY_MAX`](crate::jail::MAXRETRY_MAX).
    Maxretry(u32),
    Ignoreself(bool),
    /// Entries for the jail's own list; what is there already stays once.
    AddIgnoreip(Vec<String>),
    /// One entry off the jail's own list.
    DelIgnoreip(String),
}

/// What holds for all jails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsReport {
    /// Of portero's own log: `INFO`, or what RUST_LOG says.
    pub log_level: String,
    /// `SYSTEMD-JOURNAL`, `STDERR`, or the file that gets lines in fail2ban's form.
    pub log_target: String,
    /// Where the store is.
    pub state_dir: String,
    /// How long ended bans are kept.
    pub history_secs: u64,
    /// Evidence lines kept for each address.
    pub evidence_lines_max: u64,
}
