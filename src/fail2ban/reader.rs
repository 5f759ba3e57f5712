//! From files to jails, in the order in which fail2ban does it.

use std::collections::BTreeMap;
use std::path::Path;

use super::definition::Definition;
use super::files::Files;
use super::ini::{At, Options, Value};
use super::interpolate::Vars;
use super::jail::{Action, Increment, Jail, Said, Time};
use super::note::{Kind, Note};
use super::options::{Arguments, extract, split};
use super::section::Config;
use crate::config::report::ReportedError;

/// What `%(fail2ban_version)s` says: the behaviour that is followed.
pub(super) const VERSION: &str = "1.1.0";

/// The options a jail has beside those of its filter.
pub(super) const JAIL_OPTIONS: &[&str] = &[
    "enabled",
    "backend",
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
    "ignorecommand",
    "ignoreself",
    "ignoreip",
    "ignorecache",
    "filter",
    "logtimezone",
    "logencoding",
    "logpath",
    "skip_if_nologs",
    "systemd_if_nologs",
    "action",
];
/// The options of a filter that a jail may set instead.
pub(super) const FILTER_OPTIONS: &[&str] =
    &["usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"];
const ACTION_OPTIONS: &[&str] = &[
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "norestored",
];
/// Those of them that are run.
const COMMANDS: &[&str] = &[
    "actionstart",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
];
pub(super) const SWITCHES: &[&str] = &[
    "enabled",
    "bantime.increment",
    "bantime.overalljails",
    "ignoreself",
    "skip_if_nologs",
    "systemd_if_nologs",
    "actionstart_on_demand",
    "actionrepair_on_unban",
    "norestored",
];
pub(super) const NUMBERS: &[&str] = &["maxretry", "maxmatches", "maxlines"];
/// Tags of actions that are known only when somebody is banned.
const LATE_TAGS: &[&str] = &["matches", "ipmatches", "ipjailmatches", "timeout", "bantime"];

/// A configuration as fail2ban would run it.
#[derive(Debug)]
pub struct Import {
    /// The enabled jails.
    pub jails: Vec<Jail>,
    pub notes: Vec<Note>,
    /// `jail.*`, for remarks about what is not used.
    pub(super) config: Config,
}

/// Reads the configuration in `folder` (`/etc/fail2ban`).
///
/// # Errors
/// What keeps fail2ban from starting at all.
pub fn read(folder: &Path) -> Result<Import, ReportedError> {
    let mut files = Files::new(folder);
    let label = folder.display().to_string();
    // Its options are not used, but fail2ban does not start if it cannot parse it.
    files.read("fail2ban")?;
    let Some(mut config) = files.read("jail")? else {
        return Err(ReportedError::of_file(label, "no jail.conf or jail.local there that can be read"));
    };
    config.defaults.extend(always(folder));
    let mut import = Import { jails: Vec::new(), notes: Vec::new(), config: config.clone() };
    for name in import.config.order.iter().filter(|name| *name != "INCLUDES") {
        let reader = JailReader { files: &mut files, config: &mut config, name, notes: &mut import.notes };
        match reader.read()? {
            Ok(None) => {}
            Ok(Some(jail)) => import.jails.push(jail),
            Err(Refusal { at, message }) => {
                import.notes.push(Note::new(Kind::Refused, name, at.as_ref(), &label, message));
            }
        }
    }
    for error in files.lost_patterns {
        import.notes.push(Note { kind: Kind::Hint, jail: None, error });
    }
    for error in files.skipped {
        import.notes.push(Note { kind: Kind::Refused, jail: None, error });
    }
    Ok(import)
}

/// The options every configuration has.
fn always(folder: &Path) -> Options {
    let folder = folder.display().to_string();
    let source = crate::config::report::SourceText::new("built-in", "[DEFAULT]");
    let at = At::whole(&source);
    let value = |text: &str| Value { text: text.to_owned(), at: at.clone() };
    Options::from([
        ("fail2ban_version".to_owned(), value(VERSION)),
        ("fail2ban_confpath".to_owned(), value(&folder.replace('%', "%%"))),
    ])
}

/// The filter of a jail: its name, its arguments, and what it says.
type UsedFilter = (String, Arguments, Definition);

/// Why fail2ban drops a jail.
struct Refusal {
    at: Option<At>,
    message: String,
}

struct JailReader<'a> {
    files: &'a mut Files,
    config: &'a mut Config,
    name: &'a str,
    notes: &'a mut Vec<Note>,
}

