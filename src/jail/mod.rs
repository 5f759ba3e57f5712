//! Jails: the pure state machine `(now, Attempt) -> Actions`. No clock, no I/O, no logging in here.
#![forbid(unsafe_code)]

mod ask;
mod bans;
mod bantime;
mod formula;
mod hand;
mod history;
pub mod ignore;
mod jails;
mod keep;
mod keymap;
mod lengths;
mod lists;
mod nets;
mod random;
mod recidive;
mod settings;
#[cfg(test)]
mod tests;
mod track;
mod view;
mod window;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::addr::Net;
use crate::time::{Span, Timestamp};

pub use formula::Formula;
pub use ignore::{IgnoreEntry, Never};
pub use jails::{Jails, time_of};
pub use settings::{Increment, JailSettings, KeyKind, MAXRETRY_MAX};

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

#[cfg(test)]
impl Ban {
    /// One for ever after five failures, for tests to change.
    pub(crate) fn example(jail: JailName, target: Net) -> Ban {
        Ban {
            jail,
            target,
            since: Timestamp::from_secs(1_790_000_000),
            until: None,
            failures: 5,
            count: 1,
            origin: Origin::Jail,
            reason: None,
            effective: true,
        }
    }
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

    /// Whether it tells its target's history while it is in force, of which no record is kept until it ends.
    pub fn tells_history(&self) -> bool {
        history::tells(self.count)
    }
}

/// A jail's place in [`Jails`]; stays the same while the jail lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct JailId(pub u16);

impl JailId {
    /// The jail of bans made by hand.
    pub const MANUAL: JailId = JailId(0);
}

/// What the jails want done. The engine enforces and records them, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// A new ban, or (the same jail and target once more) one that replaces it.
    Ban(Ban),
    /// A ban is over or lifted.
    Unban { jail: JailName, target: Net, at: Timestamp, cause: Cause },
    /// Failures go on well after this ban: it does nothing. Said once for each ban.
    Ineffective { jail: JailName, target: Net },
    /// A line written just now has a date more than a minute off the clock and counted as now. Said once a day
    /// for each jail. `log`: the line's time.
    ClockOff { jail: JailName, log: Timestamp, now: Timestamp },
    /// A jail that asks before it bans has so many failures of `target`, the last at `last`. [`Jails::answer`] takes
    /// the answer. Said anew with every further failure.
    Ask { jail: JailName, target: Net, last: Timestamp, failures: u32 },
    /// A grace or an allow entry ended: [`Jails::allow_nets`] has changed.
    AllowSetChanged,
    /// `limits.bans_max` is reached and this target was not banned. Said at most once a minute.
    BansFull { jail: JailName, target: Net },
}

/// Why a ban ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its time was up; the kernel has dropped it by itself.
    Expired,
    /// A person lifted it.
    Unban,
    /// What it banned is never to be banned from now on.
    Allowed,
    /// Its jail is no more.
    Reload,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A failure that counts, below maxretry.
    Counted,
    /// The failure that made a ban.
    Banned,
    /// A failure from where a ban already stands.
    AlreadyBanned,
    /// Ignored, never banned, allowed or under grace.
    Ignored,
    /// A further line about a failure that counted already.
    Repeated,
    /// A failure without an address.
    NoHost,
    /// A good login.
    Success,
    /// A failure so old that it can lead to nothing any more.
    TooOld,
}

/// Why a ban by hand was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0} is never banned: it is {1}")]
    Never(Net, Never),
    #[error("{0} is never banned: it is in ignoreip")]
    Ignored(Net),
    #[error("{0} is never banned: it is on the allow list ({1})")]
    Allowed(Net, String),
    #[error("{0} is no peer's address")]
    NoPeer(Net),
    #[error("{0} is wider than /{1}: --force if that is meant")]
    TooWide(Net, u8),
    #[error("{0} bans are held already, limits.bans_max")]
    Full(usize),
}

/// Whom a grace trusts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GraceTarget {
    Net(Net),
    /// An account, as a person spells it; matched without regard to case, and with or without the domain.
    Account(String),
}

/// Temporary trust, given with an unban.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GraceEntry {
    pub target: GraceTarget,
    pub until: Timestamp,
}

/// An entry of the allow list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AllowEntry {
    pub target: Net,
    /// `None`: for good.
    pub until: Option<Timestamp>,
    /// Who put it there.
    pub by: String,
    pub reason: Option<String>,
}

/// A jail's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct JailCounts {
    /// Failures that counted, ever.
    pub failures: u64,
    /// Bans made, ever.
    pub banned_total: u64,
    /// Bans in force.
    pub banned: usize,
    /// Keys with open failures.
    pub tracked: usize,
}

/// A key's open failures, as `status` shows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowView {
    pub jail: JailName,
    pub key: Net,
    pub failures: u32,
    pub maxretry: u32,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Something that changed in memory and is to be stored: an absolute value, so that storing twice is harmless.
#[derive(Clone, PartialEq, Debug)]
pub enum Dirty {
    /// `None`: no open failures any more. The bytes are opaque; [`Jails::restore_window`] reads them.
    Window {
        jail: JailName,
        key: Net,
        window: Option<Vec<u8>>,
    },
    /// Bans of `target` so far, and when the last one ended or will (`None`: never). `count` 0: forgotten. Not told of a
    /// first ban while it is in force, which tells as much.
    History {
        jail: JailName,
        target: Net,
        count: u32,
        last_end: Option<Timestamp>,
    },
    Counters {
        jail: JailName,
        failures: u64,
        banned_total: u64,
    },
}
