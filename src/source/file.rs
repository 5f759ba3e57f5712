//! Tailing files: all logs of the daemon, under one inotify instance.

mod place;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::log::{Begin, Log, Which};
use super::lookback::LineDate;
use super::pattern::Pattern;
use super::watch::{Happened, Watch};
use super::{Block, LogId, LogState, LogStatus, Position, SourceError};
use crate::limits::Limits;
use crate::time::Timestamp;

/// Blocks are made no shorter than this, however long they take. Bytes.
const AT_ONCE_MIN: usize = 32 * 1024;

/// Where to begin in the logs of a pattern.
pub struct Start<'a> {
    pub now: Timestamp,
    /// What the store holds, by path.
    pub stored: &'a HashMap<PathBuf, Position>,
    /// How far back to begin in a log without a stored position: the longest findtime on it.
    pub look_back: Duration,
    pub line_date: LineDate,
}

/// Every log of the daemon, read as it grows. Blocks nowhere: wait until [`fd`](Tailer::fd) is readable, then
/// call [`on_events`](Tailer::on_events) and take [`next_block`](Tailer::next_block) until there is none; call
/// [`sweep`](Tailer::sweep) every one or two seconds.
pub struct Tailer {
    limits: Limits,
    watch: Watch,
    happened: Happened,
    patterns: Vec<Option<Pattern>>,
    /// By id; `None`: closed.
    logs: Vec<Option<Log>>,
    /// Logs by what events call them: their path and what it links to.
    names: HashMap<PathBuf, SmallVec<[LogId; 1]>>,
    /// Directories to watch, and whether they have to be gathered anew.
    dirs: BTreeSet<PathBuf>,
    dirs_changed: bool,
    /// Whether the kernel tells of all that happens in those directories.
    dirs_told: bool,
    /// Logs with something to read, in turn.
    ready: VecDeque<LogId>,
    /// One block, and room for the line end that a last line lacks.
    buffer: Vec<u8>,
    /// How much is read at once by now, at most a block. Bytes.
    at_once: usize,
    problems: VecDeque<SourceError>,
    /// Told once: the kernel's watches are used up.
    told_watches: bool,
    told_logs_max: bool,
}

impl Tailer {
    /// # Errors
    /// `Inotify`: the user has no inotify instance left.
    pub fn new(limits: &Limits) -> Result<Tailer, SourceError> {
        let block = limits.block_bytes.max(least_at_once(limits));
        Ok(Tailer {
            limits: limits.clone(),
            watch: Watch::new().map_err(|source| SourceError::Inotify { source })?,
            happened: Happened::default(),
            patterns: Vec::new(),
            logs: Vec::new(),
            names: HashMap::new(),
            dirs: BTreeSet::new(),
            dirs_changed: false,
            dirs_told: false,
            ready: VecDeque::new(),
            buffer: vec![0; block + 1],
            at_once: block,
            problems: VecDeque::new(),
            told_watches: false,
            told_logs_max: false,
        })
    }

    /// Adds a path or a glob; it may match nothing yet. Returns the logs it matches now, old and new.
    ///
    /// A stored position decides where a log is begun; without one `start.look_back` does. Files under a glob
    /// that are rotated forms of another log (`mail.log.1`), or compressed, are no logs of their own.
    /// A pattern that cannot be one is reported by the next [`next_block`](Tailer::next_block).
    pub fn add(&mut self, pattern: &str, start: &Start<'_>) -> Vec<LogId> {
        let index = match self.pattern_index(pattern) {
            Some(index) => index,
            None => match Pattern::new(pattern) {
                Ok(pattern) => {
                    self.patterns.push(Some(pattern));
                    self.patterns.len() - 1
                }
                Err(reason) => {
                    self.problems.push_back(SourceError::Pattern { pattern: pattern.to_owned(), reason });
                    return Vec::new();
                }
            },
        };
        let pattern = self.patterns[index].as_mut().expect("a pattern just found or added");
        pattern.look_back = Some((start.look_back, start.line_date.clone()));
        // Files that moved while we were down are known by the stored paths, so these come first.
        let mut paths: Vec<PathBuf> =
            start.stored.keys().filter(|path| pattern.is_glob() && pattern.matches(path)).cloned().collect();
        paths.sort();
        paths.extend(pattern.expand());
        self.dirs_changed = true;
        let mut new = Vec::new();
        for path in paths {
            match self.log_at(&path) {
                Some(id) => self.attach(id, index),
                None if self.is_no_log(index, &path) => {}
                None => {
                    let Some(id) = self.create(index, &path, Begin::LookBack) else { continue };
                    if let Some(stored) = start.stored.get(&path) {
                        let limits = self.limits.clone();
                        self.log_mut(id).resume(stored, start.now, &limits);
                    }
                    new.push(id);
                }
            }
        }
        // Watched first and looked at then: nothing falls between.
        self.refresh_watches();
        for id in new {
            self.watch_old(id);
            self.look(id, start.now);
            let log = self.log_mut(id);
            if log.state == LogState::Missing {
                log.begin = Begin::AtTop;
            }
        }
        let logs = self.logs_of(&self.patterns[index].as_ref().expect("not removed here").text.clone());
        for id in &logs {
            self.look_back_further(*id, start);
        }
        self.refresh_watches();
        logs
    }

