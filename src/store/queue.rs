//! Frames that wait for the store's thread, in bounded memory.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use super::StoreError;
use super::record::{Change, Frame};
use super::state::key_of;

/// Beyond this, what can be spared is dropped. Bytes, roughly.
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;

/// A frame is not made longer than this by joining it with others, and about as much is looked at in one go when frames
/// are thinned out: the engine waits for that. Changes.
const CHANGES_AT_ONCE: usize = 4096;

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
    thinning: Option<Thinning>,
    /// There is nothing to be gained by thinning before this many bytes wait.
    thin_at: usize,
    pub(super) dropped_attempts: u64,
    pub(super) dropped_changes: u64,
}

/// What is spared first. Bans and unbans stay, and positions, which must not be older than they.
enum Spared {
    Attempts,
    /// What a later change replaces: the keys of those seen so far, by hash.
    Replaced(HashSet<u128>),
    Windows,
}

/// A walk over the frames that wait, from the newest to the oldest, a few with each frame that comes.
struct Thinning {
    spared: Spared,
    /// Frames not walked over yet, from the front.
    left: usize,
    keys: SipHasher13,
}

impl Thinning {
    fn new(left: usize) -> Thinning {
        let random = RandomState::new();
        let keys = SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1));
        Thinning { spared: Spared::Attempts, left, keys }
    }

    /// Drops what is spared of one frame; how many changes.
    fn thin(&mut self, frame: &mut Frame) -> u64 {
        let changes = &mut frame.changes;
        let before = changes.len();
        match &mut self.spared {
            Spared::Attempts => changes.retain(|change| !matches!(change, Change::Attempt(_))),
            Spared::Replaced(later) => {
                changes.reverse();
                changes.retain(|change| match (change, key_of(change)) {
                    (Change::Ban(_) | Change::Unban(_), _) | (_, None) => true,
                    (_, Some(key)) => later.insert(self.keys.hash(&key).as_u128()),
                });
                changes.reverse();
            }
            Spared::Windows => changes.retain(|change| !matches!(change, Change::Window { .. })),
        }
        // The room of what was dropped is not counted as waiting: it must not be kept.
        changes.shrink_to_fit();
        (before - changes.len()) as u64
    }
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

    /// Appends; with `frames_max` waiting, to the last frame unless that is long already.
    pub(super) fn push(&mut self, mut new: Waiting, frames_max: usize) {
        self.bytes += size(&new.frame);
        let full = self.waiting.len() >= frames_max;
        let joins = |last: &Waiting| {
            last.done.is_none() && new.done.is_none() && last.frame.changes.len() < CHANGES_AT_ONCE
        };
        match self.waiting.back_mut().filter(|last| full && joins(last)) {
            Some(last) => {
                last.frame.at = last.frame.at.max(new.frame.at);
                last.frame.changes.append(&mut new.frame.changes);
            }
            None => self.waiting.push_back(new),
        }
        if self.thinning.is_some() || self.bytes > WAITING_BYTES_MAX.max(self.thin_at) {
            self.thin();
        }
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        self.thin_at = 0;
        self.thinning = None;
        std::mem::take(&mut self.waiting).into()
    }

    /// Puts back at the front what could not be written.
    pub(super) fn put_back(&mut self, frames: Vec<Waiting>) {
        self.thinning = None;
        for waiting in frames.into_iter().rev() {
            self.bytes += size(&waiting.frame);
            self.waiting.push_front(waiting);
        }
    }

    /// Goes on thinning out what waits: attempts first, then what a later change replaces, then windows, as far as it
    /// takes.
    fn thin(&mut self) {
        let mut thinning = self.thinning.take().unwrap_or_else(|| Thinning::new(self.waiting.len()));
        let mut looked_at = 0;
        while looked_at < CHANGES_AT_ONCE {
            let Some(left) = thinning.left.checked_sub(1) else {
                thinning.spared = match thinning.spared {
                    Spared::Attempts if self.bytes > WAITING_BYTES_MAX => Spared::Replaced(HashSet::new()),
                    Spared::Replaced(_) if self.bytes > WAITING_BYTES_MAX => Spared::Windows,
                    Spared::Attempts => {
                        self.thin_at = 0;
                        return;
                    }
                    Spared::Replaced(_) | Spared::Windows => {
                        self.thin_at = self.bytes + WAITING_BYTES_MAX / 2;
                        return;
                    }
                };
                thinning.left = self.waiting.len();
                continue;
            };
            thinning.left = left;
            let waiting = &mut self.waiting[left];
            looked_at += waiting.frame.changes.len();
            let before = size(&waiting.frame);
            let dropped = thinning.thin(&mut waiting.frame);
            self.bytes -= before - size(&waiting.frame);
            if waiting.frame.changes.is_empty() && waiting.done.is_none() {
                self.waiting.remove(left);
            }
            match thinning.spared {
                Spared::Attempts => self.dropped_attempts += dropped,
                Spared::Replaced(_) => {}
                Spared::Windows => self.dropped_changes += dropped,
            }
        }
        self.thinning = Some(thinning);
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
    use crate::jail::{Ban, JailName};
    use crate::source::{FilePosition, Position};
    use crate::store::record::{PositionRecord, Subject};
    use crate::time::Timestamp;

    fn window(key: u32, bytes: usize) -> Change {
        let key: crate::addr::Net =
            format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255).parse().unwrap();
        Change::Window { jail: JailName::manual(), key: Subject::Net(key), window: Some(vec![0; bytes]) }
    }

    fn ban(n: u32) -> Change {
        let host = crate::addr::Host::new(std::net::Ipv4Addr::from(n).into());
        Change::Ban(Ban::example(JailName::manual(), crate::addr::Net::host(host)))
    }

    fn position(offset: u32) -> PositionRecord {
        let at = FilePosition { offset: u64::from(offset), ..FilePosition::default() };
        PositionRecord::of(Position { files: [at].into_iter().collect() })
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
        assert!(queue.len() < 128);
        assert_eq!(queue.dropped_changes, 0);
        let frames = queue.take();
        let last = frames.last().unwrap().frame.changes.last().unwrap();
        assert_eq!(*last, window(99, 200 + 1999 % 7));
    }

    #[test]
    fn of_a_flood_of_addresses_bans_and_the_last_position_stay() {
        let mut queue = Queue::default();
        for turn in 0..2000u32 {
            let mut changes: Vec<_> = (0..250).map(|key| window(turn * 250 + key, 60)).collect();
            changes.push(ban(turn));
            changes.push(Change::Position { path: "/var/log/mail.log".into(), record: Some(position(turn)) });
            let frame = Frame { at: Timestamp::from_secs(i64::from(turn)), changes };
            queue.push(Waiting { frame, done: None }, 64);
            assert!(queue.bytes() <= 2 * WAITING_BYTES_MAX, "{}", queue.bytes());
            let sum: usize = queue.waiting.iter().map(|waiting| size(&waiting.frame)).sum();
            assert_eq!(queue.bytes(), sum);
        }
        assert!(queue.dropped_changes > 0);
        let changes: Vec<_> = queue.take().into_iter().flat_map(|waiting| waiting.frame.changes).collect();
        assert_eq!(changes.iter().filter(|change| matches!(change, Change::Ban(_))).count(), 2000);
        let last = changes.iter().rfind(|change| matches!(change, Change::Position { .. }));
        let Some(Change::Position { record, .. }) = last else { panic!("no position") };
        assert_eq!(*record, Some(position(1999)));
    }
}
