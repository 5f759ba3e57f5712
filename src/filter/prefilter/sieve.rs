//! Which lines of a block are worth a look, found out for the block as a whole.
//!
//! Every pattern has sets of literals of which one stands in each line that it matches. A choice of them, one set for
//! each pattern, is searched for in the whole block at memory speed, and only the lines that the search stops in are
//! taken apart at all; the others are counted. Which set a pattern is sought by is learned from the log: `rip=` is in
//! few lines of one log and in half of another.
//!
//! It is sound because a match lies inside its line, and the literal inside the match: the first literal at or after
//! the beginning of a line that matches is in that line or in one before it. A line that the search stops in is
//! looked at whatever the literal was, and the search goes on behind it, so that no literal hides another one.

use std::collections::HashMap;

use memchr::{memchr, memmem};

use super::Filter;
use super::search::{Sample, Search};
use crate::filter::frame::{FrameKind, IdentGlob};
use crate::filter::literal::Literal;
use crate::sys::simd::WINDOW;

/// So little text is read line by line: a log that is followed comes in such blocks. Bytes.
const BLOCK_BYTES_MIN: usize = 32 << 10;
/// Shorter literals have no window to be searched for. Bytes.
const LITERAL_BYTES_MIN: usize = WINDOW;
/// It is learned anew where more than one line in so many was looked at in vain.
const VAIN_LINES: u64 = 16;

/// Chooses lines. One log's blocks go through it in order.
#[derive(Debug)]
pub struct Sieve {
    /// What is chosen from; `None`: some pattern has no literal, so that every line has to be looked at.
    choices: Option<Choices>,
    searcher: Option<Search>,
    /// Blocks until it may be learned anew, and how many that were the last time.
    wait: u32,
    waited: u32,
}

/// What is required of lines, as indices of literals.
#[derive(Debug)]
struct Choices {
    literals: Vec<Vec<u8>>,
    filters: Vec<Needs>,
}

/// Of one literal of a set.
type Set = Vec<usize>;

/// What a filter's lines hold.
#[derive(Debug)]
struct Needs {
    /// Sets of which each has a literal in every line that the filter matches.
    lines: Vec<Set>,
    /// By pattern: sets of which each has a literal in every match; those with the least choice first.
    patterns: Vec<Vec<Set>>,
}

/// The literals that a filter asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// Sets of which each has a literal in every line that the filter matches.
    pub lines: Vec<Vec<Literal>>,
    /// By pattern: sets of which each has a literal in every match.
    pub patterns: Vec<Vec<Vec<Literal>>>,
}

impl Sieve {
    /// For the filters that ask so. `on`: false has every line looked at.
    pub fn new(filters: &[Asked], on: bool) -> Sieve {
        let choices = if on { Choices::new(filters) } else { None };
        Sieve { choices, searcher: None, wait: 0, waited: 0 }
    }

    /// The lines of `block` that are to be looked at.
    pub fn lines<'b>(&mut self, block: &'b [u8]) -> Lines<'_, 'b> {
        let big = block.len() >= BLOCK_BYTES_MIN;
        if big && self.waited == 0 {
            self.learn(block);
        }
        Lines { searcher: self.searcher.as_ref().filter(|_| big), block, at: 0, index: 0 }
    }

    /// Told after each block: how many lines it had, and how many were looked at though no pattern could match them.
    pub fn told(&mut self, block: &[u8], lines: u64, vain: u64) {
        self.wait = self.wait.saturating_sub(1);
        if self.searcher.is_some() && self.wait == 0 && vain > lines / VAIN_LINES {
            self.learn(block);
        }
    }

    fn learn(&mut self, block: &[u8]) {
        // Learning costs as much as a few blocks do: where it is of no use, it is tried ever less often.
        self.waited = (self.waited * 2).max(8);
        self.wait = self.waited;
        let Some(choices) = &self.choices else { return };
        self.searcher = choices.searcher(&Sample::new(block));
    }
}

