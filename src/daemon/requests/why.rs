//! `why`: the evidence against an address, a network, an account.

use std::collections::BTreeMap;

use super::look::ended_ban;
use super::{Answer, Target, reply};
use crate::addr::{Host, Net};
use crate::control::protocol::{
    AccountInfo, AddressInfo, BanInfo, ErrorBody, ErrorCode, EvidenceLine, Response, TargetStatus, WhyReport,
};
use crate::daemon::engine::Engine;
use crate::limits::Limits;
use crate::store::{AccountRecord, HostRecord, Store, StoreError};
use crate::text::escape;

/// Addresses of a network, or of an account, whose evidence is gathered for one answer.
const HOSTS_MAX: usize = 64;

/// Evidence of several addresses.
type Evidence = Vec<(Host, HostRecord)>;

fn gather(store: &mut dyn Store, hosts: Vec<Host>) -> Result<Evidence, StoreError> {
    hosts.into_iter().map(|host| Ok((host, store.evidence(host)?))).collect()
}

impl Engine {
    pub(super) fn why(&mut self, text: &str, answer: Answer) {
        let text = text.trim().to_owned();
        match self.target(&text) {
            Err(error) => reply(answer, Response::Error(error)),
            Ok(Target::Jail(name)) => {
                let body = ErrorBody {
                    code: ErrorCode::BadRequest,
                    message: format!("{name} is a jail; why is asked of an address, a network or an account"),
                    help: Some(format!(
                        "banctl status {name} shows the jail, banctl bans --jail {name} its bans"
                    )),
                };
                reply(answer, Response::Error(body));
            }
            Ok(Target::Net(net)) => {
                let question = move |store: &mut dyn Store| {
                    let hosts = match net.as_host() {
                        Some(host) => vec![host],
                        None => store.hosts_in(net, HOSTS_MAX)?,
                    };
                    gather(store, hosts)
                };
                self.ask(question, move |engine, found: Result<Evidence, StoreError>| match found {
                    Ok(evidence) => {
                        let status = engine.net_status(&text, net);
                        reply(answer, engine.report(status, evidence, None));
                    }
                    Err(why) => reply(answer, Response::error(ErrorCode::Internal, why.to_string())),
                });
            }
            Ok(Target::Account(name)) => {
                let question_name = name.clone();
                let question = move |store: &mut dyn Store| {
                    let record = store.account(&question_name)?;
                    let hosts = record.hosts.iter().take(HOSTS_MAX).map(|seen| seen.host).collect();
                    Ok((gather(store, hosts)?, record))
                };
                let then =
                    move |engine: &mut Engine, found: Result<(Evidence, AccountRecord), StoreError>| {
                        match found {
                            Ok((evidence, record)) => {
                                let status = engine.account_status(&text, &name, &record);
                                reply(answer, engine.report(status, evidence, Some((&name, &record))));
                            }
                            Err(why) => reply(answer, Response::error(ErrorCode::Internal, why.to_string())),
                        }
                    };
                self.ask(question, then);
            }
        }
    }

    /// Puts the report together. `account`: the account it is about, if it is about one.
    fn report(
        &self,
        status: TargetStatus,
        evidence: Evidence,
        account: Option<(&str, &AccountRecord)>,
    ) -> Response {
        let known = account.is_some_and(|(_, record)| !record.hosts.is_empty())
            || evidence.iter().any(|(_, record)| record.last.is_some() || !record.earlier.is_empty());
        if !known && !status.banned && status.windows.is_empty() && status.grace_until.is_none() {
            let body = ErrorBody {
                code: ErrorCode::NotFound,
                message: format!("nothing is known of {}", status.target),
                help: None,
            };
            return Response::Error(body);
        }
        let addresses = account.map(|(_, record)| self.addresses(record)).unwrap_or_default();
        // By account, what would be kept takes a stronger word (`unban` in change.rs).
        let lifts = |one: &AddressInfo| one.banned && (one.other_accounts == 0 || one.successes > 0);
        let all = if addresses.is_empty() || addresses.iter().any(lifts) { "" } else { " --all-addresses" };
        let unban_command =
            status.banned.then(|| format!("banctl unban {}{all}", shell_word(&status.target)));
        let report = WhyReport {
            lines: lines(&evidence, account.map(|(name, _)| name), &self.config.limits),
            accounts: accounts(&evidence, account.map(|(name, _)| name)),
            addresses,
            earlier: earlier(&evidence),
            unban_command,
            status,
        };
        Response::Why(Box::new(report))
    }

