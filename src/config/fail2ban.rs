//! A fail2ban configuration as jails of portero: the second front end beside portero.toml, with the same result.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use super::report::ReportedError;
use super::{Backend, Fatal, JailConfig, Loaded, Problem, ports};
use crate::action::{Definition, IgnoreCache, IgnoreCommand, import};
use crate::fail2ban::effect::{self, Effect, Role};
use crate::fail2ban::jail::{Jail, Time};
use crate::fail2ban::main_conf::Main;
use crate::fail2ban::note::{Kind, Note};
use crate::fail2ban::{reader, remarks};
use crate::firewall::{Hook, JailRules, Ports, Protocol, Verdict};
use crate::jail::{Formula, IgnoreEntry, Increment, JailName, JailSettings, MAXRETRY_MAX};
use crate::time::Span;

/// Longer than any sensible duration; a Timestamp holds much more.
const SECONDS_MAX: i64 = 1000 * 31_557_600;

/// Adds the enabled jails of the configuration in `folder`. A native jail of the same name that is on wins.
///
/// # Errors
/// What keeps fail2ban from starting at all.
pub(super) fn add(loaded: &mut Loaded, folder: &Path) -> Result<(), Fatal> {
    let import = reader::read(folder)?;
    let mut notes = remarks::hints(&import);
    loaded.config.fail2ban = Some(Arc::new(Main::read(folder, &mut notes)?));
    for note in import.notes {
        match note {
            Note { kind: Kind::Refused, jail: Some(jail), error } => {
                loaded.problems.push(Problem { jail, error });
            }
            note => notes.push(note),
        }
    }
    for jail in import.jails {
        let name = jail.name.clone();
        let native = loaded.config.jail(&name).filter(|native| native.enabled);
        if let Some(native) = native {
            let text = format!("jail {name} of {} is on and goes before this one", native.file);
            notes.push(Note { kind: Kind::Hint, jail: Some(name), error: jail.error("enabled", text) });
            continue;
        }
        let mut maker = Maker { jail: &jail, notes: &mut notes, errors: Vec::new() };
        match maker.jail(loaded.config.timezone) {
            Some(made) => {
                let made = JailConfig { fail2ban: Some(Arc::new(jail)), ..made };
                loaded.config.jails.retain(|native| native.settings.name != made.settings.name);
                loaded.config.jails.push(made);
            }
            None => {
                let errors = maker.errors.into_iter();
                loaded.problems.extend(errors.map(|error| Problem { jail: name.clone(), error }));
            }
        }
    }
    loaded.config.jails.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    loaded.notes.append(&mut notes);
    Ok(())
}

/// Turns one jail into what the stages take.
struct Maker<'a> {
    jail: &'a Jail,
    notes: &'a mut Vec<Note>,
    errors: Vec<ReportedError>,
}

