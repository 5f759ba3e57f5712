//! The engine and the commands of actions: what they are told, and what they report.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::engine::Engine;
use super::inbox::{Letter, Letters};
use crate::action::definition::names_log;
use crate::action::{
    self, Actions, IgnoreCommand, JailActions, MATCHES_DEFAULT, Report, Ticket, Verdict, Verdicts,
};
use crate::addr::Net;
use crate::fail2ban::log::Event;
use crate::firewall::Ports;
use crate::jail::{Ban, JailName, Origin};
use crate::limits::Limits;
use crate::time::{Clock, Timestamp};

/// Lines for one address are never more. fail2ban's own rule takes any number.
const MATCHES_MAX: usize = 200;

/// What commands are told once the firewall knows it.
pub(super) enum Told {
    Ban(Ban),
    Unban(JailName, Net),
}

/// Bans that wait for an answer: of which failure, and how many there were.
pub(super) type Asked = HashMap<(JailName, Net), (Timestamp, u32)>;

/// The runner, who asks before a ban, and what both report. Reports are logged where they arise, so that those of the very end are too.
pub(super) fn start(limits: &Limits, clock: Arc<dyn Clock>, letters: Letters) -> (Actions, Verdicts) {
    let tell = move |report: Report| {
        match &report {
            Report::Failed { target: Some(target), what, .. } => {
                warn!("{}: {what}; about {target}", subject(&report));
            }
            Report::Failed { what, .. } => warn!("{}: {what}", subject(&report)),
            Report::Answered(Verdict { trouble: None, .. }) => {}
            Report::Answered(Verdict { trouble: Some(what), target, .. }) => {
                warn!("{}: {what}; about {target}", subject(&report));
            }
            _ => warn!("{}", subject(&report)),
        }
        // Nobody listens once the engine has ended.
        letters.post(Letter::Report(report));
    };
    let tell = Arc::new(tell);
    let answered = tell.clone();
    let answer = move |verdict| answered(Report::Answered(verdict));
    let verdicts = Verdicts::new(limits.actions_queue_max, clock.clone(), answer);
    (Actions::new(limits, clock, move |report| tell(report)), verdicts)
}

/// What a report is about: the same for all of its kind.
fn subject(report: &Report) -> String {
    match report {
        Report::Failed { jail, action, verb, .. } => {
            format!("jail {jail}: action {action}: its command for {} failed", verb.name())
        }
        Report::Overflow { file } => {
            format!(
                "action {file}: bans come faster than its commands run; some were not told to it \
                 (limits.actions_queue_max)"
            )
        }
        Report::Answered(Verdict { jail, .. }) => {
            format!("jail {jail}: ignorecommand failed, and those it was asked about are banned")
        }
        Report::Left { jail, action, bans } => {
            format!("jail {jail}: action {action}: time was up before {bans} of its bans were lifted")
        }
    }
}

/// `maxmatches`, within reason.
fn lines(max_matches: i64) -> usize {
    usize::try_from(max_matches).unwrap_or(0).min(MATCHES_MAX)
}

impl Engine {
    /// Starts and stops actions so that those of the configuration run.
    pub(super) fn configure_actions(&mut self) {
        let Engine { config, actions, jails, .. } = self;
        // In shadow mode nothing is told of bans that nobody enforces.
        let wanted = config.enabled().filter(|_| !config.shadow).map(|jail| JailActions {
            jail: &jail.settings.name,
            actions: &jail.run,
            bantime: jail.settings.bantime,
            watched: jail.ignore_command.as_ref().is_some_and(|asked| names_log(&asked.command)),
            matches_max: jail
                .fail2ban
                .as_ref()
                .and_then(|jail| jail.max_matches)
                .map_or(MATCHES_DEFAULT, lines),
        });
        let bans = |name: &JailName| jails.bans().filter(|ban| ban.jail == *name).collect();
        if let Err(why) = actions.configure(wanted, bans) {
            self.note(format!("an action is not run: cannot start its thread: {why}"));
        }
    }

