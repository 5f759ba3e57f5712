//! `banctl replay`: the whole engine over old logs in log time, without firewall, store or clock.
//!
//! What comes from a place that is shut out at that moment would not have been written: it is left out, neither
//! counted nor learnt from.

mod merge;
mod services;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chrono_tz::Tz;

use super::failure::{Failure, end, fail, lost};
use super::values::timezone;
use crate::addr::{Host, Net};
use crate::config::{Config, JailConfig};
use crate::exit;
use crate::filter::peer::TrustedProxies;
use crate::filter::{Context, Filter, FilterSet, FilterSpec};
use crate::jail::ignore::{Never, read_list};
use crate::jail::{Action, Ban, JailId, JailSettings, Jails};
use crate::time::{Clock, SystemClock, Timestamp};

use merge::{Found, Merge, ZoneFilters};
use services::Services;

/// Runs the engine over old logs in their own time and prints its bans.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A configuration like /etc/portero. Where it enables no jail, all that are known run.
    #[arg(long, value_name = "D", default_value = "/etc/portero")]
    pub config_dir: PathBuf,
    /// Zone of dates that carry none, instead of the configuration's.
    #[arg(long, value_name = "TZ", value_parser = timezone)]
    pub timezone: Option<Tz>,
    /// What "now" is for dates without a year, in epoch seconds; by default when the newest log was written.
    #[arg(long, value_name = "EPOCH")]
    pub now: Option<f64>,
    /// A log to read; may be given more than once. The lines of all are merged by their time.
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    pub log: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ReplayArgs, json: bool) -> ExitCode {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let done = replay(args, json, &mut out).and_then(|()| out.flush().map_err(|error| lost(&error)));
    end(done.map(|()| exit::OK))
}

fn replay(args: &ReplayArgs, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let loaded = Config::load(&args.config_dir).map_err(|fatal| fail(exit::CONFIG, fatal))?;
    for problem in &loaded.problems {
        eprintln!("banctl: {problem}");
    }
    let config = loaded.config;
    let now = match args.now {
        Some(secs) => Timestamp::from_secs_f64(secs),
        None => newest(&args.log),
    };
    let mut engine = Replay::new(&config, args.timezone)?;
    let mut logs = Merge::open(&args.log, &engine.filters, now, &config.limits)
        .map_err(|error| fail(exit::NO, error))?;
    let mut actions = Vec::new();
    while let Some(found) = logs.next(&engine.filters).map_err(|error| fail(exit::NO, error))? {
        engine.step(&found, &mut actions);
        for action in actions.drain(..) {
            engine.write(&action, json, out).map_err(|error| lost(&error))?;
        }
    }
    Ok(())
}

