//! What lines of one connection (`<F-MLFID>`) say together.
//!
//! At most [`SESSIONS_MAX`] connections are remembered, each [`SESSION_SECS`] from its first line on, as in
//! fail2ban. A later line overwrites what earlier ones said; users are collected, since an access granted to
//! one user is no pardon for tries of another.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Line;
use super::pattern::{Groups, Value};
use crate::filter::word::word;
use crate::time::Timestamp;

/// Connections remembered by one filter.
pub const SESSIONS_MAX: usize = 100;
/// How long after its first line a connection is remembered. Seconds.
pub const SESSION_SECS: i64 = 300;
/// Users and lines kept of one connection; a client can write as many as it likes.
const USERS_MAX: usize = 8;
const LINES_MAX: usize = 1000;
const LINES_BYTES_MAX: usize = 64 * 1024;

/// What is known of a failure, or of a connection on the way to one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Failure {
    pub groups: Groups,
    /// Distinct users tried on the connection.
    pub users: Vec<String>,
    /// Lines that make the failure.
    pub matches: Vec<Arc<Line>>,
    /// Lines that became part of it only if a failure follows.
    pub nofail_matches: Vec<Arc<Line>>,
    /// A failure was seen whose address is not known yet.
    pub pending: bool,
}

impl Failure {
    fn note_user(&mut self, user: Option<&str>) {
        let Some(user) = user.filter(|user| !user.is_empty()) else { return };
        if !self.users.iter().any(|known| known == user) && self.users.len() < USERS_MAX {
            self.users.push(user.to_owned());
        }
    }
}

fn append(lines: &mut Vec<Arc<Line>>, more: impl IntoIterator<Item = Arc<Line>>) {
    let mut bytes = bytes_of(lines);
    for line in more {
        bytes += line.whole.len();
        if lines.len() >= LINES_MAX || bytes > LINES_BYTES_MAX {
            return;
        }
        lines.push(line);
    }
}

fn bytes_of(lines: &[Arc<Line>]) -> usize {
    lines.iter().map(|line| line.whole.len()).sum()
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    id: String,
    /// [`mark_of`] the id.
    #[serde(skip)]
    mark: u64,
    until: Timestamp,
    failure: Failure,
}

impl Session {
    /// About what it takes when it is stored: lines twice, with and without their dates.
    fn bytes(&self) -> usize {
        let Failure { groups, users, matches, nofail_matches, .. } = &self.failure;
        let users: usize = users.iter().map(String::len).sum();
        64 + self.id.len() + groups.bytes() + users + 2 * (bytes_of(matches) + bytes_of(nofail_matches))
    }
}

/// What tells most ids apart without a look at where they lie: how long one is, and its end, where processes have numbers.
fn mark_of(id: &str) -> u64 {
    let end = id.len().saturating_sub(8);
    word(&id.as_bytes()[end..]) ^ (id.len() as u64) << 56
}

/// The remembered connections, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "VecDeque<Session>")]
pub struct Sessions(VecDeque<Session>);

impl From<VecDeque<Session>> for Sessions {
    fn from(mut stored: VecDeque<Session>) -> Sessions {
        stored.iter_mut().for_each(|session| session.mark = mark_of(&session.id));
        Sessions(stored)
    }
}

