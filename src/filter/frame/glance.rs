//! Lines of the commonest forms: told at a glance, before anybody knows whether they are worth being read.

use super::{FrameKind, Framed};
use crate::filter::timestamp::{self, Date};
use crate::filter::word;

/// What a glance at a line shows.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'l> {
    /// Date and host are the log's [`LastStamp`].
    same_stamp: bool,
    date_len: usize,
    /// Where the ident begins.
    ident_at: usize,
    pub ident: &'l [u8],
    /// An ident that [`FrameKind::Syslog`] is known to find so.
    pub known: bool,
    pid: Option<&'l [u8]>,
    pub message: &'l [u8],
}

impl<'l> Glance<'l> {
    /// The line as [`FrameKind::Syslog`] takes it apart; `None` says nothing.
    #[inline]
    pub fn framed(self, line: &'l [u8], last: &mut LastStamp) -> Option<Framed<'l>> {
        let Glance { same_stamp, date_len, ident_at, ident, known, pid, message } = self;
        if !known && ident.iter().any(|byte| matches!(byte, b'[' | b':')) {
            return None;
        }
        if !same_stamp {
            // The date as read must end where it was seen to end.
            let (_, date) = timestamp::at_start(line).filter(|(len, _)| *len == date_len)?;
            last.keep(&line[..ident_at], date_len, date);
        }
        Some(Framed {
            kind: FrameKind::Syslog,
            date: last.date,
            ident: Some(ident),
            short_ident: false,
            pid,
            message,
            times: 1,
        })
    }
}

/// Date and host of the line that was read last: lines that come together mostly begin so too.
#[derive(Debug)]
pub struct LastStamp {
    /// As written, with the blank after the host; then `len` bytes of it.
    text: [u8; STAMP_BYTES_MAX],
    /// 0: none.
    len: usize,
    date_len: usize,
    date: Option<Date>,
}

/// Longer ones are not known again. Bytes.
const STAMP_BYTES_MAX: usize = 96;

impl Default for LastStamp {
    fn default() -> LastStamp {
        LastStamp { text: [0; STAMP_BYTES_MAX], len: 0, date_len: 0, date: None }
    }
}

impl LastStamp {
    /// Whether `line` begins with it.
    #[inline]
    fn begins(&self, line: &[u8]) -> bool {
        self.len > 0 && line.starts_with(&self.text[..self.len])
    }

    fn keep(&mut self, text: &[u8], date_len: usize, date: Date) {
        (self.len, self.date_len, self.date) = (0, date_len, Some(date));
        if let Some(kept) = self.text.get_mut(..text.len()) {
            kept.copy_from_slice(text);
            self.len = text.len();
        }
    }
}

/// What would be ident and message of a line of the two commonest syslog forms, if [`FrameKind::Syslog`] finds
/// it well formed, and if the ident holds neither `[` nor `:`; most of the line is not looked at. For other
/// forms `None`, which says nothing.
#[inline]
pub fn syslog<'l>(line: &'l [u8], last: &LastStamp) -> Option<Glance<'l>> {
    let same_stamp = last.begins(line);
    let (date_len, ident_at) = if same_stamp {
        (last.date_len, last.len)
    } else {
        let date_len = date_len(line)?;
        let host = near_blank(&line[date_len + 1..])?;
        let ident_at = date_len + 1 + host + 1;
        if host == 0 || line[ident_at - 2] == b':' {
            return None;
        }
        (date_len, ident_at)
    };
    let rest = &line[ident_at..];
    let word = near_blank(rest)?;
    let [ident @ .., b':'] = &rest[..word] else { return None };
    let (ident, pid) = match ident {
        [ident @ .., b']'] => {
            let open = ident.iter().rposition(|b| !b.is_ascii_digit())?;
            if ident[open] != b'[' {
                return None;
            }
            (&ident[..open], Some(&ident[open + 1..]))
        }
        ident => (ident, None),
    };
    let message = &rest[word + 1..];
    let plain = !ident.is_empty() && !matches!(message.first(), None | Some(b' ' | b'[' | b'm'));
    plain.then_some(Glance { same_stamp, date_len, ident_at, ident, known: false, pid, message })
}

