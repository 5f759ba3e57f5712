//! The line's own time: hand parsers for the forms that mail hosts write, no allocation, no general parser.
//!
//! [`at_start`] recognises a date by its shape, [`Resolver`] turns it into a [`Timestamp`]: the zone of the
//! line, else the log's; the year of the line, else the year of now.

mod resolver;

use crate::time::Timestamp;

pub use resolver::Resolver;

/// A date as written, not yet placed in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Date {
    /// Epoch seconds or TAI64N: a moment by itself.
    Moment(Timestamp),
    Civil(Civil),
}

/// Calendar and wall clock. Fields are in range for some year; the day may not exist in this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    /// Absent in traditional syslog stamps.
    pub year: Option<i32>,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// Second of the day, 0..=86400 (a leap second counts as the next second).
    pub second: u32,
    pub micros: u32,
    /// Seconds east of UTC, where the line says so.
    pub offset: Option<i32>,
}

/// Reads the date at the start of `text`: how many bytes it takes, and what it says.
///
/// Forms: `Jun  1 06:27:45[.123][ 2026]`, `Jun  1 2026 06:27:45`, `Mon Jun 01 06:27:45.123456 2026`,
/// `Mon, 01 Jun 2026 06:27:45 +0000`, `Mon 2026-06-01 06:27:45 CEST`, `2026-06-01T06:27:45.123+02:00`, `2026-06-01 06:27:45,123[ +0200]`,
/// `2026/06/01 06:27:45`, `01/Jun/2026:06:27:45 +0000`, `01-Jun-2026 06:27:45 +0000`, `20260601 06:27:45`,
/// `1795300000[.123]`, `@4000000068...` (TAI64N); each also in brackets.
pub fn at_start(text: &[u8]) -> Option<(usize, Date)> {
    match *text.first()? {
        b'[' => {
            let (len, date) = at_start_plain(&text[1..])?;
            (text.get(len + 1) == Some(&b']')).then_some((len + 2, date))
        }
        _ => at_start_plain(text),
    }
}

fn at_start_plain(text: &[u8]) -> Option<(usize, Date)> {
    match *text.first()? {
        b'0'..=b'9' => digits_first(text),
        b'A'..=b'Z' | b'a'..=b'z' => letters_first(text),
        b'@' => tai64n(text),
        _ => None,
    }
}

/// Reads a date that fills all of `text`, blanks and brackets around it allowed.
pub fn whole(text: &[u8]) -> Option<Date> {
    let text = text.trim_ascii();
    let (len, date) = at_start(text)?;
    (len == text.len()).then_some(date)
}

fn letters_first(text: &[u8]) -> Option<(usize, Date)> {
    if let Some(month) = month(text) {
        return month_first(text, month);
    }
    // A weekday: `Mon Jun 01 06:27:45.123 2026`, `Mon, 01 Jun 2026 06:27:45 +0000`.
    if !is_weekday(text.get(..3)?) {
        return None;
    }
    match *text.get(3)? {
        // As `journalctl -o short-full` writes it. Of zones by name only UTC's is known; another is the log's.
        b' ' if text.get(4).is_some_and(u8::is_ascii_digit) => {
            let (len, date) = digits_first(&text[4..])?;
            let name = match text.get(4 + len..)? {
                [b' ', rest @ ..] => rest.iter().take_while(|b| b.is_ascii_uppercase()).count(),
                _ => 0,
            };
            let named = (2..=5).contains(&name) && text.get(4 + len + 1 + name) == Some(&b' ');
            Some((4 + len + if named { 1 + name } else { 0 }, date))
        }
        b' ' => {
            let month = month(&text[4..])?;
            let (len, date) = month_first(&text[4..], month)?;
            Some((len + 4, date))
        }
        b',' if text.get(4) == Some(&b' ') => {
            let rest = &text[5..];
            let (day, used) = one_or_two(rest)?;
            let month = month(rest.get(used + 1..)?)?;
            let year = year(rest.get(used + 5..)?)?;
            blank(rest, used)?;
            blank(rest, used + 4)?;
            blank(rest, used + 9)?;
            let (len, second, micros) = clock(rest.get(used + 10..)?)?;
            let at = used + 10 + len;
            let (zone_len, offset) = zone_after_blank(&rest[at..]);
            civil(5 + at + zone_len, Some(year), month, day, second, micros, offset)
        }
        _ => None,
    }
}

