//! Program names whose lanes are known: found by a few words' comparison.

/// Idents whose lanes are remembered, and how many of them share a place.
const IDENT_SLOTS: usize = 256;
const IDENT_WAYS: usize = 4;
/// Longer idents are not remembered. Bytes.
const IDENT_BYTES_MAX: usize = 32;

#[derive(Debug, Clone, Copy)]
struct CachedIdent {
    ident: IdentKey,
    lane: u16,
}

/// All of an ident in words that are compared at once. Length 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct IdentKey {
    words: [u64; 4],
    len: u8,
}

impl IdentKey {
    /// `None`: longer than [`IDENT_BYTES_MAX`].
    #[inline]
    fn new(ident: &[u8]) -> Option<IdentKey> {
        let word = |at: usize| ident[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let len = ident.len();
        // From both ends; in the middle they overlap.
        let words = match len {
            0..8 => [ident.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0, 0, 0],
            8..16 => [word(0), word(len - 8), 0, 0],
            16..=IDENT_BYTES_MAX => [word(0), word(len - 8), word(8), word(len - 16)],
            _ => return None,
        };
        Some(IdentKey { words, len: len as u8 })
    }

    /// Its place among [`IDENT_SLOTS`].
    #[inline]
    fn slot(&self) -> usize {
        let [first, last, ..] = self.words;
        let hash = (first ^ last.rotate_left(29) ^ u64::from(self.len)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 56) as usize % (IDENT_SLOTS / IDENT_WAYS) * IDENT_WAYS
    }
}

/// Lanes by the ident.
#[derive(Debug)]
pub(super) struct IdentCache {
    /// [`IDENT_WAYS`] for each place.
    known: Box<[CachedIdent]>,
    /// Which of those that share a place goes next where there is no room.
    displaced: usize,
}

impl IdentCache {
    pub fn new() -> IdentCache {
        let none = CachedIdent { ident: IdentKey::default(), lane: 0 };
        IdentCache { known: vec![none; IDENT_SLOTS].into(), displaced: 0 }
    }

    #[inline]
    pub fn lane(&self, ident: &[u8]) -> Option<u16> {
        let ident = IdentKey::new(ident)?;
        let slots = &self.known[ident.slot()..][..IDENT_WAYS];
        slots.iter().find(|cached| cached.ident == ident).map(|cached| cached.lane)
    }

    /// Remembers it, unless it is too long.
    pub fn remember(&mut self, ident: &[u8], lane: u16) {
        let Some(ident) = IdentKey::new(ident) else { return };
        let slots = &mut self.known[ident.slot()..][..IDENT_WAYS];
        let free = slots.iter().position(|slot| slot.ident.len == 0).unwrap_or_else(|| {
            self.displaced = (self.displaced + 1) % IDENT_WAYS;
            self.displaced
        });
        slots[free] = CachedIdent { ident, lane };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_is_told_from_every_other_one() {
        let text = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut keys = Vec::new();
        for len in 1..=IDENT_BYTES_MAX {
            let mut ident = text[..len].to_vec();
            keys.push(IdentKey::new(&ident).unwrap());
            for at in 0..len {
                ident[at] ^= 1;
                keys.push(IdentKey::new(&ident).unwrap());
                ident[at] ^= 1;
            }
        }
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key) && key.slot() + IDENT_WAYS <= IDENT_SLOTS);
        }
        assert_eq!(IdentKey::new(&text[..IDENT_BYTES_MAX + 1]), None);
    }
}
