//! Runs a filter written for fail2ban, with fail2ban's own meaning of every part.
//!
//! A line goes through: the date is found and cut out ([`date`]); `prefregex` decides whether the line matters
//! and may hand on only a part of it; the first `failregex` that matches wins; `ignoreregex` can take the
//! match back; lines of one connection are joined ([`session`]). The reader of the configuration files gives
//! the texts with `%(…)s` and its own `<tags>` resolved; the tags of the regexes are resolved here.
//!
//! A [`Program`] is a compiled filter and changes no more; what it remembers of one log is a [`Memory`], what is
//! known of that log's dates a [`CalendarState`], shared by all filters with the same `datepattern`. A [`Matcher`] is one
//! of each.
//!
//! Differences to Python are kept out by [`python`]; a search that takes too many steps is counted and
//! reported as [`Outcome::Overrun`], never taken for a line that does not match.

mod calendar;
pub mod date;
mod engine;
mod linear;
mod literal;
mod narrow;
mod pattern;
mod program;
mod python;
mod session;
mod tags;
pub mod test;

use std::sync::Arc;

use chrono_tz::Tz;

use crate::addr::Net;
use crate::time::Timestamp;

pub use calendar::{Calendar, CalendarState, Cut};
pub use date::{DateError, DateMatch};
pub use engine::{BACKTRACK_STEPS_MAX, PatternError};
pub use literal::Required;
pub use pattern::{Groups, Value};
pub use program::{Dns, Memory, Program};

/// What a filter consists of, all references and configuration tags resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Rules {
    pub prefregex: Option<String>,
    pub failregex: Vec<String>,
    pub ignoreregex: Vec<String>,
    /// Lines looked at together; 0 and 1: one.
    pub maxlines: usize,
    /// One pattern a line; `None`: the usual ones.
    pub datepattern: Option<String>,
    /// `yes`, `warn`, `no` or `raw`; anything else is `no`, as in fail2ban; `None`: `warn`.
    pub usedns: Option<String>,
    /// `logtimezone` of the jail: a fixed offset or an abbreviation.
    pub logtimezone: Option<String>,
    /// `logencoding` of the jail; `None`: UTF-8.
    pub logencoding: Option<String>,
}

impl Rules {
    /// From a filter's or a jail's options, by fail2ban's names; what is not there is as fail2ban sets it.
    pub fn from_options(options: &std::collections::BTreeMap<String, String>) -> Rules {
        let text = |name: &str| options.get(name).filter(|text| !text.trim().is_empty()).cloned();
        let list = |name: &str| {
            let text = options.get(name).map(String::as_str).unwrap_or_default();
            text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        Rules {
            prefregex: text("prefregex"),
            failregex: list("failregex"),
            ignoreregex: list("ignoreregex"),
            maxlines: text("maxlines").and_then(|text| text.trim().parse().ok()).unwrap_or(1),
            datepattern: text("datepattern"),
            usedns: text("usedns"),
            logtimezone: text("logtimezone"),
            logencoding: text("logencoding"),
        }
    }
}

/// Which text of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Prefregex,
    /// Counted from 0.
    Failregex(usize),
    Ignoreregex(usize),
}

impl Part {
    /// The option that holds it.
    pub fn option(self) -> &'static str {
        match self {
            Part::Prefregex => "prefregex",
            Part::Failregex(_) => "failregex",
            Part::Ignoreregex(_) => "ignoreregex",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Prefregex => write!(f, "prefregex"),
            Part::Failregex(number) => write!(f, "failregex {}", number + 1),
            Part::Ignoreregex(number) => write!(f, "ignoreregex {}", number + 1),
        }
    }
}

/// Why a filter cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    #[error("{part} {error}")]
    Regex { part: Part, error: PatternError },
    #[error(transparent)]
    Date(#[from] DateError),
    #[error("logtimezone {0:?} is neither an offset such as +0200 nor a known abbreviation such as CET")]
    Zone(String),
    #[error(
        "logencoding {0:?} is not read here, as UTF-16 and whatever else has no newline byte; let the program write UTF-8"
    )]
    Encoding(String),
}

