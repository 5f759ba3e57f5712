//! The engine's side of the store: gathers what a tick changed into a [`Frame`], and keeps a flood of
//! attempts from becoming a flood of records.
//!
//! Of each address the first lines in ten minutes are kept as they are; what follows is counted by account
//! and recorded about once a second. A good login is recorded once an hour for each address and account.
//! Over all addresses there is a budget of lines; beyond it attempts are only counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::record::{ACCOUNT_BYTES_MAX, AttemptRecord, Change, EVIDENCE_LINE_BYTES_MAX, Frame};
use crate::addr::Host;
use crate::filter::Outcome;
use crate::jail::JailName;
use crate::limits::Limits;
use crate::time::Timestamp;

/// Addresses (or address and account pairs) of which it is known that they were recorded a short while ago.
/// A newer one that falls on the same slot takes it over, which costs no more than some lines too many.
const SLOTS: usize = 16 * 1024;
const LINES_EPOCH: Duration = Duration::from_secs(600);
const SUCCESS_EPOCH: Duration = Duration::from_secs(3600);
/// Counted attempts wait this long for others alike.
const COUNTS_WAIT: Duration = Duration::from_secs(1);
/// Counted attempts waiting. Address and account pairs.
const COUNTS_MAX: usize = 16 * 1024;
/// Attempts, and bytes of theirs, for which there is always room.
const KEPT: usize = 32;
const KEPT_BYTES: usize = 8 * 1024;
/// Lines recorded over all addresses, each second and at once after a quiet time. Lines.
const LINES_PER_SEC: i64 = 5_000;
const LINES_AT_ONCE: i64 = 50_000;

/// One attempt as the engine has it in hand.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    pub host: Host,
    pub jail: Option<&'a JailName>,
    pub outcome: Outcome,
    pub time: Timestamp,
    pub times: u32,
    pub account: Option<&'a [u8]>,
    /// Keyed digest of the password tried.
    pub pwhash: Option<u64>,
    pub line: &'a [u8],
    pub log: Option<&'a Arc<Path>>,
}

#[derive(Clone, Copy, Default)]
struct LineSlot {
    tag: u16,
    epoch: u16,
    lines: u16,
}

/// An attempt that is recorded with its line, before it becomes a record of its own.
struct Kept {
    /// Without what stands in `bytes`.
    record: AttemptRecord,
    account: Option<Range<usize>>,
    line: Range<usize>,
}

pub struct Recorder {
    frame: Frame,
    /// What was recorded wholly since the last change that is no attempt. A ban waits for these while they are noted, so
    /// that takes no memory from the system; the records are made afterwards.
    kept: Vec<Kept>,
    /// Their accounts and lines.
    bytes: Vec<u8>,
    lines_max: u16,
    hasher: RandomState,
    lines: Vec<LineSlot>,
    /// Hash of address and account, its lower 16 bits replaced by the epoch.
    successes: Vec<u64>,
    /// Where in `counts` an address and account pair (by hash) is.
    counted: HashMap<u64, usize>,
    counts: Vec<AttemptRecord>,
    counts_since: Option<Timestamp>,
    budget: i64,
    budget_at: Timestamp,
    dropped: u64,
}

impl Recorder {
    pub fn new(limits: &Limits) -> Recorder {
        Recorder {
            frame: Frame::new(Timestamp::default()),
            kept: Vec::with_capacity(KEPT),
            bytes: Vec::with_capacity(KEPT_BYTES),
            lines_max: u16::try_from(limits.evidence_lines_max.saturating_mul(2)).unwrap_or(u16::MAX),
            hasher: RandomState::new(),
            lines: vec![LineSlot::default(); SLOTS],
            successes: vec![0; SLOTS],
            counted: HashMap::new(),
            counts: Vec::new(),
            counts_since: None,
            budget: LINES_AT_ONCE,
            budget_at: Timestamp::default(),
            dropped: 0,
        }
    }