/// `Jun  1 06:27:45[.123][ 2026]`, `Jun  1 2026 06:27:45`.
fn month_first(text: &[u8], month: u8) -> Option<(usize, Date)> {
    blank(text, 3)?;
    let pad = usize::from(text.get(4) == Some(&b' '));
    let (day, used) = one_or_two(text.get(4 + pad..)?)?;
    let at = 4 + pad + used;
    blank(text, at)?;
    let rest = &text[at + 1..];
    // `2026 06:27:45`: the fifth byte tells a year from an hour.
    if rest.get(4) == Some(&b' ')
        && let Some(year) = year(rest)
    {
        let (len, second, micros) = clock(&rest[5..])?;
        return civil(at + 6 + len, Some(year), month, day, second, micros, None);
    }
    let (len, second, micros) = clock(rest)?;
    let end = at + 1 + len;
    let tail = &text[end..];
    if let [b' ', b'1' | b'2', b'9' | b'0', _, _, after @ ..] = tail
        && matches!(after, [] | [b' ' | b']' | b',', ..] | [b':'] | [b':', b' ', ..])
        && let Some(year) = year(&tail[1..])
    {
        return civil(end + 5, Some(year), month, day, second, micros, None);
    }
    civil(end, None, month, day, second, micros, None)
}

fn digits_first(text: &[u8]) -> Option<(usize, Date)> {
    match (text.get(2), text.get(4)) {
        // 2026-06-01T06:27:45, 2026/06/01 06:27:45
        (_, Some(&mark @ (b'-' | b'/'))) if text.get(7) == Some(&mark) => {
            let year = year(text)?;
            let month = two(text, 5)?;
            let day = two(text, 8)?;
            if !matches!(text.get(10), Some(b'T' | b' ' | b't' | b':')) {
                return None;
            }
            let (len, second, micros) = clock(&text[11..])?;
            let at = 11 + len;
            let (zone_len, offset) = zone_iso(&text[at..]);
            civil(at + zone_len, Some(year), month, day, second, micros, offset)
        }
        // 01/Jun/2026:06:27:45 +0000, 01-Jun-2026 06:27:45 +0000
        (Some(&mark @ (b'/' | b'-' | b' ')), _) if text.get(6) == Some(&mark) => {
            let day = two(text, 0)?;
            let month = month(&text[3..])?;
            let year = year(&text[7..])?;
            if !matches!(text.get(11), Some(b':' | b' ')) {
                return None;
            }
            let (len, second, micros) = clock(&text[12..])?;
            let at = 12 + len;
            let (zone_len, offset) = zone_after_blank(&text[at..]);
            civil(at + zone_len, Some(year), month, day, second, micros, offset)
        }
        _ => compact(text).or_else(|| epoch(text)),
    }
}

/// `20260601 06:27:45`, `20260601T062745Z`.
fn compact(text: &[u8]) -> Option<(usize, Date)> {
    let year = year(text)?;
    let (month, day) = (two(text, 4)?, two(text, 6)?);
    if !matches!(text.get(8), Some(b' ' | b'T')) {
        return None;
    }
    let rest = &text[9..];
    let (len, second, micros) = match clock(rest) {
        Some(found) => found,
        None => {
            let (h, m, s) = (two(rest, 0)?, two(rest, 2)?, two(rest, 4)?);
            (6, second_of_day(h, m, s)?, 0)
        }
    };
    let at = 9 + len;
    let (zone_len, offset) = zone_iso(&text[at..]);
    civil(at + zone_len, Some(year), month, day, second, micros, offset)
}

/// Ten digits (2001 to 2286), with a fraction or without.
fn epoch(text: &[u8]) -> Option<(usize, Date)> {
    let digits = text.iter().take(11).take_while(|b| b.is_ascii_digit()).count();
    if digits != 10 {
        return None;
    }
    let secs = text[..10].iter().fold(0i64, |sum, b| sum * 10 + i64::from(b - b'0'));
    let (len, micros) = fraction(&text[10..]);
    Some((10 + len, Date::Moment(Timestamp::from_micros(secs * 1_000_000 + i64::from(micros)))))
}

/// `@` and 16 (TAI64) or 24 (TAI64N) hexadecimal digits. The label is TAI seconds + 2^62, and daemontools
/// writers add a constant 10 s to UTC, so 10 comes off; later leap seconds are not in the label.
fn tai64n(text: &[u8]) -> Option<(usize, Date)> {
    let hex = |from: usize, len: usize| -> Option<u64> {
        text.get(from..from + len)?
            .iter()
            .try_fold(0u64, |sum, &b| Some(sum << 4 | u64::from((b as char).to_digit(16)?)))
    };
    let secs = i64::try_from(hex(1, 16)?.checked_sub(1 << 62)?).ok()? - 10;
    let (len, nanos) = match hex(17, 8) {
        Some(nanos) => (25, nanos.min(999_999_999)),
        None => (17, 0),
    };
    let micros = secs.checked_mul(1_000_000)?.checked_add(nanos as i64 / 1000)?;
    Some((len, Date::Moment(Timestamp::from_micros(micros))))
}