impl MatcherError {
    /// The option that is at fault.
    pub fn option(&self) -> &'static str {
        match self {
            MatcherError::Regex { part, .. } => part.option(),
            MatcherError::Date(_) => "datepattern",
            MatcherError::Zone(_) => "logtimezone",
            MatcherError::Encoding(_) => "logencoding",
        }
    }
}

/// One log line: what stands before the date, the date, what stands after it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    whole: String,
    /// Without the date.
    rest: String,
}

impl Line {
    pub fn new(before: &str, stamp: &str, after: &str) -> Line {
        Line { whole: [before, stamp, after].concat(), rest: [before, after].concat() }
    }

    /// The line as it was written.
    pub fn whole(&self) -> &str {
        &self.whole
    }
}

/// What would be banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureId {
    Net(Net),
    /// A host name, to be looked up unless `usedns` is `raw` or `no`.
    Name(String),
    /// Any other text that `<F-ID>` or an address tag held.
    Text(String),
    /// Several texts joined by `<F-TUPLE_ID>`.
    Tuple(Vec<Option<String>>),
}

impl std::fmt::Display for FailureId {
    /// As fail2ban shows it, a network with its prefix, a host without; of several texts those that are there.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FailureId::Net(net) => match net.as_host() {
                Some(host) => host.fmt(f),
                None => net.fmt(f),
            },
            FailureId::Name(text) | FailureId::Text(text) => f.write_str(text),
            FailureId::Tuple(parts) => {
                let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
                f.write_str(&parts.join(" "))
            }
        }
    }
}

/// A failure that counts.
#[derive(Debug, Clone)]
pub struct Hit {
    pub id: FailureId,
    /// `None`: the line carries no date and no line shortly before it did.
    pub time: Option<Timestamp>,
    /// The failregex that matched, counted from 0.
    pub regex: usize,
    /// Named groups, after merging.
    pub groups: Groups,
    /// The lines that make the failure, oldest first.
    pub lines: Vec<Arc<Line>>,
}

/// What one line came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    Failure(Box<Hit>),
    /// Matched, but is no failure by itself: `<F-NOFAIL>`, `<F-MLFGAINED>`, or the address is not known yet.
    NoFailure,
    /// An ignoreregex matched.
    Ignored,
    NoMatch,
    /// A search was given up after [`BACKTRACK_STEPS_MAX`] steps, and no other regex matched.
    Overrun,
}

/// Where the matcher takes the time of a line from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Lines of any age: a date is what the line says.
    Recorded,
    /// Lines as they are written: a date more than a minute off is now, and so is a missing one.
    Live,
    /// Journal entries: no date in the text, the time is now.
    Journal,
}

/// One filter at work on one log.
pub struct Matcher {
    program: Program,
    calendar: CalendarState,
    memory: Memory,
    overruns: u64,
}

impl Matcher {
    /// Compiles a filter. `zone`: the machine's; `now`: for the years that a date may have.
    ///
    /// # Errors
    /// The first part that fail2ban would refuse, or that neither engine takes.
    pub fn new(rules: &Rules, zone: Tz, now: Timestamp) -> Result<Matcher, MatcherError> {
        let program = Program::new(rules, zone, now)?;
        Ok(Matcher { calendar: program.calendar().begin(), program, memory: Memory::default(), overruns: 0 })
    }

    /// Host names are reported as they stand, as with `usedns = raw`.
    pub fn with_raw_names(mut self) -> Matcher {
        self.program = self.program.with_raw_names();
        self
    }

    /// Searches given up so far. Each is a line whose judgement is not known: an alarm.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Judges one line, given without its newline. Bytes that are not UTF-8 are read as U+FFFD.
    pub fn line(&mut self, now: Timestamp, line: &[u8], pace: Pace) -> Outcome {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        let calendar = self.program.calendar();
        let found = match pace {
            Pace::Journal => None,
            _ => calendar.find(&mut self.calendar, now, text),
        };
        let (line, time) = calendar.dated(&mut self.calendar, now, text, found, pace, &mut Cut::default());
        let overruns = &mut self.overruns;
        let mut alarm = |_| *overruns += 1;
        self.program.judge(&mut self.memory, now, line, time, &|_| true, &mut alarm)
    }
}

#[cfg(test)]
mod tests;
