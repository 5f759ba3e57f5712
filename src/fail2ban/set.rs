//! All filters of fail2ban that read one log, run over its blocks in one pass: the counterpart of
//! [`FilterSet`](crate::filter::FilterSet).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::matcher::{
    Calendar, CalendarState, Cut, DateMatch, Dns, FailureId, Hit, Line, Memory, Outcome, Pace, Part, Program,
    Value,
};
use super::prefilter::{Marks, Prefilter};
use crate::addr::Net;
use crate::filter::prefilter::Sieve;
use crate::filter::{self, Attempt, Beside, Counts};
use crate::time::Timestamp;

/// What a filter may remember of one log across a restart. Bytes.
const STORED_BYTES_MAX: usize = 256 * 1024;
/// A network wider than these, taken from a log, is not banned whole: /16 of IPv4, /32 of IPv6.
const WIDEST: (u8, u8) = (16, 32);

/// The filters of one log that are in one encoding. Cheap to share by reference; one log's blocks are read in order.
#[derive(Debug)]
pub struct FilterSet {
    filters: Vec<Arc<Program>>,
    calendars: Vec<Arc<Calendar>>,
    /// By calendar: the filters that go by it, in order.
    of_calendar: Vec<Vec<usize>>,
    /// By filter.
    calendar_of: Vec<usize>,
    /// By calendar: how many lines some filter of it looks at together; 0: each at one.
    sees_all: Vec<usize>,
    encoding: Encoding,
    prefilter: Prefilter,
    sieve: Mutex<Sieve>,
    tallies: Mutex<Tallies>,
}

/// What happened that a person should know, by filter.
pub type Tallies = BTreeMap<(usize, Trouble), u64>;

/// Why a line could not be judged, or a match bans nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The search was given up after so many steps: who wrote this line may go unnoticed.
    Overrun(Part),
    /// `<F-ID>` held what is no address.
    NoAddress,
    /// A host name stood for the peer, and names are not asked.
    Name,
    /// The log named a network too wide to be banned; its first address counts alone.
    TooWide,
}

/// What is remembered of one log.
#[derive(Debug)]
pub struct State {
    calendars: Vec<CalendarState>,
    memories: Vec<Memory>,
    marks: Box<Marks>,
    /// By calendar.
    found: Vec<DateFound>,
    steady: Steady,
}

/// What is the same for all lines that begin alike, as those of one second mostly do.
#[derive(Debug, Default)]
struct Steady {
    /// Begins them, in the line's bytes as in its text; empty: nothing is known.
    head: Vec<u8>,
    /// How many there were since the last line that began otherwise and whose dates the calendars have not counted.
    lines: u64,
}

/// What one calendar has to do with the line in hand.
#[derive(Debug, Default)]
struct DateFound {
    /// The date is the one of the line before; `date` does not count then.
    repeats: bool,
    date: Option<DateMatch>,
    /// Some filter that goes by it has to look at the line.
    called: bool,
}

/// A part of [`State`] as it is stored.
#[derive(Debug, Serialize, Deserialize)]
enum Stored {
    Calendar(u64, Box<CalendarState>),
    Memory(u64, Memory),
}

impl FilterSet {
    pub fn new(filters: Vec<Arc<Program>>, encoding: Encoding) -> FilterSet {
        FilterSet::build(filters, encoding, true)
    }

    /// A set that tries every regex on every line: what [`FilterSet::new`]'s must agree with, slowly.
    pub fn without_prefilter(filters: Vec<Arc<Program>>, encoding: Encoding) -> FilterSet {
        FilterSet::build(filters, encoding, false)
    }

    fn build(filters: Vec<Arc<Program>>, encoding: Encoding, prefilter: bool) -> FilterSet {
        let mut calendars: Vec<Arc<Calendar>> = Vec::new();
        let mut of_calendar: Vec<Vec<usize>> = Vec::new();
        for (index, program) in filters.iter().enumerate() {
            let calendar = program.calendar();
            match calendars.iter().position(|known| known.agrees(calendar)) {
                Some(at) => of_calendar[at].push(index),
                None => {
                    calendars.push(calendar.clone());
                    of_calendar.push(vec![index]);
                }
            }
        }
        let (sieve, prefilter) = Prefilter::new(filters.iter().map(|program| &**program), prefilter);
        let mut calendar_of = vec![0; filters.len()];
        for (at, of_calendar) in of_calendar.iter().enumerate() {
            of_calendar.iter().for_each(|filter| calendar_of[*filter] = at);
        }
        let sees_all = |of_calendar: &Vec<usize>| {
            let several = of_calendar.iter().filter(|filter| filters[**filter].sees_all());
            several.map(|filter| filters[*filter].maxlines()).max().unwrap_or(0)
        };
        FilterSet {
            sees_all: of_calendar.iter().map(sees_all).collect(),
            filters,
            calendars,
            of_calendar,
            calendar_of,
            encoding,
            prefilter,
            sieve: Mutex::new(sieve),
            tallies: Mutex::default(),
        }
    }

