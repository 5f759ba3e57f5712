//! Splitting a line by its structure, before any pattern sees it: date, program name, message.
//!
//! Patterns are matched against the message alone, anchored at its start. So text that a client wrote can
//! neither forge the program name nor be taken for the beginning of a record.

use super::timestamp::{self, Date};

/// How a log's lines are built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FrameKind {
    /// `DATE HOST IDENT[PID]: MESSAGE`, with `<PRI>` or not, RFC 5424, or a journal's form without date.
    Syslog,
    /// A date at the start, then the message.
    Date,
    /// The whole line is the message; the pattern itself finds the date, if any.
    Line,
}

impl FrameKind {
    pub const ALL: [FrameKind; 3] = [FrameKind::Syslog, FrameKind::Date, FrameKind::Line];

    pub fn from_name(name: &str) -> Option<FrameKind> {
        match name {
            "syslog" => Some(FrameKind::Syslog),
            "date" => Some(FrameKind::Date),
            "line" => Some(FrameKind::Line),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            FrameKind::Syslog => "syslog",
            FrameKind::Date => "date",
            FrameKind::Line => "line",
        }
    }

    /// Takes `line` (without its line end) apart; `None` if it is not built like this.
    #[inline]
    pub fn split(self, line: &[u8]) -> Option<Framed<'_>> {
        match self {
            FrameKind::Syslog => common(line).or_else(|| syslog(line)),
            FrameKind::Date => date(line),
            FrameKind::Line => Some(Framed {
                kind: self,
                date: None,
                ident: None,
                short_ident: false,
                pid: None,
                message: line,
                times: 1,
            }),
        }
    }
}

/// A line taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    pub kind: FrameKind,
    pub date: Option<Date>,
    /// The program name, without `[pid]`; only in the syslog frame.
    pub ident: Option<&'a [u8]>,
    /// The name stands in an RFC 5424 header, where syslog daemons cut `postfix/smtpd` to `postfix`.
    pub short_ident: bool,
    /// The process id as the line spells it; only in the syslog frame.
    pub pid: Option<&'a [u8]>,
    pub message: &'a [u8],
    /// N of `message repeated N times: [ MESSAGE]`, else 1.
    pub times: u32,
}

fn date(line: &[u8]) -> Option<Framed<'_>> {
    let (len, date) = timestamp::at_start(line)?;
    let rest = &line[len..];
    let skip = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b':')).unwrap_or(rest.len());
    Some(Framed {
        kind: FrameKind::Date,
        date: Some(date),
        ident: None,
        short_ident: false,
        pid: None,
        message: &rest[skip..],
        times: 1,
    })
}

/// A line of the commonest form, as [`syslog`] would take it apart; `None` says nothing.
#[inline]
fn common(line: &[u8]) -> Option<Framed<'_>> {
    let (ident, message) = glance_syslog(line)?;
    let (len, date) = timestamp::at_start(line)?;
    let host = after_date(line)?;
    // The date as read must end where it was seen to end.
    if len + 1 + host.len() != line.len() || memchr::memchr2(b'[', b':', ident).is_some() {
        return None;
    }
    // Between ident and message stands `[PID]: ` or `: `.
    let start = ident.as_ptr().addr() - line.as_ptr().addr() + ident.len();
    let pid = match &line[start..line.len() - message.len()] {
        [b'[', pid @ .., b']', b':', b' '] => Some(pid),
        _ => None,
    };
    Some(Framed {
        kind: FrameKind::Syslog,
        date: Some(date),
        ident: Some(ident),
        short_ident: false,
        pid,
        message,
        times: 1,
    })
}

