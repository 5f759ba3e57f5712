//! Jails: the pure state machine `(now, Attempt) -> Actions`. No clock, no I/O, no logging in here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::Net;
use crate::time::{Span, Timestamp};

/// A jail's name: letters, digits, `-`, `_`, `.`; at most 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JailName(Arc<str>);

impl JailName {
    /// `None` unless `name` is a jail's name.
    pub fn new(name: &str) -> Option<JailName> {
        let fit = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        fit.then(|| JailName(name.into()))
    }

    /// The jail of bans made by hand.
    pub fn manual() -> JailName {
        JailName("manual".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JailName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JailName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who made a ban.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A jail's rule.
    Jail,
    /// A person, by `banctl ban`.
    Manual,
    /// Taken over from fail2ban's database.
    Import,
    /// Found in the kernel without a record.
    Kernel,
}

/// One ban: in force, or (in the history) ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ban {
    pub jail: JailName,
    pub target: Net,
    pub since: Timestamp,
    /// `None`: for ever.
    pub until: Option<Timestamp>,
    /// Failures that led to it; 0 by hand.
    pub failures: u32,
    /// The how-manieth ban of this target, from 1: in this jail, or in all with `overalljails`.
    pub count: u32,
    pub origin: Origin,
    pub reason: Option<String>,
    /// False once failures went on after it: the packets come another way, as behind a proxy.
    pub effective: bool,
}

impl Ban {
    /// What is left of it at `now`; `None` once it is over.
    pub fn left(&self, now: Timestamp) -> Option<Span> {
        match self.until {
            None => Some(Span::Forever),
            Some(until) if until > now => Some(Span::For(until.since(now))),
            Some(_) => None,
        }
    }
}
