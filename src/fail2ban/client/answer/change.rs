//! Commands that change something: `set`, `unban`, `reload`.

use super::{Answer, Answerer, cannot, look, odd, word};
use crate::addr::Net;
use crate::control::protocol::{BanAnswer, JailChange, Request, Response};
use crate::fail2ban::client::value::{Refusal, Value};
use crate::fail2ban::time;

/// How many targets go out in one request.
const TARGETS_PER_REQUEST: usize = 1000;

/// Settings that fail2ban changes at run time and portero only by its configuration.
const CONFIGURED: &[&str] = &[
    "idle",
    "ignorecommand",
    "ignorecache",
    "addlogpath",
    "dellogpath",
    "logencoding",
    "logtimezone",
    "addjournalmatch",
    "deljournalmatch",
    "addfailregex",
    "delfailregex",
    "addignoreregex",
    "delignoreregex",
    "prefregex",
    "datepattern",
    "usedns",
    "maxmatches",
    "maxlines",
    "addaction",
    "delaction",
    "action",
    "attempt",
];

impl Answerer<'_> {
    pub(super) fn set(&mut self, words: &[&str]) -> Answer {
        let jail = word(words, 0)?;
        if ["loglevel", "logtarget", "syslogsocket", "allowipv6", "thread"].contains(&jail)
            || ["dbfile", "dbmaxmatches", "dbpurgeage"].contains(&jail)
        {
            word(words, 1)?;
            return Err(cannot(
                &format!("set {jail}"),
                "it stands in the configuration, and holds from start on",
            ));
        }
        let (what, values) = (word(words, 1)?, &words[2..]);
        match what {
            "banip" => self.ban(jail, values),
            "unbanip" => {
                let report = word(values, 0)? == "--report-absent";
                self.unban_targets(Some(jail), if report { &values[1..] } else { values }, report)
            }
            "addignoreip" => {
                let entries = values.iter().map(|value| (*value).to_owned()).collect();
                self.change(jail, "ignoreip", JailChange::AddIgnoreip(entries))
            }
            "delignoreip" => {
                self.change(jail, "ignoreip", JailChange::DelIgnoreip(word(values, 0)?.to_owned()))
            }
            "bantime" => self.change(jail, what, JailChange::Bantime(length(word(values, 0)?)?)),
            "findtime" => self.change(jail, what, JailChange::Findtime(length(word(values, 0)?)?)),
            "maxretry" => {
                let text = word(values, 0)?;
                let wrong = || {
                    Refusal::Bad(format!(
                        "invalid literal for int() with base 10: {}",
                        Value::text(text).repr()
                    ))
                };
                let count = text.trim().parse::<i64>().map_err(|_| wrong())?;
                self.change(jail, what, JailChange::Maxretry(count.clamp(0, u32::MAX.into()) as u32))
            }
            "ignoreself" => {
                let text = word(values, 0)?.to_lowercase();
                let on = ["1", "on", "true", "yes"].contains(&text.as_str());
                self.change(jail, what, JailChange::Ignoreself(on))
            }
            _ if CONFIGURED.contains(&what) || what.starts_with("bantime.") => {
                self.jail(jail)?;
                let why = "it stands in the jail's configuration: change it there, then reload";
                Err(cannot(&format!("set {jail} {what}"), why))
            }
            _ => Err(Refusal::Other(format!(
                "Invalid command {} (no set action or not yet implemented)",
                Value::text(what).repr()
            ))),
        }
    }

    /// Changes a setting and answers it as `get` would.
    fn change(&mut self, jail: &str, what: &str, change: JailChange) -> Answer {
        match self.ask_of(jail, Request::JailSet { jail: jail.to_owned(), change })? {
            Response::JailSettings(settings) => look::setting(&settings, what).ok_or_else(odd),
            _ => Err(odd()),
        }
    }

    /// The number of those that were not banned before. What is never banned is an error that names it, after
    /// all others were banned.
    fn ban(&mut self, jail: &str, targets: &[&str]) -> Answer {
        self.jail(jail)?;
        let mut new = 0;
        let mut refused = Vec::new();
        for targets in targets.chunks(TARGETS_PER_REQUEST) {
            let request = Request::Ban {
                targets: targets.iter().map(|target| (*target).to_owned()).collect(),
                jail: Some(jail.to_owned()),
                for_secs: None,
                reason: Some("fail2ban-client set banip".to_owned()),
                force: false,
            };
            let Response::Ban(answers) = self.ask_of(jail, request)? else { return Err(odd()) };
            for answer in answers {
                match answer {
                    BanAnswer::Banned(ban) => new += i64::from(!ban.renewed),
                    BanAnswer::Refused { error, .. } => refused.push(error.message),
                }
            }
        }
        if refused.is_empty() { Ok(Value::Int(new)) } else { Err(Refusal::Bad(refused.join("; "))) }
    }

    /// `unban --all`, `unban IP...`: in all jails.
    pub(super) fn unban(&mut self, words: &[&str]) -> Answer {
        match words {
            [] => Err(Refusal::Other("Invalid command".to_owned())),
            ["--all"] => self.unban_all(None),
            targets => self.unban_targets(None, targets, false),
        }
    }

    fn unban_all(&mut self, jail: Option<&str>) -> Answer {
        self.lift(Vec::new(), true, jail).map(|lifted| Value::Int(lifted.into_iter().sum()))
    }

    /// The number of bans lifted. `report`: targets without a ban are an error, after the others were let in.
    fn unban_targets(&mut self, jail: Option<&str>, targets: &[&str], report: bool) -> Answer {
        if let Some(jail) = jail {
            self.jail(jail)?;
        }
        // Here targets are addresses and networks: nothing else is ever banned, an account least of all.
        let known: Vec<&str> =
            targets.iter().copied().filter(|target| target.parse::<Net>().is_ok()).collect();
        let mut counts = Vec::new();
        for targets in known.chunks(TARGETS_PER_REQUEST) {
            let targets = targets.iter().map(|target| (*target).to_owned()).collect();
            counts.extend(self.lift(targets, false, jail)?);
        }
        let lifted =
            |target: &str| known.iter().zip(&counts).any(|(known, count)| *known == target && *count > 0);
        let absent: Vec<&str> = targets.iter().copied().filter(|target| !lifted(target)).collect();
        if report && !absent.is_empty() {
            return Err(Refusal::Bad(format!("not banned: {}", Value::texts(absent))));
        }
        Ok(Value::Int(counts.into_iter().sum()))
    }

    /// Bans lifted for each target.
    fn lift(&mut self, targets: Vec<String>, all: bool, jail: Option<&str>) -> Result<Vec<i64>, Refusal> {
        let request = Request::Unban {
            targets,
            all,
            jail: jail.map(str::to_owned),
            grace_secs: None,
            reason: Some("fail2ban-client".to_owned()),
            all_addresses: false,
        };
        match self.ask_of(jail.unwrap_or_default(), request)? {
            Response::Unban(answers) => Ok(answers.iter().map(|one| one.lifted_total as i64).collect()),
            _ => Err(odd()),
        }
    }

    /// `reload [--restart] [--unban] [--if-exists] [--all|JAIL]`. The whole configuration is read in any case:
    /// what did not change keeps its state.
    pub(super) fn reload(&mut self, words: &[&str]) -> Answer {
        let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
        let jail = match names.as_slice() {
            [] => None,
            [jail] => Some(*jail),
            _ => return Err(Refusal::Other("Unexpected argument(s) for reload".to_owned())),
        };
        let has = |option: &str| options.contains(&option);
        if let Some(name) = jail
            && let Err(refusal) = self.jail(name)
            // A jail that is only now in the configuration is known after the reload.
            && has("--if-exists")
        {
            return match refusal {
                Refusal::UnknownJail(_) => Ok(Value::text("OK")),
                other => Err(other),
            };
        }
        if has("--unban") && jail.is_none_or(|name| self.jail(name).is_ok()) {
            self.unban_all(jail)?;
        }
        let Response::Reload(report) = self.ask(Request::Reload)? else { return Err(odd()) };
        if !report.ok {
            let texts: Vec<String> = report.problems.into_iter().map(|problem| problem.text).collect();
            return Err(Refusal::Other(texts.join("\n")));
        }
        match jail {
            Some(name) => self.jail(name).map(|_| Value::text("OK")),
            None => Ok(Value::text("OK")),
        }
    }
}

/// `1h 30m` in seconds.
fn length(text: &str) -> Result<f64, Refusal> {
    time::seconds(text).ok_or_else(|| {
        Refusal::Bad(format!("{} is no length of time; examples: 600, 10m, 1h 30m", Value::text(text).repr()))
    })
}
