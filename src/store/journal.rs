//! The journal: frames in order of their sequence numbers, in segments of a few MiB each.
//!
//! A frame is written at the end of the last segment and synced; then it holds. The first frame of a segment
//! gives the file its name. A segment that is full gets an [index] of its evidence. Segments
//! age: first their evidence is taken out (thinned), later they go wholly.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;
use super::codec::{is_attempt, items, push_frame, read_item};
use super::index::{self, Entry, Index};
use super::lookup::index_of;
use super::record::{Change, Frame};
use super::segment::{self, HEADER_BYTES, Header, Scan};
use crate::time::Timestamp;

/// How much the journal keeps.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// A segment is closed once it is this large. Bytes.
    pub segment_bytes: u64,
    /// Or once it is this old.
    pub segment_age: Duration,
    /// Evidence lines are kept this long.
    pub evidence_age: Duration,
    /// Bans, unbans and the audit trail are kept this long; what is in force stays anyhow.
    pub history_age: Duration,
    /// The journal's size; when it is more, the oldest evidence goes early, then the oldest history. Bytes.
    pub bytes_max: u64,
}

impl Default for JournalSettings {
    fn default() -> JournalSettings {
        const DAY: u64 = 86_400;
        JournalSettings {
            segment_bytes: 4 << 20,
            segment_age: Duration::from_secs(DAY),
            evidence_age: Duration::from_secs(30 * DAY),
            history_age: Duration::from_secs(180 * DAY),
            bytes_max: 512 << 20,
        }
    }
}

/// A segment that takes no more frames.
#[derive(Debug)]
pub(super) struct Closed {
    pub header: Header,
    pub bytes: u64,
    pub index: Option<Index>,
}

impl Closed {
    pub(super) fn new(header: Header, bytes: u64) -> Closed {
        Closed { header, bytes, index: None }
    }
}

/// The segment that frames go to.
#[derive(Debug)]
pub(super) struct Active {
    pub header: Header,
    file: File,
    /// Everything before is synced.
    end: u64,
    /// Where its evidence stands, in the order of writing.
    pub entries: Vec<Entry>,
    /// A sync failed: what the kernel holds of the file is not to be trusted, so no more goes to it.
    broken: bool,
}

