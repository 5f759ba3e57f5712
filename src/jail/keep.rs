//! What outlives a restart and a reload: changes for the store, what it gives back, new settings.

use super::bans::{FOREVER, Held};
use super::history::Past;
use super::jails::Jail;
use super::keymap::Key;
use super::nets::NetSet;
use super::window::Window;
use super::{
    Action, AllowEntry, Ban, Cause, Dirty, GraceEntry, IgnoreEntry, JailCounts, JailId, JailName,
    JailSettings, Jails,
};
use crate::addr::Net;
use crate::limits::Limits;
use crate::time::Timestamp;

impl Jails {
    /// Hands over everything that changed since the last call, as absolute values for the store. Bans and
    /// unbans are not among it (they are actions), nor are graces and allow entries (who sets them knows them).
    pub fn take_dirty(&mut self, mut f: impl FnMut(Dirty)) {
        let jails = &mut self.jails;
        self.tracked.take_dirty(|key, window| {
            let jail = jails[usize::from(key.jail.0)].settings.name.clone();
            f(Dirty::Window { jail, key: key.net, window: window.map(Window::to_bytes) });
        });
        self.histories.take_dirty(|key, past| {
            let jail = jails[usize::from(key.jail.0)].settings.name.clone();
            let (count, last_end) = past.map_or((0, FOREVER), |past| (past.count, past.last_end));
            let last_end = (last_end != FOREVER).then_some(last_end);
            f(Dirty::History { jail, target: key.net, count, last_end });
        });
        for jail in jails.iter_mut().filter(|jail| jail.counts_dirty) {
            jail.counts_dirty = false;
            f(Dirty::Counters {
                jail: jail.settings.name.clone(),
                failures: jail.counts.failures,
                banned_total: jail.counts.banned_total,
            });
        }
    }

    /// Makes room for so many bans that will be put back.
    pub fn expect_bans(&mut self, bans: usize) {
        self.bans.reserve(bans);
    }

    /// Puts a ban back that the store held, or takes over one found in the kernel or imported. One that is over
    /// by now comes back too and ends at the next [`Jails::expire`], with its `Unban`. False: no such jail.
    ///
    /// Bans of what is never banned by now are lifted at the next `set_never` or reconfiguration.
    pub fn restore_ban(&mut self, now: Timestamp, ban: &Ban) -> bool {
        let Some(jail) = self.id(ban.jail.as_str()) else { return false };
        let key = Key { jail, net: ban.target };
        let mut held = Held::new(ban.since, ban.until, now, ban.origin);
        held.failures = ban.failures;
        held.count = ban.count;
        held.effective = ban.effective;
        held.reason = ban.reason.as_ref().map(|reason| Box::new(reason.clone().into_boxed_str()));
        if !self.bans.insert(key, held) {
            self.jail_mut(jail).counts.banned += 1;
        }
        true
    }

    /// Puts a key's open failures back. False: no such jail, another kind of key by now, or not our bytes.
    pub fn restore_window(&mut self, jail: &JailName, key: Net, record: &[u8]) -> bool {
        let Some(jail) = self.id(jail.as_str()) else { return false };
        let Some(window) = Window::from_bytes(record) else { return false };
        if self.settings(jail).key_of(key.base()) != key {
            return false;
        }
        let before = self.tracked.len();
        let evicted = self.tracked.restore(Key { jail, net: key }, window, &mut self.random);
        match evicted {
            Some(evicted) => {
                self.jail_mut(evicted.jail).counts.tracked -= 1;
                self.jail_mut(jail).counts.tracked += 1;
            }
            None => self.jail_mut(jail).counts.tracked += self.tracked.len() - before,
        }
        true
    }

    /// Puts back how often a target was banned. False: no such jail.
    pub fn restore_history(
        &mut self,
        jail: &JailName,
        target: Net,
        count: u32,
        last_end: Option<Timestamp>,
    ) -> bool {
        let Some(jail) = self.id(jail.as_str()) else { return false };
        let past = Past { count, last_end: last_end.unwrap_or(FOREVER) };
        self.histories.restore(Key { jail, net: target }, past, &mut self.random);
        true
    }

