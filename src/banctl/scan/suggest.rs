//! A filter to try, made from the shape of a message: fixed words as they are, what differs as a class that
//! cannot run over its end, the address as `<HOST>`, the account as `<F-USER>`.

use std::fmt::Write;

use super::shape::{Kind, Piece};
use crate::filter::frame::Framed;
use crate::filter::{Filter, FrameKind, lint};

/// Words before the address of the peer, and before addresses that are not the peer's.
const PEER_KEYS: &[&[u8]] = &[
    b"rip", b"oip", b"rhost", b"client", b"ip", b"from", b"src", b"remote", b"peer", b"addr", b"address",
    b"host",
];
const OWN_KEYS: &[&[u8]] =
    &[b"lip", b"laddr", b"lhost", b"local", b"dst", b"to", b"server", b"via", b"by", b"on"];

/// A filter to try.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    /// Its lines of TOML.
    pub text: String,
    /// How a client fools it, as `banctl filter lint` says; the loader would refuse it. `None`: lint finds nothing.
    pub fooled: Option<String>,
}

/// The lines of a filter that reads `line`, whose frame and message are `framed` and whose pieces are
/// `pieces`. `None` where none can be made that the loader takes and that reads the line.
pub(super) fn suggestion(line: &[u8], framed: &Framed<'_>, pieces: &[Piece]) -> Option<Suggestion> {
    let mut text = String::new();
    if framed.kind != FrameKind::Syslog {
        let _ = writeln!(text, "frame = [\"{}\"]", framed.kind.name());
    }
    if let Some(ident) = framed.ident {
        let ident = std::str::from_utf8(ident).ok()?;
        let _ = writeln!(text, "ident = [{}]", toml::Value::String(ident.to_owned()));
    }
    let _ = write!(text, "failregex = ['''{}''']", pattern(framed.message, pieces));
    let filter =
        Filter::from_toml("suggestion", &format!("description = \"\"\n{text}\n"), "suggestion").ok()?;
    if filter.all_matches(line).is_empty() {
        return None;
    }
    let fooled = lint::filter(&filter).first().map(lint::Finding::message);
    Some(Suggestion { text, fooled })
}

/// The pattern, tied to both ends of the message.
fn pattern(message: &[u8], pieces: &[Piece]) -> String {
    let peer = peer(message, pieces);
    let user = [Kind::User, Kind::Mailbox]
        .into_iter()
        .find_map(|kind| pieces.iter().position(|piece| piece.kind == kind));
    let mut out = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let after = pieces.get(index + 1).and_then(|next| message.get(next.range.start)).copied();
        match piece.kind {
            Kind::Text => literal(&mut out, &message[piece.range.clone()], after.is_none()),
            Kind::Address if Some(index) == peer => out.push_str("<HOST>"),
            Kind::Address => out.push_str("[0-9A-Fa-f:.]+"),
            Kind::Number => out.push_str(r"\d+"),
            Kind::Numbers => out.push_str(r"[\d._+-]+"),
            Kind::Id => out.push_str("[0-9A-Za-z-]+"),
            Kind::Name if after == Some(b'[') => out.push_str(r"[^\[\] ]*"),
            Kind::Name | Kind::Word if message[piece.range.clone()].is_ascii() => out.push_str(r"[\w.@+-]+"),
            Kind::Name | Kind::Word => out.push_str(r"[\w.@+\x80-\xff-]+"),
            Kind::User | Kind::Mailbox => {
                let class = match after {
                    Some(close @ (b'"' | b'\'')) => inside(close),
                    Some(b'>') => inside(b'>'),
                    _ => r"\S*",
                };
                if Some(index) == user {
                    let _ = write!(out, "<F-USER>{class}</F-USER>");
                } else {
                    out.push_str(class);
                }
            }
            Kind::Inside(close) => out.push_str(inside(close)),
        }
    }
    out.push('$');
    out
}

/// Everything up to `close`.
fn inside(close: u8) -> &'static str {
    match close {
        b'"' => "[^\"]*",
        b'\'' => r"[^\x27]*",
        _ => "[^<>]*",
    }
}

