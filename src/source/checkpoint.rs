//! Where to resume reading a log.

use serde::{Deserialize, Serialize};

/// How far a log was read. The inode alone does not name a file: ext4 gives a freed number to the next file,
/// so the first bytes are compared too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Position {
    pub device: u64,
    pub inode: u64,
    /// Fingerprint of the file's first `head_len` bytes.
    pub head: u64,
    /// How many bytes went into `head`: 64 at most, fewer while the file is shorter.
    pub head_len: u8,
    /// Bytes read: the next line starts here.
    pub offset: u64,
}