    /// Puts a jail's counters back. False: no such jail.
    pub fn restore_counters(&mut self, jail: &JailName, failures: u64, banned_total: u64) -> bool {
        let Some(jail) = self.id(jail.as_str()) else { return false };
        let counts = &mut self.jail_mut(jail).counts;
        (counts.failures, counts.banned_total) = (failures, banned_total);
        true
    }

    /// Puts a grace back.
    pub fn restore_grace(&mut self, entry: GraceEntry) {
        self.put_grace(entry);
    }

    /// Puts an allow entry back.
    pub fn restore_allow(&mut self, entry: AllowEntry) {
        self.allow.retain(|old| old.target != entry.target);
        self.allow.push(entry);
        self.rebuild_lists();
    }

    /// New caps; what is above them already stays until it ends.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.tracked.set_keys_max(limits.tracked_keys_max);
        self.histories.set_targets_max(limits.histories_max);
        self.bans_max = limits.bans_max;
    }

    /// New settings. A jail that did not change keeps everything, changed numbers too; a jail that counts by
    /// other keys from now on starts its windows anew; a jail that is gone has its bans lifted (`Unban`, cause
    /// `Reload`). Bans of what is ignored from now on are lifted (cause `Allowed`).
    pub fn reconfigure(
        &mut self,
        now: Timestamp,
        settings: Vec<JailSettings>,
        ignoreip: Vec<IgnoreEntry>,
        out: &mut Vec<Action>,
    ) {
        let gone: Vec<JailId> = self
            .ids()
            .filter(|id| {
                *id != JailId::MANUAL && !settings.iter().any(|new| new.name == self.settings(*id).name)
            })
            .collect();
        for id in gone {
            self.drop_jail(now, id, out);
        }
        if !settings.iter().any(|new| new.name == JailName::manual()) {
            self.put_jail(JailSettings::new(JailName::manual()));
        }
        for new in settings {
            self.put_jail(new);
        }
        self.ignoreip = ignoreip;
        self.rebuild_ignored();
        self.lift_exempt(now, out);
    }

    /// New settings for one jail, by the same rules, until the next [`Jails::reconfigure`].
    pub fn set_jail(&mut self, now: Timestamp, settings: JailSettings, out: &mut Vec<Action>) {
        self.put_jail(settings);
        self.rebuild_ignored();
        self.lift_exempt(now, out);
    }

    fn drop_jail(&mut self, now: Timestamp, id: JailId, out: &mut Vec<Action>) {
        let bans: Vec<Key> = self.bans.iter().map(|(key, _)| key).filter(|key| key.jail == id).collect();
        for key in bans {
            self.end_ban(key, now, Cause::Reload, out);
        }
        self.forget_windows(id);
        self.jail_mut(id).alive = false;
    }

    fn forget_windows(&mut self, id: JailId) {
        self.tracked.forget_all(|key, _| key.jail == id);
        self.jail_mut(id).counts.tracked = 0;
    }

    /// Adds a jail or gives it new settings; a name that was there before gets its old place back.
    pub(super) fn put_jail(&mut self, settings: JailSettings) {
        match self.jails.iter().position(|jail| jail.settings.name == settings.name) {
            Some(at) => {
                let id = JailId(at as u16);
                if !self.jails[at].settings.same_keys(&settings) {
                    self.forget_windows(id);
                }
                let jail = self.jail_mut(id);
                jail.settings = settings;
                jail.alive = true;
            }
            // A configuration of 65,536 jails is refused long before it comes here: each has a file or section.
            None if self.jails.len() > usize::from(u16::MAX) => {}
            None => self.jails.push(Jail {
                settings,
                ignored: NetSet::default(),
                alive: true,
                counts: JailCounts::default(),
                counts_dirty: false,
                clock_said: None,
                catching_up: None,
            }),
        }
    }
}
