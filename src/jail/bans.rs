//! [`Bans`]: the bans in force, found by target, by host, and by the one that ends next.

use super::keymap::{Key, KeyMap};
use super::lengths::Lengths;
use super::random::Random;
use super::{JailId, Origin};
use crate::addr::{Host, Net};
use crate::time::Timestamp;

/// A ban for ever stands in no heap.
const NOWHERE: u32 = u32::MAX;

/// A ban as it is held; its jail and target are the key.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub since: Timestamp,
    /// `Timestamp::from_micros(i64::MAX)`: for ever.
    pub until: Timestamp,
    /// When it was made, by the clock: failures from before then are no sign that it does nothing.
    pub made: Timestamp,
    pub failures: u32,
    pub count: u32,
    heap_at: u32,
    /// Failures seen well after it was made.
    pub after: u8,
    pub origin: Origin,
    pub effective: bool,
    /// Boxed twice: most bans have none, and then it costs one word.
    pub reason: Option<Box<Box<str>>>,
}

pub(super) const FOREVER: Timestamp = Timestamp::from_micros(i64::MAX);

impl Held {
    pub fn new(since: Timestamp, until: Option<Timestamp>, made: Timestamp, origin: Origin) -> Held {
        Held {
            since,
            until: until.unwrap_or(FOREVER),
            made,
            failures: 0,
            count: 1,
            heap_at: NOWHERE,
            after: 0,
            origin,
            effective: true,
            reason: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bans {
    map: KeyMap<Held>,
    /// Indexes into `map`, a binary heap by `until`, the next one to end first. Every ban knows its place in
    /// it (`heap_at`), so that a lifted one leaves nothing behind.
    heap: Vec<u32>,
    lengths: Lengths,
}

impl Bans {
    pub fn new(random: &mut Random) -> Bans {
        Bans { map: KeyMap::new(random), heap: Vec::new(), lengths: Lengths::new() }
    }

    pub fn reserve(&mut self, bans: usize) {
        self.map.reserve(bans);
        self.heap.reserve_exact(bans);
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.heap.capacity() * size_of::<u32>()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &Held)> {
        self.map.slots().iter().map(|slot| (slot.key, &slot.value))
    }

    /// Every jail's ban of exactly `net`.
    pub fn of_net(&self, net: Net) -> impl Iterator<Item = (Key, &Held)> {
        self.map.of_net(net).map(|at| self.map.at(at)).map(|slot| (slot.key, &slot.value))
    }

    pub fn get(&self, key: Key) -> Option<&Held> {
        self.map.get(key)
    }

    /// Not for `until`, which has its place in the heap.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Held> {
        self.map.find(key).map(|at| &mut self.map.at_mut(at).value)
    }

    /// Adds a ban, or puts it in the place of the same jail's ban of the same target: then the answer is true.
    pub fn insert(&mut self, key: Key, held: Held) -> bool {
        let replaced = self.remove(key).is_some();
        self.lengths.add(key.net);
        let permanent = held.until == FOREVER;
        let at = self.map.insert(key, Held { heap_at: NOWHERE, ..held });
        if !permanent {
            if self.heap.len() == self.heap.capacity() {
                self.heap.reserve_exact((self.heap.len() / 8).max(32));
            }
            self.heap.push(at as u32);
            self.place(self.heap.len() - 1);
            self.up(self.heap.len() - 1);
        }
        replaced
    }

    pub fn remove(&mut self, key: Key) -> Option<Held> {
        Some(self.remove_at(self.map.find(key)?))
    }

    /// Apart: mostly there is nothing to remove.
    #[inline(never)]
    fn remove_at(&mut self, at: usize) -> Held {
        let heap_at = self.map.at(at).value.heap_at;
        if heap_at != NOWHERE {
            self.heap_remove(heap_at as usize);
        }
        let slot = self.map.remove(at);
        // The entry that moved into the gap is known to the heap by its old index.
        if at < self.map.len() {
            let moved = self.map.at(at).value.heap_at;
            if moved != NOWHERE {
                self.heap[moved as usize] = at as u32;
            }
        }
        if self.heap.capacity() > 1024 && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        self.lengths.remove(slot.key.net);
        slot.value
    }

    /// The end of the ban that ends next.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.heap.first().map(|&at| self.map.at(at as usize).value.until)
    }

    /// Takes out the ban that ends next, if it is over at `now`.
    pub fn pop_ended(&mut self, now: Timestamp) -> Option<(Key, Held)> {
        let slot = self.map.at(*self.heap.first()? as usize);
        if slot.value.until > now {
            return None;
        }
        let key = slot.key;
        self.remove(key).map(|held| (key, held))
    }

    /// The narrowest target in `jail` that holds `host`.
    pub fn covering(&self, jail: JailId, host: Host) -> Option<Key> {
        let lengths = self.lengths.longest_first(host.is_ipv4());
        lengths
            .map(|prefix| Key { jail, net: Net::of(host, prefix) })
            .find(|key| self.map.find(*key).is_some())
    }

    /// Whether any jail has a ban that holds `host`.
    pub fn covers(&self, host: Host) -> bool {
        let mut lengths = self.lengths.longest_first(host.is_ipv4());
        lengths.any(|prefix| self.map.of_net(Net::of(host, prefix)).next().is_some())
    }

    /// Every ban that touches `target`: of it, inside it, or around it.
    pub fn touching(&self, target: Net) -> Vec<Key> {
        let lengths = || self.lengths.longest_first(target.is_ipv4());
        let narrower = lengths().next().is_some_and(|longest| longest > target.prefix());
        if narrower && target.as_host().is_none() {
            return self
                .map
                .slots()
                .iter()
                .map(|slot| slot.key)
                .filter(|key| key.net.overlaps(target))
                .collect();
        }
        lengths()
            .filter(|prefix| *prefix <= target.prefix())
            .flat_map(|prefix| self.map.of_net(Net::of(target.base(), prefix)))
            .map(|at| self.map.at(at).key)
            .collect()
    }

    fn until_at(&self, place: usize) -> Timestamp {
        self.map.at(self.heap[place] as usize).value.until
    }

    /// Tells the ban at `place` of the heap where it is.
    fn place(&mut self, place: usize) {
        let at = self.heap[place] as usize;
        self.map.at_mut(at).value.heap_at = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place(a);
        self.place(b);
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 && self.until_at(place) < self.until_at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.until_at(*child)) else { return };
            if self.until_at(place) <= self.until_at(least) {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn heap_remove(&mut self, place: usize) {
        let last = self.heap.len() - 1;
        if place != last {
            self.swap(place, last);
        }
        self.heap.pop();
        if place != last {
            self.up(place);
            self.down(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn key(jail: u16, net: &str) -> Key {
        Key { jail: JailId(jail), net: net.parse().unwrap() }
    }

    fn ban(until: Option<i64>) -> Held {
        Held::new(secs(0), until.map(secs), secs(0), Origin::Jail)
    }

    #[test]
    fn bans_end_in_order_over_random_changes() {
        let mut random = Random::new(5);
        let mut bans = Bans::new(&mut random);
        let mut model: BTreeMap<(u16, u64), Option<i64>> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            let (jail, host) = (random.below(2) as u16, random.below(300));
            let key = key(jail, &format!("203.0.{}.{}", host / 256, host % 256));
            match random.below(4) {
                0 => {
                    let was = bans.remove(key).map(|held| held.until);
                    assert_eq!(was, model.remove(&(jail, host)).map(|until| until.map_or(FOREVER, secs)));
                }
                1 => {
                    now += random.below(40) as i64;
                    let mut last = i64::MIN;
                    while let Some((_, held)) = bans.pop_ended(secs(now)) {
                        assert!(held.until.secs() >= last);
                        last = held.until.secs();
                    }
                    model.retain(|_, until| until.is_none_or(|until| until > now));
                }
                _ => {
                    let until = (random.below(10) > 0).then(|| now + 1 + random.below(3000) as i64);
                    bans.insert(key, ban(until));
                    model.insert((jail, host), until);
                }
            }
            assert_eq!(bans.len(), model.len());
            assert_eq!(bans.next_end(), model.values().flatten().min().copied().map(secs));
        }
    }

    #[test]
    fn a_host_is_found_in_its_networks() {
        let mut bans = Bans::new(&mut Random::new(1));
        bans.insert(key(1, "203.0.113.0/24"), ban(None));
        bans.insert(key(2, "203.0.113.7"), ban(None));
        bans.insert(key(1, "2001:db8::/64"), ban(None));
        let host = |text: &str| text.parse::<Host>().unwrap();
        assert_eq!(bans.covering(JailId(1), host("203.0.113.7")), Some(key(1, "203.0.113.0/24")));
        assert_eq!(bans.covering(JailId(2), host("203.0.113.7")), Some(key(2, "203.0.113.7")));
        assert_eq!(bans.covering(JailId(2), host("203.0.113.8")), None);
        assert!(bans.covers(host("2001:db8::99")) && !bans.covers(host("2001:db8:0:1::99")));
        let touching = |text: &str| bans.touching(text.parse().unwrap()).len();
        assert_eq!(touching("203.0.113.7"), 2);
        assert_eq!(touching("203.0.113.8"), 1);
        assert_eq!(touching("203.0.0.0/16"), 2);
        assert_eq!(touching("2001:db8::/32"), 1);
        assert_eq!(touching("198.51.100.0/24"), 0);
        bans.remove(key(1, "203.0.113.0/24"));
        assert!(!bans.covers(host("203.0.113.8")));
    }
}
