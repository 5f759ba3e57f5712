//! How often each target was banned, and when that last ended.
//!
//! A first ban in force tells that itself: only from its end on, or if it is renewed, does its target stand in
//! [`Histories`] and in the store. Most bans are first ones, and of a million of them a restart has half as much to read.

use super::Jails;
use super::bans::Held;
use super::bantime::faded;
use super::keymap::{Key, KeyMap};
use super::random::Random;
use crate::addr::Net;
use crate::time::Timestamp;

/// Whether the `count`-th ban of a target tells the target's past while it is in force: as the first it is all there was.
pub(super) fn tells(count: u32) -> bool {
    count == 1
}

/// Targets drawn when one has to go.
const SAMPLE: usize = 32;

/// A target's bans in one jail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Past {
    pub count: u32,
    /// When the last ban ended or will; the end of time for a permanent one.
    pub last_end: Timestamp,
}

impl Past {
    /// What a ban in force tells where nothing is on record.
    fn told_by(held: &Held) -> Option<Past> {
        tells(held.count).then_some(Past { count: held.count, last_end: held.until })
    }
}

impl Jails {
    /// The past of `key`, a ban in force included.
    pub(super) fn past(&self, key: Key) -> Option<Past> {
        self.histories.past(key).or_else(|| self.bans.get(key).and_then(Past::told_by))
    }

    /// Earlier bans that count for the next one of `key` at `at`: its own, or where the jail says so those of its network
    /// in all jails.
    pub(super) fn earlier(&self, key: Key, at: Timestamp) -> u32 {
        if !self.jail(key.jail).settings.increment.overalljails {
            return self.own_earlier(key, at);
        }
        let decay = self.jail(key.jail).settings.increment.decay;
        let told = self.bans.of_net(key.net).filter(|(key, _)| self.histories.past(*key).is_none());
        let told = told.filter_map(|(_, held)| Past::told_by(held));
        let pasts = self.histories.of_net(key.net).chain(told);
        pasts.map(|past| faded(past.count, past.last_end, at, decay)).fold(0, u32::saturating_add)
    }

    fn own_earlier(&self, key: Key, at: Timestamp) -> u32 {
        let decay = self.jail(key.jail).settings.increment.decay;
        self.past(key).map_or(0, |past| faded(past.count, past.last_end, at, decay))
    }

    /// Counts the ban of `key` that begins with `held` and is not in force yet.
    pub(super) fn begin_past(&mut self, key: Key, held: &mut Held, at: Timestamp) {
        held.count = self.earlier(key, at).saturating_add(1);
        let past = Past { count: self.own_earlier(key, at).saturating_add(1), last_end: held.until };
        if !tells(held.count) || self.histories.past(key).is_some() {
            self.histories.set(key, past, &mut self.random);
        }
    }

    /// The ban `held` of `key` ended at `at`, and is not in force any more.
    pub(super) fn end_past(&mut self, key: Key, held: &Held, at: Timestamp) {
        let known = self.histories.past(key);
        let Some(past) = known.or_else(|| Past::told_by(held)) else { return };
        let ended = Past { last_end: at, ..past };
        if known != Some(ended) {
            self.histories.set(key, ended, &mut self.random);
        }
    }
}

/// See the module. Kept in memory because the next ban's length hangs on it; the bans themselves are the store's.
#[derive(Debug)]
pub(super) struct Histories {
    map: KeyMap<Past>,
    targets_max: usize,
    dirty: Vec<Key>,
}

impl Histories {
    pub fn new(targets_max: usize, random: &mut Random) -> Histories {
        Histories { map: KeyMap::new(random), targets_max: targets_max.max(1), dirty: Vec::new() }
    }

    pub fn set_targets_max(&mut self, targets_max: usize) {
        self.targets_max = targets_max.max(1);
    }

    /// Of the network in every jail.
    pub fn of_net(&self, net: Net) -> impl Iterator<Item = Past> + '_ {
        self.map.of_net(net).map(|at| self.map.at(at).value)
    }

    pub fn past(&self, key: Key) -> Option<Past> {
        self.map.get(key).copied()
    }

    /// Sets a target's past. At the cap the least of a random sample goes: fewest bans, then longest ago.
    pub fn set(&mut self, key: Key, past: Past, random: &mut Random) {
        match self.map.find(key) {
            Some(at) => self.map.at_mut(at).value = past,
            None => {
                if self.map.len() >= self.targets_max {
                    let victim = (0..SAMPLE)
                        .map(|_| random.below(self.map.len() as u64) as usize)
                        .min_by_key(|at| (self.map.at(*at).value.count, self.map.at(*at).value.last_end));
                    if let Some(victim) = victim {
                        self.remove_at(victim);
                    }
                }
                self.map.insert(key, past);
            }
        }
        self.touch(key);
    }

    /// From the store; not dirty.
    pub fn restore(&mut self, key: Key, past: Past, random: &mut Random) {
        self.set(key, past, random);
        if let Some(index) = self.map.find(key) {
            self.map.at_mut(index).mark = false;
            self.dirty.pop();
        }
    }

    /// Hands over every target whose past changed; `None`: forgotten.
    pub fn take_dirty(&mut self, mut f: impl FnMut(Key, Option<Past>)) {
        for key in std::mem::take(&mut self.dirty) {
            match self.map.find(key) {
                Some(index) => {
                    let slot = self.map.at_mut(index);
                    if std::mem::take(&mut slot.mark) {
                        f(key, Some(slot.value));
                    }
                }
                None => f(key, None),
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.map.bytes()
    }

    fn touch(&mut self, key: Key) {
        if let Some(index) = self.map.find(key) {
            let slot = self.map.at_mut(index);
            if !slot.mark {
                slot.mark = true;
                self.dirty.push(key);
            }
        }
    }

    fn remove_at(&mut self, index: usize) {
        let slot = self.map.remove(index);
        if !slot.mark {
            self.dirty.push(slot.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::JailId;
    use super::*;

    fn key(jail: u16, net: &str) -> Key {
        Key { jail: JailId(jail), net: net.parse::<Net>().unwrap() }
    }

    fn past(count: u32, secs: i64) -> Past {
        Past { count, last_end: Timestamp::from_secs(secs) }
    }

    #[test]
    fn a_network_has_a_past_in_each_jail() {
        let mut random = Random::new(1);
        let mut histories = Histories::new(100, &mut random);
        histories.set(key(1, "203.0.113.7"), past(2, 1000), &mut random);
        histories.set(key(2, "203.0.113.7"), past(3, 1000), &mut random);
        let counts = |net: &str| histories.of_net(net.parse().unwrap()).map(|past| past.count).sum::<u32>();
        assert_eq!((counts("203.0.113.7"), counts("203.0.113.8")), (5, 0));
        assert_eq!(histories.past(key(3, "203.0.113.7")), None);
    }

    #[test]
    fn at_the_cap_those_with_one_ban_go_before_the_old_hands() {
        let mut random = Random::new(1);
        let mut histories = Histories::new(500, &mut random);
        histories.set(key(1, "203.0.113.7"), past(9, 0), &mut random);
        for n in 0..5000 {
            let net = format!("198.{}.{}.{}", 18 + n / 65536, n / 256 % 256, n % 256);
            histories.set(key(1, &net), past(1, n), &mut random);
        }
        assert_eq!(histories.map.len(), 500);
        assert!(histories.map.get(key(1, "203.0.113.7")).is_some());
    }
}
