//! `NAME.samples`: what must come out of which line. Read by the tests of the shipped filters and by
//! `banctl filter lint` for the admin's own.
//!
//! ```text
//! # comment
//! line: <the log line as it is>          eline: the same with \n \t \r \\ \xNN escapes
//! fail ip=203.0.113.7 user=alice time=2026-06-01T06:48:30Z [pwhash=..] [times=3] [mode=aggressive]
//! ok ip=... user=... time=...            a good login
//! no                                     nothing comes out
//! trusted: 10.0.0.0/24 ::1               trusted proxies from here on
//! ```
//! A blank line ends a block; the lines of one block share one [`FilterState`](super::FilterState).

use super::Outcome;
use super::timestamp;
use crate::addr::{Host, Net};
use crate::config::report::{ReportedError, SourceText};
use crate::time::Timestamp;

/// A line and what must come out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Number of the `line:` in the file, from 1.
    pub at: usize,
    /// Blocks count from 0.
    pub block: usize,
    pub line: Vec<u8>,
    /// `None`: nothing.
    pub expect: Option<Expect>,
    /// Absent: the normal mode, and every other mode too.
    pub mode: Option<String>,
    /// Absent: the default of the runner.
    pub trusted: Option<Vec<Net>>,
}

/// The attempt that must come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    pub outcome: Outcome,
    pub host: Option<Host>,
    pub user: Option<Vec<u8>>,
    pub pwhash: Option<Vec<u8>>,
    /// Absent: not compared.
    pub time: Option<Timestamp>,
    pub times: u32,
}

/// Reads a samples file.
///
/// # Errors
/// The first line that is none of the above, or a line without its expectation.
pub fn parse(source: &SourceText) -> Result<Vec<Sample>, ReportedError> {
    let mut samples = Vec::new();
    let mut block = 0;
    let mut trusted: Option<Vec<Net>> = None;
    let mut open: Option<(usize, Vec<u8>)> = None;
    let mut offset = 0;
    for (index, text) in source.text().split('\n').enumerate() {
        let span = offset..offset + text.len();
        offset += text.len() + 1;
        let fault = |message: String| source.error(span.clone(), message);
        let number = index + 1;
        let unanswered = |open: &Option<(usize, Vec<u8>)>| match open {
            Some((at, _)) => {
                Err(fault(format!("the line at {at} has no expectation (fail, ok or no) after it")))
            }
            None => Ok(()),
        };
        if text.trim().is_empty() {
            unanswered(&open)?;
            block += 1;
        } else if text.starts_with('#') {
        } else if let Some(line) = text.strip_prefix("line:") {
            unanswered(&open)?;
            open = Some((number, line.strip_prefix(' ').unwrap_or(line).as_bytes().to_vec()));
        } else if let Some(line) = text.strip_prefix("eline:") {
            unanswered(&open)?;
            let line = unescape(line.strip_prefix(' ').unwrap_or(line)).map_err(fault)?;
            open = Some((number, line));
        } else if let Some(nets) = text.strip_prefix("trusted:") {
            let nets: Result<Vec<Net>, _> = nets.split_whitespace().map(str::parse).collect();
            trusted = Some(nets.map_err(|error| fault(error.to_string()))?);
        } else {
            let Some((at, line)) = open.take() else {
                return Err(fault("expected line:, eline:, trusted:, # or a blank line".to_owned()));
            };
            let (expect, mode) = expectation(text).map_err(fault)?;
            samples.push(Sample { at, block, line, expect, mode, trusted: trusted.clone() });
        }
    }
    match open {
        Some((at, _)) => Err(source.error_in_whole(format!("the line at {at} has no expectation after it"))),
        None => Ok(samples),
    }
}

