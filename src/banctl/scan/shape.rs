//! The shape of a message: its fixed words, with everything masked that differs from line to line.

use std::ops::Range;

use crate::addr::Host;

/// What a piece of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Stands in every such line.
    Text,
    Address,
    /// Digits.
    Number,
    /// Numbers with dots and dashes between: versions, status codes, dates.
    Numbers,
    /// Letters and digits that mean nothing: queue ids, session ids.
    Id,
    /// A host name.
    Name,
    /// An account, as the word before it says.
    User,
    /// Something with an `@`.
    Mailbox,
    /// What stands in quotes or angle brackets; the byte that ends it.
    Inside(u8),
    /// A word in whose place other lines have another one.
    Word,
}

impl Kind {
    /// How a shape shows it; `None`: as it is.
    pub fn mask(self) -> Option<&'static str> {
        Some(match self {
            Kind::Text => return None,
            Kind::Address => "<ip>",
            Kind::Number => "<n>",
            Kind::Numbers => "<n.n>",
            Kind::Id => "<id>",
            Kind::Name => "<name>",
            Kind::User => "<user>",
            Kind::Mailbox => "<mailbox>",
            Kind::Inside(_) => "*",
            Kind::Word => "<word>",
        })
    }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// Words after which an account stands: `user=bob`, `for bob`.
const USER_KEYS: &[&[u8]] = &[
    b"user",
    b"username",
    b"login",
    b"account",
    b"acct",
    b"authid",
    b"authcid",
    b"authzid",
    b"mailbox",
    b"name",
    b"ruser",
    b"sasl_username",
    b"principal",
    b"for",
    b"owner",
];

/// Those of them behind which an account stands after a blank alone.
const SPOKEN_KEYS: &[&[u8]] = &[b"user", b"username", b"account", b"mailbox", b"principal", b"for"];

/// Words that may follow one of [`USER_KEYS`] after a blank and are no account.
const NO_USER: &[&[u8]] = &[
    b"a",
    b"aborted",
    b"an",
    b"and",
    b"are",
    b"at",
    b"attempt",
    b"auth",
    b"authenticated",
    b"authentication",
    b"been",
    b"by",
    b"cannot",
    b"denied",
    b"disabled",
    b"does",
    b"doesn",
    b"error",
    b"expired",
    b"fail",
    b"failed",
    b"failure",
    b"for",
    b"from",
    b"has",
    b"illegal",
    b"in",
    b"incorrect",
    b"invalid",
    b"is",
    b"locked",
    b"logged",
    b"login",
    b"name",
    b"no",
    b"not",
    b"of",
    b"on",
    b"or",
    b"password",
    b"refused",
    b"rejected",
    b"repeated",
    b"service",
    b"subject",
    b"successful",
    b"the",
    b"this",
    b"to",
    b"unknown",
    b"unsuccessful",
    b"user",
    b"username",
    b"via",
    b"was",
    b"with",
    b"your",
];

/// Takes a message apart. The pieces lie side by side and cover it.
pub(super) fn pieces(message: &[u8], out: &mut Vec<Piece>) {
    out.clear();
    let mut cutter = Cutter { message, out, key: false, spoken: false, sep: Sep::Other };
    let mut at = 0;
    while at < message.len() {
        at = cutter.step(at);
    }
}

/// What stood between the last word and here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sep {
    Nothing,
    Blank,
    /// `=`, or `:` and blanks.
    Assign,
    Other,
}

struct Cutter<'m, 'o> {
    message: &'m [u8],
    out: &'o mut Vec<Piece>,
    /// The last word was one of [`USER_KEYS`].
    key: bool,
    /// The last word was one of [`SPOKEN_KEYS`].
    spoken: bool,
    sep: Sep,
}

impl Cutter<'_, '_> {
    fn put(&mut self, kind: Kind, range: Range<usize>) -> usize {
        let end = range.end;
        if !range.is_empty() {
            self.out.push(Piece { kind, range });
        }
        end
    }

    /// Whether an account is to be expected here.
    fn user(&self) -> bool {
        self.key && (self.sep == Sep::Assign || self.spoken && self.sep == Sep::Blank)
    }