    /// Tells the actions what the firewall knows by now.
    pub(super) fn tell(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Ban(ban) => self.tell_ban(&ban, false),
                Told::Unban(jail, target) => self.actions.unban(&jail, target),
            }
        }
    }

    /// Tells the actions of a ban that stood before this start.
    pub(super) fn tell_restored(&mut self, ban: &Ban) {
        self.tell_ban(ban, true);
    }

    fn tell_ban(&mut self, ban: &Ban, restored: bool) {
        if !self.actions.has(&ban.jail) {
            return;
        }
        let counts = self.jails.id(ban.jail.as_str()).map(|id| self.jails.counts(id)).unwrap_or_default();
        self.actions.ban(ban, restored, counts);
    }

    fn ignore_command(&self, jail: &JailName) -> Option<Arc<IgnoreCommand>> {
        self.config.jail(jail.as_str())?.ignore_command.clone()
    }

    /// Asks whether to leave `target` alone, which would be banned else.
    pub(super) fn ask_command(&mut self, jail: JailName, target: Net, ripe: (Timestamp, u32)) {
        let (since, failures) = ripe;
        let settings =
            self.jails.id(jail.as_str()).map(|id| (self.jails.counts(id), self.jails.settings(id).bantime));
        let (Some(command), Some((counts, bantime))) = (self.ignore_command(&jail), settings) else {
            return self.answered(&jail, target, ripe, false);
        };
        let ban = Ban {
            jail: jail.clone(),
            target,
            since,
            until: bantime.end(since),
            failures,
            count: 0,
            origin: Origin::Jail,
            reason: None,
            effective: true,
        };
        let mut ticket = Ticket::of(&ban, false, counts);
        self.actions.tell_evidence(&jail, &mut ticket);
        match self.verdicts.ask(&jail, &command, ticket) {
            action::Asked::Known(ignore) => self.answered(&jail, target, ripe, ignore),
            action::Asked::Waiting => drop(self.asked.insert((jail, target), ripe)),
            action::Asked::Full => {
                self.note(format!(
                    "jail {jail}: more questions wait for ignorecommand than limits.actions_queue_max; whom it is not \
                     asked about is banned"
                ));
                self.answered(&jail, target, ripe, false);
            }
        }
    }

    fn answered(&mut self, jail: &JailName, target: Net, ripe: (Timestamp, u32), ignore: bool) {
        let now = self.clock.now();
        if ignore {
            info!(%jail, %target, "ignored: ignorecommand says so");
            self.fail2ban_log.write(now, jail.as_str(), target, Event::Ignored);
        }
        let mut actions = Vec::new();
        self.jails.answer(now, jail, target, ripe, ignore, &mut actions);
        self.perform(actions, None, now);
    }

    /// Why failures may go on after a ban of `jail`.
    pub(super) fn why_ineffective(&self, jail: &JailName) -> &'static str {
        let mut rules = self.enforcer.plan().jails.iter().filter(|rules| rules.name == *jail);
        if rules.any(|rules| rules.ports == Ports::List(Vec::new())) {
            return "the jail has no ports here, and its actions do not keep it out";
        }
        "its packets come another way, as behind a proxy (trusted_proxies)"
    }

    /// A report for `status`: the latest of its kind.
    pub(super) fn on_report(&mut self, report: Report) {
        if let Report::Answered(verdict) = &report {
            let command = self.ignore_command(&verdict.jail);
            self.verdicts.settle(verdict, command.as_deref());
            if let Some(ripe) = self.asked.remove(&(verdict.jail.clone(), verdict.target)) {
                self.answered(&verdict.jail, verdict.target, ripe, verdict.ignore);
            }
            if verdict.trouble.is_none() {
                return;
            }
        }
        let subject = subject(&report);
        self.notes.retain(|note| !note.starts_with(&subject));
        match report {
            Report::Failed { what, .. } | Report::Answered(Verdict { trouble: Some(what), .. }) => {
                self.remember(format!("{subject}: {what}"));
            }
            _ => self.remember(subject),
        }
    }
}
