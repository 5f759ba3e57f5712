//! One jail: from the keys as typed to what the stages take.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use super::raw::Fields;
use super::report::{ReportedError, SourceText};
use super::value::{Entries, Value};
use super::{Backend, JailConfig, ports, zone};
use crate::action::{IgnoreCache, IgnoreCommand};
use crate::firewall::{Hook, JailRules, Ports, Protocol, Verdict};
use crate::jail::{IgnoreEntry, Increment, JailName, JailSettings, KeyKind};
use crate::time::Span;

/// Reads keys one by one and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    fields: &'a Fields,
    pub errors: Vec<ReportedError>,
}

impl<'a> Reader<'a> {
    pub fn new(fields: &'a Fields) -> Reader<'a> {
        Reader { fields, errors: Vec::new() }
    }

    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).map(|(_, value)| value)
    }

    /// The value of `key` through `read`; `None` if it is absent or wrong.
    pub fn get<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, ReportedError>) -> Option<T> {
        read(self.value(key)?).map_err(|error| self.errors.push(error)).ok()
    }

    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        if let Some(value) = self.value(key) {
            self.errors.push(value.error(message));
        }
    }
}

/// What a jail names as its filter that counts bans and not lines.
const RECIDIVE: &str = "recidive";

/// What a jail inherits beside `[defaults]`.
pub(super) struct Surroundings {
    pub timezone: Tz,
}

/// Resolves a jail. `whole` is where an error goes that is about no single key.
pub(super) fn resolve(
    name: JailName,
    fields: &Fields,
    whole: &SourceText,
    around: &Surroundings,
) -> Result<JailConfig, Vec<ReportedError>> {
    let mut read = Reader::new(fields);
    let enabled = read.get("enabled", |value| value.flag("enabled")).unwrap_or(false);
    let description = read.get("description", |value| value.text("description").map(str::to_owned));
    let filter = read.get("filter", filter_spec);
    let logpath = read.get("logpath", log_paths);
    let backend = read.get("backend", backend).unwrap_or(Backend::Auto);
    let timezone = read.get("timezone", |value| zone::of_value(value, "timezone"));
    let mut settings = settings(name.clone(), &mut read);
    let ignore_command = read.get("ignorecommand", |value| value.text("ignorecommand").map(str::to_owned));
    let cache = read.get("ignorecache", ignore_cache);
    let ignore_command = ignore_command.filter(|command| !command.trim().is_empty());
    let ignore_command = ignore_command.map(|command| Arc::new(IgnoreCommand { command, cache }));
    settings.asks = ignore_command.is_some();
    let rules = rules(name.clone(), &settings, &mut read);
    let mut errors = read.errors;
    let recidive = filter.as_deref() == Some(RECIDIVE);
    if recidive {
        settings.recidive = Some(settings.name.clone());
        if let Some(value) = fields.get("logpath").map(|(_, value)| value) {
            errors.push(value.error("filter \"recidive\" counts portero's own bans and takes no logpath"));
        }
    }
    for (key, missing) in [
        ("filter", !fields.contains_key("filter")),
        ("logpath", !fields.contains_key("logpath") && !recidive),
    ] {
        if missing {
            errors.push(whole.error_in_whole(format!(
                "jail {name} has no {key}; to change single keys of a shipped jail put them into jails/{name}.d/NAME.toml"
            )));
        }
    }
    let logpath = logpath.or_else(|| recidive.then(Vec::new));
    let (Some(filter), Some(logpath), true) = (filter, logpath, errors.is_empty()) else {
        return Err(errors);
    };
    Ok(JailConfig {
        enabled,
        description: description.unwrap_or_default(),
        settings,
        rules,
        filter,
        logpath,
        backend,
        timezone: timezone.unwrap_or(around.timezone),
        file: whole.label().to_owned(),
        shipped: false,
        ignore_command,
        run: Vec::new(),
        fail2ban: None,
    })
}