    /// Adds a change to the frame of this tick.
    pub fn push(&mut self, change: Change) {
        if let Change::Unban(unban) = &change
            && let Some(host) = unban.target.as_host()
        {
            // What it does from now on is a new story.
            let slot = self.hasher.hash_one(host) as usize % SLOTS;
            self.lines[slot] = LineSlot::default();
        }
        self.settle();
        self.frame.changes.push(change);
    }

    /// Makes records of what was kept.
    fn settle(&mut self) {
        let bytes = &self.bytes;
        let copy = |range: Range<usize>| bytes[range].to_vec();
        self.frame.changes.extend(self.kept.drain(..).map(|Kept { record, account, line }| {
            Change::Attempt(AttemptRecord { account: account.map(copy), line: Some(copy(line)), ..record })
        }));
        self.bytes.clear();
    }

    /// Notes an attempt, wholly or as a count; `now` is the clock's time, for the budget.
    pub fn attempt(&mut self, now: Timestamp, note: Note<'_>) {
        match note.outcome {
            Outcome::Success => {
                let pair = self.hasher.hash_one((note.host, note.account));
                let epoch = now.secs() as u64 / SUCCESS_EPOCH.as_secs();
                let mark = (pair & !0xffff) | (epoch & 0xffff);
                let slot = &mut self.successes[pair as usize % SLOTS];
                if *slot != mark {
                    *slot = mark;
                    self.whole(&note);
                }
            }
            Outcome::Failure => {
                let hash = self.hasher.hash_one(note.host);
                let epoch = (now.secs() as u64 / LINES_EPOCH.as_secs()) as u16;
                let tag = (hash >> 48) as u16;
                let slot = &mut self.lines[hash as usize % SLOTS];
                if slot.tag != tag || slot.epoch != epoch {
                    *slot = LineSlot { tag, epoch, lines: 0 };
                }
                if slot.lines < self.lines_max && self.budget > 0 {
                    slot.lines += 1;
                    self.budget -= 1;
                    self.whole(&note);
                } else {
                    self.count(now, &note);
                }
            }
        }
    }

