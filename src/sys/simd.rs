//! Bytes of a text looked at many at a time. Nothing here asks the system for anything: pure stages use it too.

/// For each of four bytes in a row, the groups (bits) that admit it, told by its lower and by its upper half: a group
/// admits a byte that both its halves are admitted by, and so perhaps bytes that nobody named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "admitted to, and never searched with"))]
pub struct Halves {
    low: [[u8; 16]; WINDOW],
    high: [[u8; 16]; WINDOW],
}

/// How many bytes in a row are told apart.
pub const WINDOW: usize = 4;
/// How many groups there can be.
pub const GROUPS: usize = 8;

impl Halves {
    /// Whether this machine can: the one that the program runs on, not the one that it was built on.
    pub fn available() -> bool {
        #[cfg(target_arch = "x86_64")]
        return narrow::available();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Has `group` admit `window`, whose bytes are ASCII.
    pub fn admit(&mut self, group: usize, window: [u8; WINDOW]) {
        debug_assert!(window.is_ascii() && group < GROUPS);
        for (place, byte) in window.into_iter().enumerate() {
            self.low[place][usize::from(byte & 15)] |= 1 << group;
            self.high[place][usize::from(byte >> 4)] |= 1 << group;
        }
    }

    /// Tells `admitted` every place whose four bytes some group admits.
    ///
    /// # Panics
    /// Where it is not [`Halves::available`].
    #[inline]
    pub fn all(&self, text: &[u8], mut admitted: impl FnMut(usize)) {
        self.search::<false>(text, |place| {
            admitted(place);
            false
        });
    }

    /// The first place whose four bytes some group admits and `confirm` confirms.
    ///
    /// # Panics
    /// Where it is not [`Halves::available`].
    #[inline]
    pub fn find(&self, text: &[u8], confirm: impl FnMut(usize) -> bool) -> Found {
        self.search::<true>(text, confirm)
    }

    /// `LINES` false: lines are not counted.
    #[inline]
    fn search<const LINES: bool>(&self, text: &[u8], confirm: impl FnMut(usize) -> bool) -> Found {
        #[cfg(target_arch = "x86_64")]
        return match wide::available() && text.len() >= wide::READ {
            true => wide::search::<LINES>(self, text, confirm),
            false => narrow::search::<LINES>(self, text, confirm),
        };
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("it is not available, and so nobody may ask");
    }
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The end of the text where nothing was found.
    pub place: usize,
    /// How many `\n` are before it.
    pub lines: usize,
    /// What follows the last of these.
    pub line: usize,
}

impl Found {
    /// By looking at all of `text` before `place`.
    pub fn at(text: &[u8], place: usize) -> Found {
        let before = &text[..place];
        match memchr::memrchr(b'\n', before) {
            Some(last) => {
                Found { place, lines: memchr::memchr_iter(b'\n', &before[..=last]).count(), line: last + 1 }
            }
            None => Found { place, lines: 0, line: 0 },
        }
    }

    /// `ends`: where from `from` on lines end, as bits.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn count(&mut self, from: usize, ends: u64) {
        self.lines += ends.count_ones() as usize;
        self.line = if ends == 0 { self.line } else { from + 64 - ends.leading_zeros() as usize };
    }
}

/// A step in which some group admits something.
#[cfg(target_arch = "x86_64")]
struct Step {
    from: usize,
    /// The places, as bits.
    places: u64,
    /// Where lines end, as bits.
    ends: u64,
}

/// Goes from step to step through `text`. `next`: the next step in which some group admits something, from a place on; the
/// last step begins early enough, at `last`, and the lines of the steps before are counted. A step is `step` bytes, three
/// more are read.
#[cfg(target_arch = "x86_64")]
#[inline]
fn search<const LINES: bool>(
    text: &[u8],
    step: usize,
    next: impl Fn(usize, usize, &mut Found) -> Option<Step>,
    mut confirm: impl FnMut(usize) -> bool,
) -> Found {
    let Some(last) = text.len().checked_sub(step + WINDOW - 1) else {
        let mut places = 0..(text.len() + 1).saturating_sub(WINDOW);
        let place = places.find(|place| confirm(*place)).unwrap_or(text.len());
        return if LINES { Found::at(text, place) } else { Found { place, lines: 0, line: 0 } };
    };
    let mut met = Found { place: text.len(), lines: 0, line: 0 };
    let mut at = 0;
    while let Some(Step { from, mut places, ends }) = next(at, last, &mut met) {
        while places != 0 {
            let bit = places.trailing_zeros();
            if confirm(from + bit as usize) {
                met.place = from + bit as usize;
                met.count(from, ends & ((1 << bit) - 1));
                return met;
            }
            places &= places - 1;
        }
        met.count(from, ends);
        if from == last {
            break;
        }
        at = from + step;
    }
    if LINES {
        // Three bytes are left in which no window begins.
        for (at, byte) in text.iter().enumerate().skip(last + step) {
            met.count(at, u64::from(*byte == b'\n'));
        }
    }
    met
}

