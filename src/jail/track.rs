//! [`Tracked`]: the open failures of every key, and what is forgotten when there is no room for more.
//!
//! # What is forgotten
//! An attacker decides how many keys there are: a million addresses with one failure each cost him little. They
//! must push out neither the open failures of others nor his own that are close to a ban. So, with
//! `limits.tracked_keys_max` keys held, a new one takes the place of a victim found like this:
//!
//! 1. [`SAMPLE`] keys are drawn at random. What fills the table fills the sample in the same measure.
//! 2. As long as one network (/8, /16, /24; /32, /48, /64) holds [`HOG`] of those left, only it goes on: who floods
//!    from one place pays himself.
//! 3. Of those left the one with the fewest failures goes, of several the one whose last failure is oldest.
//!
//! So an entry with several failures goes only where nearly everything around it has as many. Bans are not in
//! here and never make room for failures.

use std::time::Duration;

use super::keymap::{Key, KeyMap};
use super::random::Random;
use super::window::{Ripe, Spare, Window};
use crate::addr::Net;
use crate::time::Timestamp;

/// Keys drawn for one eviction.
const SAMPLE: usize = 32;

/// That many of the sample out of one network: it takes more than its share.
const HOG: usize = SAMPLE / 4;

/// The prefix lengths by which shares are compared: an IPv4 and an IPv6 one for each step.
const SHARES: [(u8, u8); 3] = [(8, 32), (16, 48), (24, 64)];

/// Keys looked at by one [`Tracked::forget_some`].
const FORGET_STEP: usize = 2000;

/// See the module.
#[derive(Debug)]
pub(super) struct Tracked {
    map: KeyMap<Window>,
    keys_max: usize,
    /// Keys that changed since they were last asked for. One that is gone may stand in here twice.
    dirty: Vec<Key>,
    /// Where the walk of `forget_some` stands.
    walk: usize,
    spare: Spare,
}