impl Choices {
    /// `None`: some pattern may match a line that holds nothing known.
    fn new(filters: &[Asked]) -> Option<Choices> {
        let mut choices = Choices { literals: Vec::new(), filters: Vec::new() };
        let mut known = HashMap::new();
        for asked in filters {
            let mut sets = |sets: &[Vec<Literal>]| -> Vec<Set> {
                sets.iter().filter_map(|set| exact(set)).map(|set| choices.set(set, &mut known)).collect()
            };
            let lines = sets(&asked.lines);
            let mut patterns: Vec<Vec<Set>> = asked.patterns.iter().map(|own| sets(own)).collect();
            if lines.is_empty() && patterns.iter().any(Vec::is_empty) {
                return None;
            }
            patterns.sort_by_key(Vec::len);
            choices.filters.push(Needs { lines, patterns });
        }
        Some(choices)
    }

    fn set(&mut self, set: Vec<Vec<u8>>, known: &mut HashMap<Vec<u8>, usize>) -> Set {
        let number = |bytes: Vec<u8>| {
            *known.entry(bytes).or_insert_with_key(|bytes| {
                self.literals.push(bytes.clone());
                self.literals.len() - 1
            })
        };
        set.into_iter().map(number).collect()
    }

    /// Searches for that choice which stops least often in `sample`; `None`: it would not pay.
    fn searcher(&self, sample: &Sample<'_>) -> Option<Search> {
        let stops = sample.stops(&self.literals);
        let mut chosen = vec![false; self.literals.len()];
        for needs in &self.filters {
            // A literal more makes the search a little slower even where it is never met.
            let cost = |set: &Set, chosen: &[bool]| -> usize {
                set.iter().filter(|at| !chosen[**at]).map(|at| stops[*at] * 64 + 1).sum()
            };
            let mut with = chosen.clone();
            let mut sum = 0;
            for sets in &needs.patterns {
                let Some(set) = sets.iter().min_by_key(|set| cost(set, &with)) else {
                    sum = usize::MAX;
                    break;
                };
                sum += cost(set, &with);
                set.iter().for_each(|at| with[*at] = true);
            }
            match needs.lines.iter().min_by_key(|set| cost(set, &chosen)) {
                Some(set) if cost(set, &chosen) < sum => set.iter().for_each(|at| chosen[*at] = true),
                _ => chosen = with,
            }
        }
        let chosen: Vec<&[u8]> =
            (0..chosen.len()).filter(|at| chosen[*at]).map(|at| &self.literals[at][..]).collect();
        Search::new(&without_implied(chosen), sample)
    }
}

/// Where a literal stands, those that it holds stand too: they alone are searched for.
fn without_implied(literals: Vec<&[u8]>) -> Vec<&[u8]> {
    let implied = |literal: &[u8]| {
        literals.iter().any(|other| other.len() < literal.len() && memmem::find(literal, other).is_some())
    };
    literals.iter().copied().filter(|literal| !implied(literal)).collect()
}

/// Parts of the names of the programs that `filter` reads, of which one is in each of its lines; `None`: there may be
/// lines without.
pub(super) fn names(filter: &Filter) -> Option<Vec<Literal>> {
    if filter.frames != [FrameKind::Syslog] || filter.ident.is_empty() {
        return None;
    }
    let part = |glob: &IdentGlob| {
        // A name may be cut at its first `/`.
        let kept = glob.as_str().split('/').next().unwrap_or_default();
        let longest = kept.split('*').max_by_key(|part| part.len())?;
        Some(Literal { bytes: longest.as_bytes().to_vec(), folded: false })
    };
    filter.ident.iter().map(part).collect()
}