    pub fn filters(&self) -> &[Arc<Program>] {
        &self.filters
    }

    /// What is known of a log that was never read.
    pub fn begin(&self) -> State {
        State {
            calendars: self.calendars.iter().map(|calendar| calendar.begin()).collect(),
            memories: self.filters.iter().map(|_| Memory::default()).collect(),
            marks: Box::default(),
            found: self.calendars.iter().map(|_| DateFound::default()).collect(),
            steady: Steady::default(),
        }
    }

    /// Reads the lines of `block` (each ends at `\n`) and hands every failure to `sink`: in order of lines, and of one
    /// line in the order of the filters that share their way to date it.
    pub fn scan(
        &self,
        state: &mut State,
        now: Timestamp,
        block: &[u8],
        sink: &mut dyn FnMut(Attempt<'_>),
    ) -> Counts {
        let tallies = &mut *self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let sieve = &mut *self.sieve.lock().unwrap_or_else(PoisonError::into_inner);
        let read = vec![0; self.calendars.len()];
        let mut scan = Scan { set: self, state, now, tallies, sink, counts: Counts::default(), block, read };
        // A clock that went on gives every date another meaning.
        scan.state.steady.head.clear();
        let mut lines = sieve.lines(block);
        let mut vain = 0;
        loop {
            let from = lines.at();
            // A line that belongs to one before it may hold anything.
            let next = match self.prefilter.is_held(&scan.state.marks) {
                true => lines.next_of_all(),
                false => lines.next(),
            };
            let start = next.map_or(block.len(), |(_, line)| line.as_ptr().addr() - block.as_ptr().addr());
            scan.pass(from, start);
            let Some((_, line)) = next else { break };
            vain += u64::from(!scan.line(start, start + line.len()));
        }
        scan.settle();
        (0..self.calendars.len()).for_each(|at| scan.catch_up(at, block.len()));
        let counts = scan.counts;
        sieve.told(block, counts.lines, vain);
        counts
    }

    /// What happened since the set was made.
    pub fn tallies(&self) -> Tallies {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What of `state` is worth keeping across a restart.
    pub fn store(&self, state: &mut State) -> Option<Vec<u8>> {
        let mut parts: Vec<StoredRef<'_>> = Vec::new();
        for (calendar, state) in self.calendars.iter().zip(&mut state.calendars) {
            calendar.settle(state);
            parts.push(StoredRef::Calendar(calendar_key(calendar), state));
        }
        for (program, memory) in self.filters.iter().zip(&mut state.memories) {
            if !memory.is_empty() {
                memory.shrink(STORED_BYTES_MAX);
                parts.push(StoredRef::Memory(program.key(), memory));
            }
        }
        postcard::to_stdvec(&parts).ok()
    }

    /// Puts back what [`FilterSet::store`] gave; what belongs to no filter or datepattern of now is left out.
    pub fn restore(&self, state: &mut State, bytes: &[u8]) {
        let parts: Vec<Stored> = postcard::from_bytes(bytes).unwrap_or_default();
        for part in parts {
            match part {
                Stored::Calendar(key, stored) => {
                    let at = self.calendars.iter().position(|calendar| calendar_key(calendar) == key);
                    if let Some(at) = at.filter(|at| self.calendars[*at].takes(&stored)) {
                        state.calendars[at] = *stored;
                    }
                }
                Stored::Memory(key, stored) => {
                    if let Some(at) = self.filters.iter().position(|program| program.key() == key) {
                        state.memories[at] = stored;
                    }
                }
            }
        }
    }
}

/// As [`Stored`], of what is borrowed.
#[derive(Debug, Serialize)]
enum StoredRef<'a> {
    Calendar(u64, &'a CalendarState),
    Memory(u64, &'a Memory),
}

fn calendar_key(calendar: &Calendar) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    calendar.key().hash(&mut hasher);
    hasher.finish()
}

/// One pass over a block.
struct Scan<'a, 's> {
    set: &'a FilterSet,
    state: &'a mut State,
    now: Timestamp,
    tallies: &'a mut Tallies,
    sink: &'s mut dyn FnMut(Attempt<'_>),
    counts: Counts,
    block: &'a [u8],
    /// By calendar: up to where in the block its filters of several lines have been given the lines. Those after it are
    /// all steady.
    read: Vec<usize>,
}

impl Scan<'_, '_> {
    /// Takes the lines from `start` to before `end`, in which no text stands that a filter asks for.
    fn pass(&mut self, mut start: usize, end: usize) {
        let block = self.block;
        while start < end {
            let held = self.set.prefilter.is_held(&self.state.marks);
            let head = &self.state.steady.head[..];
            let mut count = 0;
            while !held && start < end && !head.is_empty() && block[start..end].starts_with(head) {
                count += 1;
                start = memchr::memchr(b'\n', &block[start..end]).map_or(end, |len| start + len + 1);
            }
            self.counts.lines += count;
            self.state.steady.lines += count;
            self.set.prefilter.skip(&mut self.state.marks, count);
            if start < end {
                // What the two sides of a date make together may be asked for after all.
                let len = memchr::memchr(b'\n', &block[start..end]).unwrap_or(end - start);
                self.line(start, start + len);
                start += len + 1;
            }
        }
    }