fn expectation(text: &str) -> Result<(Option<Expect>, Option<String>), String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let outcome = match word {
        "fail" => Some(Outcome::Failure),
        "ok" => Some(Outcome::Success),
        "no" => None,
        _ => return Err(format!("{word:?} is no expectation; write fail, ok or no")),
    };
    let fields = fields(rest)?;
    let get = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_slice());
    let text = |name: &str| get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let mode = text("mode");
    let Some(outcome) = outcome else {
        return match fields.iter().find(|(key, _)| *key != "mode") {
            Some((key, _)) => Err(format!("{key}= after no: nothing comes out")),
            None => Ok((None, mode)),
        };
    };
    let host = match text("ip").as_deref() {
        Some("-") => None,
        Some(ip) => Some(ip.parse::<Host>().map_err(|error| error.to_string())?),
        None => return Err("ip= is missing; ip=- for an attempt without an address".to_owned()),
    };
    let time = match text("time").as_deref() {
        Some(time) => match timestamp::whole(time.as_bytes()) {
            Some(timestamp::Date::Civil(civil)) if civil.offset.is_some() => {
                let mut resolver = timestamp::Resolver::new(chrono_tz::Tz::UTC, None);
                resolver.resolve(timestamp::Date::Civil(civil), Timestamp::default(), None)
            }
            _ => return Err(format!("time={time} is no time with a zone; example: 2026-06-01T06:48:30Z")),
        },
        None => None,
    };
    let times = match text("times") {
        Some(times) => times.parse().map_err(|_| format!("times={times} is no number"))?,
        None => 1,
    };
    let owned = |name: &str| get(name).map(<[u8]>::to_vec);
    Ok((Some(Expect { outcome, host, user: owned("user"), pwhash: owned("pwhash"), time, times }), mode))
}

const KEYS: [&str; 6] = ["ip", "user", "time", "pwhash", "times", "mode"];

/// `key=value` pairs. A value ends where the next known key begins, so that a user name may hold blanks.
fn fields(text: &str) -> Result<Vec<(&str, Vec<u8>)>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').ok_or_else(|| format!("{rest:?} is no key=value"))?;
        if !KEYS.contains(&key) {
            return Err(format!("{key:?} is not one of {}", KEYS.join(", ")));
        }
        if let Some(quoted) = value.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.bytes().position(|b| match b {
                _ if escaped => {
                    escaped = false;
                    false
                }
                b'\\' => {
                    escaped = true;
                    false
                }
                b => b == b'"',
            });
            let end = end.ok_or_else(|| format!("{key}=: the quote is not closed"))?;
            found.push((key, unescape(&quoted[..end])?));
            rest = quoted[end + 1..].trim_start();
        } else {
            let end =
                KEYS.iter().filter_map(|key| value.find(&format!(" {key}="))).min().unwrap_or(value.len());
            found.push((key, value.as_bytes()[..end].to_vec()));
            rest = value[end..].trim_start();
        }
    }
    Ok(found)
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'0') => out.push(0),
            Some(quoted @ (b'\\' | b'"')) => out.push(quoted),
            Some(b'x') => {
                let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?);
            }
            other => return Err(format!("\\{} is no escape", other.map_or(' ', char::from))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_read_back_as_written() {
        let text = "# x\nline: a b\nfail ip=192.0.2.1 user=a b c time=2026-06-01T06:48:30Z mode=aggressive\n\n\
                    trusted: 10.0.0.0/8\neline: a\\x00b\nok ip=- user=\"a\\\" time=\\n\"\nline: c\nno\n";
        let samples = parse(&SourceText::new("x", text)).unwrap();
        assert_eq!(samples.len(), 3);
        let first = samples[0].expect.as_ref().unwrap();
        assert_eq!(first.user.as_deref(), Some(&b"a b c"[..]));
        assert_eq!(first.time, Some(Timestamp::from_secs(1_780_296_510)));
        assert_eq!((samples[0].at, samples[0].mode.as_deref()), (2, Some("aggressive")));
        assert_eq!(samples[1].line, b"a\0b");
        assert_eq!(samples[1].expect.as_ref().unwrap().user.as_deref(), Some(&b"a\" time=\n"[..]));
        assert_eq!((samples[1].block, samples[2].block), (1, 1));
        assert!(samples[2].expect.is_none() && samples[2].trusted.is_some());
    }

    #[test]
    fn faults_name_the_line() {
        let fault = |text: &str| parse(&SourceText::new("x.samples", text)).unwrap_err().to_string();
        assert!(fault("line: a\n\n").contains("x.samples:2:1"));
        assert!(fault("line: a\nfial").contains("no expectation; write fail"));
        assert!(fault("line: a\nfail user=x").contains("ip= is missing"));
        assert!(fault("line: a\nfail usr=x ip=192.0.2.1").contains("not one of"));
        assert!(fault("no").contains("expected line:"));
    }
}
