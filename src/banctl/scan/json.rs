//! Attempts as JSON lines. Written by hand: a large log gives millions.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::filter::{Attempt, Filter, Outcome};

/// Collects lines for one log.
pub struct Writer {
    buffer: Vec<u8>,
    /// `{"file":"...","line":`
    head: Vec<u8>,
    /// By filter: `,"filter":"NAME","event":"`
    filters: Vec<Vec<u8>>,
}

impl Writer {
    pub fn new(path: &Path, filters: &[Arc<Filter>]) -> Writer {
        let mut head = b"{\"file\":".to_vec();
        string(&mut head, path.as_os_str().as_encoded_bytes());
        head.extend_from_slice(b",\"line\":");
        let filter = |filter: &Arc<Filter>| {
            let mut text = b",\"filter\":".to_vec();
            string(&mut text, filter.name.as_bytes());
            text.extend_from_slice(b",\"event\":\"");
            text
        };
        Writer { buffer: Vec::with_capacity(1 << 16), head, filters: filters.iter().map(filter).collect() }
    }

    /// Adds an attempt; `line_base`: number of the block's first line.
    pub fn add(&mut self, line_base: u64, attempt: &Attempt<'_>) {
        let out = &mut self.buffer;
        out.extend_from_slice(&self.head);
        number(out, line_base + attempt.line_index as u64);
        out.extend_from_slice(&self.filters[attempt.filter]);
        out.extend_from_slice(match attempt.outcome {
            Outcome::Failure => b"failure\",\"ip\":",
            Outcome::Success => b"success\",\"ip\":",
        });
        match attempt.host.map(|host| host.ip()) {
            Some(IpAddr::V4(ip)) => {
                out.push(b'"');
                for (at, octet) in ip.octets().into_iter().enumerate() {
                    if at > 0 {
                        out.push(b'.');
                    }
                    number(out, u64::from(octet));
                }
                out.push(b'"');
            }
            Some(ip) => drop(write!(out, "\"{ip}\"")),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"user\":");
        match attempt.user {
            Some(user) => string(out, user),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"time\":");
        match attempt.time.map(|time| (time.secs(), time.micros().rem_euclid(1_000_000))) {
            Some((secs @ 0.., 0)) => number(out, secs as u64),
            Some((secs @ 0.., micros)) => {
                number(out, secs as u64);
                drop(write!(out, ".{micros:06}"));
                while out.last() == Some(&b'0') {
                    out.pop();
                }
            }
            Some(_) => drop(write!(out, "{}", attempt.time.unwrap_or_default().secs_f64())),
            None => out.extend_from_slice(b"null"),
        }
        if attempt.times != 1 {
            out.extend_from_slice(b",\"times\":");
            number(out, u64::from(attempt.times));
        }
        out.extend_from_slice(b"}\n");
    }

    /// Hands over what was collected.
    pub fn flush_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A JSON string of bytes that a stranger wrote; what is no UTF-8 becomes U+FFFD.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
    } else {
        let quoted = serde_json::to_string(&String::from_utf8_lossy(bytes)).unwrap_or_default();
        out.extend_from_slice(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or("").as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn what_is_written_is_json_with_everything_in_it() {
        let filter = Filter::from_toml("x", "failregex = ['x']", "x").unwrap();
        let mut writer = Writer::new(Path::new("a\"b"), &[Arc::new(filter)]);
        let attempt = |user, host: &str, micros| Attempt {
            outcome: Outcome::Failure,
            host: host.parse().ok(),
            user,
            pwhash: None,
            time: Some(Timestamp::from_micros(micros)),
            times: 1,
            line: b"",
            line_index: 2,
            filter: 0,
            pattern: 0,
        };
        let cases: [(&[u8], &str, i64, serde_json::Value); 4] = [
            (b"alice", "203.0.113.7", 5_000_000, 5.into()),
            (b"a\"\\\n\x01\xff", "2001:db8::1", 5_250_000, 5.25.into()),
            (b"\"", "203.0.113.70", 5_000_001, 5.000001.into()),
            (b"", "-", 10_100_000, 10.1.into()),
        ];
        for (user, host, micros, time) in cases {
            writer.add(10, &attempt(Some(user), host, micros));
            let value: serde_json::Value = {
                let mut line = Vec::new();
                writer.flush_to(&mut line).unwrap();
                serde_json::from_slice(&line).unwrap()
            };
            assert_eq!(value["file"], "a\"b");
            assert_eq!(value["line"], 12);
            assert_eq!(value["ip"].as_str().unwrap_or("-"), host);
            assert_eq!(value["user"], String::from_utf8_lossy(user).as_ref());
            assert_eq!(value["time"], time);
        }
        assert!(writer.buffer.is_empty());
    }
}
