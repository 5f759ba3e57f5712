//! The summary of a scan, for people: what each filter found, who tried most, what was tried most, when.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use chrono_tz::Tz;
use smallvec::SmallVec;

use super::pairs::Pairs;
use super::rows::{Place, Row, Rows};
use super::times::Times;
use super::{Output, Totals};
use crate::addr::Host;
use crate::banctl::table::{Cell, Look, Table, Tone, cell, clock};
use crate::filter::{Attempt, Outcome};
use crate::text::count;
use crate::time::{Timestamp, show_duration};

/// Addresses and accounts told apart; what comes after them is in the totals only. Entries of each.
const KEYS_MAX: usize = 1_000_000;
/// Pairs of address and account told apart. Entries.
const PAIRS_MAX: usize = 4_000_000;
/// Longer accounts are told apart by their beginning. Bytes.
const ACCOUNT_BYTES_MAX: usize = 256;
/// Lines of the tables of addresses and accounts.
const TOP: usize = 10;

/// Failures and successes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    failures: u64,
    successes: u64,
}

impl Tally {
    fn add(&mut self, outcome: Outcome, times: u64) {
        match outcome {
            Outcome::Failure => self.failures += times,
            Outcome::Success => self.successes += times,
        }
    }
}

/// An attempt on its way into the tables.
#[derive(Debug)]
struct Pending {
    host: Option<Host>,
    /// Where its account is in [`Report::names`].
    account: Option<std::ops::Range<usize>>,
    outcome: Outcome,
    times: u32,
    time: Option<Timestamp>,
    /// Where the rows of address and account are sought.
    places: (Place, Place),
}

/// Attempts that go into the tables together. The tables are larger than the processor's caches, so a look into them
/// waits for memory; many looks one right after another wait together.
const PENDING_MAX: usize = 128;

/// An account in lower case; nearly all of them fit where they stand.
type Account = SmallVec<[u8; 22]>;

/// Counts as it goes. Nothing is allocated for an attempt unless it brings a new address or account.
pub(super) struct Report {
    filters: Vec<Tally>,
    all: Tally,
    /// Failures whose line and session name no address.
    nowhere: u64,
    hosts: Rows<Host>,
    accounts: Rows<Account>,
    pairs: Pairs,
    pending: Vec<Pending>,
    /// The accounts of those pending, in lower case.
    names: Vec<u8>,
    times: Times,
    /// Some cap was reached.
    full: bool,
}

impl Report {
    pub fn new(filters: usize) -> Report {
        Report {
            filters: vec![Tally::default(); filters],
            all: Tally::default(),
            nowhere: 0,
            hosts: Rows::new(KEYS_MAX),
            accounts: Rows::new(KEYS_MAX),
            pairs: Pairs::new(PAIRS_MAX),
            pending: Vec::with_capacity(PENDING_MAX),
            names: Vec::new(),
            times: Times::default(),
            full: false,
        }
    }
}

impl Output for Report {
    fn begin(&mut self, _file: &[u8]) {}

    fn attempt(&mut self, _line: u64, attempt: &Attempt<'_>, again: bool) {
        let times = u64::from(attempt.times);
        if times == 0 {
            return;
        }
        self.filters[attempt.filter].add(attempt.outcome, times);
        if again {
            return;
        }
        self.all.add(attempt.outcome, times);
        if let Some(time) = attempt.time {
            self.times.add(time);
        }
        if attempt.host.is_none() && attempt.outcome == Outcome::Failure {
            self.nowhere += times;
        }
        let account = attempt.user.map(|user| {
            let start = self.names.len();
            self.names.extend_from_slice(&user[..user.len().min(ACCOUNT_BYTES_MAX)]);
            self.names[start..].make_ascii_lowercase();
            start..self.names.len()
        });
        let Attempt { host, outcome, times, time, .. } = *attempt;
        let name = account.clone().map(|account| self.accounts.place(&self.names[account]));
        let places = (host.map(|host| self.hosts.place(&host)).unwrap_or_default(), name.unwrap_or_default());
        self.pending.push(Pending { host, account, outcome, times, time, places });
        if self.pending.len() == PENDING_MAX {
            self.settle();
        }
    }