impl Sessions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the oldest until the rest takes no more than about `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let mut left = bytes;
        let fit = self.0.iter().rev().take_while(|session| {
            let size = session.bytes();
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        let kept = fit.count();
        self.0.drain(..self.0.len() - kept);
    }

    /// Where connection `id` is; mostly it is one of the last.
    fn find(&self, id: &str) -> Option<usize> {
        let mark = mark_of(id);
        self.0.iter().rposition(|session| session.mark == mark && session.id == id)
    }

    fn take(&mut self, id: &str, now: Timestamp) -> Option<Failure> {
        let at = self.find(id)?;
        if self.0[at].until <= now {
            self.0.remove(at);
            return None;
        }
        Some(std::mem::take(&mut self.0[at].failure))
    }

    fn open(&mut self, id: &str, now: Timestamp) {
        if self.0.len() >= SESSIONS_MAX {
            // From the oldest on: all that are over, and one that is not.
            let over = self.0.iter().take_while(|session| session.until <= now).count();
            self.0.drain(..(over + 1).min(self.0.len()));
        }
        let until = Timestamp::from_micros(now.micros().saturating_add(SESSION_SECS * 1_000_000));
        self.0.push_back(Session {
            id: id.to_owned(),
            mark: mark_of(id),
            until,
            failure: Failure::default(),
        });
    }

    fn forget(&mut self, id: &str) {
        if let Some(at) = self.find(id) {
            self.0.remove(at);
        }
    }

    /// Puts back what [`Sessions::merge`] gave, unless the connection was forgotten.
    pub fn keep(&mut self, id: &str, failure: &Failure) {
        if let Some(at) = self.find(id) {
            self.0[at].failure = failure.clone();
        }
    }

    /// Joins the groups of one match with what is known of connection `id`.
    ///
    /// `lines`: those the match covers. The result has a true `nofail` if this is no failure.
    pub fn merge(&mut self, id: &str, mut groups: Groups, lines: &[Arc<Line>], now: Timestamp) -> Failure {
        let mut gained = groups.is_true("mlfgained");
        if gained && !groups.is_true("nofail") {
            let value = groups.get("mlfgained").cloned();
            groups.set("nofail", value);
        }
        let mut nofail = groups.is_true("nofail");
        let forget = groups.is_true("mlfforget");
        groups.remove("mlfforget");

        let user = groups.text("user").map(str::to_owned);
        let mut failure = match self.take(id, now) {
            Some(mut known) => {
                known.note_user(user.as_deref());
                let was_nofail = [known.groups.remove("nofail"), known.groups.remove("mlfgained")];
                let was_nofail =
                    was_nofail.iter().flatten().any(|v| !matches!(v, Value::Text(text) if text.is_empty()));
                if gained {
                    known.pending = false;
                }
                if !was_nofail && !known.pending {
                    known.matches.clear();
                }
                known.groups.update(groups);
                if forget {
                    self.forget(id);
                }
                known
            }
            None => {
                let mut fresh = Failure { groups, ..Failure::default() };
                if !forget {
                    fresh.note_user(user.as_deref());
                    self.open(id, now);
                }
                fresh
            }
        };
        if std::mem::take(&mut failure.pending) || failure.users.len() > 1 {
            failure.groups.remove("nofail");
            failure.groups.remove("mlfgained");
            (nofail, gained) = (false, false);
        }
        if !nofail {
            let mut matches = std::mem::take(&mut failure.nofail_matches);
            append(&mut matches, std::mem::take(&mut failure.matches));
            if !gained {
                append(&mut matches, lines.iter().cloned());
            }
            failure.matches = matches;
        } else if !forget {
            append(&mut failure.nofail_matches, lines.iter().cloned());
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(pairs: &[(&str, &str)]) -> Groups {
        let mut groups = Groups::default();
        for (name, value) in pairs {
            groups.set(name, Some(Value::Text((*value).to_owned())));
        }
        groups
    }

    fn line() -> Vec<Arc<Line>> {
        vec![Arc::new(Line::new("", "", "x"))]
    }

    fn say(sessions: &mut Sessions, secs: i64, pairs: &[(&str, &str)]) -> Failure {
        let failure = sessions.merge("c1", groups(pairs), &line(), Timestamp::from_secs(secs));
        sessions.keep("c1", &failure);
        failure
    }

    #[test]
    fn a_later_line_overwrites_and_earlier_ones_fill_in() {
        let mut sessions = Sessions::default();
        assert!(
            say(&mut sessions, 0, &[("nofail", "y"), ("ip4", "192.0.2.1"), ("user", "ana")])
                .groups
                .is_true("nofail")
        );
        let failure = say(&mut sessions, 1, &[("user", "ana"), ("why", "bad")]);
        assert!(!failure.groups.is_true("nofail"));
        assert_eq!(failure.groups.text("ip4"), Some("192.0.2.1"));
        assert_eq!(failure.matches.len(), 2, "the line that was no failure belongs to it now");
    }

    #[test]
    fn access_gained_pardons_one_user_but_not_two() {
        let gained: &[(&str, &str)] = &[("mlfgained", "y"), ("user", "ana")];
        let mut sessions = Sessions::default();
        say(&mut sessions, 0, &[("user", "ana"), ("ip4", "192.0.2.1")]);
        assert!(say(&mut sessions, 1, gained).groups.is_true("nofail"));
        let mut sessions = Sessions::default();
        say(&mut sessions, 0, &[("user", "bob"), ("ip4", "192.0.2.1")]);
        assert!(!say(&mut sessions, 1, gained).groups.is_true("nofail"));
    }

    #[test]
    fn a_connection_is_forgotten_at_its_end_and_after_five_minutes() {
        let mut sessions = Sessions::default();
        say(&mut sessions, 0, &[("nofail", "y"), ("ip4", "192.0.2.1")]);
        assert_eq!(say(&mut sessions, 299, &[("mlfforget", "y")]).groups.text("ip4"), Some("192.0.2.1"));
        assert!(sessions.0.is_empty());
        say(&mut sessions, 300, &[("nofail", "y"), ("ip4", "192.0.2.1")]);
        assert_eq!(say(&mut sessions, 600, &[("a", "b")]).groups.text("ip4"), None);
    }

    #[test]
    fn what_was_stored_is_found_again() {
        let mut sessions = Sessions::default();
        say(&mut sessions, 0, &[("nofail", "y"), ("ip4", "192.0.2.1")]);
        let stored = postcard::to_stdvec(&sessions).unwrap();
        let mut sessions: Sessions = postcard::from_bytes(&stored).unwrap();
        assert_eq!(say(&mut sessions, 1, &[("user", "ana")]).groups.text("ip4"), Some("192.0.2.1"));
    }

    #[test]
    fn no_more_than_a_hundred_connections_are_remembered() {
        let mut sessions = Sessions::default();
        for n in 0..150 {
            sessions.merge(&format!("c{n}"), Groups::default(), &line(), Timestamp::from_secs(0));
        }
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
    }
}
