//! Splitting a line by its structure, before any pattern sees it: date, program name, message.
//!
//! Patterns are matched against the message alone, anchored at its start. So text that a client wrote can
//! neither forge the program name nor be taken for the beginning of a record.

pub(super) mod glance;

use self::glance::{Glance, LastStamp};
use super::timestamp::{self, Date};

/// How a log's lines are built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FrameKind {
    /// `DATE HOST IDENT[PID]: MESSAGE`, with `<PRI>` or not, RFC 5424, or a journal's form without date; and what some
    /// log daemons and programs make of these.
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
        self.split_seen(line, None, &mut LastStamp::default())
    }

    /// The same, of a line that was glanced at already. `last`: this log's.
    #[inline]
    pub(super) fn split_seen<'l>(
        self,
        line: &'l [u8],
        glance: Option<Glance<'l>>,
        last: &mut LastStamp,
    ) -> Option<Framed<'l>> {
        match self {
            FrameKind::Syslog => {
                let glance = glance.or_else(|| glance::syslog(line, last));
                glance.and_then(|glance| glance.framed(line, last)).or_else(|| syslog(line))
            }
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
    let here = |line| timestamp::at_start(line).map(|(len, date)| (line, len, date));
    let (line, len, date) = here(line).or_else(|| here(past_container(line)?))?;
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

fn syslog(line: &[u8]) -> Option<Framed<'_>> {
    plain_syslog(line).or_else(|| plain_syslog(past_container(line)?))
}

fn plain_syslog(line: &[u8]) -> Option<Framed<'_>> {
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
    if let [b'1', b' ', rest @ ..] = line
        && rest.first().is_some_and(u8::is_ascii_digit)
    {
        return rfc5424(rest);
    }
    let date = timestamp::at_start(&line[at..]);
    if let Some((len, _)) = date {
        at += len;
        if line.get(at) != Some(&b' ') {
            return None;
        }
        at += 1;
        // A container's log puts a date of its own before the line; it has a zone more often.
        if let Some((len, _)) = timestamp::at_start(&line[at..])
            && line.get(at + len) == Some(&b' ')
        {
            at += len + 1;
        }
    }
    let rest = skip_priority(skip_blanks(&line[at..]));
    // HOST, unless it is missing: then the first word is already `IDENT[PID]:` or `IDENT:`. Of hosts only an IPv6
    // address may end so.
    let word_end = memchr::memchr(b' ', rest)?;
    let word = &rest[..word_end];
    let after = skip_priority(skip_blanks(&rest[word_end + 1..]));
    let no_host = word.ends_with(b":") && crate::addr::Host::from_bytes(word).is_none();
    // Without a date it may be any log; what a client wrote stands no further than a host's name goes.
    if date.is_none() && !no_host && !word.iter().all(|b| is_of_host(*b)) {
        return None;
    }
    let tagged = if no_host { rest } else { after };
    let Some((ident, pid, rest)) = ident(tagged).or_else(|| date.and(own_tag(tagged))) else {
        // RFC 5424 without its beginning, as templates write it.
        return date
            .filter(|_| line.get(10) == Some(&b'T'))
            .and_then(|(_, date)| after_host(Some(date), after));
    };
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

/// `IDENT[PID] ` without a colon, as ProFTPD writes it into a log of its own.
fn own_tag(text: &[u8]) -> Option<Tagged<'_>> {
    let end = memchr::memchr(b' ', text)?;
    let word = text[..end].strip_suffix(b"]")?;
    let open = memchr::memchr(b'[', word)?;
    let (ident, pid) = (&word[..open], &word[open + 1..]);
    let fits = !ident.is_empty() && !pid.is_empty() && pid.iter().all(u8::is_ascii_digit);
    fits.then_some((ident, Some(pid), &text[end..]))
}

/// After `<PRI>1 `: TIMESTAMP HOST APP-NAME PROCID MSGID STRUCTURED-DATA, a byte order mark or none, MESSAGE.
fn rfc5424(text: &[u8]) -> Option<Framed<'_>> {
    let (date, rest) = match text {
        [b'-', b' ', rest @ ..] => (None, rest),
        _ => {
            let (len, date) = timestamp::at_start(text)?;
            (Some(date), text[len..].strip_prefix(b" ")?)
        }
    };
    after_host(date, &rest[memchr::memchr(b' ', rest)? + 1..])
}

/// RFC 5424's header from APP-NAME on.
fn after_host(date: Option<Date>, mut rest: &[u8]) -> Option<Framed<'_>> {
    let mut word = || -> Option<&[u8]> {
        let end = memchr::memchr(b' ', rest)?;
        let word = &rest[..end];
        rest = &rest[end + 1..];
        Some(word)
    };
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

/// `mail.info ` as BusyBox and OpenWrt write it, `<mail.info> ` as FreeBSD does.
fn skip_priority(text: &[u8]) -> &[u8] {
    if text.first().is_none_or(|first| *first != b'<' && !first.is_ascii_lowercase()) {
        return text;
    }
    let Some(end) = text.iter().take(20).position(|b| *b == b' ') else { return text };
    let word = &text[..end];
    let word = word.strip_prefix(b"<").and_then(|word| word.strip_suffix(b">")).unwrap_or(word);
    if is_priority(word) { skip_blanks(&text[end + 1..]) } else { text }
}

fn is_priority(word: &[u8]) -> bool {
    let Some(dot) = memchr::memchr(b'.', word) else { return false };
    let (facility, level) = (&word[..dot], &word[dot + 1..]);
    let known = matches!(
        facility,
        b"auth" | b"authpriv" | b"security" | b"mail" | b"daemon" | b"user" | b"syslog" | b"ftp" | b"news"
    ) || matches!(facility, [b'l', b'o', b'c', b'a', b'l', b'0'..=b'7']);
    known
        && matches!(
            level,
            b"emerg"
                | b"alert"
                | b"crit"
                | b"err"
                | b"error"
                | b"warn"
                | b"warning"
                | b"notice"
                | b"info"
                | b"debug"
        )
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'%')
}

/// What follows `NAME  | `, which stands before each line of several containers' logs shown together.
fn past_container(line: &[u8]) -> Option<&[u8]> {
    let name = line.iter().take(64).position(|b| !is_of_host(*b)).filter(|end| *end > 0)?;
    skip_blanks(&line[name..]).strip_prefix(b"| ")
}

/// A kernel's `[   12.345678] `, Solaris' `[ID 197553 mail.info] `.
fn skip_stamp(text: &[u8]) -> &[u8] {
    let [b'[', rest @ ..] = text else { return text };
    if let Some(id) = rest.strip_prefix(b"ID ") {
        let digits = id.iter().take_while(|b| b.is_ascii_digit()).count();
        let end = id.iter().take(40).position(|b| *b == b']');
        return match (id.get(digits), end) {
            (Some(b' '), Some(end)) if digits > 0 && is_priority(&id[digits + 1..end]) => {
                skip_blanks(&id[end + 1..])
            }
            _ => text,
        };
    }
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
mod tests;