    /// Forgets a pattern; logs that no other pattern matches are closed.
    pub fn remove(&mut self, pattern: &str) {
        let Some(index) = self.pattern_index(pattern) else { return };
        self.patterns[index] = None;
        for at in 0..self.logs.len() {
            let Some(log) = &mut self.logs[at] else { continue };
            log.patterns.retain(|other| *other != index);
            if log.patterns.is_empty() {
                let id = log.id;
                self.close(id);
            }
        }
        self.dirs_changed = true;
        self.refresh_watches();
    }

    /// Readable when something happened: call [`on_events`](Tailer::on_events).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.watch.fd()
    }

    /// Takes all waiting events.
    pub fn on_events(&mut self, now: Timestamp) {
        let mut happened = std::mem::take(&mut self.happened);
        self.watch.drain(&mut happened);
        for (id, watch) in &happened.written {
            if let Some(log) = &mut self.logs[id.0 as usize] {
                log.written(*watch);
                self.enqueue(*id);
            }
        }
        if happened.everything {
            for log in self.logs.iter_mut().flatten() {
                log.touch_all();
            }
            self.sweep(now);
        } else {
            for id in &happened.changed {
                self.look(*id, now);
            }
            for path in &happened.names {
                self.look_at_name(path, now);
            }
        }
        happened.clear();
        self.happened = happened;
        self.refresh_watches();
    }

    /// Looks at every path, glob and open file: the safety net under the events, and all there is for
    /// network file systems. Lets go of old files whose time is over. To be called every one or two seconds, less often
    /// while [`is_told_all`](Tailer::is_told_all).
    pub fn sweep(&mut self, now: Timestamp) {
        self.watch_dirs();
        for index in 0..self.patterns.len() {
            let Some(pattern) = &self.patterns[index] else { continue };
            if pattern.is_glob() {
                for path in pattern.expand() {
                    self.look_at_candidate(index, &path, now);
                }
            }
        }
        for at in 0..self.logs.len() {
            let Some(log) = &self.logs[at] else { continue };
            let id = log.id;
            self.look(id, now);
            self.log_mut(id).sweep_old(now);
            self.enqueue(id);
            if self.is_over(id) {
                self.close(id);
            }
        }
        // A directory that came or went under a glob.
        self.dirs_changed |= self.patterns.iter().flatten().any(Pattern::has_dir_wildcards);
        self.refresh_watches();
    }

    /// Whether nothing is going on with any log, and the kernel tells as soon as something does.
    pub fn is_told_all(&self) -> bool {
        !self.told_watches
            && self.dirs_told
            && self.patterns.iter().flatten().all(Pattern::is_told_all)
            && self.logs.iter().flatten().all(Log::is_quiet)
    }

    /// The next block, round robin over the logs with unread bytes; `None`: all are read to their end.
    /// A block may be empty. An error concerns one log and ends nothing; it is given once.
    pub fn next_block(&mut self) -> Option<Result<Block<'_>, SourceError>> {
        if let Some(problem) = self.problems.pop_front() {
            return Some(Err(problem));
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(log) = &mut self.logs[id.0 as usize] else { continue };
            log.queued = false;
            let found = log.read(&mut self.buffer[..=self.at_once], &self.limits);
            for watch in log.unwatch.drain(..) {
                self.watch.unwatch_file(watch, id);
            }
            self.enqueue(id);
            let Some(found) = found else { continue };
            let log = self.logs[id.0 as usize].as_ref().expect("was there above");
            return Some(match found {
                Err(source) => Err(SourceError::Read { path: log.path.to_path_buf(), source }),
                Ok(found) => {
                    let file = match found.file {
                        Which::Old(at) => Some(&log.old[at]),
                        Which::Current => log.current.as_ref(),
                    };
                    let bytes = match found.len {
                        Some(len) => &self.buffer[..len],
                        None => file.map_or(&b""[..], |file| file.tail.unpacked_lines()),
                    };
                    Ok(Block { log: id, path: &log.path, bytes, live: found.live })
                }
            });
        }
        None
    }

    /// How long the last block took to work on, where its reader has others to serve: the next ones are shorter, or
    /// longer again up to `limits.block_bytes`, so that one takes about `most`.
    pub fn took(&mut self, time: Duration, most: Duration) {
        let least = least_at_once(&self.limits);
        if time > most {
            self.at_once = (self.at_once / 2).max(least.max(AT_ONCE_MIN)).min(self.buffer.len() - 1);
        } else if time < most / 4 {
            self.at_once = (self.at_once * 2).min(self.buffer.len() - 1);
        }
    }

    pub fn status(&self) -> Vec<LogStatus> {
        self.logs.iter().flatten().map(Log::status).collect()
    }

    pub fn status_of(&self, log: LogId) -> Option<LogStatus> {
        self.log(log).map(Log::status)
    }

    /// How far a log was read: up to the end of its last block.
    pub fn position(&self, log: LogId) -> Option<Position> {
        self.log(log).map(Log::position)
    }

    /// The logs that a pattern matches now; more may come.
    pub fn logs_of(&self, pattern: &str) -> Vec<LogId> {
        let Some(index) = self.pattern_index(pattern) else { return Vec::new() };
        self.logs.iter().flatten().filter(|log| log.patterns.contains(&index)).map(|log| log.id).collect()
    }

    /// The patterns that match a log; for a log first met in a block.
    pub fn patterns_of(&self, log: LogId) -> Vec<&str> {
        let indexes = self.log(log).map(|log| log.patterns.as_slice()).unwrap_or_default();
        indexes.iter().filter_map(|at| Some(self.patterns[*at].as_ref()?.text.as_str())).collect()
    }

    pub fn path_of(&self, log: LogId) -> Option<&Arc<Path>> {
        self.log(log).map(|log| &log.path)
    }

    fn log(&self, id: LogId) -> Option<&Log> {
        self.logs.get(id.0 as usize)?.as_ref()
    }

    fn log_mut(&mut self, id: LogId) -> &mut Log {
        self.logs[id.0 as usize].as_mut().expect("the caller just found this log")
    }

    fn log_at(&self, path: &Path) -> Option<LogId> {
        let ids = self.names.get(path)?;
        ids.iter().copied().find(|id| self.log(*id).is_some_and(|log| *log.path == *path))
    }

    fn pattern_index(&self, text: &str) -> Option<usize> {
        self.patterns.iter().position(|pattern| pattern.as_ref().is_some_and(|pattern| pattern.text == text))
    }

    fn attach(&mut self, id: LogId, pattern: usize) {
        let log = self.log_mut(id);
        if !log.patterns.contains(&pattern) {
            log.patterns.push(pattern);
        }
    }

    fn enqueue(&mut self, id: LogId) {
        if let Some(log) = &mut self.logs[id.0 as usize]
            && !log.queued
            && log.has_work()
        {
            log.queued = true;
            self.ready.push_back(id);
        }
    }

    fn create(&mut self, pattern: usize, path: &Path, begin: Begin) -> Option<LogId> {
        let max = self.limits.logs_max;
        if self.logs.iter().flatten().count() >= max {
            if !std::mem::replace(&mut self.told_logs_max, true) {
                self.problems.push_back(SourceError::TooManyLogs { path: path.to_owned(), max });
            }
            return None;
        }
        let id = LogId(u32::try_from(self.logs.len()).ok()?);
        let mut log = Log::new(id, path, begin);
        log.patterns.push(pattern);
        self.logs.push(Some(log));
        self.names.entry(path.to_owned()).or_default().push(id);
        self.dirs_changed = true;
        Some(id)
    }

    fn close(&mut self, id: LogId) {
        let Some(log) = self.logs[id.0 as usize].take() else { return };
        for watch in log.old.iter().chain(&log.current).filter_map(|file| file.watch).chain(log.unwatch) {
            self.watch.unwatch_file(watch, id);
        }
        for name in log.links.iter().map(PathBuf::as_path).chain([&*log.path]) {
            self.forget_name(name, id);
        }
        self.dirs_changed = true;
    }

    fn forget_name(&mut self, name: &Path, id: LogId) {
        if let Some(ids) = self.names.get_mut(name) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.names.remove(name);
            }
        }
    }
}

/// A line that is not too long, and the beginning of the next.
fn least_at_once(limits: &Limits) -> usize {
    2 * limits.line_bytes_max + 2
}
