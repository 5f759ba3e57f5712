//! Literals by four bytes of theirs.

use crate::filter::word::{mask, word};
use crate::sys::simd::WINDOW;

/// Four bytes in a row.
pub type Window = [u8; WINDOW];

/// Every window of ASCII in `literal`, with its offset.
pub fn windows(literal: &[u8]) -> impl Iterator<Item = (usize, Window)> {
    let all = literal.windows(WINDOW).enumerate();
    all.filter_map(|(offset, window)| Some((offset, window.try_into().ok()?)))
        .filter(|(_, window): &(usize, Window)| window.is_ascii())
}

/// Numbers by window: a small open table, for what is asked at every place of a text.
#[derive(Debug)]
pub struct Numbered {
    /// (window, its number and one), 0: free.
    slots: Vec<(u32, u32)>,
    shift: u32,
}

impl Numbered {
    /// Numbers `windows`, of which none comes twice, from 0 on.
    pub fn new(windows: impl ExactSizeIterator<Item = Window>) -> Numbered {
        // At most a quarter full, so that most that is not in it is found out at once.
        let bits = (windows.len().max(1) * 4).next_power_of_two().trailing_zeros().max(4);
        let mut numbered = Numbered { slots: vec![(0, 0); 1 << bits], shift: 32 - bits };
        for (number, window) in windows.enumerate() {
            let window = u32::from_le_bytes(window);
            let free = numbered.slot(window);
            numbered.slots[free] = (window, number as u32 + 1);
        }
        numbered
    }

    /// Where `window` is, or the free slot where it would be.
    #[inline]
    fn slot(&self, window: u32) -> usize {
        // Knuth's multiplicative hash: the upper bits of the product depend on all of the window.
        let mut at = (window.wrapping_mul(0x9e37_79b1) >> self.shift) as usize;
        while self.slots[at].1 != 0 && self.slots[at].0 != window {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    /// The number of the window at `place` of `text`.
    #[inline]
    pub fn at(&self, text: &[u8], place: usize) -> Option<usize> {
        let window: &Window = text.get(place..)?.first_chunk()?;
        (self.slots[self.slot(u32::from_le_bytes(*window))].1 as usize).checked_sub(1)
    }
}

/// Finds literals at places of a text where their windows may be.
#[derive(Debug)]
pub struct Grams {
    windows: Numbered,
    /// By window.
    held: Vec<Vec<Held>>,
}

/// A literal that a window is in. Its first and its last eight bytes are compared: what stands between them would tell
/// hardly ever, and a call would cost more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    /// Of the window in it.
    offset: usize,
    number: usize,
    len: usize,
    /// Its first eight bytes, or all of them. Little-endian.
    head: u64,
    /// Which of these there are.
    mask: u64,
    /// Its last eight bytes, where it has more.
    tail: u64,
}

impl Held {
    fn new(number: usize, literal: &[u8], offset: usize) -> Held {
        let len = literal.len();
        let last = &literal[len.saturating_sub(8)..];
        Held { offset, number, len, head: word(literal), mask: mask(len), tail: word(last) }
    }

    /// Whether `text` begins so.
    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        let Some(text) = text.get(..self.len.max(8)) else {
            return text.len() >= self.len && word(text) & self.mask == self.head;
        };
        let (first, last) = (text.first_chunk(), text.last_chunk());
        first.is_some_and(|first| u64::from_le_bytes(*first) & self.mask == self.head)
            && (self.len <= 8 || last.is_some_and(|last| u64::from_le_bytes(*last) == self.tail))
    }
}

impl Grams {
    /// `literals`: each with the offset of its window.
    pub fn new<'l>(literals: impl Iterator<Item = (&'l [u8], usize)>) -> Grams {
        let mut by_window: Vec<(Window, Held)> = literals
            .enumerate()
            .filter_map(|(number, (literal, offset))| {
                let window = literal.get(offset..)?.first_chunk()?;
                Some((*window, Held::new(number, literal, offset)))
            })
            .collect();
        by_window.sort_unstable();
        let (mut known, mut held): (Vec<Window>, Vec<Vec<Held>>) = Default::default();
        for (window, own) in by_window {
            if known.last() != Some(&window) {
                known.push(window);
                held.push(Vec::new());
            }
            held.last_mut().expect("pushed").push(own);
        }
        Grams { windows: Numbered::new(known.into_iter()), held }
    }

    /// The numbers of the literals of which the window is at `place` of `text`.
    #[inline]
    pub fn at(&self, text: &[u8], place: usize) -> impl Iterator<Item = usize> {
        let held = self.windows.at(text, place).map_or(&[][..], |window| &self.held[window]);
        held.iter().filter_map(move |held| {
            let begun = text.get(place.checked_sub(held.offset)?..)?;
            held.begins(begun).then_some(held.number)
        })
    }

    /// Whether there is any.
    #[inline]
    pub fn any_at(&self, text: &[u8], place: usize) -> bool {
        self.at(text, place).next().is_some()
    }
}
