//! A compiled filter, and how it judges a line that has its date cut out already.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::engine::{Overrun, PatternError};
use super::literal::Required;
use super::pattern::{Found, Groups, Pattern, Scratch, Value};
use super::python::Lines;
use super::session::{Failure, Sessions};
use super::{FailureId, Hit, Line, MatcherError, Outcome, Part, Rules};
use crate::addr::{Host, Net};
use crate::fail2ban::encoding::Encoding;
use crate::time::Timestamp;

/// What becomes of host names: `usedns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dns {
    /// Asked, and what they stand for counts.
    Yes,
    /// fail2ban asks and warns; here it acts as `no`, since who owns a name can point it at anybody.
    Warn,
    No,
    /// Taken as they stand.
    Raw,
}

/// A compiled filter; it changes no more.
#[derive(Debug)]
pub struct Program {
    rules: Rules,
    prefregex: Option<Pattern>,
    failregex: Vec<Pattern>,
    ignoreregex: Vec<Pattern>,
    maxlines: usize,
    dns: Dns,
    encoding: Encoding,
    calendar: Arc<Calendar>,
    notes: Vec<(Part, &'static str)>,
}

/// What a filter remembers of one log: lines that wait for more, and open connections.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    buffer: Vec<Arc<Line>>,
    sessions: Sessions,
    #[serde(skip)]
    scratch: Scratch,
}

impl Memory {
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.sessions.is_empty()
    }

    /// Forgets the oldest connections until the rest takes no more than about `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        self.sessions.shrink(bytes);
        let size = |line: &Arc<Line>| line.whole.len() + line.rest.len();
        let mut all: usize = self.buffer.iter().map(size).sum();
        while all > bytes {
            all -= size(&self.buffer.remove(0));
        }
    }
}

struct Matched {
    groups: Groups,
    lines: Vec<Arc<Line>>,
    others: Vec<Arc<Line>>,
}

impl Program {
    /// Compiles a filter. `zone`: of dates that carry none; `now`: for the years that a date may have.
    ///
    /// # Errors
    /// The first part that fail2ban would refuse, or that neither engine takes.
    pub fn new(rules: &Rules, zone: Tz, now: Timestamp) -> Result<Program, MatcherError> {
        let dns = match rules.usedns.as_deref().unwrap_or("warn").to_lowercase().as_str() {
            "yes" => Dns::Yes,
            "warn" => Dns::Warn,
            "raw" => Dns::Raw,
            _ => Dns::No,
        };
        let several = rules.maxlines > 1;
        let mut notes = Vec::new();
        let mut read = |part: Part, text: &str, lines: Lines| {
            let (pattern, said) = Pattern::new(text, lines, dns != Dns::No)
                .map_err(|error| MatcherError::Regex { part, error })?;
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
            let named = |pattern: &Pattern| IDS.iter().any(|name| pattern.has_group(name));
            if !named(&pattern) && !prefregex.as_ref().is_some_and(named) {
                return Err(MatcherError::Regex { part, error: PatternError::NoFailureId });
            }
            failregex.push(pattern);
        }
        let mut ignoreregex = Vec::with_capacity(rules.ignoreregex.len());
        for (number, text) in rules.ignoreregex.iter().enumerate() {
            ignoreregex.push(read(Part::Ignoreregex(number), text, whole)?);
        }
        let encoding = rules.logencoding.as_deref().unwrap_or_default();
        let encoding =
            Encoding::by_name(encoding).ok_or_else(|| MatcherError::Encoding(encoding.to_owned()))?;
        let calendar = Calendar::new(rules.datepattern.as_deref(), rules.logtimezone.as_deref(), zone, now)?;
        Ok(Program {
            rules: rules.clone(),
            prefregex,
            failregex,
            ignoreregex,
            maxlines: rules.maxlines.max(1),
            dns,
            encoding,
            calendar,
            notes,
        })
    }

    /// Host names are reported as they stand, as with `usedns = raw`.
    pub fn with_raw_names(self) -> Program {
        Program { dns: Dns::Raw, ..self }
    }

