//! Time: [`Timestamp`], durations as admins type them, and the one place that asks the operating system.
//!
//! Everything else takes `now` as an argument; `.clippy.toml` holds that.
#![expect(clippy::disallowed_methods, reason = "this is the one file that asks the OS for the time")]

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment in UTC: microseconds since the epoch, negative before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp(secs.saturating_mul(1_000_000))
    }

    /// From JSON's form, seconds with a fraction.
    pub fn from_secs_f64(secs: f64) -> Timestamp {
        Timestamp((secs * 1e6).round() as i64)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// JSON's form: epoch seconds, an integer where there is no fraction.
    pub fn to_json(self) -> serde_json::Value {
        if self.0 % 1_000_000 == 0 { self.secs().into() } else { self.secs_f64().into() }
    }

    /// Time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.secs(), self.0.rem_euclid(1_000_000))
    }
}

/// Who tells the time. The daemon has [`SystemClock`]; tests and `banctl replay` drive their own.
pub trait Clock: Send + Sync {
    /// The wall clock, which may jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::new_without_default, reason = "a clock starts when it is made; that is no default")]
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The system's time zone: `$TZ`, else where /etc/localtime points, else /etc/timezone, else UTC.
///
/// Asked once at start; the stages take the zone as an argument.
pub fn system_zone() -> chrono_tz::Tz {
    let from_env = std::env::var("TZ").ok().map(|name| name.trim_start_matches(':').to_owned());
    let from_link = || {
        let target = std::fs::canonicalize("/etc/localtime").ok()?;
        target.to_str()?.split_once("zoneinfo/").map(|(_, name)| name.to_owned())
    };
    let from_file = || std::fs::read_to_string("/etc/timezone").ok().map(|name| name.trim().to_owned());
    let zone = |name: String| zone_by_name(&name);
    from_env
        .and_then(zone)
        .or_else(|| from_link().and_then(zone))
        .or_else(|| from_file().and_then(zone))
        .unwrap_or(chrono_tz::Tz::UTC)
}

/// A zone by its IANA name, `Europe/Madrid`; letter case does not matter.
pub fn zone_by_name(name: &str) -> Option<chrono_tz::Tz> {
    let name = name.trim();
    let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
    name.parse().ok().or_else(|| {
        chrono_tz::TZ_VARIANTS.iter().copied().find(|zone| zone.name().eq_ignore_ascii_case(name))
    })
}

/// A length of time that may have no end: a bantime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Span {
    For(Duration),
    Forever,
}

impl Span {
    /// The end of a span that starts at `start`; `None`: never.
    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        match self {
            Span::For(length) => Some(start.plus(length)),
            Span::Forever => None,
        }
    }
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; examples: 600, 10m, 1h 30m, -1 (never ends)")]
pub struct DurationError(pub String);

/// Reads `600`, `10m`, `1h 30m`, `5w`, `1.5h`; a negative number is [`Span::Forever`].
///
/// Units: `s m h d w mo y` and their words (`sec min minutes hours days weeks months years`); a month is
/// 30.4375 days and a year 365.25 days, as fail2ban counts them.
///
/// # Errors
/// An empty text, an unknown unit, or a number without digits.
pub fn parse_span(text: &str) -> Result<Span, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let trimmed = text.trim();
    if let Ok(number) = trimmed.parse::<f64>() {
        return if !number.is_finite() {
            Err(wrong())
        } else if number < 0.0 {
            Ok(Span::Forever)
        } else {
            Duration::try_from_secs_f64(number).map(Span::For).map_err(|_| wrong())
        };
    }
    let mut total = 0.0f64;
    let mut rest = trimmed;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" | "mm" => 60.0,
            "h" | "hour" | "hours" | "hh" => 3600.0,
            "d" | "day" | "days" | "da" | "dd" => 86_400.0,
            "w" | "week" | "weeks" | "we" | "ww" => 604_800.0,
            "mo" | "mon" | "month" | "months" => 30.4375 * 86_400.0,
            "y" | "year" | "years" | "yy" | "ye" => 365.25 * 86_400.0,
            _ => return Err(wrong()),
        };
        total += number * unit;
        parts += 1;
        rest = rest[letters..].trim_start();
    }
    if parts == 0 {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map(Span::For).map_err(|_| wrong())
}

/// Prints a duration for a person: `45s`, `10m`, `1h 30m`, `3d 4h`; two units at most.
pub fn show_duration(span: Duration) -> String {
    let secs = span.as_secs();
    let units = [(604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| secs >= *size) else {
        return "0s".to_owned();
    };
    let (size, name) = units[first];
    let mut text = format!("{}{name}", secs / size);
    if let Some((smaller, name)) = units.get(first + 1) {
        let left = secs % size / smaller;
        if left > 0 {
            text.push_str(&format!(" {left}{name}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_admins_type_them() {
        let secs = |text: &str| match parse_span(text).unwrap() {
            Span::For(length) => length.as_secs_f64(),
            Span::Forever => -1.0,
        };
        for (text, want) in [
            ("600", 600.0),
            ("10m", 600.0),
            ("1h 30m", 5400.0),
            ("1h30m", 5400.0),
            ("5w", 3_024_000.0),
            ("1.5h", 5400.0),
            ("-1", -1.0),
            ("0", 0.0),
            ("2 days", 172_800.0),
        ] {
            assert_eq!(secs(text), want, "{text}");
        }
        for text in ["", "10q", "m", "ten", "1h x", "1..5h", "nan", "inf"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_print_in_two_units() {
        for (secs, want) in
            [(0, "0s"), (45, "45s"), (600, "10m"), (5400, "1h 30m"), (273_600, "3d 4h"), (3601, "1h")]
        {
            assert_eq!(show_duration(Duration::from_secs(secs)), want);
        }
    }
}