/// The jail's rule.
fn settings(name: JailName, read: &mut Reader<'_>) -> JailSettings {
    let mut settings = JailSettings::new(name);
    if let Some(count) = read.get("maxretry", |value| value.number("maxretry", 1..=1_000_000)) {
        settings.maxretry = count as u32;
    }
    if let Some(findtime) = read.get("findtime", |value| value.duration("findtime")) {
        settings.findtime = findtime;
        if findtime.is_zero() {
            read.wrong("findtime", "findtime must be longer than 0; examples: 600, 10m, 1h 30m");
        }
    }
    if let Some(bantime) = read.get("bantime", |value| value.span("bantime")) {
        settings.bantime = bantime;
        if bantime == Span::For(Duration::ZERO) {
            read.wrong(
                "bantime",
                "bantime must be longer than 0; examples: 600, 10m, 1h 30m, -1 (never ends)",
            );
        }
    }
    if let Some(increment) = read.get("bantime_increment", increment) {
        settings.increment = increment;
    }
    let key = |value: &Value| match value.text("key")? {
        "account" => Err(value.error("key \"account\" is not available in this version; one of: ip, subnet")),
        _ => value.word("key", &["ip", "subnet"]),
    };
    if let Some("subnet") = read.get("key", key) {
        settings.key = KeyKind::Subnet;
        settings.ipv4_prefix = 24;
    }
    if let Some(prefix) = read.get("ipv4_prefix", |value| value.number("ipv4_prefix", 1..=32)) {
        settings.ipv4_prefix = prefix as u8;
        if settings.key == KeyKind::Ip && prefix != 32 {
            read.wrong(
                "ipv4_prefix",
                format!("ipv4_prefix {prefix} counts by network; say so with key = \"subnet\""),
            );
        }
    }
    if let Some(prefix) = read.get("ipv6_prefix", |value| value.number("ipv6_prefix", 1..=128)) {
        settings.ipv6_prefix = prefix as u8;
    }
    settings.ignoreip = read.get("ignoreip", ignore_list).unwrap_or_default();
    settings.ignoreself = read.get("ignoreself", |value| value.flag("ignoreself")).unwrap_or(true);
    settings
}

/// What the jail's bans do to packets.
fn rules(name: JailName, settings: &JailSettings, read: &mut Reader<'_>) -> JailRules {
    let mut rules = JailRules::all_ports(name);
    rules.ports = read.get("port", ports::of_value).unwrap_or(Ports::All);
    let all = rules.ports == Ports::All;
    let typed = read.get("protocol", |value| ports::protocols(value, &rules.ports));
    rules.protocols = typed.unwrap_or(if all { Vec::new() } else { vec![Protocol::Tcp] });
    if let Some("reject") = read.get("action", |value| value.word("action", &["drop", "reject"])) {
        rules.verdict = Verdict::Reject;
    }
    if let Some("forward") = read.get("hook", |value| value.word("hook", &["prerouting", "forward"])) {
        rules.hook = Hook::Forward;
    }
    rules.ipv4_prefix = if settings.key == KeyKind::Subnet { settings.ipv4_prefix } else { 32 };
    rules.ipv6_prefix = settings.ipv6_prefix;
    rules
}

/// `postfix-sasl`, `sshd[mode=aggressive]`; whether there is such a filter is looked up elsewhere.
fn filter_spec(value: &Value) -> Result<String, ReportedError> {
    let text = value.text("filter")?.trim();
    let name = text.split('[').next().unwrap_or_default();
    let fit = JailName::new(name).is_some() && (name.len() == text.len() || text.ends_with(']'));
    if fit {
        Ok(text.to_owned())
    } else {
        let message = format!(
            "filter {text:?} is not a filter's name; examples: \"postfix-sasl\", \"sshd[mode=aggressive]\""
        );
        Err(value.error(message))
    }
}

