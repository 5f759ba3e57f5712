//! [`Actions`]: what the engine tells of bans, sorted onto the lanes. Every call returns at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::book::Book;
use super::definition::{Definition, Verb};
use super::lane::{Job, Lane, Report, Tell};
use super::ticket::Ticket;
use crate::addr::Net;
use crate::filter::Attempt;
use crate::jail::{Ban, JailCounts, JailName, JailSettings};
use crate::limits::Limits;
use crate::time::{Clock, Span};

/// How long lifting and stopping may take in all when the daemon stops.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// Lines of evidence for one address where the jail says nothing.
pub const MATCHES_DEFAULT: usize = 5;

/// A jail's actions as configured.
pub struct JailActions<'a> {
    pub jail: &'a JailName,
    pub actions: &'a [Arc<Definition>],
    pub bantime: Span,
    /// Somebody else asks for what the log says.
    pub watched: bool,
    /// Lines kept for `<matches>`.
    pub matches_max: usize,
}

/// An action that is told of bans.
struct Live {
    definition: Arc<Definition>,
    /// Bans it was told of, and not of their end.
    told: HashSet<Net>,
}

/// Every action of every jail.
pub struct Actions {
    queue_max: usize,
    clock: Arc<dyn Clock>,
    tell: Tell,
    lanes: BTreeMap<String, Lane>,
    jails: BTreeMap<JailName, Vec<Live>>,
    book: Book,
}

impl Actions {
    /// `tell` is called from other threads.
    pub fn new(
        limits: &Limits,
        clock: Arc<dyn Clock>,
        tell: impl Fn(Report) + Send + Sync + 'static,
    ) -> Actions {
        Actions {
            queue_max: limits.actions_queue_max,
            clock,
            tell: Arc::new(tell),
            lanes: BTreeMap::new(),
            jails: BTreeMap::new(),
            book: Book::new(limits.actions_evidence_bytes_max),
        }
    }

