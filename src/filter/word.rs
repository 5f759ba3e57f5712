//! Eight bytes of a text as one number, for what is compared and looked for eight bytes at a time.

/// The first eight bytes of `text`, or all of them and then zeros. Little-endian.
#[inline]
pub fn word(text: &[u8]) -> u64 {
    text.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The eight bytes of `text` from `at` on, or what there is of them and then zeros. Little-endian.
#[inline]
pub fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = &text[at..];
    match (rest.first_chunk(), text.last_chunk()) {
        (Some(chunk), _) => u64::from_le_bytes(*chunk),
        // What is too much at the other end goes.
        (None, Some(last)) => {
            u64::from_le_bytes(*last).checked_shr(64 - 8 * rest.len() as u32).unwrap_or_default()
        }
        (None, None) => word(rest),
    }
}

/// The bits of the first `len` bytes of a word.
pub fn mask(len: usize) -> u64 {
    if len < 8 { (1 << (len * 8)) - 1 } else { u64::MAX }
}

/// A word of one byte, eight times.
#[inline]
pub const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Marks the bytes of a word that are zero, by their highest bits. The lowest mark is right; those above it may be anything.
#[inline]
pub fn zeros(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & eight(0x80)
}

/// The place of the lowest byte that is marked by its highest bit, as [`zeros`] does.
#[inline]
pub fn first(marks: u64) -> Option<usize> {
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_place_is_the_first(text in prop::collection::vec(prop::sample::select(&b"a b\x20\x21\xa0"[..]), 0..12)) {
            let read = word(&text);
            prop_assert_eq!(&read.to_le_bytes()[..text.len().min(8)], &text[..text.len().min(8)]);
            prop_assert_eq!(read & !mask(text.len()), 0);
            (0..=text.len()).for_each(|at| assert_eq!(word_at(&text, at), word(&text[at..])));
            let blank = text.iter().take(8).position(|byte| *byte == b' ');
            prop_assert_eq!(first(zeros(read ^ eight(b' ')) & mask(text.len())), blank);
        }
    }
}
