//! The world around the daemon, and the daemon's own order of things: decide, enforce, record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portero::addr::{Host, Net};
use portero::daemon::enforcer::Enforcer;
use portero::daemon::recorder::{Recorder, cause_of};
use portero::filter::{Attempt, Outcome};
use portero::firewall::{JailRules, KernelBan, Plan};
use portero::jail::{Action, Ban, Cause, Increment, JailName, JailSettings, Jails, KeyKind, Origin, time_of};
use portero::limits::Limits;
use portero::store::{self, Change, Frame, PositionRecord, Store, Subject};
use portero::time::{Span, Timestamp};

use super::kernel::Kernel;

const LOG: &str = "/var/log/mail.log";

/// One line of the log.
#[derive(Clone)]
struct Line {
    jail: usize,
    host: Host,
    outcome: Outcome,
    times: u32,
    time: Timestamp,
    /// By which time it counted when it was last read.
    counted_at: Option<Timestamp>,
}

/// The parts of the daemon that a crash takes with it.
struct Daemon {
    jails: Jails,
    recorder: Recorder,
    enforcer: Enforcer,
    /// Lines read.
    read: usize,
    /// Frames that the disk has not taken yet.
    queue: VecDeque<Frame>,
    caught_up: bool,
}

pub struct World {
    random: u64,
    settings: Vec<JailSettings>,
    /// The wall clock, which may jump.
    now: Timestamp,
    kernel: Kernel,
    store: Box<dyn Store>,
    disk_fails: bool,
    log: Vec<Line>,
    daemon: Daemon,
    pub bans_made: u32,
}

fn name(text: &str) -> JailName {
    JailName::new(text).expect("a jail's name")
}

fn plan(settings: &[JailSettings]) -> Plan {
    let names = settings.iter().map(|jail| jail.name.clone()).chain([JailName::manual()]);
    Plan { jails: names.map(JailRules::all_ports).collect(), ..Plan::default() }
}

impl World {
    pub fn new(seed: u64) -> World {
        let increment = Increment { enabled: true, rndtime: Duration::from_secs(30), ..Increment::default() };
        let settings = vec![
            JailSettings::new(name("postfix-sasl")),
            JailSettings { maxretry: 3, increment, ..JailSettings::new(name("cyrus")) },
            JailSettings {
                key: KeyKind::Subnet,
                ipv4_prefix: 24,
                findtime: Duration::from_secs(7200),
                maxretry: 8,
                ..JailSettings::new(name("subnets"))
            },
        ];
        let now = Timestamp::from_secs(1_795_300_000);
        let kernel = Kernel::default();
        let mut store = store::open("memory", Path::new("/nowhere"), &Limits::default(), now)
            .expect("the memory store opens");
        let daemon = start(&settings, &kernel, store.as_mut(), now, seed);
        World {
            random: seed,
            settings,
            now,
            kernel,
            store,
            disk_fails: false,
            log: Vec::new(),
            daemon,
            bans_made: 0,
        }
    }

