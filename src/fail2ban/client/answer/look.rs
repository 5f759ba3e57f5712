//! Commands that change nothing: `status`, `banned`, `get`.

use chrono::TimeZone;
use chrono_tz::Tz;

use super::{Answer, Answerer, cannot, seconds, word};
use crate::addr::Net;
use crate::control::protocol::{BanInfo, JailInfo, JailSettingsReport};
use crate::fail2ban::client::datepattern::{DEFAULT_DETECTORS, described};
use crate::fail2ban::client::value::{Refusal, Value};
use crate::source::LogState;
use crate::time::Timestamp;

/// The end of a ban that has none.
const NEVER: &str = "9999-12-31 23:59:59";

impl Answerer<'_> {
    pub(super) fn status(&mut self, words: &[&str]) -> Answer {
        match words {
            [] => Ok(Value::List(list_rows(&self.jails()?))),
            ["--all"] => self.status_all("basic"),
            ["--all", flavor] => self.status_all(flavor),
            [jail] => self.status_jail(jail, "basic"),
            [jail, flavor] => self.status_jail(jail, flavor),
            _ => Err(Refusal::Other("Invalid command (no status)".to_owned())),
        }
    }

    fn status_all(&mut self, flavor: &str) -> Answer {
        if flavor == "stats" {
            return self.statistics();
        }
        let jails = self.jails()?;
        let mut rows = list_rows(&jails);
        let mut each = Vec::new();
        for jail in &jails {
            each.push((Value::text(&*jail.name), self.jail_rows(jail, flavor)?));
        }
        rows.push(Value::Dict(each));
        Ok(Value::List(rows))
    }

    fn status_jail(&mut self, name: &str, flavor: &str) -> Answer {
        let jail = self.jail(name)?;
        if flavor == "stats" {
            let settings = self.settings(name)?;
            return Ok(numbers(&jail, &settings));
        }
        self.jail_rows(&jail, flavor)
    }

    /// `[("Filter", [...]), ("Actions", [...])]`. A flavour that fail2ban does not know is its basic one.
    fn jail_rows(&mut self, jail: &JailInfo, flavor: &str) -> Answer {
        if flavor == "cymru" {
            return Err(cannot(
                "status cymru",
                "it would ask a third party for the network and country of every banned address",
            ));
        }
        let settings = self.settings(&jail.name)?;
        let mut filter = vec![
            Value::pair("Currently failed", Value::Int(jail.tracked as i64)),
            Value::pair("Total failed", Value::Int(jail.failures as i64)),
        ];
        if settings.backend == "systemd" {
            let matches: Vec<Value> = settings.journalmatch.iter().map(Value::text).collect();
            let mut joined = Vec::new();
            for (index, entry) in matches.into_iter().enumerate() {
                if index > 0 {
                    joined.push(Value::text("+"));
                }
                joined.push(entry);
            }
            filter.push(Value::pair("Journal matches", Value::List(joined)));
        } else {
            let here = jail.logs.iter().filter(|log| log.state != LogState::Missing);
            filter.push(Value::pair("File list", Value::texts(here.map(|log| log.path.clone()))));
        }
        let mut actions = vec![
            Value::pair("Currently banned", Value::Int(jail.banned as i64)),
            Value::pair("Total banned", Value::Int(jail.banned_total as i64)),
        ];
        if flavor != "short" {
            let bans = self.bans(Some(&jail.name))?;
            // The list and the number beside it are of one moment.
            actions[0] = Value::pair("Currently banned", Value::Int(bans.len() as i64));
            actions.push(Value::pair("Banned IP list", targets(&bans)));
        }
        Ok(Value::List(vec![
            Value::pair("Filter", Value::List(filter)),
            Value::pair("Actions", Value::List(actions)),
        ]))
    }

    /// Each jail with its backend, its failures and its bans.
    pub(super) fn statistics(&mut self) -> Answer {
        let mut rows = Vec::new();
        for jail in self.jails()? {
            let settings = self.settings(&jail.name)?;
            rows.push((Value::text(&*jail.name), numbers(&jail, &settings)));
        }
        Ok(Value::Dict(rows))
    }

    /// `banned`: every jail with what it bans; `banned IP...`: the jails that ban each.
    pub(super) fn banned(&mut self, targets_asked: &[&str]) -> Answer {
        let jails = self.jails()?;
        let bans = self.bans(None)?;
        if !targets_asked.is_empty() {
            let who = |text: &&str| {
                let of = |jail: &&JailInfo| covers(&bans, Some(&jail.name), text);
                Value::texts(jails.iter().filter(of).map(|jail| jail.name.clone()))
            };
            return Ok(Value::List(targets_asked.iter().map(who).collect()));
        }
        let one = |jail: &JailInfo| {
            let own: Vec<BanInfo> = bans.iter().filter(|ban| ban.jail == jail.name).cloned().collect();
            Value::Dict(vec![(Value::text(&*jail.name), targets(&own))])
        };
        Ok(Value::List(jails.iter().map(one).collect()))
    }

    pub(super) fn get(&mut self, words: &[&str]) -> Answer {
        let name = word(words, 0)?;
        match name {
            "loglevel" | "logtarget" | "syslogsocket" | "dbfile" | "dbpurgeage" | "dbmaxmatches"
            | "thread" => self.get_global(name),
            jail => self.get_of(jail, word(words, 1)?, &words[2..]),
        }
    }

    fn get_global(&mut self, name: &str) -> Answer {
        let settings = self.settings_of_all()?;
        Ok(match name {
            "loglevel" => Value::text(settings.log_level),
            "logtarget" => Value::text(settings.log_target),
            "syslogsocket" => Value::text("auto"),
            // The place of the store: portero has no database of fail2ban's kind.
            "dbfile" => Value::text(settings.state_dir),
            "dbpurgeage" => Value::Int(settings.history_secs as i64),
            "dbmaxmatches" => Value::Int(settings.evidence_lines_max as i64),
            _ => Value::Dict(Vec::new()),
        })
    }

    fn get_of(&mut self, jail: &str, what: &str, more: &[&str]) -> Answer {
        match what {
            "banned" => {
                let bans = self.bans_of(jail)?;
                let one = |text: &&str| Value::Int(covers(&bans, None, text).into());
                return Ok(match more {
                    [] => targets(&bans),
                    [text] => one(text),
                    texts => Value::List(texts.iter().map(one).collect()),
                });
            }
            "banip" => {
                let mut bans = self.bans_of(jail)?;
                bans.sort_by_key(|ban| (ban.until.is_none(), ban.until));
                return Ok(match more {
                    ["--with-time", ..] => Value::texts(bans.iter().map(|ban| with_time(ban, self.zone))),
                    _ => targets(&bans),
                });
            }
            "action" | "actionproperties" | "actionmethods" => {
                self.settings(jail)?;
                let why = "the actions are portero's own; banctl status shows what they do";
                return Err(cannot(&format!("get {jail} {what}"), why));
            }
            _ => {}
        }
        let Some(value) = self.settings(jail).map(|settings| setting(&settings, what))? else {
            return Err(Refusal::Other("Invalid command (no get action or not yet implemented)".to_owned()));
        };
        Ok(value)
    }

    /// The bans of a jail that there is.
    fn bans_of(&mut self, jail: &str) -> Result<Vec<BanInfo>, Refusal> {
        self.jail(jail)?;
        self.bans(Some(jail))
    }
}

