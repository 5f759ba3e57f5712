//! What can be asked of the store: evidence, accounts, ended bans, audit.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{Audit, Unban};
use crate::addr::Host;
use crate::filter::Outcome;
use crate::jail::JailName;
use crate::time::Timestamp;

/// All that is known of one address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostRecord {
    /// The last lines, oldest first; at most `limits.evidence_lines_max`.
    pub lines: Vec<EvidenceLine>,
    /// Accounts tried or used from there, the latest first; at most `limits.accounts_per_host_max`.
    pub accounts: Vec<AccountSeen>,
    /// Accounts beyond that cap.
    pub accounts_more: u64,
    pub failures: u64,
    pub successes: u64,
    /// Time of the first and the last attempt on record.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Bans that ended, of the address and of networks that hold it, the latest first; each with who lifted
    /// it, when and why.
    pub earlier: Vec<Unban>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceLine {
    pub time: Timestamp,
    pub jail: Option<JailName>,
    pub outcome: Outcome,
    /// Raw bytes of the log: escape before showing.
    pub line: Vec<u8>,
    pub log: Option<Arc<Path>>,
}

/// One account as seen from one address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountSeen {
    /// As first spelled. Raw bytes: escape before showing.
    pub account: Vec<u8>,
    pub failures: u64,
    pub successes: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// The addresses from which an account was tried or used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountRecord {
    /// The latest first; at most `limits.accounts_per_host_max`.
    pub hosts: Vec<HostSeen>,
    /// Addresses beyond that cap.
    pub hosts_more: u64,
}

/// One address as seen from one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSeen {
    pub host: Host,
    pub failures: u64,
    /// Good logins of this account from there.
    pub successes: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// How many other accounts were tried from there.
    pub other_accounts: u64,
}

/// One entry of the audit trail.
pub type AuditEntry = Audit;
