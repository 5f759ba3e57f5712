//! Journal and sled together: the store of the daemon.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::aging::Due;
use super::evidence::{self, Evidence};
use super::index::ended_key;
use super::journal::{Journal, JournalSettings};
use super::lock::Lock;
use super::lookup::Place;
use super::record::{Audit, Change, Frame, Unban};
use super::sled::{self, Cache, Failure};
use super::state::{Names, ban_key, key_of, read_state, value_of};
use super::{AccountRecord, HostRecord, Store, StoreError};
use crate::addr::{Host, Net};
use crate::jail::{Ban, JailName};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Bans and unbans of a target looked at to find the one that ends. Records.
const EARLIER_LOOKED_AT: usize = 64;

/// Bans carried over from a segment that goes are written in frames of this size. Changes.
const CARRY_CHANGES: usize = 4096;

/// Frames are durable once the journal has them; sled follows. Without sled (no space, damage that could not
/// be mended yet) everything goes on but for a slower start.
pub struct DiskStore {
    dir: PathBuf,
    limits: Limits,
    journal: Journal,
    cache: Option<Cache>,
    notices: Vec<String>,
    /// For the name of a database that is set aside.
    opened: Timestamp,
    trimmed: bool,
    _lock: Lock,
}

impl DiskStore {
    /// Opens the store in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// `Locked`; or the directory or the journal cannot be read. Damage is mended and told by
    /// [`Store::take_notices`].
    pub fn open(
        dir: &Path,
        limits: &Limits,
        settings: JournalSettings,
        now: Timestamp,
    ) -> Result<DiskStore, StoreError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| StoreError::io("make", dir, source))?;
        let lock = Lock::take(dir)?;
        // Before sled makes its tables: those are to be given back.
        crate::sys::memory::map_large_blocks();
        let journal = Journal::open(&dir.join("journal"), settings)?;
        let mut store = DiskStore {
            dir: dir.to_owned(),
            limits: limits.clone(),
            journal,
            cache: None,
            notices: Vec::new(),
            opened: now,
            trimmed: false,
            _lock: lock,
        };
        if let Err(error) = store.open_cache() {
            store.notices.push(error.to_string());
        }
        Ok(store)
    }

    fn db_dir(&self) -> PathBuf {
        self.dir.join("db")
    }

    fn database_error(&self, why: String) -> StoreError {
        StoreError::Database { path: self.db_dir(), why }
    }

    /// Opens sled, sets it aside if it is broken, and brings it up to what the journal has.
    fn open_cache(&mut self) -> Result<(), StoreError> {
        self.cache = None;
        let mut cache = match Cache::open(&self.db_dir()) {
            Ok(cache) => cache,
            Err(Failure::Unavailable(why)) => return Err(self.database_error(why)),
            Err(Failure::Broken(why)) => self.rebuilt(why)?,
        };
        let last = self.journal.last();
        if cache.absorbed() > last {
            if last > 0 {
                let missing = cache.absorbed() - last;
                self.notices
                    .push(format!("the journal lacks its last {missing} frames, which the database has"));
            }
            self.journal.skip_to(cache.absorbed());
        }
        let after = cache.absorbed();
        let mut failed = None;
        let DiskStore { journal, notices, .. } = self;
        journal.replay(after, &mut |sequence, change| {
            cache.absorb(sequence, &change);
            while failed.is_none() && cache.over_full() {
                failed = cache.settle().err();
            }
            Ok(())
        })?;
        if let Some(Failure::Broken(why) | Failure::Unavailable(why)) = failed {
            return Err(self.database_error(why));
        }
        notices.append(&mut journal.notices);
        cache.absorbed_up_to(self.journal.last());
        let carry = self.journal.is_empty() && !cache.is_empty();
        self.cache = Some(cache);
        if carry {
            self.notices.push("the journal is gone; it is begun anew from the database".to_owned());
            self.carry_all()?;
        }
        Ok(())
    }

    fn rebuilt(&mut self, why: String) -> Result<Cache, StoreError> {
        let dir = self.db_dir();
        let aside = sled::set_aside(&dir, self.opened.secs())
            .map_err(|source| StoreError::io("set aside", &dir, source))?;
        self.notices.push(format!(
            "the database was damaged ({why}); it is kept as {} and built again from the journal",
            aside.display()
        ));
        Cache::open(&dir)
            .map_err(|(Failure::Broken(why) | Failure::Unavailable(why))| self.database_error(why))
    }

    /// After a failure: the handle is dead. A broken database is set aside at the next opening, where the
    /// whole of it is checked.
    fn lose_cache(&mut self, failure: Failure) -> StoreError {
        self.cache = None;
        let (Failure::Broken(why) | Failure::Unavailable(why)) = failure;
        self.database_error(why)
    }

    /// Completes unbans with the ban that ends, so that the history can be read without searching for it.
    fn complete(&mut self, frames: &mut [Frame]) {
        if !frames.iter().any(|frame| frame.changes.iter().any(|change| matches!(change, Change::Unban(_)))) {
            return;
        }
        let mut fresh: HashMap<Vec<u8>, Ban> = HashMap::new();
        for change in frames.iter_mut().flat_map(|frame| &mut frame.changes) {
            match change {
                Change::Ban(ban) => {
                    fresh.insert(ban_key(&ban.jail, ban.target), ban.clone());
                }
                Change::Unban(unban) if unban.ban.is_none() => {
                    let known = fresh.remove(&ban_key(&unban.jail, unban.target));
                    unban.ban = known.or_else(|| self.last_ban(&unban.jail, unban.target));
                }
                _ => {}
            }
        }
    }

    /// The latest ban of `target` in `jail` on record; sled, which knows it too, is closed most of the time.
    fn last_ban(&mut self, jail: &JailName, target: Net) -> Option<Ban> {
        let key = ended_key(target);
        let mut found = None;
        // Mostly the latest record of the target is it; looking for more goes through all segments.
        for looked_at in [1, EARLIER_LOOKED_AT] {
            let looked = self.visit(&[key..=key], looked_at, &mut |change| match change {
                Change::Ban(ban) if ban.jail == *jail && ban.target == target => {
                    found = Some(ban);
                    false
                }
                _ => true,
            });
            // Without it the unban is told without what it ended.
            if looked.is_err() || found.is_some() {
                break;
            }
        }
        found
    }

    fn carry(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let at = self.journal.newest;
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let frame = Frame { at, changes: changes.by_ref().take(CARRY_CHANGES).collect() };
            self.journal.append(&[frame])?;
        }
        // They say what the cache says.
        if let Some(cache) = &mut self.cache {
            cache.absorbed_up_to(self.journal.last());
        }
        Ok(())
    }

    fn carry_all(&mut self) -> Result<(), StoreError> {
        let mut all = Vec::new();
        let loaded = self.cache.as_mut().map(|cache| cache.load(&mut |change| all.push(change)));
        if let Some(Err(failure)) = loaded {
            return Err(self.lose_cache(failure));
        }
        self.carry(all)
    }

    /// Closes sled until it is needed again, and gives its memory back.
    fn let_go(&mut self) {
        if self.cache.as_mut().is_some_and(Cache::close) {
            crate::sys::memory::give_back();
            // Once is enough: sled makes them at its first opening.
            if !std::mem::replace(&mut self.trimmed, true) {
                crate::sys::memory::give_back_sled_tables();
            }
        }
    }

    /// One step of forgetting. True: look again.
    fn age(&mut self) -> Result<bool, StoreError> {
        match self.journal.due() {
            None => {
                self.journal.look_at_age = false;
                Ok(false)
            }
            Some(Due::Thin(position)) => self.journal.thin(position).map(|()| true),
            Some(Due::Remove(position)) => {
                let mut carried = Vec::new();
                for key in self.journal.keys_in(position)? {
                    let held = match &mut self.cache {
                        Some(cache) => cache.get(&key),
                        None => return Ok(false),
                    };
                    match held {
                        Ok(held) => carried.extend(held),
                        Err(failure) => return Err(self.lose_cache(failure)),
                    }
                }
                self.carry(carried)?;
                self.journal.remove(position)?;
                Ok(true)
            }
        }
    }

    /// The state from the journal alone.
    fn load_without_cache(&mut self, sink: &mut dyn FnMut(Change)) -> Result<(), StoreError> {
        let mut state: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        self.journal.replay(0, &mut |_, change| {
            if let Some(key) = key_of(&change) {
                match value_of(&key, &change) {
                    Some(value) => state.insert(key, value),
                    None => state.remove(&key),
                };
            }
            Ok(())
        })?;
        let mut names = Names::default();
        state.iter().filter_map(|(key, value)| read_state(key, value, &mut names)).for_each(sink);
        Ok(())
    }
}