/// The literals of a set as a search that knows no case needs them; `None`: the set is of no use.
fn exact(set: &[Literal]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for literal in set {
        if literal.bytes.len() < LITERAL_BYTES_MIN {
            return None;
        }
        if literal.folded {
            // Every spelling of its beginning: letters of either case fit.
            let mut spellings = vec![Vec::new()];
            for byte in &literal.bytes[..LITERAL_BYTES_MIN] {
                let cases = [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
                let cases = &cases[..if cases[0] == cases[1] { 1 } else { 2 }];
                spellings = spellings
                    .iter()
                    .flat_map(|begun| cases.iter().map(move |case| [&begun[..], &[*case]].concat()))
                    .collect();
            }
            found.extend(spellings);
        } else {
            found.push(literal.bytes.clone());
        }
    }
    Some(found)
}

/// The lines of a block that are to be looked at, one after another.
pub struct Lines<'s, 'b> {
    searcher: Option<&'s Search>,
    block: &'b [u8],
    at: usize,
    /// Of the line at `at`; at the end: how many there were.
    index: usize,
}

impl<'b> Lines<'_, 'b> {
    /// The next line without its `\n`, and its index in the block.
    #[inline]
    pub fn next(&mut self) -> Option<(usize, &'b [u8])> {
        let block = self.block;
        let mut hit = self.at;
        if let Some(searcher) = self.searcher {
            let found = searcher.find(&block[self.at..]);
            hit += found.place;
            self.index += found.lines;
            self.at += found.line;
        }
        if hit == block.len() {
            // What has no end is a line too.
            self.index += usize::from(self.at < hit);
            self.at = hit;
            return None;
        }
        Some(self.take(hit))
    }

    /// The next line, whatever it holds.
    pub fn next_of_all(&mut self) -> Option<(usize, &'b [u8])> {
        (self.at < self.block.len()).then(|| self.take(self.at))
    }

    /// The line at `self.at`, in which `hit` is.
    #[inline]
    fn take(&mut self, hit: usize) -> (usize, &'b [u8]) {
        let block = self.block;
        let end = memchr(b'\n', &block[hit..]).map_or(block.len(), |len| hit + len);
        let line = &block[self.at..end];
        self.at = (end + 1).min(block.len());
        self.index += 1;
        (self.index - 1, line)
    }

    /// Where in the block the next line begins that is looked for. Bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many lines the block has, once there is no next one.
    pub fn count(&self) -> usize {
        self.index
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_lines_with_a_literal_are_found_and_all_are_counted(
            words in prop::collection::vec(
                prop_oneof![Just("wanted"), Just("want"), Just("edxyza"), Just("\n"), Just("\n\n"), Just("a"), Just("line of no use")],
                0..200,
            ),
        ) {
            let block = words.concat().into_bytes();
            let literals = [&b"wanted"[..], b"dxyz"];
            let searcher = Search::new(&literals, &Sample::new(b"an ordinary line\n"));
            let with: Vec<(usize, &[u8])> = block
                .split(|byte| *byte == b'\n')
                .enumerate()
                .filter(|(_, line)| literals.iter().any(|literal| memmem::find(line, literal).is_some()))
                .collect();
            let every: Vec<(usize, &[u8])> = block.split(|byte| *byte == b'\n').enumerate().collect();
            // What follows the last line end is a line only if there is something.
            let count = every.len() - usize::from(every.last().is_some_and(|(_, line)| line.is_empty()));
            for (searcher, want) in [(searcher.as_ref(), &with[..]), (None, &every[..count])] {
                if searcher.is_none() && want.len() != count {
                    continue;
                }
                let mut lines = Lines { searcher, block: &block, at: 0, index: 0 };
                let mut got = Vec::new();
                while let Some(found) = lines.next() {
                    got.push(found);
                }
                prop_assert_eq!(&got[..], want);
                prop_assert_eq!(lines.count(), count);
            }
        }
    }

    #[test]
    fn a_pattern_is_sought_by_what_is_rare_in_this_log() {
        let filter =
            Arc::new(Filter::from_toml("x", "failregex = ['failed user= rip=<HOST>']", "x").unwrap());
        let rare = |common: &str| {
            let (sieve, _) = super::super::Prefilter::new(&[Arc::clone(&filter)], true);
            let choices = sieve.choices.unwrap();
            let text = common.repeat(100);
            let searcher = choices.searcher(&Sample::new(text.as_bytes())).unwrap();
            searcher.find(common.as_bytes()).place == common.len()
        };
        assert!(rare("nothing of all that\n") && rare("user= connected\n"));
    }
}
