//! A jail of fail2ban as a jail of portero, in TOML, and what does not go over.

use std::fmt::Write;

use super::effect::{self, Effect, Role};
use super::ini::At;
use super::jail::{Jail, Time};
use super::note::{Kind, Note};
use crate::jail::IgnoreEntry;

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

/// One jail in portero's own words.
#[derive(Debug)]
pub struct Native {
    /// `jails/NAME.toml`.
    pub toml: String,
    /// It can run as it is; else it needs a hand.
    pub complete: bool,
}

struct Translator<'a> {
    jail: &'a Jail,
    notes: &'a mut Vec<Note>,
    toml: String,
    complete: bool,
}

/// Translates one jail and tells in `notes` what is lost or only nearly the same.
pub fn translate(jail: &Jail, notes: &mut Vec<Note>) -> Native {
    let mut all = Translator { jail, notes, toml: String::new(), complete: true };
    all.filter();
    all.source();
    all.rule();
    all.firewall();
    all.exceptions();
    Native { toml: all.toml, complete: all.complete }
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
        match shipped {
            Some((_, _, filter)) => {
                self.key("filter", *filter, "filter");
                let text = format!(
                    "filter {name} becomes the shipped filter {filter}, which watches the same logins"
                );
                self.note(Kind::Approximation, "filter", text);
                let stock = format!("filter.d/{name}.conf");
                if self.at("failregex").is_some_and(|at| !at.file().ends_with(&stock)) {
                    let text = format!("the patterns added to filter {name} are not taken over");
                    self.note(Kind::Loss, "failregex", text);
                }
            }
            None => {
                self.complete = false;
                self.key("filter", name, "filter");
                for (option, patterns) in [("failregex", &jail.failregex), ("ignoreregex", &jail.ignoreregex)]
                {
                    let hard = patterns.iter().filter(|pattern| backtracks(pattern)).count();
                    if hard > 0 {
                        let text = format!(
                            "{hard} of {} patterns look around or back; they need the slower engine",
                            patterns.len()
                        );
                        self.note(Kind::Approximation, option, text);
                    }
                }
                let text = format!(
                    "the {} patterns of filter {} cannot be written as a native filter: they match the line without \
                     its date, a native filter the message alone",
                    jail.failregex.len(),
                    if name.is_empty() { "(none)" } else { name }
                );
                self.note(Kind::Loss, "filter", text);
            }
        }
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
            if let Some(factor) = &increment.factor {
                match factor.trim().parse::<f64>() {
                    Ok(factor) if factor >= 1.0 => parts.push(format!("factor = {factor:?}")),
                    _ => self.note(
                        Kind::Loss,
                        "bantime.factor",
                        format!("factor {factor} is not a number from 1 up"),
                    ),
                }
            }
            if let Some(list) = &increment.multipliers {
                parts.push(format!("multipliers = {list:?}"));
            } else if increment.formula.is_some() {
                let text = "the formula is Python and is not evaluated; each ban is factor times as long";
                self.note(Kind::Loss, "bantime.formula", text);
            }
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
        for action in &self.jail.actions {
            if let Role::Run(_) = effect::role(action) {
                self.note(Kind::Loss, "action", format!("action {} is not carried out", action.file));
            }
        }
        for (kind, text) in &effect.notes {
            self.note(*kind, "action", text.clone());
        }
        if !effect.bans {
            self.note(Kind::Approximation, "action", "no action bans in a firewall; the native jail does");
        }
        if effect.all_ports {
            self.key("port", "all", "port");
        } else {
            let ports: Vec<String> = effect.ports.iter().map(|port| port.replace(':', "-")).collect();
            self.key("port", ports, "port");
            self.key("protocol", effect.protocols, "protocol");
        }
        if effect.reject {
            self.key("action", "reject", "action");
        }
        if effect.forward {
            self.key("hook", "forward", "action");
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
        if jail.ignore_command.is_some() {
            self.note(
                Kind::Loss,
                "ignorecommand",
                "ignorecommand is not run: those it would except can be banned",
            );
        }
        match jail.use_dns.as_deref() {
            Some("yes") => {
                self.note(Kind::Loss, "usedns", "names in a log are not resolved: such lines do not count")
            }
            Some("raw") => self.note(Kind::Loss, "usedns", "only addresses and networks can be banned"),
            _ => {}
        }
    }
}

/// Whether a pattern looks around or refers back.
fn backtracks(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let reference = bytes.windows(3).any(|w| w[0] != b'\\' && w[1] == b'\\' && (b'1'..=b'9').contains(&w[2]));
    reference || ["(?=", "(?!", "(?<=", "(?<!", "(?(", "(?P="].iter().any(|sign| pattern.contains(sign))
}
