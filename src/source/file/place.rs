//! What stands at the logs' paths: opening, globs, links, and the directories to watch.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::{Start, Tailer};
use crate::source::log::{self, Begin};
use crate::source::pattern::Pattern;
use crate::source::tail::Tail;
use crate::source::watch::{WatchId, on_network, tells_all};
use crate::source::{LogId, LogState, SourceError, lookback, packed, rotated};
use crate::time::Timestamp;

impl Tailer {
    /// Whether a log that only globs found is gone for good.
    pub(super) fn is_over(&self, id: LogId) -> bool {
        let Some(log) = self.log(id) else { return false };
        let literal = log.patterns.iter().any(|at| self.patterns[*at].as_ref().is_some_and(|p| !p.is_glob()));
        !literal && log.state == LogState::Missing && log.current.is_none() && log.old.is_empty()
    }

    /// Something happened to a name in a watched directory.
    pub(super) fn look_at_name(&mut self, path: &Path, now: Timestamp) {
        if let Some(ids) = self.names.get(path) {
            for id in ids.clone() {
                self.look(id, now);
            }
        }
        for index in 0..self.patterns.len() {
            if self.patterns[index].as_ref().is_some_and(|p| p.is_glob() && p.matches(path)) {
                self.look_at_candidate(index, path, now);
            }
        }
    }

    /// A path that a glob matches.
    pub(super) fn look_at_candidate(&mut self, pattern: usize, path: &Path, now: Timestamp) {
        if let Some(id) = self.log_at(path) {
            self.attach(id, pattern);
        } else if !self.is_no_log(pattern, path)
            && let Some(id) = self.create(pattern, path, Begin::AtTop)
        {
            self.look(id, now);
        }
    }

    /// Whether a path under a glob is not to be read for itself: an old file of another log, a compressed
    /// one, a directory, or a file that another log of the glob reads.
    pub(super) fn is_no_log(&self, pattern: usize, path: &Path) -> bool {
        if self.patterns[pattern].as_ref().is_none_or(|pattern| !pattern.is_glob()) {
            return false;
        }
        let name = path.file_name().unwrap_or_default().as_bytes();
        if packed::named_packed(name) {
            return true;
        }
        let base_is_log =
            |base: &Vec<u8>| self.log_at(&path.with_file_name(OsStr::from_bytes(base))).is_some();
        if rotated::bases(name).iter().any(base_is_log) {
            return true;
        }
        // What is not there is the stored path of a log that may come back.
        fs::metadata(path)
            .is_ok_and(|meta| !meta.is_file() || self.is_read_by_another(&[pattern], None, &meta))
    }

    fn is_read_by_another(&self, patterns: &[usize], but: Option<LogId>, meta: &fs::Metadata) -> bool {
        let others = self.logs.iter().flatten().filter(|log| Some(log.id) != but);
        others.filter(|log| log.patterns.iter().any(|at| patterns.contains(at))).any(|log| log.holds(meta))
    }

    /// Looks at what stands at a log's path now.
    pub(super) fn look(&mut self, id: LogId, now: Timestamp) {
        let Some(log) = &mut self.logs[id.0 as usize] else { return };
        match fs::metadata(&log.path) {
            Ok(meta) if log.current.as_ref().is_some_and(|file| file.tail.is(&meta)) => {
                let file = log.current.as_mut().expect("just seen");
                file.tail.poll(&meta);
                log.state = if log.failing { LogState::Unreadable } else { LogState::Open };
            }
            Ok(_) => {
                let opened = self.open(id, now);
                let log = self.log_mut(id);
                log.state = match opened {
                    Ok(()) => LogState::Open,
                    Err(error) => not_open(&error),
                };
                self.refresh_links(id);
            }
            Err(error) => {
                log.state = not_open(&error);
                // What was renamed is written to until its writer opens another.
                if let Some(file) = &mut log.current
                    && let Some(meta) = file.tail.metadata()
                {
                    file.tail.poll(&meta);
                }
                if log.state == LogState::Missing && log.current_is_deleted() {
                    log.retire(now, &self.limits);
                }
                self.refresh_links(id);
            }
        }
        self.enqueue(id);
    }