    /// Below `bound`; an LCG of its own, so that no draw of the jails moves the world.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn host(&mut self) -> Host {
        let n = self.draw(24);
        let text = match n % 4 {
            0 => format!("2001:db8:0:{}::{}", n % 3, self.draw(50)),
            _ => format!("203.0.{}.{}", 113 + n % 2, n),
        };
        text.parse().expect("an address")
    }

    /// One thing happens; then everything is looked at.
    pub fn step(&mut self) {
        match self.draw(100) {
            0..=44 => self.write_lines(),
            45..=69 => {
                let secs = self.draw(90);
                self.pass(secs);
            }
            70..=73 => {
                let secs = self.draw(4000);
                self.pass(secs);
            }
            74..=76 => self.ban_by_hand(),
            77..=81 => self.unban_by_hand(),
            82..=85 => self.crash(),
            86..=88 => self.disk_fails = !self.disk_fails,
            89..=91 => {
                let refusals = 1 + self.draw(3) as u32;
                self.kernel.sets().refusals = refusals;
            }
            92..=94 => {
                let mut sets = self.kernel.sets();
                sets.elements.clear();
                sets.table = false;
            }
            _ => self.jump(),
        }
        let lines = 1 + self.draw(40) as usize;
        self.read(lines);
        self.record();
        self.check();
    }

    /// Everything is mended and read to its end.
    pub fn settle(&mut self) {
        self.disk_fails = false;
        self.kernel.sets().refusals = 0;
        self.read(usize::MAX);
        self.record();
        self.check();
        assert!(self.daemon.queue.is_empty() && self.daemon.read == self.log.len());
    }

    fn write_lines(&mut self) {
        let host = self.host();
        for _ in 0..1 + self.draw(6) {
            let host = if self.draw(4) == 0 { self.host() } else { host };
            let line = Line {
                jail: self.draw(3) as usize,
                host,
                outcome: if self.draw(8) == 0 { Outcome::Success } else { Outcome::Failure },
                times: if self.draw(12) == 0 { 1 + self.draw(4) as u32 } else { 1 },
                // Now and then a server whose clock is off, or a line that was long under way.
                time: match self.draw(20) {
                    0 => self.now.minus(Duration::from_secs(self.random % 200)),
                    1 => self.now.plus(Duration::from_secs(self.random % 7200)),
                    _ => self.now,
                },
                counted_at: None,
            };
            self.log.push(line);
        }
    }

    fn pass(&mut self, secs: u64) {
        let span = Duration::from_secs(secs);
        self.now = self.now.plus(span);
        self.kernel.sets().uptime += span;
    }

    /// The wall clock is set; the daemon notices that it and the time since start have come apart.
    fn jump(&mut self) {
        let span = Duration::from_secs(self.draw(6 * 3600));
        self.now = if self.draw(2) == 0 { self.now.plus(span) } else { self.now.minus(span) };
        let mut actions = Vec::new();
        self.daemon.jails.expire(self.now, &mut actions);
        self.perform(actions);
        self.daemon.enforcer.restore(&self.daemon.jails, self.now);
    }

    fn crash(&mut self) {
        let down = self.draw(300);
        self.pass(down);
        let refusals = std::mem::take(&mut self.kernel.sets().refusals);
        let seed = self.draw(u64::from(u32::MAX));
        self.daemon = start(&self.settings, &self.kernel, self.store.as_mut(), self.now, seed);
        self.kernel.sets().refusals = refusals;
    }

    fn ban_by_hand(&mut self) {
        let target = Net::host(self.host());
        let span = match self.draw(3) {
            0 => Some(Span::Forever),
            1 => Some(Span::For(Duration::from_secs(60 + self.draw(600)))),
            _ => None,
        };
        let mut actions = Vec::new();
        let jails = &mut self.daemon.jails;
        jails.ban(self.now, None, target, span, None, false, &mut actions).expect("nothing forbids it");
        self.perform(actions);
    }

    /// Recorded first, then lifted: what was answered stays lifted.
    fn unban_by_hand(&mut self) {
        if self.disk_fails {
            return;
        }
        self.record();
        let target = Net::host(self.host());
        let mut actions = Vec::new();
        self.daemon.jails.unban(self.now, None, target, &mut actions);
        for action in &actions {
            if let Action::Unban { jail, target, at, cause } = action {
                self.daemon.recorder.unban(jail, *target, *at, cause_of(*cause), Some("helpdesk"), None);
            }
        }
        self.record();
        if self.draw(4) == 0 {
            // The daemon dies between the two.
            self.crash();
            assert!(self.daemon.jails.bans_of(target).is_empty(), "an unban that was recorded came back");
            return;
        }
        let unbans: Vec<(JailName, Net)> = actions
            .into_iter()
            .filter_map(|action| match action {
                Action::Unban { jail, target, .. } => Some((jail, target)),
                _ => None,
            })
            .collect();
        self.daemon.enforcer.apply(&[], &unbans, &self.daemon.jails, self.now);
    }

    /// Reads some lines; what they lead to is enforced at once.
    fn read(&mut self, lines: usize) {
        let mut actions = Vec::new();
        self.daemon.jails.expire(self.now, &mut actions);
        self.perform(actions);
        for at in self.daemon.read..self.log.len().min(self.daemon.read.saturating_add(lines)) {
            let live = self.daemon.caught_up;
            let line = &mut self.log[at];
            line.counted_at = Some(time_of(self.now, live, Some(line.time)));
            let attempt = Attempt {
                outcome: line.outcome,
                host: Some(line.host),
                user: Some(b"info@example.org"),
                pwhash: None,
                time: Some(line.time),
                times: line.times,
                line: b"",
                line_index: 0,
                filter: 0,
                pattern: 0,
                beside: Default::default(),
            };
            let jails = &mut self.daemon.jails;
            let jail = jails.id(self.settings[line.jail].name.as_str()).expect("it is configured");
            let mut actions = Vec::new();
            jails.attempt(self.now, live, jail, &attempt, &mut actions);
            self.daemon.recorder.attempt(self.now, None, &Arc::from(Path::new(LOG)), &attempt);
            self.daemon.read = at + 1;
            for action in &actions {
                self.judge(action);
            }
            self.perform(actions);
        }
        let read = self.daemon.read as u64;
        let record =
            PositionRecord { filter_state: Some(read.to_le_bytes().to_vec()), ..PositionRecord::default() };
        self.daemon.recorder.position(&Arc::from(Path::new(LOG)), record);
        if !self.daemon.caught_up && self.daemon.read == self.log.len() {
            self.daemon.caught_up = true;
            self.take_over();
        }
    }

    /// Bans found in the kernel that no line explained.
    fn take_over(&mut self) {
        for KernelBan { jail, target, left } in self.daemon.enforcer.take_found(self.now) {
            let ban = Ban {
                jail,
                target,
                since: self.now,
                until: left.end(self.now),
                failures: 0,
                count: 1,
                origin: Origin::Kernel,
                reason: None,
                effective: true,
            };
            assert!(self.daemon.jails.restore_ban(self.now, &ban));
            self.daemon.recorder.ban(&ban);
        }
    }

    /// As the engine does it: enforce, then record.
    fn perform(&mut self, actions: Vec<Action>) {
        let (mut bans, mut unbans) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Ban(ban) => {
                    self.bans_made += 1;
                    let left = ban.left(self.now).expect("no ban is made that is over");
                    self.daemon.enforcer.explained(&ban.jail, ban.target);
                    self.daemon.recorder.ban(&ban);
                    bans.push(KernelBan { jail: ban.jail, target: ban.target, left });
                }
                Action::Unban { jail, target, at, cause } => {
                    self.daemon.recorder.unban(&jail, target, at, cause_of(cause), None, None);
                    if cause != Cause::Expired {
                        unbans.push((jail, target));
                    }
                }
                _ => {}
            }
        }
        self.daemon.enforcer.apply(&bans, &unbans, &self.daemon.jails, self.now);
    }

    fn record(&mut self) {
        let frame = self.daemon.recorder.take(self.now, &mut self.daemon.jails, true);
        self.daemon.queue.extend(frame);
        while !self.disk_fails {
            let Some(frame) = self.daemon.queue.pop_front() else { return };
            self.store.commit(&mut [frame]).expect("memory has room");
        }
    }

    /// Nobody is banned below maxretry: so many failures stand in the log within findtime, each line once.
    fn judge(&self, action: &Action) {
        let Action::Ban(ban) = action else { return };
        let settings = self.settings.iter().position(|jail| jail.name == ban.jail).expect("a rule's ban");
        let rule = &self.settings[settings];
        let from = ban.since.minus(rule.findtime);
        let failures: u32 = self.log[..self.daemon.read]
            .iter()
            .filter(|line| line.jail == settings && line.outcome == Outcome::Failure)
            .filter(|line| ban.target.contains(line.host))
            .filter(|line| line.counted_at.is_some_and(|at| from <= at && at <= ban.since))
            .map(|line| line.times)
            .sum();
        assert!(failures >= rule.maxretry, "{ban:?} stands on {failures} failures");
    }

    /// The kernel holds exactly the bans in force, with the right ends.
    fn check(&mut self) {
        // The firewall is looked at every half minute; a refusal is tried again after a while.
        for _ in 0..8 {
            if self.daemon.enforcer.problem().is_none() && self.kernel.sets().table {
                break;
            }
            self.pass(64);
            let mut actions = Vec::new();
            self.daemon.jails.expire(self.now, &mut actions);
            self.perform(actions);
            self.daemon.enforcer.look(&self.daemon.jails, self.now);
        }
        let mut actions = Vec::new();
        self.daemon.jails.expire(self.now, &mut actions);
        self.perform(actions);
        // Until the log is read to its end these may yet be explained by it.
        let found = self.daemon.enforcer.found();
        let found: BTreeSet<(JailName, Net)> =
            found.iter().map(|ban| (ban.jail.clone(), ban.target)).collect();
        let mut sets = self.kernel.sets();
        sets.expire();
        let uptime = sets.uptime;
        let held: BTreeMap<(JailName, Net), Option<Duration>> = sets
            .elements
            .iter()
            .filter(|(key, _)| !found.contains(key))
            .map(|(key, end)| (key.clone(), end.map(|end| end - uptime)))
            .collect();
        let want: BTreeMap<(JailName, Net), Option<Duration>> = self
            .daemon
            .jails
            .bans()
            .map(|ban| ((ban.jail, ban.target), ban.until.map(|until| until.since(self.now))))
            .collect();
        assert_eq!(held, want, "left: the kernel, right: the jails");
    }
}