    /// Takes over the configuration: new actions are started and told of `bans` as restored, those that are no more are
    /// stopped, changed ones are reloaded if they know how and else stopped and started.
    ///
    /// # Errors
    /// No thread for an action; that action is left out.
    pub fn configure<'a>(
        &mut self,
        jails: impl Iterator<Item = JailActions<'a>>,
        bans: impl Fn(&JailName) -> Vec<Ban>,
    ) -> std::io::Result<()> {
        let mut old = std::mem::take(&mut self.jails);
        let mut books = HashMap::new();
        let mut result = Ok(());
        for JailActions { jail, actions, bantime, watched, matches_max } in
            jails.filter(|jail| jail.watched || !jail.actions.is_empty())
        {
            let bantime_secs = match bantime {
                Span::For(span) => span.as_secs() as i64,
                Span::Forever => -1,
            };
            if watched || actions.iter().any(|action| action.wants_log()) {
                books.insert(jail.clone(), matches_max);
            }
            let mut before = old.remove(jail).unwrap_or_default();
            let mut live = Vec::new();
            for definition in actions {
                let known = before.iter().position(|known| known.definition.name == definition.name);
                match known.map(|at| before.swap_remove(at)) {
                    Some(same) if same.definition == *definition => live.push(same),
                    Some(other)
                        if definition.command(Verb::Reload).is_some()
                            && other.definition.file == definition.file =>
                    {
                        let (key, definition) = ((jail.clone(), definition.name.clone()), definition.clone());
                        let job = Job::Redefine { key, definition: definition.clone(), bantime_secs };
                        self.lanes[&definition.file].post(job);
                        live.push(Live { definition, told: other.told });
                    }
                    other => {
                        other.iter().for_each(|other| self.stop(jail, other));
                        match self.start(jail, definition, bantime_secs, &bans) {
                            Ok(started) => live.push(started),
                            Err(why) => result = Err(why),
                        }
                    }
                }
            }
            before.iter().for_each(|gone| self.stop(jail, gone));
            self.jails.insert(jail.clone(), live);
        }
        for (jail, gone) in &old {
            gone.iter().for_each(|gone| self.stop(jail, gone));
        }
        self.book.configure(books);
        // A lane that has no more actions ends by itself when it is through.
        let used: HashSet<&String> =
            self.jails.values().flatten().map(|live| &live.definition.file).collect();
        let unused: Vec<String> = self.lanes.keys().filter(|file| !used.contains(file)).cloned().collect();
        for file in unused {
            if let Some(lane) = self.lanes.remove(&file) {
                lane.finish();
            }
        }
        result
    }

    fn start(
        &mut self,
        jail: &JailName,
        definition: &Arc<Definition>,
        bantime_secs: i64,
        bans: &impl Fn(&JailName) -> Vec<Ban>,
    ) -> std::io::Result<Live> {
        let file = definition.file.clone();
        if !self.lanes.contains_key(&file) {
            let lane = Lane::start(&file, self.queue_max, self.clock.clone(), self.tell.clone())?;
            self.lanes.insert(file.clone(), lane);
        }
        let key = (jail.clone(), definition.name.clone());
        self.lanes[&file].post(Job::Start { key, definition: definition.clone(), bantime_secs });
        let mut live = Live { definition: definition.clone(), told: HashSet::new() };
        if !definition.norestored {
            for ban in bans(jail) {
                let ticket = Arc::new(Ticket::of(&ban, true, JailCounts::default()));
                tell_ban(&self.lanes, &self.tell, jail, &mut live, &ticket);
            }
        }
        Ok(live)
    }

    fn stop(&self, jail: &JailName, live: &Live) {
        if let Some(lane) = self.lanes.get(&live.definition.file) {
            lane.post(Job::Stop { key: (jail.clone(), live.definition.name.clone()) });
        }
    }

    /// A failure that counted in `jail`: remembered if an action wants to know of it.
    pub fn saw(&mut self, jail: &JailSettings, attempt: &Attempt<'_>) {
        if let Some(host) = attempt.host.filter(|_| self.book.keeps(&jail.name)) {
            let key = attempt.beside.prefix.map_or_else(|| jail.key_of(host), |prefix| Net::of(host, prefix));
            let user = attempt.user.map(|user| ("user", user));
            let fields = attempt.beside.fields.iter().map(|(name, value)| (*name, value.as_bytes()));
            let lines = attempt.beside.lines.iter().map(|line| line.as_bytes());
            let line = attempt.beside.lines.is_empty().then_some(attempt.line);
            let seen = (lines.chain(line), user.into_iter().chain(fields));
            self.book.saw(&jail.name, key, attempt.times, seen.0, seen.1);
        }
    }

    /// Puts what was seen of a ticket's target into it.
    pub fn tell_evidence(&self, jail: &JailName, ticket: &mut Ticket) {
        if !self.book.keeps(jail) {
            return;
        }
        ticket.evidence = self.book.evidence(jail, ticket.target);
        let (lines, failures) = self.book.everywhere(ticket.target);
        ticket.ip_matches = lines;
        ticket.ip_jail_matches = ticket.evidence.matches.clone();
        ticket.ip_failures.0 = failures.max(ticket.failures);
    }

    /// Whether `jail` has an action.
    pub fn has(&self, jail: &JailName) -> bool {
        self.jails.get(jail).is_some_and(|actions| !actions.is_empty())
    }

    /// A ban was made, or made longer. `restored`: it stood before this start.
    pub fn ban(&mut self, ban: &Ban, restored: bool, counts: JailCounts) {
        if !self.has(&ban.jail) {
            return;
        }
        let mut ticket = Ticket::of(ban, restored, counts);
        self.tell_evidence(&ban.jail, &mut ticket);
        let ticket = Arc::new(ticket);
        for live in self.jails.get_mut(&ban.jail).into_iter().flatten() {
            tell_ban(&self.lanes, &self.tell, &ban.jail, live, &ticket);
        }
    }

    /// A ban is over or lifted.
    pub fn unban(&mut self, jail: &JailName, target: Net) {
        let Some(actions) = self.jails.get_mut(jail) else { return };
        for live in actions {
            if live.told.remove(&target) {
                let key = (jail.clone(), live.definition.name.clone());
                self.lanes[&live.definition.file].post(Job::Unban { key, target });
            }
        }
        self.book.forget(jail, target);
    }

    /// The daemon stops: every action lifts what it holds and stops, as the commands expect. The next start tells it of
    /// the bans anew. What is not done after `time` is left; commands that still run are killed.
    pub fn close(&mut self, time: Duration) {
        let jails = std::mem::take(&mut self.jails);
        for (file, lane) in &self.lanes {
            let here = jails.iter().flat_map(|(jail, actions)| {
                let here = actions.iter().filter(|live| live.definition.file == *file);
                here.map(|live| (jail.clone(), live.definition.name.clone()))
            });
            lane.close(here);
        }
        let start = self.clock.monotonic();
        while self.lanes.values().any(|lane| !lane.is_done())
            && self.clock.monotonic().saturating_sub(start) < time
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        for lane in self.lanes.values() {
            lane.give_up();
        }
        for lane in std::mem::take(&mut self.lanes).into_values() {
            lane.join();
        }
    }
}

fn tell_ban(
    lanes: &BTreeMap<String, Lane>,
    tell: &Tell,
    jail: &JailName,
    live: &mut Live,
    ticket: &Arc<Ticket>,
) {
    let lane = &lanes[&live.definition.file];
    let key = (jail.clone(), live.definition.name.clone());
    if lane.post(Job::Ban { key, ticket: ticket.clone() }) {
        live.told.insert(ticket.target);
    } else if lane.overflow_is_new() {
        tell(Report::Overflow { file: live.definition.file.clone() });
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
