//! The filters that read the same lines.

use std::collections::HashMap;

use super::gate::Gate;
use super::{Bits, Entry};

/// Filters that read the same lines.
pub(super) struct Lane {
    /// By their index in the set: whether they read its lines. Empty where the lane stands for several idents.
    pub filters: Box<[bool]>,
    /// First byte of the message -> bucket. The last one is for an empty message.
    bucket_of: Box<[u16; 257]>,
    buckets: Vec<Bucket>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}

/// Patterns that can begin with the same byte.
struct Bucket {
    patterns: Vec<u16>,
    /// Made when a line first comes here.
    gate: Option<Box<Gate>>,
}

impl Lane {
    pub fn new(filters: &[u16], entries: &[Entry]) -> Lane {
        let mut lane = Lane {
            filters: Box::default(),
            bucket_of: Box::new([0; 257]),
            buckets: vec![Bucket { patterns: Vec::new(), gate: None }],
        };
        let mut known: HashMap<Vec<u16>, u16> = HashMap::from([(Vec::new(), 0)]);
        for at in 0..257usize {
            let begins = |entry: &Entry| match u8::try_from(at) {
                Ok(byte) => entry.first.contains(byte),
                Err(_) => entry.may_be_empty,
            };
            let patterns: Vec<u16> = (0..entries.len() as u16)
                .filter(|index| {
                    let entry = &entries[usize::from(*index)];
                    filters.contains(&entry.filter) && begins(entry)
                })
                .collect();
            let tells = patterns.iter().any(|at| !entries[usize::from(*at)].ignores);
            let patterns = if tells { patterns } else { Vec::new() };
            lane.bucket_of[at] = *known.entry(patterns).or_insert_with_key(|patterns| {
                lane.buckets.push(Bucket { patterns: patterns.clone(), gate: None });
                lane.buckets.len() as u16 - 1
            });
        }
        lane
    }

    #[inline]
    pub fn search(&mut self, message: &[u8], entries: &[Entry], bits: &mut Bits) -> bool {
        let first = message.first().map_or(256, |byte| usize::from(*byte));
        let bucket = self.bucket_of[first];
        if bucket == 0 {
            return false;
        }
        let bucket = &mut self.buckets[usize::from(bucket)];
        let gate = match &bucket.gate {
            Some(gate) => gate,
            None => bucket.gate.insert(Box::new(Gate::new(&bucket.patterns, entries))),
        };
        gate.search(message, bits)
    }
}
