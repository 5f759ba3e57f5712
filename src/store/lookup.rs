//! Finding evidence in the journal: through the list of the last segment, which is in memory, and the index
//! files of the others.

use std::fs::File;
use std::ops::RangeInclusive;

use super::StoreError;
use super::codec::{items, read_item};
use super::index::{self, Entry, Index};
use super::journal::Journal;
use super::record::Change;
use super::segment::{self, Header, Scan};

/// Where an item stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The segment's first sequence number.
    pub segment: u64,
    pub offset: u32,
}

impl Journal {
    /// Where items with a key in one of `keys` stand, the latest first; at most `limit`.
    pub(super) fn find(
        &mut self,
        keys: &[RangeInclusive<u64>],
        limit: usize,
    ) -> Result<Vec<(u64, Place)>, StoreError> {
        let mut found: Vec<(u64, Place)> = Vec::new();
        if let Some(active) = &self.active {
            let segment = active.header.first;
            let hits = active.entries.iter().rev().filter(|(key, _)| fits(keys, *key)).take(limit);
            found.extend(hits.map(|&(key, offset)| (key, Place { segment, offset })));
        }
        for position in (0..self.closed.len()).rev() {
            if found.len() >= limit {
                break;
            }
            let entries = self.find_in(position, keys, limit - found.len())?;
            let segment = self.closed[position].header.first;
            found.extend(entries.iter().rev().map(|&(key, offset)| (key, Place { segment, offset })));
        }
        Ok(found)
    }

    fn find_in(
        &mut self,
        position: usize,
        keys: &[RangeInclusive<u64>],
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (first, bytes) = (self.closed[position].header.first, self.closed[position].bytes);
        let index_path = self.index_path(first);
        let mut found = Vec::new();
        if self.closed[position].index.is_none() {
            self.closed[position].index = Index::open(&index_path, bytes);
        }
        if let Some(index) = &self.closed[position].index {
            let read = File::open(&index_path).and_then(|file| index.find(&file, keys, limit, &mut found));
            if read.is_ok() {
                return Ok(found);
            }
            found.clear();
            self.closed[position].index = None;
        }
        let path = self.path(first);
        let segment = std::fs::read(&path).map_err(|source| StoreError::io("read", &path, source))?;
        let (mut entries, scan) = index_of(&segment, self.closed[position].header);
        self.report(&path, &scan);
        let _ = index::write(&index_path, bytes, &mut entries);
        found.extend(entries.into_iter().filter(|(key, _)| fits(keys, *key)));
        index::keep_latest(&mut found, 0, limit);
        Ok(found)
    }

    /// Reads what stands at `places`, one after the other, until `sink` answers false. Damaged items are
    /// left out.
    pub(super) fn read(
        &mut self,
        places: impl IntoIterator<Item = Place>,
        sink: &mut dyn FnMut(Change) -> bool,
    ) -> Result<(), StoreError> {
        let mut open: Option<(u64, u32, File)> = None;
        for place in places {
            if open.as_ref().is_none_or(|(segment, ..)| *segment != place.segment) {
                let path = self.path(place.segment);
                let file = File::open(&path).map_err(|source| StoreError::io("open", &path, source))?;
                let closed = self.closed.iter().map(|segment| segment.header);
                let mut headers = closed.chain(self.active.as_ref().map(|active| active.header));
                let Some(header) = headers.find(|header| header.first == place.segment) else { continue };
                open = Some((place.segment, header.nonce, file));
            }
            let Some((_, nonce, file)) = &open else { continue };
            let item = segment::item_at(file, u64::from(place.offset), *nonce)
                .map_err(|source| StoreError::io("read", &self.path(place.segment), source))?;
            match item {
                Some(change) => {
                    if !sink(change) {
                        break;
                    }
                }
                None => self.notices.push(format!(
                    "{}: the entry at {} is damaged and left out",
                    self.path(place.segment).display(),
                    place.offset
                )),
            }
        }
        Ok(())
    }
}

fn fits(keys: &[RangeInclusive<u64>], key: u64) -> bool {
    keys.iter().any(|range| range.contains(&key))
}

/// The finding places of a whole segment.
pub(super) fn index_of(bytes: &[u8], header: Header) -> (Vec<Entry>, Scan) {
    let mut entries = Vec::new();
    let scan = segment::scan(bytes, header, |frame| {
        for (at, item) in items(frame.payload) {
            if let Some(change) = read_item(item, header.nonce) {
                index::keys_of(&change, |key| entries.push((key, (frame.payload_at + at) as u32)));
            }
        }
    });
    (entries, scan)
}