    /// Cuts the next piece off at `at`; returns where it ends.
    fn step(&mut self, at: usize) -> usize {
        let rest = &self.message[at..];
        let byte = rest[0];
        match byte {
            b' ' | b'\t' => {
                let end = at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                if self.sep == Sep::Nothing {
                    self.sep = Sep::Blank;
                } else if self.sep == Sep::Assign && self.message[at - 1] == b'=' {
                    // Nothing was assigned.
                    self.sep = Sep::Other;
                }
                return self.put(Kind::Text, at..end);
            }
            b'"' | b'<' | b'\'' => {
                if let Some(end) = self.inside(at) {
                    return end;
                }
            }
            b'=' | b':' if self.sep == Sep::Nothing || (self.key && self.sep == Sep::Blank) => {
                self.sep = Sep::Assign;
                return self.put(Kind::Text, at..at + 1);
            }
            _ => {}
        }
        if let Some(len) = address(rest)
            && !(at > 0 && is_word(self.message[at - 1]))
        {
            self.key = false;
            self.sep = Sep::Other;
            return self.put(Kind::Address, at..at + len);
        }
        if self.user() {
            let stop = |b: &&u8| {
                !matches!(**b, b' ' | b'\t' | b',' | b';' | b')' | b']' | b'>' | b'"' | b'\'' | b'[' | b'(')
            };
            let len = rest.iter().take_while(stop).count();
            let word = rest[..len].strip_suffix(b":").unwrap_or(&rest[..len]);
            let word = word.strip_suffix(b".").unwrap_or(word);
            let known = self.sep == Sep::Blank && (listed(NO_USER, word) || word.contains(&b'='));
            if !word.is_empty() && !known {
                self.key = false;
                self.sep = Sep::Other;
                return self.put(Kind::User, at..at + word.len());
            }
        }
        let len = rest.iter().take_while(|b| is_word(**b)).count();
        if len == 0 {
            self.key = false;
            self.sep = Sep::Other;
            return self.put(Kind::Text, at..at + 1);
        }
        let word = &rest[..len];
        let word = &word[..len - word.iter().rev().take_while(|b| matches!(b, b'.' | b'-')).count()];
        let word = if word.is_empty() { &rest[..len] } else { word };
        let next = &rest[word.len()..];
        let kind = if next.first() == Some(&b'[') && address(&next[1..]).is_some() {
            Kind::Name
        } else {
            kind(word)
        };
        self.key = kind == Kind::Text && listed(USER_KEYS, word);
        self.spoken = self.key && listed(SPOKEN_KEYS, word);
        self.sep = Sep::Nothing;
        self.put(kind, at..at + word.len())
    }

    /// Quotes and angle brackets: the opening one, what is inside, the closing one.
    fn inside(&mut self, at: usize) -> Option<usize> {
        let open = self.message[at];
        let rest = &self.message[at + 1..];
        let close = match open {
            b'<' => b'>',
            other => other,
        };
        let len = if open == b'\'' {
            // No apostrophe: neither behind a letter nor closed in front of one.
            if at > 0 && is_word(self.message[at - 1]) {
                return None;
            }
            memchr::memchr(close, rest).filter(|end| rest.get(end + 1).is_none_or(|b| !is_word(*b)))?
        } else {
            // What opens anew was no bracket here.
            let end = memchr::memchr2(open, close, rest)?;
            (rest[end] == close).then_some(end)?
        };
        let kind = if self.user() { Kind::User } else { Kind::Inside(close) };
        self.put(Kind::Text, at..at + 1);
        let inner = &rest[..len];
        let framed_address = address(inner) == Some(len);
        let kind = if framed_address { Kind::Address } else { kind };
        self.put(kind, at + 1..at + 1 + len);
        self.key = false;
        self.sep = Sep::Other;
        Some(self.put(Kind::Text, at + 1 + len..at + 2 + len))
    }
}

fn listed(list: &[&[u8]], word: &[u8]) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'+')
}

/// What a word by itself is.
fn kind(word: &[u8]) -> Kind {
    let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = word.iter().filter(|b| b.is_ascii_alphabetic()).count();
    if digits == word.len() {
        return Kind::Number;
    }
    if digits > 0
        && letters == 0
        && word.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b'+'))
    {
        return Kind::Numbers;
    }
    if let Some(at) = memchr::memchr(b'@', word)
        && at > 0
        && at + 1 < word.len()
    {
        return Kind::Mailbox;
    }
    let hex = word.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let alphanumeric = digits + letters == word.len();
    if digits > 0 && letters > 0 && ((hex && word.len() >= 6) || (alphanumeric && word.len() >= 9)) {
        return Kind::Id;
    }
    // A host name: letters on both sides of its last dot.
    if let Some(dot) = memchr::memrchr(b'.', word)
        && word[dot + 1..].len() >= 2
        && word[dot + 1..].iter().all(u8::is_ascii_alphabetic)
        && word[..dot].iter().any(u8::is_ascii_alphanumeric)
    {
        return Kind::Name;
    }
    Kind::Text
}

