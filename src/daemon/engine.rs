//! The running daemon: reads a log's block, decides, enforces, records, and looks around at each sweep. `run` is the loop
//! that has it do so.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::actions::{Asked, Told};
use super::desk::Desks;
use super::enforcer::Enforcer;
use super::fail2ban_log::Fail2banLog;
use super::inbox::{Letter, Letters};
use super::load::Filters;
use super::lookups::{Lookups, Waiting};
use super::names;
use super::recorder::{Recorder, cause_of};
use super::shadow::Shadow;
use super::surroundings;
use crate::action::{Actions, STOP_TIME_MAX, Verdicts};
use crate::addr::Net;
use crate::config::{Config, Problem, Setup};
use crate::fail2ban::log::Event;
use crate::firewall::KernelBan;
use crate::jail::{Action, Ban, Cause, Jails, Never, Origin, Seen};
use crate::source::Tailer;
use crate::store::{self, Handle, PositionRecord};
use crate::time::{Clock, Span, Timestamp, show_duration};

/// Who asks is answered between two blocks: one should take no longer than this.
const BLOCK_TIME: Duration = Duration::from_millis(4);

/// How often the list of what is never banned, and the firewall, are looked at without being asked to. Sweeps.
const SURROUNDINGS_SWEEPS: u32 = 8;
const FIREWALL_SWEEPS: u32 = 16;

/// Positions alone wait this long for something to go with: lines that led to nothing may be read again. Sweeps.
const POSITION_SWEEPS: u32 = 3;

/// The wall clock jumped if it moved by this much between two sweeps beside the monotonic one; slewing is less.
const CLOCK_JUMP: Duration = Duration::from_secs(2);

/// Notes kept for `status`. Lines.
const NOTES_MAX: usize = 20;

/// The running daemon.
pub struct Engine {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started: Duration,
    /// The wall clock less the monotonic one at the last sweep; it moves when the wall clock jumps.
    pub(super) clock_offset: i64,
    pub(super) setup: Setup,
    pub(super) config: Config,
    /// Bad jails of the configuration, for `status`; a jail of that name may guard on in its last good form.
    pub(super) problems: Vec<Problem>,
    pub(super) filters: Filters,
    pub(super) jails: Jails,
    pub(super) enforcer: Enforcer,
    /// The commands that are told of bans, after the firewall.
    pub(super) actions: Actions,
    /// Who is asked before a ban, and what waits for the answer.
    pub(super) verdicts: Verdicts,
    pub(super) asked: Asked,
    pub(super) store: Handle,
    pub(super) tailer: Tailer,
    pub(super) desks: Desks,
    pub(super) recorder: Recorder,
    /// What a person should know, for `status`.
    pub(super) notes: Vec<String>,
    /// For whoever has something for the loop later, from another thread.
    pub(super) letters: Letters,
    pub(super) never: Vec<(Never, Vec<Net>)>,
    /// Whether every log was read to its end once.
    pub(super) caught_up: bool,
    pub(super) names: Option<tokio::task::JoinHandle<()>>,
    /// Host names in logs, where a jail asks for them.
    pub(super) lookups: Lookups,
    pub(super) fail2ban_log: Fail2banLog,
    /// In shadow mode.
    pub(super) shadow: Option<Shadow>,
}

impl Engine {
    /// Reads, decides and enforces one block. False: every log is read to its end.
    pub(super) fn read(&mut self) -> bool {
        let begun = self.clock.monotonic();
        let more = self.read_block();
        if more {
            self.tailer.took(self.clock.monotonic().saturating_sub(begun), BLOCK_TIME);
        }
        more
    }

