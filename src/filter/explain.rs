//! Why a line is what it is to a filter: for `banctl filter test` on a terminal. Slow.

use std::ops::Range;

use super::compile::Tag;
use super::frame::Framed;
use super::lint::automaton::{Automaton, Shape};
use super::literal::Literal;
use super::pattern::MatchCache;
use super::{Filter, Kind, Pattern};

/// Which part of a line a pattern matched, and what its groups took; all as bytes of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    pub pattern: usize,
    pub whole: Range<usize>,
    pub groups: Vec<(Tag, Range<usize>)>,
}

/// Why a line is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// The line is built like none of the filter's frames.
    Frame,
    /// It is another program's.
    Program(Vec<u8>),
    /// No pattern fits; the ones that came furthest first.
    Patterns(Vec<Miss>),
}

/// How far a pattern fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub pattern: usize,
    /// Byte of the line up to which it could still have matched.
    pub reached: usize,
    /// Text of which one must stand in the message, and none does; as the line would spell it.
    pub missing: Vec<Vec<u8>>,
}

/// Every pattern that fits the line, in the filter's order.
pub fn matched(filter: &Filter, line: &[u8]) -> Vec<Matched> {
    let Some((start, message)) = message(filter, line) else { return Vec::new() };
    let mut cache = MatchCache::default();
    let mut found = Vec::new();
    for (number, pattern) in filter.patterns.iter().enumerate() {
        if !pattern.matches_linear(&mut cache, message) {
            continue;
        }
        let moved = |range: Range<usize>| start + range.start..start + range.end;
        let groups = pattern.captured(&cache).into_iter().map(|(tag, range)| (tag, moved(range)));
        found.push(Matched {
            pattern: number,
            groups: groups.collect(),
            whole: moved(cache.group(0).unwrap_or(0..message.len())),
        });
    }
    found
}

/// Why no pattern of the filter fits the line.
pub fn why_not(filter: &Filter, line: &[u8]) -> WhyNot {
    let fits = |ident: &[u8], short: bool| {
        filter.ident.is_empty() || filter.ident.iter().any(|glob| glob.fits(ident, short))
    };
    let program = |framed: Framed<'_>| Some((framed.ident?.to_vec(), framed.short_ident));
    // Such a line may fit a later frame, and be read by no pattern then.
    if let Some((ident, short)) = filter.frames.iter().find_map(|frame| program(frame.split(line)?))
        && !fits(&ident, short)
    {
        return WhyNot::Program(ident);
    }
    let Some((start, message)) = message(filter, line) else { return WhyNot::Frame };
    let patterns = filter.patterns.iter().enumerate().filter(|(_, pattern)| pattern.kind != Kind::Ignore);
    let mut misses: Vec<Miss> = patterns
        .filter_map(|(number, pattern)| {
            let reached = start + reach(pattern, message)?;
            Some(Miss { pattern: number, reached, missing: missing(pattern, message) })
        })
        .collect();
    // A pattern that begins with `.*` comes far without meaning anything.
    misses.sort_by_key(|miss| (!miss.missing.is_empty(), usize::MAX - miss.reached));
    WhyNot::Patterns(misses)
}

/// Where the message of the line starts, and itself.
fn message<'l>(filter: &Filter, line: &'l [u8]) -> Option<(usize, &'l [u8])> {
    let message = filter.frame(line)?.message;
    // A frame only cuts.
    Some((message.as_ptr() as usize - line.as_ptr() as usize, message))
}

/// How many bytes of the message the pattern can begin with; `None` for one too big to be followed.
fn reach(pattern: &Pattern, message: &[u8]) -> Option<usize> {
    let shape = Shape { target: &|_| false, address: b"", fixed: &|_| None, floating: false };
    let automaton = Automaton::pattern(&pattern.hir()?, &shape)?;
    let mut now = automaton.start.clone();
    for (at, byte) in message.iter().enumerate() {
        let mut next: Vec<u32> = Vec::new();
        for node in now.iter().map(|node| &automaton.nodes[*node as usize]) {
            if node.reads.contains(*byte) {
                next.extend(&node.next);
            }
        }
        let read = now.iter().any(|node| automaton.nodes[*node as usize].reads.contains(*byte));
        if !read {
            return Some(at);
        }
        next.sort_unstable();
        next.dedup();
        now = next;
    }
    Some(message.len())
}

/// The literals of which the pattern needs one, if none is in the message.
fn missing(pattern: &Pattern, message: &[u8]) -> Vec<Vec<u8>> {
    let Some(set) = pattern.traits.required.first() else { return Vec::new() };
    let lower = message.to_ascii_lowercase();
    let stands = |literal: &Literal| {
        let text = if literal.folded { &lower } else { message };
        memchr::memmem::find(text, &literal.bytes).is_some()
    };
    match set.literals.iter().any(stands) {
        true => Vec::new(),
        false => set.literals.iter().map(|literal| literal.bytes.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        let text = "ident = ['sshd']\nfailregex = ['''Failed (?:password|none) for <F-USER>.*</F-USER> from <HOST>$''']\n";
        Filter::from_toml("x", text, "x").unwrap()
    }

    #[test]
    fn what_matched_is_told_in_bytes_of_the_line() {
        let line = b"Jun  1 06:27:45 mail sshd[1]: Failed none for bob from 192.0.2.1";
        let found = matched(&filter(), line);
        assert_eq!(&line[found[0].whole.clone()], b"Failed none for bob from 192.0.2.1");
        let groups: Vec<&[u8]> = found[0].groups.iter().map(|(_, range)| &line[range.clone()]).collect();
        assert_eq!(groups, [b"bob".as_slice(), b"192.0.2.1"]);
    }

    #[test]
    fn what_did_not_match_is_told_why() {
        let why = |line: &str| why_not(&filter(), line.as_bytes());
        assert_eq!(why("no syslog"), WhyNot::Frame);
        assert_eq!(why("Jun  1 06:27:45 mail imapd[1]: x"), WhyNot::Program(b"imapd".to_vec()));
        let smtpd = Filter::from_toml("x", "ident = ['*/smtpd']\nfailregex = ['from <HOST>$']", "x").unwrap();
        let line = b"Jun  1 06:27:45 mail imapd[1]: x";
        assert_eq!(why_not(&smtpd, line), WhyNot::Program(b"imapd".to_vec()));
        let line = "Jun  1 06:27:45 mail sshd[1]: Failed password of bob";
        let WhyNot::Patterns(misses) = why(line) else { panic!() };
        assert_eq!(&line[misses[0].reached..], "of bob");
        assert!(misses[0].missing.is_empty());
        let WhyNot::Patterns(misses) = why("Jun  1 06:27:45 mail sshd[1]: Accepted x") else { panic!() };
        assert_eq!((misses[0].reached, misses[0].missing.as_slice()), (30, [b"Failed ".to_vec()].as_slice()));
    }
}
