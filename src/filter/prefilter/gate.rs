//! Between the patterns of a lane that can begin with the same byte: by their beginnings, then by their literals.

use super::texts::Texts;
use super::{Bits, Entry};
use crate::filter::literal::Literal;
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
    texts: Option<Texts>,
    /// Text -> patterns that it stands for.
    patterns: Vec<Box<[u16]>>,
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
            return Group { always: patterns.to_vec(), texts: None, patterns: Vec::new() };
        }
        let mut always = Vec::new();
        let mut of: Vec<(&Literal, Vec<u16>)> = Vec::new();
        for pattern in patterns {
            let literals = &entries[usize::from(*pattern)].literals;
            if literals.is_empty() {
                always.push(*pattern);
            }
            for literal in literals {
                match of.iter_mut().find(|(known, _)| *known == literal) {
                    Some((_, own)) => own.push(*pattern),
                    None => of.push((literal, vec![*pattern])),
                }
            }
        }
        let texts = Texts::new(of.iter().map(|(literal, _)| *literal));
        if texts.is_none() {
            always = patterns.to_vec();
        }
        Group { always, texts, patterns: of.into_iter().map(|(_, own)| own.into()).collect() }
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        self.always.iter().for_each(|at| bits.set(*at));
        let mut any = !self.always.is_empty();
        if let Some(texts) = &self.texts {
            texts.all(message, |text| {
                self.patterns[text].iter().for_each(|at| bits.set(*at));
                any = true;
            });
        }
        any
    }
}
