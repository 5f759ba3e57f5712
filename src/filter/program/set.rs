//! A class of bytes, and how far a text stays in it.

use crate::filter::literal::ByteSet;
use crate::filter::word::{eight, first, zeros};

#[derive(Debug)]
pub(super) struct Set {
    pub bytes: ByteSet,
    pub table: Box<[bool; 256]>,
    stops: Option<Stops>,
}

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
        Set { bytes, table, stops }
    }

    /// How many bytes at the start of `text` are in the set.
    #[inline]
    pub fn count(&self, text: &[u8]) -> usize {
        let stop = match &self.stops {
            Some(stops) => stops.first(text),
            None if self.bytes == ByteSet::ALL => None,
            None => text.iter().position(|byte| !self.table[usize::from(*byte)]),
        };
        stop.unwrap_or(text.len())
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
