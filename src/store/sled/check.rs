//! Reading all of the database: each record is compared with its checksum, added up and copied.
//!
//! Most of the time goes into sled's own work on its pages, and a start waits for it. A large database is therefore read
//! by two threads from its two ends until they meet: each takes some records, then claims them, and leaves alone what
//! the other has claimed before.

use std::sync::{Mutex, PoisonError};

use sled::IVec;

use super::super::codec::open_value;
use super::super::state::{META_KEY, is_ban_key};
use super::{Failure, Meta, guard};

/// Records taken between two claims.
const STEP: usize = 256;
/// Records of a copy lie together in pieces of this size, each a mapping of its own. Bytes.
const COPY_BYTES: usize = 1 << 20;

/// Reads all records but the database's own. What is answered counts and adds up what was found; its sequence is none.
///
/// # Errors
/// sled's; a record does not fit its checksum.
pub(super) fn read(db: &sled::Db) -> Result<(Meta, Copy), Failure> {
    let claims = Claims::default();
    let read = Share::default().read(guard(|| Ok(db.iter()))?, FRONT, &claims)?;
    Ok((read.found, read.copy))
}

/// The same by two threads; the copy is in no order.
pub(super) fn read_from_both_ends(db: &sled::Db) -> Result<(Meta, Copy), Failure> {
    let claims = Claims::default();
    let (front, back) = std::thread::scope(|scope| {
        let behind = || Share::default().read(guard(|| Ok(db.iter()))?.rev(), BACK, &claims);
        let back = std::thread::Builder::new().name("store-check".to_owned()).spawn_scoped(scope, behind);
        let front =
            guard(|| Ok(db.iter())).and_then(|records| Share::default().read(records, FRONT, &claims));
        // Without a second thread the first has read everything.
        let back = back.map_or_else(
            |_| Ok(Share::default()),
            |thread| thread.join().unwrap_or_else(|_| Err(Failure::Broken("reading it failed".to_owned()))),
        );
        (front, back)
    });
    let (mut read, back) = (front?, back?);
    read.found.count = read.found.count.wrapping_add(back.found.count);
    read.found.digest = read.found.digest.wrapping_add(back.found.digest);
    read.copy.extend(back.copy);
    Ok((read.found, read.copy))
}

/// The last key that each end has claimed: it has everything up to there.
type Claims = Mutex<[Option<IVec>; 2]>;

/// From where somebody reads.
#[derive(Clone, Copy)]
struct End {
    own: usize,
    other: usize,
    /// Whether a key comes before one that the other end has claimed.
    before: fn(&[u8], &[u8]) -> bool,
}

const FRONT: End = End { own: 0, other: 1, before: |key, claimed| key < claimed };
const BACK: End = End { own: 1, other: 0, before: |key, claimed| key > claimed };

/// What one thread has read.
#[derive(Default)]
struct Share {
    found: Meta,
    copy: Copy,
}

impl Share {
    fn read(
        mut self,
        mut records: impl Iterator<Item = sled::Result<(IVec, IVec)>>,
        end: End,
        claims: &Claims,
    ) -> Result<Share, Failure> {
        let mut taken: Vec<(IVec, IVec)> = Vec::with_capacity(STEP);
        loop {
            taken.clear();
            guard(|| records.by_ref().take(STEP).try_for_each(|record| record.map(|pair| taken.push(pair))))?;
            let granted = {
                // Nothing under the lock can panic half way.
                let mut claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
                let free =
                    |key: &IVec| claims[end.other].as_ref().is_none_or(|other| (end.before)(key, other));
                let granted = taken.partition_point(|(key, _)| free(key));
                if let Some((last, _)) = taken[..granted].last() {
                    claims[end.own] = Some(last.clone());
                }
                granted
            };
            for (key, value) in taken[..granted].iter().filter(|(key, _)| key.as_ref() != META_KEY) {
                if open_value(key, value).is_none() {
                    return Err(Failure::Broken("a record does not fit its checksum".to_owned()));
                }
                self.found.add(key, value);
                self.copy.push(key, value);
            }
            if granted < STEP {
                return Ok(self);
            }
        }
    }
}