impl Tracked {
    pub fn new(keys_max: usize, random: &mut Random) -> Tracked {
        let map = KeyMap::new(random);
        Tracked { map, keys_max: keys_max.max(1), dirty: Vec::new(), walk: 0, spare: None }
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn set_keys_max(&mut self, keys_max: usize) {
        self.keys_max = keys_max.max(1);
    }

    pub fn bytes(&self) -> usize {
        self.map.bytes()
    }

    pub fn get(&self, key: Key) -> Option<&Window> {
        self.map.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &Window)> {
        self.map.slots().iter().map(|slot| (slot.key, &slot.value))
    }

    /// Every jail's window of exactly `net`.
    pub fn of_net(&self, net: Net) -> impl Iterator<Item = (Key, &Window)> {
        self.map.of_net(net).map(|at| (self.map.at(at).key, &self.map.at(at).value))
    }

    /// Counts `times` failures of `key`; the answer is [`Window::push`]'s. A key that had to go for
    /// this one is pushed to `evicted`.
    pub fn push(
        &mut self,
        key: Key,
        at: Timestamp,
        times: u32,
        rule: (u32, Duration),
        random: &mut Random,
        evicted: &mut Option<Key>,
    ) -> Option<Ripe> {
        let (index, ripe) = match self.map.find(key) {
            Some(index) => (index, self.map.at_mut(index).value.push(at, times, rule, &mut self.spare)),
            None => {
                *evicted = self.make_room(random);
                let mut window = Window::new(at);
                let ripe = match times {
                    0 | 1 => (rule.0 <= 1).then_some(Ripe { last: at, failures: 1 }),
                    times => window.push(at, times - 1, rule, &mut self.spare),
                };
                (self.map.insert(key, window), ripe)
            }
        };
        self.touch(index);
        ripe
    }

    /// Puts a stored window back; it is not dirty.
    /// Answers the key that had to go for it.
    pub fn restore(&mut self, key: Key, window: Window, random: &mut Random) -> Option<Key> {
        if let Some(index) = self.map.find(key) {
            self.map.at_mut(index).value = window;
            return None;
        }
        let evicted = self.make_room(random);
        self.map.insert(key, window);
        evicted
    }

    pub fn remove(&mut self, key: Key) -> bool {
        let Some(index) = self.map.find(key) else { return false };
        self.remove_at(index);
        true
    }

    /// Forgets what `gone` says is too old, looking at a bounded number of keys; call after call the walk goes
    /// through all of them. `forgotten` is called with each.
    pub fn forget_some(&mut self, gone: impl Fn(Key, &Window) -> bool, mut forgotten: impl FnMut(Key)) {
        for _ in 0..FORGET_STEP.min(self.map.len()) {
            if self.walk >= self.map.len() {
                self.walk = 0;
                return;
            }
            let slot = self.map.at(self.walk);
            let key = slot.key;
            if gone(key, &slot.value) {
                self.remove_at(self.walk);
                forgotten(key);
            } else {
                self.walk += 1;
            }
        }
    }

    /// Forgets all that `gone` picks.
    pub fn forget_all(&mut self, gone: impl Fn(Key, &Window) -> bool) {
        let mut index = 0;
        while index < self.map.len() {
            let slot = self.map.at(index);
            if gone(slot.key, &slot.value) {
                self.remove_at(index);
            } else {
                index += 1;
            }
        }
    }

    /// Hands over every key that changed, with its window now.
    pub fn take_dirty(&mut self, mut f: impl FnMut(Key, Option<&Window>)) {
        for key in std::mem::take(&mut self.dirty) {
            match self.map.find(key) {
                Some(index) => {
                    let slot = self.map.at_mut(index);
                    // Removed and come back: it stands in the list twice, and once is enough.
                    if std::mem::take(&mut slot.mark) {
                        f(key, Some(&slot.value));
                    }
                }
                None => f(key, None),
            }
        }
    }

    fn touch(&mut self, index: usize) {
        let slot = self.map.at_mut(index);
        if !slot.mark {
            slot.mark = true;
            self.dirty.push(slot.key);
        }
    }

    fn remove_at(&mut self, index: usize) {
        let slot = self.map.remove(index);
        // A marked one is in the list already.
        if !slot.mark {
            self.dirty.push(slot.key);
        }
        self.spare = slot.value.into_spare().or(self.spare.take());
    }

    fn make_room(&mut self, random: &mut Random) -> Option<Key> {
        if self.map.len() < self.keys_max {
            return None;
        }
        Some(self.forget_one(random))
    }

    #[cold]
    fn forget_one(&mut self, random: &mut Random) -> Key {
        let victim = self.victim(random);
        let key = self.map.at(victim).key;
        self.remove_at(victim);
        key
    }

    /// The index of the key to forget; see the module. There is at least one.
    fn victim(&self, random: &mut Random) -> usize {
        let mut sample: smallvec::SmallVec<[usize; SAMPLE]> = smallvec::SmallVec::new();
        for _ in 0..SAMPLE {
            let index = random.below(self.map.len() as u64) as usize;
            if !sample.contains(&index) {
                sample.push(index);
            }
        }
        for (v4, v6) in SHARES {
            let mut shares: smallvec::SmallVec<[(Net, usize); SAMPLE]> = sample
                .iter()
                .map(|&index| {
                    let net = self.map.at(index).key.net;
                    (Net::of(net.base(), if net.is_ipv4() { v4 } else { v6 }.min(net.prefix())), index)
                })
                .collect();
            shares.sort_unstable();
            let largest = shares.chunk_by(|a, b| a.0 == b.0).max_by_key(|share| share.len());
            match largest {
                Some(share) if share.len() >= HOG => sample = share.iter().map(|(_, index)| *index).collect(),
                _ => break,
            }
        }
        sample
            .into_iter()
            .min_by_key(|index| {
                let window = &self.map.at(*index).value;
                (window.len(), window.last())
            })
            .expect("at least one key was drawn")
    }
}

#[cfg(test)]
mod tests {
    use super::super::JailId;
    use super::*;
    use crate::addr::Host;

    const FINDTIME: Duration = Duration::from_secs(86_400);
    const MAX: usize = 1000;

    struct World {
        tracked: Tracked,
        random: Random,
        now: i64,
    }

    impl World {
        fn new() -> World {
            let mut random = Random::new(11);
            World { tracked: Tracked::new(MAX, &mut random), random, now: 1_790_000_000 }
        }

