//! [`Rows`]: what a scan knows of each address or account, numbered in order of first mention.
//!
//! The table holds numbers alone, so that it stays small; the rows lie in pieces that never move. What a look at a row
//! costs is memory, each row's its own line of cache: [`Rows::fetch`] asks for many before the first is needed.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::times::Times;
use crate::filter::Outcome;
use crate::sys::prefetch;
use crate::time::Timestamp;

/// Rows that lie together. Entries.
const PIECE: usize = 1024;

/// What is known of one address or account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    /// These two stop at the most that they hold.
    pub failures: u32,
    pub successes: u32,
    pub times: Times,
}

impl Row {
    pub fn add(&mut self, outcome: Outcome, times: u32, at: Option<Timestamp>) {
        let count = match outcome {
            Outcome::Failure => &mut self.failures,
            Outcome::Success => &mut self.successes,
        };
        *count = count.saturating_add(times);
        if let Some(at) = at {
            self.times.add(at);
        }
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct Slot<K> {
    row: Row,
    hash: u64,
    key: K,
}

/// Where a row is sought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    hash: u64,
    guess: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rows<K> {
    numbers: HashTable<u32>,
    pieces: Vec<Vec<Slot<K>>>,
    hasher: DefaultHashBuilder,
    max: usize,
}

impl<K> Rows<K> {
    /// `max`: entries at most, fewer than 2^32.
    pub fn new(max: usize) -> Rows<K> {
        Rows { numbers: HashTable::new(), pieces: Vec::new(), hasher: DefaultHashBuilder::default(), max }
    }

    /// Where a key's row is sought; the key may be spelled as anything that hashes like a `K`.
    #[inline]
    pub fn place(&self, key: &(impl Hash + ?Sized)) -> Place {
        Place { hash: self.hasher.hash_one(key), guess: None }
    }

    /// Has memory bring the row that is probably the one at `place`, before [`Rows::row`] asks for it.
    #[inline]
    pub fn fetch(&self, place: &mut Place) {
        place.guess = self.numbers.find(place.hash, |_| true).copied();
        if let Some(guess) = place.guess {
            prefetch::value(slot(&self.pieces, guess));
        }
    }

    /// The number and the row of the key that `is` knows, made by `make` if it is new; `None`: there is no room.
    #[inline]
    pub fn row(
        &mut self,
        place: Place,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> K,
    ) -> Option<(u32, &mut Row)> {
        let stands = |number: u32| is(&slot(&self.pieces, number).key);
        let number = match place.guess {
            Some(guess) if stands(guess) => guess,
            // A key with the same hash, or one that has come since.
            _ => match self.numbers.find(place.hash, |number| stands(*number)) {
                Some(known) => *known,
                None => self.insert(place.hash, make())?,
            },
        };
        Some((number, &mut self.pieces[number as usize / PIECE][number as usize % PIECE].row))
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: K) -> Option<u32> {
        let number = self.numbers.len();
        if number >= self.max {
            return None;
        }
        if number.is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let (numbers, pieces) = (&mut self.numbers, &mut self.pieces);
        pieces[number / PIECE].push(Slot { row: Row::default(), hash, key });
        numbers.insert_unique(hash, number as u32, |number| slot(pieces, *number).hash);
        Some(number as u32)
    }

    /// All of them with their numbers, in order of first mention.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &K, &Row)> {
        (0..).zip(self.pieces.iter().flatten()).map(|(number, slot)| (number, &slot.key, &slot.row))
    }
}

#[inline]
fn slot<K>(pieces: &[Vec<Slot<K>>], number: u32) -> &Slot<K> {
    &pieces[number as usize / PIECE][number as usize % PIECE]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_again_and_numbered_as_they_come() {
        let mut rows: Rows<u32> = Rows::new(3 * PIECE + 7);
        let mut count = |key: u32| {
            let mut place = rows.place(&key);
            rows.fetch(&mut place);
            let (number, row) = rows.row(place, |known| *known == key, || key)?;
            row.add(Outcome::Failure, 1, None);
            Some((number, row.failures))
        };
        for round in 1..=2 {
            for key in 0..5 * PIECE as u32 {
                let known = (key as usize) < 3 * PIECE + 7;
                assert_eq!(count(key * 7), known.then_some((key, round)));
            }
        }
        assert!(rows.iter().map(|(number, key, _)| (number, *key)).eq((0..3 * 1024 + 7).map(|n| (n, n * 7))));
    }
}
