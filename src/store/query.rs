//! What can be asked of the store: evidence, accounts, ended bans, audit.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::local_part;
use super::record::{AttemptRecord, Unban};
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
    /// As last spelled. Raw bytes: escape before showing.
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

/// Gathers what the attempts of one address say. They are given the latest first.
#[derive(Default)]
pub(super) struct HostSummary {
    record: HostRecord,
    accounts: HashMap<Vec<u8>, AccountSeen>,
}

impl HostSummary {
    pub(super) fn add(&mut self, attempt: AttemptRecord, lines_max: usize) {
        let record = &mut self.record;
        let times = u64::from(attempt.times);
        let (failures, successes) = match attempt.outcome {
            Outcome::Failure => (times, 0),
            Outcome::Success => (0, times),
        };
        record.failures += failures;
        record.successes += successes;
        record.first = Some(record.first.map_or(attempt.time, |first| first.min(attempt.time)));
        record.last = Some(record.last.map_or(attempt.time, |last| last.max(attempt.time)));
        if let Some(account) = attempt.account {
            let seen = self.accounts.entry(account.to_ascii_lowercase()).or_insert_with(|| AccountSeen {
                account,
                failures: 0,
                successes: 0,
                first: attempt.time,
                last: attempt.time,
            });
            seen.failures += failures;
            seen.successes += successes;
            seen.first = seen.first.min(attempt.time);
            seen.last = seen.last.max(attempt.time);
        }
        if let Some(line) = attempt.line.filter(|_| record.lines.len() < lines_max) {
            let AttemptRecord { time, jail, outcome, log, .. } = attempt;
            record.lines.push(EvidenceLine { time, jail, outcome, line, log });
        }
    }

    /// How many accounts other than `name` were tried.
    pub(super) fn others_than(&self, name: &[u8]) -> u64 {
        self.accounts.keys().filter(|account| !same_account(account, name)).count() as u64
    }

    pub(super) fn finish(mut self, accounts_max: usize) -> HostRecord {
        self.record.lines.reverse();
        let mut accounts: Vec<AccountSeen> = self.accounts.into_values().collect();
        accounts.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.account.cmp(&b.account)));
        self.record.accounts_more = accounts.len().saturating_sub(accounts_max) as u64;
        accounts.truncate(accounts_max);
        self.record.accounts = accounts;
        self.record
    }
}

/// Gathers from where an account was tried.
#[derive(Default)]
pub(super) struct AccountSummary(HashMap<Host, HostSeen>);

impl AccountSummary {
    pub(super) fn add(&mut self, attempt: &AttemptRecord) {
        let AttemptRecord { host, time, times, outcome, .. } = *attempt;
        let fresh = HostSeen { host, failures: 0, successes: 0, first: time, last: time, other_accounts: 0 };
        let seen = self.0.entry(host).or_insert(fresh);
        match outcome {
            Outcome::Failure => seen.failures += u64::from(times),
            Outcome::Success => seen.successes += u64::from(times),
        }
        seen.first = seen.first.min(time);
        seen.last = seen.last.max(time);
    }

    /// Those with a good login stay when there are too many: they are whom a helpdesk looks for.
    pub(super) fn finish(self, hosts_max: usize) -> AccountRecord {
        let mut hosts: Vec<HostSeen> = self.0.into_values().collect();
        hosts.sort_by_key(|seen| (seen.successes == 0, Reverse(seen.last), seen.host));
        let hosts_more = hosts.len().saturating_sub(hosts_max) as u64;
        hosts.truncate(hosts_max);
        hosts.sort_by_key(|seen| (Reverse(seen.last), seen.host));
        AccountRecord { hosts, hosts_more }
    }
}

/// Whether two spellings mean one account: without regard to case, and a missing domain fits any.
pub fn same_account(one: &[u8], other: &[u8]) -> bool {
    let domain = |name: &[u8]| {
        name.iter().position(|byte| *byte == b'@').map(|at| name[at + 1..].to_ascii_lowercase())
    };
    local_part(one).eq_ignore_ascii_case(local_part(other))
        && match (domain(one), domain(other)) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_domain_fits_any_and_another_domain_does_not() {
        assert!(same_account(b"Alice", b"alice@example.org"));
        assert!(same_account(b"alice@EXAMPLE.org", b"ALICE@example.org"));
        assert!(!same_account(b"alice@example.org", b"alice@example.net"));
        assert!(!same_account(b"alice", b"bob"));
    }
}
