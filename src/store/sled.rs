//! The state in sled: a cache that the journal can rebuild.
//!
//! sled 0.34 is fast and survives a killed process, but of a damaged or shortened file it may silently open
//! with fewer records, or panic; and its flush does not reach the platter. So: every value carries a checksum;
//! one record, written in the same atomic batch as the values, holds their number, a digest over all of them
//! and the number of the last journal frame they contain; the whole is compared at each opening; every call
//! is made under `catch_unwind`; after a flush the file is synced by ourselves. What does not fit is set aside
//! by the caller and filled again from the journal.
//!
//! An open sled takes 20 MB even when it is empty, so it is open only while it is read or brought up to date;
//! what changes meanwhile waits in memory (and stands in the journal already). A start reads it once: what is
//! checked is copied, and handed out from the copy.

mod check;

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::Hasher;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use self::check::Copy;
use super::codec::{open_value, seal_value};
use super::record::Change;
use super::state::{META_KEY, Names, key_of, read_state, value_of};
use crate::sys::{rest, timer};

/// sled's memory is ruled by this: batches of 5,000 took gigabytes, batches of 100 stay small. Keys, the
/// cache's own record among them.
const BATCH_KEYS_MAX: usize = 100;
const CACHE_BYTES: u64 = 8 << 20;
/// sled lets go of a closed database in threads of its own, a moment later; nobody else has it, since the store's own
/// lock is taken first. So opening it is tried so often, with such a pause.
const OPEN_TRIES_MAX: u32 = 100;
const OPEN_PAUSE: Duration = Duration::from_millis(10);
/// What sled says of a database that is not let go of yet.
const STILL_LOCKED: &str = "could not acquire lock";
/// sled keeps threads of such names that look for work once a second. With no database open they rest; where that is not
/// to be had they need at least not be punctual.
const IDLE_THREADS: &str = "sled-io";
const IDLE_LATE_MAX: Duration = Duration::from_secs(60);
/// What waits for sled is settled without waiting for a quiet moment once it is more than this. Bytes.
pub(super) const DIRTY_BYTES_MAX: usize = 4 << 20;
/// What a waiting key costs beside its bytes, roughly. Bytes.
const DIRTY_OVERHEAD: usize = 64;

/// More records than these are checked by two threads.
const ALONE_MAX: u64 = 20_000;