/// The first blank, which is thought to be near: eight bytes at a time, without the set-up of a search through much.
#[inline]
fn near_blank(text: &[u8]) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<8>();
    for (at, chunk) in chunks.iter().enumerate() {
        if let Some(blank) = word::first(word::zeros(u64::from_le_bytes(*chunk) ^ word::eight(b' '))) {
            return Some(at * 8 + blank);
        }
    }
    let start = chunks.len() * 8;
    rest.iter().position(|byte| *byte == b' ').map(|at| start + at)
}

/// How long the date is that `line` begins with, of the two commonest forms; a blank and a host follow, which does not look
/// like part of the date.
#[inline]
fn date_len(line: &[u8]) -> Option<usize> {
    let head: &[u8; 24] = line.first_chunk()?;
    let len = if head[10] == b'T' && head[4] == b'-' && head[13] == b':' && head[19] != b' ' {
        // The date's end is the next blank; a zone may follow only where this one has none.
        let space = 20 + memchr::memchr(b' ', line.get(20..60.min(line.len()))?)?;
        if !(line[..space].ends_with(b"Z")
            || line[19..space].contains(&b'+')
            || line[19..space].contains(&b'-'))
        {
            return None;
        }
        space
    } else if head[3] == b' ' && head[6] == b' ' && head[9] == b':' && head[12] == b':' && head[15] == b' ' {
        15
    } else {
        return None;
    };
    // A year, a second blank: let the careful reading decide.
    line.get(len + 1).is_some_and(|first| !matches!(first, b'0'..=b'9' | b' ')).then_some(len)
}

/// The message of a line as [`FrameKind::Date`] would give it if it fits.
#[inline]
pub fn date(line: &[u8]) -> Option<&[u8]> {
    if let Some(len) = date_len(line)
        && !matches!(line[len + 1], b'+' | b'-' | b'U' | b'G' | b':' | b'\t')
    {
        return Some(&line[len + 1..]);
    }
    super::date(line).map(|framed| framed.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_line_was_makes_no_difference() {
        let dates = [
            "Jun  1 06:27:45",
            "Jun  1 06:27:46",
            "Jun  1 06:27:45.123",
            "2026-06-01T06:27:45+02:00",
            "2026-06-01T06:27:45.123456789012+02:00",
            "2026-06-01T06:27:45Z",
        ];
        let hosts = ["mail", "Mail", "2026 mail", "+0200 mail", "UTC mail", " mail", "2mail", "[mail]"];
        let mut lines = Vec::new();
        for date in dates {
            lines.extend(hosts.map(|host| format!("{date} {host} sshd[12]: hello: world")));
            lines.extend(["", " ", " m"].map(|rest| format!("{date}{rest}")));
        }
        for before in &lines {
            for line in &lines {
                let mut last = LastStamp::default();
                FrameKind::Syslog.split_seen(before.as_bytes(), None, &mut last);
                let line = line.as_bytes();
                let framed = FrameKind::Syslog.split_seen(line, None, &mut last);
                assert_eq!(framed, FrameKind::Syslog.split(line), "{before:?}");
            }
        }
    }

    #[test]
    fn the_first_blank_is_found_wherever_it_is() {
        for len in 0..40 {
            for at in 0..len {
                let mut text = vec![b'!'; len];
                text[at..].fill(b' ');
                assert_eq!(near_blank(&text), Some(at));
                text[at..].fill(b'!');
                text[len - 1] = b' ';
                assert_eq!(near_blank(&text), Some(len - 1));
            }
            assert_eq!(near_blank(&vec![b'\xa0'; len]), None);
        }
    }
}