/// When the newest of `logs` was last written; now, where that is not to be known.
fn newest(logs: &[PathBuf]) -> Timestamp {
    let written = logs.iter().filter_map(|log| std::fs::metadata(log).ok()?.modified().ok());
    let written = written.filter_map(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    match written.max() {
        Some(since) => Timestamp::from_micros(since.as_micros() as i64),
        None => SystemClock::new().now(),
    }
}

/// The filters whose jails read dates in `zone`, each with those jails.
struct ZoneGroup {
    zone: Tz,
    filters: Vec<Arc<Filter>>,
    jails: Vec<Vec<JailId>>,
}

impl ZoneGroup {
    fn add(&mut self, filter: Filter, jail: JailId) {
        let same = |known: &Arc<Filter>| known.name == filter.name && known.mode == filter.mode;
        match self.filters.iter().position(same) {
            Some(at) => self.jails[at].push(jail),
            None => {
                self.filters.push(Arc::new(filter));
                self.jails.push(vec![jail]);
            }
        }
    }
}

/// The engine: filters, jails, and which of them belong together.
struct Replay {
    jails: Jails,
    /// By `JailId`: what a ban of that jail closes.
    closes: Vec<Services>,
    filters: Vec<ZoneFilters>,
}

impl Replay {
    fn new(config: &Config, zone: Option<Tz>) -> Result<Replay, Failure> {
        let mut chosen: Vec<&JailConfig> = config.enabled().collect();
        if chosen.is_empty() {
            // What the lines alone lead to: bans of bans are asked for by name.
            chosen = config.jails.iter().filter(|jail| jail.settings.recidive.is_none()).collect();
        }
        // Nothing is run for an old line: a jail that would ask bans.
        let settings =
            chosen.iter().map(|jail| JailSettings { asks: false, ..jail.settings.clone() }).collect();
        // Any seed does: only rndtime and eviction hang on it, and a replay must come out the same each time.
        let mut jails = Jails::new(settings, config.ignoreip.clone(), &config.limits, 0);
        let start = Timestamp::default();
        let mut none = Vec::new();
        jails.set_never(start, Never::TrustedProxy, config.trusted_proxies.clone(), &mut none);
        for path in jails.files() {
            let entries = std::fs::read_to_string(&path).map(|text| read_list(&text).0).unwrap_or_default();
            jails.set_file(start, &path, entries, &mut none);
        }
        let mut closes = vec![Services::ALL; jails.ids().count()];
        let mut filters: Vec<ZoneGroup> = Vec::new();
        for jail in chosen {
            let Some(id) = jails.id(jail.settings.name.as_str()) else { continue };
            closes[usize::from(id.0)] = Services::of_ports(&jail.rules.ports);
            if jail.settings.recidive.is_some() {
                continue;
            }
            let filter = load(config, jail)?;
            let zone = zone.unwrap_or(jail.timezone);
            let group = filters.iter().position(|group| group.zone == zone).unwrap_or_else(|| {
                filters.push(ZoneGroup { zone, filters: Vec::new(), jails: Vec::new() });
                filters.len() - 1
            });
            filters[group].add(filter, id);
        }
        let filters = filters
            .into_iter()
            .map(|ZoneGroup { zone, filters, jails }| {
                let context = Context {
                    timezone: zone,
                    year: None,
                    trusted_proxies: TrustedProxies::with_loopback(&config.trusted_proxies),
                    sessions_max: config.limits.sessions_max,
                };
                ZoneFilters { set: FilterSet::new(filters, context), jails }
            })
            .collect();
        Ok(Replay { jails, closes, filters })
    }

    /// Judges one attempt.
    fn step(&mut self, found: &Found, out: &mut Vec<Action>) {
        while self.jails.next_deadline().is_some_and(|end| end <= found.now) {
            self.jails.expire(found.now, out);
        }
        for &jail in &self.filters[found.zone].jails[found.filter] {
            let services = found.services.unwrap_or(self.closes[usize::from(jail.0)]);
            if found.host.is_some_and(|host| self.is_shut_out(host, services, found.at)) {
                continue;
            }
            self.jails.attempt(found.now, false, jail, &found.attempt(), out);
        }
    }

    /// Whether nothing from `host` could have reached `services` at `at`. What happens in the very instant of a
    /// ban passes.
    fn is_shut_out(&self, host: Host, services: Services, at: Timestamp) -> bool {
        let closes = |ban: &Ban| {
            self.jails.id(ban.jail.as_str()).is_some_and(|id| self.closes[usize::from(id.0)].meets(services))
        };
        let holds = |ban: &Ban| ban.since < at && ban.until.is_none_or(|until| at < until);
        self.jails.is_banned(host, None)
            && self.jails.bans_of(Net::host(host)).iter().any(|ban| holds(ban) && closes(ban))
    }

    fn write(&self, action: &Action, json: bool, out: &mut impl Write) -> std::io::Result<()> {
        match action {
            Action::Ban(ban) => {
                let closes = self.jails.id(ban.jail.as_str()).map(|id| self.closes[usize::from(id.0)]);
                let ports = closes.and_then(Services::names);
                if json {
                    let mut event = serde_json::json!({
                        "time": ban.since.to_json(),
                        "action": "ban",
                        "target": ban.target,
                        "until": ban.until.map(Timestamp::to_json),
                        "jail": ban.jail,
                    });
                    if let Some(ports) = ports {
                        event["ports"] = ports.into();
                    }
                    return writeln!(out, "{event}");
                }
                let until = ban.until.map_or("for ever".to_owned(), |until| format!("until {}", show(until)));
                writeln!(out, "{} ban {} {until} {}", show(ban.since), ban.target, ban.jail)
            }
            // A ban that ends when it said it would needs no event.
            Action::Unban { cause: crate::jail::Cause::Expired, .. } => Ok(()),
            Action::Unban { jail, target, at, .. } if json => {
                let event = serde_json::json!({
                    "time": at.to_json(), "action": "unban", "target": target, "jail": jail,
                });
                writeln!(out, "{event}")
            }
            Action::Unban { jail, target, at, .. } => writeln!(out, "{} unban {target} {jail}", show(*at)),
            Action::Ask { .. }
            | Action::BansFull { .. }
            | Action::Ineffective { .. }
            | Action::ClockOff { .. }
            | Action::AllowSetChanged => Ok(()),
        }
    }
}

fn load(config: &Config, jail: &JailConfig) -> Result<Filter, Failure> {
    let spec: FilterSpec =
        jail.filter.parse().map_err(|error| fail(exit::CONFIG, format!("{}: {error}", jail.file)))?;
    let files = config.filters.find(&spec.name).map_err(|error| fail(exit::CONFIG, error))?;
    let files = files
        .ok_or_else(|| fail(exit::CONFIG, format!("{}: there is no filter {:?}", jail.file, spec.name)))?;
    files.load(&spec).map_err(|error| fail(exit::CONFIG, error))
}

fn show(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp(time.secs(), 0)
        .map_or_else(|| time.secs().to_string(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}
