//! One log: the file at its path, and the older files of it that are still read.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::checkpoint::{FilePosition, Position};
use super::rotated::{self, OLD_FILES_MAX};
use super::tail::{Step, Tail};
use super::watch::WatchId;
use super::{LogId, LogState, LogStatus};
use crate::limits::Limits;
use crate::time::Timestamp;

/// A file that was rotated away is read for so long after its last line: programs write to it until they are
/// told to open the new one.
pub const LATE_WRITES: Duration = Duration::from_secs(30);
/// Files let go that are remembered, should one come back. Files.
const LET_GO_MAX: usize = 8;
/// Positions no longer followed that are stored for one file. Positions.
const AFTER_MAX: usize = 8;
/// Links followed from a log's path to its file. Links.
const LINKS_MAX: usize = 16;

/// A file being read.
pub struct Follow {
    pub tail: Tail,
    pub watch: Option<WatchId>,
    /// When to let go of it; `None`: not before something replaces it.
    pub until: Option<Timestamp>,
    /// It was written to since the last sweep.
    pub written: bool,
    /// Nobody writes to it any more: at its end its unfinished line counts as whole, and it is let go.
    pub last: bool,
    /// What was read before this file and is not followed any more, oldest first: files let go, and what this one held
    /// before it was emptied. Until something is read of this file, only that tells after a restart what came later.
    pub after: SmallVec<[FilePosition; 1]>,
}

impl Follow {
    pub fn new(tail: Tail) -> Follow {
        let after = SmallVec::new();
        Follow { tail, watch: None, until: None, written: false, last: false, after }
    }

    fn is_begun(&self) -> bool {
        self.tail.position().offset > 0
    }

    fn begun(&self) -> Option<FilePosition> {
        self.is_begun().then(|| *self.tail.position())
    }

    /// What of `after` is still needed, where an earlier file was not begun (`unbegun`) or not.
    fn needed(&self, unbegun: bool) -> &[FilePosition] {
        let most = match (unbegun, self.is_begun()) {
            // What may be that earlier file, is not one of these.
            (true, _) => AFTER_MAX,
            (false, false) => 1,
            (false, true) => 0,
        };
        &self.after[self.after.len().saturating_sub(most)..]
    }
}

/// Where to begin in the first file that is found at the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// It may have stood there for long.
    LookBack,
    /// It came while we watched, or everything older was read.
    AtTop,
}

/// Lines that a log gave.
pub struct Found {
    /// Bytes in the buffer; `None`: they are in the file's own.
    pub len: Option<usize>,
    pub file: Which,
    pub live: bool,
}

#[derive(Clone, Copy)]
pub enum Which {
    Old(usize),
    Current,
}

pub struct Log {
    pub id: LogId,
    pub path: Arc<Path>,
    /// Oldest first.
    pub old: Vec<Follow>,
    /// The file at the path; or, while there is none, the one that was there.
    pub current: Option<Follow>,
    pub state: LogState,
    pub begin: Begin,
    /// How far `current` was begun before its end, if nothing was read since.
    pub looked_back: Option<Duration>,
    /// The patterns that match it.
    pub patterns: SmallVec<[usize; 2]>,
    /// What the path's links lead to, up to the file.
    pub links: Vec<PathBuf>,
    /// It waits for its turn to be read.
    pub queued: bool,
    /// The last read failed, and that was reported.
    pub failing: bool,
    /// Watches that are no longer needed.
    pub unwatch: Vec<WatchId>,
    let_go: VecDeque<FilePosition>,
    /// The file that stood at the path last, until another does.
    retired: Option<FilePosition>,
    /// What was read last and is not followed any more, oldest first, until another file stands at the path.
    after: SmallVec<[FilePosition; 1]>,
    /// Lines cut in files that were let go.
    lines_cut: u64,
}

