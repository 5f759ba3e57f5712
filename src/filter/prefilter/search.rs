//! A search for several short texts at once, made for the log that it runs over.
//!
//! Of every literal four bytes in a row are looked for, its window: one that is rare in the log, and one that several
//! literals share where there is such. The windows are dealt out to a few groups so that what a group lets through
//! ([`Halves`]) seldom stands in the log, and what is let through is looked up exactly. So the search goes through text at
//! the speed of memory, nearly whatever the number of literals.

mod grams;
mod sample;

use aho_corasick::AhoCorasick;

use self::grams::{Grams, Window, windows};
pub(super) use self::sample::Sample;
use crate::sys::simd::{Found, GROUPS, Halves};

/// What it costs to look for one window more, as so many places of the sample at which windows stand.
const WINDOW_COST: u32 = 8;
/// Where a group lets through more than one place in so many, looking line by line is cheaper.
const LET_THROUGH: usize = 16;

/// Finds literals.
#[derive(Debug)]
pub(super) struct Search(How);

#[derive(Debug)]
enum How {
    Windows {
        halves: Halves,
        grams: Grams,
    },
    /// Where the processor lacks what [`Halves`] needs, or a literal has no window.
    Automaton(AhoCorasick),
}

impl Search {
    /// For `literals`, none of them empty; `None`: it would not pay.
    pub fn new(literals: &[&[u8]], sample: &Sample<'_>) -> Option<Search> {
        let how = match cover(literals, sample) {
            Some(chosen) if Halves::available() => {
                let halves = dealt(chosen.iter().map(|(_, _, window)| *window), sample)?;
                let places = chosen.iter().map(|(literal, offset, _)| (literals[*literal], *offset));
                How::Windows { halves, grams: Grams::new(places) }
            }
            _ => How::Automaton(AhoCorasick::new(literals).ok()?),
        };
        Some(Search(how))
    }

    /// Tells `met` the number of each literal that is in `text`, of some more than once, and perhaps of a long one that only
    /// begins and ends so.
    #[inline]
    pub fn all(&self, text: &[u8], mut met: impl FnMut(usize)) {
        match &self.0 {
            How::Windows { halves, grams } => {
                halves.all(text, |place| grams.at(text, place).for_each(&mut met));
            }
            How::Automaton(automaton) => {
                automaton.find_overlapping_iter(text).for_each(|found| met(found.pattern().as_usize()));
            }
        }
    }

    /// A place in the first literal that is in `text`, or in one that overlaps it.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Found {
        match &self.0 {
            How::Windows { halves, grams } => halves.find(text, |place| grams.any_at(text, place)),
            How::Automaton(automaton) => {
                Found::at(text, automaton.find(text).map_or(text.len(), |found| found.start()))
            }
        }
    }
}

/// For each literal a window in it, as (literal, offset, window), so that the windows are few and rare in the sample; `None`:
/// a literal has none.
fn cover(literals: &[&[u8]], sample: &Sample<'_>) -> Option<Vec<(usize, usize, Window)>> {
    // (window, the literals that hold it), each window once.
    let mut holders: Vec<(Window, Vec<usize>)> = Vec::new();
    let mut all: Vec<(Window, usize)> = Vec::new();
    for (number, literal) in literals.iter().enumerate() {
        all.extend(windows(literal).map(|(_, window)| (window, number)));
    }
    all.sort_unstable();
    all.dedup();
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        holders.push((same[0].0, same.iter().map(|(_, number)| *number).collect()));
    }
    let counts = sample.counts(holders.iter().map(|(window, _)| *window));
    let mut chosen: Vec<Option<Window>> = vec![None; literals.len()];
    let mut left = literals.len();
    while left > 0 {
        // The least cost for each literal that is not yet looked for: compared as fractions.
        let mut best: Option<(u64, u64, usize)> = None;
        for (at, (_, holding)) in holders.iter().enumerate() {
            let served = holding.iter().filter(|number| chosen[**number].is_none()).count() as u64;
            let cost = u64::from(counts[at] + WINDOW_COST);
            if served > 0 && best.is_none_or(|(least, by, _)| cost * by < least * served) {
                best = Some((cost, served, at));
            }
        }
        let (window, holding) = &holders[best?.2];
        for number in holding {
            left -= usize::from(chosen[*number].is_none());
            chosen[*number].get_or_insert(*window);
        }
    }
    let placed = chosen.into_iter().enumerate().map(|(number, window)| {
        let window = window?;
        let (offset, _) = windows(literals[number]).find(|(_, own)| *own == window)?;
        Some((number, offset, window))
    });
    placed.collect()
}