    fn block(&mut self, _first_line: u64, _block: &[u8]) -> io::Result<()> {
        self.settle();
        Ok(())
    }
}

impl Report {
    /// Puts what is pending into the tables.
    fn settle(&mut self) {
        for attempt in &mut self.pending {
            let (host, account) = &mut attempt.places;
            self.hosts.fetch(host);
            self.accounts.fetch(account);
        }
        for attempt in &self.pending {
            let mut count = |row: Option<(u32, &mut Row)>| {
                self.full |= row.is_none();
                row.map(|(number, row)| {
                    row.add(attempt.outcome, attempt.times, attempt.time);
                    number
                })
            };
            let host = attempt
                .host
                .and_then(|host| count(self.hosts.row(attempt.places.0, |known| *known == host, || host)));
            let account = attempt.account.clone().and_then(|account| {
                let name = &self.names[account];
                let make = || Account::from_slice(name);
                count(self.accounts.row(attempt.places.1, |known| known[..] == *name, make))
            });
            if let (Some(host), Some(account)) = (host, account) {
                self.full |= !self.pairs.add(host, account);
            }
        }
        self.pending.clear();
        self.names.clear();
    }

    /// The whole summary. `zone`: for the times shown, the zone of the log. `elapsed`: reading and matching.
    pub fn text(
        &mut self,
        look: Look,
        zone: Tz,
        filters: &[String],
        totals: &Totals,
        elapsed: Duration,
    ) -> String {
        self.settle();
        let mut out = self.head(zone, totals, elapsed);
        let mut table = Table::new(&["FILTER", "FAILURES", "SUCCESSES"]);
        let mut found: Vec<(&str, Tally)> = Vec::new();
        for (filter, tally) in filters.iter().zip(&self.filters) {
            // One filter in several modes.
            match found.iter_mut().find(|(name, _)| name == filter) {
                Some((_, sum)) => {
                    sum.failures = sum.failures.max(tally.failures);
                    sum.successes = sum.successes.max(tally.successes);
                }
                None => found.push((filter, *tally)),
            }
        }
        let silent = found.iter().filter(|(_, tally)| *tally == Tally::default()).count();
        found.retain(|(_, tally)| *tally != Tally::default());
        found.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.failures));
        for (name, tally) in &found {
            table.row(vec![cell(name, Tone::Bold), tally.failures.into(), tally.successes.into()]);
        }
        if totals.lines == 0 {
            let _ = writeln!(out, "\nno line was read");
        } else if found.is_empty() {
            let _ = writeln!(out, "\nno attempt found; banctl scan --unmatched shows what looks like one");
        } else {
            let _ = write!(out, "\n{}", table.show(look, ""));
            if silent > 0 {
                let others = count(silent as u64, "other filter", "other filters");
                let _ = writeln!(out, "{}", look.paint(Tone::Dim, &format!("{others}: nothing")));
            }
            if found.len() > 1 {
                let Tally { failures, successes } = self.all;
                let _ = writeln!(out, "in all {failures} failures, {successes} successes");
            }
        }
        if self.nowhere > 0 {
            let _ = writeln!(out, "{} failures name no address", self.nowhere);
        }
        self.addresses(look, zone, &mut out);
        self.tried(look, zone, &mut out);
        if self.full {
            let _ = writeln!(
                out,
                "\nmore than {KEYS_MAX} addresses or accounts: those that came later are in the totals only"
            );
        }
        out
    }

    fn head(&self, zone: Tz, totals: &Totals, elapsed: Duration) -> String {
        let mut out = String::new();
        let secs = elapsed.as_secs_f64().max(1e-6);
        out.push_str(&count(totals.lines, "line", "lines"));
        if totals.logs > 1 {
            let _ = write!(out, " in {} logs", totals.logs);
        }
        let _ = writeln!(
            out,
            ", {}, read in {secs:.2} s: {} lines/s",
            size(totals.bytes),
            rounded(totals.lines as f64 / secs)
        );
        let mut times = totals.times;
        times.join(self.times);
        if let Some((first, last)) = times.ends() {
            let span = show_duration(last.since(first));
            let _ = writeln!(out, "from {} to {} ({span}, {zone})", clock(zone, first), clock(zone, last));
        }
        if totals.unreadable > 0 {
            let _ =
                writeln!(out, "{} of {} logs could not be read to the end", totals.unreadable, totals.logs);
        }
        if totals.cut > 0 {
            let _ = writeln!(out, "{} lines were longer than the cap and were cut", totals.cut);
        }
        out
    }

    fn addresses(&mut self, look: Look, zone: Tz, out: &mut String) {
        let mut top: Vec<(u32, &Host, &Row)> =
            self.hosts.iter().filter(|(.., row)| row.failures > 0).collect();
        let all = top.len();
        // Failures first; equal ones by address, so that a scan comes out the same each time.
        keep_top(&mut top, |(_, host, row)| (std::cmp::Reverse(row.failures), **host));
        let numbers: Vec<u32> = top.iter().map(|(number, ..)| *number).collect();
        let (accounts, _) = self.pairs.count(&numbers, &[]);
        let mut table = Table::new(&["ADDRESS", "FAILURES", "SUCCESSES", "ACCOUNTS", "FIRST", "LAST"]);
        for ((_, host, row), accounts) in top.into_iter().zip(accounts) {
            table.row(cells(row, host.to_string(), accounts, zone));
        }
        section(out, look, &table, all, ("address failed", "addresses failed"));
    }

    fn tried(&mut self, look: Look, zone: Tz, out: &mut String) {
        let mut top: Vec<(u32, &Account, &Row)> =
            self.accounts.iter().filter(|(.., row)| row.failures > 0).collect();
        let all = top.len();
        keep_top(&mut top, |(_, account, row)| (std::cmp::Reverse(row.failures), *account));
        let numbers: Vec<u32> = top.iter().map(|(number, ..)| *number).collect();
        let (_, hosts) = self.pairs.count(&[], &numbers);
        let mut table = Table::new(&["ACCOUNT", "FAILURES", "SUCCESSES", "ADDRESSES", "FIRST", "LAST"]);
        for ((_, account, row), hosts) in top.into_iter().zip(hosts) {
            table.row(cells(row, shortened(account), hosts, zone));
        }
        section(out, look, &table, all, ("account was tried", "accounts were tried"));
    }
}

