//! Runs a filter written for fail2ban, with fail2ban's own meaning of every part.
//!
//! A line goes through: the date is found and cut out ([`date`]); `prefregex` decides whether the line matters
//! and may hand on only a part of it; the first `failregex` that matches wins; `ignoreregex` can take the
//! match back; lines of one connection are joined ([`session`]). The reader of the configuration files gives
//! the texts with `%(…)s` and its own `<tags>` resolved; the tags of the regexes are resolved here.
//!
//! Differences to Python are kept out by [`python`]; a search that takes too many steps is counted and
//! reported as [`Outcome::Overrun`], never taken for a line that does not match.

pub mod date;
mod pattern;
mod python;
mod session;
mod tags;
pub mod test;

use std::sync::Arc;

use chrono_tz::Tz;

use crate::addr::{Host, Net};
use crate::time::Timestamp;

pub use date::DateError;
use date::{DateDetector, Surroundings};
pub use pattern::{BACKTRACK_STEPS_MAX, Groups, PatternError, Value};
use pattern::{Found, Overrun, Pattern};
use python::Lines;
use session::{Failure, Sessions};

/// A date older than this does not serve lines that carry none. Seconds.
const LAST_DATE_SECS: i64 = 60;

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
        }
    }
}

/// Which text of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl MatcherError {
    /// The option that is at fault.
    pub fn option(&self) -> &'static str {
        match self {
            MatcherError::Regex { part, .. } => part.option(),
            MatcherError::Date(_) => "datepattern",
            MatcherError::Zone(_) => "logtimezone",
        }
    }
}

/// One log line: what stands before the date, the date, what stands after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    whole: String,
    /// Without the date.
    rest: String,
}

