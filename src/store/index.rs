//! Finding evidence: for each segment of the journal a sorted list of (key, offset), beside it in a file.
//!
//! Evidence is written once, to the journal, and nowhere else; what leads to it costs 12 bytes for each
//! address and account on record, and goes when the segment goes. A key may stand for several things
//! (accounts are hashed, long IPv6 prefixes cut), so what is found is compared again.
//!
//! File: magic, segment bytes u64, count u32, crc u32 over all entries; entries of key u64 big-endian,
//! offset u32 little-endian, sorted. It is never synced: a file that is not right is built again.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::record::Change;
use crate::addr::{Host, Net};

const MAGIC: &[u8; 8] = b"PORTEROI";
const HEAD: usize = 24;
const ENTRY: usize = 12;
/// Entries read at once; one key of each such piece is kept in memory. Entries.
const PIECE: usize = 512;

const KIND_SHIFT: u32 = 56;
const BODY: u64 = (1 << KIND_SHIFT) - 1;
const HOST4: u64 = 1 << KIND_SHIFT;
const HOST6: u64 = 2 << KIND_SHIFT;
const ACCOUNT: u64 = 3 << KIND_SHIFT;
const ENDED4: u64 = 4 << KIND_SHIFT;
const ENDED6: u64 = 5 << KIND_SHIFT;
/// Every ended ban.
pub(super) const ENDED: u64 = 6 << KIND_SHIFT;
/// Every entry of the audit trail.
pub(super) const AUDIT: u64 = 7 << KIND_SHIFT;

/// One finding place: key, and offset of the item in its segment.
pub(super) type Entry = (u64, u32);

/// Keeps the order of addresses; IPv6 addresses of one /56 share a key.
pub(super) fn host_key(host: Host) -> u64 {
    match host.ip() {
        IpAddr::V4(ip) => HOST4 | u64::from(u32::from(ip)),
        IpAddr::V6(ip) => HOST6 | (u128::from(ip) >> 72) as u64,
    }
}

/// The keys of all hosts in `net`.
pub(super) fn hosts_keys(net: Net) -> RangeInclusive<u64> {
    let first = host_key(net.base());
    let bits = if net.is_ipv4() { 32u32 } else { 56 };
    let free = bits.saturating_sub(u32::from(net.prefix()));
    first..=(first | ((1u64 << free) - 1))
}

pub(super) fn ended_key(net: Net) -> u64 {
    let prefix = u64::from(net.prefix());
    match net.base().ip() {
        IpAddr::V4(ip) => ENDED4 | u64::from(u32::from(ip)) << 8 | prefix,
        IpAddr::V6(ip) => ENDED6 | ((u128::from(ip) >> 80) as u64) << 8 | prefix,
    }
}

/// The part of an account's name that counts for finding it: without its domain, in lower case.
pub(super) fn account_key(name: &[u8]) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    for byte in local_part(name) {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    ACCOUNT | (hasher.finish() & BODY)
}

/// What stands before the `@`, or before or after the other marks that set a domain apart (`DOMAIN\name`).
pub(super) fn local_part(name: &[u8]) -> &[u8] {
    let name = name.rsplit(|byte| *byte == b'\\').next().unwrap_or(name);
    name.split(|byte| *byte == b'@').next().unwrap_or(name)
}

/// Calls `push` with every key under which `change` is to be found.
pub(super) fn keys_of(change: &Change, mut push: impl FnMut(u64)) {
    match change {
        Change::Attempt(attempt) => {
            push(host_key(attempt.host));
            if let Some(account) = &attempt.account {
                push(account_key(account));
            }
        }
        Change::Unban(unban) => {
            push(ended_key(unban.target));
            push(ENDED);
        }
        // For the unban that will come, which tells what ended.
        Change::Ban(ban) => push(ended_key(ban.target)),
        Change::Audit(_) => push(AUDIT),
        _ => {}
    }
}