/// Deals the windows out to groups; `None`: too many places are let through.
fn dealt(windows: impl Iterator<Item = Window>, sample: &Sample<'_>) -> Option<Halves> {
    let mut windows: Vec<Window> = windows.collect();
    windows.sort_unstable();
    windows.dedup();
    // Those with common bytes first: they have the choice.
    windows.sort_by(|one, other| sample.likely(*other).total_cmp(&sample.likely(*one)));
    let places = sample.places();
    let mut groups: [Vec<Window>; GROUPS] = Default::default();
    let mut costs = [0.0; GROUPS];
    for window in windows {
        let mut best = (f32::INFINITY, 0, 0.0);
        for group in 0..GROUPS {
            groups[group].push(window);
            let cost = places.let_through(&groups[group]) as f32 + sample.chance(&groups[group]);
            groups[group].pop();
            if cost - costs[group] < best.0 {
                best = (cost - costs[group], group, cost);
            }
        }
        groups[best.1].push(window);
        costs[best.1] = best.2;
    }
    let let_through: f32 = costs.iter().sum();
    if let_through as usize > places.len() / LET_THROUGH {
        return None;
    }
    let mut halves = Halves::default();
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|window| halves.admit(number, *window));
    }
    Some(halves)
}

#[cfg(test)]
mod tests {
    use memchr::memmem;
    use proptest::prelude::*;

    use super::*;
    use crate::sys::simd::WINDOW;

    const WORDS: [&str; 8] =
        ["authentication failed", "auth", "failed: ", "ation fai", "login", "] from", "x\u{e9}xxx", "\n"];
    /// Of them. Bytes.
    const LONGEST: usize = 21;

    proptest! {
        #[test]
        fn a_place_of_the_first_literal_is_found_and_all_are(
            text in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..40),
            literals in prop::collection::btree_set(prop::sample::select(&WORDS[..6]), 1..6),
        ) {
            let text = text.concat().into_bytes();
            let literals: Vec<&[u8]> = literals.iter().map(|literal| literal.as_bytes()).collect();
            let stands = |literal: &&[u8]| memmem::find(&text, literal);
            // The place is in the first one, or it is in one that begins before that one ends.
            let end = literals.iter().filter_map(|literal| Some(stands(literal)? + literal.len())).min();
            let automaton = Search(How::Automaton(AhoCorasick::new(&literals).unwrap()));
            for search in [Search::new(&literals, &Sample::new(b"a line of a log\n")).unwrap(), automaton] {
                let found = Some(search.find(&text).place).filter(|place| *place < text.len());
                prop_assert_eq!(found.is_some(), end.is_some());
                if let (Some(found), Some(end)) = (found, end) {
                    prop_assert!(found < end + LONGEST);
                    prop_assert!(literals.iter().any(|literal| (0..literal.len().min(found + 1))
                        .any(|offset| text[found - offset..].starts_with(literal))));
                }
                let mut met = vec![false; literals.len()];
                search.all(&text, |literal| met[literal] = true);
                let all: Vec<bool> = literals.iter().map(|literal| stands(literal).is_some()).collect();
                prop_assert_eq!(met, all);
            }
        }
    }

    #[test]
    fn windows_are_shared_and_rare() {
        let text = "auth auth auth auth with nobody\n".repeat(100);
        let sample = Sample::new(text.as_bytes());
        let literals = [&b"authentication failed"[..], b"authentication for", b"auth failed", b"auth was"];
        let chosen = cover(&literals, &sample).unwrap();
        let mut windows: Vec<Window> = chosen.iter().map(|(_, _, window)| *window).collect();
        windows.sort_unstable();
        windows.dedup();
        assert_eq!(windows.len(), 3, "{chosen:?}");
        assert!(!windows.contains(b"auth"));
        for (literal, offset, window) in chosen {
            assert_eq!(&literals[literal][offset..offset + WINDOW], &window);
        }
    }
}