impl Line {
    pub fn new(before: &str, stamp: &str, after: &str) -> Line {
        Line { whole: format!("{before}{stamp}{after}"), rest: format!("{before}{after}") }
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

/// A filter at work on one log.
pub struct Matcher {
    prefregex: Option<Pattern>,
    failregex: Vec<Pattern>,
    ignoreregex: Vec<Pattern>,
    maxlines: usize,
    /// Host names are taken as they stand.
    raw: bool,
    zone: Tz,
    offset: Option<i32>,
    dates: DateDetector,
    buffer: Vec<Arc<Line>>,
    sessions: Sessions,
    last: Option<(Timestamp, String)>,
    overruns: u64,
    notes: Vec<(Part, &'static str)>,
}

struct Matched {
    groups: Groups,
    lines: Vec<Arc<Line>>,
    others: Vec<Arc<Line>>,
}

impl Matcher {
    /// Compiles a filter. `zone`: the machine's; `now`: for the years that a date may have.
    ///
    /// # Errors
    /// The first part that fail2ban would refuse, or that neither engine takes.
    pub fn new(rules: &Rules, zone: Tz, now: Timestamp) -> Result<Matcher, MatcherError> {
        let usedns = rules.usedns.as_deref().unwrap_or("warn").to_lowercase();
        let names = matches!(usedns.as_str(), "yes" | "warn" | "raw");
        let several = rules.maxlines > 1;
        let mut notes = Vec::new();
        let mut read = |part: Part, text: &str, lines: Lines| {
            let (pattern, said) =
                Pattern::new(text, lines, names).map_err(|error| MatcherError::Regex { part, error })?;
            notes.extend(said.into_iter().map(|said| (part, said)));
            Ok::<_, MatcherError>(pattern)
        };
        let whole = if several { Lines::Whole } else { Lines::One };
        let prefregex = match rules.prefregex.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(read(Part::Prefregex, text, whole)?),
            None => None,
        };
        let mut failregex = Vec::with_capacity(rules.failregex.len());
        for (number, text) in rules.failregex.iter().enumerate() {
            let part = Part::Failregex(number);
            let pattern = read(part, text, if several { Lines::Each } else { Lines::One })?;
            let named = |pattern: &Pattern| {
                ["fid", "ip4", "ip6", "dns", "mlfid"].iter().any(|n| pattern.has_group(n))
            };
            if !named(&pattern) && !prefregex.as_ref().is_some_and(named) {
                return Err(MatcherError::Regex { part, error: PatternError::NoFailureId });
            }
            failregex.push(pattern);
        }
        let mut ignoreregex = Vec::with_capacity(rules.ignoreregex.len());
        for (number, text) in rules.ignoreregex.iter().enumerate() {
            ignoreregex.push(read(Part::Ignoreregex(number), text, whole)?);
        }
        let offset = match rules.logtimezone.as_deref().filter(|zone| !zone.is_empty()) {
            Some(text) => {
                Some(date::offset_minutes(text).ok_or_else(|| MatcherError::Zone(text.to_owned()))?)
            }
            None => None,
        };
        Ok(Matcher {
            prefregex,
            failregex,
            ignoreregex,
            maxlines: rules.maxlines.max(1),
            raw: usedns == "raw",
            zone,
            offset,
            dates: DateDetector::new(rules.datepattern.as_deref(), now)?,
            buffer: Vec::new(),
            sessions: Sessions::default(),
            last: None,
            overruns: 0,
            notes,
        })
    }

    /// Host names are reported as they stand, as with `usedns = raw`.
    pub fn with_raw_names(mut self) -> Matcher {
        self.raw = true;
        self
    }

    /// What was read otherwise than Python would, for the import report.
    pub fn notes(&self) -> &[(Part, &'static str)] {
        &self.notes
    }

    /// Searches given up so far. Each is a line whose judgement is not known: an alarm.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Regexes that run in linear time, and all of them.
    pub fn linear_of(&self) -> (usize, usize) {
        let all = || self.prefregex.iter().chain(&self.failregex).chain(&self.ignoreregex);
        (all().filter(|pattern| pattern.is_linear()).count(), all().count())
    }

    /// Judges one line, given without its newline. Bytes that are not UTF-8 are read as U+FFFD.
    pub fn line(&mut self, now: Timestamp, line: &[u8], pace: Pace) -> Outcome {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        let (line, time) = self.dated(now, text, pace);
        self.judge(now, Arc::new(line), time)
    }

    /// Cuts the date out, and says what time the line is of.
    fn dated(&mut self, now: Timestamp, text: &str, pace: Pace) -> (Line, Option<Timestamp>) {
        if pace == Pace::Journal {
            self.last = Some((now, String::new()));
            return (Line::new("", "", text), Some(now));
        }
        let around = Surroundings { now, zone: self.zone, offset: self.offset };
        let recent = |last: &Option<(Timestamp, String)>| {
            let (time, stamp) = last.clone()?;
            (time.micros() > now.micros() - LAST_DATE_SECS * 1_000_000).then_some((time, stamp))
        };
        let found = self.dates.date(text, &around);
        let (mut line, mut time) = match found {
            Some(found) => {
                let (start, end) = found.stamp;
                let stamp = &text[start..end];
                let line = Line::new(&text[..start], stamp, &text[end..]);
                match found.time {
                    Some(time) => {
                        self.last = Some((time, stamp.to_owned()));
                        (line, Some(time))
                    }
                    None if stamp.is_empty() => match recent(&self.last) {
                        Some((time, stamp)) => (Line::new("", &stamp, text), Some(time)),
                        None => (line, Some(now)),
                    },
                    None => (line, None),
                }
            }
            None => (Line::new("", "", text), None),
        };
        if time.is_none()
            && let Some((last, stamp)) = recent(&self.last)
        {
            (line, time) = (Line::new("", &stamp, text), Some(last));
        }
        if pace == Pace::Live {
            let off = time.map(|time| (time.secs() - now.secs()).abs());
            if off.is_none_or(|off| off > LAST_DATE_SECS) {
                if let (Some(_), Some(last)) = (time, &mut self.last) {
                    last.0 = now;
                }
                time = Some(now);
            }
        }
        (line, time)
    }

    fn judge(&mut self, now: Timestamp, line: Arc<Line>, time: Option<Timestamp>) -> Outcome {
        if self.maxlines > 1 {
            self.buffer.push(line);
            let over = self.buffer.len().saturating_sub(self.maxlines);
            self.buffer.drain(..over);
        } else {
            self.buffer = vec![line];
        }
        let original = self.buffer.clone();
        let mut text = joined(&original);
        let mut overran = false;

        let few = !self.ignoreregex.is_empty() && self.ignoreregex.len() + 2 < self.failregex.len();
        if few && self.ignores(&text) {
            return Outcome::Ignored;
        }
        let mut before = Groups::default();
        if let Some(pattern) = &self.prefregex {
            match pattern.search(&text) {
                Ok(Some(found)) => before = found.groups,
                Ok(None) => return Outcome::NoMatch,
                Err(Overrun) => {
                    self.overruns += 1;
                    return Outcome::Overrun;
                }
            }
            let content = before.remove("content");
            if let Some(content) = content.as_ref().and_then(Value::text).filter(|text| !text.is_empty()) {
                self.buffer = vec![Arc::new(Line::new("", "", content))];
                text = joined(&self.buffer);
            }
        }
        for number in 0..self.failregex.len() {
            let found = match self.failregex[number].search(&text) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(Overrun) => {
                    self.overruns += 1;
                    overran = true;
                    continue;
                }
            };
            let found = cover(found, &text, &original);
            if !self.ignoreregex.is_empty() {
                let ignored = match self.maxlines {
                    1 => self.ignores(&text),
                    _ => self.ignores(&joined(&found.lines)),
                };
                if ignored {
                    self.buffer = found.others;
                    return Outcome::Ignored;
                }
            }
            self.buffer = found.others;
            let mut groups = before;
            groups.update(&found.groups, true);
            return self.failure(now, number, groups, &found.lines, time);
        }
        if overran { Outcome::Overrun } else { Outcome::NoMatch }
    }

    fn ignores(&mut self, text: &str) -> bool {
        for pattern in &self.ignoreregex {
            match pattern.search(text) {
                Ok(Some(_)) => return true,
                Ok(None) => {}
                Err(Overrun) => self.overruns += 1,
            }
        }
        false
    }

    /// Joins the match with its connection, and finds out who it was.
    fn failure(
        &mut self,
        now: Timestamp,
        regex: usize,
        groups: Groups,
        lines: &[Arc<Line>],
        time: Option<Timestamp>,
    ) -> Outcome {
        let session = groups.text("mlfid").map(str::to_owned);
        let mut failure = match &session {
            Some(id) => self.sessions.merge(id, groups, lines, now),
            None => Failure { groups, matches: lines.to_vec(), ..Failure::default() },
        };
        if let (Some(id), true) = (&session, failure.groups.is_true("nofail")) {
            self.sessions.keep(id, &failure);
            return Outcome::NoFailure;
        }
        let id = self.identify(&mut failure);
        if id.is_none() {
            failure.pending = true;
        }
        if let Some(session) = &session {
            self.sessions.keep(session, &failure);
        }
        match id {
            Some(id) => {
                let hit = Hit { id, time, regex, groups: failure.groups, lines: failure.matches };
                Outcome::Failure(Box::new(hit))
            }
            None => Outcome::NoFailure,
        }
    }

    /// `<F-ID>` first, then an address, then a host name.
    fn identify(&self, failure: &mut Failure) -> Option<FailureId> {
        let groups = &mut failure.groups;
        let fid = groups.get("fid").cloned();
        let address = groups.text("ip4").or_else(|| groups.text("ip6")).map(str::to_owned);
        let name = groups.text("dns").map(str::to_owned);
        let prefix = groups.text("cidr").and_then(|text| text.parse::<u32>().ok());
        let who = address.clone().or(name);
        match (fid, who) {
            (Some(fid), Some(who)) if fid.text() != Some(&who) && (address.is_some() || self.raw) => {
                groups.set("ip", Some(Value::Text(who)));
                Some(free_id(fid, self.raw))
            }
            (_, Some(who)) if address.is_some() => Some(address_id(who, prefix)),
            (_, Some(name)) => Some(FailureId::Name(name)),
            (Some(fid), None) => Some(free_id(fid, self.raw)),
            (None, None) => None,
        }
    }
}

/// An address in the form `inet_pton` takes: `192.030.0.6` could be octal, and is none.
fn strict(text: &str) -> Option<Host> {
    text.parse().ok().map(Host::new)
}

fn address_id(text: String, prefix: Option<u32>) -> FailureId {
    match strict(&text) {
        Some(host) => {
            let longest = host.prefix_max();
            let prefix = prefix.map_or(longest, |prefix| prefix.min(u32::from(longest)) as u8);
            FailureId::Net(Net::of(host, prefix))
        }
        None => FailureId::Text(text),
    }
}

fn free_id(id: Value, raw: bool) -> FailureId {
    match id {
        Value::Tuple(parts) => FailureId::Tuple(parts),
        Value::Text(text) => match strict(&text).filter(|_| !raw) {
            Some(host) => FailureId::Net(Net::host(host)),
            None => FailureId::Text(text),
        },
    }
}

/// The text that the regexes see: every line without its date, each with its newline.
fn joined(lines: &[Arc<Line>]) -> String {
    let mut text = String::with_capacity(lines.iter().map(|line| line.rest.len() + 1).sum());
    for line in lines {
        text.push_str(&line.rest);
        text.push('\n');
    }
    text
}

/// Which of the buffered lines a match covers, and which stay in the buffer. Lines passed over by
/// `<SKIPLINES>` stay.
fn cover(found: Found, text: &str, original: &[Arc<Line>]) -> Matched {
    let Found { start, end, groups, skipped } = found;
    if original.len() <= 1 {
        return Matched { groups, lines: original.to_vec(), others: Vec::new() };
    }
    let bytes = text.as_bytes();
    let first = memchr::memrchr(b'\n', &bytes[..(start + 1).min(bytes.len())]).map_or(0, |at| at + 1);
    let from = end.saturating_sub(1).min(bytes.len());
    let last = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1);
    let count = |to: usize| memchr::memchr_iter(b'\n', &bytes[..to]).count().min(original.len());
    let (first, last) = (count(first), count(last));
    let mut lines = original[first..last.max(first)].to_vec();
    let mut others = original[..first].to_vec();
    let mut from = 0;
    for skipped in skipped {
        let Some(at) = lines[from..].iter().position(|line| line.rest == skipped) else { continue };
        others.push(lines.remove(from + at));
        from += at;
    }
    others.extend_from_slice(&original[last.max(first)..]);
    Matched { groups, lines, others }
}

#[cfg(test)]
mod tests;