impl Log {
    pub fn new(id: LogId, path: &Path, begin: Begin) -> Log {
        Log {
            id,
            path: path.into(),
            old: Vec::new(),
            current: None,
            state: LogState::Missing,
            begin,
            looked_back: None,
            patterns: SmallVec::new(),
            links: Vec::new(),
            queued: false,
            failing: false,
            unwatch: Vec::new(),
            let_go: VecDeque::new(),
            retired: None,
            after: SmallVec::new(),
            lines_cut: 0,
        }
    }

    /// Goes on from a stored position.
    pub fn resume(&mut self, stored: &Position, now: Timestamp, limits: &Limits) {
        self.begin = Begin::AtTop;
        let resumed = rotated::resume(&self.path, stored, limits);
        self.let_go.extend(resumed.elsewhere);
        self.retired = resumed.newest;
        for (tail, copy) in resumed.old {
            let until = Some(now.plus(LATE_WRITES));
            self.old.push(Follow { until, last: copy, ..Follow::new(tail) });
        }
        self.after.extend(resumed.newest.filter(|at| !self.old.iter().any(|file| file.tail.is_at(at))));
    }

    fn files(&self) -> impl Iterator<Item = &Follow> {
        self.old.iter().chain(&self.current)
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut Follow> {
        self.old.iter_mut().chain(&mut self.current)
    }

    /// Marks a file that was written to.
    pub fn written(&mut self, watch: WatchId) {
        for file in self.files_mut().filter(|file| file.watch == Some(watch)) {
            file.tail.touch();
            file.written = true;
        }
    }

    /// Events were lost: any file may have grown.
    pub fn touch_all(&mut self) {
        for file in self.files_mut() {
            file.tail.touch();
        }
    }

    pub fn has_work(&self) -> bool {
        self.files().any(|file| file.tail.is_dirty()) || self.old.iter().any(|file| file.last)
    }

    /// Whether nothing is going on with it, and the kernel tells when something does.
    pub fn is_quiet(&self) -> bool {
        let current = match &self.current {
            Some(file) => self.state == LogState::Open && file.watch.is_some(),
            None => self.state == LogState::Missing,
        };
        current && self.old.is_empty() && !self.has_work()
    }

    /// Whether one of the files being read is this one.
    pub fn holds(&self, meta: &fs::Metadata) -> bool {
        self.files().any(|file| !file.tail.is_packed() && file.tail.is(meta))
    }

    /// How far a file was read before it was let go, if it was.
    pub fn let_go_at(&self, file: &fs::File) -> Option<u64> {
        self.let_go.iter().rev().find(|at| rotated::same_file(at, file)).map(|at| at.offset)
    }

    /// Moves the current file to the old ones: another stands at the path, or none for good.
    pub fn retire(&mut self, now: Timestamp, limits: &Limits) {
        self.learn_head(None, limits);
        let Some(mut file) = self.current.take() else { return };
        file.tail.touch();
        file.until = Some(now.plus(LATE_WRITES));
        self.retired = Some(*file.tail.position());
        self.old.push(file);
        self.looked_back = None;
        let surplus = self.old.len().saturating_sub(OLD_FILES_MAX);
        for file in &mut self.old[..surplus] {
            file.last = true;
        }
    }

    /// Retires the current file since `new` stands at the path, together with what was rotated away between
    /// the two before we saw it.
    pub fn replace(&mut self, now: Timestamp, new: Tail, watch: Option<WatchId>, limits: &Limits) {
        self.retire(now, limits);
        let mut after = std::mem::take(&mut self.after);
        if let Some(mut was) = self.retired.take() {
            // It may have been written to since: what it holds tells where it is now.
            if let Some(at) = self.old.iter().position(|file| file.tail.is_at(&was)) {
                self.learn_head(Some(at), limits);
            }
            let held = self.old.iter().find(|file| file.tail.is_at(&was));
            was = held.map_or(was, |file| *file.tail.position());
            let before = held.and_then(|file| file.after.last().copied());
            for tail in rotated::between(&self.path, &was, held.is_some(), before.as_ref(), limits) {
                if !tail.is_at(new.position())
                    && !self.old.iter().any(|file| file.tail.is_at(tail.position()))
                {
                    let (until, last) = (Some(now.plus(LATE_WRITES)), tail.is_packed());
                    self.old.push(Follow {
                        until,
                        last,
                        after: std::mem::take(&mut after),
                        ..Follow::new(tail)
                    });
                }
            }
        }
        self.current = Some(Follow { watch, after, ..Follow::new(new) });
    }

    /// Whether the file that was current is deleted.
    pub fn current_is_deleted(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let meta = self.current.as_ref().and_then(|file| file.tail.metadata());
        meta.is_some_and(|meta| meta.nlink() == 0)
    }

    /// Makes an old file the current one again; false if it is none of them.
    pub fn take_back(&mut self, meta: &fs::Metadata, now: Timestamp, limits: &Limits) -> bool {
        let Some(at) = self.old.iter().position(|file| !file.tail.is_packed() && file.tail.is(meta)) else {
            return false;
        };
        let mut file = self.old.remove(at);
        (file.until, file.last) = (None, false);
        file.tail.touch();
        self.retire(now, limits);
        self.retired = None;
        self.after.clear();
        self.current = Some(file);
        true
    }

    /// Looks at the old files for late lines; lets go of those whose time is over.
    pub fn sweep_old(&mut self, now: Timestamp) {
        for file in &mut self.old {
            if let Some(meta) = file.tail.metadata() {
                file.tail.poll(&meta);
            }
            let waits = file.tail.is_dirty() | std::mem::take(&mut file.written);
            match file.until {
                Some(_) if waits => file.until = Some(now.plus(LATE_WRITES)),
                Some(until) if until <= now => file.last = true,
                _ => {}
            }
        }
    }

    /// Reads on: old files first. `None`: nothing more for now.
    pub fn read(&mut self, buffer: &mut [u8], limits: &Limits) -> Option<io::Result<Found>> {
        loop {
            let at = self.old.iter().position(|file| file.last || file.tail.is_dirty());
            let (which, file) = match (at, &mut self.current) {
                (Some(at), _) => (Which::Old(at), &mut self.old[at]),
                (None, Some(file)) if file.tail.is_dirty() => (Which::Current, file),
                (None, _) => return None,
            };
            let live = file.tail.reached_end();
            let step = if file.tail.is_dirty() { file.tail.read(buffer) } else { Ok(Step::End) };
            let step = match step {
                Ok(Step::End) if file.last => match file.tail.finish(buffer) {
                    Ok(Some(len)) => Ok(Step::Lines(Some(len))),
                    Ok(None) => {
                        self.let_go_of(at);
                        continue;
                    }
                    Err(error) => Err(error),
                },
                step => step,
            };
            match step {
                Ok(Step::Lines(len)) => {
                    self.failing = false;
                    self.looked_back = None;
                    return Some(Ok(Found { len, file: which, live }));
                }
                Ok(Step::End) => self.failing = false,
                Ok(Step::Truncated) => {
                    if let Err(error) = self.emptied(at, limits) {
                        return self.failed(at, error);
                    }
                }
                Err(error) => return self.failed(at, error),
            }
        }
    }

    /// Looks at how a file begins, the current one or one of the old: it is to be found by that.
    fn learn_head(&mut self, at: Option<usize>, limits: &Limits) {
        let file = at.map_or(self.current.as_mut(), |at| self.old.get_mut(at));
        if file.is_some_and(|file| !file.tail.learn_head()) {
            // What fails here, fails once more when it is read.
            let _ = self.emptied(at, limits);
        }
    }

    /// Begins a file that was emptied again. What was written between our last read and that may stand in a copy.
    fn emptied(&mut self, at: Option<usize>, limits: &Limits) -> io::Result<()> {
        let Some(file) = at.map_or(self.current.as_mut(), |at| self.old.get_mut(at)) else { return Ok(()) };
        let (was, begun) = (*file.tail.position(), file.begun());
        file.tail.restart()?;
        match rotated::find_copy(&self.path, &was, limits) {
            Some(copy) => {
                let copy = Follow { last: true, after: std::mem::take(&mut file.after), ..Follow::new(copy) };
                self.old.insert(at.unwrap_or(self.old.len()), copy);
            }
            None => file.after.extend(begun),
        }
        self.drop_needless();
        Ok(())
    }

    /// Takes a file that cannot be read out of the turn: a sweep tries the current one again.
    fn failed(&mut self, at: Option<usize>, error: io::Error) -> Option<io::Result<Found>> {
        match at {
            Some(_) => self.let_go_of(at),
            None => {
                self.state = LogState::Unreadable;
                if let Some(file) = &mut self.current {
                    file.tail.give_up();
                }
                if std::mem::replace(&mut self.failing, true) {
                    return None;
                }
            }
        }
        Some(Err(error))
    }

    fn let_go_of(&mut self, at: Option<usize>) {
        let Some(at) = at else { return };
        let file = self.old.remove(at);
        let position = file.tail.position();
        let after = match self.old.get_mut(at).or(self.current.as_mut()) {
            Some(next) => &mut next.after,
            None => &mut self.after,
        };
        after.insert_many(0, file.after.iter().copied().chain(file.begun()));
        if let Some(retired) = self.retired.as_mut().filter(|retired| file.tail.is_at(retired)) {
            *retired = *position;
        }
        self.drop_needless();
        self.lines_cut += file.tail.lines_cut();
        self.unwatch.extend(file.watch);
        if !file.tail.is_packed() {
            self.let_go.push_back(*position);
            if self.let_go.len() > LET_GO_MAX {
                self.let_go.pop_front();
            }
        }
    }

    /// How far the log was read. Files that were not begun are left out behind the last that was: they are
    /// found again as what was rotated after it.
    pub fn position(&self) -> Position {
        let mut files = SmallVec::new();
        let led = self.files().enumerate().filter(|(_, file)| file.is_begun() || !file.after.is_empty());
        let begun = if self.after.is_empty() { led.map(|(index, _)| index).last() } else { Some(usize::MAX) };
        let (mut ended, mut unbegun) = (true, false);
        for (index, file) in self.files().enumerate() {
            if begun.is_none_or(|begun| index > begun) && !ended {
                break;
            }
            files.extend_from_slice(file.needed(unbegun));
            unbegun |= !file.is_begun();
            files.push(*file.tail.position());
            ended &= file.tail.reached_end();
        }
        files.extend_from_slice(&self.after);
        Position { files }
    }

    fn drop_needless(&mut self) {
        let mut unbegun = false;
        for file in self.files_mut() {
            let needless = file.after.len() - file.needed(unbegun).len();
            file.after.drain(..needless);
            unbegun |= !file.is_begun();
        }
        let most = if unbegun { AFTER_MAX } else { 1 };
        self.after.drain(..self.after.len().saturating_sub(most));
    }

    pub fn status(&self) -> LogStatus {
        LogStatus {
            path: self.path.to_string_lossy().into_owned(),
            state: self.state,
            lag_bytes: self.files().map(|file| file.tail.lag_bytes()).sum(),
            lines_cut: self.lines_cut + self.files().map(|file| file.tail.lines_cut()).sum::<u64>(),
        }
    }
}

/// What a path's links lead to, one after the other; empty if it is none.
pub fn links(path: &Path) -> Vec<PathBuf> {
    let mut links: Vec<PathBuf> = Vec::new();
    while links.len() < LINKS_MAX {
        let from = links.last().map_or(path, PathBuf::as_path);
        let Ok(target) = fs::read_link(from) else { break };
        let target = from.parent().unwrap_or(Path::new("")).join(target);
        links.push(target);
    }
    links
}