/// Length of the address that `text` begins with, `IPv6:` before it included; no word goes on behind it.
fn address(text: &[u8]) -> Option<usize> {
    let prefix = if text.len() > 5 && text[..5].eq_ignore_ascii_case(b"IPv6:") { 5 } else { 0 };
    let body = &text[prefix..];
    if !body.first().is_some_and(|b| b.is_ascii_hexdigit() || *b == b':') {
        return None;
    }
    let run = |fits: fn(u8) -> bool| {
        let run = &body[..body.iter().take(46).take_while(|b| fits(**b)).count()];
        // A sentence goes on behind it.
        let run = run.strip_suffix(b".").unwrap_or(run);
        let run = run.strip_suffix(b":").filter(|run| !run.ends_with(b":")).unwrap_or(run);
        let ends = body.get(run.len()).is_none_or(|b| !is_word(*b) || *b == b'.');
        // Shorter ones ("::", "::1") are no address that a line is about.
        (ends && run.len() > 3 && Host::from_bytes(run).is_some()).then_some(prefix + run.len())
    };
    run(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        .or_else(|| run(|b| b.is_ascii_digit() || b == b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(message: &str) -> String {
        let mut found = Vec::new();
        pieces(message.as_bytes(), &mut found);
        found.iter().map(|piece| piece.kind.mask().unwrap_or(&message[piece.range.clone()])).collect()
    }

    #[test]
    fn what_differs_from_line_to_line_is_masked() {
        for (message, want) in [
            (
                "warning: mail.example.org[203.0.113.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
                "warning: <name>[<ip>]: SASL LOGIN authentication failed: <id>",
            ),
            ("warning: unknown[2001:db8::1]: x", "warning: <name>[<ip>]: x"),
            (
                "Failed password for root from 203.0.113.7 port 4711 ssh2",
                "Failed password for <user> from <ip> port <n> ssh2",
            ),
            (
                "Failed password for invalid user bob from 2001:db8::7 port 4711",
                "Failed password for invalid user <user> from <ip> port <n>",
            ),
            (
                "auth failed: user=<a b>, rip=203.0.113.7, lip=192.0.2.1, session=<xyz>",
                "auth failed: user=<<user>>, rip=<ip>, lip=<ip>, session=<*>",
            ),
            ("user \"bob\" denied, \"text\" 5.7.8", "user \"<user>\" denied, \"*\" <n.n>"),
            ("4XyZ1q2w3eR4t: reject alice@example.org", "<id>: reject <mailbox>"),
            ("client=203.0.113.7:4711, user unknown", "client=<ip>:<n>, user unknown"),
            ("user= rhost=203.0.113.7  user=bob", "user= rhost=<ip>  user=<user>"),
            ("can't log in: no such user 'bob'", "can't log in: no such user '<user>'"),
            ("[203.0.113.7] badlogin: CRAM-MD5 [IPv6:2001:db8::1]", "[<ip>] badlogin: CRAM-MD5 [<ip>]"),
            ("Login aborted, login \"bob\"", "Login aborted, login \"*\""),
            ("Login failed for bob.", "Login failed for <user>."),
            ("ip 203.0.113.7: bad", "ip <ip>: bad"),
            ("from 2001:db8::1: bad", "from <ip>: bad"),
        ] {
            assert_eq!(shape(message), want, "{message}");
        }
    }

    proptest! {
        #[test]
        fn pieces_cover_any_message(message in prop_oneof![
            any::<Vec<u8>>(),
            "[a-z0-9:.<>\"'= \\[\\]@-]{0,60}".prop_map(String::into_bytes),
        ]) {
            let mut found = Vec::new();
            pieces(&message, &mut found);
            let mut at = 0;
            for piece in found {
                prop_assert_eq!(piece.range.start, at);
                prop_assert!(piece.range.end > at);
                at = piece.range.end;
            }
            prop_assert_eq!(at, message.len());
        }
    }
}