    fn addresses(&self, record: &AccountRecord) -> Vec<AddressInfo> {
        record
            .hosts
            .iter()
            .map(|seen| AddressInfo {
                ip: seen.host.to_string(),
                failures: small(seen.failures),
                successes: small(seen.successes),
                last: Some(seen.last),
                banned: !self.live_bans(Net::host(seen.host)).is_empty(),
                other_accounts: small(seen.other_accounts),
            })
            .collect()
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The newest lines, newest last; about an account, those that name it where there are such.
fn lines(evidence: &Evidence, account: Option<&str>, limits: &Limits) -> Vec<EvidenceLine> {
    let mut lines: Vec<_> = evidence
        .iter()
        .flat_map(|(host, record)| record.lines.iter().map(move |line| (host, line)))
        .collect();
    if let Some(account) = account {
        let local = account.split('@').next().unwrap_or(account).to_ascii_lowercase();
        let names = |line: &[u8]| String::from_utf8_lossy(line).to_ascii_lowercase().contains(&local);
        if lines.iter().any(|(_, line)| names(&line.line)) {
            lines.retain(|(_, line)| names(&line.line));
        }
    }
    lines.sort_by_key(|(_, line)| line.time);
    let first = lines.len().saturating_sub(limits.evidence_lines_max);
    lines[first..]
        .iter()
        .map(|(host, line)| EvidenceLine {
            time: line.time,
            jail: line.jail.as_ref().map(ToString::to_string),
            event: line.outcome,
            ip: Some(host.to_string()),
            log: line.log.as_ref().map(|log| log.display().to_string()).unwrap_or_default(),
            line: escape(&line.line),
        })
        .collect()
}

/// Accounts over all addresses, the latest first; about an account, only its own spellings.
fn accounts(evidence: &Evidence, account: Option<&str>) -> Vec<AccountInfo> {
    let local = |name: &str| name.split('@').next().unwrap_or(name).to_ascii_lowercase();
    let mut sums: BTreeMap<String, AccountInfo> = BTreeMap::new();
    for seen in evidence.iter().flat_map(|(_, record)| &record.accounts) {
        let name = escape(&seen.account);
        if account.is_some_and(|account| local(account) != local(&name)) {
            continue;
        }
        let sum = sums.entry(name.clone()).or_insert(AccountInfo {
            account: name,
            failures: 0,
            successes: 0,
            last: None,
        });
        sum.failures = sum.failures.saturating_add(small(seen.failures));
        sum.successes = sum.successes.saturating_add(small(seen.successes));
        sum.last = sum.last.max(Some(seen.last));
    }
    let mut accounts: Vec<AccountInfo> = sums.into_values().collect();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.last));
    accounts
}

/// Ended bans over all addresses, the latest first, each once.
fn earlier(evidence: &Evidence) -> Vec<BanInfo> {
    let mut ends: Vec<_> = evidence.iter().flat_map(|(_, record)| &record.earlier).collect();
    ends.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| (&a.jail, a.target).cmp(&(&b.jail, b.target))));
    ends.dedup();
    ends.into_iter().filter_map(ended_ban).collect()
}

/// A word that a shell takes as it is meant: an account's name comes from a log.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:/@+%".contains(&b);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("-- '{}'", escape(text.as_bytes()).replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_in_the_suggested_command_stays_one_word() {
        assert_eq!(shell_word("alice@example.org"), "alice@example.org");
        assert_eq!(shell_word("a b"), "-- 'a b'");
        assert_eq!(shell_word("x'; reboot"), "-- 'x'\\''; reboot'");
        assert_eq!(shell_word("--all"), "-- '--all'");
    }
}
