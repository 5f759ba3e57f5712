//! Between the patterns of a lane that can begin with the same byte: by their beginnings, then by their literals.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, packed};

use super::{Bits, Entry};

/// How the patterns of a bucket are told apart: those that share their possible beginnings are a group, and
/// only a group that the message begins like is searched for.
pub(super) struct Gate {
    groups: Vec<(Box<[Beginning]>, Group)>,
}

/// The first bytes of a message, eight at most: little-endian, and which of them count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning {
    head: u64,
    mask: u64,
}

impl Beginning {
    fn new(text: &[u8]) -> Beginning {
        let mut head = [0; 8];
        let mut mask = [0; 8];
        for (at, byte) in text.iter().take(8).enumerate() {
            (head[at], mask[at]) = (*byte, 0xff);
        }
        Beginning { head: u64::from_le_bytes(head), mask: u64::from_le_bytes(mask) }
    }

    /// `head`: a message's, NUL where it is shorter.
    #[inline]
    fn fits(self, head: u64) -> bool {
        head & self.mask == self.head
    }
}

/// Patterns with the same beginnings, by their required literals.
struct Group {
    /// Patterns without a required literal.
    always: Vec<u16>,
    exact: Option<Searcher>,
    folded: Option<Searcher>,
}

struct Searcher {
    engine: Engine,
    /// Literal -> patterns that it, or one that it can hide, stands for.
    patterns: Vec<Box<[u16]>>,
}

enum Engine {
    One(Box<memchr::memmem::Finder<'static>>, usize),
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

impl Gate {
    pub fn new(patterns: &[u16], entries: &[Entry]) -> Gate {
        let mut by_beginnings: Vec<(Vec<Beginning>, Vec<u16>)> = Vec::new();
        for pattern in patterns {
            let prefixes = &entries[usize::from(*pattern)].prefixes;
            let mut beginnings: Vec<Beginning> = prefixes.iter().map(|text| Beginning::new(text)).collect();
            beginnings.sort_unstable();
            beginnings.dedup();
            match by_beginnings.iter_mut().find(|(known, _)| *known == beginnings) {
                Some((_, own)) => own.push(*pattern),
                None => by_beginnings.push((beginnings, vec![*pattern])),
            }
        }
        let group = |(beginnings, own): (Vec<Beginning>, Vec<u16>)| {
            let known = !beginnings.is_empty();
            (beginnings.into(), Group::new(&own, entries, known))
        };
        Gate { groups: by_beginnings.into_iter().map(group).collect() }
    }

    #[inline]
    pub fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        let head = match message.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => Beginning::new(message).head,
        };
        let mut any = false;
        for (beginnings, group) in &self.groups {
            if beginnings.is_empty() || beginnings.iter().any(|beginning| beginning.fits(head)) {
                any |= group.search(message, bits);
            }
        }
        any
    }
}

/// So few patterns with a known beginning are tried without a search for their literals.
const TRIED_AT_ONCE: usize = 2;

impl Group {
    fn new(patterns: &[u16], entries: &[Entry], begins: bool) -> Group {
        if begins && patterns.len() <= TRIED_AT_ONCE {
            return Group { always: patterns.to_vec(), exact: None, folded: None };
        }
        let literals = |folded: bool| {
            let mut of: Vec<(Vec<u8>, Vec<u16>)> = Vec::new();
            for pattern in patterns {
                for literal in &entries[usize::from(*pattern)].literals {
                    if literal.folded != folded {
                        continue;
                    }
                    match of.iter_mut().find(|(bytes, _)| *bytes == literal.bytes) {
                        Some((_, own)) => own.push(*pattern),
                        None => of.push((literal.bytes.clone(), vec![*pattern])),
                    }
                }
            }
            of
        };
        let always = patterns.iter().copied().filter(|at| entries[usize::from(*at)].literals.is_empty());
        Group {
            always: always.collect(),
            exact: Searcher::new(&literals(false), false),
            folded: Searcher::new(&literals(true), true),
        }
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        self.always.iter().for_each(|at| bits.set(*at));
        let mut any = !self.always.is_empty();
        if let Some(searcher) = &self.exact {
            any |= searcher.search(message, bits);
        }
        if let Some(searcher) = &self.folded {
            any |= searcher.search(message, bits);
        }
        any
    }
}

/// Above this many literals the packed searcher and its few buckets are slower than an automaton.
const PACKED_MAX: usize = 64;

impl Searcher {
    fn new(literals: &[(Vec<u8>, Vec<u16>)], folded: bool) -> Option<Searcher> {
        if literals.is_empty() {
            return None;
        }
        let patterns = literals
            .iter()
            .map(|(bytes, own)| {
                let hidden = literals.iter().filter(|(other, _)| other != bytes && hides(bytes, other));
                let mut all: Vec<u16> = own.iter().chain(hidden.flat_map(|(_, own)| own)).copied().collect();
                all.sort_unstable();
                all.dedup();
                all.into()
            })
            .collect();
        let texts = || literals.iter().map(|(bytes, _)| bytes);
        let packed = || {
            let mut builder = packed::Config::new().match_kind(packed::MatchKind::LeftmostFirst).builder();
            builder.extend(texts()).build().map(Engine::Packed)
        };
        let engine = match literals {
            [(one, _)] if !folded => {
                Some(Engine::One(Box::new(memchr::memmem::Finder::new(one).into_owned()), one.len()))
            }
            _ if !folded && literals.len() <= PACKED_MAX => packed(),
            _ => None,
        };
        let engine = engine.or_else(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .ascii_case_insensitive(folded)
                .kind(Some(AhoCorasickKind::DFA))
                .build(texts())
                .map(Engine::Automaton)
                .ok()
        })?;
        Some(Searcher { engine, patterns })
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        let mut any = false;
        let mut seen = |literal: usize| {
            self.patterns[literal].iter().for_each(|at| bits.set(*at));
            any = true;
        };
        match &self.engine {
            Engine::One(finder, len) => {
                if message.len() >= *len && finder.find(message).is_some() {
                    seen(0);
                }
            }
            Engine::Packed(searcher) => {
                searcher.find_iter(message).for_each(|found| seen(found.pattern().as_usize()));
            }
            Engine::Automaton(automaton) => {
                automaton.find_iter(message).for_each(|found| seen(found.pattern().as_usize()));
            }
        }
        any
    }
}

/// Whether an occurrence of `a`, once found, can keep an occurrence of `b` from being found: `b` begins inside
/// it. (One that begins before it is found first.)
fn hides(a: &[u8], b: &[u8]) -> bool {
    (0..a.len()).any(|at| {
        let shared = (a.len() - at).min(b.len());
        a[at..at + shared] == b[..shared]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_stands_for_those_it_can_hide() {
        assert!(hides(b"abcd", b"cde"));
        assert!(hides(b"abcd", b"bc"));
        assert!(hides(b"abc", b"abcd"));
        assert!(hides(b"abcd", b"abc"));
        assert!(!hides(b"abcd", b"xab"));
        assert!(!hides(b"abcd", b"ac"));
    }
}
