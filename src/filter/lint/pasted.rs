//! Patterns as they stand in fail2ban's files and in blogs: searched for anywhere in a line, in Python's syntax.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::automaton::{Automaton, Shape};
use super::forge::{self, Forged, Order};
use super::{FAKE_ADDRESS, Fault, Finding, TRUE_ADDRESS};
use crate::filter::compile::{self, HOST};
use crate::filter::peer;

/// Steps after which the backtracking engine gives a line up.
const BACKTRACK_MAX: usize = 200_000;

/// Looks into one pattern. `key` and `place` are for the findings.
pub fn pattern(text: &str, key: &'static str, place: &str) -> Vec<Finding> {
    let finding = |fault: Fault, example: Option<Vec<u8>>, detail: Option<String>| Finding {
        fault,
        key,
        place: place.to_owned(),
        pattern: text.to_owned(),
        example,
        detail,
    };
    let mut found = Vec::new();
    let portable = portable(text);
    if portable.possessive {
        found.push(finding(Fault::Possessive, None, None));
    }
    // What is run keeps its look-around, what is looked into does not.
    let (stripped, lost) = without_lookaround(&portable.text);
    if let Some(lost) = lost {
        found.push(finding(Fault::NotLinear, None, Some(lost)));
    }
    let none = BTreeMap::new();
    let parsed = compile::expand("", &stripped, &none);
    let whole = compile::expand_text(&portable.text, &none);
    let (hir, regex) = match (parsed, whole) {
        (Ok(parsed), Ok(whole)) => (parsed.hir, whole),
        (Err(error), _) | (_, Err(error)) => {
            found.push(finding(Fault::Syntax, None, Some(error.message)));
            return found;
        }
    };
    let regex = match fancy_regex::RegexBuilder::new(&regex).backtrack_limit(BACKTRACK_MAX).build() {
        Ok(regex) => regex,
        Err(error) => {
            found.push(finding(Fault::Syntax, None, Some(error.to_string())));
            return found;
        }
    };
    if nested(&hir, false) {
        found.push(finding(Fault::NestedRepetition, None, None));
    }
    let anchored = hir.properties().look_set_prefix().contains(Look::Start);
    let header = match anchored {
        true => "",
        false if portable.text.starts_with(": ") => "Jun  1 06:27:45 mail server[77]",
        false => "Jun  1 06:27:45 mail server[77]: ",
    };
    let line = |message: &[u8]| [header.as_bytes(), message].concat();
    let fools = |forged: &Forged| taken(&regex, &line(&forged.line)).as_deref() == Some(FAKE_ADDRESS);
    let automaton = |hir: &Hir, address: &str, floating: bool| {
        let target = |name: &str| name.starts_with("HOST");
        let shape = Shape { target: &target, address: address.as_bytes(), fixed: &|_| None, floating };
        Automaton::new(hir, &shape)
    };
    let Some(reading) = automaton(&hir, FAKE_ADDRESS, !anchored) else { return found };
    if !anchored && let Some(truth) = automaton(&foreign_line(), TRUE_ADDRESS, false) {
        let header = b"Jun  1 06:27:45 mail other[78]: ".as_slice();
        let fools = &mut |forged: &Forged| {
            taken(&regex, &[header, &forged.line].concat()).as_deref() == Some(FAKE_ADDRESS)
        };
        if let Some(forged) = forge::search(&truth, &reading, fools) {
            found.push(finding(Fault::NoAnchor, Some([header, &forged.line].concat()), None));
        }
    }
    if let Some(truth) = automaton(&hir, TRUE_ADDRESS, false) {
        let several = regex.capture_names().flatten().filter(|name| name.starts_with("HOST")).count() > 1;
        for (order, fault) in [
            (Some(Order::TrueFirst), Fault::GreedyBeforeAddress),
            (Some(Order::FakeFirst), Fault::NotTiedToEnd),
            (None, Fault::MadeUpAddress),
        ] {
            let fools = &mut |forged: &Forged| forged.order == order && fools(forged);
            if let Some(forged) = forge::search(&truth, &reading, fools) {
                let fault = if several && order.is_some() { Fault::TwoAddresses } else { fault };
                found.push(finding(fault, Some(line(&forged.line)), None));
            }
        }
    }
    found
}

/// A line of some other program's, with a client's text at its end.
fn foreign_line() -> Hir {
    let text = r"client (?P<HOST>0) said: [^\n]*";
    compile::expand("", text, &BTreeMap::new()).expect("a pattern of our own").hir
}

/// The address that the pattern takes out of a line.
fn taken(regex: &Regex, line: &[u8]) -> Option<String> {
    let line: &str = &String::from_utf8_lossy(line);
    let found = regex.captures(line).ok()??;
    let names = regex.capture_names().flatten().filter(|name| name.starts_with("HOST"));
    let text = names.filter_map(|name| found.name(name)).next()?.as_str().to_owned();
    peer::host(text.as_bytes()).map(|host| host.to_string())
}

