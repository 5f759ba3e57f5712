//! Answers about settings, and changes of one jail's that last until the next reload: what scripts around
//! fail2ban-client do with `get` and `set`.

use std::time::Duration;

use super::{Answer, reply};
use crate::control::protocol::{
    ErrorBody, ErrorCode, IncrementReport, JailChange, JailSettingsReport, Response, SettingsReport, Stopping,
};
use crate::control::server::Peer;
use crate::daemon::engine::Engine;
use crate::daemon::load::{Reading, filter_key};
use crate::fail2ban::jail::{Jail as Imported, Time};
use crate::filter::Kind;
use crate::jail::{IgnoreEntry, Increment, JailId, JailSettings, MAXRETRY_MAX};
use crate::source::LogState;
use crate::time::Span;

/// Entries of one jail's ignoreip, beyond which no more are taken at run time. Entries.
const IGNOREIP_MAX: usize = 10_000;

impl Engine {
    pub(super) fn jail_settings(&self, name: &str) -> Response {
        match self.jail_of(name) {
            Ok(id) => Response::JailSettings(Box::new(self.settings_report(id))),
            Err(error) => Response::Error(error),
        }
    }

    fn settings_report(&self, id: JailId) -> JailSettingsReport {
        let settings = self.jails.settings(id);
        let name = settings.name.as_str();
        let global = self.config.ignoreip.iter();
        let mut report = JailSettingsReport {
            jail: name.to_owned(),
            backend: "file".to_owned(),
            maxretry: settings.maxretry,
            findtime_secs: settings.findtime.as_secs(),
            bantime_secs: match settings.bantime {
                Span::For(length) => Some(length.as_secs()),
                Span::Forever => None,
            },
            increment: increment_report(&settings.increment),
            maxmatches: self.config.limits.evidence_lines_max as u64,
            maxlines: 1,
            ignoreip: global.chain(&settings.ignoreip).map(ToString::to_string).collect(),
            ignoreself: settings.ignoreself,
            logs: self.logs_of(name),
            log_encoding: "UTF-8".to_owned(),
            usedns: "no".to_owned(),
            actions: vec![self.enforcer.name().to_owned()],
            ..JailSettingsReport::default()
        };
        let Some(config) = self.config.jail(name) else { return report };
        report.log_timezone = Some(config.timezone.name().to_owned());
        if let Some(jail) = &config.fail2ban {
            as_imported(&mut report, jail);
            return report;
        }
        let loaded = self.filters.get(&filter_key(config)).map(|loaded| &loaded.filter);
        if let Some(Reading::Native(filter)) = loaded {
            let texts = |kind| {
                let patterns = filter.patterns.iter().filter(move |pattern| pattern.kind == kind);
                patterns.map(|pattern| pattern.text.clone()).collect()
            };
            report.failregex = texts(Kind::Fail);
            report.ignoreregex = texts(Kind::Ignore);
        }
        report
    }

    /// The log files of a jail that are there.
    fn logs_of(&self, name: &str) -> Vec<String> {
        let here = self.jail_info(name, &self.tailer.status()).logs.into_iter();
        here.filter(|log| log.state != LogState::Missing).map(|log| log.path).collect()
    }

    pub(super) fn jail_set(&mut self, name: &str, change: JailChange, peer: &Peer, answer: Answer) {
        let id = match self.jail_of(name) {
            Ok(id) => id,
            Err(error) => return reply(answer, Response::Error(error)),
        };
        let what = format!("set {name}: {change:?}");
        let settings = match changed(self.jails.settings(id).clone(), change) {
            Ok(settings) => settings,
            Err(error) => return reply(answer, Response::Error(error)),
        };
        let now = self.clock.now();
        let mut actions = Vec::new();
        self.jails.set_jail(now, settings, &mut actions);
        self.perform(actions, None, now);
        // Names and files among the new entries are asked and read.
        self.look_around(now);
        self.watch_names();
        self.audit(peer, &what, Some(name.to_owned()), None, "done");
        reply(answer, self.jail_settings(name));
    }