fn log_paths(value: &Value) -> Result<Vec<String>, ReportedError> {
    let mut paths = Vec::new();
    for item in value.list() {
        let path = item.text("logpath")?;
        if !path.starts_with('/') {
            return Err(item.error(format!("logpath {path:?} must be an absolute path")));
        }
        if let Err(error) = glob::Pattern::new(path) {
            return Err(item.error(format!("logpath {path:?} is not a pattern: {}", error.msg)));
        }
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
    }
    if paths.is_empty() {
        return Err(value.error("logpath is empty: there is nothing to read"));
    }
    Ok(paths)
}

fn backend(value: &Value) -> Result<Backend, ReportedError> {
    match value.word("backend", &["auto", "file", "journal"])? {
        "file" => Ok(Backend::File),
        "journal" => {
            Err(value
                .error("backend \"journal\" is not available in this version; \"auto\" and \"file\" are"))
        }
        _ => Ok(Backend::Auto),
    }
}

/// `ignoreip`: addresses, networks, host names, `file:/path`.
pub(super) fn ignore_list(value: &Value) -> Result<Vec<IgnoreEntry>, ReportedError> {
    let mut entries = Vec::new();
    value.texts("ignoreip")?;
    for item in value.list() {
        for word in item.text("ignoreip")?.split([' ', ',']).filter(|word| !word.is_empty()) {
            entries.push(word.parse().map_err(|_| {
                item.error(format!(
                    "ignoreip {word:?} is not an address, a network, a host name or a file; examples: \
                     192.0.2.0/24, 2001:db8::1, office.example.org, file:/etc/portero/allow.txt"
                ))
            })?);
        }
    }
    Ok(entries)
}

/// `ignorecache = 'key="<ip>", max-count=100, max-time=5m'`.
fn ignore_cache(value: &Value) -> Result<IgnoreCache, ReportedError> {
    let read = IgnoreCache::read(value.text("ignorecache")?);
    read.map_err(|why| {
        value.error(format!("ignorecache: {why}; example: 'key=\"<ip>\", max-count=100, max-time=5m'"))
    })
}

/// `bantime_increment = true` or a table, which switches it on unless it says `enabled = false`.
fn increment(value: &Value) -> Result<Increment, ReportedError> {
    const KEYS: &[&str] = &[
        "enabled",
        "factor",
        "multipliers",
        "formula",
        "scale",
        "maxtime",
        "rndtime",
        "known_bad",
        "overalljails",
        "decay",
    ];
    if let Ok(enabled) = value.flag("bantime_increment") {
        return Ok(Increment { enabled, ..Increment::default() });
    }
    let entries: &Entries = value.table("bantime_increment").map_err(|_| {
        value.error(
            "bantime_increment must be a table; example: { enabled = true, factor = 2, maxtime = \"5w\" }",
        )
    })?;
    let mut out = Increment { enabled: true, ..Increment::default() };
    for (key, value) in entries {
        let name = format!("bantime_increment.{}", key.name);
        match key.name.as_str() {
            "enabled" => out.enabled = value.flag(&name)?,
            "factor" => {
                out.factor = value.factor(&name)?;
                if out.factor < 1.0 {
                    return Err(value.error(format!("{name} below 1 would make bans shorter each time")));
                }
            }
            "multipliers" => {
                out.multipliers =
                    value.list().iter().map(|item| item.factor(&name)).collect::<Result<_, _>>()?;
            }
            "formula" => {
                let text = value.text(&name)?;
                let formula = text.parse().map_err(|why| value.error(format!("{name} {text:?}: {why}")))?;
                out.formula = Some(formula);
            }
            "scale" => out.scale = value.factor(&name)?,
            "maxtime" => {
                out.maxtime = match value.span(&name)? {
                    Span::For(length) => Some(length),
                    Span::Forever => None,
                }
            }
            "rndtime" => out.rndtime = value.duration(&name)?,
            "known_bad" => out.known_bad = value.flag(&name)?,
            "overalljails" => out.overalljails = value.flag(&name)?,
            "decay" => {
                out.decay = match value.span(&name)? {
                    Span::For(Duration::ZERO) | Span::Forever => None,
                    Span::For(length) => Some(length),
                }
            }
            _ => return Err(key.unknown("bantime_increment", KEYS)),
        }
    }
    Ok(out)
}
