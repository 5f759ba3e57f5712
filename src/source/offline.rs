//! Logs read once from their beginning to their end, compressed or not: for `banctl scan` and `replay`.

use std::path::Path;

use super::SourceError;
use crate::limits::Limits;

/// A log being read from its first byte to its last.
pub struct OfflineLog {}

impl OfflineLog {
    /// Opens a log: plain, .gz, .xz or .zst as its first bytes tell, or standard input for `-`.
    pub fn open(_path: &Path, _limits: &Limits) -> Result<OfflineLog, SourceError> {
        unimplemented!()
    }

    /// The next whole lines, each ended by `\n`, none longer than the cap; `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, SourceError> {
        unimplemented!()
    }

    /// Lines cut at the cap so far.
    pub fn lines_cut(&self) -> u64 {
        unimplemented!()
    }
}
