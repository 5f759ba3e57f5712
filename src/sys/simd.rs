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
        return is_x86_feature_detected!("avx2");
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

    /// The first place whose four bytes some group admits and `confirm` confirms.
    ///
    /// # Panics
    /// Where it is not [`Halves::available`].
    #[inline]
    #[expect(unsafe_code, reason = "to call what only some processors can")]
    pub fn find(&self, text: &[u8], confirm: impl FnMut(usize) -> bool) -> Option<usize> {
        assert!(Halves::available());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2, as was asked just before.
        return unsafe { avx2::find(self, text, confirm) };
        #[cfg(not(target_arch = "x86_64"))]
        return None;
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_testz_si256,
    };

    use super::{Halves, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 32;
    /// Bytes read for that.
    const READ: usize = STEP + WINDOW - 1;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn table(half: &[u8; 16]) -> __m256i {
        // SAFETY: 16 bytes are read of an array of 16.
        #[expect(unsafe_code, reason = "a load by address")]
        let half = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(half)
    }

    /// The groups that admit what stands at each of the 32 places from `at` on.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn groups(low: &[__m256i; WINDOW], high: &[__m256i; WINDOW], text: &[u8; STEP + WINDOW - 1]) -> __m256i {
        let mut groups = _mm256_set1_epi8(-1);
        for place in 0..WINDOW {
            // SAFETY: the last of four reads begins at the fourth of 35 bytes.
            #[expect(unsafe_code, reason = "a load by address")]
            let bytes = unsafe { _mm256_loadu_si256(text.as_ptr().add(place).cast()) };
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
            // A byte that is not ASCII finds nothing in the lower table: its highest bit says so.
            let by_low = _mm256_shuffle_epi8(low[place], bytes);
            let by_high = _mm256_shuffle_epi8(high[place], upper);
            groups = _mm256_and_si256(groups, _mm256_and_si256(by_low, by_high));
        }
        groups
    }

    /// See [`Halves::find`].
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn find(
        halves: &Halves,
        text: &[u8],
        mut confirm: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let (mut low, mut high) = ([_mm256_setzero_si256(); WINDOW], [_mm256_setzero_si256(); WINDOW]);
        for place in 0..WINDOW {
            low[place] = table(&halves.low[place]);
            high[place] = table(&halves.high[place]);
        }
        let Some(last) = text.len().checked_sub(READ) else {
            return (0..(text.len() + 1).saturating_sub(WINDOW)).find(|place| confirm(*place));
        };
        let mut at = 0;
        loop {
            // The last step begins early enough, and passes over what was seen already.
            let from = at.min(last);
            let chunk = text[from..].first_chunk()?;
            let groups = groups(&low, &high, chunk);
            if _mm256_testz_si256(groups, groups) == 0 {
                let none = _mm256_movemask_epi8(_mm256_cmpeq_epi8(groups, _mm256_setzero_si256()));
                let mut some = !none as u32 >> (at - from) << (at - from);
                while some != 0 {
                    let place = from + some.trailing_zeros() as usize;
                    if confirm(place) {
                        return Some(place);
                    }
                    some &= some - 1;
                }
            }
            if from == last {
                return None;
            }
            at += STEP;
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
            prop_assert_eq!(halves.find(&text, stands), want);
        }
    }
}