fn syslog(line: &[u8]) -> Option<Framed<'_>> {
    let mut at = 0;
    // No date of syslog's and no host's name begins so: it is a program's own log, and words of a client in it could
    // pass for host and program.
    if line.first() == Some(&b'[') {
        return None;
    }
    if line.first() == Some(&b'<') {
        let end = line.iter().take(5).position(|b| *b == b'>')?;
        if end < 2 || !line[1..end].iter().all(u8::is_ascii_digit) {
            return None;
        }
        at = end + 1;
        if line[at..].starts_with(b"1 ") {
            return rfc5424(&line[at + 2..]);
        }
    }
    let date = timestamp::at_start(&line[at..]);
    if let Some((len, _)) = date {
        at += len;
        if line.get(at) != Some(&b' ') {
            return None;
        }
        at += 1;
    }
    let mut rest = &line[at..];
    rest = skip_blanks(rest);
    // HOST, unless it is missing: then the first word is already `IDENT[PID]:` or `IDENT:`. Of hosts only an IPv6
    // address may end so.
    let word_end = memchr::memchr(b' ', rest)?;
    let word = &rest[..word_end];
    if !word.ends_with(b":") || crate::addr::Host::from_bytes(word).is_some() {
        rest = skip_blanks(&rest[word_end + 1..]);
    }
    let (ident, pid, rest) = ident(rest)?;
    let (message, times) = repeated(skip_stamp(skip_blanks(rest)));
    Some(Framed {
        kind: FrameKind::Syslog,
        date: date.map(|(_, date)| date),
        ident: Some(ident),
        short_ident: false,
        pid,
        message,
        times,
    })
}

/// Program name, process id, and the rest of the line.
type Tagged<'l> = (&'l [u8], Option<&'l [u8]>, &'l [u8]);