    /// Judges the line from `start` to `end`; whether any filter may have matched it.
    fn line(&mut self, start: usize, end: usize) -> bool {
        let set = self.set;
        let whole = &self.block[start..end];
        let text = set.encoding.text(whole);
        let text = text.trim_end_matches(['\r', '\n']);
        set.prefilter.begin(&mut self.state.marks, text.as_bytes());
        let head = &self.state.steady.head;
        let steady = !head.is_empty() && text.as_bytes().starts_with(head);
        if steady {
            self.state.steady.lines += 1;
        } else {
            self.settle();
            (0..set.calendars.len()).for_each(|at| self.catch_up(at, start));
            self.find_dates(text);
        }
        let State { marks, found, .. } = &mut *self.state;
        let mut candidate = false;
        for filter in set.prefilter.candidates(marks) {
            found[set.calendar_of[filter]].called = true;
            candidate = true;
        }
        self.counts.candidates += u64::from(candidate);
        let mut cut = Cut::default();
        for (at, calendar) in set.calendars.iter().enumerate() {
            let called = std::mem::take(&mut self.state.found[at].called);
            if !called && (steady || set.sees_all[at] == 0) {
                let (dates, found) = (&mut self.state.calendars[at], &mut self.state.found[at]);
                if !steady && !found.repeats {
                    calendar.pass(dates, self.now, text, found.date.take());
                }
                continue;
            }
            self.catch_up(at, start);
            self.read[at] = end + 1;
            let (dates, found) = (&mut self.state.calendars[at], &mut self.state.found[at]);
            let date = if found.repeats { calendar.repeated(dates, text) } else { found.date.take() };
            let (line, time) = calendar.dated(dates, self.now, text, date, Pace::Recorded, &mut cut);
            for filter in set.of_calendar[at].iter().copied() {
                self.judge(filter, whole, &line, time);
            }
        }
        if !steady {
            self.read.fill(end + 1);
            self.become_steady(text);
        }
        self.counts.lines += 1;
        candidate
    }

    /// Finds the dates of a line that is not steady.
    fn find_dates(&mut self, text: &str) {
        let (set, now) = (self.set, self.now);
        let State { calendars, marks, found, .. } = &mut *self.state;
        let mut joined = None;
        for ((calendar, dates), found) in set.calendars.iter().zip(calendars).zip(found) {
            // Every line's date is looked for: where the one before stood decides which stamp of a line counts.
            let repeats = calendar.repeat(dates, now, text);
            found.repeats = repeats.is_some();
            let stamp = repeats.or_else(|| {
                found.date = calendar.find(dates, now, text);
                found.date.as_ref().map(|date| date.stamp)
            });
            if let Some(stamp) = stamp.filter(|_| stamp != joined) {
                set.prefilter.joined(marks, text.as_bytes(), stamp);
                joined = Some(stamp);
            }
        }
    }

    /// After the line `text`: knows what begins the lines that all calendars date as they do this one.
    fn become_steady(&mut self, text: &str) {
        let (set, now) = (self.set, self.now);
        let State { calendars, found, steady, .. } = &mut *self.state;
        steady.head.clear();
        let mut most = 0;
        for ((calendar, dates), found) in set.calendars.iter().zip(calendars).zip(found) {
            let Some((len, dated)) = calendar.steady(dates, now, text) else { return };
            (found.repeats, found.date) = (dated, None);
            most = most.max(len);
        }
        let head = &text.as_bytes()[..most];
        // The end of a line is cut off before it is dated.
        if set.encoding.kept(head) == head && !head.contains(&b'\r') {
            steady.head.extend_from_slice(head);
        }
    }

    /// Counts the dates of the steady lines so far.
    fn settle(&mut self) {
        let State { calendars, found, steady, .. } = &mut *self.state;
        let lines = std::mem::take(&mut steady.lines);
        if lines > 0 {
            for ((calendar, dates), found) in self.set.calendars.iter().zip(calendars).zip(found) {
                if found.repeats {
                    calendar.repeat_times(dates, self.now, lines);
                }
            }
        }
    }