    pub(super) fn settings(&self) -> Response {
        use tracing::level_filters::LevelFilter;
        let level = match LevelFilter::current() {
            LevelFilter::OFF => "CRITICAL",
            LevelFilter::ERROR => "ERROR",
            LevelFilter::WARN => "WARNING",
            LevelFilter::INFO => "INFO",
            LevelFilter::DEBUG => "DEBUG",
            _ => "TRACEDEBUG",
        };
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        Response::Settings(SettingsReport {
            log_level: match &self.config.fail2ban {
                Some(main) => main.log_level.clone(),
                None => level.to_owned(),
            },
            log_target: match self.config.fail2ban_log_file() {
                Some(file) => file.display().to_string(),
                None if journal => "SYSTEMD-JOURNAL".to_owned(),
                None => "STDERR".to_owned(),
            },
            state_dir: self.config.state_dir.display().to_string(),
            history_secs: self.config.history.as_secs(),
            evidence_lines_max: self.config.limits.evidence_lines_max as u64,
        })
    }

    pub(super) fn stop(&mut self, peer: &Peer, answer: Answer) {
        self.audit(peer, "stop", None, None, "done");
        reply(answer, Response::Stop(Stopping { ok: true }));
    }
}

/// `settings` with one change, or why it is none.
fn changed(mut settings: JailSettings, change: JailChange) -> Result<JailSettings, ErrorBody> {
    let bad = |message: String| ErrorBody { code: ErrorCode::BadRequest, message, help: None };
    let length = |what: &str, secs: f64| {
        let length = Duration::try_from_secs_f64(secs).ok().filter(|length| length.as_secs() >= 1);
        length.ok_or_else(|| bad(format!("{secs} seconds is no {what}")))
    };
    match change {
        JailChange::Bantime(secs) if secs < 0.0 => settings.bantime = Span::Forever,
        JailChange::Bantime(secs) => settings.bantime = Span::For(length("bantime", secs)?),
        JailChange::Findtime(secs) => settings.findtime = length("findtime", secs)?,
        JailChange::Maxretry(count) if (1..=MAXRETRY_MAX).contains(&count) => settings.maxretry = count,
        JailChange::Maxretry(count) => {
            return Err(bad(format!("maxretry is between 1 and {MAXRETRY_MAX}; {count} is not")));
        }
        JailChange::Ignoreself(on) => settings.ignoreself = on,
        JailChange::AddIgnoreip(texts) => {
            for text in texts {
                let entry: IgnoreEntry = text.parse().map_err(|error| bad(format!("ignoreip: {error}")))?;
                if !settings.ignoreip.contains(&entry) {
                    settings.ignoreip.push(entry);
                }
            }
            if settings.ignoreip.len() > IGNOREIP_MAX {
                return Err(bad(format!("a jail's ignoreip holds {IGNOREIP_MAX} entries at most")));
            }
        }
        JailChange::DelIgnoreip(text) => {
            let entry: Option<IgnoreEntry> = text.parse().ok();
            let before = settings.ignoreip.len();
            settings.ignoreip.retain(|known| Some(known) != entry.as_ref());
            if settings.ignoreip.len() == before {
                return Err(ErrorBody {
                    code: ErrorCode::NotFound,
                    message: format!("{text} is not in the jail's own ignoreip"),
                    help: Some("an entry of portero.toml's ignoreip holds for all jails".to_owned()),
                });
            }
        }
    }
    Ok(settings)
}

