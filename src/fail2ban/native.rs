//! A jail of fail2ban as a jail of portero, in TOML, and what does not go over.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::dialect;
use super::effect::{self, Effect, Role};
use super::ini::At;
use super::jail::{Jail, Time};
use super::matcher::{Program, Rules};
use super::note::{Kind, Note};
use crate::action::{IgnoreCache, import};
use crate::jail::{Formula, IgnoreEntry};
use crate::time::{Clock, SystemClock};

/// Filters of fail2ban and the shipped ones that watch the same logins: name, mode (empty: any), shipped filter.
const SHIPPED: &[(&str, &str, &str)] = &[
    ("sshd", "normal", "sshd"),
    ("sshd", "", "sshd[mode=aggressive]"),
    ("dovecot", "", "dovecot"),
    ("postfix", "auth", "postfix-sasl"),
    ("postfix", "", "postfix"),
    ("exim", "", "exim"),
    ("proftpd", "", "proftpd"),
    ("pure-ftpd", "", "pure-ftpd"),
    ("vsftpd", "", "vsftpd"),
    ("cyrus-imap", "", "cyrus"),
    ("courier-auth", "", "courier"),
    ("sogo-auth", "", "sogo"),
    ("roundcube-auth", "", "roundcube"),
    ("apache-auth", "", "apache-auth"),
    ("nginx-http-auth", "", "nginx-auth"),
    ("horde", "", "horde"),
    ("sendmail-auth", "", "sendmail"),
    ("sendmail-reject", "", "sendmail-reject"),
    ("vaultwarden", "", "vaultwarden"),
];

/// What a filter finds, and where in the line.
const PATTERNS: &[&str] = &["prefregex", "failregex", "ignoreregex", "maxlines", "datepattern"];

/// One jail in portero's own words.
#[derive(Debug)]
pub struct Native {
    /// `jails/NAME.toml`.
    pub toml: String,
    /// `actions/NAME.toml`: names and texts.
    pub actions: Vec<(String, String)>,
    /// It can run as it is; else it needs a hand.
    pub complete: bool,
}

/// Filters to be written beside the jails: names, and what each says.
#[derive(Debug, Default)]
pub struct Filters(BTreeMap<String, (Rules, String)>);

impl Filters {
    /// `filters/NAME.toml` for each: name and text.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, (_, text))| (name.as_str(), text.as_str()))
    }

    /// Adds the filter of `jail`; the name it goes by. Jails that say the same share one.
    fn add(&mut self, jail: &Jail) -> String {
        let fit = |name: &str| -> String {
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
            name.chars().map(plain).collect()
        };
        let rules = jail.rules();
        let filter = fit(jail.filter.as_deref().unwrap_or(&jail.name));
        let shipped = |name: &str| crate::shipped::text_of(crate::shipped::FILTERS, name).is_some();
        let names = [filter.clone(), format!("fail2ban-{filter}"), format!("{filter}-{}", fit(&jail.name))];
        let numbered = (2..).map(|number| format!("{}-{number}", names[2]));
        let free =
            |name: &String| !shipped(name) && self.0.get(name).is_none_or(|(known, _)| *known == rules);
        let name = names.iter().cloned().chain(numbered).find(free).expect("numbers do not end");
        self.0.entry(name.clone()).or_insert_with(|| (rules, dialect::write(jail)));
        name
    }
}

struct Translator<'a> {
    jail: &'a Jail,
    filters: &'a mut Filters,
    notes: &'a mut Vec<Note>,
    toml: String,
    actions: Vec<(String, String)>,
    complete: bool,
    /// The filter is written in fail2ban's dialect, with its encoding, time zone and usedns.
    in_dialect: bool,
}

/// Translates one jail and tells in `notes` what is lost or only nearly the same. A filter without a shipped counterpart
/// goes to `filters`.
pub fn translate(jail: &Jail, filters: &mut Filters, notes: &mut Vec<Note>) -> Native {
    let mut all = Translator {
        jail,
        filters,
        notes,
        toml: String::new(),
        actions: Vec::new(),
        complete: true,
        in_dialect: false,
    };
    all.filter();
    all.source();
    all.rule();
    all.firewall();
    all.exceptions();
    Native { toml: all.toml, actions: all.actions, complete: all.complete }
}

