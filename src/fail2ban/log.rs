//! Lines of fail2ban.log, written and read. Other programs read that file: log watchers, dashboards, and fail2ban's
//! own `recidive` filter.
//!
//! ```text
//! 2026-11-22 02:02:37,161 fail2ban.actions        [21545]: NOTICE  [postfix] Ban 203.0.113.1
//! 2026-11-22 02:02:36,769 fail2ban.filter         [21545]: INFO    [postfix] Found 203.0.113.1 - 2026-11-22 02:02:36
//! ```
//! Source: what fail2ban 1.0 wrote. Nothing that a stranger wrote is in a line: addresses and jails' names only.

use std::fmt::Write;

use chrono::{DateTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use crate::addr::Net;
use crate::time::{Span, Timestamp, show_duration};

/// What a line says of a jail and a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A failure that counts, and its time.
    Found {
        at: Timestamp,
    },
    /// A failure of one who is left alone.
    Ignored,
    Ban,
    /// A ban that stood before this start.
    RestoreBan,
    /// Beside `Ban`: it is longer than the jail's bantime, since it is the `count`-th.
    IncreaseBan {
        count: u32,
        length: Span,
        until: Option<Timestamp>,
    },
    /// Failures go on after the ban.
    AlreadyBanned,
    Unban,
}

/// Appends one line with its line end. `at`: when it is written; shown in `zone`, as fail2ban does, without naming
/// it.
pub fn write_line(
    out: &mut String,
    at: Timestamp,
    zone: Tz,
    pid: u32,
    jail: &str,
    target: Net,
    event: Event,
) {
    let (component, level) = match event {
        Event::Found { .. } | Event::Ignored => ("fail2ban.filter", "INFO"),
        Event::IncreaseBan { .. } => ("fail2ban.observer", "NOTICE"),
        Event::AlreadyBanned => ("fail2ban.actions", "WARNING"),
        Event::Ban | Event::RestoreBan | Event::Unban => ("fail2ban.actions", "NOTICE"),
    };
    let stamp = |at: Timestamp| {
        let utc = DateTime::from_timestamp_micros(at.micros()).unwrap_or_default();
        zone.from_utc_datetime(&utc.naive_utc())
    };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{} {component:<24}[{pid}]: {level:<7} [{jail}] ",
        stamp(at).format("%Y-%m-%d %H:%M:%S,%3f")
    );
    let second = "%Y-%m-%d %H:%M:%S";
    let _ = match event {
        Event::Found { at } => write!(out, "Found {target} - {}", stamp(at).format(second)),
        Event::Ignored => write!(out, "Ignore {target} by ip"),
        Event::Ban => write!(out, "Ban {target}"),
        Event::RestoreBan => write!(out, "Restore Ban {target}"),
        Event::IncreaseBan { count, length, until } => {
            let length = match length {
                Span::For(length) => show_duration(length),
                Span::Forever => "permanent".to_owned(),
            };
            let until = until.map_or("infinite".to_owned(), |until| stamp(until).format(second).to_string());
            write!(out, "Increase Ban {target} ({count} # {length} -> {until})")
        }
        Event::AlreadyBanned => write!(out, "{target} already banned"),
        Event::Unban => write!(out, "Unban {target}"),
    };
    out.push('\n');
}

/// What a read line says; lines about other things are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written; `None`: its date is in another form.
    pub at: Option<Timestamp>,
    pub jail: String,
    pub target: Net,
    pub what: Said,
}

/// The part of [`Event`] that a reader can trust to be said the same way by every fail2ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Found,
    Ignored,
    Ban,
    RestoreBan,
    AlreadyBanned,
    Unban,
}

/// Reads one line, without its line end. Dates are in `zone`.
pub fn read_line(line: &[u8], zone: Tz) -> Option<Entry> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (head, message) = line.split_once("]: ")?;
    if !head.contains("fail2ban") {
        return None;
    }
    let (_level, message) = message.split_once(char::is_whitespace)?;
    // A jail's name may hold nearly anything, a bracket and a blank after it among it; the shortest is meant.
    let (jail, said) = message.trim_start().strip_prefix('[')?.split_once("] ")?;
    let mut words = said.split_whitespace();
    let (what, target) = match (words.next()?, words.next()?) {
        ("Found", target) => (Said::Found, target),
        ("Ignore", target) => (Said::Ignored, target),
        ("Ban", target) => (Said::Ban, target),
        ("Restore", "Ban") => (Said::RestoreBan, words.next()?),
        ("Unban", target) => (Said::Unban, target),
        (target, "already") if words.next() == Some("banned") => (Said::AlreadyBanned, target),
        _ => return None,
    };
    Some(Entry { at: date(head, zone), jail: jail.to_owned(), target: target.parse().ok()?, what })
}

