//! Between the patterns of a lane that can begin with the same byte: by their beginnings, then by their literals.

use memchr::memmem;

use super::texts::Texts;
use super::{Bits, Entry};
use crate::filter::literal::{Literal, Near};
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

/// Patterns with the same beginnings, by what else is known of them.
struct Group {
    /// Patterns of which nothing is known that can be searched for.
    always: Patterns,
    near: Vec<(Close, Patterns)>,
    texts: Option<Texts>,
    /// Text -> patterns that it stands for.
    by_text: Vec<Patterns>,
}

/// Some patterns of the set.
#[derive(Default)]
struct Patterns {
    own: Vec<u16>,
    /// Not ignoreregexes only.
    tells: bool,
}

impl Patterns {
    fn of(patterns: &[u16], entries: &[Entry]) -> Patterns {
        let mut of = Patterns::default();
        patterns.iter().for_each(|pattern| of.push(*pattern, entries));
        of
    }

    fn push(&mut self, pattern: u16, entries: &[Entry]) {
        self.own.push(pattern);
        self.tells |= !entries[usize::from(pattern)].ignores;
    }

    /// Makes them candidates; whether the line is one now.
    #[inline]
    fn propose(&self, bits: &mut Bits) -> bool {
        self.own.iter().for_each(|at| bits.set(*at));
        self.tells
    }
}

/// A literal that is looked for near the beginning of a message, by its first eight bytes.
struct Close {
    head: u64,
    mask: u64,
    first: usize,
    last: usize,
}

impl Close {
    fn new(near: &Near) -> Close {
        let Near { bytes, places } = near;
        Close {
            head: word::word(bytes),
            mask: word::mask(bytes.len()),
            first: *places.start(),
            last: *places.end(),
        }
    }

    #[inline]
    fn stands(&self, message: &[u8]) -> bool {
        let end = message.len().min(self.last + 1);
        let mut at = self.first;
        while at < end {
            let marks = word::zeros(word::word_at(message, at) ^ word::eight(self.head as u8));
            match word::first(marks) {
                Some(place) if at + place >= end => return false,
                Some(place) if word::word_at(message, at + place) & self.mask == self.head => return true,
                Some(place) => at += place + 1,
                None => at += 8,
            }
        }
        false
    }
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

/// So few patterns with a known beginning, or with the same literal near theirs, are tried without a search for others.
const TRIED_AT_ONCE: usize = 2;

impl Group {
    fn new(patterns: &[u16], entries: &[Entry], begins: bool) -> Group {
        let entry = |at: &u16| &entries[usize::from(*at)];
        let few = begins && patterns.len() <= TRIED_AT_ONCE;
        let alike = |near: &Near| patterns.iter().filter(|at| entry(at).near.as_ref() == Some(near)).count();
        // An ignoreregex is dearer, since it is tried where another pattern has matched: unless its literal stands there
        // anyway, it is asked for.
        let asked = |own: &Entry| {
            let others = patterns.iter().map(entry).filter(|other| !other.ignores);
            let stands = |other: &Literal| own.literals.iter().any(|own| related(own, other));
            own.ignores && !others.flat_map(|other| &other.literals).any(stands)
        };
        let (mut always, mut near) = (Patterns::default(), Vec::new());
        let mut searched: Vec<(&Literal, Patterns)> = Vec::new();
        for pattern in patterns {
            let own = entry(pattern);
            match &own.near {
                _ if own.literals.is_empty() || few && !asked(own) => always.push(*pattern, entries),
                Some(place) if !begins && alike(place) <= TRIED_AT_ONCE => {
                    near.push((Close::new(place), Patterns::of(&[*pattern], entries)));
                }
                _ => {
                    for literal in &own.literals {
                        match searched.iter_mut().find(|(known, _)| *known == literal) {
                            Some((_, known)) => known.push(*pattern, entries),
                            None => searched.push((literal, Patterns::of(&[*pattern], entries))),
                        }
                    }
                }
            }
        }
        let texts = Texts::new(searched.iter().map(|(literal, _)| *literal));
        if texts.is_none() {
            (always, near) = (Patterns::of(patterns, entries), Vec::new());
        }
        Group { always, near, texts, by_text: searched.into_iter().map(|(_, own)| own).collect() }
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        let mut any = self.always.propose(bits);
        for (close, patterns) in &self.near {
            any |= close.stands(message) && patterns.propose(bits);
        }
        if let Some(texts) = &self.texts {
            texts.all(message, |text| any |= self.by_text[text].propose(bits));
        }
        any
    }
}

/// Whether where one stands, the other may be expected.
fn related(one: &Literal, other: &Literal) -> bool {
    let holds = |outer: &Literal, inner: &Literal| memmem::find(&outer.bytes, &inner.bytes).is_some();
    holds(one, other) || holds(other, one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_stands_near_is_found(
            text in prop::collection::vec(prop::sample::select(&b"ab:"[..]), 0..40),
            bytes in prop::collection::vec(prop::sample::select(&b"ab:"[..]), 1..5),
            first in 0..6usize,
            more in 0..25usize,
        ) {
            let near = Near { bytes: bytes.clone(), places: first..=first + more };
            let stands = (first..=first + more).any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(&bytes)));
            prop_assert_eq!(Close::new(&near).stands(&text), stands);
        }
    }
}