    fn read_block(&mut self) -> bool {
        let now = self.clock.now();
        let mut actions = Vec::new();
        let read;
        let Engine {
            tailer, desks, jails, recorder, fail2ban_log, shadow, lookups, actions: commands, ..
        } = self;
        match tailer.next_block() {
            None => {
                if !self.caught_up {
                    self.on_caught_up(now);
                }
                self.flush(now);
                return false;
            }
            Some(Err(why)) => {
                warn!("{why}");
                return true;
            }
            Some(Ok(block)) => {
                if let Some(shadow) = shadow {
                    shadow.read(block.path, block.bytes, now);
                }
                let desk = desks.of(block.log, block.path);
                for (bench, state) in &mut desk.benches {
                    bench.scan(state, now, block.bytes, &mut |attempt| {
                        if let Some(name) = attempt.beside.name {
                            for &jail in &bench.jails[attempt.filter] {
                                let jail = jails.settings(jail).name.clone();
                                let waiting = Waiting::new(jail, block.live, block.path, &attempt);
                                lookups.ask(now, name, waiting);
                            }
                            return;
                        }
                        let mut counted = None;
                        let mut kept = false;
                        for &jail in &bench.jails[attempt.filter] {
                            let seen = jails.attempt(now, block.live, jail, &attempt, &mut actions);
                            fail2ban_log.attempt(now, jails.settings(jail), &attempt, seen);
                            kept |= matches!(
                                seen,
                                Seen::Counted | Seen::Banned | Seen::AlreadyBanned | Seen::Success
                            );
                            if matches!(seen, Seen::Counted | Seen::Banned) {
                                counted = counted.or(Some(jail));
                                commands.saw(jails.settings(jail), &attempt);
                            }
                        }
                        if kept {
                            let name = counted.map(|jail| &jails.settings(jail).name);
                            recorder.attempt(now, name, block.path, &attempt);
                        }
                    });
                }
                read = (block.log, block.path.clone());
            }
        }
        self.count_lookups(now, &mut actions);
        self.perform(actions, None, now);
        // Only now: a ban does not wait for it.
        let (log, path) = read;
        let filter_state = self.desks.of(log, &path).state();
        if let Some(after) = self.tailer.position(log) {
            self.recorder.position(&path, PositionRecord { filter_state, ..PositionRecord::of(after) });
        }
        if self.recorder.due() {
            self.flush(now);
        }
        true
    }

    /// Does what the jails decided: enforce first, then log and record. `by`: the person, and his reason, for whom.
    pub(super) fn perform(&mut self, actions: Vec<Action>, by: Option<(&str, Option<&str>)>, now: Timestamp) {
        self.enforce(&actions, now);
        if !actions.is_empty() {
            self.tell_of(actions, by, now);
        }
        self.cut();
        self.fail2ban_log.send();
    }

    /// Logs and records what the firewall knows by now.
    #[inline(never)]
    fn tell_of(&mut self, actions: Vec<Action>, by: Option<(&str, Option<&str>)>, now: Timestamp) {
        let mut told = Vec::new();
        let mut asks = Vec::new();
        for action in actions {
            match action {
                Action::Ban(ban) => {
                    if let Some(left) = ban.left(now) {
                        log_ban(&ban, left);
                        self.recorder.ban(&ban);
                        let id = self.jails.id(ban.jail.as_str());
                        if let Some(shadow) = &mut self.shadow {
                            shadow.ban(&ban);
                        }
                        self.fail2ban_log.ban(now, &ban, id.map(|id| self.jails.settings(id)));
                        told.push(Told::Ban(ban));
                    }
                }
                Action::Unban { jail, target, at, cause } => {
                    info!(%jail, %target, cause = ?cause, "unban");
                    let (who, reason) = by.unzip();
                    self.recorder.unban(&jail, target, at, cause_of(cause), who, reason.flatten());
                    self.fail2ban_log.write(now, jail.as_str(), target, Event::Unban);
                    if let Some(shadow) = &mut self.shadow {
                        shadow.unban(&jail, target, at);
                    }
                    told.push(Told::Unban(jail, target));
                }
                Action::Ineffective { jail, target } => {
                    self.fail2ban_log.write(now, jail.as_str(), target, Event::AlreadyBanned);
                    let why = self.why_ineffective(&jail);
                    self.note(format!("jail {jail}: failures of {target} go on after its ban; {why}"));
                    let marked = self.jails.bans_of(target).into_iter();
                    if let Some(ban) = marked.into_iter().find(|ban| ban.jail == jail && ban.target == target)
                    {
                        self.recorder.ban(&ban);
                    }
                }
                Action::ClockOff { jail, log, now } => {
                    let off = now.since(log).max(log.since(now));
                    self.note(format!(
                        "jail {jail}: a line written now has a date {} off this host's clock and counted as now; \
                         is the jail's timezone right?",
                        show_duration(off)
                    ));
                }
                Action::AllowSetChanged => {}
                Action::Ask { jail, target, last, failures } => {
                    asks.push((jail, target, (last, failures)));
                }
                Action::BansFull { jail, target } => {
                    self.note(format!("jail {jail}: {target} was not banned: limits.bans_max is reached"));
                }
            }
        }
        self.tell(told);
        for (jail, target, ripe) in asks {
            self.ask_command(jail, target, ripe);
        }
    }

