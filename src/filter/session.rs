//! What a filter remembers between lines: open connections by the session id that the server writes.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::addr::Host;
use crate::time::Timestamp;

/// A session not heard of for this long, in log time, is forgotten.
pub const SESSION_LIFE: Duration = Duration::from_secs(300);
/// Longer session ids are no ids. Bytes.
const SESSION_BYTES_MAX: usize = 128;
/// Longer accounts and password hashes are not remembered. Bytes.
const TEXT_BYTES_MAX: usize = 256;

/// State of the filters of one log. Stored with the position, so that a restart joins what it would have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FilterState {
    sessions: HashMap<SessionKey, Session>,
    /// In order of last mention; an entry whose `seen` differs from its session's is stale.
    order: VecDeque<(u64, SessionKey)>,
    mentions: u64,
    /// Time of the last line that matched.
    pub last: Option<Timestamp>,
}

/// Filter (hash of its name) and session id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct SessionKey(u64, Box<[u8]>);

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub host: Option<Host>,
    pub user: Option<Box<[u8]>>,
    pub pwhash: Option<Box<[u8]>>,
    /// Failures counted whose companion line has not come yet.
    unrepeated: u32,
    at: Timestamp,
    seen: u64,
}

/// What one line says of its session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'m> {
    pub host: Option<Host>,
    pub user: Option<&'m [u8]>,
    pub pwhash: Option<&'m [u8]>,
}

