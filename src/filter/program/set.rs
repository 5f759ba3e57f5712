//! A class of bytes, and how far a text stays in it.

use crate::filter::literal::ByteSet;
use crate::filter::word::{eight, first, zeros};

#[derive(Debug)]
pub(super) struct Set {
    pub bytes: ByteSet,
    pub table: Box<[bool; 256]>,
    stops: Option<Stops>,
    ranges: Option<Ranges>,
}

/// A class of ASCII bytes in few ranges, one perhaps more than once.
#[derive(Debug)]
struct Ranges {
    /// What takes the first byte of a range, or the one after its last, to 0x80: eight times.
    edges: [(u64, u64); RANGES],
}

/// Letters of both cases and digits.
const RANGES: usize = 3;

/// The bytes that are not in a class, where they are three at most, one perhaps more than once.
#[derive(Debug)]
struct Stops {
    bytes: [u8; 3],
    /// Each eight times.
    words: [u64; 3],
}

/// So far the stop of most runs is, and a call to find it would cost more than finding it does. Bytes.
const SOON: usize = 32;

impl Set {
    pub fn new(bytes: ByteSet) -> Set {
        let mut table = Box::new([false; 256]);
        (0..=255u8).for_each(|byte| table[usize::from(byte)] = bytes.contains(byte));
        let missing: Vec<u8> = (0..=255u8).filter(|byte| !bytes.contains(*byte)).collect();
        let stops = match missing[..] {
            [one] => Some([one; 3]),
            [one, two] => Some([one, one, two]),
            [one, two, three] => Some([one, two, three]),
            _ => None,
        };
        let stops = stops.map(|bytes| Stops { bytes, words: bytes.map(eight) });
        let ranges = Ranges::new(&bytes);
        Set { bytes, table, stops, ranges }
    }

    /// How many bytes at the start of `text` are in the set.
    #[inline]
    pub fn count(&self, text: &[u8]) -> usize {
        let stop = match &self.stops {
            Some(stops) => stops.first(text),
            None if self.bytes == ByteSet::ALL => None,
            None => {
                let soon = self.ranges.as_ref().and_then(|ranges| ranges.end(text));
                soon.or_else(|| text.iter().position(|byte| !self.table[usize::from(*byte)]))
            }
        };
        stop.unwrap_or(text.len())
    }
}

impl Ranges {
    fn new(bytes: &ByteSet) -> Option<Ranges> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in (0..=255u8).filter(|byte| bytes.contains(*byte)) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == byte => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        let filler = *ranges.first()?;
        if ranges.len() > RANGES || !ranges.last()?.1.is_ascii() {
            return None;
        }
        ranges.resize(RANGES, filler);
        let edges = |&(first, last): &(u8, u8)| (eight(0x80 - first), eight(0x7f - last));
        Some(Ranges { edges: std::array::from_fn(|at| edges(&ranges[at])) })
    }

    /// Where the run at the start of `text` ends, if that is within its first eight bytes.
    #[inline]
    fn end(&self, text: &[u8]) -> Option<usize> {
        let word = u64::from_le_bytes(*text.first_chunk()?);
        let low = word & eight(0x7f);
        let inside = |(first, last): (u64, u64)| (low + first) & !(low + last);
        let [one, two, three] = self.edges;
        first(!(inside(one) | inside(two) | inside(three)) & eight(0x80) | word & eight(0x80))
    }
}

impl Stops {
    /// Where the first of them is.
    #[inline]
    fn first(&self, text: &[u8]) -> Option<usize> {
        let [one, two, three] = self.words;
        let mut at = 0;
        while at < SOON
            && let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk())
        {
            let word = u64::from_le_bytes(*chunk);
            if let Some(stop) = first(zeros(word ^ one) | zeros(word ^ two) | zeros(word ^ three)) {
                return Some(at + stop);
            }
            at += 8;
        }
        let [one, two, three] = self.bytes;
        memchr::memchr3(one, two, three, &text[at..]).map(|stop| at + stop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_ends_at_the_first_byte_that_is_not_in_the_class(
            ranges in prop::collection::vec((any::<u8>(), 0u8..40), 1..5),
            all_but in any::<bool>(),
            text in prop::collection::vec(any::<u8>(), 0..24),
            inside in 0usize..24,
        ) {
            let is_in = |byte: u8| ranges.iter().any(|(first, more)| byte.wrapping_sub(*first) <= *more) != all_but;
            let mut bytes = ByteSet::default();
            (0..=255u8).filter(|byte| is_in(*byte)).for_each(|byte| bytes.insert(byte));
            // Runs of some length, too.
            let within: Vec<u8> = (0..=255u8).filter(|byte| is_in(*byte)).cycle().take(inside).collect();
            let text = [within, text].concat();
            let end = text.iter().position(|byte| !is_in(*byte)).unwrap_or(text.len());
            prop_assert_eq!(Set::new(bytes).count(&text), end);
        }
    }
}
