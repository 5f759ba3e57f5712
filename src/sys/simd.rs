//! Bytes of a text looked at many at a time.

/// For each of four bytes in a row, the groups (bits) that admit it, told by its lower and by its upper half: a group
/// admits a byte that both its halves are admitted by, and so perhaps bytes that nobody named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
        return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
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
    #[expect(unsafe_code, reason = "to call what only some processors can")]
    pub fn all(&self, text: &[u8], mut admitted: impl FnMut(usize)) {
        assert!(Halves::available());
        let confirm = |place| {
            admitted(place);
            false
        };
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2 and counts bits, as was asked just before.
        unsafe {
            avx2::find::<false>(self, text, confirm);
        }
    }

    /// The first place whose four bytes some group admits and `confirm` confirms.
    ///
    /// # Panics
    /// Where it is not [`Halves::available`].
    #[inline]
    #[expect(unsafe_code, reason = "to call what only some processors can")]
    pub fn find(&self, text: &[u8], confirm: impl FnMut(usize) -> bool) -> Found {
        assert!(Halves::available());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2 and counts bits, as was asked just before.
        return unsafe { avx2::find::<true>(self, text, confirm) };
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("asked just before");
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
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_testz_si256,
    };

    use super::{Found, Halves, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 32;
    /// Bytes read for that.
    const READ: usize = STEP + WINDOW - 1;

    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn table(half: &[u8; 16]) -> __m256i {
        #[expect(unsafe_code, reason = "a load by address")]
        // SAFETY: 16 bytes are read of an array of 16.
        let half = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(half)
    }

    /// The groups that admit what stands at each of 32 places.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn groups(low: &[__m256i; WINDOW], high: &[__m256i; WINDOW], text: &[u8; READ]) -> __m256i {
        let mut groups = _mm256_set1_epi8(-1);
        for place in 0..WINDOW {
            let bytes = bytes(text, place);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
            // A byte that is not ASCII finds nothing in the lower table: its highest bit says so.
            let by_low = _mm256_shuffle_epi8(low[place], bytes);
            let by_high = _mm256_shuffle_epi8(high[place], upper);
            groups = _mm256_and_si256(groups, _mm256_and_si256(by_low, by_high));
        }
        groups
    }

    /// 32 bytes of `text` from its first, second, third or fourth on.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    #[expect(unsafe_code, reason = "a load by address")]
    fn bytes(text: &[u8; READ], place: usize) -> __m256i {
        assert!(place < WINDOW);
        // SAFETY: the last of the reads begins at the fourth of 35 bytes.
        unsafe { _mm256_loadu_si256(text.as_ptr().add(place).cast()) }
    }

    /// A step in which some group admits something.
    struct Step {
        from: usize,
        /// The places, as bits.
        places: u32,
        /// Where lines end, as bits.
        ends: u32,
    }

    /// Goes through `text` in steps, the first from `from` on; the last begins early enough, at `last`. Counts in `met` the
    /// lines of the steps in which no group admits anything. `None`: there is no other step. Apart from what is done with
    /// the places, so that all tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx2,popcnt")]
    fn next<const LINES: bool>(
        halves: &Halves,
        text: &[u8],
        mut from: usize,
        last: usize,
        met: &mut Found,
    ) -> Option<Step> {
        let (mut low, mut high) = ([_mm256_setzero_si256(); WINDOW], [_mm256_setzero_si256(); WINDOW]);
        for place in 0..WINDOW {
            low[place] = table(&halves.low[place]);
            high[place] = table(&halves.high[place]);
        }
        let line_end = _mm256_set1_epi8(b'\n' as i8);
        let mut counted = *met;
        let mut found = None;
        while from < last + STEP {
            let seen = from.saturating_sub(last);
            let Some(chunk) = text.get(from - seen..).and_then(|rest| rest.first_chunk()) else { break };
            let groups = groups(&low, &high, chunk);
            let mut ends = 0;
            if LINES {
                ends = _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes(chunk, 0), line_end)) as u32;
                ends = ends >> seen << seen;
            }
            if _mm256_testz_si256(groups, groups) == 0 {
                let none = _mm256_movemask_epi8(_mm256_cmpeq_epi8(groups, _mm256_setzero_si256()));
                found = Some(Step { from: from - seen, places: !none as u32 >> seen << seen, ends });
                break;
            }
            counted.count(from - seen, ends);
            from += STEP;
        }
        *met = counted;
        found
    }

    /// See [`Halves::find`]; `LINES` false: lines are not counted.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn find<const LINES: bool>(
        halves: &Halves,
        text: &[u8],
        mut confirm: impl FnMut(usize) -> bool,
    ) -> Found {
        let Some(last) = text.len().checked_sub(READ) else {
            let mut places = 0..(text.len() + 1).saturating_sub(WINDOW);
            let place = places.find(|place| confirm(*place)).unwrap_or(text.len());
            return if LINES { Found::at(text, place) } else { Found { place, lines: 0, line: 0 } };
        };
        let mut met = Found { place: text.len(), lines: 0, line: 0 };
        let mut at = 0;
        while let Some(Step { from, mut places, ends }) = next::<LINES>(halves, text, at, last, &mut met) {
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
            at = from + STEP;
        }
        if LINES {
            // Three bytes are left in which no window begins.
            for (at, byte) in text.iter().enumerate().skip(last + STEP) {
                met.count(at, u32::from(*byte == b'\n'));
            }
        }
        met
    }

    impl Found {
        /// `ends`: where from `from` on lines end, as bits.
        #[inline]
        fn count(&mut self, from: usize, ends: u32) {
            self.lines += ends.count_ones() as usize;
            self.line = if ends == 0 { self.line } else { from + 32 - ends.leading_zeros() as usize };
        }
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
            prop_assert_eq!(halves.find(&text, stands), Found::at(&text, want.unwrap_or(text.len())));
        }
    }
}
