//! Text of a log that says what is common in it.

use super::grams::{Grams, Numbered, Window, windows};
use crate::sys::simd::WINDOW;

/// From how much text is learned. Bytes.
pub const SAMPLE_BYTES: usize = 32 << 10;
/// Every so manieth place of the sample is asked what is let through there.
const STRIDE: usize = 4;

pub struct Sample<'t> {
    text: &'t [u8],
    /// How likely each byte is, none impossible.
    bytes: Box<[f32; 256]>,
}

impl<'t> Sample<'t> {
    /// Of the beginning of `text`.
    pub fn new(text: &'t [u8]) -> Sample<'t> {
        let text = &text[..text.len().min(SAMPLE_BYTES)];
        let mut bytes = Box::new([1.0; 256]);
        text.iter().for_each(|byte| bytes[usize::from(*byte)] += 1.0);
        bytes.iter_mut().for_each(|byte| *byte /= text.len() as f32 + 256.0);
        Sample { text, bytes }
    }

    /// How often each of `windows` is met.
    pub fn counts(&self, windows: impl ExactSizeIterator<Item = Window>) -> Vec<u32> {
        let mut counts = vec![0; windows.len()];
        let known = Numbered::new(windows);
        let numbers = (0..self.text.len()).filter_map(|place| known.at(self.text, place));
        numbers.for_each(|number| counts[number] += 1);
        counts
    }

    /// How often each of `literals` is met.
    pub fn stops(&self, literals: &[Vec<u8>]) -> Vec<usize> {
        let mut stops = vec![0; literals.len()];
        let rarest = |literal: &[u8]| {
            let all = windows(literal).map(|(offset, window)| (offset, self.likely(window)));
            all.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |(offset, _)| offset)
        };
        let grams = Grams::new(literals.iter().map(|literal| (&literal[..], rarest(literal))));
        for place in 0..self.text.len() {
            grams.at(self.text, place).for_each(|number| stops[number] += 1);
        }
        stops
    }

    /// How likely `window` is at a place, if the bytes of a log knew nothing of each other.
    pub fn likely(&self, window: Window) -> f32 {
        window.iter().map(|byte| self.bytes[usize::from(*byte)]).product()
    }

    /// The same of any window that a group of `windows` lets through.
    pub fn chance(&self, windows: &[Window]) -> f32 {
        let of_place = |place: usize| -> f32 {
            let (low, high) = halves(windows, place);
            let with = |high: usize| bits(low).map(move |low| self.bytes[high * 16 + low]);
            bits(high).flat_map(with).sum()
        };
        (0..WINDOW).map(of_place).product()
    }

    pub fn places(&self) -> Places {
        let last = (self.text.len() + 1).saturating_sub(WINDOW);
        let all: Vec<&[u8]> = (0..last).step_by(STRIDE).map(|at| &self.text[at..at + WINDOW]).collect();
        let words = all.len().div_ceil(64);
        let mut seen = vec![0; WINDOW * 32 * words];
        for (number, window) in all.iter().enumerate() {
            for (place, byte) in window.iter().enumerate() {
                for half in [byte & 15, 16 + (byte >> 4)] {
                    seen[(place * 32 + usize::from(half)) * words + number / 64] |= 1 << (number % 64);
                }
            }
        }
        Places { seen, words, len: all.len() }
    }
}

/// The lower and the upper halves of the bytes at `place` of `windows`, as bits.
fn halves(windows: &[Window], place: usize) -> (u16, u16) {
    windows.iter().fold((0, 0), |(low, high), window| {
        (low | 1 << (window[place] & 15), high | 1 << (window[place] >> 4))
    })
}

fn bits(set: u16) -> impl Iterator<Item = usize> {
    (0..16).filter(move |bit| set >> bit & 1 == 1)
}

/// Places of a sample, by the halves of the four bytes that stand there.
pub struct Places {
    /// For each of the four bytes and each half that it may have the places that have it, as bits.
    seen: Vec<u64>,
    words: usize,
    len: usize,
}

impl Places {
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many of them a group of `windows` lets through.
    pub fn let_through(&self, windows: &[Window]) -> u32 {
        let mut all = vec![u64::MAX; self.words];
        let mut any = vec![0; self.words];
        for place in 0..WINDOW {
            let (low, high) = halves(windows, place);
            for (first, halves) in [(0, low), (16, high)] {
                any.fill(0);
                for half in bits(halves) {
                    let seen = &self.seen[(place * 32 + first + half) * self.words..][..self.words];
                    any.iter_mut().zip(seen).for_each(|(any, seen)| *any |= seen);
                }
                all.iter_mut().zip(&any).for_each(|(all, any)| *all &= any);
            }
        }
        all.iter().map(|word| word.count_ones()).sum()
    }
}