impl Maker<'_> {
    fn note(&mut self, kind: Kind, option: &str, text: impl Into<String>) {
        let error = self.jail.error(option, text);
        self.notes.push(Note { kind, jail: Some(self.jail.name.clone()), error });
    }

    fn wrong(&mut self, option: &str, text: impl Into<String>) {
        self.errors.push(self.jail.error(option, text));
    }

    /// `None`: `errors` says why.
    fn jail(&mut self, timezone: Tz) -> Option<JailConfig> {
        let name = JailName::new(&self.jail.name).filter(|name| *name != JailName::manual());
        let Some(name) = name else {
            let text = format!(
                "{:?} is not a name for a jail here: letters, digits, \"-\", \"_\", \".\"; at most 64; \"manual\" is \
                 taken; rename the section",
                self.jail.name
            );
            self.wrong("enabled", text);
            return None;
        };
        let mut settings = self.settings(name.clone());
        let rules = self.rules(name);
        let mut logpath = self.logpath();
        let mut backend = if self.jail.reads_journal() { Backend::Journal } else { Backend::File };
        if let Some(except) = self.jail.counts_bans_except() {
            settings.recidive = Some(JailName::new(except).unwrap_or_else(|| settings.name.clone()));
            // Nothing is read for it: not fail2ban's log either, where the same bans may stand.
            logpath.clear();
            backend = Backend::File;
            let text = "this jail counts the bans that portero's other jails make, and reads no log for it";
            self.note(Kind::Hint, "filter", text);
        }
        if !self.errors.is_empty() {
            return None;
        }
        let file = self.jail.error("enabled", "").file;
        Some(JailConfig {
            enabled: true,
            description: String::new(),
            settings,
            rules,
            filter: self.jail.filter_spec(),
            logpath,
            backend,
            timezone,
            file,
            shipped: false,
            ignore_command: self.ignore_command(),
            run: self.run(),
            fail2ban: None,
        })
    }

    fn settings(&mut self, name: JailName) -> JailSettings {
        let jail = self.jail;
        let mut settings = JailSettings::new(name);
        // fail2ban counts and bans single addresses of either family.
        settings.ipv6_prefix = 128;
        match jail.max_retry {
            Some(count @ 1..) => {
                settings.maxretry = u32::try_from(count).unwrap_or(u32::MAX).min(MAXRETRY_MAX);
                if i64::from(settings.maxretry) != count {
                    let text = format!("maxretry {count} counts as {MAXRETRY_MAX}");
                    self.note(Kind::Approximation, "maxretry", text);
                }
            }
            Some(_) => {
                settings.maxretry = 1;
                self.note(Kind::Approximation, "maxretry", "maxretry below 1 counts as 1");
            }
            None => self.wrong("maxretry", "maxretry is no whole number"),
        }
        match &jail.find_time {
            Some(Time::Seconds(seconds @ 1..=SECONDS_MAX)) => {
                settings.findtime = Duration::from_secs(seconds.unsigned_abs());
            }
            other => self.wrong("findtime", no_duration("findtime", other.as_ref())),
        }
        match &jail.ban_time {
            Some(Time::Seconds(..=-1)) => settings.bantime = Span::Forever,
            Some(Time::Seconds(seconds @ 1..=SECONDS_MAX)) => {
                settings.bantime = Span::For(Duration::from_secs(seconds.unsigned_abs()));
            }
            other => self.wrong("bantime", no_duration("bantime", other.as_ref())),
        }
        settings.increment = self.increment();
        for word in &jail.ignore_ip {
            match word.parse::<IgnoreEntry>() {
                Ok(entry) => settings.ignoreip.push(entry),
                Err(_) => {
                    let text = format!(
                        "ignoreip \"{word}\" is no address, network, host name or file: it excepts nobody"
                    );
                    self.note(Kind::Loss, "ignoreip", text);
                }
            }
        }
        settings.ignoreself = jail.ignore_self.unwrap_or(true);
        settings.asks = jail.ignore_command.as_ref().is_some_and(|command| !command.trim().is_empty());
        settings
    }

    /// `bantime.*`. fail2ban's formula doubles with each earlier ban, and `bantime.factor` scales the result.
    fn increment(&mut self) -> Increment {
        let said = &self.jail.ban_time_increment;
        let mut increment = Increment {
            enabled: said.enabled,
            known_bad: said.enabled,
            overalljails: said.overall_jails.unwrap_or(false),
            decay: None,
            ..Increment::default()
        };
        if !said.enabled {
            return increment;
        }
        if let Some(factor) = &said.factor {
            match factor.trim().parse::<f64>() {
                Ok(factor) if factor.is_finite() && factor > 0.0 => increment.scale = factor,
                _ => self.note(
                    Kind::Loss,
                    "bantime.factor",
                    format!("bantime.factor {factor} is no number above 0; 1 is taken"),
                ),
            }
        }
        if let Some(list) = &said.multipliers {
            increment.multipliers = list.iter().map(|multiplier| *multiplier as f64).collect();
        } else if let Some(formula) = &said.formula {
            match formula.parse::<Formula>() {
                Ok(formula) => increment.formula = Some(formula),
                Err(why) => {
                    let text = format!(
                        "bantime.formula cannot be computed here ({why}); each earlier ban doubles the bantime"
                    );
                    self.note(Kind::Loss, "bantime.formula", text);
                }
            }
        }
        let length = |time: &Option<Time>| match time {
            Some(Time::Seconds(seconds @ 1..=SECONDS_MAX)) => {
                Some(Duration::from_secs(seconds.unsigned_abs()))
            }
            _ => None,
        };
        increment.maxtime = length(&said.max_time);
        increment.rndtime = length(&said.rnd_time).unwrap_or_default();
        increment
    }

    fn rules(&mut self, name: JailName) -> JailRules {
        let effect = Effect::of(self.jail);
        let mut rules = JailRules::all_ports(name);
        for (kind, text) in effect.notes {
            self.note(kind, "action", text);
        }
        if !effect.bans {
            // fail2ban would leave packets alone, and so does a list without ports.
            rules.ports = Ports::List(Vec::new());
            rules.protocols = vec![Protocol::Tcp];
            if !self.jail.actions.iter().any(|action| matches!(effect::role(action), Role::Run(_))) {
                let text = "the jail has no action that can be run: its bans are noted and shut nobody out";
                self.note(Kind::Hint, "action", text);
            }
            return rules;
        }
        if effect.forward {
            rules.hook = Hook::Forward;
        }
        if effect.reject {
            rules.verdict = Verdict::Reject;
        }
        if !effect.all_ports {
            match ports::of_words(&effect.ports) {
                Ok(ports) => rules.ports = ports,
                Err(why) => self.wrong("port", why),
            }
        }
        for protocol in &effect.protocols {
            match protocol.as_str() {
                "tcp" => rules.protocols.push(Protocol::Tcp),
                "udp" => rules.protocols.push(Protocol::Udp),
                "sctp" => rules.protocols.push(Protocol::Sctp),
                "dccp" => rules.protocols.push(Protocol::Dccp),
                other => {
                    let text = format!("protocol {other:?} has no ports; one of: tcp, udp, sctp, dccp, all");
                    self.wrong("protocol", text);
                }
            }
        }
        rules.protocols.sort_unstable();
        rules.protocols.dedup();
        rules
    }

    /// `ignorecommand` and `ignorecache`.
    fn ignore_command(&mut self) -> Option<Arc<IgnoreCommand>> {
        let command = self.jail.ignore_command.clone().filter(|command| !command.trim().is_empty())?;
        let text = "ignorecommand is asked when the jail would ban, not at each failure";
        self.note(Kind::Approximation, "ignorecommand", text);
        let cache = match self.jail.ignore_cache.as_deref().map(IgnoreCache::read).transpose() {
            Ok(cache) => cache,
            Err(why) => {
                self.note(Kind::Loss, "ignorecache", format!("ignorecache: {why}; no answer is kept"));
                None
            }
        };
        Some(Arc::new(IgnoreCommand { command, cache }))
    }

    /// The actions that are run.
    fn run(&mut self) -> Vec<Arc<Definition>> {
        let mut all = Vec::new();
        for action in &self.jail.actions {
            if let Role::Run(_) = effect::role(action) {
                let (definition, wrong) = import::definition(action);
                if let Some(why) = wrong {
                    self.note(Kind::Loss, "action", format!("action {}: {why}", action.name));
                }
                all.push(definition);
            }
        }
        all
    }

    fn logpath(&mut self) -> Vec<String> {
        let jail = self.jail;
        let mut paths: Vec<String> = Vec::new();
        for path in &jail.log_paths {
            if !path.starts_with('/') {
                self.wrong("logpath", format!("logpath {path:?} must be an absolute path"));
            } else if let Err(error) = glob::Pattern::new(path) {
                self.wrong("logpath", format!("logpath {path:?} is not a pattern: {}", error.msg));
            } else if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        if !jail.log_tail.is_empty() {
            let text = "tail is not kept: reading begins one findtime back, and old lines count as old";
            self.note(Kind::Approximation, "logpath", text);
        }
        paths
    }
}

fn no_duration(option: &str, time: Option<&Time>) -> String {
    match time {
        Some(Time::Text(text)) => format!("{option} {text:?} is not a duration; examples: 600, 10m, 1d 12h"),
        Some(Time::Seconds(seconds)) => {
            format!("{option} {seconds} is out of range: it must be longer than 0")
        }
        None => format!("{option} is missing"),
    }
}