    /// What it was compiled from.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub fn dns(&self) -> Dns {
        self.dns
    }

    /// Whether it looks at several lines at once, and so has to see every line.
    pub fn sees_all(&self) -> bool {
        self.maxlines > 1
    }

    /// Lines looked at together.
    pub fn maxlines(&self) -> usize {
        self.maxlines
    }

    pub fn has_prefregex(&self) -> bool {
        self.prefregex.is_some()
    }

    /// What was read otherwise than Python would, for the import report.
    pub fn notes(&self) -> &[(Part, &'static str)] {
        &self.notes
    }

    /// Regexes that run in linear time, and all of them.
    pub fn linear_of(&self) -> (usize, usize) {
        let all = || self.prefregex.iter().chain(&self.failregex).chain(&self.ignoreregex);
        (all().filter(|pattern| pattern.is_linear()).count(), all().count())
    }

    /// What its [`Memory`] is stored under: the same as long as the filter says the same.
    pub fn key(&self) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        serde_json::to_string(&self.rules).unwrap_or_default().hash(&mut hasher);
        hasher.finish()
    }

    /// What must stand in a line for `prefregex`, and for each failregex, to match it.
    pub fn required(&self) -> (Required, Vec<Required>) {
        let of = |pattern: &Pattern| pattern.required().clone();
        (self.prefregex.as_ref().map_or(Vec::new(), of), self.failregex.iter().map(of).collect())
    }

    /// Takes a line in which no failregex matches, nor in those before it together with it: the same as judging it.
    pub fn pass(&self, memory: &mut Memory, line: &Arc<Line>) {
        if self.sees_all() {
            self.push(&mut memory.buffer, line.clone());
        }
    }

    fn push(&self, buffer: &mut Vec<Arc<Line>>, line: Arc<Line>) {
        buffer.push(line);
        let over = buffer.len().saturating_sub(self.maxlines);
        buffer.drain(..over);
    }

    /// Judges one line.
    ///
    /// `time`: the line's own. `tries`: whether to try a failregex, for a caller that knows of some that they cannot
    /// match, in the lines held together either. `alarm` is told of each search that was given up.
    pub fn judge(
        &self,
        memory: &mut Memory,
        now: Timestamp,
        line: Arc<Line>,
        time: Option<Timestamp>,
        tries: &dyn Fn(usize) -> bool,
        alarm: &mut dyn FnMut(Part),
    ) -> Outcome {
        let mut buffer = std::mem::take(&mut memory.buffer);
        self.push(&mut buffer, line);
        let Memory { sessions, scratch, .. } = memory;
        let mut judging = Judging { program: self, sessions, scratch, buffer, alarm };
        let outcome = judging.judge(now, time, tries);
        if self.maxlines > 1 {
            memory.buffer = judging.buffer;
        }
        outcome
    }
}

/// One line being judged.
struct Judging<'a> {
    program: &'a Program,
    sessions: &'a mut Sessions,
    scratch: &'a mut Scratch,
    buffer: Vec<Arc<Line>>,
    alarm: &'a mut dyn FnMut(Part),
}

