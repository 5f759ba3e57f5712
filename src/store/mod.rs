//! What portero remembers over a restart: the journal, and sled brought up to date from it.
//!
//! The daemon talks to a [`Handle`]: a thread of its own that owns a [`Store`]. One tick of
//! the engine is one [`Frame`]; a frame is durable once it stands in the journal (checksummed, synced), and
//! sled follows in small batches when there is time. Enforcing never waits for any of it.

mod aging;
mod codec;
mod durable;
mod evidence;
pub mod handle;
mod index;
mod journal;
mod lock;
mod lookup;
pub mod memory;
pub mod query;
mod queue;
pub mod record;
pub mod recorder;
mod segment;
mod sled;
mod state;

use std::path::{Path, PathBuf};

pub use durable::DiskStore;
pub use handle::{Event, Handle, Health};
pub use journal::JournalSettings;
pub use memory::MemoryStore;
pub use query::{AccountRecord, AccountSeen, EvidenceLine, HostRecord, HostSeen};
pub use record::{
    Allow, AttemptRecord, Audit, Change, Counters, Frame, Grace, History, PositionRecord, Subject, Taken,
    Unban, UnbanCause,
};

pub use recorder::{Note, Recorder};

use crate::addr::{Host, Net};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Remembers frames. Calls block on the disk: only the store's own thread makes them, but for `load`, which
/// start-up calls before that thread runs.
pub trait Store: Send {
    /// Makes `frames` durable, in order; returns when they are. A frame is kept wholly or not at all.
    ///
    /// # Errors
    /// Nothing of what failed is kept: the same frames may be handed in again later.
    fn commit(&mut self, frames: &mut [Frame]) -> Result<(), StoreError>;

    /// Does a small piece of the work that can wait (bringing sled up to date, dropping what is too old);
    /// true while there is more.
    ///
    /// # Errors
    /// What is durable stays so; the work is tried again at the next call.
    fn settle(&mut self) -> Result<bool, StoreError>;

    /// Whether [`Store::settle`] would give back memory that recording a lot has taken: then it should come soon.
    fn holds_memory(&self) -> bool {
        false
    }

    /// Has threads of the backend rest that nothing is expected of until the next call. To be called a while after
    /// [`Store::settle`] had nothing more to do; false: they are at work, ask again later.
    fn rest(&mut self) -> bool {
        true
    }

    /// Hands out all that is in force, as changes whose replay gives the state: bans, windows, histories,
    /// counters, positions, graces, allows. Bans whose time is over are among them; the caller ends those.
    ///
    /// # Errors
    /// The state could not be read, and not be rebuilt either.
    fn load(&mut self, sink: &mut dyn FnMut(Change)) -> Result<(), StoreError>;

    /// How many of the changes of the next [`Store::load`] are bans, where that is known beforehand: to make room. Bans.
    fn bans_to_load(&self) -> usize {
        0
    }

    /// Evidence against `host`, accounts tried from there, earlier bans. Unknown: empty.
    fn evidence(&mut self, host: Host) -> Result<HostRecord, StoreError>;

    /// Addresses that tried or used an account; matched without regard to case, and with or without the
    /// domain. Unknown: empty.
    fn account(&mut self, name: &str) -> Result<AccountRecord, StoreError>;

    /// Addresses inside `net` of which evidence exists, in order; at most `limit`.
    fn hosts_in(&mut self, net: Net, limit: usize) -> Result<Vec<Host>, StoreError>;

    /// Ended bans, the latest first; at most `limit`.
    fn ended(&mut self, limit: usize) -> Result<Vec<Unban>, StoreError>;

    /// What people did, the latest first; at most `limit`.
    fn audit(&mut self, limit: usize) -> Result<Vec<Audit>, StoreError>;

    /// What was found wrong since the last call, for the daemon's log.
    fn take_notices(&mut self) -> Vec<String>;
}

/// Opens a store in a state directory.
type Opener = fn(&Path, &Limits, Timestamp) -> Result<Box<dyn Store>, StoreError>;

/// Every backend, by the name that a configuration calls it.
const BACKENDS: [(&str, Opener); 2] = [
    ("sled", |dir, limits, now| Ok(Box::new(DiskStore::open(dir, limits, JournalSettings::default(), now)?))),
    ("memory", |_, limits, _| Ok(Box::new(MemoryStore::new(limits)))),
];

/// Opens the backend called `name` in `dir`: "sled" (journal and sled), or "memory" (nothing is kept).
///
/// # Errors
/// See [`DiskStore::open`]; an unknown name.
pub fn open(name: &str, dir: &Path, limits: &Limits, now: Timestamp) -> Result<Box<dyn Store>, StoreError> {
    let Some((_, open)) = BACKENDS.iter().find(|(known, _)| *known == name) else {
        let known = BACKENDS.map(|(known, _)| known).join(", ");
        return Err(StoreError::UnknownBackend { name: name.to_owned(), known });
    };
    open(dir, limits, now)
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon holds the state directory.
    #[error("{} is in use by another portero (pid {pid}); stop it first, or give --state-dir", dir.display())]
    Locked { dir: PathBuf, pid: String },
    /// A file or directory could not be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// No room left on the disk; frames wait in memory.
    #[error("no space left for {}; bans are enforced, but not remembered over a restart until there is room", path.display())]
    Full { path: PathBuf },
    /// sled failed or paniced; the journal has everything.
    #[error("the database {} failed: {why}; it will be opened again, or rebuilt from the journal", path.display())]
    Database { path: PathBuf, why: String },
    /// What a file holds is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// The store's thread has ended.
    #[error("the store has been stopped")]
    Stopped,
    /// No backend of this name.
    #[error("no store backend {name:?}; there are: {known}")]
    UnknownBackend { name: String, known: String },
}

impl StoreError {
    /// The same error for somebody else who waits for the outcome.
    pub(crate) fn again(&self) -> StoreError {
        match self {
            StoreError::Io { what, path, source } => StoreError::Io {
                what,
                path: path.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), std::io::Error::from_raw_os_error),
            },
            StoreError::Full { path } => StoreError::Full { path: path.clone() },
            StoreError::Database { path, why } => {
                StoreError::Database { path: path.clone(), why: why.clone() }
            }
            StoreError::Damaged { path, why } => StoreError::Damaged { path: path.clone(), why: why.clone() },
            _ => StoreError::Stopped,
        }
    }

    /// An I/O error, told apart where it is a full disk.
    pub(crate) fn io(what: &'static str, path: &std::path::Path, source: std::io::Error) -> StoreError {
        let full =
            matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        if full {
            StoreError::Full { path: path.to_owned() }
        } else {
            StoreError::Io { what, path: path.to_owned(), source }
        }
    }
}
