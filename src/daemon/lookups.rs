//! Host names that a log gives in place of addresses, where `usedns = yes` asks for them.
//!
//! A resolver may take as long as it likes, so nothing waits for it: the failure is kept, the name asked in the
//! background, and the failure counts for every address of the answer, at the time its line said. Who writes the log
//! chooses the names, so everything here has a cap.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::engine::Engine;
use super::inbox::{Letter, Letters};
use super::names;
use crate::addr::Host;
use crate::filter::{Attempt, Beside, Outcome};
use crate::jail::{Action, JailName, Seen};
use crate::time::Timestamp;

/// Failures waiting for an answer. Beyond, they are dropped and counted.
const WAITING_MAX: usize = 1000;
/// Names asked at the same time.
const ASKED_MAX: usize = 8;
/// Answers remembered. Names.
const KNOWN_MAX: usize = 1000;
/// How long an answer holds, as in fail2ban. Seconds.
const KNOWN_SECS: u64 = 300;
/// A longer text is no host name. Bytes.
const NAME_BYTES_MAX: usize = 253;

/// A failure whose address is not known yet.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub jail: JailName,
    pub live: bool,
    pub path: Arc<Path>,
    user: Option<Vec<u8>>,
    time: Option<Timestamp>,
    line: Vec<u8>,
    filter: usize,
    pattern: usize,
}

impl Waiting {
    pub fn new(jail: JailName, live: bool, path: &Arc<Path>, attempt: &Attempt<'_>) -> Waiting {
        Waiting {
            jail,
            live,
            path: path.clone(),
            user: attempt.user.map(<[u8]>::to_vec),
            time: attempt.time,
            line: attempt.line.to_vec(),
            filter: attempt.filter,
            pattern: attempt.pattern,
        }
    }

    fn attempt(&self, host: Host) -> Attempt<'_> {
        Attempt {
            outcome: Outcome::Failure,
            host: Some(host),
            user: self.user.as_deref(),
            pwhash: None,
            time: self.time,
            times: 1,
            line: &self.line,
            line_index: 0,
            filter: self.filter,
            pattern: self.pattern,
            beside: Beside::default(),
        }
    }
}

/// A name's addresses; none where it has none, or nobody answered.
#[derive(Debug)]
pub struct Answer {
    name: String,
    hosts: Vec<Host>,
}

/// Names being asked, and what waits for them.
pub struct Lookups {
    known: HashMap<String, (Timestamp, Vec<Host>)>,
    waiting: HashMap<String, Vec<Waiting>>,
    waits: usize,
    /// Names that wait for their turn to be asked.
    queue: VecDeque<String>,
    asked: usize,
    /// Failures whose name is answered.
    ready: Vec<(Waiting, Vec<Host>)>,
    dropped: u64,
    letters: Letters,
}

impl Lookups {
    pub fn new(letters: Letters) -> Lookups {
        Lookups {
            known: HashMap::new(),
            waiting: HashMap::new(),
            waits: 0,
            queue: VecDeque::new(),
            asked: 0,
            ready: Vec::new(),
            dropped: 0,
            letters,
        }
    }

    /// Keeps a failure until the addresses of `name` are known.
    pub fn ask(&mut self, now: Timestamp, name: &str, waiting: Waiting) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some((until, hosts)) = self.known.get(&name).filter(|(until, _)| *until > now) {
            debug_assert!(*until > now, "filtered");
            self.ready.push((waiting, hosts.clone()));
            return;
        }
        if self.waits >= WAITING_MAX || name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.waits += 1;
        match self.waiting.get_mut(&name) {
            Some(others) => others.push(waiting),
            None => {
                self.waiting.insert(name.clone(), vec![waiting]);
                self.queue.push_back(name);
            }
        }
    }

    /// Asks for names whose turn it is. Within the runtime only.
    fn ask_on(&mut self) {
        while self.asked < ASKED_MAX
            && let Some(name) = self.queue.pop_front()
        {
            self.asked += 1;
            let letters = self.letters.clone();
            tokio::task::spawn_blocking(move || {
                let hosts = names::lookup(&name).unwrap_or_default();
                // A daemon that is stopping waits for nobody.
                letters.post(Letter::Lookup(Answer { name, hosts }));
            });
        }
    }

    fn answered(&mut self, now: Timestamp, answer: Answer) {
        let Answer { name, hosts } = answer;
        self.asked -= 1;
        for waiting in self.waiting.remove(&name).unwrap_or_default() {
            self.waits -= 1;
            self.ready.push((waiting, hosts.clone()));
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, (until, _)| *until > now);
        }
        if self.known.len() < KNOWN_MAX {
            let until = now.plus(std::time::Duration::from_secs(KNOWN_SECS));
            self.known.insert(name, (until, hosts));
        }
    }
}