impl Store for DiskStore {
    fn commit(&mut self, frames: &mut [Frame]) -> Result<(), StoreError> {
        self.complete(frames);
        let before = self.journal.last();
        self.journal.append(frames)?;
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let mut failed = None;
        for (sequence, frame) in (before + 1..).zip(frames.iter()) {
            frame.changes.iter().for_each(|change| cache.absorb(sequence, change));
            cache.absorbed_up_to(sequence);
            while failed.is_none() && cache.over_full() {
                failed = cache.settle().err();
            }
        }
        if let Some(failure) = failed {
            // The frames are durable: that is no error of this commit.
            let error = self.lose_cache(failure);
            self.notices.push(error.to_string());
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<bool, StoreError> {
        let Some(cache) = &mut self.cache else {
            return self.open_cache().map(|()| true);
        };
        if cache.is_dirty() {
            let settled = cache.settle();
            let more = settled.map_err(|failure| self.lose_cache(failure))?;
            if more || self.journal.look_at_age {
                return Ok(true);
            }
        } else if self.journal.look_at_age && self.age()? {
            return Ok(true);
        }
        self.let_go();
        Ok(false)
    }

    fn holds_memory(&self) -> bool {
        self.cache.as_ref().is_some_and(Cache::is_open)
    }

    fn rest(&mut self) -> bool {
        sled::rest_threads()
    }

    fn load(&mut self, sink: &mut dyn FnMut(Change)) -> Result<(), StoreError> {
        match self.cache.as_mut().map(|cache| cache.load(sink)) {
            Some(Ok(())) => {
                self.let_go();
                return Ok(());
            }
            Some(Err(failure)) => {
                let error = self.lose_cache(failure);
                self.notices.push(error.to_string());
            }
            None => {}
        }
        self.load_without_cache(sink)
    }

    fn bans_to_load(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::bans_to_load)
    }

    fn evidence(&mut self, host: Host) -> Result<HostRecord, StoreError> {
        let limits = self.limits.clone();
        evidence::host(self, host, &limits)
    }

    fn account(&mut self, name: &str) -> Result<AccountRecord, StoreError> {
        let limits = self.limits.clone();
        evidence::account(self, name, &limits)
    }

    fn hosts_in(&mut self, net: Net, limit: usize) -> Result<Vec<Host>, StoreError> {
        evidence::hosts_in(self, net, limit)
    }

    fn ended(&mut self, limit: usize) -> Result<Vec<Unban>, StoreError> {
        evidence::ended(self, limit)
    }

    fn audit(&mut self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        evidence::audit(self, limit)
    }

    fn take_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.append(&mut self.journal.notices);
        notices
    }
}

impl Evidence for DiskStore {
    fn visit(
        &mut self,
        keys: &[RangeInclusive<u64>],
        limit: usize,
        sink: &mut dyn FnMut(Change) -> bool,
    ) -> Result<(), StoreError> {
        let places: Vec<Place> =
            self.journal.find(keys, limit)?.into_iter().map(|(_, place)| place).collect();
        self.journal.read(places, sink)
    }

    fn keys(&mut self, range: RangeInclusive<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let mut keys: Vec<u64> =
            self.journal.find(&[range], limit)?.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