/// Which address is the peer's: as the word before it says; else the first.
fn peer(message: &[u8], pieces: &[Piece]) -> Option<usize> {
    let rank = |index: usize| {
        let before = pieces[..index].iter().rev().take(4);
        let mut words = before
            .filter(|piece| message[piece.range.start].is_ascii_alphanumeric())
            .map(|piece| (piece.kind, &message[piece.range.clone()]));
        match words.next() {
            Some((Kind::Name, _)) => 2,
            Some((_, word)) if PEER_KEYS.iter().any(|key| key.eq_ignore_ascii_case(word)) => 2,
            Some((_, word)) if OWN_KEYS.iter().any(|key| key.eq_ignore_ascii_case(word)) => 0,
            _ => 1,
        }
    };
    let found = pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Kind::Address);
    found.map(|(index, _)| index).max_by_key(|index| (rank(*index), std::cmp::Reverse(*index)))
}

/// Fixed text as a pattern that also fits between `'''` and `'''`.
fn literal(out: &mut String, text: &[u8], last: bool) {
    for (index, &byte) in text.iter().enumerate() {
        match byte {
            b'\\' | b'.' | b'+' | b'*' | b'?' | b'(' | b')' | b'|' | b'[' | b']' | b'{' | b'}' | b'^'
            | b'$' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\'' => out.push_str(r"\x27"),
            // A tag begins with it, unless what follows cannot be one's name.
            b'<' if last || index + 1 < text.len() => out.push_str("[<]"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shape::pieces;
    use super::super::unmatched::framed;
    use super::*;

    fn suggested(line: &str) -> Option<String> {
        let framed = framed(line.as_bytes());
        let mut found = Vec::new();
        pieces(framed.message, &mut found);
        suggestion(line.as_bytes(), &framed, &found).map(|suggestion| suggestion.text)
    }

    #[test]
    fn a_suggestion_is_anchored_and_names_program_address_and_account() {
        for (line, want) in [
            (
                "Jun  1 06:27:45 mx1 postfix/smtpd[12]: warning: mail.example.org[203.0.113.7]: SASL LOGIN login failed, sasl_username=bob",
                "ident = [\"postfix/smtpd\"]\nfailregex = ['''warning: [^\\[\\] ]*\\[<HOST>\\]: SASL LOGIN login failed, sasl_username=<F-USER>\\S*</F-USER>$''']",
            ),
            (
                "Jun  1 06:27:45 mx1 dovecot: imap-login: Aborted (auth failed): user=<bob>, rip=203.0.113.7, lip=192.0.2.1, session=<a+b>",
                "ident = [\"dovecot\"]\nfailregex = ['''imap-login: Aborted \\(auth failed\\): user=<<F-USER>[^<>]*</F-USER>>, rip=<HOST>, lip=[0-9A-Fa-f:.]+, session=<[^<>]*>$''']",
            ),
            (
                "2026-06-01 06:27:45 login denied for 'bob' (lip=192.0.2.1 rip=203.0.113.7)",
                "frame = [\"date\"]\nfailregex = ['''login denied for \\x27<F-USER>[^\\x27]*</F-USER>\\x27 \\(lip=[0-9A-Fa-f:.]+ rip=<HOST>\\)$''']",
            ),
        ] {
            assert_eq!(suggested(line).as_deref(), Some(want), "{line}");
        }
    }

    #[test]
    fn a_line_without_address_gets_a_pattern_without_one() {
        let line =
            "Jun  1 06:27:45 mx1 saslauthd[9]: do_auth : auth failure: [user=bob] [service=smtp] [why=<x']";
        assert!(suggested(line).unwrap().contains("<F-USER>"), "{:?}", suggested(line));
    }

    #[test]
    fn words_beyond_ascii_are_words() {
        let line = "Jun  1 06:27:45 mx1 demo[9]: login of a\"\"\"\"a\u{e9}.aa' refused";
        assert!(suggested(line).unwrap().contains("x80"), "{:?}", suggested(line));
    }

    proptest! {
        // Whatever a line holds: there is a suggestion, the loader takes it, and it reads the line.
        #[test]
        fn a_suggestion_reads_its_own_line(message in "[a-z0-9:.<>\"'=\\\\$^*+?(){}|/é\u{1} \\[\\]@-]{1,60}") {
            let line = format!("Jun  1 06:27:45 mx1 demo[9]: {message}");
            prop_assert!(suggested(&line).is_some(), "{line}");
        }
    }
}
