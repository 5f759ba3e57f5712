//! What the store remembers: [`Frame`]s of [`Change`]s.
//!
//! Every change but an attempt, an unban and an audit entry states what holds from now on ("the ban is
//! this", "the window is that"), not a difference; so frames can be applied twice without harm.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::{Host, Net};
use crate::filter::Outcome;
use crate::jail::{Ban, JailName};
use crate::source::Position;
use crate::time::Timestamp;

/// The longest log line kept as evidence. Bytes; the rest is cut off.
pub const EVIDENCE_LINE_BYTES_MAX: usize = 1024;

/// The longest account name kept. Bytes; longer ones are cut off.
pub const ACCOUNT_BYTES_MAX: usize = 255;

/// What one tick changed: it is stored wholly or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Frame {
    pub at: Timestamp,
    pub changes: Vec<Change>,
}

impl Frame {
    pub fn new(at: Timestamp) -> Frame {
        Frame { at, changes: Vec::new() }
    }

    /// Whether it should reach the disk without waiting for others: it holds a decision, not only what a
    /// second reading of the same lines would give again.
    pub fn urgent(&self) -> bool {
        self.changes.iter().any(|change| {
            matches!(
                change,
                Change::Ban(_)
                    | Change::Unban(_)
                    | Change::Grace { .. }
                    | Change::Allow { .. }
                    | Change::Audit(_)
            )
        })
    }
}

/// Whom a window or a grace is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Subject {
    Net(Net),
    /// As the jail spells it.
    Account(String),
}

impl From<Net> for Subject {
    fn from(net: Net) -> Subject {
        Subject::Net(net)
    }
}

/// One thing that holds from now on. `None` in a field of record type: it is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// A ban in force; replaces an earlier one of the same jail and target.
    Ban(Ban),
    /// A ban ended. Nothing to end is no error.
    Unban(Unban),
    /// The failures of `key` in `jail`, in the jail's own form; `None`: none left.
    Window {
        jail: JailName,
        key: Subject,
        #[serde(with = "maybe_bytes")]
        window: Option<Vec<u8>>,
    },
    /// Bans of `target` so far; `jail` is `None` where they count over all jails. There is none beside a first ban in
    /// force, which tells it itself (count 1, until its end), but from its end on.
    History {
        jail: Option<JailName>,
        target: Net,
        history: Option<History>,
    },
    Counters {
        jail: JailName,
        counters: Option<Counters>,
    },
    /// How far the log at `path` was read.
    Position {
        #[serde(with = "path_bytes")]
        path: PathBuf,
        record: Option<PositionRecord>,
    },
    /// Evidence: one login attempt, or several alike.
    Attempt(AttemptRecord),
    /// No ban for `subject` until then.
    Grace {
        subject: Subject,
        grace: Option<Grace>,
    },
    /// `entry` as typed: an address, a network, a name.
    Allow {
        entry: String,
        allow: Option<Allow>,
    },
    Audit(Audit),
    /// fail2ban's ban of `target` in `jail` was taken over: it is not taken again. `None`: its time is over.
    Taken {
        jail: JailName,
        target: Net,
        taken: Option<Taken>,
    },
}

/// Which of fail2ban's bans was taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    pub since: Timestamp,
    /// `None`: it never ends.
    pub until: Option<Timestamp>,
}

/// Why a ban ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnbanCause {
    /// Its time was over.
    Expired,
    /// A person lifted it.
    Person,
    /// `--flush` or `unban --all`.
    Flush,
    /// Its jail is no longer configured.
    JailGone,
    /// The target may not be banned any more: ignoreip, `allow add`.
    Allowed,
    /// Another program took it out of the kernel's set, and it was left at that.
    Foreign,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unban {
    pub jail: JailName,
    pub target: Net,
    pub at: Timestamp,
    pub cause: UnbanCause,
    /// Who did it, as the control socket knows him.
    pub by: Option<String>,
    pub reason: Option<String>,
    /// The ban that ended. May be left `None`: the store fills it in before it writes.
    pub ban: Option<Ban>,
}

