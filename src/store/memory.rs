//! A store without a disk: for `banctl replay`, trials and tests. Forgets with the process.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use super::evidence::{self, Evidence};
use super::index;
use super::record::{Audit, Change, Frame, Unban};
use super::state::{Names, key_of, read_state, value_of};
use super::{AccountRecord, HostRecord, Store, StoreError};
use crate::addr::{Host, Net};
use crate::limits::Limits;

/// Attempts, unbans and audit entries kept, the latest ones. Changes.
const EVIDENCE_MAX: usize = 100_000;

#[derive(Default)]
pub struct MemoryStore {
    limits: Limits,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    evidence: VecDeque<Change>,
}

impl MemoryStore {
    pub fn new(limits: &Limits) -> MemoryStore {
        MemoryStore { limits: limits.clone(), ..MemoryStore::default() }
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, frames: &mut [Frame]) -> Result<(), StoreError> {
        for change in frames.iter_mut().flat_map(|frame| &mut frame.changes) {
            let key = key_of(change);
            if let (Change::Unban(unban), Some(key)) = (&mut *change, &key) {
                let held =
                    self.state.get(key).and_then(|value| read_state(key, value, &mut Names::default()));
                if let (Some(Change::Ban(ban)), None) = (held, &unban.ban) {
                    unban.ban = Some(ban);
                }
            }
            if let Some(key) = key {
                match value_of(&key, change) {
                    Some(value) => self.state.insert(key, value),
                    None => self.state.remove(&key),
                };
            }
            let mut kept = false;
            index::keys_of(change, |_| kept = true);
            if kept && !matches!(change, Change::Ban(_)) {
                self.evidence.push_back(change.clone());
            }
        }
        let over = self.evidence.len().saturating_sub(EVIDENCE_MAX);
        self.evidence.drain(..over);
        Ok(())
    }

    fn settle(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Change)) -> Result<(), StoreError> {
        let mut names = Names::default();
        self.state.iter().filter_map(|(key, value)| read_state(key, value, &mut names)).for_each(sink);
        Ok(())
    }

    fn evidence(&mut self, host: Host) -> Result<HostRecord, StoreError> {
        let limits = self.limits.clone();
        evidence::host(self, host, &limits)
    }

    fn account(&mut self, name: &str) -> Result<AccountRecord, StoreError> {
        let limits = self.limits.clone();
        evidence::account(self, name, &limits)
    }

    fn hosts_in(&mut self, net: Net, limit: usize) -> Result<Vec<Host>, StoreError> {
        evidence::hosts_in(self, net, limit)
    }

    fn ended(&mut self, limit: usize) -> Result<Vec<Unban>, StoreError> {
        evidence::ended(self, limit)
    }

    fn audit(&mut self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        evidence::audit(self, limit)
    }

    fn take_notices(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Evidence for MemoryStore {
    fn visit(
        &mut self,
        keys: &[RangeInclusive<u64>],
        limit: usize,
        sink: &mut dyn FnMut(Change) -> bool,
    ) -> Result<(), StoreError> {
        let fits = |change: &&Change| {
            let mut fits = false;
            index::keys_of(change, |key| fits |= keys.iter().any(|range| range.contains(&key)));
            fits
        };
        for change in self.evidence.iter().rev().filter(fits).take(limit) {
            if !sink(change.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn keys(&mut self, range: RangeInclusive<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let mut keys = Vec::new();
        for change in self.evidence.iter().rev() {
            index::keys_of(change, |key| keys.extend(range.contains(&key).then_some(key)));
            if keys.len() >= limit {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