/// A line of a table. `others`: accounts tried from an address, addresses that tried an account.
fn cells(row: &Row, name: String, others: u64, zone: Tz) -> Vec<Cell> {
    let (first, last) = shown(zone, row.times);
    vec![
        cell(name, Tone::Bold),
        u64::from(row.failures).into(),
        u64::from(row.successes).into(),
        others.into(),
        first.into(),
        last.into(),
    ]
}

/// Sorts the first [`TOP`] by `key` to the front and drops the others.
fn keep_top<T, K: Ord>(rows: &mut Vec<T>, key: impl Fn(&T) -> K) {
    if rows.len() > TOP {
        rows.select_nth_unstable_by_key(TOP, |row| key(row));
        rows.truncate(TOP);
    }
    rows.sort_by_key(|row| key(row));
}

fn section(out: &mut String, look: Look, table: &Table, all: usize, words: (&str, &str)) {
    if all == 0 {
        return;
    }
    let what = if all == 1 { words.0 } else { words.1 };
    let most = if all > TOP { format!("; the {TOP} with most failures") } else { String::new() };
    let _ = write!(out, "\n{all} {what}{most}:\n{}", table.show(look, ""));
}

/// An account as text that fits into a table; the table escapes it.
fn shortened(account: &[u8]) -> String {
    const CHARS: usize = 48;
    let text = crate::text::escape(account);
    if text.chars().count() <= CHARS {
        return text;
    }
    text.chars().take(CHARS - 1).chain(['…']).collect()
}