        /// So many failures of `host`, a second apart.
        fn fail(&mut self, host: Host, failures: u32) {
            for _ in 0..failures {
                self.now += 1;
                let at = Timestamp::from_secs(self.now);
                let key = Key { jail: JailId(1), net: Net::host(host) };
                let mut evicted = None;
                self.tracked.push(key, at, 1, (5, FINDTIME), &mut self.random, &mut evicted);
                assert!(self.tracked.len() <= MAX);
            }
        }

        fn failures(&self, host: Host) -> usize {
            self.tracked.get(Key { jail: JailId(1), net: Net::host(host) }).map_or(0, Window::len)
        }
    }

    fn v4(number: u32) -> Host {
        Host::new(std::net::Ipv4Addr::from(number).into())
    }

    fn v6(number: u128) -> Host {
        Host::new(std::net::Ipv6Addr::from(number).into())
    }

    #[test]
    fn an_attacker_cannot_push_out_his_own_older_failures() {
        let mut world = World::new();
        world.fail(v4(0xcb00_7107), 4);
        for n in 0..20 * MAX as u32 {
            // From everywhere: no network stands out.
            let from = world.random.next() as u32 | 0x0100_0000;
            world.fail(v4(from), 1 + u32::from(n % 50 == 0));
        }
        assert_eq!(world.failures(v4(0xcb00_7107)), 4);
    }

    #[test]
    fn a_flood_from_one_network_leaves_the_failures_of_others() {
        let others: Vec<Host> = (0..250u32).map(|n| v4(n.wrapping_mul(0x9e37_79b9) | 0x0100_0000)).collect();
        type Place = fn(u64) -> Host;
        let floods: [(&str, Place); 4] = [
            ("a /24 of a million is a few hundred, so a /8", |n| v4(0x0a00_0000 | (n as u32 & 0x00ff_ffff))),
            ("a /64", |n| v6(0x2001_0db8_0000_0001 << 64 | u128::from(n))),
            ("all /64 of a /48", |n| v6(0x2001_0db8_0000 << 80 | u128::from(n & 0xffff) << 64 | 1)),
            ("all /48 of a /32", |n| v6(0x2001_0db8 << 96 | u128::from(n & 0xffff) << 80 | 1)),
        ];
        for (what, from) in floods {
            let mut world = World::new();
            for other in &others {
                world.fail(*other, 1);
            }
            for n in 0..8 * MAX as u64 {
                let n = world.random.next() ^ n;
                world.fail(from(n), 2);
            }
            let left = others.iter().filter(|other| world.failures(**other) == 1).count();
            // A few go while the flood has not yet filled the table to its share.
            assert!(left >= 240, "{what}: {left} of {} left", others.len());
        }
    }

    #[test]
    fn a_new_key_is_always_taken() {
        let mut world = World::new();
        for n in 0..3 * MAX as u32 {
            let host = v4(n.wrapping_mul(0x9e37_79b9));
            world.fail(host, 4);
            assert_eq!(world.failures(host), 4);
        }
    }

    #[test]
    fn what_was_evicted_is_reported_as_gone_to_the_store() {
        let mut world = World::new();
        let mut stored = std::collections::BTreeMap::new();
        for n in 0..2 * MAX as u32 {
            world.fail(v4(n.wrapping_mul(0x9e37_79b9)), 1 + n % 3);
            if n % 7 == 0 {
                world.tracked.take_dirty(|key, window| {
                    match window {
                        Some(window) => stored.insert(key.net, window.clone()),
                        None => stored.remove(&key.net),
                    };
                });
            }
        }
        world.tracked.take_dirty(|key, window| {
            match window {
                Some(window) => stored.insert(key.net, window.clone()),
                None => stored.remove(&key.net),
            };
        });
        let held: std::collections::BTreeMap<_, _> =
            world.tracked.iter().map(|(key, window)| (key.net, window.clone())).collect();
        assert_eq!(stored, held);
        world.tracked.take_dirty(|key, _| panic!("{key:?} has not changed"));
    }

    #[test]
    fn forgetting_walks_through_everything() {
        let mut world = World::new();
        for n in 0..MAX as u32 {
            world.fail(v4(n), 1);
        }
        let mut gone = 0;
        for _ in 0..3 {
            world.tracked.forget_some(|key, _| key.net < Net::host(v4(MAX as u32 / 2)), |_| gone += 1);
        }
        assert_eq!((gone, world.tracked.len()), (MAX / 2, MAX / 2));
    }
}
