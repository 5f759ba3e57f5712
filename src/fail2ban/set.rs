//! All filters of fail2ban that read one log, run over its blocks in one pass: the counterpart of
//! [`FilterSet`](crate::filter::FilterSet).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::encoding::Encoding;
use super::matcher::{
    Calendar, CalendarState, Dns, FailureId, Hit, Memory, Outcome, Pace, Part, Program, Value,
};
use super::prefilter::{Marks, Prefilter};
use crate::addr::Net;
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
    encoding: Encoding,
    prefilter: Prefilter,
    scratch: Mutex<(Marks, Tallies)>,
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
}

/// A part of [`State`] as it is stored.
#[derive(Debug, Serialize, Deserialize)]
enum Stored {
    Calendar(u64, CalendarState),
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
        let prefilter = Prefilter::new(filters.iter().map(|program| &**program), prefilter);
        FilterSet { filters, calendars, of_calendar, encoding, prefilter, scratch: Mutex::default() }
    }

    pub fn filters(&self) -> &[Arc<Program>] {
        &self.filters
    }

    /// What is known of a log that was never read.
    pub fn begin(&self) -> State {
        State {
            calendars: self.calendars.iter().map(|calendar| calendar.begin()).collect(),
            memories: self.filters.iter().map(|_| Memory::default()).collect(),
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
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let (marks, tallies) = &mut *scratch;
        let mut scan = Scan { set: self, state, now, marks, tallies, sink, counts: Counts::default() };
        let mut start = 0;
        while start < block.len() {
            let end = memchr::memchr(b'\n', &block[start..]).map_or(block.len(), |len| start + len);
            scan.line(&block[start..end]);
            scan.counts.lines += 1;
            start = end + 1;
        }
        scan.counts
    }

    /// What happened since the set was made.
    pub fn tallies(&self) -> Tallies {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
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
                        state.calendars[at] = stored;
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
    marks: &'a mut Marks,
    tallies: &'a mut Tallies,
    sink: &'s mut dyn FnMut(Attempt<'_>),
    counts: Counts,
}

impl Scan<'_, '_> {
    fn line(&mut self, whole: &[u8]) {
        let set = self.set;
        let text = set.encoding.text(whole);
        let text = text.trim_end_matches(['\r', '\n']);
        set.prefilter.begin(self.marks, text.as_bytes());
        let mut candidate = false;
        for (at, calendar) in set.calendars.iter().enumerate() {
            let dates = &mut self.state.calendars[at];
            // Every line's date is looked for: where the one before stood decides which stamp of a line counts.
            let found = calendar.find(dates, self.now, text);
            if let Some(found) = &found {
                set.prefilter.joined(self.marks, text.as_bytes(), found.stamp);
            }
            let filters = &set.of_calendar[at];
            if !filters.iter().any(|filter| set.prefilter.may_match(self.marks, *filter)) {
                calendar.pass(dates, self.now, text, found);
                continue;
            }
            candidate = true;
            let (line, time) = calendar.dated(dates, self.now, text, found, Pace::Recorded);
            let line = Arc::new(line);
            for filter in filters.iter().copied() {
                if !set.prefilter.may_match(self.marks, filter) {
                    continue;
                }
                let marks = &*self.marks;
                let tries = |number| set.prefilter.may_try(marks, filter, number);
                let tallies = &mut *self.tallies;
                let mut alarm = |part| *tallies.entry((filter, Trouble::Overrun(part))).or_default() += 1;
                let memory = &mut self.state.memories[filter];
                let program = &set.filters[filter];
                match program.judge(memory, self.now, line.clone(), time, &tries, &mut alarm) {
                    Outcome::Failure(hit) => self.failure(filter, whole, &hit),
                    Outcome::Ignored => self.counts.ignored += 1,
                    Outcome::NoFailure | Outcome::NoMatch | Outcome::Overrun => {}
                }
            }
        }
        self.counts.candidates += u64::from(candidate);
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