fn shown(zone: Tz, times: Times) -> (String, String) {
    times.ends().map_or_else(Default::default, |(first, last)| (clock(zone, first), clock(zone, last)))
}

/// `142.3 MiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Two digits that matter: `5.3 million`, `240 thousand`, `37`.
fn rounded(number: f64) -> String {
    match number {
        n if n >= 1e7 => format!("{:.0} million", n / 1e6),
        n if n >= 1e6 => format!("{:.1} million", n / 1e6),
        n if n >= 1e3 => format!("{:.0} thousand", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { colour: false, now: Timestamp::from_secs(1_795_300_000) };

    fn attempt<'a>(host: &str, user: &'a [u8], secs: i64) -> Attempt<'a> {
        Attempt {
            outcome: Outcome::Failure,
            host: host.parse().ok(),
            user: Some(user),
            pwhash: None,
            time: Some(Timestamp::from_secs(secs)),
            times: 1,
            line: b"",
            line_index: 0,
            filter: 0,
            pattern: 0,
            beside: Default::default(),
        }
    }

    fn shown(report: &mut Report) -> String {
        report.text(LOOK, Tz::UTC, &["demo".to_owned()], &Totals::default(), Duration::from_secs(1))
    }

    #[test]
    fn accounts_are_told_apart_without_regard_to_case_and_counted_once_for_each_address() {
        let mut report = Report::new(1);
        for (host, user) in [("203.0.113.7", "Alice"), ("203.0.113.7", "alice"), ("203.0.113.8", "bob")] {
            report.attempt(1, &attempt(host, user.as_bytes(), 1_795_300_000), false);
        }
        let text = shown(&mut report);
        let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or(&text).to_owned();
        let words = |line: String| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(row("203.0.113.7")), ["203.0.113.7", "2", "0", "1"]);
        assert_eq!(words(row("alice")), ["alice", "2", "0", "1"]);
        assert!(text.contains("2 addresses failed:\n"), "{text}");
    }

    #[test]
    fn what_another_filter_found_counts_for_that_filter_only_and_what_repeats_an_attempt_not_at_all() {
        let mut report = Report::new(2);
        let first = attempt("203.0.113.7", b"a", 0);
        report.attempt(1, &first, false);
        report.attempt(1, &Attempt { filter: 1, ..first.clone() }, true);
        report.attempt(2, &Attempt { times: 0, ..first.clone() }, false);
        report.attempt(3, &Attempt { times: 4, host: None, ..first }, false);
        assert_eq!(
            report.filters,
            [Tally { failures: 5, successes: 0 }, Tally { failures: 1, successes: 0 }]
        );
        assert_eq!((report.all.failures, report.nowhere), (5, 4));
    }

    #[test]
    fn of_many_only_the_top_is_shown_in_one_order() {
        let mut report = Report::new(1);
        for n in 0..40u8 {
            for _ in 0..(n / 2 + 1) {
                report.attempt(1, &attempt(&format!("203.0.113.{n}"), &[b'a' + n % 26], 0), false);
            }
        }
        let text = shown(&mut report);
        let order: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("203.0.113.")?.split(' ').next()).collect();
        assert_eq!(order, ["38", "39", "36", "37", "34", "35", "32", "33", "30", "31"], "{text}");
        assert!(text.contains("40 addresses failed; the 10 with most failures:"), "{text}");
    }

    #[test]
    fn hostile_accounts_are_escaped_and_cut() {
        let mut report = Report::new(1);
        report.attempt(1, &attempt("203.0.113.7", b"\x1b[2J\xffroot", 0), false);
        report.attempt(1, &attempt("203.0.113.7", &[b'x'; 3000], 0), false);
        let text = shown(&mut report);
        assert!(!text.contains('\x1b') && text.contains("\\x1b[2j\\xffroot"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
    }
}
