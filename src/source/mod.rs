//! Sources: where log lines come from.
//!
//! A source yields [`Block`]s: whole lines, read once, however many jails are on the log. Blocks and not
//! single lines, because the filter's literal prefilter runs over a block at memory speed.

mod adopt;
pub mod checkpoint;
pub mod file;
mod lines;
mod log;
mod lookback;
pub mod offline;
mod packed;
mod pattern;
mod rotated;
mod tail;
mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::io_reason;

pub use adopt::adopt;
pub use checkpoint::{FilePosition, Position};
pub use file::{Start, Tailer};
pub use lines::{CUT, cut_long_lines};
pub use lookback::LineDate;
pub use offline::OfflineLog;

/// What went wrong with a source. None of it ends the daemon: a log that cannot be read is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No inotify instance is to be had.
    #[error("cannot watch files: {source}; raise fs.inotify.max_user_instances")]
    Inotify { source: io::Error },
    /// A file or directory cannot be watched; it is polled instead.
    #[error("cannot watch {}: {source}; it is polled instead, raise fs.inotify.max_user_watches", path.display())]
    Watch { path: PathBuf, source: io::Error },
    #[error("cannot open {}: {}", path.display(), io_reason(source))]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {}", path.display(), io_reason(source))]
    Read { path: PathBuf, source: io::Error },
    /// `logs_max` is reached: this log is not read.
    #[error("{} is not read: {max} logs are open already; raise logs_max under [limits]", path.display())]
    TooManyLogs { path: PathBuf, max: usize },
    /// A pattern that no path can match.
    #[error("logpath {pattern:?} is no path and no glob: {reason}")]
    Pattern { pattern: String, reason: String },
}

/// One open log, for as long as the daemon runs; small and dense, fit for an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LogId(pub u32);

/// Whole lines of one log, in order. Where reading goes on after them is [`Tailer::position`], to be stored together with
/// what they led to.
pub struct Block<'a> {
    pub log: LogId,
    pub path: &'a Arc<Path>,
    /// Every line ends with `\n`; the last one too, even where the file's last line had none yet (a file
    /// that was rotated away). No line is longer than `limits.line_bytes_max`; what was longer ends in [`CUT`].
    pub bytes: &'a [u8],
    /// Whether the end of this file was reached at least once before this block: lines are written as we
    /// read, so their time is about now.
    pub live: bool,
}

impl fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("path", &self.path).field("bytes", &self.bytes.len()).finish()
    }
}

/// What `status` shows of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    pub path: String,
    pub state: LogState,
    /// Bytes between what was read and the end of the file.
    pub lag_bytes: u64,
    /// Lines longer than the cap, cut.
    pub lines_cut: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogState {
    Open,
    /// Not there (yet); watched for.
    Missing,
    /// There, and not to be read: permissions, a directory.
    Unreadable,
}

#[cfg(test)]
mod tests;