/// The rows of `status`.
fn list_rows(jails: &[JailInfo]) -> Vec<Value> {
    let names: Vec<&str> = jails.iter().map(|jail| jail.name.as_str()).collect();
    vec![
        Value::pair("Number of jail", Value::Int(jails.len() as i64)),
        Value::pair("Jail list", Value::text(names.join(", "))),
    ]
}

/// A jail's row of the statistics.
fn numbers(jail: &JailInfo, settings: &JailSettingsReport) -> Value {
    let pair =
        |current: u64, total: u64| Value::Tuple(vec![Value::Int(current as i64), Value::Int(total as i64)]);
    // portero is told by the kernel when a log grows: of fail2ban's backends that is pyinotify.
    let backend = if settings.backend == "systemd" { "systemd" } else { "pyinotify" };
    Value::List(vec![
        Value::text(backend),
        pair(jail.tracked, jail.failures),
        pair(jail.banned, jail.banned_total),
    ])
}

fn targets(bans: &[BanInfo]) -> Value {
    Value::texts(bans.iter().map(|ban| ban.target.clone()))
}

/// Whether one of `bans` shuts `text` out: a ban of it, or of a network that holds it. What is no address is
/// never banned.
fn covers(bans: &[BanInfo], jail: Option<&str>, text: &str) -> bool {
    let Ok(asked) = text.parse::<Net>() else { return false };
    bans.iter()
        .filter(|ban| jail.is_none_or(|jail| ban.jail == jail))
        .any(|ban| ban.target.parse::<Net>().is_ok_and(|net| net.covers(asked)))
}

