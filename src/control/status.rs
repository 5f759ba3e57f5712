//! Bodies of `status` and `why`: how the daemon, a jail, an address or an account fares, and on what evidence.

use serde::{Deserialize, Serialize};

use super::bans::BanInfo;
use super::epoch;
use crate::filter::Outcome;
use crate::limits::Limits;
use crate::source::LogStatus;
use crate::time::Timestamp;

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
    pub event: Outcome,
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
    /// It guards, and a person should know this: how a client fools its filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// `status JAIL`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JailReport {
    #[serde(flatten)]
    pub info: JailInfo,
    pub settings: JailNumbers,
    /// The latest, [`PAGE_BANS_MAX`](super::protocol::PAGE_BANS_MAX) at most; `banctl bans --jail` lists them all.
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