/// `IDENT[PID]:` or `IDENT:`; the ident, the pid and what follows the colon. An ident holds no blank.
#[inline]
fn ident(text: &[u8]) -> Option<Tagged<'_>> {
    let end = text.iter().position(|b| matches!(b, b'[' | b':' | b' '))?;
    if end == 0 {
        return None;
    }
    let ident = &text[..end];
    match text[end] {
        b':' => Some((ident, None, &text[end + 1..])),
        b'[' => {
            let rest = &text[end + 1..];
            let close = rest.iter().position(|b| matches!(b, b']' | b' '))?;
            match rest[close..] {
                [b']', b':', ref after @ ..] => Some((ident, Some(&rest[..close]), after)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// After `<PRI>1 `: TIMESTAMP HOST APP-NAME PROCID MSGID STRUCTURED-DATA, a byte order mark or none, MESSAGE.
fn rfc5424(text: &[u8]) -> Option<Framed<'_>> {
    let (date, mut rest) = match text {
        [b'-', b' ', rest @ ..] => (None, rest),
        _ => {
            let (len, date) = timestamp::at_start(text)?;
            (Some(date), text[len..].strip_prefix(b" ")?)
        }
    };
    let mut word = || -> Option<&[u8]> {
        let end = memchr::memchr(b' ', rest)?;
        let word = &rest[..end];
        rest = &rest[end + 1..];
        Some(word)
    };
    let _host = word()?;
    let ident = word()?;
    let pid = word()?;
    let _id = word()?;
    let mut rest = match rest {
        [b'-', rest @ ..] => rest,
        [b'[', ..] => structured_data(rest)?,
        _ => return None,
    };
    rest = skip_blanks(rest);
    rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
    let (message, times) = repeated(skip_stamp(skip_blanks(rest)));
    Some(Framed {
        kind: FrameKind::Syslog,
        date,
        ident: Some(ident),
        short_ident: true,
        pid: Some(pid).filter(|pid| *pid != b"-"),
        message,
        times,
    })
}

/// What follows `[id name="value" ...][...]`; in values `\` escapes `"`, `\` and `]`.
fn structured_data(text: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && text.get(at + 1) != Some(&b'[') => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let skip = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    &text[skip..]
}

/// A kernel's `[   12.345678] `.
fn skip_stamp(text: &[u8]) -> &[u8] {
    let [b'[', rest @ ..] = text else { return text };
    let Some(end) = rest.iter().take(20).position(|b| *b == b']') else { return text };
    let inner = rest[..end].trim_ascii();
    let mut dots = 0;
    let fits = !inner.is_empty()
        && inner.iter().all(|b| {
            dots += usize::from(*b == b'.');
            b.is_ascii_digit() || *b == b'.'
        });
    if fits && dots == 1 { skip_blanks(&rest[end + 1..]) } else { text }
}

/// rsyslog's `message repeated N times: [ MESSAGE]`, opened.
fn repeated(message: &[u8]) -> (&[u8], u32) {
    let open = || {
        let rest = message.strip_prefix(b"message repeated ")?;
        let digits = rest.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
        let times = rest[..digits].iter().fold(0u32, |sum, b| sum * 10 + u32::from(b - b'0'));
        let inner = rest[digits..].strip_prefix(b" times: [")?.strip_suffix(b"]")?;
        (times > 0).then_some((skip_blanks(inner), times))
    };
    if message.first() == Some(&b'm') { open().unwrap_or((message, 1)) } else { (message, 1) }
}

/// What would be ident and message of a line of the two commonest syslog forms, if [`FrameKind::Syslog`] finds
/// it well formed, and if the ident holds neither `[` nor `:`; most of the line is not looked at. For other
/// forms `None`, which says nothing.
#[inline]
pub(super) fn glance_syslog(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = after_date(line)?;
    let host = near_blank(rest)?;
    if host == 0 || rest[host - 1] == b':' {
        return None;
    }
    let rest = &rest[host + 1..];
    let word = near_blank(rest)?;
    let [ident @ .., b':'] = &rest[..word] else { return None };
    let ident = match ident {
        [ident @ .., b']'] => {
            let open = ident.iter().rposition(|b| !b.is_ascii_digit())?;
            if ident[open] != b'[' {
                return None;
            }
            &ident[..open]
        }
        ident => ident,
    };
    let message = &rest[word + 1..];
    let plain = !ident.is_empty() && !matches!(message.first(), None | Some(b' ' | b'[' | b'm'));
    plain.then_some((ident, message))
}

/// The first blank, which is thought to be near: eight bytes at a time, without the set-up of a search through much.
#[inline]
fn near_blank(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (chunks, rest) = text.as_chunks::<8>();
    for (at, chunk) in chunks.iter().enumerate() {
        // Zero where there is a blank; the lowest byte so marked is right, and no other is asked for.
        let word = u64::from_le_bytes(*chunk) ^ (ONES * b' ' as u64);
        let marks = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if marks != 0 {
            return Some(at * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let start = chunks.len() * 8;
    rest.iter().position(|byte| *byte == b' ').map(|at| start + at)
}

/// What follows a date of the two commonest forms and a blank: the host, unless it looks like part of the date.
#[inline]
fn after_date(line: &[u8]) -> Option<&[u8]> {
    let head: &[u8; 24] = line.first_chunk()?;
    let at = if head[10] == b'T' && head[4] == b'-' && head[13] == b':' && head[19] != b' ' {
        // The date's end is the next blank; a zone may follow only where this one has none.
        let space = 20 + memchr::memchr(b' ', line.get(20..60.min(line.len()))?)?;
        if !(line[..space].ends_with(b"Z")
            || line[19..space].contains(&b'+')
            || line[19..space].contains(&b'-'))
        {
            return None;
        }
        space + 1
    } else if head[3] == b' ' && head[6] == b' ' && head[9] == b':' && head[12] == b':' && head[15] == b' ' {
        16
    } else {
        return None;
    };
    // A year, a second blank: let the careful reading decide.
    line.get(at..).filter(|rest| !matches!(rest.first(), None | Some(b'0'..=b'9' | b' ')))
}

/// The message of a line as [`FrameKind::Date`] would give it if it fits.
#[inline]
pub(super) fn glance_date(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = after_date(line)
        && !matches!(rest.first(), Some(b'+' | b'-' | b'U' | b'G' | b':' | b'\t'))
    {
        return Some(rest);
    }
    date(line).map(|framed| framed.message)
}

/// A glob on program names: `*` is any run of bytes but blanks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentGlob(Box<str>);

impl IdentGlob {
    pub fn new(text: &str) -> IdentGlob {
        IdentGlob(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `ident` fits; `short`: it may have been cut at its first `/` ([`Framed::short_ident`]).
    pub fn fits(&self, ident: &[u8], short: bool) -> bool {
        let glob = self.0.as_bytes();
        if fits(glob, ident) {
            return true;
        }
        match memchr::memchr(b'/', glob) {
            Some(cut) if short && !ident.contains(&b'/') => fits(&glob[..cut], ident),
            _ => false,
        }
    }
}

fn fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == b'*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && glob[g] == text[t] {
            g += 1;
            t += 1;
        } else if let Some((back_g, back_t)) = star {
            g = back_g + 1;
            t = back_t + 1;
            star = Some((back_g, t));
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<(String, String, u32)> {
        let framed = syslog(line.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(framed.ident?), text(framed.message), framed.times))
    }

    #[test]
    fn every_syslog_form_gives_the_same_parts() {
        for line in [
            "Jun  1 06:27:45 mail sshd[12]: hello: world",
            "<38>Jun  1 06:27:45 mail sshd[12]: hello: world",
            "Jun  1 06:27:45 2026 mail sshd[12]: hello: world",
            "2026-06-01T06:27:45.123456+02:00 mail sshd[12]: hello: world",
            "2026-06-01T06:27:45.123456+02:00 mail sshd: hello: world",
            "Jun  1 06:27:45 sshd[12]: hello: world",
            "Jun  1 06:27:45 sshd: hello: world",
            "Jun  1 06:27:45 fd00:db8:: sshd[12]: hello: world",
            "mail sshd[12]: hello: world",
            "<38>1 2026-06-01T06:27:45Z mail sshd 12 - - hello: world",
            "<38>1 - mail sshd 12 - -  hello: world",
            "<38>1 2026-06-01T06:27:45Z mail sshd 12 ID [a b=\"x]\\\"\"][c d=\"e\"] \u{feff}hello: world",
            "Jun  1 06:27:45 mail sshd[12]: [   12.345678] hello: world",
        ] {
            assert_eq!(parts(line), Some(("sshd".into(), "hello: world".into(), 1)), "{line}");
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

    #[test]
    fn repeated_messages_are_opened() {
        assert_eq!(
            parts("Jun  1 06:27:45 mail sshd[12]: message repeated 3 times: [ hello]"),
            Some(("sshd".into(), "hello".into(), 3))
        );
        let as_it_is = "message repeated 3 times: [ hello";
        assert_eq!(parts(&format!("Jun  1 06:27:45 mail x: {as_it_is}")).unwrap().1, as_it_is);
    }

    #[test]
    fn what_is_no_syslog_line_is_none() {
        for line in [
            "",
            " ",
            "x",
            "Jun  1 06:27:45",
            "Jun  1 06:27:45 mail",
            "Jun  1 06:27:45 mail sshd",
            "Jun  1 06:27:45 mail last message repeated 2 times",
            "<38>1 2026-06-01T06:27:45Z mail sshd",
            "<>x y z: m",
            "[2026-06-01 06:27:45] mail sshd[12]: x",
            "Jun  1 06:27:45 mail sshd[12 x]: y",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    #[test]
    fn a_date_frame_leaves_the_rest() {
        for (line, want) in [
            ("2026-06-01 06:27:45,895 WARN  [x] [y] security - z", "WARN  [x] [y] security - z"),
            ("2026/06/01 06:27:45 [error] 12#12: *3 user", "[error] 12#12: *3 user"),
            ("[01-Jun-2026 06:27:45 +0000]: <s> IMAP Error: x", "<s> IMAP Error: x"),
            ("Jun 01 06:27:45 sogod [123]: y", "sogod [123]: y"),
            ("[Mon Jun 01 06:27:45.123456 2026] [auth_basic:error] [pid 1]", "[auth_basic:error] [pid 1]"),
        ] {
            let framed = date(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(framed.message), want);
        }
    }

    #[test]
    fn ident_globs_fit_whole_names() {
        let fits = |glob: &str, ident: &str, short| IdentGlob::new(glob).fits(ident.as_bytes(), short);
        assert!(fits("postfix/smtpd", "postfix/smtpd", false));
        assert!(!fits("postfix/smtpd", "postfix/smtpd2", false));
        assert!(fits("postfix/*/smtpd", "postfix/submission/smtpd", false));
        assert!(fits("postfix*/smtpd", "postfix-out/smtpd", false));
        assert!(fits("*", "anything", false));
        assert!(!fits("postfix/smtpd", "postfix", false));
        assert!(fits("postfix/smtpd", "postfix", true));
    }
}