impl JailReader<'_> {
    fn at(&self, option: &str) -> Option<At> {
        self.config.raw(self.name, option).map(|value| value.at.clone())
    }

    fn refuse(&self, option: &str, message: impl Into<String>) -> Refusal {
        Refusal { at: self.at(option), message: message.into() }
    }

    fn note(&mut self, kind: Kind, option: &str, message: impl Into<String>) {
        let at = self.at(option);
        self.notes.push(Note::new(kind, self.name, at.as_ref(), "jail.conf", message));
    }

    fn get(&self, option: &str) -> Result<Option<String>, Refusal> {
        let none = Vars::new();
        self.config.get(self.name, option, &none).map_err(|reason| self.refuse(option, reason))
    }

    /// The outer error: a file that cannot be parsed.
    fn read(mut self) -> Result<Result<Option<Jail>, Refusal>, ReportedError> {
        let (enabled, backend, filter) = match (self.get("enabled"), self.get("backend"), self.get("filter"))
        {
            (Ok(enabled), Ok(backend), Ok(filter)) => (enabled, backend, filter),
            (Err(refusal), ..) | (_, Err(refusal), _) | (.., Err(refusal)) => return Ok(Err(refusal)),
        };
        let enabled = enabled.unwrap_or_default();
        if !is_true(&enabled) {
            if !["0", "off", "no", "false", ""].contains(&enabled.to_lowercase().as_str()) {
                let text = format!("\"{enabled}\" is neither true nor false; fail2ban takes it as false");
                self.note(Kind::Hint, "enabled", text);
            }
            return Ok(Ok(None));
        }
        let backend = backend.unwrap_or_else(|| "auto".to_owned());
        let filter = filter.unwrap_or_default();
        let mut first = Vars::from([("enabled".into(), "True".into()), ("backend".into(), backend.clone())]);
        first.insert("filter".into(), filter.clone());

        let mut used = None;
        if filter.is_empty() {
            self.note(
                Kind::Hint,
                "filter",
                "the jail has no filter; only what the jail itself says is matched",
            );
        } else {
            let (name, arguments) = match extract(&filter) {
                Ok(found) => found,
                Err(why) => return Ok(Err(self.refuse("filter", format!("filter \"{filter}\": {why}")))),
            };
            let Some(config) = self.files.read(&format!("filter.d/{name}"))? else {
                let message = format!("there is no filter.d/{name}.conf or .local");
                return Ok(Err(self.refuse("filter", message)));
            };
            let mut definition = Definition::new(config, &arguments);
            definition
                .set_default("logtype", if backend.starts_with("systemd") { "journal" } else { "file" });
            let combined =
                definition.resolve(&first, FILTER_OPTIONS, true).and_then(|()| definition.combined(&[]));
            let combined = match combined {
                Ok(combined) => combined,
                Err(why) => return Ok(Err(self.refuse("filter", format!("filter {name}: {why}")))),
            };
            self.know(&definition, combined);
            used = Some((name, arguments, definition));
        }
        self.rest(backend, used)
    }

    /// Makes what the filter says known to the jail as `known/...`.
    fn know(&mut self, definition: &Definition, combined: BTreeMap<String, String>) {
        let fallback = self.at("filter");
        let Some(section) = self.config.sections.get_mut(self.name) else { return };
        for (option, text) in combined {
            let at = definition.config.raw("Definition", &option).map(|v| v.at.clone()).or(fallback.clone());
            if let Some(at) = at.filter(|_| !option.starts_with("known/")) {
                section.insert(format!("known/{option}"), Value { text, at });
            }
        }
    }

    fn rest(
        mut self,
        backend: String,
        mut filter: Option<UsedFilter>,
    ) -> Result<Result<Option<Jail>, Refusal>, ReportedError> {
        let mut own = Vars::new();
        for option in JAIL_OPTIONS.iter().chain(FILTER_OPTIONS) {
            let value = match self.get(option) {
                Ok(value) => value,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if let Some(value) = value.and_then(|value| self.converted(option, value)) {
                own.insert((*option).to_owned(), value);
            }
        }
        own.entry("backend".into()).or_insert(backend.clone());
        let mut from_filter = BTreeMap::new();
        if let Some((name, _, definition)) = &mut filter {
            match definition.resolve(&own, FILTER_OPTIONS, false).and_then(|()| definition.combined(&[])) {
                Ok(combined) => from_filter = combined,
                Err(why) => return Ok(Err(self.refuse("filter", format!("filter {name}: {why}")))),
            }
        }
        let in_order = |options: &mut dyn Iterator<Item = &&str>, values: &BTreeMap<String, String>| {
            options.filter_map(|name| Some(((*name).to_owned(), values.get(*name)?.clone()))).collect()
        };
        let mut said = Said {
            filter: in_order(&mut FILTER_OPTIONS.iter(), &from_filter),
            jail: in_order(&mut JAIL_OPTIONS.iter().chain(FILTER_OPTIONS), &own),
            actions: Vec::new(),
        };
        let actions = match self.actions(&own, &mut said.actions)? {
            Ok(actions) => actions,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match self.jail(backend, &own, &from_filter, filter, actions) {
            Ok(jail) => Ok(Ok(Some(Jail { said, ..jail }))),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Switches and numbers in Python's form; `None`: a wrong number, which counts as not given.
    fn converted(&mut self, option: &str, value: String) -> Option<String> {
        if SWITCHES.contains(&option) {
            return Some(if is_true(&value) { "True" } else { "False" }.to_owned());
        }
        if NUMBERS.contains(&option) {
            let Some(number) = integer(&value) else {
                self.note(Kind::Loss, option, format!("{option} \"{value}\" is no whole number; not used"));
                return None;
            };
            return Some(number.to_string());
        }
        Some(value)
    }

    /// `said`: the same as texts.
    fn actions(
        &mut self,
        own: &Vars,
        said: &mut Vec<(String, Vec<(String, String)>)>,
    ) -> Result<Result<Vec<Action>, Refusal>, ReportedError> {
        let mut actions: Vec<Action> = Vec::new();
        for entry in split(own.get("action").map_or("", String::as_str)) {
            let (file, mut arguments) = match extract(&entry) {
                Ok(found) => found,
                Err(why) => return Ok(Err(self.refuse("action", format!("action \"{entry}\": {why}")))),
            };
            let argument = |name: &str| arguments.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            if let Some(stem) = file.strip_suffix(".py") {
                let name = argument("actname").unwrap_or_else(|| stem.to_owned());
                let options = arguments.into_iter().filter(|(n, _)| n != "actname").collect();
                actions.push(Action {
                    name,
                    file,
                    options,
                    commands: BTreeMap::new(),
                    tags: BTreeMap::new(),
                    overridden: Vec::new(),
                });
                continue;
            }
            let options = arguments.iter().cloned().collect();
            let name = argument("name").unwrap_or_else(|| self.name.to_owned());
            let action_name = argument("actname").unwrap_or_else(|| match name.strip_prefix(self.name) {
                Some(tail) => format!("{file}{tail}"),
                None => format!("{file}-{name}"),
            });
            for (key, value) in [("name", &name), ("actname", &action_name)] {
                if !arguments.iter().any(|(known, _)| known == key) {
                    arguments.push((key.to_owned(), value.clone()));
                }
            }
            let Some(config) = self.files.read(&format!("action.d/{file}"))? else {
                let message = format!("there is no action.d/{file}.conf or .local");
                return Ok(Err(self.refuse("action", message)));
            };
            let mut definition = Definition::new(config, &arguments);
            let combined =
                definition.resolve(own, ACTION_OPTIONS, false).and_then(|()| definition.combined(LATE_TAGS));
            let combined = match combined {
                Ok(combined) => combined,
                Err(why) => return Ok(Err(self.refuse("action", format!("action {file}: {why}")))),
            };
            let commands = ACTION_OPTIONS
                .iter()
                .filter_map(|option| Some(((*option).to_owned(), combined.get(*option)?)))
                .map(|(option, value)| {
                    let switch = SWITCHES.contains(&option.as_str());
                    let value = if switch { is_true(value).into() } else { value.as_str().into() };
                    (option, value)
                })
                .collect();
            let parameter =
                |name: &&String| !ACTION_OPTIONS.contains(&name.as_str()) && !name.starts_with("known/");
            let texts = ACTION_OPTIONS.iter().filter_map(|name| Some((*name, combined.get(*name)?.as_str())));
            let parameters = combined.keys().filter(parameter);
            let parameters = parameters.filter_map(|name| Some((name.as_str(), definition.init(name)?)));
            let texts = texts.chain(parameters).map(|(name, value)| (name.to_owned(), value.to_owned()));
            said.push((action_name.clone(), texts.collect()));
            let tags = definition.tags(ACTION_OPTIONS);
            let overridden = COMMANDS
                .iter()
                .filter(|option| {
                    let given = arguments.iter().any(|(name, _)| name == *option);
                    let place = definition.config.raw("Definition", option).map(|value| value.at.file());
                    given || place.is_some_and(|file| !is_plain_action(Path::new(file)))
                })
                .map(|option| (*option).to_owned())
                .collect();
            actions.push(Action { name: action_name, file, options, commands, tags, overridden });
        }
        Ok(Ok(actions))
    }

    fn jail(
        mut self,
        backend: String,
        own: &Vars,
        from_filter: &BTreeMap<String, String>,
        filter: Option<UsedFilter>,
        actions: Vec<Action>,
    ) -> Result<Jail, Refusal> {
        let text = |option: &str| own.get(option).filter(|value| !value.is_empty()).cloned();
        let switch = |option: &str| own.get(option).map(|value| value == "True");
        // Arguments of the filter go before the jail, the jail before what the file says.
        let both = |option: &str| from_filter.get(option).or_else(|| own.get(option)).cloned();
        let lines = |option: &str| -> Vec<String> {
            let of = |value: Option<&String>| -> Vec<String> {
                value
                    .into_iter()
                    .flat_map(|v| v.lines())
                    .filter(|l| !l.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            let mut all = of(from_filter.get(option));
            all.extend(of(own.get(option)));
            all
        };
        let mut log_paths = Vec::new();
        let mut log_tail = Vec::new();
        if !backend.starts_with("systemd") {
            for line in own.get("logpath").into_iter().flat_map(|value| value.lines()) {
                let (path, end) = line.rsplit_once(' ').unwrap_or((line, "head"));
                let path = path.trim().to_owned();
                if path.is_empty() {
                    continue;
                }
                if end.eq_ignore_ascii_case("tail") {
                    log_tail.push(path.clone());
                }
                log_paths.push(path);
            }
        }
        let journal_match = lines("journalmatch").iter().map(|line| words(line).join(" ")).collect();
        let increment = Increment {
            enabled: switch("bantime.increment").unwrap_or(false),
            factor: text("bantime.factor"),
            formula: text("bantime.formula"),
            multipliers: text("bantime.multipliers")
                .map(|list| list.split_whitespace().filter_map(|n| n.parse().ok()).collect()),
            max_time: text("bantime.maxtime").map(|value| Time::read(&value)),
            rnd_time: text("bantime.rndtime").map(|value| Time::read(&value)),
            overall_jails: switch("bantime.overalljails"),
        };
        for option in ["bantime", "findtime", "bantime.maxtime", "bantime.rndtime"] {
            if let Some(value) = text(option).filter(|value| super::time::seconds(value).is_none()) {
                self.note(Kind::Loss, option, format!("{option} \"{value}\" is not a duration"));
            }
        }
        let ports = self.get("port")?.unwrap_or_default();
        let ports = ports.split([',', ' ', '\n']).map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned);
        let mut places = self.config.defaults.clone();
        if let Some((_, _, definition)) = &filter {
            for option in FILTER_OPTIONS {
                if let Some(value) = definition.config.raw("Definition", option) {
                    places.insert((*option).to_owned(), value.clone());
                }
            }
        }
        places.extend(self.config.sections.get(self.name).cloned().unwrap_or_default());
        // Where nobody says anything, the server's own defaults.
        Ok(Jail {
            name: self.name.to_owned(),
            enabled: true,
            log_paths,
            log_tail,
            filter_options: filter.iter().flat_map(|(_, arguments, _)| arguments.iter().cloned()).collect(),
            filter: filter.map(|(name, ..)| name),
            prefregex: both("prefregex").filter(|value| !value.is_empty()),
            failregex: lines("failregex"),
            ignoreregex: lines("ignoreregex"),
            max_lines: both("maxlines").and_then(|value| integer(&value)),
            date_pattern: both("datepattern").filter(|value| !value.is_empty()),
            max_retry: text("maxretry").map_or(Some(3), |value| integer(&value)),
            max_matches: text("maxmatches").map_or(Some(5), |value| integer(&value)),
            find_time: Some(text("findtime").map_or(Time::Seconds(600), |value| Time::read(&value))),
            ban_time: Some(text("bantime").map_or(Time::Seconds(600), |value| Time::read(&value))),
            ban_time_increment: increment,
            ports: ports.collect(),
            protocol: self.get("protocol")?.filter(|value| !value.is_empty()),
            ignore_ip: own
                .get("ignoreip")
                .map(|list| {
                    list.split([' ', ',', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
                })
                .unwrap_or_default(),
            ignore_self: Some(switch("ignoreself").unwrap_or(true)),
            ignore_command: text("ignorecommand"),
            ignore_cache: text("ignorecache"),
            log_encoding: text("logencoding").or_else(|| Some("auto".to_owned())),
            log_timezone: text("logtimezone"),
            actions,
            journal_match,
            use_dns: both("usedns").filter(|value| !value.is_empty()).or_else(|| Some("warn".to_owned())),
            backend,
            places,
            said: Said::default(),
        })
    }
}

/// `action.d/x.conf`, not `x.local` and not `x.d/y.conf`: where fail2ban's own actions stand.
fn is_plain_action(file: &Path) -> bool {
    let folder = file.parent().and_then(Path::file_name);
    file.extension().is_some_and(|extension| extension == "conf")
        && folder.is_some_and(|name| name == "action.d")
}

pub(super) fn is_true(text: &str) -> bool {
    ["1", "on", "true", "yes"].contains(&text.to_lowercase().as_str())
}

/// As Python's `int()`.
fn integer(text: &str) -> Option<i64> {
    text.trim().replace('_', "").parse().ok()
}

/// The words of a shell line, quotes gone.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
