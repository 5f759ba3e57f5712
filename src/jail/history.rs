//! [`Histories`]: how often each target was banned, and when that last ended.

use std::time::Duration;

use super::bantime::faded;
use super::keymap::{Key, KeyMap};
use super::random::Random;
use crate::time::Timestamp;

/// Targets drawn when one has to go.
const SAMPLE: usize = 32;

/// A target's bans in one jail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Past {
    pub count: u32,
    /// When the last ban ended or will; the end of time for a permanent one.
    pub last_end: Timestamp,
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

    /// What is left at `now` of the earlier bans of `key`, or of its network in all jails.
    pub fn earlier(&self, key: Key, all_jails: bool, now: Timestamp, decay: Option<Duration>) -> u32 {
        let left = |past: &Past| faded(past.count, past.last_end, now, decay);
        if all_jails {
            self.map.of_net(key.net).map(|at| left(&self.map.at(at).value)).fold(0, u32::saturating_add)
        } else {
            self.map.get(key).map_or(0, left)
        }
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

    /// Moves the end of the last ban.
    pub fn ended(&mut self, key: Key, at: Timestamp) {
        if let Some(index) = self.map.find(key) {
            self.map.at_mut(index).value.last_end = at;
            self.touch(key);
        }
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
    use crate::addr::Net;

    fn key(jail: u16, net: &str) -> Key {
        Key { jail: JailId(jail), net: net.parse::<Net>().unwrap() }
    }

    fn past(count: u32, secs: i64) -> Past {
        Past { count, last_end: Timestamp::from_secs(secs) }
    }

    #[test]
    fn bans_count_for_one_jail_or_for_all() {
        let mut random = Random::new(1);
        let mut histories = Histories::new(100, &mut random);
        histories.set(key(1, "203.0.113.7"), past(2, 1000), &mut random);
        histories.set(key(2, "203.0.113.7"), past(3, 1000), &mut random);
        let now = Timestamp::from_secs(2000);
        assert_eq!(histories.earlier(key(1, "203.0.113.7"), false, now, None), 2);
        assert_eq!(histories.earlier(key(1, "203.0.113.7"), true, now, None), 5);
        assert_eq!(histories.earlier(key(3, "203.0.113.7"), false, now, None), 0);
        assert_eq!(histories.earlier(key(1, "203.0.113.8"), true, now, None), 0);
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
