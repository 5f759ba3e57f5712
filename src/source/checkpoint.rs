//! Where to resume reading a log.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::hash::Hasher;

/// Bytes of a file's beginning that go into its fingerprint. Bytes.
///
/// A line of a mail log is about this long, so the fingerprint holds a date, a process and a message.
pub const HEAD_BYTES_MAX: usize = 128;

/// A shorter head says too little to recognise a file by it alone. Bytes.
pub const HEAD_BYTES_TELLING: usize = 24;

/// How far one file was read. The inode alone does not name a file: ext4 gives a freed number to the next
/// file, so the first bytes are compared too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FilePosition {
    pub device: u64,
    pub inode: u64,
    /// Fingerprint of the file's first `head_len` bytes, decompressed if it is a compressed one.
    pub head: u64,
    /// How many bytes went into `head`: [`HEAD_BYTES_MAX`] at most, fewer while the file is shorter.
    pub head_len: u8,
    /// Bytes read: the next line starts here.
    pub offset: u64,
}

/// How far a log was read: what is kept for a path, whatever files stood there.
///
/// For about half a minute after a rotation two files are read under one path: the old one, since programs
/// still write to it, and the new one. Were only one position kept, a restart would lose or repeat lines.
///
/// Empty: nothing stood there so far; whatever stands there next is new from its first byte.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Position {
    /// Oldest first; files that follow the last one were not begun. Before one that was not begun may stand what is
    /// no longer followed: a file let go, or what the same file held before it was emptied.
    pub files: SmallVec<[FilePosition; 2]>,
}

/// The fingerprint of a file's first bytes. The same in every version of portero: it is stored.
pub fn fingerprint(head: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(head);
    hasher.finish()
}

impl FilePosition {
    /// Whether a file that begins with `head` may be the one meant: nothing read speaks against it.
    pub fn head_fits(&self, head: &[u8]) -> bool {
        let len = usize::from(self.head_len);
        head.len() >= len && fingerprint(&head[..len]) == self.head
    }
}
