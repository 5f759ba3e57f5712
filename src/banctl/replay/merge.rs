//! The attempts of several logs, merged by their time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::services::Services;
use crate::addr::Host;
use crate::daemon::bench::{Bench, State};
use crate::filter::{Attempt, Beside, Outcome};
use crate::limits::Limits;
use crate::source::SourceError;
use crate::source::offline::OfflineLog;
use crate::time::Timestamp;

/// One attempt, free of its block.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Which [`Bench`], and which filter on it.
    pub bench: usize,
    pub filter: usize,
    pub outcome: Outcome,
    pub host: Option<Host>,
    pub user: Option<Vec<u8>>,
    /// The log named a network of this length.
    pub prefix: Option<u8>,
    pub times: u32,
    /// The line's time; where it has none, that of the line before.
    pub at: Timestamp,
    /// How late it is by then: the latest time met in any log so far.
    pub now: Timestamp,
    /// What the line is about, if that is known.
    pub services: Option<Services>,
}

impl Found {
    /// As the jails take it.
    pub fn attempt(&self) -> Attempt<'_> {
        Attempt {
            outcome: self.outcome,
            host: self.host,
            user: self.user.as_deref(),
            pwhash: None,
            time: Some(self.at),
            times: self.times,
            line: b"",
            line_index: 0,
            filter: self.filter,
            pattern: 0,
            beside: Beside { prefix: self.prefix, ..Beside::default() },
        }
    }
}

/// One log being read.
struct Log {
    input: Option<OfflineLog>,
    /// One for each [`Bench`].
    states: Vec<State>,
    waiting: VecDeque<Found>,
    last: Timestamp,
}

/// See the module.
pub(super) struct Merge {
    logs: Vec<Log>,
    /// For dates without a year.
    year_now: Timestamp,
    now: Timestamp,
}

impl Merge {
    pub fn open(
        paths: &[PathBuf],
        benches: &[Arc<Bench>],
        year_now: Timestamp,
        limits: &Limits,
    ) -> Result<Merge, SourceError> {
        let logs = paths
            .iter()
            .map(|path| {
                Ok(Log {
                    input: Some(OfflineLog::open(path, limits)?),
                    states: benches.iter().map(|bench| bench.begin()).collect(),
                    waiting: VecDeque::new(),
                    // Before everything: what has no date at the head of a log comes first.
                    last: Timestamp::from_micros(i64::MIN / 2),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Merge { logs, year_now, now: Timestamp::from_micros(i64::MIN / 2) })
    }

    /// The earliest attempt that is left. A log's own order is kept; of two logs with the same time the one
    /// that was named first comes first.
    pub fn next(&mut self, benches: &[Arc<Bench>]) -> Result<Option<Found>, SourceError> {
        for log in &mut self.logs {
            log.fill(benches, self.year_now)?;
        }
        let heads = self.logs.iter_mut().filter(|log| !log.waiting.is_empty());
        let Some(first) = heads.min_by_key(|log| log.waiting[0].at) else { return Ok(None) };
        let Some(mut found) = first.waiting.pop_front() else { return Ok(None) };
        self.now = self.now.max(found.at);
        found.now = self.now;
        Ok(Some(found))
    }
}

impl Log {
    /// Reads on until an attempt waits or the log is at its end.
    fn fill(&mut self, benches: &[Arc<Bench>], year_now: Timestamp) -> Result<(), SourceError> {
        while self.waiting.is_empty() {
            let Some(input) = &mut self.input else { return Ok(()) };
            let Some(block) = input.next_block()? else {
                self.input = None;
                return Ok(());
            };
            let mut found = Vec::new();
            for (number, bench) in benches.iter().enumerate() {
                bench.scan(&mut self.states[number], year_now, block, &mut |attempt| {
                    found.push((attempt.line_index, attempt.time, Found::of(number, &attempt)));
                });
            }
            found.sort_by_key(|(line, ..)| *line);
            for (_, time, mut found) in found {
                self.last = time.unwrap_or(self.last);
                found.at = self.last;
                self.waiting.push_back(found);
            }
        }
        Ok(())
    }
}

impl Found {
    fn of(bench: usize, attempt: &Attempt<'_>) -> Found {
        Found {
            bench,
            filter: attempt.filter,
            outcome: attempt.outcome,
            host: attempt.host,
            user: attempt.user.map(<[u8]>::to_vec),
            prefix: attempt.beside.prefix,
            times: attempt.times,
            at: Timestamp::default(),
            now: Timestamp::default(),
            services: Services::of_line(attempt.line),
        }
    }
}