impl Judging<'_> {
    fn judge(&mut self, now: Timestamp, time: Option<Timestamp>, tries: &dyn Fn(usize) -> bool) -> Outcome {
        let mut text = std::mem::take(&mut self.scratch.text);
        let outcome = self.judge_in(&mut text, now, time, tries);
        self.scratch.text = text;
        outcome
    }

    /// The same; `text`: memory for what is searched.
    fn judge_in(
        &mut self,
        text: &mut String,
        now: Timestamp,
        time: Option<Timestamp>,
        tries: &dyn Fn(usize) -> bool,
    ) -> Outcome {
        let program = self.program;
        // Of a filter of one line nothing stays.
        let original =
            if program.sees_all() { self.buffer.clone() } else { std::mem::take(&mut self.buffer) };
        join(text, original.iter().map(|line| line.rest.as_str()));
        let mut overran = false;

        let few = !program.ignoreregex.is_empty() && program.ignoreregex.len() + 2 < program.failregex.len();
        if few && self.ignores(text) {
            return Outcome::Ignored;
        }
        let mut before = Groups::default();
        if let Some(pattern) = &program.prefregex {
            match pattern.search(self.scratch, text) {
                Ok(Some(found)) => before = found.groups,
                Ok(None) => return Outcome::NoMatch,
                Err(Overrun) => {
                    (self.alarm)(Part::Prefregex);
                    return Outcome::Overrun;
                }
            }
            let content = before.remove("content");
            if let Some(content) = content.as_ref().and_then(Value::text).filter(|text| !text.is_empty()) {
                if program.sees_all() {
                    self.buffer = vec![Arc::new(Line::new("", "", content))];
                }
                join(text, [content]);
            }
        }
        for (number, pattern) in program.failregex.iter().enumerate().filter(|(number, _)| tries(*number)) {
            let found = match pattern.search(self.scratch, text) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(Overrun) => {
                    (self.alarm)(Part::Failregex(number));
                    overran = true;
                    continue;
                }
            };
            let found = cover(found, text, &original);
            if !program.ignoreregex.is_empty() {
                let ignored = match program.maxlines {
                    1 => self.ignores(text),
                    _ => {
                        let mut lines = String::new();
                        join(&mut lines, found.lines.iter().map(|line| line.rest.as_str()));
                        self.ignores(&lines)
                    }
                };
                if ignored {
                    self.buffer = found.others;
                    return Outcome::Ignored;
                }
            }
            self.buffer = found.others;
            let groups = united(before, found.groups);
            return self.failure(now, number, groups, &found.lines, time);
        }
        if overran { Outcome::Overrun } else { Outcome::NoMatch }
    }

    fn ignores(&mut self, text: &str) -> bool {
        for (number, pattern) in self.program.ignoreregex.iter().enumerate() {
            match pattern.search(self.scratch, text) {
                Ok(Some(_)) => return true,
                Ok(None) => {}
                Err(Overrun) => (self.alarm)(Part::Ignoreregex(number)),
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
        let raw = self.program.dns == Dns::Raw;
        let groups = &failure.groups;
        let fid = groups.get("fid");
        let address = groups.text("ip4").or_else(|| groups.text("ip6"));
        let prefix = groups.text("cidr").and_then(|text| text.parse::<u32>().ok());
        match (fid, address.or_else(|| groups.text("dns"))) {
            (Some(fid), Some(who)) if fid.text() != Some(who) && (address.is_some() || raw) => {
                let (id, who) = (free_id(fid, raw), who.to_owned());
                failure.groups.set("ip", Some(Value::Text(who)));
                Some(id)
            }
            (_, Some(who)) if address.is_some() => Some(address_id(who, prefix)),
            (_, Some(name)) => Some(FailureId::Name(name.to_owned())),
            (Some(fid), None) => Some(free_id(fid, raw)),
            (None, None) => None,
        }
    }
}

/// Groups that say who it was.
const IDS: [&str; 5] = ["fid", "ip4", "ip6", "dns", "mlfid"];

/// The groups of prefregex and of a failregex, which win, also where they took no part in the match. Where nobody would
/// be left by that, whom prefregex found stays.
fn united(mut before: Groups, found: Groups) -> Groups {
    if before.is_empty() {
        return found;
    }
    let left = |name: &&str| found.value(name).unwrap_or_else(|| before.get(name)).is_some();
    let mut kept = Vec::new();
    if !IDS.iter().any(left) {
        let whom = IDS.iter().chain(&["cidr"]);
        kept.extend(whom.filter_map(|name| Some((*name, before.get(name)?.clone()))));
    }
    before.take_all(found);
    kept.into_iter().for_each(|(name, value)| before.set(name, Some(value)));
    before
}

/// An address in the form `inet_pton` takes: `192.030.0.6` could be octal, and is none.
fn strict(text: &str) -> Option<Host> {
    text.parse().ok().map(Host::new)
}

fn address_id(text: &str, prefix: Option<u32>) -> FailureId {
    match strict(text) {
        Some(host) => {
            let longest = host.prefix_max();
            let prefix = prefix.map_or(longest, |prefix| prefix.min(u32::from(longest)) as u8);
            FailureId::Net(Net::of(host, prefix))
        }
        None => FailureId::Text(text.to_owned()),
    }
}

fn free_id(id: &Value, raw: bool) -> FailureId {
    match id {
        Value::Tuple(parts) => FailureId::Tuple(parts.clone()),
        Value::Text(text) => match strict(text).filter(|_| !raw) {
            Some(host) => FailureId::Net(Net::host(host)),
            None => FailureId::Text(text.clone()),
        },
    }
}

/// The text that the regexes see: every line without its date, each with its newline.
fn join<'l>(text: &mut String, lines: impl IntoIterator<Item = &'l str>) {
    text.clear();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
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