/// When a line was written; `None`: its date is in another form, or it has none.
pub fn date_of(line: &[u8], zone: Tz) -> Option<Timestamp> {
    date(std::str::from_utf8(line.get(..23)?).ok()?, zone)
}

fn date(head: &str, zone: Tz) -> Option<Timestamp> {
    let naive = NaiveDateTime::parse_from_str(head.get(..23)?, "%Y-%m-%d %H:%M:%S,%3f").ok()?;
    // An hour that comes twice: the first one. One that the clock left out: as if it had not been.
    let at = zone
        .from_local_datetime(&naive)
        .earliest()
        .map_or(naive.and_utc().timestamp_micros(), |at| at.timestamp_micros());
    Some(Timestamp::from_micros(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Tz = Tz::Europe__Madrid;
    const AT: i64 = 1_795_312_957_161_000;

    fn written(target: &str, event: Event) -> String {
        let mut line = String::new();
        let at = Timestamp::from_micros(AT);
        write_line(&mut line, at, ZONE, 21545, "postfix", target.parse().unwrap(), event);
        line
    }

    #[test]
    fn lines_are_as_fail2ban_writes_them() {
        let at = Timestamp::from_micros(AT);
        let until = Some(at.plus(std::time::Duration::from_secs(120)));
        let length = Span::For(std::time::Duration::from_secs(120));
        for (event, line) in [
            (Event::Ban, "fail2ban.actions        [21545]: NOTICE  [postfix] Ban 203.0.113.1"),
            (Event::RestoreBan, "fail2ban.actions        [21545]: NOTICE  [postfix] Restore Ban 203.0.113.1"),
            (Event::Unban, "fail2ban.actions        [21545]: NOTICE  [postfix] Unban 203.0.113.1"),
            (
                Event::AlreadyBanned,
                "fail2ban.actions        [21545]: WARNING [postfix] 203.0.113.1 already banned",
            ),
            (
                Event::Found { at },
                "fail2ban.filter         [21545]: INFO    [postfix] Found 203.0.113.1 - 2026-11-22 03:02:37",
            ),
            (Event::Ignored, "fail2ban.filter         [21545]: INFO    [postfix] Ignore 203.0.113.1 by ip"),
            (
                Event::IncreaseBan { count: 2, length, until },
                "fail2ban.observer       [21545]: NOTICE  [postfix] Increase Ban 203.0.113.1 (2 # 2m -> 2026-11-22 03:04:37)",
            ),
        ] {
            assert_eq!(written("203.0.113.1", event), format!("2026-11-22 03:02:37,161 {line}\n"));
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let at = Timestamp::from_micros(AT);
        for (event, said) in [
            (Event::Ban, Said::Ban),
            (Event::RestoreBan, Said::RestoreBan),
            (Event::Unban, Said::Unban),
            (Event::AlreadyBanned, Said::AlreadyBanned),
            (Event::Found { at }, Said::Found),
            (Event::Ignored, Said::Ignored),
        ] {
            for target in ["203.0.113.1", "2001:db8::7", "192.0.2.0/24"] {
                let entry = read_line(written(target, event).as_bytes(), ZONE).unwrap();
                assert_eq!((entry.at, entry.what), (Some(at), said));
                assert_eq!((entry.jail.as_str(), entry.target.to_string().as_str()), ("postfix", target));
            }
        }
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in [
            "",
            "2026-11-22 02:02:12,308 fail2ban.server         [21545]: INFO    Starting Fail2ban v1.0.2",
            "2026-11-22 02:02:36,560 fail2ban.jail           [21545]: INFO    Jail 'postfix' started",
            "2026-11-22 02:02:37,040 fail2ban.actions        [1]: NOTICE  [postfix] Flush ticket(s) with nftables",
            "2026-11-22 02:02:37,040 fail2ban.observer       [1]: NOTICE  [a] Increase Ban 203.0.113.1 (2 # 2m -> x)",
            "2026-11-22 02:02:37,040 fail2ban.actions        [1]: NOTICE  [a] Ban alice",
            "Nov 22 02:02:37 mail postfix/smtpd[1]: NOTICE  [a] Ban 203.0.113.1",
        ] {
            assert_eq!(read_line(line.as_bytes(), ZONE), None, "{line}");
        }
        assert_eq!(read_line(b"\xff[1]: ", ZONE), None);
    }
}