/// `ADDRESS <tab>BEGIN + SECONDS = END`.
fn with_time(ban: &BanInfo, zone: Tz) -> String {
    let show = |time: Timestamp| match zone.timestamp_opt(time.secs(), 0).single() {
        Some(local) => local.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => NEVER.to_owned(),
    };
    let (length, end) = match ban.until {
        Some(until) => (until.since(ban.since).as_secs() as i64, show(until)),
        None => (-1, NEVER.to_owned()),
    };
    format!("{} \t{} + {length} = {end}", ban.target, show(ban.since))
}

/// One setting of a jail; `None`: there is none of that name.
pub(super) fn setting(settings: &JailSettingsReport, what: &str) -> Option<Value> {
    let text = |text: &Option<String>| text.as_ref().map_or(Value::None, Value::text);
    let or_empty = |text: &Option<String>| Value::text(text.clone().unwrap_or_default());
    let increment = &settings.increment;
    Some(match what {
        "bantime" => seconds(settings.bantime_secs),
        "findtime" => Value::Int(settings.findtime_secs as i64),
        "maxretry" => Value::Int(settings.maxretry.into()),
        "maxmatches" => Value::Int(settings.maxmatches as i64),
        "maxlines" => Value::Int(settings.maxlines as i64),
        "logpath" => Value::texts(&settings.logs),
        "logencoding" => Value::text(&settings.log_encoding),
        "logtimezone" => text(&settings.log_timezone),
        "journalmatch" => {
            Value::List(settings.journalmatch.iter().map(|entry| Value::texts(entry.split(' '))).collect())
        }
        // Single addresses stand last.
        "ignoreip" => {
            let single = |text: &&String| text.parse::<Net>().is_ok_and(|net| net.as_host().is_some());
            let (singles, others): (Vec<_>, Vec<_>) = settings.ignoreip.iter().partition(single);
            Value::texts(others.into_iter().chain(singles))
        }
        "ignoreself" => Value::Bool(settings.ignoreself),
        "ignorecommand" => or_empty(&settings.ignorecommand),
        "ignorecache" => text(&settings.ignorecache),
        "prefregex" => or_empty(&settings.prefregex),
        "failregex" => Value::texts(&settings.failregex),
        "ignoreregex" => Value::texts(&settings.ignoreregex),
        "usedns" => Value::text(&settings.usedns),
        "datepattern" => match &settings.datepattern {
            Some(pattern) => {
                let (pattern, name) = described(pattern);
                Value::Tuple(vec![pattern.map_or(Value::None, Value::Text), Value::Text(name)])
            }
            None => Value::Tuple(vec![Value::None, Value::text(DEFAULT_DETECTORS)]),
        },
        "actions" => Value::texts(&settings.actions),
        _ => match what.strip_prefix("bantime.")? {
            "increment" => increment.enabled.map_or(Value::None, Value::Bool),
            "factor" => text(&increment.factor),
            "formula" => text(&increment.formula),
            "multipliers" => text(&increment.multipliers),
            "maxtime" => increment.maxtime_secs.map_or(Value::None, |secs| Value::Int(secs as i64)),
            "rndtime" => increment.rndtime_secs.map_or(Value::None, |secs| Value::Int(secs as i64)),
            "overalljails" => increment.overalljails.map_or(Value::None, Value::Bool),
            _ => Value::None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(jail: &str, target: &str, until: Option<i64>) -> BanInfo {
        BanInfo {
            jail: jail.into(),
            target: target.into(),
            since: Timestamp::from_secs(1_795_300_000),
            until: until.map(Timestamp::from_secs),
            failures: 5,
            count: 1,
            origin: "jail".into(),
            reason: None,
            effective: true,
            ended: None,
        }
    }

    #[test]
    fn an_address_in_a_banned_network_is_banned() {
        let bans = [ban("a", "2001:db8:1::/64", None), ban("b", "203.0.113.7", None)];
        assert!(covers(&bans, None, "2001:db8:1::5"));
        assert!(covers(&bans, Some("a"), "2001:db8:1::/64"));
        assert!(!covers(&bans, Some("b"), "2001:db8:1::5"));
        assert!(!covers(&bans, None, "203.0.113.0/24"));
        assert!(!covers(&bans, None, "office.example.org"));
    }

    #[test]
    fn bans_show_their_begin_length_and_end_in_local_time() {
        let shown = with_time(&ban("a", "203.0.113.7", Some(1_795_300_600)), Tz::UTC);
        assert_eq!(shown, "203.0.113.7 \t2026-11-21 22:26:40 + 600 = 2026-11-21 22:36:40");
        let shown = with_time(&ban("a", "203.0.113.7", None), chrono_tz::Europe::Berlin);
        assert_eq!(shown, "203.0.113.7 \t2026-11-21 23:26:40 + -1 = 9999-12-31 23:59:59");
    }
}
