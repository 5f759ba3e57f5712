//! Between the patterns of a lane that can begin with the same byte: by their beginnings, then by their literals.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::search::{Sample, Search};
use super::{Bits, Entry};
use crate::filter::word;

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
        Beginning { head: word::word(text), mask: word::mask(text.len()) }
    }

    /// `head`: a message's, NUL where it is shorter.
    #[inline]
    fn fits(self, head: u64) -> bool {
        head & self.mask == self.head
    }
}

/// Patterns with the same beginnings, by their required literals.
struct Group {
    /// Patterns without a required literal, or with one that cannot be searched for.
    always: Vec<u16>,
    exact: Option<Searcher>,
    folded: Option<Searcher>,
}

struct Searcher {
    engine: Engine,
    /// Literal -> patterns that it stands for.
    patterns: Vec<Box<[u16]>>,
}

enum Engine {
    One(Box<memchr::memmem::Finder<'static>>, usize),
    Exact(Search),
    Folded(AhoCorasick),
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
            None => word::word(message),
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
        let without = patterns.iter().copied().filter(|at| entries[usize::from(*at)].literals.is_empty());
        let mut always: Vec<u16> = without.collect();
        let mut searcher = |folded: bool| {
            let literals = literals(folded);
            let searcher = Searcher::new(&literals, folded);
            if searcher.is_none() {
                always.extend(literals.iter().flat_map(|(_, own)| own));
            }
            searcher
        };
        let (exact, folded) = (searcher(false), searcher(true));
        Group { always, exact, folded }
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

impl Searcher {
    fn new(literals: &[(Vec<u8>, Vec<u16>)], folded: bool) -> Option<Searcher> {
        let texts: Vec<&[u8]> = literals.iter().map(|(bytes, _)| &bytes[..]).collect();
        let engine = match texts[..] {
            [] => None,
            [one] if !folded => {
                Some(Engine::One(Box::new(memchr::memmem::Finder::new(one).into_owned()), one.len()))
            }
            _ if !folded => Search::new(&texts, &Sample::new(b"")).map(Engine::Exact),
            _ => AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .kind(Some(AhoCorasickKind::DFA))
                .build(&texts)
                .map(Engine::Folded)
                .ok(),
        };
        let patterns = literals.iter().map(|(_, own)| own[..].into()).collect();
        Some(Searcher { engine: engine?, patterns })
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
            Engine::Exact(search) => search.all(message, seen),
            Engine::Folded(automaton) => {
                automaton.find_overlapping_iter(message).for_each(|found| seen(found.pattern().as_usize()));
            }
        }
        any
    }
}