    /// Opens the file that stands at a log's path and is not the one being read.
    fn open(&mut self, id: LogId, now: Timestamp) -> io::Result<()> {
        let log = self.log(id).expect("the caller just found this log");
        let file = rotated::open(&log.path)?;
        let meta = file.metadata()?;
        let (patterns, begin) = (log.patterns.clone(), log.begin);
        let limits = self.limits.clone();
        if self.log_mut(id).take_back(&meta, now, &limits) {
            return Ok(());
        }
        if self.is_read_by_another(&patterns, Some(id), &meta) {
            self.log_mut(id).retire(now, &limits);
            return Ok(());
        }
        let others = self.logs.iter().flatten();
        let known = others
            .filter(|log| log.patterns.iter().any(|at| patterns.contains(at)))
            .find_map(|log| log.let_go_at(&file));
        let mut looked_back = None;
        let offset = match known {
            Some(offset) => offset,
            None if begin == Begin::LookBack => {
                self.look_back(&patterns, &file, &meta, now, &mut looked_back)?
            }
            None => 0,
        };
        let watch = self.watch_file(&file, id);
        let mut tail = Tail::new(file, &meta, &self.limits)?;
        tail.resume_at(offset);
        let log = self.log_mut(id);
        log.replace(now, tail, watch, &limits);
        log.begin = Begin::AtTop;
        log.looked_back = looked_back;
        log.failing = false;
        self.watch_old(id);
        Ok(())
    }

    /// Where the longest look back of the patterns begins in a log that was never read.
    fn look_back(
        &self,
        patterns: &[usize],
        file: &fs::File,
        meta: &fs::Metadata,
        now: Timestamp,
        looked_back: &mut Option<Duration>,
    ) -> io::Result<u64> {
        let patterns = patterns.iter().filter_map(|at| self.patterns[*at].as_ref());
        let Some((look_back, line_date)) = patterns.filter_map(|p| p.look_back.as_ref()).max_by_key(|l| l.0)
        else {
            return Ok(0);
        };
        *looked_back = Some(*look_back);
        lookback::find(file, meta.len(), now.minus(*look_back), &**line_date)
    }

    /// Begins earlier in a log that a second pattern with a longer look back matches, if nothing was read yet.
    pub(super) fn look_back_further(&mut self, id: LogId, start: &Start<'_>) {
        let log = self.log_mut(id);
        let Some(file) = log.current.as_mut() else { return };
        if log.looked_back.is_none_or(|before| before >= start.look_back) {
            return;
        }
        let since = start.now.minus(start.look_back);
        if let (Some(opened), Some(meta)) = (file.tail.file(), file.tail.metadata())
            && let Ok(offset) = lookback::find(opened, meta.len(), since, &*start.line_date)
        {
            file.tail.resume_at(offset);
            log.looked_back = Some(start.look_back);
        }
    }

    /// Watches old files that were found by name: they may get late lines.
    pub(super) fn watch_old(&mut self, id: LogId) {
        for at in 0..self.log_mut(id).old.len() {
            let old = &self.log_mut(id).old[at];
            let file = old
                .tail
                .file()
                .filter(|_| !old.last && old.watch.is_none())
                .and_then(|file| file.try_clone().ok());
            if let Some(file) = file {
                self.log_mut(id).old[at].watch = self.watch_file(&file, id);
            }
        }
    }

    fn watch_file(&mut self, file: &fs::File, id: LogId) -> Option<WatchId> {
        if on_network(file) {
            return None;
        }
        let path = self.log_mut(id).path.clone();
        match self.watch.watch_file(file, &path, id) {
            Ok(watch) => Some(watch),
            Err(source) => {
                self.tell_watches(&path, source);
                None
            }
        }
    }

    fn refresh_links(&mut self, id: LogId) {
        let Some(log) = &mut self.logs[id.0 as usize] else { return };
        let links = log::links(&log.path);
        if links == log.links {
            return;
        }
        let before = std::mem::replace(&mut log.links, links.clone());
        let path = log.path.clone();
        for name in before.iter().filter(|name| ***name != *path) {
            self.forget_name(name, id);
        }
        for name in links {
            let ids = self.names.entry(name).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.dirs_changed = true;
    }

    /// Brings the watched directories up to date with logs and patterns, if those changed.
    pub(super) fn refresh_watches(&mut self) {
        if !std::mem::take(&mut self.dirs_changed) {
            return;
        }
        let mut dirs = BTreeSet::new();
        for log in self.logs.iter().flatten() {
            dirs.extend(
                log.links
                    .iter()
                    .chain([&log.path.to_path_buf()])
                    .filter_map(|path| Some(path.parent()?.to_owned())),
            );
        }
        dirs.extend(self.patterns.iter().flatten().flat_map(Pattern::dirs));
        if dirs != self.dirs {
            self.dirs = dirs;
            self.dirs_told = self.dirs.iter().all(|dir| tells_all(dir));
            self.watch_dirs();
        }
    }

    pub(super) fn watch_dirs(&mut self) {
        if let Err((path, source)) = self.watch.watch_dirs(&self.dirs) {
            self.tell_watches(&path, source);
        }
    }

    /// Reports once that watches are used up; the sweep does the rest.
    fn tell_watches(&mut self, path: &Path, source: io::Error) {
        if !std::mem::replace(&mut self.told_watches, true) {
            self.problems.push_back(SourceError::Watch { path: path.to_owned(), source });
        }
    }
}

fn not_open(error: &io::Error) -> LogState {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => LogState::Missing,
        _ => LogState::Unreadable,
    }
}