fn civil(
    len: usize,
    year: Option<i32>,
    month: u8,
    day: u8,
    second: u32,
    micros: u32,
    offset: Option<i32>,
) -> Option<(usize, Date)> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some((len, Date::Civil(Civil { year, month, day, second, micros, offset })))
}

/// `HH:MM:SS[.frac]` or `H:MM:SS`: bytes used, second of the day, microseconds.
#[inline]
fn clock(text: &[u8]) -> Option<(usize, u32, u32)> {
    let first: &[u8; 7] = text.first_chunk()?;
    let (h, at) = match first[1] {
        b':' => (digit(first[0])?, 0),
        _ => (digit(first[0])? * 10 + digit(first[1])?, 1),
    };
    let [b':', m1, m2, b':', s1, s2] = text.get(at + 1..at + 7)? else { return None };
    let minute = digit(*m1)? * 10 + digit(*m2)?;
    let second = digit(*s1)? * 10 + digit(*s2)?;
    let second = second_of_day(h, minute, second)?;
    let end = at + 7;
    let (len, micros) = fraction(&text[end..]);
    Some((end + len, second, micros))
}

fn second_of_day(h: u8, m: u8, s: u8) -> Option<u32> {
    (h < 24 && m < 60 && s <= 60).then(|| u32::from(h) * 3600 + u32::from(m) * 60 + u32::from(s))
}

/// `.123`, `,123456`: bytes used and microseconds; nothing there is (0, 0).
#[inline]
fn fraction(text: &[u8]) -> (usize, u32) {
    let [b'.' | b',', first, ..] = text else { return (0, 0) };
    if !first.is_ascii_digit() {
        return (0, 0);
    }
    let mut micros = 0;
    let mut scale = 100_000;
    let mut len = 1;
    for &byte in &text[1..] {
        if !byte.is_ascii_digit() || len > 9 {
            break;
        }
        micros += u32::from(byte - b'0') * scale;
        scale /= 10;
        len += 1;
    }
    (len, micros)
}

/// `Z`, `+02:00`, `+0200`, `+02`, or a blank and a numeric zone.
fn zone_iso(text: &[u8]) -> (usize, Option<i32>) {
    match text.first() {
        Some(b'Z' | b'z') => (1, Some(0)),
        Some(b'+' | b'-') => numeric_zone(text).map_or((0, None), |(len, offset)| (len, Some(offset))),
        Some(b' ') => zone_after_blank(text),
        _ => (0, None),
    }
}

/// ` +0200`, ` -05:00`, ` UTC`, ` GMT`.
fn zone_after_blank(text: &[u8]) -> (usize, Option<i32>) {
    let [b' ', rest @ ..] = text else { return (0, None) };
    match rest {
        [b'+' | b'-', ..] => match numeric_zone(rest) {
            Some((len @ 5.., offset)) => (len + 1, Some(offset)),
            _ => (0, None),
        },
        [b'U', b'T', b'C', after @ ..] | [b'G', b'M', b'T', after @ ..]
            if !after.first().is_some_and(u8::is_ascii_alphanumeric) =>
        {
            (4, Some(0))
        }
        _ => (0, None),
    }
}

fn numeric_zone(text: &[u8]) -> Option<(usize, i32)> {
    let hours = two(text, 1)?;
    let (len, minutes) = match (text.get(3), two(text, 3), text.get(3..).and_then(|rest| two(rest, 1))) {
        (_, Some(minutes), _) => (5, minutes),
        (Some(b':'), _, Some(minutes)) => (6, minutes),
        _ => (3, 0),
    };
    if hours > 15 || minutes > 59 {
        return None;
    }
    let offset = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    Some((len, if text[0] == b'-' { -offset } else { offset }))
}

fn month(text: &[u8]) -> Option<u8> {
    Some(match text.get(..3)? {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

fn is_weekday(text: &[u8]) -> bool {
    matches!(text, b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun")
}

fn blank(text: &[u8], at: usize) -> Option<()> {
    (text.get(at) == Some(&b' ')).then_some(())
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

fn two(text: &[u8], at: usize) -> Option<u8> {
    Some(digit(*text.get(at)?)? * 10 + digit(*text.get(at + 1)?)?)
}

fn one_or_two(text: &[u8]) -> Option<(u8, usize)> {
    let first = digit(*text.first()?)?;
    match text.get(1).copied().and_then(digit) {
        Some(second) => Some((first * 10 + second, 2)),
        None => Some((first, 1)),
    }
}

/// Four digits, 1970 to 2199.
fn year(text: &[u8]) -> Option<i32> {
    let year = i32::from(two(text, 0)?) * 100 + i32::from(two(text, 2)?);
    (1970..2200).contains(&year).then_some(year)
}

#[cfg(test)]
mod tests;