impl Engine {
    /// An answer came.
    pub(super) fn on_lookup(&mut self, answer: Answer) {
        let now = self.clock.now();
        self.lookups.answered(now, answer);
        let mut actions = Vec::new();
        self.count_lookups(now, &mut actions);
        self.perform(actions, None, now);
        self.flush(now);
    }

    /// Counts failures whose addresses are known by now, and asks for those of others.
    pub(super) fn count_lookups(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.lookups.ask_on();
        for (waiting, hosts) in std::mem::take(&mut self.lookups.ready) {
            let Some(jail) = self.jails.id(waiting.jail.as_str()) else { continue };
            for host in hosts {
                let attempt = waiting.attempt(host);
                let seen = self.jails.attempt(now, waiting.live, jail, &attempt, actions);
                self.fail2ban_log.attempt(now, self.jails.settings(jail), &attempt, seen);
                if matches!(seen, Seen::Counted | Seen::Banned) {
                    self.actions.saw(self.jails.settings(jail), &attempt);
                }
                if matches!(seen, Seen::Counted | Seen::Banned | Seen::AlreadyBanned) {
                    self.recorder.attempt(now, Some(&waiting.jail), &waiting.path, &attempt);
                }
            }
        }
        if self.lookups.dropped > 0 {
            let text = format!(
                "more than {WAITING_MAX} failures waited for the addresses of their host names (usedns = yes); some did \
                 not count"
            );
            self.note(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::inbox::inbox;

    fn waiting() -> Waiting {
        Waiting {
            jail: JailName::new("x").expect("a name"),
            live: true,
            path: Arc::from(Path::new("/log")),
            user: None,
            time: None,
            line: Vec::new(),
            filter: 0,
            pattern: 0,
        }
    }

    #[test]
    fn a_name_is_asked_once_for_all_who_wait_and_its_answer_holds_a_while() {
        let (letters, _inbox) = inbox().expect("an inbox");
        let mut lookups = Lookups::new(letters);
        let now = Timestamp::from_secs(1000);
        lookups.ask(now, "Mail.example.org.", waiting());
        lookups.ask(now, "mail.example.org", waiting());
        assert_eq!((lookups.queue.len(), lookups.waits), (1, 2));
        lookups.asked = 1;
        let host: Host = "203.0.113.7".parse().expect("an address");
        lookups.answered(now, Answer { name: "mail.example.org".to_owned(), hosts: vec![host] });
        assert_eq!((lookups.ready.len(), lookups.waits), (2, 0));
        lookups.ready.clear();
        lookups.ask(now, "mail.example.org", waiting());
        assert_eq!(lookups.ready.len(), 1, "known");
        lookups.ask(Timestamp::from_secs(1300), "mail.example.org", waiting());
        assert_eq!((lookups.ready.len(), lookups.waits), (1, 1), "asked anew");
    }

    #[test]
    fn a_flood_of_names_stays_under_the_cap() {
        let (letters, _inbox) = inbox().expect("an inbox");
        let mut lookups = Lookups::new(letters);
        let now = Timestamp::from_secs(1000);
        for number in 0..3000 {
            lookups.ask(now, &format!("n{number}.example.org"), waiting());
        }
        lookups.ask(now, &"x".repeat(300), waiting());
        assert_eq!((lookups.waits, lookups.waiting.len(), lookups.dropped), (WAITING_MAX, WAITING_MAX, 2001));
        for number in 0..3000 {
            lookups.asked += 1;
            lookups.answered(now, Answer { name: format!("a{number}"), hosts: Vec::new() });
        }
        assert_eq!(lookups.known.len(), KNOWN_MAX);
    }
}