/// A pattern in the syntax of both engines.
struct Portable {
    text: String,
    possessive: bool,
}

/// Puts tags and escapes of Python and fail2ban into ours.
fn portable(text: &str) -> Portable {
    let mut out = String::with_capacity(text.len());
    let mut possessive = false;
    let mut hosts = 0;
    let mut in_class = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let tag = ["<HOST>", "<ADDR>", "<IP4>", "<IP6>", "<DNS>", "<SUBNET>", "<CIDR>"]
            .into_iter()
            .find(|tag| rest.starts_with(tag));
        if let Some(tag) = tag {
            hosts += 1;
            // Several are told apart by their names.
            match hosts {
                1 => out.push_str("<HOST>"),
                _ => out.push_str(&format!("(?P<HOST_{hosts}>{HOST})")),
            }
            rest = &rest[tag.len()..];
            continue;
        }
        if c == '\\' {
            let escaped = rest[1..].chars().next();
            match escaped {
                // Word borders in our syntax, plain characters in Python's.
                Some(bracket @ ('<' | '>')) => out.push(bracket),
                Some('Z') => out.push_str("\\z"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            }
            rest = &rest[1 + escaped.map_or(0, char::len_utf8)..];
            continue;
        }
        match c {
            '[' if !in_class => in_class = true,
            ']' if in_class && !out.ends_with('[') && !out.ends_with("[^") => in_class = false,
            '+' if !in_class => {
                let escaped = |out: &str| {
                    out[..out.len() - 1].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
                };
                if out.ends_with(['*', '+', '?', '}']) && !escaped(&out) && !out.ends_with("(?") {
                    possessive = true;
                    rest = &rest[1..];
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Portable { text: out, possessive }
}

/// The pattern without what only a backtracking engine can do; and the first of it, if there is any.
fn without_lookaround(text: &str) -> (String, Option<String>) {
    let mut out = String::with_capacity(text.len());
    let mut lost: Option<String> = None;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let looks = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|open| rest.starts_with(open));
        let reference = rest.starts_with("(?P=");
        if looks || reference {
            let len = group_len(rest);
            lost.get_or_insert_with(|| rest[..len].to_owned());
            if reference {
                out.push_str(".*");
            }
            at += len;
        } else if let Some(escaped) = rest.strip_prefix('\\') {
            let digit = escaped.chars().next();
            let len = 1 + digit.map_or(0, char::len_utf8);
            if digit.is_some_and(|digit| ('1'..='9').contains(&digit)) {
                lost.get_or_insert_with(|| rest[..len].to_owned());
                out.push_str(".*");
            } else {
                out.push_str(&rest[..len]);
            }
            at += len;
        } else {
            let len = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..len]);
            at += len;
        }
    }
    (out, lost)
}

/// The length of the group that `text` begins with.
fn group_len(text: &str) -> usize {
    let mut depth = 0;
    let mut escaped = false;
    let mut in_class = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Whether something unbounded is repeated without bound, with nothing between to tell the rounds apart.
fn nested(hir: &Hir, inside: bool) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let unbounded = repetition.max.is_none();
            (unbounded && inside) || nested(&repetition.sub, unbounded)
        }
        HirKind::Capture(capture) => nested(&capture.sub, inside),
        HirKind::Alternation(branches) => branches.iter().any(|branch| nested(branch, inside)),
        HirKind::Concat(parts) => {
            let can_be_empty = |part: &Hir| part.properties().minimum_len() == Some(0);
            parts.iter().enumerate().any(|(at, part)| {
                let alone = parts.iter().enumerate().all(|(other, part)| other == at || can_be_empty(part));
                nested(part, inside && alone)
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_otherwise_is_put_right() {
        let put = portable(r"\<a\> .*+x++[+*+]\*+ <ADDR> <HOST>\Z");
        assert!(put.possessive);
        assert!(put.text.starts_with(r"<a> .*x+[+*+]\*+ <HOST> (?P<HOST_2>"), "{}", put.text);
        assert!(put.text.ends_with(r")\z"));
        assert_eq!(
            without_lookaround(r"a(?=b(c)[)])d\\1\1(?:x)"),
            (r"ad\\1.*(?:x)".to_owned(), Some("(?=b(c)[)])".to_owned()))
        );
    }

    #[test]
    fn repetitions_of_repetitions_are_seen() {
        let is = |text: &str| nested(&compile::expand("", text, &BTreeMap::new()).unwrap().hir, false);
        for text in ["(?:a+)+", "(a*b?)*", "x(?:a|b+)*y", "(?:(?:a*)b*)+"] {
            assert!(is(text), "{text}");
        }
        for text in ["(?:a+b)+", "a+b+", "(?:a{1,3})+", "(?: [a-z]+=[^;]*;)*"] {
            assert!(!is(text), "{text}");
        }
    }
}
