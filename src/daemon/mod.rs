//! The daemon: start-up told in order, then the loop.
//!
//! ```text
//! configuration -> store -> jails -> firewall -> control socket -> logs -> loop -> stop
//! ```
//! Everything that can be refused is refused before the first line is read. Stopping leaves the bans in the kernel.

pub mod cli;

pub(crate) use bench::words as trouble_words;

mod actions;
pub mod bench;
mod cuts;
mod desk;
pub mod enforcer;
mod engine;
mod fail2ban_log;
mod flush;
mod inbox;
pub mod load;
mod lookups;
mod names;
pub mod recorder;
pub mod reload;
mod requests;
mod run;
mod shadow;
mod side;
mod surroundings;
mod sweeps;
mod takeover;
mod waits;
mod watchdog;
mod witness;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::cli::Cli;
use self::desk::Desks;
use self::enforcer::Enforcer;
use self::engine::Engine;
use self::fail2ban_log::Fail2banLog;
use self::inbox::{Letter, Signals};
use self::load::Filters;
use self::lookups::Lookups;
use self::recorder::Recorder;
use self::run::Stop;
use self::shadow::Shadow;
use self::side::Side;
use crate::addr::Net;
use crate::config::{Config, Loaded, Problem, Setup};
use crate::control::server::{Patience, Server};
use crate::exit::{CONFIG, NOT_PERMITTED, UNAVAILABLE};
use crate::fail2ban::client;
use crate::fail2ban::database::Database;
use crate::firewall::{self, FirewallError};
use crate::jail::{AllowEntry, GraceEntry, GraceTarget, JailName, Jails, Never};
use crate::limits::Limits;
use crate::source::{Position, Tailer};
use crate::store::{self, Change, DiskStore, JournalSettings, Store, Subject, Unban, UnbanCause};
use crate::text::count;
use crate::time::{Clock, SystemClock, Timestamp};

/// Ended bans that are looked through for what the kernel should not hold any more.
const ENDED_MAX: usize = 10_000;

/// Requests between the clients' servers and the inbox; a client waits for its answer before it asks again. Requests.
const CALLS_MAX: usize = 64;

/// Why start-up ended: the words for a person, and the exit code.
struct Failed(String, u8);

/// Runs the daemon until it is told to stop, or does what the flags ask for instead.
pub fn run(cli: Cli) -> ExitCode {
    start_log();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(why, code)) => {
            eprintln!("portero: {why}");
            ExitCode::from(code)
        }
    }
}

/// The log on stderr, for the journal: what happened, one line each. `RUST_LOG` chooses how much.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    // The journal stamps lines itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(false).with_target(false);
    if journal {
        builder.without_time().init();
    } else {
        builder.with_timer(LogTime).init();
    }
}

/// Time stamps of our own log, from the one clock.
struct LogTime;

