//! A jail of fail2ban, everything resolved: what `import --json` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ini::Options;
use super::matcher::Rules;
use crate::config::report::ReportedError;

/// Of a duration or a number: seconds, or the text that is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Time {
    /// -1: for ever.
    Seconds(i64),
    Text(String),
}

impl Time {
    pub fn read(text: &str) -> Time {
        match super::time::seconds(text) {
            Some(seconds) => Time::Seconds(seconds as i64),
            None => Time::Text(text.to_owned()),
        }
    }
}

/// `bantime.*`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Increment {
    pub enabled: bool,
    pub factor: Option<String>,
    /// A Python expression; portero never evaluates it.
    pub formula: Option<String>,
    pub multipliers: Option<Vec<i64>>,
    pub max_time: Option<Time>,
    pub rnd_time: Option<Time>,
    pub overall_jails: Option<bool>,
}

/// One entry of `action =`.
#[derive(Debug, Clone, Serialize)]
pub struct Action {
    /// Unique within the jail.
    pub name: String,
    /// `action.d/FILE.conf`.
    pub file: String,
    /// As the jail gives them.
    pub options: BTreeMap<String, String>,
    /// `actionban` and the like, and its switches (`true`, `false`).
    pub commands: BTreeMap<String, serde_json::Value>,
    /// What the commands' tags stand for: `[Init]` and the arguments, `tag?family=inet6` among them.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
    /// Commands that are not those of `action.d/FILE.conf` and what it includes: another file or an argument says
    /// them.
    #[serde(skip)]
    pub overridden: Vec<String>,
}

/// One jail that fail2ban would run.
#[derive(Debug, Clone, Serialize)]
pub struct Jail {
    pub name: String,
    pub enabled: bool,
    pub backend: String,
    /// Not expanded; none under systemd.
    pub log_paths: Vec<String>,
    /// Those of `log_paths` that are read from their end on.
    pub log_tail: Vec<String>,
    pub filter: Option<String>,
    pub filter_options: BTreeMap<String, String>,
    pub prefregex: Option<String>,
    pub failregex: Vec<String>,
    pub ignoreregex: Vec<String>,
    pub max_lines: Option<i64>,
    pub date_pattern: Option<String>,
    pub max_retry: Option<i64>,
    pub max_matches: Option<i64>,
    pub find_time: Option<Time>,
    pub ban_time: Option<Time>,
    pub ban_time_increment: Increment,
    pub ports: Vec<String>,
    pub protocol: Option<String>,
    pub ignore_ip: Vec<String>,
    pub ignore_self: Option<bool>,
    pub ignore_command: Option<String>,
    pub ignore_cache: Option<String>,
    pub log_encoding: Option<String>,
    pub log_timezone: Option<String>,
    pub actions: Vec<Action>,
    pub journal_match: Vec<String>,
    pub use_dns: Option<String>,
    /// Where the jail's options and those of its filter were written, as far as they were; those of the filter
    /// only where the jail has none.
    #[serde(skip)]
    pub places: Options,
    /// The same as texts, for `fail2ban-client -d`.
    #[serde(skip)]
    pub said: Said,
}

/// A jail's options as texts, each list in the order in which fail2ban takes them.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub filter: Vec<(String, String)>,
    pub jail: Vec<(String, String)>,
    /// By the action's name: its commands and switches, then its parameters. Not of actions in Python.
    pub actions: Vec<(String, Vec<(String, String)>)>,
}

/// Where something was written does not count: a line added above changes no jail.
impl PartialEq for Jail {
    fn eq(&self, other: &Jail) -> bool {
        let said = |jail: &Jail| serde_json::to_value(jail).ok();
        said(self) == said(other)
    }
}

impl Jail {
    /// `sshd[mode=aggressive]`, as a person reads it; `-` for a jail without a filter.
    pub fn filter_spec(&self) -> String {
        let Some(name) = &self.filter else { return "-".to_owned() };
        let options: Vec<String> =
            self.filter_options.iter().map(|(option, value)| format!("{option}={value}")).collect();
        if options.is_empty() { name.clone() } else { format!("{name}[{}]", options.join(", ")) }
    }

    /// An error about `option` of this jail, at the place where it was written as far as that is known.
    pub fn error(&self, option: &str, message: impl Into<String>) -> ReportedError {
        let place = [option, "filter", "enabled"].iter().find_map(|option| self.places.get(*option));
        match place {
            Some(value) => value.at.error(message),
            None => ReportedError::of_file("jail.conf", message),
        }
    }

    /// What its filter consists of, as the matcher takes it.
    pub fn rules(&self) -> Rules {
        Rules {
            prefregex: self.prefregex.clone(),
            failregex: self.failregex.clone(),
            ignoreregex: self.ignoreregex.clone(),
            maxlines: self.max_lines.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(1),
            datepattern: self.date_pattern.clone(),
            usedns: self.use_dns.clone(),
            logtimezone: self.log_timezone.clone(),
            logencoding: self.log_encoding.clone(),
        }
    }

    /// For a jail that reads fail2ban's own log for bans, as the stock filter `recidive` does: the name of the jail
    /// whose bans it leaves out. `None` for any other jail, and for a `recidive` that was rewritten.
    pub fn counts_bans_except(&self) -> Option<&str> {
        let named = self.filter.as_deref() == Some("recidive");
        let [regex] = &self.failregex[..] else { return None };
        let stock = self.prefregex.is_none() && self.ignoreregex.is_empty() && !regex.contains("Restore");
        let regex = regex.strip_suffix(r"\])(?:.*)\]\s+Ban\s+<HOST>\s*$").filter(|_| named && stock)?;
        let (_, except) = regex.split_once(r"NOTICE\s+\[(?!")?;
        Some(except)
    }

    /// Its lines come from the journal.
    pub fn reads_journal(&self) -> bool {
        self.backend.starts_with("systemd")
    }
}
