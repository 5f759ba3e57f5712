//! Attempts as JSON lines, written by hand: this is the way of `banctl scan` that prints most.

use std::io::{self, Write};
use std::net::IpAddr;

use super::Output;
use crate::addr::Host;
use crate::filter::{Attempt, Outcome};
use crate::time::Timestamp;

/// One object for each attempt, a block's worth at a time. The contract stands in DESIGN.md and in the
/// corpus: `{"file","line","filter","event","ip","user","time"}`, and `"times"` where it is not 1: N of
/// `message repeated N times`, or 0 for a further line of an attempt that an earlier line was counted for.
pub(super) struct JsonLines<W> {
    out: W,
    /// `{"file":"…","line":` of the log that is being read.
    head: Vec<u8>,
    /// By filter: what stands between the line number and the address of a failure and of a success.
    middles: Vec<[Vec<u8>; 2]>,
    buffer: Vec<u8>,
}

impl<W: Write> JsonLines<W> {
    /// `filters`: their names, by the number that an attempt gives.
    pub fn new(out: W, filters: &[String]) -> JsonLines<W> {
        let middle = |name: &str, event: &str| {
            let mut text = b",\"filter\":".to_vec();
            string(&mut text, name.as_bytes());
            text.extend_from_slice(format!(",\"event\":\"{event}\",\"ip\":").as_bytes());
            text
        };
        let middles = filters.iter().map(|name| [middle(name, "failure"), middle(name, "success")]).collect();
        JsonLines { out, head: Vec::new(), middles, buffer: Vec::with_capacity(64 << 10) }
    }
}

impl<W: Write> Output for JsonLines<W> {
    fn begin(&mut self, file: &[u8]) {
        self.head.clear();
        self.head.extend_from_slice(b"{\"file\":");
        string(&mut self.head, file);
        self.head.extend_from_slice(b",\"line\":");
    }

    fn attempt(&mut self, line: u64, attempt: &Attempt<'_>, again: bool) {
        if again {
            return;
        }
        let out = &mut self.buffer;
        out.extend_from_slice(&self.head);
        number(out, line);
        let [failure, success] = &self.middles[attempt.filter];
        out.extend_from_slice(match attempt.outcome {
            Outcome::Failure => failure,
            Outcome::Success => success,
        });
        match attempt.host {
            Some(host) => address(out, host),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"user\":");
        match attempt.user {
            Some(user) => string(out, user),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"time\":");
        match attempt.time {
            Some(at) => time(out, at),
            None => out.extend_from_slice(b"null"),
        }
        if attempt.times != 1 {
            out.extend_from_slice(b",\"times\":");
            number(out, u64::from(attempt.times));
        }
        out.extend_from_slice(b"}\n");
    }

    fn block(&mut self, _first_line: u64, _block: &[u8]) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.out.write_all(&self.buffer)?;
            self.out.flush()?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// A decimal number.
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

/// An address in quotes.
fn address(out: &mut Vec<u8>, host: Host) {
    out.push(b'"');
    match host.ip() {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        IpAddr::V6(ip) => write!(out, "{ip}").expect("a Vec takes all"),
    }
    out.push(b'"');
}

/// Epoch seconds; a fraction only where there is one.
fn time(out: &mut Vec<u8>, time: Timestamp) {
    let micros = time.micros();
    if micros < 0 {
        return write!(out, "{}", time.to_json()).expect("a Vec takes all");
    }
    number(out, (micros / 1_000_000) as u64);
    let mut fraction = micros % 1_000_000;
    let mut unit = 100_000;
    if fraction > 0 {
        out.push(b'.');
    }
    while fraction > 0 {
        out.push(b'0' + (fraction / unit) as u8);
        fraction %= unit;
        unit /= 10;
    }
}

/// A string in quotes. What is no UTF-8 comes out as U+FFFD, as JSON has no bytes.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if text.iter().all(plain) {
        out.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' => out.extend_from_slice(b"\\\""),
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\n' => out.extend_from_slice(b"\\n"),
                    0x00..0x20 | 0x7f => {
                        write!(out, "\\u{byte:04x}").expect("a Vec takes all");
                    }
                    _ => out.push(byte),
                }
            }
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_whole_seconds_where_they_can_be() {
        for (micros, want) in [
            (1_795_300_000_000_000, "1795300000"),
            (1_795_300_000_500_000, "1795300000.5"),
            (1_795_300_000_000_001, "1795300000.000001"),
            (1_795_300_000_123_450, "1795300000.12345"),
            (0, "0"),
            (-1_000_000, "-1"),
        ] {
            assert_eq!(written(|out| time(out, Timestamp::from_micros(micros))), want);
        }
    }

    #[test]
    fn addresses_print_as_they_do_elsewhere() {
        for text in ["203.0.113.7", "0.0.0.0", "255.255.255.255", "2001:db8::1"] {
            assert_eq!(written(|out| address(out, text.parse().unwrap())), format!("\"{text}\""));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_string_and_read_back_as_what_is_text_of_them(
            bytes in prop_oneof![any::<Vec<u8>>(), ".*".prop_map(String::into_bytes)]
        ) {
            let json = written(|out| string(out, &bytes));
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn numbers_and_times_are_those_of_the_general_writer(value: u64, micros in 0i64..4_000_000_000_000_000) {
            prop_assert_eq!(written(|out| number(out, value)), value.to_string());
            let json = written(|out| time(out, Timestamp::from_micros(micros)));
            let back: f64 = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, micros as f64 / 1e6);
        }
    }
}
