//! Tailing files.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inotify::Inotify;

use super::{Block, LogId, LogStatus, Position, SourceError};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Reads the time of a line; `None` where it has none. Used to look back in a log that was never read.
pub type LineDate = Arc<dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync>;

/// Where to begin in the logs of a pattern.
pub struct Start<'a> {
    pub now: Timestamp,
    /// What the store holds, by path.
    pub stored: &'a HashMap<PathBuf, Position>,
    /// How far back to begin in a log without a stored position: the longest findtime on it.
    pub look_back: Duration,
    pub line_date: LineDate,
}

/// Every log of the daemon, read as it grows. Blocks nowhere: wait until [`fd`](Tailer::fd) is readable, then
/// call [`on_events`](Tailer::on_events) and take [`next_block`](Tailer::next_block) until there is none; call
/// [`sweep`](Tailer::sweep) every one or two seconds.
pub struct Tailer {
    inotify: Inotify,
}

impl Tailer {
    pub fn new(_limits: &Limits) -> Result<Tailer, SourceError> {
        Ok(Tailer { inotify: Inotify::init().map_err(|source| SourceError::Inotify { source })? })
    }

    /// Adds a path or a glob; it may match nothing yet. Returns the logs it matches now, old and new.
    pub fn add(&mut self, _pattern: &str, _start: &Start<'_>) -> Vec<LogId> {
        unimplemented!()
    }

    /// Forgets a pattern; logs that no other pattern matches are closed.
    pub fn remove(&mut self, _pattern: &str) {
        unimplemented!()
    }

    /// Readable when something happened: call [`on_events`](Tailer::on_events).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Takes all waiting events.
    pub fn on_events(&mut self, _now: Timestamp) {
        unimplemented!()
    }

    /// Looks at every path, glob and open file: the safety net under the events, and all there is for
    /// network file systems. Lets go of old files whose time is over. To be called every one or two seconds.
    pub fn sweep(&mut self, _now: Timestamp) {
        unimplemented!()
    }

    /// The next block, round robin over the logs with unread bytes; `None`: all are read to their end.
    /// A block may be empty. An error concerns one log and ends nothing.
    pub fn next_block(&mut self) -> Option<Result<Block<'_>, SourceError>> {
        unimplemented!()
    }

    pub fn status(&self) -> Vec<LogStatus> {
        unimplemented!()
    }

    /// How far a log was read: to be stored when the daemon stops.
    pub fn position(&self, _log: LogId) -> Option<Position> {
        unimplemented!()
    }

    /// The logs that a pattern matches now; more may come.
    pub fn logs_of(&self, _pattern: &str) -> Vec<LogId> {
        unimplemented!()
    }

    /// The patterns that match a log; for a log first met in a block.
    pub fn patterns_of(&self, _log: LogId) -> Vec<String> {
        unimplemented!()
    }

    pub fn path_of(&self, _log: LogId) -> Option<&Arc<Path>> {
        unimplemented!()
    }
}