/// The search of a width, for processors with `$features`; all else that tells the widths apart stands beside its use.
#[cfg(target_arch = "x86_64")]
macro_rules! in_steps {
    ($features:literal) => {
        /// Bytes read for a step.
        pub const READ: usize = STEP + WINDOW - 1;

        /// See [`Halves::find`].
        #[inline]
        #[expect(unsafe_code, reason = "to call what only some processors can")]
        pub fn search<const LINES: bool>(
            halves: &Halves,
            text: &[u8],
            confirm: impl FnMut(usize) -> bool,
        ) -> Found {
            assert!(available());
            // SAFETY: the processor can, as was asked just before.
            let next = |from, last, met: &mut Found| unsafe { next::<LINES>(halves, text, from, last, met) };
            super::search::<LINES>(text, STEP, next, confirm)
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn table(half: &[u8; 16]) -> Bytes {
            #[expect(unsafe_code, reason = "a load by address")]
            // SAFETY: 16 bytes are read of an array of 16.
            let half = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
            spread(half)
        }

        /// `STEP` bytes of `text` from its first, second, third or fourth on.
        #[inline]
        #[target_feature(enable = $features)]
        #[expect(unsafe_code, reason = "a load by address")]
        fn bytes(text: &[u8; READ], place: usize) -> Bytes {
            assert!(place < WINDOW);
            // SAFETY: the last of the reads begins three bytes on, and three more than `STEP` are there.
            unsafe { load(text.as_ptr().add(place).cast()) }
        }

        /// The groups that admit what stands at each of the places.
        #[inline]
        #[target_feature(enable = $features)]
        fn groups(low: &[Bytes; WINDOW], high: &[Bytes; WINDOW], text: &[u8; READ]) -> Bytes {
            let mut groups = each(-1);
            for place in 0..WINDOW {
                let bytes = bytes(text, place);
                let upper = and(shift::<4>(bytes), each(15));
                // A byte that is not ASCII finds nothing in the lower table: its highest bit says so.
                groups = and(groups, and(look_up(low[place], bytes), look_up(high[place], upper)));
            }
            groups
        }

        /// See [`super::search`]. Apart from what is done with the places, so that all tables stay in registers.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn next<const LINES: bool>(
            halves: &Halves,
            text: &[u8],
            mut from: usize,
            last: usize,
            met: &mut Found,
        ) -> Option<Step> {
            let (mut low, mut high) = ([each(0); WINDOW], [each(0); WINDOW]);
            for place in 0..WINDOW {
                low[place] = table(&halves.low[place]);
                high[place] = table(&halves.high[place]);
            }
            let line_end = each(b'\n' as i8);
            let mut counted = *met;
            let mut found = None;
            while from < last + STEP {
                // What the last step sees again was seen before.
                let seen = from.saturating_sub(last);
                let Some(chunk) = text.get(from - seen..).and_then(|rest| rest.first_chunk()) else { break };
                let places = some(groups(&low, &high, chunk));
                let ends = if LINES { equal(bytes(chunk, 0), line_end) >> seen << seen } else { 0 };
                if places != 0 {
                    found = Some(Step { from: from - seen, places: places >> seen << seen, ends });
                    break;
                }
                counted.count(from - seen, ends);
                from += STEP;
            }
            *met = counted;
            found
        }
    };
}

/// 32 bytes at a time.
#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::{
        __m256i as Bytes, _mm_loadu_si128, _mm256_and_si256 as and, _mm256_broadcastsi128_si256 as spread,
        _mm256_cmpeq_epi8, _mm256_loadu_si256 as load, _mm256_movemask_epi8, _mm256_set1_epi8 as each,
        _mm256_shuffle_epi8 as look_up, _mm256_srli_epi16 as shift,
    };

    use super::{Found, Halves, Step, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 32;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
    }

    in_steps!("avx2,popcnt");

    /// Where bytes are the same, as bits.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn equal(one: Bytes, other: Bytes) -> u64 {
        u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(one, other)) as u32)
    }

    /// Where bytes are not zero, as bits.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn some(bytes: Bytes) -> u64 {
        u64::from(u32::MAX) ^ equal(bytes, each(0))
    }
}

/// 64 bytes at a time, where the processor can.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m512i as Bytes, _mm_loadu_si128, _mm512_and_si512 as and, _mm512_broadcast_i32x4 as spread,
        _mm512_cmpeq_epi8_mask as equal, _mm512_loadu_si512 as load, _mm512_set1_epi8 as each,
        _mm512_shuffle_epi8 as look_up, _mm512_srli_epi16 as shift, _mm512_test_epi8_mask,
    };

    use super::{Found, Halves, Step, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 64;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("popcnt")
    }

    in_steps!("avx512bw,popcnt");

    /// Where bytes are not zero, as bits.
    #[inline]
    #[target_feature(enable = "avx512bw,popcnt")]
    fn some(bytes: Bytes) -> u64 {
        _mm512_test_epi8_mask(bytes, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_window_that_was_admitted_is_found(
            text in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'q'), Just(b'\n'), Just(0xe1)], 0..200),
            windows in prop::collection::vec((0..GROUPS, prop::array::uniform4(prop_oneof![Just(b'a'), Just(b'b'), Just(b'q')])), 1..6),
        ) {
            prop_assume!(Halves::available());
            let mut halves = Halves::default();
            windows.iter().for_each(|(group, window)| halves.admit(*group, *window));
            let stands = |place: usize| windows.iter().any(|(_, window)| text[place..].starts_with(window));
            let want = (0..text.len()).find(|place| stands(*place));
            let want = Found::at(&text, want.unwrap_or(text.len()));
            prop_assert_eq!(halves.find(&text, stands), want);
            #[cfg(target_arch = "x86_64")]
            prop_assert_eq!(narrow::search::<true>(&halves, &text, stands), want);
        }
    }
}