/// Why the cache cannot be used.
#[derive(Debug)]
pub(super) enum Failure {
    /// What it holds is not what was written: to be set aside.
    Broken(String),
    /// It cannot be used now (no space, no permission); it may be sound.
    Unavailable(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    /// All frames up to this number are in.
    sequence: u64,
    count: u64,
    /// Sum of the records' hashes.
    digest: u64,
}

impl Meta {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(hash(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(hash(key, value));
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}

/// How many databases are open in this process; while it is locked, none is opened.
static OPEN: Mutex<usize> = Mutex::new(0);

fn opened() -> MutexGuard<'static, usize> {
    // A number is never half changed.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With no database open, has sled's threads rest until one is opened again. False: they still have something to do.
pub(super) fn rest_threads() -> bool {
    let open = opened();
    *open == 0 && rest::rest(IDLE_THREADS)
}

/// An open database and its file.
struct Open {
    db: sled::Db,
    file: File,
    _counted: Counted,
}

/// One of the open databases. Made before it is opened, and gone after it.
struct Counted;

impl Counted {
    fn new() -> Counted {
        let mut open = opened();
        *open += 1;
        rest::wake();
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *opened() -= 1;
    }
}

pub(super) struct Cache {
    dir: PathBuf,
    /// `None` while it is closed.
    db: Option<Open>,
    /// All that the database holds, until it is asked for or changed.
    copy: Option<Copy>,
    /// What the database says of itself, open or closed.
    meta: Meta,
    /// Keys whose value in sled is behind; `None`: to be removed.
    dirty: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    dirty_bytes: usize,
    /// The last frame taken in; when nothing is dirty, sled has it too.
    absorbed: u64,
    /// Settling goes round by key, so that no key waits for ever.
    cursor: Vec<u8>,
}

impl Cache {
    /// Opens and checks the database in `dir`, or makes an empty one.
    pub(super) fn open(dir: &Path) -> Result<Cache, Failure> {
        let mut cache = Cache {
            dir: dir.to_owned(),
            db: Some(open_db(dir)?),
            copy: None,
            meta: Meta::default(),
            dirty: BTreeMap::new(),
            dirty_bytes: 0,
            absorbed: 0,
            cursor: Vec::new(),
        };
        let (meta, copy) = cache.check()?;
        (cache.meta, cache.copy) = (meta, Some(copy));
        cache.absorbed = cache.meta.sequence;
        Ok(cache)
    }

    /// Opens the database again if it is closed. It must be the one that was closed: that was checked, so
    /// only its own record is compared.
    fn reopen(&mut self) -> Result<(), Failure> {
        if self.db.is_none() {
            let db = open_db(&self.dir)?;
            let told = guard(|| db.db.get(META_KEY))?;
            let same = match &told {
                Some(value) => {
                    open_value(META_KEY, value).and_then(|bytes| postcard::from_bytes::<Meta>(bytes).ok())
                        == Some(self.meta)
                }
                None => self.meta == Meta::default(),
            };
            self.db = Some(db);
            if !same {
                return Err(Failure::Broken("it is not as it was left".to_owned()));
            }
        }
        Ok(())
    }

    /// Lets go of sled and its memory until it is needed again; true if it was open. What is dirty stays so.
    pub(super) fn close(&mut self) -> bool {
        self.copy = None;
        let db = self.db.take();
        let open = db.is_some();
        let _ = guard(|| {
            drop(db);
            Ok(())
        });
        open
    }

    /// Whether sled and its memory are held.
    pub(super) fn is_open(&self) -> bool {
        self.db.is_some()
    }

    fn db(&self) -> Result<&sled::Db, Failure> {
        self.db.as_ref().map(|open| &open.db).ok_or_else(|| Failure::Unavailable("it is closed".to_owned()))
    }

    /// Reads everything once and compares it with what the cache says of itself; answers that, and a copy.
    fn check(&self) -> Result<(Meta, Copy), Failure> {
        let db = self.db()?;
        let told = match guard(|| db.get(META_KEY))? {
            None => Meta::default(),
            Some(value) => open_value(META_KEY, &value)
                .and_then(|bytes| postcard::from_bytes::<Meta>(bytes).ok())
                .ok_or_else(|| Failure::Broken("its own record is damaged".to_owned()))?,
        };
        let fits = |found: &Meta| Meta { sequence: told.sequence, ..*found } == told;
        let two = std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1);
        if told.count > ALONE_MAX
            && two
            && let Ok((found, copy)) = check::read_from_both_ends(db)
            && fits(&found)
        {
            return Ok((told, copy));
        }
        // The last word has the plain way.
        let (found, copy) = check::read(db)?;
        if fits(&found) {
            return Ok((told, copy));
        }
        let (is, should) = (found.count, told.count);
        Err(Failure::Broken(format!("it holds {is} records and should hold {should}, or some are of old")))
    }

    /// Number of the last frame taken in.
    pub(super) fn absorbed(&self) -> u64 {
        self.absorbed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.meta.count == 0 && self.dirty.is_empty()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.meta.sequence != self.absorbed
    }

    pub(super) fn over_full(&self) -> bool {
        self.dirty_bytes > DIRTY_BYTES_MAX
    }

    /// Takes in a change of frame `sequence`; sled gets it later.
    pub(super) fn absorb(&mut self, sequence: u64, change: &Change) {
        self.absorbed = self.absorbed.max(sequence);
        let Some(key) = key_of(change) else { return };
        let value = value_of(&key, change);
        let size = key.len() + value.as_ref().map_or(0, Vec::len) + DIRTY_OVERHEAD;
        let length = key.len();
        self.dirty_bytes += size;
        if let Some(old) = self.dirty.insert(key, value) {
            let old = length + old.map_or(0, |old| old.len()) + DIRTY_OVERHEAD;
            self.dirty_bytes = self.dirty_bytes.saturating_sub(old);
        }
    }

    /// Says that all frames up to `sequence` were offered.
    pub(super) fn absorbed_up_to(&mut self, sequence: u64) {
        self.absorbed = self.absorbed.max(sequence);
    }

    /// Brings one batch of dirty keys into sled; with the last one, flushes and syncs. True: more is waiting.
    pub(super) fn settle(&mut self) -> Result<bool, Failure> {
        self.copy = None;
        self.reopen()?;
        let db = self.db()?.clone();
        let start = Bound::Excluded(std::mem::take(&mut self.cursor));
        let mut batch = sled::Batch::default();
        let mut meta = self.meta;
        let mut done: Vec<Vec<u8>> = Vec::with_capacity(BATCH_KEYS_MAX);
        for (key, value) in self.dirty.range::<Vec<u8>, _>((start, Bound::Unbounded)).take(BATCH_KEYS_MAX - 1)
        {
            let old = guard(|| db.get(key))?;
            match (&old, value) {
                (Some(old), Some(new)) if old.as_ref() == new.as_slice() => {}
                (None, None) => {}
                (_, Some(new)) => {
                    meta.add(key, new);
                    batch.insert(key.as_slice(), new.as_slice());
                }
                (_, None) => batch.remove(key.as_slice()),
            }
            if let Some(old) = old.filter(|old| value.as_deref() != Some(old.as_ref())) {
                meta.remove(key, &old);
            }
            done.push(key.clone());
        }
        let last = done.len() == self.dirty.len();
        if last {
            meta.sequence = self.absorbed;
        }
        if meta != self.meta {
            batch.insert(META_KEY, seal_value(META_KEY, &meta));
            guard(|| db.apply_batch(batch))?;
            self.meta = meta;
        }
        for key in &done {
            if let Some(value) = self.dirty.remove(key) {
                let size = key.len() + value.map_or(0, |value| value.len()) + DIRTY_OVERHEAD;
                self.dirty_bytes = self.dirty_bytes.saturating_sub(size);
            }
        }
        if last {
            self.sync()?;
            self.dirty_bytes = 0;
            return Ok(false);
        }
        // Fewer than asked for: the end of the keys was reached; the next call begins at the first again.
        if done.len() == BATCH_KEYS_MAX - 1 {
            self.cursor = done.pop().unwrap_or_default();
        }
        Ok(true)
    }

    fn sync(&self) -> Result<(), Failure> {
        let Some(Open { db, file, .. }) = &self.db else { return Ok(()) };
        guard(|| db.flush())?;
        file.sync_data().map_err(|error| Failure::Unavailable(error.to_string()))
    }

    /// Bans of the copy at hand.
    pub(super) fn bans_to_load(&self) -> usize {
        self.copy.as_ref().map_or(0, Copy::bans)
    }

    /// Hands out the whole state.
    pub(super) fn load(&mut self, sink: &mut dyn FnMut(Change)) -> Result<(), Failure> {
        let copy = self.copy.take();
        if copy.is_none() {
            self.reopen()?;
        }
        let mut names = Names::default();
        let damaged = || Failure::Broken("a record is not what was written".to_owned());
        let dirty = &self.dirty;
        let mut take = |key: &[u8], value: &[u8]| {
            if dirty.is_empty() || !dirty.contains_key(key) {
                sink(read_state(key, value, &mut names).ok_or_else(damaged)?);
            }
            Ok(())
        };
        match copy {
            Some(copy) => copy.try_for_each(&mut take)?,
            None => {
                // The sink is not called under the guard: a panic in there is not sled's.
                let db = self.db()?;
                let mut records = guard(|| Ok(db.iter()))?;
                while let Some((key, value)) = guard(|| records.next().transpose())? {
                    if key.as_ref() != META_KEY {
                        take(&key, &value)?;
                    }
                }
            }
        }
        for (key, value) in &self.dirty {
            if let Some(value) = value {
                sink(read_state(key, value, &mut names).ok_or_else(damaged)?);
            }
        }
        Ok(())
    }

    /// What holds under `key` now; `None`: nothing.
    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Change>, Failure> {
        let value = match self.dirty.get(key) {
            Some(value) => value.clone(),
            None => {
                self.reopen()?;
                let db = self.db()?.clone();
                guard(|| db.get(key))?.map(|value| value.to_vec())
            }
        };
        Ok(value.and_then(|value| read_state(key, &value, &mut Names::default())))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.close();
    }
}

fn open_db(dir: &Path) -> Result<Open, Failure> {
    let counted = Counted::new();
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let mut tries = 1;
    let db = loop {
        match guard(|| timer::unhurried(IDLE_LATE_MAX, || config.open())) {
            Err(Failure::Unavailable(why)) if why.contains(STILL_LOCKED) && tries < OPEN_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            done => break done?,
        }
    };
    match File::open(dir.join("db")) {
        Ok(file) => Ok(Open { db, file, _counted: counted }),
        Err(error) => {
            let _ = guard(|| {
                drop(db);
                Ok(())
            });
            Err(Failure::Unavailable(error.to_string()))
        }
    }
}

/// Calls into sled: a panic in there is a broken database, not the end of the daemon.
fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failure(&error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Failure::Broken(format!("sled paniced: {text}")))
        }
    }
}

fn failure(error: &sled::Error) -> Failure {
    match error {
        sled::Error::Io(io) => match io.raw_os_error() {
            // A sector that cannot be read stays so; a new file lies elsewhere.
            Some(libc::EIO) | None if !io.to_string().contains(STILL_LOCKED) => {
                Failure::Broken(io.to_string())
            }
            _ => Failure::Unavailable(io.to_string()),
        },
        other => Failure::Broken(other.to_string()),
    }
}

/// Renames the database away; the two latest of these are kept for whoever wants to look.
pub(super) fn set_aside(dir: &Path, now_secs: i64) -> std::io::Result<PathBuf> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    let mut name = format!("db.corrupt-{now_secs}");
    for turn in 1.. {
        if !parent.join(&name).exists() {
            break;
        }
        name = format!("db.corrupt-{now_secs}-{turn}");
    }
    std::fs::rename(dir, parent.join(&name))?;
    let mut aside: Vec<PathBuf> = std::fs::read_dir(parent)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("db.corrupt-")))
        .collect();
    aside.sort_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok());
    let over = aside.len().saturating_sub(2);
    for old in aside.drain(..over) {
        let _ = std::fs::remove_dir_all(old);
    }
    Ok(parent.join(name))
}