/// What a jail of fail2ban says in words of its own.
fn as_imported(report: &mut JailSettingsReport, jail: &Imported) {
    let whole = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let secs = |time: &Option<Time>| match time {
        Some(Time::Seconds(secs)) => u64::try_from(*secs).ok(),
        _ => None,
    };
    if jail.backend.starts_with("systemd") {
        report.backend = "systemd".to_owned();
    }
    report.maxmatches = whole(jail.max_matches).unwrap_or(report.maxmatches);
    report.maxlines = whole(jail.max_lines).unwrap_or(1);
    report.ignorecommand.clone_from(&jail.ignore_command);
    report.ignorecache.clone_from(&jail.ignore_cache);
    if let Some(encoding) = jail.log_encoding.as_ref().filter(|encoding| *encoding != "auto") {
        report.log_encoding.clone_from(encoding);
    }
    report.log_timezone.clone_from(&jail.log_timezone);
    report.journalmatch.clone_from(&jail.journal_match);
    report.prefregex.clone_from(&jail.prefregex);
    report.failregex.clone_from(&jail.failregex);
    report.ignoreregex.clone_from(&jail.ignoreregex);
    report.datepattern.clone_from(&jail.date_pattern);
    report.usedns = jail.use_dns.clone().unwrap_or_else(|| "warn".to_owned());
    report.actions = jail.actions.iter().map(|action| action.name.clone()).collect();
    let increment = &jail.ban_time_increment;
    let numbers = |list: &Vec<i64>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    report.increment = IncrementReport {
        enabled: increment.enabled.then_some(true),
        factor: increment.factor.clone(),
        formula: increment.formula.clone(),
        multipliers: increment.multipliers.as_ref().map(numbers),
        maxtime_secs: secs(&increment.max_time),
        rndtime_secs: secs(&increment.rnd_time),
        overalljails: increment.overall_jails,
    };
}

fn increment_report(increment: &Increment) -> IncrementReport {
    if !increment.enabled {
        return IncrementReport::default();
    }
    let multipliers: Vec<String> = increment.multipliers.iter().map(ToString::to_string).collect();
    IncrementReport {
        enabled: Some(true),
        factor: Some(increment.scale.to_string()),
        formula: increment.formula.as_ref().map(ToString::to_string),
        multipliers: (!multipliers.is_empty()).then(|| multipliers.join(" ")),
        maxtime_secs: increment.maxtime.map(|length| length.as_secs()),
        rndtime_secs: (!increment.rndtime.is_zero()).then_some(increment.rndtime.as_secs()),
        overalljails: Some(increment.overalljails),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::JailName;

    fn settings() -> JailSettings {
        JailSettings::new(JailName::new("demo").unwrap())
    }

    #[test]
    fn numbers_change_within_their_borders() {
        let change = |change| changed(settings(), change);
        assert_eq!(change(JailChange::Bantime(-1.0)).unwrap().bantime, Span::Forever);
        assert_eq!(change(JailChange::Findtime(90.0)).unwrap().findtime, Duration::from_secs(90));
        assert_eq!(change(JailChange::Maxretry(3)).unwrap().maxretry, 3);
        for wrong in [
            JailChange::Bantime(0.0),
            JailChange::Bantime(f64::NAN),
            JailChange::Bantime(1e300),
            JailChange::Findtime(-1.0),
            JailChange::Maxretry(0),
            JailChange::Maxretry(u32::MAX),
        ] {
            assert_eq!(change(wrong).unwrap_err().code, ErrorCode::BadRequest);
        }
    }

    #[test]
    fn ignoreip_grows_by_whole_entries_and_shrinks_by_what_is_there() {
        let add = JailChange::AddIgnoreip(vec!["192.0.2.0/24".into(), "192.0.2.0/24".into()]);
        let with = changed(settings(), add).unwrap();
        assert_eq!(with.ignoreip.len(), 1);
        assert!(changed(with.clone(), JailChange::AddIgnoreip(vec!["192.0.2".into()])).is_err());
        let gone = JailChange::DelIgnoreip("192.0.2.1".into());
        assert_eq!(changed(with.clone(), gone).unwrap_err().code, ErrorCode::NotFound);
        assert!(changed(with, JailChange::DelIgnoreip("192.0.2.0/24".into())).unwrap().ignoreip.is_empty());
    }
}
