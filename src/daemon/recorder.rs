//! What the engine has decided and read since the last frame: gathered here, handed to the store as one frame.
//!
//! Bans, windows and positions of one tick stand in one frame, so a crash cannot part them: a failure is either
//! counted and its line read, or neither.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::addr::Net;
use crate::filter::Attempt;
use crate::jail::{AllowEntry, Ban, Cause, Dirty, GraceEntry, GraceTarget, JailName, Jails};
use crate::limits::Limits;
use crate::store::{
    self, Allow, Audit, Change, Counters, Frame, Grace, History, Note, PositionRecord, Subject, Unban,
    UnbanCause,
};
use crate::time::Timestamp;

/// The frame in the making.
pub struct Recorder {
    changes: store::Recorder,
    positions: BTreeMap<Arc<Path>, PositionRecord>,
    /// Something that a second reading of the log would not give again, or that must go with a position.
    due: bool,
    /// Keys the digests of passwords; made anew at each start, since a digest is compared for hours only.
    digest_key: RandomState,
}

impl Recorder {
    pub fn new(limits: &Limits) -> Recorder {
        Recorder {
            changes: store::Recorder::new(limits),
            positions: BTreeMap::new(),
            due: false,
            digest_key: RandomState::new(),
        }
    }

    /// Whether there is more to write than positions alone.
    pub fn due(&self) -> bool {
        self.due
    }

    /// `jail`: one that counted it, if one did.
    pub fn attempt(
        &mut self,
        now: Timestamp,
        jail: Option<&JailName>,
        log: &Arc<Path>,
        attempt: &Attempt<'_>,
    ) {
        let Some(host) = attempt.host else { return };
        self.due = true;
        let note = Note {
            host,
            jail,
            outcome: attempt.outcome,
            time: attempt.time.unwrap_or(now),
            times: attempt.times,
            account: attempt.user,
            pwhash: attempt.pwhash.map(|hash| self.digest_key.hash_one(hash)),
            line: attempt.line,
            log: Some(log),
        };
        self.changes.attempt(now, note);
    }

    pub fn ban(&mut self, ban: &Ban) {
        self.push(Change::Ban(ban.clone()));
    }

    /// `by` and `reason`: where a person did it.
    pub fn unban(
        &mut self,
        jail: &JailName,
        target: Net,
        at: Timestamp,
        cause: UnbanCause,
        by: Option<&str>,
        reason: Option<&str>,
    ) {
        self.push(Change::Unban(Unban {
            jail: jail.clone(),
            target,
            at,
            cause,
            by: by.map(str::to_owned),
            reason: reason.map(str::to_owned),
            ban: None,
        }));
    }

    pub fn grace(&mut self, entry: &GraceEntry, by: &str, reason: Option<&str>) {
        let grace = Grace { until: entry.until, by: Some(by.to_owned()), reason: reason.map(str::to_owned) };
        let subject = match &entry.target {
            GraceTarget::Net(net) => Subject::Net(*net),
            GraceTarget::Account(account) => Subject::Account(account.clone()),
        };
        self.push(Change::Grace { subject, grace: Some(grace) });
    }

    /// `entry`: `None` where it was taken out.
    pub fn allow(&mut self, at: Timestamp, target: Net, entry: Option<&AllowEntry>) {
        let allow = entry.map(|entry| Allow {
            since: at,
            until: entry.until,
            by: Some(entry.by.clone()),
            reason: entry.reason.clone(),
        });
        self.push(Change::Allow { entry: target.to_string(), allow });
    }

    pub fn audit(&mut self, audit: Audit) {
        self.push(Change::Audit(audit));
    }

    /// The log at `path` was read so far.
    pub fn position(&mut self, path: &Arc<Path>, record: PositionRecord) {
        self.positions.insert(path.clone(), record);
    }

    fn push(&mut self, change: Change) {
        self.due = true;
        self.changes.push(change);
    }

    /// Makes the frame: what was gathered, what changed in the jails, and the positions. `all`: also attempts that
    /// are being counted together, before a question and at the end. `None`: nothing changed.
    pub fn take(&mut self, now: Timestamp, jails: &mut Jails, all: bool) -> Option<Frame> {
        jails.take_dirty(|dirty| self.changes.push(change_of(dirty)));
        for (path, record) in std::mem::take(&mut self.positions) {
            self.changes.push(Change::Position { path: PathBuf::from(&*path), record: Some(record) });
        }
        self.due = false;
        self.changes.take(now, all)
    }
}

/// A change of a jail's memory as the store keeps it.
fn change_of(dirty: Dirty) -> Change {
    match dirty {
        Dirty::Window { jail, key, window } => Change::Window { jail, key: Subject::Net(key), window },
        Dirty::History { jail, target, count, last_end } => {
            let history = History { count, last_since: Timestamp::default(), last_until: last_end };
            Change::History { jail: Some(jail), target, history: (count > 0).then_some(history) }
        }
        Dirty::Counters { jail, failures, banned_total } => {
            let counters = Counters { failures, successes: 0, bans: banned_total };
            Change::Counters { jail, counters: Some(counters) }
        }
    }
}

/// A ban's end as the store keeps it.
pub fn cause_of(cause: Cause) -> UnbanCause {
    match cause {
        Cause::Expired => UnbanCause::Expired,
        Cause::Unban => UnbanCause::Person,
        Cause::Allowed => UnbanCause::Allowed,
        Cause::Reload => UnbanCause::JailGone,
    }
}