/// Keys and values, one after the other, each pair behind its two lengths.
#[derive(Default)]
pub(super) struct Copy {
    pieces: Vec<Vec<u8>>,
    bans: usize,
}

impl Copy {
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let size = 2 * size_of::<u32>() + key.len() + value.len();
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < size) {
            self.pieces.push(Vec::with_capacity(size.max(COPY_BYTES)));
        }
        let piece = self.pieces.last_mut().expect("there is one with room by now");
        piece.extend_from_slice(&(key.len() as u32).to_ne_bytes());
        piece.extend_from_slice(&(value.len() as u32).to_ne_bytes());
        piece.extend_from_slice(key);
        piece.extend_from_slice(value);
        self.bans += usize::from(is_ban_key(key));
    }

    fn extend(&mut self, other: Copy) {
        self.pieces.extend(other.pieces);
        self.bans += other.bans;
    }

    pub(super) fn bans(&self) -> usize {
        self.bans
    }

    /// Each pair in the order of pushing; a piece is freed once it is through.
    pub(super) fn try_for_each<E>(
        self,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for piece in self.pieces {
            let mut rest = piece.as_slice();
            while let Some((lengths, pair)) = rest.split_at_checked(2 * size_of::<u32>()) {
                let length = |at: usize| {
                    let bytes = lengths[at..at + size_of::<u32>()].try_into().expect("four bytes");
                    u32::from_ne_bytes(bytes) as usize
                };
                let (key, behind) = pair.split_at(length(0));
                let (value, behind) = behind.split_at(length(size_of::<u32>()));
                take(key, value)?;
                rest = behind;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::codec::seal_value;

    fn pairs(copy: Copy) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut pairs = Vec::new();
        let Ok(()) = copy.try_for_each(|key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            Ok::<(), std::convert::Infallible>(())
        });
        pairs.sort_unstable();
        pairs
    }

    fn filled(keys: impl Iterator<Item = Vec<u8>>) -> (tempfile::TempDir, sled::Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(dir.path()).flush_every_ms(None).open().unwrap();
        for key in keys {
            db.insert(&key, seal_value(&key, &key.len())).unwrap();
        }
        db.insert(META_KEY, seal_value(META_KEY, &Meta::default())).unwrap();
        (dir, db)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn both_ends_read_what_one_reads_and_each_record_once(
            keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..20), 0..3000),
        ) {
            let mut keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| key != META_KEY).collect();
            let (_dir, db) = filled(keys.iter().cloned());
            let gone = |at: usize| at % 1000 > 300 && !at.is_multiple_of(3);
            for (at, key) in keys.iter().enumerate().filter(|(at, _)| gone(*at)) {
                prop_assert!(db.remove(key).unwrap().is_some(), "{at}");
            }
            let mut at = 0..;
            keys.retain(|_| !gone(at.next().unwrap_or_default()));
            let (alone, copy) = read(&db).unwrap();
            let pairs_alone = pairs(copy);
            prop_assert_eq!(alone.count as usize, keys.len());
            prop_assert!(pairs_alone.iter().map(|(key, _)| key).eq(&keys));
            let (together, copy) = read_from_both_ends(&db).unwrap();
            prop_assert_eq!(together, alone);
            prop_assert_eq!(pairs(copy), pairs_alone);
        }
    }

    #[test]
    fn a_large_database_is_read_once_from_both_ends() {
        let (_dir, db) = filled((0..50_000u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec()));
        let (together, copy) = read_from_both_ends(&db).unwrap();
        let (alone, copied) = read(&db).unwrap();
        assert_eq!((together.count, together), (50_000, alone));
        assert!(pairs(copy) == pairs(copied));
    }

    #[test]
    fn a_record_that_is_not_what_was_written_is_found_from_either_end() {
        for at in [0u32, 999, 2500, 4999] {
            let (_dir, db) = filled((0..5000u32).map(|n| n.to_be_bytes().to_vec()));
            db.insert(at.to_be_bytes(), b"something else").unwrap();
            assert!(matches!(read(&db), Err(Failure::Broken(_))));
            assert!(matches!(read_from_both_ends(&db), Err(Failure::Broken(_))));
        }
    }
}