    /// Gives the filters of several lines that go by calendar `at` the lines before `start` that they have not seen: as many
    /// as they keep.
    fn catch_up(&mut self, at: usize, start: usize) {
        let (set, read, block) = (self.set, self.read[at], self.block);
        self.read[at] = start;
        let mut begin = start;
        for _ in 0..set.sees_all[at] {
            if begin <= read {
                break;
            }
            begin = memchr::memrchr(b'\n', &block[read..begin - 1]).map_or(read, |end| read + end + 1);
        }
        while begin < start {
            let end = memchr::memchr(b'\n', &block[begin..start]).map_or(start, |len| begin + len);
            let text = set.encoding.text(&block[begin..end]);
            let text = text.trim_end_matches(['\r', '\n']);
            let (calendar, dates) = (&set.calendars[at], &mut self.state.calendars[at]);
            let date = self.state.found[at].repeats.then(|| calendar.repeated(dates, text)).flatten();
            let (line, _) = calendar.dated(dates, self.now, text, date, Pace::Recorded, &mut Cut::default());
            for filter in &set.of_calendar[at] {
                set.filters[*filter].pass(&mut self.state.memories[*filter], &line);
            }
            begin = end + 1;
        }
    }

    fn judge(&mut self, filter: usize, whole: &[u8], line: &Arc<Line>, time: Option<Timestamp>) {
        let (set, State { memories, marks, .. }) = (self.set, &mut *self.state);
        let (program, memory) = (&set.filters[filter], &mut memories[filter]);
        if !set.prefilter.may_match(marks, filter) {
            program.pass(memory, line);
            return;
        }
        let tries = |number| set.prefilter.may_try(marks, filter, number);
        let tallies = &mut *self.tallies;
        let mut alarm = |part| *tallies.entry((filter, Trouble::Overrun(part))).or_default() += 1;
        let outcome = program.judge(memory, self.now, line.clone(), time, &tries, &mut alarm);
        if !matches!(outcome, Outcome::NoMatch | Outcome::Overrun) {
            set.prefilter.matched(marks, filter);
        }
        match outcome {
            Outcome::Failure(hit) => self.failure(filter, whole, &hit),
            Outcome::Ignored => self.counts.ignored += 1,
            Outcome::NoFailure | Outcome::NoMatch | Outcome::Overrun => {}
        }
    }

    fn trouble(&mut self, filter: usize, trouble: Trouble) {
        *self.tallies.entry((filter, trouble)).or_default() += 1;
    }

    fn failure(&mut self, filter: usize, whole: &[u8], hit: &Hit) {
        self.counts.failures += 1;
        let (mut host, mut prefix, mut name) = (None, None, None);
        match &hit.id {
            FailureId::Net(net) => {
                host = Some(net.base());
                prefix = net.as_host().is_none().then_some(net.prefix());
                if too_wide(*net) {
                    prefix = None;
                    self.trouble(filter, Trouble::TooWide);
                }
            }
            FailureId::Name(text) => match self.set.filters[filter].dns() {
                Dns::Yes => name = Some(text.as_str()),
                Dns::Raw => self.trouble(filter, Trouble::NoAddress),
                Dns::Warn | Dns::No => self.trouble(filter, Trouble::Name),
            },
            FailureId::Text(_) | FailureId::Tuple(_) => self.trouble(filter, Trouble::NoAddress),
        }
        let fields: Vec<(&str, &str)> =
            hit.groups.iter().filter_map(|(name, value)| Some((name, Value::text(value)?))).collect();
        let lines: Vec<&str> = hit.lines.iter().map(|line| line.whole()).collect();
        let user = hit.groups.text("user").filter(|user| !user.is_empty());
        (self.sink)(Attempt {
            outcome: filter::Outcome::Failure,
            host,
            user: user.map(str::as_bytes),
            pwhash: None,
            time: hit.time,
            times: 1,
            line: whole,
            line_index: self.counts.lines as usize,
            filter,
            pattern: hit.regex,
            beside: Beside { prefix, name, fields: &fields, lines: &lines },
        });
    }
}

fn too_wide(net: Net) -> bool {
    net.prefix() < if net.is_ipv4() { WIDEST.0 } else { WIDEST.1 }
}

/// Says what time a line is of, for finding where to begin in a log that `program` reads.
pub fn line_date(
    program: &Program,
    now: Timestamp,
) -> impl Fn(&[u8]) -> Option<Timestamp> + Send + Sync + use<> {
    let (calendar, encoding) = (program.calendar().clone(), program.encoding());
    let state = Mutex::new(calendar.begin());
    move |line: &[u8]| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = encoding.text(line);
        calendar.time(&mut state, now, text.trim_end_matches(['\r', '\n']))
    }
}

#[cfg(test)]
mod tests;