/// Earlier bans, for growing bantimes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// Bans so far, the present one included.
    pub count: u32,
    pub last_since: Timestamp,
    /// End of the last ban, planned or real; `None`: for ever.
    pub last_until: Option<Timestamp>,
}

/// What a jail has counted since it was first configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    pub failures: u64,
    pub successes: u64,
    pub bans: u64,
}

/// Where to go on reading, and what the filters of that log have open there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PositionRecord {
    pub position: Position,
    /// The filters' open sessions, in their own form.
    #[serde(with = "maybe_bytes")]
    pub filter_state: Option<Vec<u8>>,
}

impl PositionRecord {
    /// A position without open sessions.
    pub fn of(position: Position) -> PositionRecord {
        PositionRecord { position, ..PositionRecord::default() }
    }
}

/// One login attempt as evidence; several alike when `times` is over 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub host: Host,
    pub jail: Option<JailName>,
    pub outcome: Outcome,
    /// Of the (last) attempt.
    pub time: Timestamp,
    pub times: u32,
    /// As the line spells it, capped at [`ACCOUNT_BYTES_MAX`].
    #[serde(with = "maybe_bytes")]
    pub account: Option<Vec<u8>>,
    /// Keyed digest of the password tried; never the log's own hash.
    pub pwhash: Option<u64>,
    /// Raw, capped at [`EVIDENCE_LINE_BYTES_MAX`]; `None` where only the count is kept.
    #[serde(with = "maybe_bytes")]
    pub line: Option<Vec<u8>>,
    #[serde(with = "maybe_path")]
    pub log: Option<Arc<Path>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grace {
    pub until: Timestamp,
    pub by: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allow {
    pub since: Timestamp,
    /// `None`: until taken out.
    pub until: Option<Timestamp>,
    pub by: Option<String>,
    pub reason: Option<String>,
}

/// What a person had done through the control socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Audit {
    pub at: Timestamp,
    /// uid and name of the peer.
    pub by: String,
    /// The command: `unban`, `ban`, `allow add`, `reload`.
    pub what: String,
    pub target: Option<String>,
    pub reason: Option<String>,
    /// What came of it, in a few words.
    pub result: String,
}

/// Byte strings as one piece and not byte by byte.
mod maybe_bytes {
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;
    use serde::{Deserialize, Serialize};
    use std::fmt;

    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    struct Owned(Vec<u8>);
    impl<'de> Deserialize<'de> for Owned {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Owned, D::Error> {
            struct Bytes;
            impl Visitor<'_> for Bytes {
                type Value = Owned;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Owned, E> {
                    Ok(Owned(bytes.to_vec()))
                }
                fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Owned, E> {
                    Ok(Owned(bytes))
                }
            }
            deserializer.deserialize_byte_buf(Bytes)
        }
    }

    pub fn serialize<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_deref().map(Bytes).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Owned>::deserialize(deserializer)?.map(|owned| owned.0))
    }
}

/// Paths as bytes: a log's name need not be UTF-8.
mod path_bytes {
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        super::maybe_bytes::serialize(&Some(path.as_os_str().as_bytes().to_vec()), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let bytes = super::maybe_bytes::deserialize(deserializer)?;
        Ok(OsString::from_vec(bytes.ok_or_else(|| D::Error::custom("no path"))?).into())
    }
}

mod maybe_path {
    use serde::de::Deserializer;
    use serde::ser::Serializer;
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    pub fn serialize<S: Serializer>(path: &Option<Arc<Path>>, serializer: S) -> Result<S::Ok, S::Error> {
        super::maybe_bytes::serialize(
            &path.as_ref().map(|path| path.as_os_str().as_bytes().to_vec()),
            serializer,
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Path>>, D::Error> {
        let bytes = super::maybe_bytes::deserialize(deserializer)?;
        Ok(bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes)).into()))
    }
}
