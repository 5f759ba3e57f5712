//! [`Jails`]: all jails together. Here is how an attempt is judged and how things end; by hand: `hand.rs`,
//! whom to leave alone: `lists.rs`, storing and reconfiguring: `keep.rs`.

use std::time::Duration;

use super::bans::{Bans, Held};
use super::bantime;
use super::history::Histories;
use super::ignore::{IgnoreEntry, Known};
use super::keymap::Key;
use super::nets::NetSet;
use super::random::Random;
use super::track::Tracked;
use super::window::Ripe;
use super::{
    Action, AllowEntry, Ban, Cause, GraceEntry, GraceTarget, JailCounts, JailId, JailName, JailSettings,
    Origin, Seen,
};
use crate::addr::{Host, Net};
use crate::filter::{Attempt, Outcome};
use crate::limits::Limits;
use crate::time::{Span, Timestamp};

/// A live line dated further from the clock than this counts as now; so does any line dated further ahead.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);

/// How often a clock that is off is said for one jail.
const CLOCK_OFF_SAID_EVERY: Duration = Duration::from_secs(86_400);

/// How often it is said that there is no room for more bans.
const FULL_SAID_EVERY: Duration = Duration::from_secs(60);

/// Failures this soon after a ban may have been under way already.
const SETTLING: Duration = Duration::from_secs(5);

/// So many failures after [`SETTLING`] show that a ban does nothing.
const INEFFECTIVE_FAILURES: u8 = 3;

/// After so long without an old line the logs count as caught up.
const CATCHING_UP: Duration = Duration::from_secs(60);

/// A grace is kept this long after its end, for lines that are read late.
const GRACE_KEPT: Duration = Duration::from_secs(3600);

/// Failures that a grace of an account takes, over all addresses: enough for every device of one person,
/// too few to guess a password.
pub const ACCOUNT_GRACE_FAILURES_MAX: u32 = 200;

/// One jail's settings and counters; its windows and bans lie in the common tables.
#[derive(Debug)]
pub(super) struct Jail {
    pub settings: JailSettings,
    /// Its own ignoreip.
    pub ignored: NetSet,
    /// False once the configuration has it no more; its place waits for the name to come back.
    pub alive: bool,
    pub counts: JailCounts,
    pub counts_dirty: bool,
    /// When a clock that is off was last said.
    pub clock_said: Option<Timestamp>,
    /// When the last line came that was not live.
    pub catching_up: Option<Timestamp>,
}

/// Every jail's windows, bans and history.
#[derive(Debug)]
pub struct Jails {
    pub(super) jails: Vec<Jail>,
    pub(super) ignoreip: Vec<IgnoreEntry>,
    pub(super) known: Known,
    /// `ignoreip`, resolved.
    pub(super) ignored: NetSet,
    pub(super) never: NetSet,
    pub(super) allow: Vec<AllowEntry>,
    pub(super) allowed: NetSet,
    pub(super) graces: Vec<Grace>,
    /// The networks among the graces.
    pub(super) graced: NetSet,
    pub(super) tracked: Tracked,
    pub(super) bans: Bans,
    pub(super) histories: Histories,
    pub(super) random: Random,
    pub(super) bans_max: usize,
    full_said: Option<Timestamp>,
}

/// A grace and how many failures it has taken.
#[derive(Debug)]
pub(super) struct Grace {
    pub entry: GraceEntry,
    pub taken: u32,
    /// Ended, and kept only for lines that are read late.
    pub over: bool,
}

impl Jails {
    /// `seed` drives `rndtime`, eviction and hashing; the same seed and the same calls give the same actions.
    /// A jail `manual` is always there; settings of that name give it other numbers.
    pub fn new(settings: Vec<JailSettings>, ignoreip: Vec<IgnoreEntry>, limits: &Limits, seed: u64) -> Jails {
        let mut random = Random::new(seed);
        let mut jails = Jails {
            jails: Vec::new(),
            ignoreip: Vec::new(),
            known: Known::default(),
            ignored: NetSet::default(),
            never: NetSet::default(),
            allow: Vec::new(),
            allowed: NetSet::default(),
            graces: Vec::new(),
            graced: NetSet::default(),
            tracked: Tracked::new(limits.tracked_keys_max, &mut random),
            bans: Bans::new(&mut random),
            histories: Histories::new(limits.histories_max, &mut random),
            random,
            bans_max: limits.bans_max,
            full_said: None,
        };
        jails.put_jail(JailSettings::new(JailName::manual()));
        // No bans yet, so nothing can be lifted.
        jails.reconfigure(Timestamp::default(), settings, ignoreip, &mut Vec::new());
        jails
    }

