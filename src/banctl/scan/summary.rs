//! What a scan found, for people.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::addr::Host;
use crate::banctl::table::{Look, Table, Tone, cell};
use crate::filter::{Attempt, Counts, Filter, Outcome};
use crate::time::{Timestamp, show_duration};

/// How many addresses and accounts are shown.
const TOP: usize = 10;

/// Counts attempts by filter, address and account.
pub struct Summary {
    pub bytes: u64,
    filters: Vec<OfFilter>,
    hosts: HashMap<Host, OfHost>,
    users: HashMap<Vec<u8>, OfUser>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

struct OfFilter {
    name: String,
    failures: u64,
    successes: u64,
}

#[derive(Default)]
struct OfHost {
    failures: u64,
    successes: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

#[derive(Default)]
struct OfUser {
    failures: u64,
    successes: u64,
}

impl Summary {
    pub fn new(filters: &[Arc<Filter>]) -> Summary {
        let filter = |filter: &Arc<Filter>| OfFilter { name: filter.name.clone(), failures: 0, successes: 0 };
        Summary {
            bytes: 0,
            filters: filters.iter().map(filter).collect(),
            hosts: HashMap::new(),
            users: HashMap::new(),
            first: None,
            last: None,
        }
    }

    pub fn add(&mut self, attempt: &Attempt<'_>) {
        let times = u64::from(attempt.times);
        let (failures, successes) = match attempt.outcome {
            Outcome::Failure => (times, 0),
            Outcome::Success => (0, times),
        };
        let filter = &mut self.filters[attempt.filter];
        filter.failures += failures;
        filter.successes += successes;
        if let Some(time) = attempt.time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        if let Some(host) = attempt.host {
            let host = self.hosts.entry(host).or_default();
            host.failures += failures;
            host.successes += successes;
            host.first = host.first.or(attempt.time);
            host.last = attempt.time.or(host.last);
        }
        if let Some(user) = attempt.user {
            let user = self.users.entry_ref(user).or_default();
            user.failures += failures;
            user.successes += successes;
        }
    }

    pub fn show(
        &self,
        out: &mut impl Write,
        look: Look,
        counts: &Counts,
        logs: usize,
        took: Duration,
    ) -> io::Result<()> {
        let total = |of: fn(&OfFilter) -> u64| self.filters.iter().map(of).sum::<u64>();
        let (failures, successes) = (total(|filter| filter.failures), total(|filter| filter.successes));
        let plural =
            |n: u64, one: &str, many: &str| format!("{} {}", thousands(n), if n == 1 { one } else { many });
        let headline = format!(
            "{}, {}",
            plural(failures, "failed login", "failed logins"),
            plural(successes, "good one", "good ones")
        );
        writeln!(out, "{}", look.paint(Tone::Bold, &headline))?;
        let secs = took.as_secs_f64().max(1e-6);
        writeln!(
            out,
            "in {} of {}; {} in {:.2} s, {} lines/s",
            plural(counts.lines, "line", "lines"),
            plural(logs as u64, "log", "logs"),
            megabytes(self.bytes),
            secs,
            thousands((counts.lines as f64 / secs) as u64)
        )?;
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let span = show_duration(last.since(first));
            writeln!(out, "from {} to {} ({span})", look.clock(first), look.clock(last))?;
        }
        let mut table = Table::new(&["filter", "failed", "good"]);
        let mut filters: Vec<&OfFilter> =
            self.filters.iter().filter(|f| f.failures + f.successes > 0).collect();
        filters.sort_by_key(|filter| std::cmp::Reverse(filter.failures));
        for filter in filters {
            let bold = cell(&filter.name, Tone::Bold);
            table.row(vec![bold, filter.failures.into(), filter.successes.into()]);
        }
        part(out, look, "", &table)?;
        let mut hosts: Vec<(&Host, &OfHost)> =
            self.hosts.iter().filter(|(_, host)| host.failures > 0).collect();
        hosts.sort_by_key(|(host, of)| (std::cmp::Reverse(of.failures), **host));
        let mut table = Table::new(&["address", "failed", "good", "over"]);
        for (host, of) in hosts.iter().take(TOP) {
            let over =
                of.first.zip(of.last).map_or(String::new(), |(first, last)| show_duration(last.since(first)));
            table.row(vec![
                cell(host.to_string(), Tone::Bold),
                of.failures.into(),
                of.successes.into(),
                over.into(),
            ]);
        }
        part(out, look, &of_all("addresses with failures", hosts.len()), &table)?;
        let mut users: Vec<(&Vec<u8>, &OfUser)> =
            self.users.iter().filter(|(_, user)| user.failures > 0).collect();
        users.sort_by_key(|(name, of)| (std::cmp::Reverse(of.failures), *name));
        let mut table = Table::new(&["account", "failed", "good"]);
        for (name, of) in users.iter().take(TOP) {
            let name = cell(crate::text::escape(name), Tone::Bold);
            table.row(vec![name, of.failures.into(), of.successes.into()]);
        }
        part(out, look, &of_all("accounts tried", users.len()), &table)
    }
}

fn of_all(what: &str, total: usize) -> String {
    if total > TOP { format!("{TOP} of {} {what}", thousands(total as u64)) } else { String::new() }
}

fn part(out: &mut impl Write, look: Look, note: &str, table: &Table) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write!(out, "{}", table.show(look, "  "))?;
    if !note.is_empty() {
        writeln!(out, "  {}", look.paint(Tone::Dim, note))?;
    }
    Ok(())
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn megabytes(bytes: u64) -> String {
    if bytes >= 10_000_000 {
        format!("{} MB", bytes / 1_000_000)
    } else {
        format!("{} kB", bytes.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