/// Writes the index of a segment that will not grow any more. `entries` are sorted by this.
pub(super) fn write(path: &Path, segment_bytes: u64, entries: &mut [Entry]) -> io::Result<()> {
    entries.sort_unstable();
    let mut bytes = Vec::with_capacity(HEAD + entries.len() * ENTRY);
    bytes.resize(HEAD, 0);
    for (key, offset) in entries.iter() {
        bytes.extend_from_slice(&key.to_be_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    let sum = crc32fast::hash(&bytes[HEAD..]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&segment_bytes.to_le_bytes());
    bytes[16..20].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, bytes)
}

/// A checked index file: the first key of each piece is in memory, the rest on disk.
#[derive(Debug)]
pub(super) struct Index {
    fences: Vec<u64>,
    count: usize,
}

impl Index {
    /// Reads and checks the whole file once. `None`: not there, damaged, or of another segment.
    pub(super) fn open(path: &Path, segment_bytes: u64) -> Option<Index> {
        let bytes = std::fs::read(path).ok()?;
        let number = |from: usize, to: usize| bytes.get(from..to);
        let count = u32::from_le_bytes(number(16, 20)?.try_into().ok()?) as usize;
        let entries = bytes.get(HEAD..)?;
        let right = number(0, 8)? == MAGIC
            && number(8, 16)? == segment_bytes.to_le_bytes()
            && entries.len() == count * ENTRY
            && number(20, 24)? == crc32fast::hash(entries).to_le_bytes();
        let key = |entry: &[u8]| u64::from_be_bytes(entry[..8].try_into().expect("an entry has 12 bytes"));
        right.then(|| Index { fences: entries.chunks(PIECE * ENTRY).map(key).collect(), count })
    }

    /// Offsets of what has a key in `keys`, the latest last; at most `limit`, the latest ones.
    pub(super) fn find(
        &self,
        file: &File,
        keys: &[RangeInclusive<u64>],
        limit: usize,
        found: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let start = found.len();
        for range in keys {
            self.find_range(file, range, limit, found)?;
        }
        keep_latest(found, start, limit);
        Ok(())
    }

    fn find_range(
        &self,
        file: &File,
        keys: &RangeInclusive<u64>,
        limit: usize,
        found: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let first = self.fences.partition_point(|fence| fence < keys.start()).saturating_sub(1);
        let start = found.len();
        let mut bytes = [0u8; PIECE * ENTRY];
        for piece in first..self.fences.len() {
            if self.fences[piece] > *keys.end() {
                break;
            }
            let entries = PIECE.min(self.count - piece * PIECE);
            let bytes = &mut bytes[..entries * ENTRY];
            file.read_exact_at(bytes, (HEAD + piece * PIECE * ENTRY) as u64)?;
            for entry in bytes.chunks_exact(ENTRY) {
                let key = u64::from_be_bytes(entry[..8].try_into().expect("8 of 12 bytes"));
                if keys.contains(&key) {
                    found.push((key, u32::from_le_bytes(entry[8..].try_into().expect("4 of 12 bytes"))));
                }
            }
            if found.len() - start > 4 * limit.max(PIECE) {
                keep_latest(found, start, limit);
            }
        }
        keep_latest(found, start, limit);
        Ok(())
    }
}

/// Of `found[start..]` keeps the `limit` entries that lie furthest back in their segment, in order of place.
pub(super) fn keep_latest(found: &mut Vec<Entry>, start: usize, limit: usize) {
    found[start..].sort_unstable_by_key(|(_, offset)| *offset);
    let over = (found.len() - start).saturating_sub(limit);
    found.drain(start..start + over);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_share_a_key_whatever_their_case_and_domain() {
        let key = account_key(b"alice");
        for name in ["Alice", "alice@example.org", "ALICE@EXAMPLE.ORG", "OFFICE\\alice"] {
            assert_eq!(account_key(name.as_bytes()), key, "{name}");
        }
        assert_ne!(account_key(b"alicia"), key);
    }

    #[test]
    fn the_keys_of_a_network_hold_those_of_its_hosts_and_no_others() {
        let has = |net: &str, host: &str| {
            hosts_keys(net.parse().unwrap()).contains(&host_key(host.parse().unwrap()))
        };
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/32", "2001:db8:ffff::1") && !has("2001:db8::/32", "2001:db9::1"));
        assert!(has("2001:db8::/64", "2001:db8::1") && has("::/0", "ffff::1"));
    }

    #[test]
    fn a_written_index_finds_what_was_put_in_and_notices_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let mut entries: Vec<Entry> = (0..5000u32).map(|n| (u64::from(n % 1000), n)).collect();
        write(&path, 77, &mut entries).unwrap();
        assert!(Index::open(&path, 78).is_none());
        let index = Index::open(&path, 77).unwrap();
        let file = File::open(&path).unwrap();
        for key in [0, 1, 511, 999] {
            let mut found = Vec::new();
            index.find(&file, &[key..=key], 100, &mut found).unwrap();
            let want: Vec<u32> = (0..5).map(|turn| turn * 1000 + key as u32).collect();
            assert_eq!(found.iter().map(|entry| entry.1).collect::<Vec<_>>(), want);
        }
        let mut found = Vec::new();
        index.find(&file, &[0..=999], 3, &mut found).unwrap();
        assert_eq!(found.iter().map(|entry| entry.1).collect::<Vec<_>>(), [4997, 4998, 4999]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        assert!(Index::open(&path, 77).is_none());
    }
}
