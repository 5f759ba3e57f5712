//! Frames that wait for the store's thread, in bounded memory.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use super::StoreError;
use super::record::{Change, Frame};
use super::state::key_of;

/// Beyond this, attempts are dropped, which is quick; beyond half as much again whatever can be spared. Bytes, roughly.
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;

pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Waiting {
    pub frame: Frame,
    /// Called once the frame is durable, or could not be made so.
    pub done: Option<Done>,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Next time there is something to be gained by squeezing.
    squeeze_at: usize,
    pub(super) dropped_attempts: u64,
    pub(super) dropped_changes: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends; with more than `frames_max` waiting, to the last frame.
    pub(super) fn push(&mut self, mut new: Waiting, frames_max: usize) {
        self.bytes += size(&new.frame);
        let full = self.waiting.len() >= frames_max;
        match self.waiting.back_mut().filter(|last| full && last.done.is_none() && new.done.is_none()) {
            Some(last) => {
                last.frame.at = last.frame.at.max(new.frame.at);
                last.frame.changes.append(&mut new.frame.changes);
            }
            None => self.waiting.push_back(new),
        }
        if self.bytes > WAITING_BYTES_MAX.max(self.squeeze_at) {
            self.dropped_attempts += self.retain(|change| !matches!(change, Change::Attempt(_)));
            self.squeeze_at = self.bytes + WAITING_BYTES_MAX / 4;
            if self.bytes > WAITING_BYTES_MAX / 2 * 3 {
                self.squeeze();
            }
        }
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        self.squeeze_at = 0;
        std::mem::take(&mut self.waiting).into()
    }

    /// Puts back at the front what could not be written.
    pub(super) fn put_back(&mut self, frames: Vec<Waiting>) {
        for waiting in frames.into_iter().rev() {
            self.bytes += size(&waiting.frame);
            self.waiting.push_front(waiting);
        }
    }

    /// Drops what a later change replaces, then windows. Bans and unbans stay, and positions, which must not be older
    /// than they. The engine waits for it, so keys are known by their hashes.
    fn squeeze(&mut self) {
        let random = RandomState::new();
        let hasher = SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1));
        let hash = |key: Vec<u8>| hasher.hash(&key).as_u128();
        let mut later: HashSet<u128> = HashSet::new();
        for waiting in self.waiting.iter_mut().rev() {
            let mut kept: Vec<Change> = std::mem::take(&mut waiting.frame.changes);
            kept.reverse();
            kept.retain(|change| match (change, key_of(change)) {
                (Change::Ban(_) | Change::Unban(_), _) | (_, None) => true,
                (_, Some(key)) => later.insert(hash(key)),
            });
            kept.reverse();
            waiting.frame.changes = kept;
        }
        self.count_again();
        if self.bytes > WAITING_BYTES_MAX {
            self.dropped_changes += self.retain(|change| !matches!(change, Change::Window { .. }));
        }
        self.squeeze_at = 2 * self.bytes;
    }

    fn retain(&mut self, keep: impl Fn(&Change) -> bool) -> u64 {
        let mut dropped = 0;
        for waiting in &mut self.waiting {
            let before = waiting.frame.changes.len();
            waiting.frame.changes.retain(&keep);
            dropped += (before - waiting.frame.changes.len()) as u64;
        }
        self.count_again();
        dropped
    }

    fn count_again(&mut self) {
        self.bytes = self.waiting.iter().map(|waiting| size(&waiting.frame)).sum();
    }
}

/// What a frame takes in memory, roughly.
fn size(frame: &Frame) -> usize {
    let beside = |change: &Change| match change {
        Change::Attempt(attempt) => {
            attempt.line.as_ref().map_or(0, Vec::len) + attempt.account.as_ref().map_or(0, Vec::len)
        }
        Change::Window { window, .. } => window.as_ref().map_or(0, Vec::len),
        Change::Position { record, .. } => {
            record.as_ref().and_then(|record| record.filter_state.as_ref()).map_or(0, Vec::len)
        }
        _ => 32,
    };
    let changes = &frame.changes;
    changes.len() * size_of::<Change>() + changes.iter().map(beside).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::JailName;
    use crate::store::record::Subject;
    use crate::time::Timestamp;

    fn window(key: u32, bytes: usize) -> Change {
        let key: crate::addr::Net =
            format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255).parse().unwrap();
        Change::Window { jail: JailName::manual(), key: Subject::Net(key), window: Some(vec![0; bytes]) }
    }

    #[test]
    fn what_waits_for_a_full_disk_stays_bounded_and_keeps_the_last_word() {
        let mut queue = Queue::default();
        for turn in 0..2000u32 {
            let changes = (0..100).map(|key| window(key, 200 + turn as usize % 7)).collect();
            let frame = Frame { at: Timestamp::from_secs(i64::from(turn)), changes };
            queue.push(Waiting { frame, done: None }, 64);
            assert!(queue.bytes() <= 2 * WAITING_BYTES_MAX);
        }
        assert!(queue.len() <= 64);
        assert_eq!(queue.dropped_changes, 0);
        let frames = queue.take();
        let last = frames.last().unwrap().frame.changes.last().unwrap();
        assert_eq!(*last, window(99, 200 + 1999 % 7));
    }
}
