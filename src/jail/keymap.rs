//! [`KeyMap`]: a map from (jail, network) whose entries lie densely in one vector.
//!
//! A hash table with its entries inside wastes half of its room just after it has grown. Here the table holds
//! only 4-byte indexes and the vector grows by an eighth. Dense entries can also be drawn at random, which
//! fair eviction needs, and walked a bit at a time, which forgetting needs.
//!
//! The table is cut into parts that grow one by one: a whole one of a million entries would take a tenth of a second
//! for it, in which nobody is answered.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use super::JailId;
use super::random::Random;
use crate::addr::Net;

/// Parts of a map's table; a power of two. Parts.
const PARTS: usize = 64;

/// What is counted, and by whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub jail: JailId,
    pub net: Net,
}

/// One entry. `mark` lies in what would be padding and is the owner's to use.
#[derive(Clone, Debug)]
pub(super) struct Slot<V> {
    pub key: Key,
    pub mark: bool,
    pub value: V,
}

/// See the module.
#[derive(Debug)]
pub(super) struct KeyMap<V> {
    slots: Vec<Slot<V>>,
    /// Indexes into `slots`, hashed by the key's network alone, so that all jails' entries of one network
    /// are found with one look.
    index: Box<[HashTable<u32>; PARTS]>,
    /// Keeps clients from choosing addresses that collide.
    hash_keys: (u64, u64),
}

impl<V> KeyMap<V> {
    pub fn new(random: &mut Random) -> KeyMap<V> {
        // The first entries find room: a ban does not wait for memory.
        let index = Box::new(std::array::from_fn(|_| HashTable::with_capacity(4)));
        KeyMap { slots: Vec::new(), index, hash_keys: (random.next(), random.next()) }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn slots(&self) -> &[Slot<V>] {
        &self.slots
    }

    pub fn at(&self, index: usize) -> &Slot<V> {
        &self.slots[index]
    }

    pub fn at_mut(&mut self, index: usize) -> &mut Slot<V> {
        &mut self.slots[index]
    }

    pub fn find(&self, key: Key) -> Option<usize> {
        let hash = hash(self.hash_keys, key.net);
        let part = &self.index[part_of(hash)];
        part.find(hash, |&at| self.slots[at as usize].key == key).map(|&at| at as usize)
    }

    pub fn get(&self, key: Key) -> Option<&V> {
        self.find(key).map(|at| &self.slots[at].value)
    }

    /// Every jail's entry of exactly `net`.
    pub fn of_net(&self, net: Net) -> impl Iterator<Item = usize> + '_ {
        let hash = hash(self.hash_keys, net);
        self.index[part_of(hash)]
            .iter_hash(hash)
            .map(|&at| at as usize)
            .filter(move |&at| self.slots[at].key.net == net)
    }

    /// Makes room for so many more entries at once, which otherwise is made as they come.
    pub fn reserve(&mut self, entries: usize) {
        self.slots.reserve_exact(entries);
        let (slots, hash_keys) = (&self.slots, self.hash_keys);
        for part in self.index.iter_mut() {
            part.reserve(entries / PARTS, |&at| hash(hash_keys, slots[at as usize].key.net));
        }
    }

    /// Adds an entry that is not there yet, at the end; returns its index.
    pub fn insert(&mut self, key: Key, value: V) -> usize {
        debug_assert!(self.find(key).is_none(), "the caller looked first");
        let at = self.slots.len();
        if at == self.slots.capacity() {
            self.slots.reserve_exact((at / 8).max(32));
        }
        self.slots.push(Slot { key, mark: false, value });
        let slots = &self.slots;
        let hash_keys = self.hash_keys;
        // A map of 2^32 entries would not fit into memory long before: see limits.
        let hashed = hash(hash_keys, key.net);
        self.index[part_of(hashed)]
            .insert_unique(hashed, at as u32, |&at| hash(hash_keys, slots[at as usize].key.net));
        at
    }

    /// Takes the entry at `index` out; the last entry moves to its place.
    pub fn remove(&mut self, index: usize) -> Slot<V> {
        let last = self.slots.len() - 1;
        let net = self.slots[index].key.net;
        let removed = hash(self.hash_keys, net);
        if let Ok(entry) = self.index[part_of(removed)].find_entry(removed, |&at| at as usize == index) {
            entry.remove();
        }
        if index != last {
            let moved = hash(self.hash_keys, self.slots[last].key.net);
            if let Some(at) = self.index[part_of(moved)].find_mut(moved, |&at| at as usize == last) {
                *at = index as u32;
            }
        }
        let slot = self.slots.swap_remove(index);
        self.shrink(part_of(removed));
        slot
    }

    /// Gives memory back once three quarters of it lie empty: of the entries, and of one part of the table.
    fn shrink(&mut self, part: usize) {
        let len = self.slots.len();
        if self.slots.capacity() > 1024 && len < self.slots.capacity() / 4 {
            self.slots.shrink_to(len * 2);
        }
        let slots = &self.slots;
        let hash_keys = self.hash_keys;
        let part = &mut self.index[part];
        if part.capacity() > 64 && part.len() < part.capacity() / 4 {
            part.shrink_to(part.len() * 2, |&at| hash(hash_keys, slots[at as usize].key.net));
        }
    }

    /// Bytes held, without what the values themselves point to.
    pub fn bytes(&self) -> usize {
        let index: usize = self.index.iter().map(HashTable::allocation_size).sum();
        self.slots.capacity() * size_of::<Slot<V>>() + index
    }
}

/// The table takes a place from a hash's low bits and a tag from its highest seven: these lie between.
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

fn hash(keys: (u64, u64), net: Net) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    match net.base().ip() {
        std::net::IpAddr::V4(ip) => hasher.write_u32(u32::from(ip)),
        std::net::IpAddr::V6(ip) => hasher.write_u128(u128::from(ip)),
    }
    hasher.write_u8(net.prefix());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::addr::Host;

    fn key(jail: u16, host: u32) -> Key {
        let host = Host::new(std::net::Ipv4Addr::from(host).into());
        Key { jail: JailId(jail), net: Net::host(host) }
    }

    #[test]
    fn it_agrees_with_an_ordinary_map_over_random_changes() {
        let mut random = Random::new(1);
        let mut map = KeyMap::new(&mut random);
        let mut model = BTreeMap::new();
        for step in 0..20_000u32 {
            let (jail, host) = (random.below(3) as u16, random.below(400) as u32);
            match map.find(key(jail, host)) {
                Some(at) if random.below(2) == 0 => {
                    assert_eq!(model.remove(&(jail, host)), Some(map.remove(at).value));
                }
                Some(at) => assert_eq!(model.get(&(jail, host)), Some(&map.at(at).value)),
                None => {
                    assert!(model.insert((jail, host), step).is_none());
                    map.insert(key(jail, host), step);
                }
            }
            assert_eq!(map.len(), model.len());
        }
        for (&(jail, host), value) in &model {
            assert_eq!(map.get(key(jail, host)), Some(value));
            let of_net = map.of_net(key(jail, host).net).count();
            assert_eq!(of_net, (0..3).filter(|jail| model.contains_key(&(*jail, host))).count());
        }
    }

    #[test]
    fn an_emptied_map_gives_its_memory_back() {
        let mut random = Random::new(1);
        let mut map = KeyMap::new(&mut random);
        for host in 0..100_000 {
            map.insert(key(0, host), 0u64);
        }
        let full = map.bytes();
        while map.len() > 0 {
            map.remove(0);
        }
        assert!(map.bytes() < full / 20, "{} of {full}", map.bytes());
    }
}
