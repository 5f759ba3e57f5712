//! The questions that evidence answers, over whatever keeps it.

use std::ops::RangeInclusive;

use super::StoreError;
use super::index::{self, ended_key, host_key};
use super::query::{AccountRecord, AccountSummary, HostRecord, HostSummary, same_account};
use super::record::{Audit, Change, Unban};
use crate::addr::{Host, Net};
use crate::limits::Limits;

/// Attempts looked at for one address or account, the latest ones. Records.
const ATTEMPTS_MAX: usize = 4096;
/// Attempts looked at for each address of an account, to see whether it tried others. Records.
const ATTEMPTS_BESIDE_MAX: usize = 256;
/// Earlier bans shown for an address. Bans.
const EARLIER_MAX: usize = 64;

/// Keeps attempts, unbans and audit entries, and finds them by key.
pub(super) trait Evidence {
    /// Calls `sink` with what has one of `keys`, the latest first, until it answers false or `limit` is
    /// reached. A key may bring up others too: `sink` compares.
    fn visit(
        &mut self,
        keys: &[RangeInclusive<u64>],
        limit: usize,
        sink: &mut dyn FnMut(Change) -> bool,
    ) -> Result<(), StoreError>;

    /// The keys in `range` that something has; at most `limit` places looked at.
    fn keys(&mut self, range: RangeInclusive<u64>, limit: usize) -> Result<Vec<u64>, StoreError>;
}

fn one(key: u64) -> [RangeInclusive<u64>; 1] {
    [key..=key]
}

fn attempts_of(
    kept: &mut impl Evidence,
    host: Host,
    limit: usize,
    lines_max: usize,
) -> Result<HostSummary, StoreError> {
    let mut summary = HostSummary::default();
    kept.visit(&one(host_key(host)), limit, &mut |change| {
        if let Change::Attempt(attempt) = change
            && attempt.host == host
        {
            summary.add(attempt, lines_max);
        }
        true
    })?;
    Ok(summary)
}

pub(super) fn host(kept: &mut impl Evidence, host: Host, limits: &Limits) -> Result<HostRecord, StoreError> {
    let summary = attempts_of(kept, host, ATTEMPTS_MAX, limits.evidence_lines_max)?;
    let mut record = summary.finish(limits.accounts_per_host_max);
    // Wider networks and odd prefixes are banned by hand only, and seldom; each one costs a look.
    let prefixes: &[u8] = if host.is_ipv4() {
        &[32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16]
    } else {
        &[128, 112, 96, 80, 64, 60, 56, 52, 48, 44, 40, 36, 32]
    };
    let mut keys: Vec<RangeInclusive<u64>> = Vec::with_capacity(prefixes.len());
    keys.extend(prefixes.iter().map(|&prefix| ended_key(Net::of(host, prefix))).map(|key| key..=key));
    kept.visit(&keys, ATTEMPTS_MAX, &mut |change| {
        if let Change::Unban(unban) = change
            && unban.target.contains(host)
        {
            record.earlier.push(unban);
        }
        record.earlier.len() < EARLIER_MAX
    })?;
    Ok(record)
}

pub(super) fn account(
    kept: &mut impl Evidence,
    name: &str,
    limits: &Limits,
) -> Result<AccountRecord, StoreError> {
    let mut summary = AccountSummary::default();
    kept.visit(&one(index::account_key(name.as_bytes())), ATTEMPTS_MAX, &mut |change| {
        if let Change::Attempt(attempt) = change
            && attempt.account.as_ref().is_some_and(|account| same_account(account, name.as_bytes()))
        {
            summary.add(&attempt);
        }
        true
    })?;
    let mut record = summary.finish(limits.accounts_per_host_max);
    for seen in &mut record.hosts {
        let beside = attempts_of(kept, seen.host, ATTEMPTS_BESIDE_MAX, 0)?;
        seen.other_accounts = beside.others_than(name.as_bytes());
    }
    Ok(record)
}

pub(super) fn hosts_in(kept: &mut impl Evidence, net: Net, limit: usize) -> Result<Vec<Host>, StoreError> {
    let range = index::hosts_keys(net);
    let mut hosts: Vec<Host> = Vec::new();
    if net.is_ipv4() {
        // The key says it all.
        let keys = kept.keys(range, 64 * ATTEMPTS_MAX)?;
        hosts.extend(keys.iter().map(|key| Host::new(std::net::Ipv4Addr::from(*key as u32).into())));
    } else {
        kept.visit(&[range], ATTEMPTS_MAX, &mut |change| {
            if let Change::Attempt(attempt) = change
                && net.contains(attempt.host)
            {
                hosts.push(attempt.host);
            }
            true
        })?;
    }
    hosts.sort_unstable();
    hosts.dedup();
    hosts.truncate(limit);
    Ok(hosts)
}

pub(super) fn ended(kept: &mut impl Evidence, limit: usize) -> Result<Vec<Unban>, StoreError> {
    let mut found = Vec::new();
    kept.visit(&one(index::ENDED), limit, &mut |change| {
        if let Change::Unban(unban) = change {
            found.push(unban);
        }
        true
    })?;
    Ok(found)
}

pub(super) fn audit(kept: &mut impl Evidence, limit: usize) -> Result<Vec<Audit>, StoreError> {
    let mut found = Vec::new();
    kept.visit(&one(index::AUDIT), limit, &mut |change| {
        if let Change::Audit(audit) = change {
            found.push(audit);
        }
        true
    })?;
    Ok(found)
}