impl Translator<'_> {
    fn at(&self, option: &str) -> Option<At> {
        self.jail.places.get(option).map(|value| value.at.clone())
    }

    fn note(&mut self, kind: Kind, option: &str, text: impl Into<String>) {
        let at = self.at(option);
        self.notes.push(Note::new(kind, &self.jail.name, at.as_ref(), "jail.conf", text));
    }

    /// One key with the place its value came from.
    fn key(&mut self, key: &str, value: impl Into<toml::Value>, option: &str) {
        let value = value.into();
        let place = match self.at(option) {
            Some(at) => format!("  # {}:{}", at.file().replace(char::is_control, "?"), at.line()),
            None => "  # fail2ban's default".to_owned(),
        };
        let _ = writeln!(self.toml, "{key} = {value}{place}");
    }

    fn filter(&mut self) {
        let jail = self.jail;
        let name = jail.filter.as_deref().unwrap_or_default();
        let mode = jail.filter_options.get("mode").map_or("normal", String::as_str);
        let shipped = SHIPPED.iter().find(|(filter, m, _)| *filter == name && (m.is_empty() || *m == mode));
        self.key("enabled", true, "enabled");
        if jail.failregex.is_empty() {
            self.note(
                Kind::Loss,
                "failregex",
                "no failregex: nothing ever matches (a line that begins with ; is a comment)",
            );
        }
        // What somebody wrote by hand is kept as it is: in the jail, or in a file beside the stock ones.
        let own = PATTERNS.iter().filter_map(|option| self.at(option)).any(|at| {
            let file = Path::new(at.file());
            !file.components().any(|part| part.as_os_str() == "filter.d")
                || file.extension().is_some_and(|extension| extension == "local")
        });
        match shipped {
            Some((_, _, filter)) if !own => {
                self.key("filter", *filter, "filter");
                let text = format!(
                    "filter {name} becomes the shipped filter {filter}, which watches the same logins"
                );
                self.note(Kind::Approximation, "filter", text);
            }
            _ => self.own_filter(),
        }
    }

    /// A filter that goes over with its patterns as they are.
    fn own_filter(&mut self) {
        let jail = self.jail;
        for (option, patterns) in [("failregex", &jail.failregex), ("ignoreregex", &jail.ignoreregex)] {
            let hard = patterns.iter().filter(|pattern| backtracks(pattern)).count();
            if hard > 0 {
                let text = format!(
                    "{hard} of {} patterns look around or back; they need the slower engine",
                    patterns.len()
                );
                self.note(Kind::Approximation, option, text);
            }
        }
        let now = SystemClock::new().now();
        match Program::new(&jail.rules(), chrono_tz::Tz::UTC, now) {
            Ok(program) => {
                for (part, said) in program.notes() {
                    self.note(Kind::Approximation, part.option(), format!("{part}: {said}"));
                }
            }
            Err(error) => {
                self.complete = false;
                self.note(Kind::Loss, error.option(), error.to_string());
            }
        }
        self.complete &= !jail.failregex.is_empty();
        let name = self.filters.add(jail);
        self.key("filter", name, "filter");
        self.in_dialect = true;
    }

    fn source(&mut self) {
        let jail = self.jail;
        if jail.backend.starts_with("systemd") {
            self.complete = false;
            self.note(Kind::Loss, "backend", "the journal is not read in this version; name a logpath");
        }
        if jail.log_paths.is_empty() {
            self.complete = false;
            let _ = writeln!(self.toml, "logpath = []  # to be filled in");
        } else {
            self.key("logpath", jail.log_paths.clone(), "logpath");
        }
        if !jail.log_tail.is_empty() {
            self.note(Kind::Approximation, "logpath", "tail is not kept: reading begins one findtime back");
        }
        if self.in_dialect {
            return;
        }
        let encoding = jail.log_encoding.as_deref().unwrap_or("auto").to_lowercase();
        if !["auto", "utf-8", "utf8", "ascii"].contains(&encoding.as_str()) {
            self.note(
                Kind::Loss,
                "logencoding",
                format!("logencoding {encoding} is not used: lines are bytes"),
            );
        }
        if let Some(zone) = &jail.log_timezone {
            match zone.parse::<chrono_tz::Tz>() {
                Ok(_) => self.key("timezone", zone.as_str(), "logtimezone"),
                Err(_) => {
                    self.note(Kind::Loss, "logtimezone", format!("logtimezone {zone} is no zone's name"))
                }
            }
        }
    }

    fn rule(&mut self) {
        let jail = self.jail;
        if let Some(count) = jail.max_retry {
            self.key("maxretry", count.max(1), "maxretry");
        }
        for (key, time) in [("findtime", &jail.find_time), ("bantime", &jail.ban_time)] {
            match time {
                Some(Time::Seconds(seconds)) => {
                    self.key(key, if *seconds < 0 { -1 } else { *seconds }, key);
                }
                Some(Time::Text(_)) => self.complete = false,
                None => {}
            }
        }
        let increment = &jail.ban_time_increment;
        if increment.enabled {
            let mut parts = vec!["enabled = true".to_owned()];
            // fail2ban's factor scales every grown ban, portero's is the growth itself.
            let mut scale = 1.0;
            if let Some(factor) = &increment.factor {
                match factor.trim().parse::<f64>() {
                    Ok(factor) if factor > 0.0 && factor.is_finite() => scale = factor,
                    _ => self.note(
                        Kind::Loss,
                        "bantime.factor",
                        format!("factor {factor} is not a number above 0"),
                    ),
                }
            }
            if let Some(list) = &increment.multipliers {
                let list: Vec<f64> = list.iter().map(|growth| (*growth as f64 * scale).max(0.001)).collect();
                parts.push(format!("multipliers = {list:?}"));
            } else if let Some(formula) = &increment.formula {
                parts.push(format!("scale = {scale:?}"));
                match formula.parse::<Formula>() {
                    Ok(_) => parts.push(format!("formula = {}", toml::Value::from(formula.as_str()))),
                    Err(why) => {
                        let text = format!(
                            "bantime.formula cannot be computed here ({why}); each earlier ban doubles the bantime"
                        );
                        self.note(Kind::Loss, "bantime.formula", text);
                    }
                }
            } else if scale != 1.0 {
                parts.push(format!("scale = {scale:?}"));
            }
            parts.push("known_bad = true".to_owned());
            parts.push("decay = -1".to_owned());
            for (key, time) in [("maxtime", &increment.max_time), ("rndtime", &increment.rnd_time)] {
                if let Some(Time::Seconds(seconds)) = time {
                    parts.push(format!("{key} = {seconds}"));
                }
            }
            parts.push(format!("overalljails = {}", increment.overall_jails.unwrap_or(false)));
            let _ = writeln!(self.toml, "bantime_increment = {{ {} }}", parts.join(", "));
        }
        let _ = writeln!(self.toml, "ipv6_prefix = 128  # as fail2ban bans");
    }

    fn firewall(&mut self) {
        let effect = Effect::of(self.jail);
        for (kind, text) in &effect.notes {
            self.note(*kind, "action", text.clone());
        }
        self.run();
        if !effect.bans {
            self.key("port", "none", "action");
            return;
        }
        if effect.all_ports {
            self.key("port", "all", "port");
        } else {
            let ports: Vec<String> = effect.ports.iter().map(|port| port.replace(':', "-")).collect();
            self.key("port", ports, "port");
        }
        if !effect.protocols.is_empty() {
            self.key("protocol", effect.protocols, "protocol");
        }
        if effect.reject {
            self.key("action", "reject", "action");
        }
        if effect.forward {
            self.key("hook", "forward", "action");
        }
    }

    /// The actions that are run, each as a file of its own: what the jail gives them is part of it.
    fn run(&mut self) {
        let jail = self.jail;
        let mut names = Vec::new();
        for action in &jail.actions {
            if let Role::Run(_) = effect::role(action) {
                let (definition, wrong) = import::definition(action);
                if let Some(why) = wrong {
                    self.note(Kind::Loss, "action", format!("action {}: {why}", action.name));
                }
                let name = file_name(&format!("{}-{}", jail.name, action.name));
                let text = format!(
                    "# action {} of fail2ban's jail {}, from action.d/{}, by banctl import\n{}",
                    file_name(&action.name),
                    file_name(&jail.name),
                    file_name(&action.file),
                    crate::config::action::to_toml(&definition)
                );
                self.actions.push((name.clone(), text));
                names.push(name);
            }
        }
        if !names.is_empty() {
            self.key("run", names, "action");
        }
    }

    fn exceptions(&mut self) {
        let jail = self.jail;
        let (good, bad): (Vec<&String>, Vec<&String>) =
            jail.ignore_ip.iter().partition(|word| word.parse::<IgnoreEntry>().is_ok());
        if !good.is_empty() {
            self.key("ignoreip", good.into_iter().cloned().collect::<Vec<String>>(), "ignoreip");
        }
        for word in bad {
            let text =
                format!("ignoreip \"{word}\" is no address, network, host name or file: it excepts nobody");
            self.note(Kind::Loss, "ignoreip", text);
        }
        if jail.ignore_self == Some(false) {
            self.key("ignoreself", false, "ignoreself");
        }
        if let Some(command) = jail.ignore_command.clone().filter(|command| !command.trim().is_empty()) {
            self.key("ignorecommand", command, "ignorecommand");
            let text = "ignorecommand is asked when the jail would ban, not at each failure";
            self.note(Kind::Approximation, "ignorecommand", text);
            match jail.ignore_cache.clone().map(|cache| IgnoreCache::read(&cache).map(|_| cache)) {
                None => {}
                Some(Ok(cache)) => self.key("ignorecache", cache, "ignorecache"),
                Some(Err(why)) => {
                    self.note(Kind::Loss, "ignorecache", format!("ignorecache: {why}; not used"))
                }
            }
        }
        match jail.use_dns.as_deref() {
            _ if self.in_dialect => {}
            Some("yes") => {
                self.note(Kind::Loss, "usedns", "names in a log are not resolved: such lines do not count")
            }
            Some("raw") => self.note(Kind::Loss, "usedns", "only addresses and networks can be banned"),
            _ => {}
        }
    }
}

/// `name` as part of a file's name.
pub fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

/// Whether a pattern looks around or refers back.
fn backtracks(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let reference = bytes.windows(3).any(|w| w[0] != b'\\' && w[1] == b'\\' && (b'1'..=b'9').contains(&w[2]));
    reference || ["(?=", "(?!", "(?<=", "(?<!", "(?(", "(?P="].iter().any(|sign| pattern.contains(sign))
}
