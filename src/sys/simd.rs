//! Bytes of a text looked at many at a time. Nothing here asks the system for anything: pure stages use it too.

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
        assert!(Halves::available());
        #[cfg(target_arch = "x86_64")]
        return match wide::available() && text.len() >= wide::READ {
            true => wide::search::<LINES>(self, text, confirm),
            false => narrow::search::<LINES>(self, text, confirm),
        };
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

    /// `ends`: where from `from` on lines end, as bits.
    #[inline]
    fn count(&mut self, from: usize, ends: u64) {
        self.lines += ends.count_ones() as usize;
        self.line = if ends == 0 { self.line } else { from + 64 - ends.leading_zeros() as usize };
    }
}

/// A step in which some group admits something.
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

/// 32 bytes at a time.
#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_testz_si256,
    };

    use super::{Found, Halves, Step, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 32;
    /// Bytes read for that.
    pub const READ: usize = STEP + WINDOW - 1;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
    }

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
    #[target_feature(enable = "avx2,popcnt")]
    fn table(half: &[u8; 16]) -> __m256i {
        #[expect(unsafe_code, reason = "a load by address")]
        // SAFETY: 16 bytes are read of an array of 16.
        let half = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(half)
    }

    /// `STEP` bytes of `text` from its first, second, third or fourth on.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    #[expect(unsafe_code, reason = "a load by address")]
    fn bytes(text: &[u8; READ], place: usize) -> __m256i {
        assert!(place < WINDOW);
        // SAFETY: the last of the reads begins three bytes on, and three more than `STEP` are there.
        unsafe { _mm256_loadu_si256(text.as_ptr().add(place).cast()) }
    }

    /// The groups that admit what stands at each of the places.
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

    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn mask(bytes: __m256i) -> u64 {
        u64::from(_mm256_movemask_epi8(bytes) as u32)
    }

    /// See [`super::search`]. Apart from what is done with the places, so that all tables stay in registers.
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
            // What the last step sees again was seen before.
            let seen = from.saturating_sub(last);
            let Some(chunk) = text.get(from - seen..).and_then(|rest| rest.first_chunk()) else { break };
            let groups = groups(&low, &high, chunk);
            let ends =
                if LINES { mask(_mm256_cmpeq_epi8(bytes(chunk, 0), line_end)) >> seen << seen } else { 0 };
            if _mm256_testz_si256(groups, groups) == 0 {
                let places = u64::from(u32::MAX) ^ mask(_mm256_cmpeq_epi8(groups, _mm256_setzero_si256()));
                found = Some(Step { from: from - seen, places: places >> seen << seen, ends });
                break;
            }
            counted.count(from - seen, ends);
            from += STEP;
        }
        *met = counted;
        found
    }
}

/// 64 bytes at a time, where the processor can.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        __m512i, _mm_loadu_si128, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cmpeq_epi8_mask,
        _mm512_loadu_si512, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16,
        _mm512_test_epi8_mask,
    };

    use super::{Found, Halves, Step, WINDOW};

    /// Bytes looked at in one step.
    const STEP: usize = 64;
    /// Bytes read for that.
    pub const READ: usize = STEP + WINDOW - 1;

    pub fn available() -> bool {
        is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("popcnt")
    }

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
    #[target_feature(enable = "avx512bw,popcnt")]
    fn table(half: &[u8; 16]) -> __m512i {
        #[expect(unsafe_code, reason = "a load by address")]
        // SAFETY: 16 bytes are read of an array of 16.
        let half = unsafe { _mm_loadu_si128(half.as_ptr().cast()) };
        _mm512_broadcast_i32x4(half)
    }

    /// `STEP` bytes of `text` from its first, second, third or fourth on.
    #[inline]
    #[target_feature(enable = "avx512bw,popcnt")]
    #[expect(unsafe_code, reason = "a load by address")]
    fn bytes(text: &[u8; READ], place: usize) -> __m512i {
        assert!(place < WINDOW);
        // SAFETY: the last of the reads begins three bytes on, and three more than `STEP` are there.
        unsafe { _mm512_loadu_si512(text.as_ptr().add(place).cast()) }
    }

    /// The groups that admit what stands at each of the places.
    #[inline]
    #[target_feature(enable = "avx512bw,popcnt")]
    fn groups(low: &[__m512i; WINDOW], high: &[__m512i; WINDOW], text: &[u8; READ]) -> __m512i {
        let mut groups = _mm512_set1_epi8(-1);
        for place in 0..WINDOW {
            let bytes = bytes(text, place);
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15));
            // A byte that is not ASCII finds nothing in the lower table: its highest bit says so.
            let by_low = _mm512_shuffle_epi8(low[place], bytes);
            let by_high = _mm512_shuffle_epi8(high[place], upper);
            groups = _mm512_and_si512(groups, _mm512_and_si512(by_low, by_high));
        }
        groups
    }

    /// See [`super::search`]. Apart from what is done with the places, so that all tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx512bw,popcnt")]
    fn next<const LINES: bool>(
        halves: &Halves,
        text: &[u8],
        mut from: usize,
        last: usize,
        met: &mut Found,
    ) -> Option<Step> {
        let (mut low, mut high) = ([_mm512_setzero_si512(); WINDOW], [_mm512_setzero_si512(); WINDOW]);
        for place in 0..WINDOW {
            low[place] = table(&halves.low[place]);
            high[place] = table(&halves.high[place]);
        }
        let line_end = _mm512_set1_epi8(b'\n' as i8);
        let mut counted = *met;
        let mut found = None;
        while from < last + STEP {
            // What the last step sees again was seen before.
            let seen = from.saturating_sub(last);
            let Some(chunk) = text.get(from - seen..).and_then(|rest| rest.first_chunk()) else { break };
            let groups = groups(&low, &high, chunk);
            let ends =
                if LINES { _mm512_cmpeq_epi8_mask(bytes(chunk, 0), line_end) >> seen << seen } else { 0 };
            let places = _mm512_test_epi8_mask(groups, groups);
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