    /// The jail of that name; stays the same as long as the jail lives, over any number of reconfigurations.
    pub fn id(&self, name: &str) -> Option<JailId> {
        let at = self.jails.iter().position(|jail| jail.alive && jail.settings.name.as_str() == name)?;
        // `put_jail` makes no more than u16 can count.
        Some(JailId(at as u16))
    }

    /// What `jail` was told.
    pub fn settings(&self, jail: JailId) -> &JailSettings {
        &self.jail(jail).settings
    }

    /// All jails, `manual` first.
    pub fn ids(&self) -> impl Iterator<Item = JailId> + '_ {
        let alive = self.jails.iter().enumerate().filter(|(_, jail)| jail.alive);
        alive.map(|(at, _)| JailId(at as u16))
    }

    pub(super) fn jail(&self, id: JailId) -> &Jail {
        &self.jails[usize::from(id.0)]
    }

    pub(super) fn jail_mut(&mut self, id: JailId) -> &mut Jail {
        &mut self.jails[usize::from(id.0)]
    }

    pub(super) fn name(&self, id: JailId) -> JailName {
        self.jail(id).settings.name.clone()
    }

    /// One attempt of one jail. `live`: the line was just written. Actions are pushed to `out`.
    pub fn attempt(
        &mut self,
        now: Timestamp,
        live: bool,
        jail: JailId,
        attempt: &Attempt<'_>,
        out: &mut Vec<Action>,
    ) -> Seen {
        let at = time_of(now, live, attempt.time);
        if let Some(log) = attempt.time.filter(|log| *log != at) {
            self.say_clock_off(now, jail, log, out);
        }
        if !live {
            self.jail_mut(jail).catching_up = Some(now);
        }
        if attempt.outcome == Outcome::Success {
            return Seen::Success;
        }
        let Some(host) = attempt.host else { return Seen::NoHost };
        let times = attempt.times;
        if times == 0 {
            return Seen::Repeated;
        }
        if self.leaves_alone(at, jail, host, attempt.user, times) {
            return Seen::Ignored;
        }
        self.count_failures(jail, times);
        if self.is_shut_out(at, jail, host, times, out) {
            return Seen::AlreadyBanned;
        }
        let net = match attempt.beside.prefix {
            Some(prefix) => Net::of(host, prefix),
            None => self.jail(jail).settings.key_of(host),
        };
        let key = Key { jail, net };
        self.count(now, key, at, times, out)
    }

    /// Counts `times` failures of `key` at `at`, and bans it if they are enough.
    pub(super) fn count(
        &mut self,
        now: Timestamp,
        key: Key,
        at: Timestamp,
        times: u32,
        out: &mut Vec<Action>,
    ) -> Seen {
        let jail = key.jail;
        let (maxretry, findtime) = self.jail(jail).settings.rule();
        if self.is_too_old(now, jail, at) {
            return Seen::TooOld;
        }
        let times = times.saturating_mul(self.weight(key, at));
        let mut evicted = None;
        let known_before = self.tracked.len();
        let ripe = self.tracked.push(key, at, times, (maxretry, findtime), &mut self.random, &mut evicted);
        if let Some(evicted) = evicted {
            self.jail_mut(evicted.jail).counts.tracked -= 1;
            self.jail_mut(jail).counts.tracked += 1;
        } else {
            self.jail_mut(jail).counts.tracked += self.tracked.len() - known_before;
        }
        match ripe {
            Some(Ripe { last, failures }) if self.jail(jail).settings.asks => {
                out.push(Action::Ask { jail: self.name(jail), target: key.net, last, failures });
                Seen::Counted
            }
            Some(ripe) => self.ban_by_rule(now, key, ripe, out),
            None => Seen::Counted,
        }
    }

    /// Whether failures of `host` do not count in `jail`: ignored, never banned, allowed, under grace.
    pub(super) fn leaves_alone(
        &mut self,
        at: Timestamp,
        jail: JailId,
        host: Host,
        user: Option<&[u8]>,
        times: u32,
    ) -> bool {
        if super::ignore::is_no_peer(Net::host(host)) {
            return true;
        }
        if self.never.contains(host) {
            if !self.jail(jail).settings.ignoreself && self.known.is_own(host) {
                self.count_failures(jail, times);
            }
            return true;
        }
        self.ignored.contains(host)
            || self.jail(jail).ignored.contains(host)
            || self.allowed.contains(host)
            || self.under_grace(at, host, user, times)
    }

    fn under_grace(&mut self, at: Timestamp, host: Host, user: Option<&[u8]>, times: u32) -> bool {
        let here = self.graced.contains(host);
        let mut account = None;
        for grace in self.graces.iter_mut().filter(|grace| at < grace.entry.until) {
            match &grace.entry.target {
                GraceTarget::Net(net) if here && net.contains(host) => return true,
                GraceTarget::Account(name)
                    if user.is_some_and(|user| same_account(name, user))
                        && grace.taken < ACCOUNT_GRACE_FAILURES_MAX =>
                {
                    account = Some(grace);
                }
                _ => {}
            }
        }
        let Some(grace) = account else { return false };
        grace.taken = grace.taken.saturating_add(times);
        true
    }

    /// Whether `host` is banned already in `jail` or by hand at the time of this failure. Takes note of
    /// failures that a ban should have made impossible.
    fn is_shut_out(
        &mut self,
        at: Timestamp,
        jail: JailId,
        host: Host,
        times: u32,
        out: &mut Vec<Action>,
    ) -> bool {
        let mut shut_out = false;
        for jail in [jail, JailId::MANUAL] {
            let Some(key) = self.bans.covering(jail, host) else { continue };
            let name = self.name(jail);
            let Some(held) = self.bans.get_mut(key).filter(|held| held.until > at) else { continue };
            if at > held.since.max(held.made).plus(SETTLING) {
                held.after = held.after.saturating_add(times.min(255) as u8);
                if held.after >= INEFFECTIVE_FAILURES && held.effective {
                    held.effective = false;
                    out.push(Action::Ineffective { jail: name, target: key.net });
                }
            }
            // A ban by hand that does nothing may be one that this jail's rules at other hooks do better.
            shut_out |= key.jail != JailId::MANUAL || held.effective;
            if jail == JailId::MANUAL {
                break;
            }
        }
        shut_out
    }

    /// Whether no ban could come of a failure at `at`, not even together with later ones up to now.
    fn is_too_old(&self, now: Timestamp, jail: JailId, at: Timestamp) -> bool {
        let settings = &self.jail(jail).settings;
        settings.bantime_longest().end(at.plus(settings.findtime)).is_some_and(|end| end <= now)
    }

    pub(super) fn ban_by_rule(
        &mut self,
        now: Timestamp,
        key: Key,
        ripe: Ripe,
        out: &mut Vec<Action>,
    ) -> Seen {
        let Ripe { last, failures } = ripe;
        let earlier = self.earlier(key, last);
        let settings = &self.jails[usize::from(key.jail.0)].settings;
        let span = bantime::length(settings.bantime, &settings.increment, earlier, &mut self.random);
        let until = span.end(last);
        if until.is_some_and(|until| until <= now) {
            // It would be over by now. Its failures are spent, as they would be with the ban made.
            self.forget_window(key);
            return Seen::TooOld;
        }
        if self.bans.len() >= self.bans_max && self.bans.get(key).is_none() {
            if self.full_said.is_none_or(|said| now.since(said) >= FULL_SAID_EVERY) {
                self.full_said = Some(now);
                out.push(Action::BansFull { jail: self.name(key.jail), target: key.net });
            }
            return Seen::Counted;
        }
        self.forget_window(key);
        let mut held = Held::new(last, until, now, Origin::Jail);
        held.failures = failures;
        let ban = self.put_ban(key, held, last);
        out.push(Action::Ban(ban.clone()));
        self.tell_of_ban(now, &ban, out);
        Seen::Banned
    }

    /// How often a failure of `key` counts.
    fn weight(&self, key: Key, at: Timestamp) -> u32 {
        match self.jail(key.jail).settings.increment.known_bad {
            true => bantime::weight(&self.jail(key.jail).settings.increment, self.earlier(key, at)),
            false => 1,
        }
    }

    /// Puts a ban in place, with its count and history, and answers it as it is shown.
    pub(super) fn put_ban(&mut self, key: Key, mut held: Held, at: Timestamp) -> Ban {
        self.begin_past(key, &mut held, at);
        let ban = self.show(key, &held);
        let refreshed = self.bans.insert(key, held);
        let jail = self.jail_mut(key.jail);
        if !refreshed {
            jail.counts.banned += 1;
            jail.counts.banned_total += 1;
            jail.counts_dirty = true;
        }
        ban
    }

    /// Takes a ban out of force.
    pub(super) fn end_ban(&mut self, key: Key, at: Timestamp, cause: Cause, out: &mut Vec<Action>) {
        let Some(held) = self.bans.remove(key) else { return };
        self.jail_mut(key.jail).counts.banned -= 1;
        self.end_past(key, &held, at);
        out.push(Action::Unban { jail: self.name(key.jail), target: key.net, at, cause });
    }

    pub(super) fn forget_window(&mut self, key: Key) {
        if self.tracked.remove(key) {
            self.jail_mut(key.jail).counts.tracked -= 1;
        }
    }

    pub(super) fn count_failures(&mut self, jail: JailId, times: u32) {
        let jail = self.jail_mut(jail);
        jail.counts.failures = jail.counts.failures.saturating_add(u64::from(times));
        jail.counts_dirty = true;
    }

    fn say_clock_off(&mut self, now: Timestamp, jail: JailId, log: Timestamp, out: &mut Vec<Action>) {
        let name = self.name(jail);
        let said = &mut self.jail_mut(jail).clock_said;
        // The clock may have been set back since: then it is said again.
        if said.is_none_or(|said| now < said || now.since(said) >= CLOCK_OFF_SAID_EVERY) {
            *said = Some(now);
            out.push(Action::ClockOff { jail: name, log, now });
        }
    }

    /// Ends what is over: bans (an `Unban` each, cause `Expired`), graces, allow entries; forgets windows too
    /// old to matter, a bounded number of them each time. To be called at [`Jails::next_deadline`] and now and
    /// then besides.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        while let Some((key, held)) = self.bans.pop_ended(now) {
            self.jail_mut(key.jail).counts.banned -= 1;
            self.end_past(key, &held, held.until);
            let jail = self.name(key.jail);
            out.push(Action::Unban { jail, target: key.net, at: held.until, cause: Cause::Expired });
        }
        self.expire_lists(now, out);
        for jail in &mut self.jails {
            jail.catching_up.get_or_insert(now);
        }
        let jails = &self.jails;
        let mut gone = Vec::new();
        self.tracked.forget_some(
            |key, window| {
                let jail = &jails[usize::from(key.jail.0)];
                let caught_up = jail.catching_up.is_none_or(|last| now.since(last) > CATCHING_UP);
                // Old lines are still being read: they may add to an old window.
                let kept =
                    if caught_up { Span::For(Duration::ZERO) } else { jail.settings.bantime_longest() };
                kept.end(window.last().plus(jail.settings.findtime)).is_some_and(|end| end < now)
            },
            |key| gone.push(key),
        );
        for key in gone {
            self.jail_mut(key.jail).counts.tracked -= 1;
        }
    }

    /// When the next ban, grace or allow entry ends, if one does.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let allow = self.allow.iter().filter_map(|entry| entry.until);
        let graces = self.graces.iter().filter(|grace| !grace.over).map(|grace| grace.entry.until);
        self.bans.next_end().into_iter().chain(allow).chain(graces).min()
    }

    /// Ends graces and allow entries; the firewall's allow set must follow.
    fn expire_lists(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let entries = self.allow.len();
        self.allow.retain(|entry| entry.until.is_none_or(|until| until > now));
        let mut changed = self.allow.len() != entries;
        for grace in self.graces.iter_mut().filter(|grace| grace.entry.until <= now && !grace.over) {
            grace.over = true;
            changed = true;
        }
        self.graces.retain(|grace| grace.entry.until.plus(GRACE_KEPT) > now);
        if changed {
            self.rebuild_lists();
            out.push(Action::AllowSetChanged);
        }
    }
}

/// The time by which a line counts: its own, or `now` where it has none, where the clock has long passed a
/// line that was just written, and where it lies ahead.
pub fn time_of(now: Timestamp, live: bool, own: Option<Timestamp>) -> Timestamp {
    match own {
        Some(own) if own.since(now) > CLOCK_OFF_MAX => now,
        Some(own) if live && now.since(own) > CLOCK_OFF_MAX => now,
        Some(own) => own,
        None => now,
    }
}

/// Whether `user`, as a line spells it, is the account `name`: without regard to case, and to the domain where
/// one of them has none.
pub(super) fn same_account(name: &str, user: &[u8]) -> bool {
    let split = |account: &[u8]| {
        let at = account.iter().position(|byte| *byte == b'@').unwrap_or(account.len());
        (account[..at].to_ascii_lowercase(), account.get(at + 1..).map(<[u8]>::to_ascii_lowercase))
    };
    let ((local, domain), (user, user_domain)) = (split(name.as_bytes()), split(user));
    !local.is_empty() && local == user && (domain.is_none() || user_domain.is_none() || domain == user_domain)
}
