//! `banctl replay`: the whole engine over old logs in log time, without firewall, store or clock.
//!
//! What comes from a place that is shut out at that moment would not have been written: it is left out, neither
//! counted nor learnt from.

mod merge;
mod services;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono_tz::Tz;

use super::failure::{Failure, end, fail, lost};
use super::values::timezone;
use crate::addr::{Host, Net};
use crate::config::{Config, DEFAULT_PATH, JailConfig, Setup};
use crate::daemon::bench::{Bench, Seat, benches};
use crate::daemon::load::{self, Filters};
use crate::exit;
use crate::filter::Context;
use crate::jail::ignore::{Never, read_list};
use crate::jail::{Action, Ban, JailSettings, Jails};
use crate::time::{Clock, SystemClock, Timestamp};

use merge::{Found, Merge};
use services::Services;

/// Where the configuration lies.
const DEFAULT_DIR: &str = "/etc/portero";

/// Runs the engine over old logs in their own time and prints its bans.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// A configuration like /etc/portero. Where it enables no jail, all that are known run.
    #[arg(long, value_name = "D", default_value = DEFAULT_DIR)]
    pub config_dir: PathBuf,
    /// The jails of the fail2ban configuration in D, beside those of --config-dir that are on.
    #[arg(long, value_name = "D")]
    pub fail2ban_dir: Option<PathBuf>,
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
    // Beside fail2ban's jails no portero.toml need be there.
    let alone = args.config_dir == Path::new(DEFAULT_DIR) && !args.config_dir.exists();
    let config = if alone { Path::new(DEFAULT_PATH) } else { &args.config_dir };
    let setup = Setup { config: config.to_owned(), fail2ban_dir: args.fail2ban_dir.clone() };
    let mut loaded = setup.load().map_err(|fatal| fail(exit::CONFIG, fatal))?;
    choose(&mut loaded.config, args.timezone);
    let filters = load::compile(&mut loaded);
    for problem in &loaded.problems {
        eprintln!("banctl: {problem}");
    }
    let config = loaded.config;
    if config.enabled().next().is_none() {
        return Err(fail(exit::CONFIG, format!("{}: no usable jail", setup.name())));
    }
    let now = match args.now {
        Some(secs) => Timestamp::from_secs_f64(secs),
        None => newest(&args.log),
    };
    let mut engine = Replay::new(&config, &filters);
    let mut logs = Merge::open(&args.log, &engine.benches, now, &config.limits)
        .map_err(|error| fail(exit::NO, error))?;
    let mut actions = Vec::new();
    while let Some(found) = logs.next(&engine.benches).map_err(|error| fail(exit::NO, error))? {
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

/// The engine: filters, jails, and which of them belong together.
struct Replay {
    jails: Jails,
    /// By `JailId`: what a ban of that jail closes.
    closes: Vec<Services>,
    benches: Vec<Arc<Bench>>,
}

/// Leaves on what is to run: the jails that are on, or where none is, all. `zone`: instead of the jails' own.
fn choose(config: &mut Config, zone: Option<Tz>) {
    let none = config.enabled().next().is_none();
    for jail in &mut config.jails {
        // What the lines alone lead to: bans of bans are asked for by name.
        jail.enabled |= none && jail.settings.recidive.is_none();
        jail.timezone = zone.unwrap_or(jail.timezone);
    }
}

impl Replay {
    fn new(config: &Config, filters: &Filters) -> Replay {
        // Nothing is run for an old line: a jail that would ask bans.
        let settings =
            config.enabled().map(|jail| JailSettings { asks: false, ..jail.settings.clone() }).collect();
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
        let contexts: Vec<(&JailConfig, Context)> =
            config.enabled().map(|jail| (jail, load::context(jail.timezone, config))).collect();
        let mut seats = Vec::new();
        for (jail, context) in &contexts {
            let Some(id) = jails.id(jail.settings.name.as_str()) else { continue };
            closes[usize::from(id.0)] = Services::of_ports(&jail.rules.ports);
            // One that counts bans reads nothing.
            if let Some(loaded) = filters.get(&load::filter_key(jail)) {
                seats.push(Seat { jail: id, reading: &loaded.filter, context });
            }
        }
        Replay { jails, closes, benches: benches(&seats) }
    }

    /// Judges one attempt.
    fn step(&mut self, found: &Found, out: &mut Vec<Action>) {
        while self.jails.next_deadline().is_some_and(|end| end <= found.now) {
            self.jails.expire(found.now, out);
        }
        for &jail in &self.benches[found.bench].jails[found.filter] {
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

fn show(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp(time.secs(), 0)
        .map_or_else(|| time.secs().to_string(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}
