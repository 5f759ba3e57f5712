//! How the journal forgets: evidence first, history later, and never what is in force.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use super::StoreError;
use super::codec::{FRAME_HEAD, is_attempt, items, read_item, seal_frame};
use super::journal::{Closed, Journal, io_error};
use super::lookup::index_of;
use super::record::Change;
use super::segment::{self, Header};
use super::state::key_of;
use crate::time::Timestamp;

/// What is to be done with the closed segment of this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Take the evidence out.
    Thin(usize),
    /// Let it go; what is in force and has its last word in there is to be written anew before.
    Remove(usize),
}

/// A segment younger than this is not removed for want of room: carrying its bans over would fill the
/// journal as fast as it empties. Seconds.
const REMOVE_AGE_MIN_SECS: u64 = 3600;

impl Journal {
    /// The next thing that age or size asks for.
    pub(super) fn due(&self) -> Option<Due> {
        let over = self.bytes() > self.settings.bytes_max;
        let age = |created: Timestamp| self.newest.since(created);
        // A segment's frames are no younger than the segment after it.
        let ended = |position: usize| {
            self.closed.get(position + 1).map_or(self.active_created(), |next| next.header.created)
        };
        if !self.closed.is_empty() && age(ended(0)) > self.settings.history_age {
            return Some(Due::Remove(0));
        }
        let full = self.closed.iter().position(|segment| !segment.header.thinned);
        if let Some(full) = full.filter(|&full| over || age(ended(full)) > self.settings.evidence_age) {
            return Some(Due::Thin(full));
        }
        let old = self.closed.first().is_some_and(|first| {
            age(first.header.created).as_secs() >= REMOVE_AGE_MIN_SECS && first.header.thinned
        });
        (over && old && full.is_none()).then_some(Due::Remove(0))
    }

    /// Writes closed segment `position` anew without attempts, and without state that a later frame in it
    /// replaces. The new file takes the old one's place in one step.
    pub(super) fn thin(&mut self, position: usize) -> Result<(), StoreError> {
        let old = self.closed[position].header;
        let path = self.path(old.first);
        let bytes = std::fs::read(&path).map_err(io_error("read", &path))?;
        let mut last_words: HashMap<Vec<u8>, (u64, usize)> = HashMap::new();
        let replaceable =
            |change: &Change| !matches!(change, Change::Ban(_) | Change::Unban(_) | Change::Audit(_));
        let scan = segment::scan(&bytes, old, |frame| {
            for (at, item) in items(frame.payload).filter(|(_, item)| !is_attempt(item)) {
                let change = read_item(item, old.nonce).filter(replaceable);
                if let Some(key) = change.as_ref().and_then(key_of) {
                    last_words.insert(key, (frame.sequence, at));
                }
            }
        });
        let header = Header { thinned: true, ..old };
        let mut thin = header.to_bytes().to_vec();
        segment::scan(&bytes, old, |frame| {
            let start = thin.len();
            thin.resize(start + FRAME_HEAD, 0);
            for (at, item) in items(frame.payload).filter(|(_, item)| !is_attempt(item)) {
                let Some(change) = read_item(item, old.nonce) else { continue };
                let key = key_of(&change).filter(|_| replaceable(&change));
                if key.is_none_or(|key| last_words.get(&key) == Some(&(frame.sequence, at))) {
                    thin.extend_from_slice(item);
                }
            }
            if thin.len() == start + FRAME_HEAD {
                thin.truncate(start);
            } else {
                seal_frame(&mut thin[start..], old.nonce, frame.sequence, frame.at);
            }
        });
        self.report(&path, &scan);
        let beside = path.with_extension("tmp");
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(&thin).and_then(|()| file.sync_data()))
            .and_then(|()| std::fs::rename(&beside, &path))
            .and_then(|()| segment::sync_dir(&self.dir));
        if let Err(source) = written {
            let _ = std::fs::remove_file(&beside);
            return Err(StoreError::io("write", &beside, source));
        }
        let (mut entries, _) = index_of(&thin, header);
        let _ = super::index::write(&self.index_path(old.first), thin.len() as u64, &mut entries);
        self.closed[position] = Closed::new(header, thin.len() as u64);
        Ok(())
    }

    /// The keys of the state that closed segment `position` speaks of.
    pub(super) fn keys_in(&mut self, position: usize) -> Result<HashSet<Vec<u8>>, StoreError> {
        let header = self.closed[position].header;
        let path = self.path(header.first);
        let bytes = std::fs::read(&path).map_err(io_error("read", &path))?;
        let mut keys = HashSet::new();
        segment::scan(&bytes, header, |frame| {
            for (_, item) in items(frame.payload).filter(|(_, item)| !is_attempt(item)) {
                keys.extend(read_item(item, header.nonce).as_ref().and_then(key_of));
            }
        });
        Ok(keys)
    }

    /// Deletes closed segment `position`.
    pub(super) fn remove(&mut self, position: usize) -> Result<(), StoreError> {
        let first = self.closed[position].header.first;
        let path = self.path(first);
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        let _ = std::fs::remove_file(self.index_path(first));
        self.closed.remove(position);
        Ok(())
    }
}