    /// Closes connections of banned peers, if it is time for that.
    pub(super) fn cut(&mut self) {
        let closed = self.enforcer.cut(&*self.clock);
        if closed > 0 {
            info!(closed, "closed connections of banned peers");
        }
    }

    /// The firewall's part of `actions`, before a word is logged.
    fn enforce(&mut self, actions: &[Action], now: Timestamp) {
        let mut bans = Vec::new();
        let mut unbans = Vec::new();
        let mut allow_changed = false;
        for action in actions {
            match action {
                Action::Ban(ban) => {
                    if let Some(left) = ban.left(now) {
                        self.enforcer.explained(&ban.jail, ban.target);
                        bans.push(KernelBan { jail: ban.jail.clone(), target: ban.target, left });
                    }
                }
                // The kernel has counted an expired one down by itself.
                Action::Unban { cause: Cause::Expired, .. } => {}
                Action::Unban { jail, target, .. } => unbans.push((jail.clone(), *target)),
                Action::AllowSetChanged => allow_changed = true,
                _ => {}
            }
        }
        if allow_changed {
            self.enforcer.set_allow(self.jails.allow_nets(), now);
        }
        self.enforcer.apply(&bans, &unbans, &self.jails, now);
    }

    /// Hands what was gathered to the store, if it is more than positions.
    pub(super) fn flush(&mut self, now: Timestamp) {
        if self.recorder.due() {
            self.hand_in(now, false);
        }
    }

    /// Hands everything to the store. `all`: also attempts that are still being counted together.
    pub(super) fn hand_in(&mut self, now: Timestamp, all: bool) {
        if let Some(frame) = self.recorder.take(now, &mut self.jails, all) {
            self.store.submit(frame);
        }
    }

    /// The kernel counts bans down by its own clock, the jails by the wall clock: after a jump of the latter
    /// the kernel is given what is left by the jails.
    fn heed_clock(&mut self, now: Timestamp) {
        let offset = now.micros() - self.clock.monotonic().as_micros() as i64;
        let jump = Duration::from_micros(offset.abs_diff(self.clock_offset));
        self.clock_offset = offset;
        if jump >= CLOCK_JUMP {
            self.note(format!(
                "this host's clock jumped by {}; bans go by the new time",
                show_duration(jump)
            ));
            self.enforcer.restore(&self.jails, now);
        }
    }

    /// `due`: whether something is to be done that is done every so many sweeps.
    #[inline(never)]
    pub(super) fn sweep(&mut self, due: impl Fn(u32) -> bool) {
        let now = self.clock.now();
        self.heed_clock(now);
        self.tailer.sweep(now);
        self.note_troubles();
        let mut actions = Vec::new();
        self.jails.expire(now, &mut actions);
        self.perform(actions, None, now);
        if due(SURROUNDINGS_SWEEPS) {
            self.look_around(now);
        }
        if due(FIREWALL_SWEEPS) || self.enforcer.problem().is_some() {
            self.enforcer.look(&self.jails, now);
        }
        if due(POSITION_SWEEPS) {
            self.hand_in(now, false);
        } else {
            self.flush(now);
        }
        if let Some(trouble) = self.fail2ban_log.take_trouble() {
            self.note(trouble);
        }
        if let Some(trouble) = self.shadow.as_mut().and_then(Shadow::save) {
            self.note(trouble);
        }
    }