/// Starts as the daemon does: what the store holds, then what the kernel holds.
fn start(
    settings: &[JailSettings],
    kernel: &Kernel,
    store: &mut dyn Store,
    now: Timestamp,
    seed: u64,
) -> Daemon {
    let limits = Limits::default();
    let mut jails = Jails::new(settings.to_vec(), Vec::new(), &limits, seed);
    let mut read = 0;
    let mut take = |change| match change {
        Change::Ban(ban) => assert!(jails.restore_ban(now, &ban)),
        Change::Window { jail, key: Subject::Net(key), window: Some(window) } => {
            assert!(jails.restore_window(&jail, key, &window));
        }
        Change::History { jail: Some(jail), target, history: Some(history) } => {
            assert!(jails.restore_history(&jail, target, history.count, history.last_until));
        }
        Change::Counters { jail, counters: Some(counters) } => {
            assert!(jails.restore_counters(&jail, counters.failures, counters.bans));
        }
        Change::Position { record: Some(PositionRecord { filter_state: Some(state), .. }), .. } => {
            read = u64::from_le_bytes(state.try_into().expect("eight bytes")) as usize;
        }
        _ => {}
    };
    store.load(&mut take).expect("memory is there");
    let ended = store.ended(10_000).expect("memory is there");
    let lifted: BTreeSet<(JailName, Net)> = ended
        .into_iter()
        .filter(|end| end.cause != store::UnbanCause::Expired)
        .map(|end| (end.jail, end.target))
        .collect();
    let unrecorded = |jail: &JailName, target: Net| !lifted.contains(&(jail.clone(), target));
    let enforcer = Enforcer::open(Box::new(kernel.clone()), plan(settings), &jails, unrecorded, now)
        .expect("the kernel opens");
    Daemon {
        jails,
        recorder: Recorder::new(&limits),
        enforcer,
        read,
        queue: VecDeque::new(),
        caught_up: false,
    }
}
