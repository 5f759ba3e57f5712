//! What an action may know of one ban.

use std::collections::BTreeMap;

use crate::addr::{Host, Net};
use crate::jail::{Ban, JailCounts};
use crate::time::{Span, Timestamp};

/// A value of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Made by portero itself: an address, a number. May stand in a command line.
    Own(String),
    /// Somebody else's words. Only ever in the environment.
    Foreign(Vec<u8>),
}

/// Log lines, oldest first.
pub type Lines = Vec<Box<[u8]>>;

/// Lines and fields of the failures behind a ban, as far as they were kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The lines, oldest first, without line ends.
    pub matches: Lines,
    /// `<F-NAME>` fields by their name in lower case.
    pub fields: BTreeMap<String, Vec<u8>>,
}

/// One ban, as an action is told of it.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub target: Net,
    /// The failure that made it.
    pub time: Timestamp,
    pub bantime: Span,
    pub failures: u32,
    /// The how-manieth ban of this target, from 1.
    pub bancount: u32,
    /// It stood before this start of the daemon.
    pub restored: bool,
    pub evidence: Evidence,
    /// Lines of this address in all jails that book is kept of, and in this one.
    pub ip_matches: Lines,
    pub ip_jail_matches: Lines,
    /// Failures likewise.
    pub ip_failures: (u32, u32),
    pub counts: JailCounts,
}

impl Ticket {
    /// Of `ban`, as it is at `since`.
    pub fn of(ban: &Ban, restored: bool, counts: JailCounts) -> Ticket {
        let bantime = ban.until.map_or(Span::Forever, |until| Span::For(until.since(ban.since)));
        Ticket {
            target: ban.target,
            time: ban.since,
            bantime,
            failures: ban.failures,
            bancount: ban.count,
            restored,
            evidence: Evidence::default(),
            ip_matches: Lines::new(),
            ip_jail_matches: Lines::new(),
            ip_failures: (ban.failures, ban.failures),
            counts,
        }
    }

    /// Without what strangers wrote: what is kept while the ban stands.
    pub fn without_evidence(&self) -> Ticket {
        let (ip_matches, ip_jail_matches) = (Lines::new(), Lines::new());
        Ticket { evidence: Evidence::default(), ip_matches, ip_jail_matches, ..self.clone() }
    }

    /// The value of a tag; `None`: no such tag.
    pub fn value(&self, jail: &str, tag: &str) -> Option<Value> {
        if let Some(field) = tag.strip_prefix("F-").filter(|field| is_field(field)) {
            return Some(Value::Foreign(self.field(field)));
        }
        let lines = |lines: &[Box<[u8]>]| Value::Foreign(lines.join(&b'\n'));
        Some(match tag {
            "matches" => lines(&self.evidence.matches),
            "ipmatches" => lines(&self.ip_matches),
            "ipjailmatches" => lines(&self.ip_jail_matches),
            "raw-ticket" => Value::Foreign(self.raw(jail).into_bytes()),
            "ip" | "fid" => Value::Own(self.target.to_string()),
            "ip-rev" => Value::Own(reversed(self.target.base())),
            "family" => Value::Own(super::Family::of(self.target).name().to_owned()),
            "failures" => Value::Own(self.failures.to_string()),
            "ipfailures" => Value::Own(self.ip_failures.0.to_string()),
            "ipjailfailures" => Value::Own(self.ip_failures.1.to_string()),
            "time" => Value::Own(self.time.secs().to_string()),
            "bantime" => Value::Own(match self.bantime {
                Span::For(span) => span.as_secs().to_string(),
                Span::Forever => "-1".to_owned(),
            }),
            "bancount" => Value::Own(self.bancount.to_string()),
            "restored" => Value::Own(u8::from(self.restored).to_string()),
            _ => return jail_value(jail, &self.counts, tag),
        })
    }

    fn field(&self, name: &str) -> Vec<u8> {
        let name = match name {
            "ID" => "fid".to_owned(),
            "PORT" => "fport".to_owned(),
            _ => name.to_ascii_lowercase(),
        };
        let known =
            self.evidence.fields.get(&name).or_else(|| self.evidence.fields.get(&name.replace('-', "_")));
        known.cloned().unwrap_or_default()
    }

    /// The ticket as JSON.
    fn raw(&self, jail: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        serde_json::json!({
            "jail": jail,
            "ip": self.target.to_string(),
            "time": self.time.secs(),
            "failures": self.failures,
            "bancount": self.bancount,
            "restored": self.restored,
            "matches": self.evidence.matches.iter().map(|line| text(line)).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

/// Tags about the jail, known without a ban too.
pub fn jail_value(jail: &str, counts: &JailCounts, tag: &str) -> Option<Value> {
    Some(Value::Own(match tag {
        "jail.name" => jail.to_owned(),
        "jail.banned" => counts.banned.to_string(),
        "jail.banned_total" => counts.banned_total.to_string(),
        "jail.found" => counts.tracked.to_string(),
        "jail.found_total" => counts.failures.to_string(),
        _ => return None,
    }))
}

/// `USER`, `MLFID`, `X-1`: what may follow `F-`.
pub fn is_field(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// The address back to front with a dot at its end, as zones of DNS lists want it: `7.113.0.203.`
fn reversed(host: Host) -> String {
    match host.ip() {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.")
        }
        std::net::IpAddr::V6(ip) => {
            ip.octets().iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_turned_around_for_dns() {
        assert_eq!(reversed("203.0.113.7".parse().unwrap()), "7.113.0.203.");
        assert_eq!(
            reversed("2001:db8::1f".parse().unwrap()),
            "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
        );
    }
}