    /// Reads anew who is never banned, the files of ignoreip among it.
    pub(super) fn look_around(&mut self, now: Timestamp) {
        let mut actions = Vec::new();
        let never = surroundings::never_banned();
        for (kind, nets) in &never {
            if !self.never.contains(&(*kind, nets.clone())) {
                self.jails.set_never(now, *kind, nets.clone(), &mut actions);
            }
        }
        self.never = never;
        self.read_lists(now, &mut actions);
        self.perform(actions, None, now);
        self.enforcer.set_allow(self.jails.allow_nets(), now);
    }

    /// Reads the `file:` lists of ignoreip.
    fn read_lists(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        for path in self.jails.files() {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let (entries, wrong) = crate::jail::ignore::read_list(&text);
                    if let Some((line, word)) = wrong.first() {
                        self.note(format!(
                            "{}:{line}: {word:?} is no address, network or name",
                            path.display()
                        ));
                    }
                    self.jails.set_file(now, &path, entries, actions);
                }
                Err(why) => {
                    self.note(format!("cannot read {}: {why}; what it said last holds", path.display()))
                }
            }
        }
    }

    pub(super) fn on_store(&mut self, event: store::Event) {
        match event {
            store::Event::Notice(text) => self.note(text),
            store::Event::Trouble(text) => self.note(format!("store: {text}")),
            store::Event::Recovered => info!("the store is durable again"),
        }
    }

    pub(super) fn on_name(&mut self, answer: &names::Answer) {
        let now = self.clock.now();
        let mut actions = Vec::new();
        self.jails.set_name(now, &answer.name, &answer.hosts, &mut actions);
        self.perform(actions, None, now);
        self.enforcer.set_allow(self.jails.allow_nets(), now);
    }

    /// Asks for the names of ignoreip from now on.
    pub(super) fn watch_names(&mut self) {
        if let Some(old) = self.names.take() {
            old.abort();
        }
        let names = self.jails.names();
        if !names.is_empty() {
            let letters = self.letters.clone();
            self.names =
                Some(tokio::spawn(names::watch(names, move |answer| letters.post(Letter::Name(answer)))));
        }
    }

    /// Every log was read to its end: bans found in the kernel that nothing explained are taken over.
    fn on_caught_up(&mut self, now: Timestamp) {
        self.caught_up = true;
        let found = self.enforcer.take_found(now);
        if found.is_empty() {
            return;
        }
        info!(bans = found.len(), "taking over bans found in the kernel without a record");
        for KernelBan { jail, target, left } in found {
            let ban = Ban {
                jail,
                target,
                since: now,
                until: left.end(now),
                failures: 0,
                count: 1,
                origin: Origin::Kernel,
                reason: None,
                effective: true,
            };
            if self.jails.restore_ban(now, &ban) {
                self.fail2ban_log.ban(now, &ban, None);
                self.recorder.ban(&ban);
                self.tell_restored(&ban);
            }
        }
    }

    /// Something a person should know: in the log, and in `status`.
    pub(super) fn note(&mut self, text: String) {
        if self.notes.contains(&text) {
            return;
        }
        warn!("{text}");
        self.remember(text);
    }

    /// Shows `text` in `status`.
    pub(super) fn remember(&mut self, text: String) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(text);
    }

    /// Notes what went wrong in filters of fail2ban; a count that grew replaces the note with the old one.
    pub(super) fn note_troubles(&mut self) {
        for (what, how) in self.desks.troubles(&self.jails) {
            let text = format!("{what} {how}");
            match self.notes.iter_mut().find(|note| note.starts_with(&what)) {
                Some(note) => *note = text,
                None => self.note(text),
            }
        }
    }

    /// The end: what was gathered is handed over; bans stay in the kernel. Actions lift what they hold and stop.
    pub fn close(&mut self) {
        let now = self.clock.now();
        self.hand_in(now, true);
        self.fail2ban_log.close();
        self.shadow.as_mut().and_then(Shadow::save);
        self.enforcer.close();
        self.verdicts.close();
        self.actions.close(STOP_TIME_MAX);
    }
}

/// A ban is one event in the log: jail, target, failures, bantime.
fn log_ban(ban: &Ban, left: Span) {
    let bantime = match left {
        Span::For(left) => show_duration(left),
        Span::Forever => "for ever".to_owned(),
    };
    let Ban { jail, target, failures, count, .. } = ban;
    info!(%jail, %target, failures, count, bantime, "ban");
}
