//! What jails answer when asked.

use super::bans::{FOREVER, Held};
use super::keymap::Key;
use super::{Ban, JailCounts, JailId, JailName, Jails, WindowView};
use crate::addr::{Host, Net};
use crate::time::Timestamp;

impl Jails {
    /// Every ban in force, in no order.
    pub fn bans(&self) -> impl Iterator<Item = Ban> + '_ {
        self.bans.iter().map(|(key, held)| self.show(key, held))
    }

    /// How many there are.
    pub fn ban_count(&self) -> usize {
        self.bans.len()
    }

    /// `jail`'s ban of exactly `target`.
    pub fn ban_of(&self, jail: &JailName, target: Net) -> Option<Ban> {
        let key = Key { jail: self.id(jail.as_str())?, net: target };
        self.bans.get(key).map(|held| self.show(key, held))
    }

    /// How often `jail` banned exactly `target`, and when that last ended or will (`None`: never).
    pub fn history_of(&self, jail: JailId, target: Net) -> Option<(u32, Option<Timestamp>)> {
        let past = self.past(Key { jail, net: target })?;
        Some((past.count, (past.last_end != FOREVER).then_some(past.last_end)))
    }

    /// Every ban that touches `target`, over all jails: of it, of what lies in it, of what holds it. By jail
    /// and target in order.
    pub fn bans_of(&self, target: Net) -> Vec<Ban> {
        let keys = self.bans.touching(target);
        let mut bans: Vec<Ban> =
            keys.into_iter().filter_map(|key| self.bans.get(key).map(|held| self.show(key, held))).collect();
        bans.sort_by(|a, b| (&a.jail, a.target).cmp(&(&b.jail, b.target)));
        bans
    }

    /// Whether `host` is shut out, by any jail (`None`) or by one.
    pub fn is_banned(&self, host: Host, jail: Option<JailId>) -> bool {
        match jail {
            Some(jail) => self.bans.covering(jail, host).is_some(),
            None => self.bans.covers(host),
        }
    }

    /// Counters of one jail.
    pub fn counts(&self, jail: JailId) -> JailCounts {
        self.jail(jail).counts
    }

    /// Open failures at `now` of the keys that touch `target`, by jail and key in order.
    pub fn windows_of(&self, now: Timestamp, target: Net) -> Vec<WindowView> {
        let mut views: Vec<WindowView> = self
            .windows_touching(target)
            .into_iter()
            .filter_map(|key| {
                let window = self.tracked.get(key)?;
                let settings = self.settings(key.jail);
                let failures = window.open(now, settings.findtime);
                (failures > 0).then(|| WindowView {
                    jail: settings.name.clone(),
                    key: key.net,
                    failures,
                    maxretry: settings.maxretry,
                    first: window.first(),
                    last: window.last(),
                })
            })
            .collect();
        views.sort_by(|a, b| (&a.jail, a.key).cmp(&(&b.jail, b.key)));
        views
    }

    /// Keys with open failures, over all jails.
    pub fn tracked(&self) -> usize {
        self.tracked.len()
    }

    /// Bytes held for open failures, for bans, and for earlier bans; without what lies outside the tables:
    /// windows of more than four failures, reasons.
    pub fn bytes(&self) -> (usize, usize, usize) {
        (self.tracked.bytes(), self.bans.bytes(), self.histories.bytes())
    }

    pub(super) fn windows_touching(&self, target: Net) -> Vec<Key> {
        let Some(host) = target.as_host() else {
            return self.tracked.iter().map(|(key, _)| key).filter(|key| key.net.overlaps(target)).collect();
        };
        let mut nets: Vec<Net> = self.jails.iter().map(|jail| jail.settings.key_of(host)).collect();
        nets.push(target);
        nets.sort();
        nets.dedup();
        nets.into_iter().flat_map(|net| self.tracked.of_net(net).map(|(key, _)| key)).collect()
    }

    pub(super) fn show(&self, key: Key, held: &Held) -> Ban {
        Ban {
            jail: self.name(key.jail),
            target: key.net,
            since: held.since,
            until: (held.until != FOREVER).then_some(held.until),
            failures: held.failures,
            count: held.count,
            origin: held.origin,
            reason: held.reason.as_ref().map(|reason| reason.to_string()),
            effective: held.effective,
        }
    }
}