#[derive(Debug)]
pub(super) struct Journal {
    pub(super) dir: PathBuf,
    pub(super) settings: JournalSettings,
    pub(super) closed: Vec<Closed>,
    pub(super) active: Option<Active>,
    /// Sequence number of the next frame; the first one is 1.
    next: u64,
    buffer: Vec<u8>,
    pub(super) notices: Vec<String>,
    /// A segment was closed, or it is the start: some may be due to be thinned.
    pub(super) look_at_age: bool,
    pub(super) newest: Timestamp,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if it is not there; cuts a torn last frame off.
    ///
    /// # Errors
    /// The directory cannot be made or read. Damage is no error: it is reported by `notices`.
    pub(super) fn open(dir: &Path, settings: JournalSettings) -> Result<Journal, StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| StoreError::io("make", dir, source))?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|source| StoreError::io("read", dir, source))? {
            let entry = entry.map_err(|source| StoreError::io("read", dir, source))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".tmp") {
                let _ = std::fs::remove_file(entry.path());
            } else if let Some(first) =
                name.strip_suffix(".seg").and_then(|hex| u64::from_str_radix(hex, 16).ok())
            {
                names.push(first);
            }
        }
        names.sort_unstable();
        let mut journal = Journal {
            dir: dir.to_owned(),
            settings,
            closed: Vec::with_capacity(names.len()),
            active: None,
            next: 1,
            buffer: Vec::new(),
            notices: Vec::new(),
            look_at_age: true,
            newest: Timestamp::default(),
        };
        for first in names {
            let path = journal.path(first);
            let header = Header::read(&path).map_err(|source| StoreError::io("read", &path, source))?;
            match header.filter(|header| header.first == first) {
                Some(header) => {
                    let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                    journal.closed.push(Closed { header, bytes, index: None });
                }
                None => journal.set_aside(&path),
            }
        }
        journal.take_up_last()?;
        Ok(journal)
    }

    /// A segment whose header is gone cannot be read. One that holds nothing was torn at its making.
    fn set_aside(&mut self, path: &Path) {
        if std::fs::metadata(path).is_ok_and(|meta| meta.len() <= HEADER_BYTES as u64) {
            let _ = std::fs::remove_file(path);
            return;
        }
        self.notices
            .push(format!("{} is damaged at its head and set aside; its frames are lost", path.display()));
        let _ = std::fs::rename(path, path.with_extension("damaged"));
    }

    /// Makes the last segment the one that is written to.
    fn take_up_last(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.closed.pop() else { return Ok(()) };
        let path = self.path(last.header.first);
        let bytes = std::fs::read(&path).map_err(|source| StoreError::io("read", &path, source))?;
        let (entries, scan) = index_of(&bytes, last.header);
        self.report(&path, &scan);
        if scan.end < bytes.len() {
            let torn = bytes.len() - scan.end;
            self.notices
                .push(format!("{}: cut {torn} bytes of an unfinished write off its end", path.display()));
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| StoreError::io("open", &path, source))?;
        // What cannot be cut is written over.
        let _ = file.set_len(scan.end as u64);
        self.next = scan.last.map_or(last.header.first, |last| last + 1);
        self.newest = scan.last_at.unwrap_or(last.header.created);
        self.active = Some(Active {
            header: last.header,
            file,
            end: scan.end as u64,
            entries,
            broken: last.header.thinned,
        });
        Ok(())
    }

    pub(super) fn report(&mut self, path: &Path, scan: &Scan) {
        for piece in &scan.damaged {
            let (from, bytes) = (piece.start, piece.len());
            self.notices
                .push(format!("{}: {bytes} bytes from {from} on are damaged and left out", path.display()));
        }
    }

    pub(super) fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:016x}.seg"))
    }

    pub(super) fn index_path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:016x}.idx"))
    }

    /// Sequence number of the last frame; 0: none yet.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Whether it holds no segment at all.
    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.active.is_none()
    }

    /// Lets the next frame have a number after `last`, which somebody else has seen already.
    pub(super) fn skip_to(&mut self, last: u64) {
        self.next = self.next.max(last + 1);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.bytes).sum::<u64>()
            + self.active.as_ref().map_or(0, |a| a.end)
    }

    /// Appends `frames` and syncs. On success they have the numbers up to [`Journal::last`].
    ///
    /// # Errors
    /// None of them is kept.
    pub(super) fn append(&mut self, frames: &[Frame]) -> Result<(), StoreError> {
        let Some(newest) = frames.iter().map(|frame| frame.at).max() else { return Ok(()) };
        self.make_room(newest)?;
        let path = self.active.as_ref().map(|active| self.path(active.header.first)).unwrap_or_default();
        let active = self.active.as_mut().expect("make_room opened a segment");
        self.buffer.clear();
        let kept = active.entries.len();
        let mut next = self.next;
        for frame in frames {
            let (end, entries) = (active.end, &mut active.entries);
            push_frame(&mut self.buffer, active.header.nonce, next, frame, |change, at| {
                index::keys_of(change, |key| entries.push((key, (end + at as u64) as u32)));
            });
            next += 1;
        }
        let written = active.file.write_all_at(&self.buffer, active.end);
        let synced = written.and_then(|()| {
            let synced = active.file.sync_data();
            active.broken |= synced.is_err();
            synced
        });
        let length = self.buffer.len() as u64;
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        if let Err(source) = synced {
            active.entries.truncate(kept);
            let _ = active.file.set_len(active.end);
            return Err(StoreError::io("write", &path, source));
        }
        active.end += length;
        self.next = next;
        self.newest = self.newest.max(newest);
        Ok(())
    }

    /// Sees to it that there is a segment to write to, and that it is not too large or too old.
    fn make_room(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if let Some(active) = &self.active {
            let old = now.since(active.header.created) >= self.settings.segment_age;
            let full = active.end >= self.settings.segment_bytes || (old && active.end > HEADER_BYTES as u64);
            if !full && !active.broken {
                return Ok(());
            }
        }
        // A segment without a frame has the name that the next one would get; it is made anew.
        let empty = self.active.as_ref().is_some_and(|active| active.header.first == self.next);
        let header = Header { nonce: nonce(), first: self.next, created: now, thinned: false };
        let path = self.path(header.first);
        match segment::create(&path, header) {
            Ok(file) => {
                let fresh =
                    Active { header, file, end: HEADER_BYTES as u64, entries: Vec::new(), broken: false };
                let old = self.active.replace(fresh);
                if let Some(old) = old.filter(|_| !empty) {
                    self.close(old);
                }
                Ok(())
            }
            // No room for a new one: the old one may grow, if it is sound.
            Err(_) if self.active.as_ref().is_some_and(|active| !active.broken && active.end < 1 << 31) => {
                Ok(())
            }
            Err(source) => {
                if empty {
                    self.active = None;
                }
                Err(StoreError::io("make", &path, source))
            }
        }
    }

    fn close(&mut self, mut old: Active) {
        // Without an index file the index is made anew when somebody asks.
        let _ = index::write(&self.index_path(old.header.first), old.end, &mut old.entries);
        self.closed.push(Closed { header: old.header, bytes: old.end, index: None });
        self.look_at_age = true;
    }

    /// Calls `sink` with every change of the frames after number `after` that leaves state, in order, each
    /// with its frame's number.
    ///
    /// # Errors
    /// A segment cannot be read, or `sink` failed. Damage is no error: it is reported by `notices`.
    pub(super) fn replay(
        &mut self,
        after: u64,
        sink: &mut dyn FnMut(u64, Change) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut headers: Vec<Header> = self.closed.iter().map(|segment| segment.header).collect();
        headers.extend(self.active.as_ref().map(|active| active.header));
        let mut expected =
            if after == 0 { headers.first().map_or(1, |header| header.first) } else { after + 1 };
        for (position, header) in headers.iter().enumerate() {
            if headers.get(position + 1).is_some_and(|next| next.first <= after + 1) {
                continue;
            }
            let path = self.path(header.first);
            let bytes = std::fs::read(&path).map_err(|source| StoreError::io("read", &path, source))?;
            let mut result = Ok(());
            let mut missing = 0u64;
            let scan = segment::scan(&bytes, *header, |frame| {
                if frame.sequence <= after || result.is_err() {
                    return;
                }
                if !header.thinned {
                    missing += frame.sequence.saturating_sub(expected);
                }
                expected = frame.sequence + 1;
                result = items(frame.payload)
                    .filter(|(_, item)| !is_attempt(item))
                    .filter_map(|(_, item)| read_item(item, header.nonce))
                    .try_for_each(|change| sink(frame.sequence, change));
            });
            result?;
            if position + 1 < headers.len() {
                self.report(&path, &scan);
            }
            if header.thinned {
                expected = expected.max(headers.get(position + 1).map_or(0, |next| next.first));
            }
            if missing > 0 {
                self.notices
                    .push(format!("{}: {missing} frames are missing before or in it", path.display()));
            }
        }
        Ok(())
    }

    /// When the segment was made that frames go to.
    pub(super) fn active_created(&self) -> Timestamp {
        self.active.as_ref().map_or(self.newest, |active| active.header.created)
    }
}

/// A number nobody outside can guess: the hasher's keys come from the system's random source.
fn nonce() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}

/// For messages about a path that the journal owns.
pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::io(what, &path, source)
}