/// A filter's key in [`FilterState`]: stable over restarts.
pub fn filter_key(name: &str) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl FilterState {
    /// How many sessions are held.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Remembers what a line said of session `id`; what it did not say stays. `max`: sessions held at most,
    /// the ones not heard of for longest go first.
    pub fn note(&mut self, filter: u64, id: &[u8], said: Said<'_>, at: Timestamp, max: usize) {
        self.mention(filter, id, at, max, |session| {
            session.host = said.host.or(session.host);
            let kept = |text: Option<&[u8]>| text.filter(|text| text.len() <= TEXT_BYTES_MAX).map(Box::from);
            session.user = kept(said.user).or(session.user.take());
            session.pwhash = kept(said.pwhash).or(session.pwhash.take());
        });
    }

    /// A failure of session `id` was counted, and another line may still repeat it.
    pub fn counted(&mut self, filter: u64, id: &[u8], at: Timestamp, max: usize) {
        self.mention(filter, id, at, max, |session| {
            session.unrepeated = session.unrepeated.saturating_add(1);
        });
    }

    /// Whether a failure was counted for the attempt that this line of session `id` tells of; one line settles
    /// all that were counted before it.
    pub fn counts_already(&mut self, filter: u64, id: &[u8], at: Timestamp) -> bool {
        let repeats = self.repeats(filter, id, at);
        if let Some(session) = self.sessions.get_mut(&SessionKey(filter, id.into())).filter(|_| repeats) {
            session.unrepeated = 0;
        }
        repeats
    }

    /// Whether a companion line of session `id` repeats a failure counted before; it does so once.
    pub fn repeats(&mut self, filter: u64, id: &[u8], at: Timestamp) -> bool {
        if self.sessions.is_empty() || id.len() > SESSION_BYTES_MAX {
            return false;
        }
        let Some(session) = self.sessions.get_mut(&SessionKey(filter, id.into())) else { return false };
        if at.since(session.at) > SESSION_LIFE || session.unrepeated == 0 {
            return false;
        }
        session.unrepeated -= 1;
        true
    }

    fn mention(
        &mut self,
        filter: u64,
        id: &[u8],
        at: Timestamp,
        max: usize,
        change: impl FnOnce(&mut Session),
    ) {
        if id.is_empty() || id.len() > SESSION_BYTES_MAX {
            return;
        }
        self.expire(at);
        let key = SessionKey(filter, id.into());
        self.mentions += 1;
        let seen = self.mentions;
        let new = Session { host: None, user: None, pwhash: None, unrepeated: 0, at, seen };
        let session = self.sessions.entry(key.clone()).or_insert(new);
        change(session);
        session.at = at;
        session.seen = seen;
        self.order.push_back((seen, key));
        while self.sessions.len() > max {
            self.drop_oldest();
        }
        // Mentions of one session pile up in the queue; sweep before they outgrow what they stand for.
        if self.order.len() > self.sessions.len() * 2 + 64 {
            let sessions = &self.sessions;
            self.order.retain(|(seen, key)| sessions.get(key).is_some_and(|session| session.seen == *seen));
        }
    }

    /// What is known of session `id` at log time `at`.
    pub fn session(&self, filter: u64, id: &[u8], at: Timestamp) -> Option<&Session> {
        // Few filters join lines: do not build a key for the others.
        if self.sessions.is_empty() || id.len() > SESSION_BYTES_MAX {
            return None;
        }
        let session = self.sessions.get(&SessionKey(filter, id.into()))?;
        (at.since(session.at) <= SESSION_LIFE).then_some(session)
    }

    /// Session `id` has ended.
    pub fn forget(&mut self, filter: u64, id: &[u8]) {
        if !self.sessions.is_empty() && id.len() <= SESSION_BYTES_MAX {
            self.sessions.remove(&SessionKey(filter, id.into()));
        }
    }

    fn expire(&mut self, at: Timestamp) {
        while let Some((seen, key)) = self.order.front() {
            match self.sessions.get(key) {
                Some(session) if session.seen == *seen && at.since(session.at) <= SESSION_LIFE => break,
                Some(session) if session.seen == *seen => self.drop_oldest(),
                _ => {
                    self.order.pop_front();
                }
            }
        }
    }

    fn drop_oldest(&mut self) {
        while let Some((seen, key)) = self.order.pop_front() {
            if self.sessions.get(&key).is_some_and(|session| session.seen == seen) {
                self.sessions.remove(&key);
                return;
            }
        }
        self.sessions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn host(text: &str) -> Option<Host> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_session_is_known_until_it_ends_or_falls_silent() {
        let mut state = FilterState::default();
        state.note(1, b"a", Said { host: host("192.0.2.1"), ..Said::default() }, at(0), 10);
        state.note(1, b"a", Said { user: Some(b"alice"), ..Said::default() }, at(200), 10);
        let session = state.session(1, b"a", at(400)).unwrap();
        assert_eq!((session.host, session.user.as_deref()), (host("192.0.2.1"), Some(&b"alice"[..])));
        assert!(state.session(2, b"a", at(400)).is_none(), "another filter's");
        assert!(state.session(1, b"a", at(501)).is_none(), "silent for more than five minutes");
        state.forget(1, b"a");
        assert!(state.session(1, b"a", at(200)).is_none());
    }

    #[test]
    fn a_companion_line_repeats_a_failure_once() {
        let mut state = FilterState::default();
        assert!(!state.repeats(1, b"a", at(0)), "nothing counted");
        state.counted(1, b"a", at(0), 10);
        state.counted(1, b"a", at(1), 10);
        assert!(state.repeats(1, b"a", at(2)) && state.repeats(1, b"a", at(2)));
        assert!(!state.repeats(1, b"a", at(3)), "a third line is a third attempt");
        state.counted(1, b"a", at(10), 10);
        assert!(!state.repeats(2, b"a", at(11)), "another filter's");
        assert!(!state.repeats(1, b"a", at(400)), "too late to belong to it");
    }

    #[test]
    fn one_line_settles_what_was_counted_for_its_attempt() {
        let mut state = FilterState::default();
        assert!(!state.counts_already(1, b"a", at(0)), "nothing counted");
        state.counted(1, b"a", at(0), 10);
        state.counted(1, b"a", at(1), 10);
        assert!(state.counts_already(1, b"a", at(2)));
        assert!(!state.counts_already(1, b"a", at(3)), "the second password is another attempt");
    }

    #[test]
    fn the_longest_silent_session_goes_first_and_the_cap_holds() {
        let mut state = FilterState::default();
        for n in 0..1000u32 {
            state.note(1, b"kept", Said { host: host("192.0.2.1"), ..Said::default() }, at(0), 10);
            state.note(1, &n.to_le_bytes(), Said { host: host("192.0.2.2"), ..Said::default() }, at(0), 10);
            assert!(state.len() <= 10 && state.order.len() <= 90);
        }
        assert!(state.session(1, b"kept", at(0)).is_some());
        assert!(state.session(1, &0u32.to_le_bytes(), at(0)).is_none());
        let bytes = postcard::to_stdvec(&state).unwrap();
        let back: FilterState = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.len(), 10);
    }
}