impl tracing_subscriber::fmt::time::FormatTime for LogTime {
    fn format_time(&self, to: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let now = SystemClock::new().now();
        let utc = chrono::DateTime::from_timestamp_micros(now.micros()).unwrap_or_default();
        write!(to, "{}", utc.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

fn start(cli: &Cli) -> Result<(), Failed> {
    let setup = cli.setup();
    let (loaded, filters) = load::load(&setup).map_err(|fatal| Failed(fatal.to_string(), CONFIG))?;
    let Loaded { mut config, problems, notes } = loaded;
    cli.apply(&mut config);
    for note in &notes {
        info!("{}", note.line());
    }
    for problem in &problems {
        error!("{problem}");
    }
    let database = match &cli.fail2ban_db {
        Some(path) if !cli.flush => Some(read_database(path, &config)?),
        _ => None,
    };
    if cli.check {
        return check(&config, &problems);
    }
    if cli.flush {
        return flush::flush(&config);
    }
    if config.enabled().next().is_none() {
        let help = match setup.fail2ban_dir {
            Some(_) => "switch some on with enabled = true in jail.local",
            None => "switch some on with enable = [...]",
        };
        return Err(Failed(format!("{}: no usable jail; {help}", setup.name()), CONFIG));
    }
    let runtime = side::runtime().map_err(|why| Failed(format!("cannot start: {why}"), UNAVAILABLE))?;
    let handle = runtime.handle().clone();
    let _inside = handle.enter();
    guard(setup, config, problems, filters, database, runtime)
}

/// fail2ban's database, wholly read before anything is touched: one that cannot be read ends the start.
fn read_database(path: &Path, config: &Config) -> Result<Database, Failed> {
    let Limits { bans_max, histories_max, .. } = config.limits;
    let now = SystemClock::new().now();
    Database::read(path, now, bans_max, histories_max).map_err(|why| Failed(why.to_string(), CONFIG))
}

/// `--check`: says whether the configuration is good.
fn check(config: &Config, problems: &[Problem]) -> Result<(), Failed> {
    let jails = config.enabled().count();
    if problems.is_empty() && jails > 0 {
        println!("configuration good: {}", count(jails as u64, "jail", "jails"));
        return Ok(());
    }
    let why = if jails == 0 {
        "no usable jail".to_owned()
    } else {
        count(problems.len() as u64, "bad jail", "bad jails")
    };
    Err(Failed(why, CONFIG))
}

fn store_failed(why: store::StoreError) -> Failed {
    Failed(why.to_string(), UNAVAILABLE)
}

fn firewall_failed(why: FirewallError) -> Failed {
    let code = if matches!(why, FirewallError::NotPermitted { .. }) { NOT_PERMITTED } else { UNAVAILABLE };
    let help = match code {
        NOT_PERMITTED => {
            "; run it as root or with CAP_NET_ADMIN (packaging/portero.service gives it), or try --firewall log-only"
        }
        _ => "",
    };
    Failed(format!("{why}{help}"), code)
}

fn backend(config: &Config, clock: Arc<dyn Clock>) -> Result<Box<dyn firewall::Firewall>, Failed> {
    firewall::backend(&config.firewall, clock).ok_or_else(|| {
        let known: Vec<&str> = firewall::backends().iter().map(|(name, _)| *name).collect();
        Failed(format!("no firewall {:?}; there are: {}", config.firewall, known.join(", ")), CONFIG)
    })
}

fn open_store(config: &Config, now: Timestamp) -> Result<Box<dyn Store>, Failed> {
    let settings = JournalSettings {
        history_age: config.history,
        evidence_age: config.evidence,
        ..JournalSettings::default()
    };
    let store = DiskStore::open(&config.state_dir, &config.limits, settings, now).map_err(store_failed)?;
    Ok(Box::new(store))
}

/// What the store held beside the jails' own memory.
#[derive(Default)]
struct Restored {
    positions: HashMap<PathBuf, Position>,
    filter_states: Vec<(PathBuf, Vec<u8>)>,
    taken: takeover::Before,
}

/// Puts everything that was in force into the jails.
fn restore(store: &mut dyn Store, jails: &mut Jails, now: Timestamp) -> Result<Restored, Failed> {
    let mut restored = Restored::default();
    jails.expect_bans(store.bans_to_load());
    let mut bans = 0usize;
    let mut take = |change| match change {
        Change::Ban(ban) => bans += usize::from(jails.restore_ban(now, &ban)),
        Change::Window { jail, key: Subject::Net(key), window: Some(window) } => {
            jails.restore_window(&jail, key, &window);
        }
        Change::History { jail: Some(jail), target, history: Some(history) } => {
            jails.restore_history(&jail, target, history.count, history.last_until);
        }
        Change::Counters { jail, counters: Some(counters) } => {
            jails.restore_counters(&jail, counters.failures, counters.bans);
        }
        Change::Position { path, record: Some(record) } => {
            if let Some(state) = record.filter_state {
                restored.filter_states.push((path.clone(), state));
            }
            restored.positions.insert(path, record.position);
        }
        Change::Taken { jail, target, taken: Some(taken) } => {
            restored.taken.insert((jail, target), taken);
        }
        Change::Grace { subject, grace: Some(grace) } => {
            let target = match subject {
                Subject::Net(net) => GraceTarget::Net(net),
                Subject::Account(account) => GraceTarget::Account(account),
            };
            jails.restore_grace(GraceEntry { target, until: grace.until });
        }
        Change::Allow { entry, allow: Some(allow) } => {
            if let Ok(target) = entry.parse() {
                let by = allow.by.unwrap_or_default();
                jails.restore_allow(AllowEntry { target, until: allow.until, by, reason: allow.reason });
            }
        }
        _ => {}
    };
    store.load(&mut take).map_err(store_failed)?;
    info!(bans, logs = restored.positions.len(), "remembered");
    Ok(restored)
}

/// Bans that a person lifted and the kernel may still hold, because a crash came in between.
fn lifted(ended: Vec<Unban>) -> HashSet<(JailName, Net)> {
    ended
        .into_iter()
        .filter(|end| end.cause != UnbanCause::Expired)
        .map(|end| (end.jail, end.target))
        .collect()
}

fn guard(
    setup: Setup,
    config: Config,
    problems: Vec<Problem>,
    filters: Filters,
    database: Option<Database>,
    runtime: Runtime,
) -> Result<(), Failed> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let started = clock.monotonic();
    let now = clock.now();
    info!(version = env!("CARGO_PKG_VERSION"), config = %setup.name(), "portero starts");

    // A second daemon is refused here, by the store's lock, before it touches anything.
    let mut store = open_store(&config, now)?;
    let server = Server::bind(&config.socket).map_err(|why| Failed(why.to_string(), UNAVAILABLE))?;
    for warning in &server.warnings {
        warn!("{warning}");
    }

    let fail2ban = config.fail2ban_socket.as_ref().and_then(client::server::Server::open);

    let seed = now.micros() as u64 ^ u64::from(std::process::id()).rotate_left(32);
    let mut jails = Jails::new(reload::settings(&config), config.ignoreip.clone(), &config.limits, seed);
    let mut actions = Vec::new();
    let never = surroundings::never_banned();
    for (kind, nets) in &never {
        jails.set_never(now, *kind, nets.clone(), &mut actions);
    }
    let mut restored = restore(&mut *store, &mut jails, now)?;
    // The last of these lists after the bans, which all of them are held against now.
    jails.set_never(now, Never::TrustedProxy, config.trusted_proxies.clone(), &mut actions);
    jails.expire(now, &mut actions);
    let mut fail2ban_log = Fail2banLog::new(config.fail2ban_log_file());
    let ended = store.ended(ENDED_MAX).unwrap_or_default();
    let taken = database.map(|database| {
        takeover::take_over(database, now, &config, &mut jails, &restored.taken, &ended, &restored.positions)
    });
    let taken = taken.unwrap_or_default();
    restored.positions.extend(taken.positions);
    for change in &taken.changes {
        if let Change::Ban(ban) = change {
            fail2ban_log.ban(now, ban, None);
        }
    }

    let plan = reload::plan(&config, jails.allow_nets());
    let lifted = lifted(ended);
    let unrecorded = |jail: &JailName, target: Net| !lifted.contains(&(jail.clone(), target));
    let enforcer = Enforcer::open(backend(&config, clock.clone())?, plan, &jails, unrecorded, now)
        .map_err(firewall_failed)?;
    // The kernel holds them by now: enforcing does not wait for the store.
    let unkept = takeover::commit(taken.changes, &mut *store, now);

    let shadow = config.shadow_log_file().map(|log| Shadow::open(log, &config.state_dir, now));
    let shadow = shadow.transpose().map_err(|why| {
        Failed(format!("cannot go on in {}: {why}", config.state_dir.display()), UNAVAILABLE)
    })?;
    let tailer = Tailer::new(&config.limits).map_err(|why| Failed(why.to_string(), UNAVAILABLE))?;
    let mut desks = Desks::new();
    desks.configure(&config, &jails, &filters);
    for (path, state) in restored.filter_states {
        desks.store_state(path.into(), state);
    }

    let cannot_wait = |why: std::io::Error| Failed(format!("cannot wait for events: {why}"), UNAVAILABLE);
    let (letters, inbox) = inbox::inbox().map_err(cannot_wait)?;
    let (commands, verdicts) = actions::start(&config.limits, clock.clone(), letters.clone());
    for notice in store.take_notices() {
        warn!("{notice}");
    }
    let limits = config.limits.clone();
    let events = letters.clone();
    let store = store::Handle::start(store, &limits, move |event| {
        events.post(Letter::Store(event));
    })
    .map_err(|why| Failed(format!("cannot start the store's thread: {why}"), UNAVAILABLE))?;
    let mut engine = Engine {
        clock,
        started,
        clock_offset: now.micros() - started.as_micros() as i64,
        setup,
        config,
        problems,
        filters,
        jails,
        enforcer,
        actions: commands,
        verdicts,
        asked: Default::default(),
        store,
        tailer,
        desks,
        recorder: Recorder::new(&limits),
        notes: Vec::new(),
        letters: letters.clone(),
        never,
        caught_up: false,
        names: None,
        lookups: Lookups::new(letters.clone()),
        fail2ban_log,
        shadow,
    };
    for frame in unkept {
        engine.store.submit(frame);
    }
    for note in taken.notes {
        engine.note(note);
    }
    engine.perform(actions, None, now);
    engine.configure_actions();
    let patterns = engine.desks.patterns();
    engine.open_logs(&patterns, &restored.positions, now);
    if let Some(shadow) = &engine.shadow {
        info!(log = %shadow.log.display(), "shadow mode: nothing is enforced; banctl shadow compares");
        shadow.follow(&mut engine.tailer, &restored.positions, now);
    }
    engine.look_around(now);
    engine.watch_names();

    let (calls_in, calls) = mpsc::channel(CALLS_MAX);
    if let Some(server) = fail2ban {
        tokio::spawn(server.serve(calls_in.clone()));
    }
    tokio::spawn(async move { server.serve(&limits, Patience::default(), calls_in).await });
    tokio::spawn(inbox::forward(calls, Signals::heed().map_err(cannot_wait)?, letters));
    let side =
        Side::run(runtime).map_err(|why| Failed(format!("cannot start a thread: {why}"), UNAVAILABLE))?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    info!(jails = engine.config.enabled().count(), firewall = engine.enforcer.name(), "guarding");
    crate::sys::memory::give_back();
    crate::sys::memory::give_back_code();
    let stop = engine.run(inbox).map_err(cannot_wait)?;

    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    match stop {
        Stop::Signal | Stop::Asked if engine.enforcer.firewall().enforces() => {
            info!("stopping; the bans stay in the kernel");
        }
        Stop::Signal | Stop::Asked => info!("stopping"),
        Stop::Flushed => info!("flushed and stopping"),
    }
    if stop != Stop::Signal {
        // The answer to who asked for the end is on its way out.
        std::thread::sleep(Duration::from_millis(50));
    }
    engine.close();
    drop(engine);
    // The sockets go last: where they are gone, another daemon may start.
    drop(side);
    Ok(())
}