    fn whole(&mut self, note: &Note<'_>) {
        if self.kept.len() == self.kept.capacity() {
            self.settle();
        }
        let mut keep = |text: &[u8], most: usize| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&text[..text.len().min(most)]);
            start..self.bytes.len()
        };
        let account = note.account.map(|account| keep(account, ACCOUNT_BYTES_MAX));
        let line = keep(note.line, EVIDENCE_LINE_BYTES_MAX);
        let record = AttemptRecord { log: note.log.cloned(), ..bare(&Note { account: None, ..*note }) };
        self.kept.push(Kept { record, account, line });
    }

    fn count(&mut self, now: Timestamp, note: &Note<'_>) {
        let mut state = self.hasher.build_hasher();
        (note.host, note.account).hash(&mut state);
        let pair = std::hash::Hasher::finish(&state);
        if let Some(&position) = self.counted.get(&pair) {
            let record = &mut self.counts[position];
            record.times = record.times.saturating_add(note.times);
            record.time = record.time.max(note.time);
        } else if self.counts.len() < COUNTS_MAX {
            self.counts_since.get_or_insert(now);
            self.counted.insert(pair, self.counts.len());
            self.counts.push(bare(note));
        } else {
            self.dropped += u64::from(note.times);
        }
    }

    /// When [`Recorder::take`] should be called even if nothing else happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.counts_since.map(|since| since.plus(COUNTS_WAIT))
    }

    /// The frame of this tick; `None`: nothing changed. Counted attempts are in it once they have waited
    /// long enough, or with `all` (before the store is asked something, and at the end).
    pub fn take(&mut self, now: Timestamp, all: bool) -> Option<Frame> {
        let passed = now.since(self.budget_at).as_micros().min(60_000_000) as i64;
        let refill = passed * LINES_PER_SEC / 1_000_000;
        if refill > 0 {
            self.budget = (self.budget + refill).min(LINES_AT_ONCE);
            self.budget_at = now;
        } else if now < self.budget_at {
            // The clock was set back.
            self.budget_at = now;
        }
        let due =
            self.deadline().is_some_and(|deadline| deadline <= now) || self.counts.len() >= COUNTS_MAX / 2;
        self.settle();
        if all || due {
            self.counted.clear();
            self.counts_since = None;
            self.frame.changes.extend(self.counts.drain(..).map(Change::Attempt));
            if self.counts.capacity() > COUNTS_MAX / 8 {
                self.counts = Vec::new();
                self.counted = HashMap::new();
            }
        }
        if self.frame.changes.is_empty() {
            return None;
        }
        Some(Frame { at: now, changes: std::mem::take(&mut self.frame.changes) })
    }

    /// Attempts of which not even the count was kept. Decisions do not depend on these records.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn bare(note: &Note<'_>) -> AttemptRecord {
    AttemptRecord {
        host: note.host,
        jail: note.jail.cloned(),
        outcome: note.outcome,
        time: note.time,
        times: note.times,
        account: note.account.map(|account| account[..account.len().min(ACCOUNT_BYTES_MAX)].to_vec()),
        pwhash: note.pwhash,
        line: None,
        log: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(host: &str, outcome: Outcome, account: &'static str) -> Note<'static> {
        Note {
            host: host.parse().unwrap(),
            jail: None,
            outcome,
            time: Timestamp::from_secs(1000),
            times: 1,
            account: Some(account.as_bytes()),
            pwhash: None,
            line: b"a line",
            log: None,
        }
    }

    fn attempts(frame: Option<Frame>) -> (u32, usize) {
        let changes = frame.map(|frame| frame.changes).unwrap_or_default();
        changes.iter().fold((0, 0), |(times, lines), change| match change {
            Change::Attempt(attempt) => (times + attempt.times, lines + usize::from(attempt.line.is_some())),
            _ => (times, lines),
        })
    }

    #[test]
    fn a_flood_from_one_address_is_counted_wholly_and_keeps_its_first_lines() {
        let mut recorder = Recorder::new(&Limits::default());
        let now = Timestamp::from_secs(1000);
        for _ in 0..5000 {
            recorder.attempt(now, note("203.0.113.7", Outcome::Failure, "alice"));
        }
        assert_eq!(attempts(recorder.take(now, false)), (20, 20));
        assert_eq!(recorder.deadline(), Some(Timestamp::from_secs(1001)));
        let frame = recorder.take(Timestamp::from_secs(1001), false).unwrap();
        assert_eq!(frame.changes.len(), 1);
        assert_eq!(attempts(Some(frame)), (4980, 0));
        assert_eq!(recorder.take(Timestamp::from_secs(1002), true), None);
    }

    #[test]
    fn good_logins_are_recorded_once_an_hour_for_each_account() {
        let mut recorder = Recorder::new(&Limits::default());
        let at = Timestamp::from_secs;
        for second in 0..100 {
            recorder.attempt(at(7200 + second), note("192.0.2.1", Outcome::Success, "alice"));
            recorder.attempt(at(7200 + second), note("192.0.2.1", Outcome::Success, "bob"));
        }
        assert_eq!(attempts(recorder.take(at(7300), true)), (2, 2));
        recorder.attempt(at(10_800), note("192.0.2.1", Outcome::Success, "alice"));
        assert_eq!(attempts(recorder.take(at(10_800), true)), (1, 1));
    }

    #[test]
    fn a_million_addresses_fill_neither_memory_nor_disk() {
        let mut recorder = Recorder::new(&Limits::default());
        let now = Timestamp::from_secs(1000);
        recorder.take(now, true);
        for n in 0..1_000_000u32 {
            let host = Host::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
            recorder.attempt(now, Note { host, ..note("::1", Outcome::Failure, "alice") });
        }
        let frame = recorder.take(now, true).unwrap();
        assert_eq!(frame.changes.len(), LINES_AT_ONCE as usize + COUNTS_MAX);
        assert_eq!(recorder.dropped(), 1_000_000 - frame.changes.len() as u64);
    }
}
