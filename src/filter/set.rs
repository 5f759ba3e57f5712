//! All filters of one log, run over its blocks in one pass.

use std::sync::{Arc, Mutex, PoisonError};

use chrono_tz::Tz;

use super::compile::Tag;
use super::frame::glance::{Glance, LastStamp};
use super::frame::{FrameKind, Framed};
use super::pattern::{Kind, MatchCache, Pattern};
use super::peer::{self, TrustedProxies};
use super::prefilter::{Prefilter, Sieve};
use super::session::{FilterState, Said};
use super::timestamp::{self, Date, Resolver};
use super::{Attempt, Beside, Filter, Outcome};
use crate::addr::Host;
use crate::time::Timestamp;

/// What reading a log takes beside its filters.
#[derive(Debug, Clone)]
pub struct Context {
    /// Zone of dates that carry none.
    pub timezone: Tz,
    /// Year of dates that carry none; absent: inferred from now.
    pub year: Option<i32>,
    pub trusted_proxies: TrustedProxies,
    /// [`Limits::sessions_max`](crate::limits::Limits::sessions_max).
    pub sessions_max: usize,
}

/// What a scan of a block met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub lines: u64,
    /// Lines that met a pattern.
    pub candidates: u64,
    pub failures: u64,
    pub successes: u64,
    /// Lines that matched and then an ignoreregex.
    pub ignored: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.lines += other.lines;
        self.candidates += other.candidates;
        self.failures += other.failures;
        self.successes += other.successes;
        self.ignored += other.ignored;
    }
}

/// The filters of one log. Cheap to share by reference; one log's blocks are scanned in order.
#[derive(Debug)]
pub struct FilterSet {
    filters: Vec<Arc<Filter>>,
    context: Context,
    scratch: Mutex<Scratch>,
}

/// Memory reused from line to line.
#[derive(Debug)]
struct Scratch {
    sieve: Sieve,
    prefilter: Prefilter,
    matching: Matching,
}

#[derive(Debug)]
struct Matching {
    cache: MatchCache,
    resolver: Resolver,
    last: LastStamp,
}

impl FilterSet {
    pub fn new(filters: Vec<Arc<Filter>>, context: Context) -> FilterSet {
        FilterSet::build(filters, context, true)
    }

    /// A set that tries every pattern on every line: what [`FilterSet::new`]'s must agree with, slowly.
    pub fn without_prefilter(filters: Vec<Arc<Filter>>, context: Context) -> FilterSet {
        FilterSet::build(filters, context, false)
    }

    fn build(filters: Vec<Arc<Filter>>, context: Context, prefilter: bool) -> FilterSet {
        let resolver = Resolver::new(context.timezone, context.year);
        let (sieve, prefilter) = Prefilter::new(&filters, prefilter);
        let matching = Matching { cache: MatchCache::default(), resolver, last: LastStamp::default() };
        FilterSet { filters, context, scratch: Mutex::new(Scratch { sieve, prefilter, matching }) }
    }

    pub fn filters(&self) -> &[Arc<Filter>] {
        &self.filters
    }

    /// Reads the lines of `block` (each ends at `\n`) and hands every attempt to `sink`, in order of lines.
    ///
    /// `now`: for dates without a year. `state`: this log's.
    pub fn scan(
        &self,
        state: &mut FilterState,
        now: Timestamp,
        block: &[u8],
        sink: &mut dyn FnMut(Attempt<'_>),
    ) -> Counts {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let Scratch { sieve, prefilter, matching } = &mut *scratch;
        let mut scan = Scan {
            filters: &self.filters,
            context: &self.context,
            matching,
            state,
            now,
            sink,
            counts: Counts::default(),
        };
        let mut lines = sieve.lines(block);
        let mut vain = 0;
        while let Some((index, line)) = lines.next() {
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            match prefilter.candidates(text, &scan.matching.last) {
                (true, glance) => scan.line(prefilter, line, text, glance, index),
                (false, _) => vain += 1,
            }
        }
        let mut counts = scan.counts;
        counts.lines = lines.count() as u64;
        sieve.told(block, counts.lines, vain);
        counts
    }

    /// Whether any pattern of any filter fits `line`, also one that says that it is nothing.
    pub fn knows(&self, line: &[u8]) -> bool {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = &mut scratch.matching.cache;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.filters.iter().any(|filter| {
            let framed = filter.frame(line);
            framed.is_some_and(|framed| {
                filter.patterns.iter().any(|pattern| pattern.matches(cache, framed.message))
            })
        })
    }

    /// The time at the start of a line, for finding where to begin in a log.
    pub fn time_of(&self, line: &[u8], now: Timestamp) -> Option<Timestamp> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let date = FrameKind::Syslog
            .split(line)
            .and_then(|framed| framed.date)
            .or_else(|| timestamp::at_start(line).map(|(_, date)| date))?;
        scratch.matching.resolver.resolve(date, now, None)
    }
}

/// One pass over a block.
struct Scan<'a, 's> {
    filters: &'a [Arc<Filter>],
    context: &'a Context,
    matching: &'a mut Matching,
    state: &'a mut FilterState,
    now: Timestamp,
    sink: &'s mut dyn FnMut(Attempt<'_>),
    counts: Counts,
}

/// A line in hand.
#[derive(Clone, Copy)]
struct Line<'l> {
    /// As it is in the log.
    whole: &'l [u8],
    index: usize,
    framed: &'l Framed<'l>,
}

impl Scan<'_, '_> {
    /// Tries the candidates on one line; of each filter the first that matches counts.
    fn line<'l>(
        &mut self,
        prefilter: &Prefilter,
        whole: &'l [u8],
        text: &'l [u8],
        glance: Option<Glance<'l>>,
        index: usize,
    ) {
        self.counts.candidates += 1;
        let filters = self.filters;
        let mut next = prefilter.next(0);
        while let Some(first) = next {
            let (at, _) = prefilter.pattern(first);
            let framed = filters[at].frame_of(text, prefilter.reads(at), glance, &mut self.matching.last);
            let mut line = framed.as_ref().map(|framed| Line { whole, index, framed });
            // The candidates of one filter stand together.
            next = Some(first);
            while let Some(candidate) = next
                && prefilter.pattern(candidate).0 == at
            {
                // Once one has matched, the filter is done with this line.
                if line.is_some_and(|line| self.pattern(prefilter, candidate, line)) {
                    line = None;
                }
                next = prefilter.next(candidate + 1);
            }
        }
    }

    /// Tries one candidate; true if the filter is done with this line.
    fn pattern(&mut self, prefilter: &Prefilter, candidate: usize, line: Line<'_>) -> bool {
        let (filter_index, number) = prefilter.pattern(candidate);
        let filter = &self.filters[filter_index];
        let pattern = &filter.patterns[number];
        if pattern.kind == Kind::Ignore {
            // They come last, and none that counts matched.
            return true;
        }
        let framed = line.framed;
        let cache = &mut self.matching.cache;
        if !pattern.matches(cache, framed.message) {
            return false;
        }
        let mut found = Found::default();
        if !found.read(pattern, cache, framed.message) {
            return false;
        }
        // An id without text: the process is the session.
        for id in [&mut found.session, &mut found.companion, &mut found.same] {
            if id.is_some_and(<[u8]>::is_empty) {
                *id = framed.pid;
            }
        }
        if ignores(filter, prefilter, candidate, cache, framed.message) {
            self.counts.ignored += 1;
            return true;
        }
        let date = found.date.or(framed.date);
        let time = date.and_then(|date| self.matching.resolver.resolve(date, self.now, self.state.last));
        if time.is_some() {
            self.state.last = time;
        }
        if filter.trusted_only && !found.host.is_some_and(|host| self.context.trusted_proxies.contains(host))
        {
            return true;
        }
        let mut host = peer::offender(found.host, found.forwarded, &self.context.trusted_proxies);
        let mut user = found.user.filter(|user| !user.is_empty());
        let outcome = match pattern.kind {
            Kind::Fail => Outcome::Failure,
            Kind::Success => Outcome::Success,
            Kind::Note => {
                if let Some(id) = found.session {
                    let at = time.unwrap_or(self.now);
                    let said = Said { host, user, pwhash: found.pwhash };
                    self.state.note(filter.key, id, said, at, self.context.sessions_max);
                }
                return true;
            }
            Kind::Forget => {
                if let Some(id) = found.session {
                    self.state.forget(filter.key, id);
                }
                return true;
            }
            Kind::Ignore => return true,
        };
        let at = time.unwrap_or(self.now);
        if let Some(id) = found.companion
            && self.state.repeats(filter.key, id, at)
        {
            return true;
        }
        let mut times = framed.times;
        if let Some(id) = found.same
            && self.state.counts_already(filter.key, id, at)
        {
            times = times.saturating_sub(1);
        }
        if let Some(id) = found.session
            && outcome == Outcome::Failure
            && filter.joins
        {
            self.state.counted(filter.key, id, at, self.context.sessions_max);
        }
        match outcome {
            Outcome::Failure => self.counts.failures += u64::from(times),
            Outcome::Success => self.counts.successes += u64::from(times),
        }
        let mut pwhash = found.pwhash.filter(|hash| !hash.is_empty());
        let session = found.session.or(found.companion).or(found.same);
        if let Some(session) = session.and_then(|id| self.state.session(filter.key, id, at)) {
            host = host.or(session.host);
            user = user.or(session.user.as_deref());
            pwhash = pwhash.or(session.pwhash.as_deref());
        }
        (self.sink)(Attempt {
            outcome,
            host,
            user,
            pwhash,
            time,
            times,
            line: line.whole,
            line_index: line.index,
            filter: filter_index,
            pattern: number,
            beside: Beside::default(),
        });
        true
    }
}

/// Whether an ignoreregex of `filter` matches what `candidate` matched.
fn ignores(
    filter: &Filter,
    prefilter: &Prefilter,
    candidate: usize,
    cache: &mut MatchCache,
    message: &[u8],
) -> bool {
    let (own, _) = prefilter.pattern(candidate);
    let mut next = prefilter.next(candidate + 1);
    while let Some(other) = next
        && let (at, number) = prefilter.pattern(other)
        && at == own
    {
        let pattern = &filter.patterns[number];
        if pattern.kind == Kind::Ignore && pattern.matches(cache, message) {
            return true;
        }
        next = prefilter.next(other + 1);
    }
    false
}

/// What the groups of a match say.
#[derive(Default)]
pub(super) struct Found<'m> {
    pub host: Option<Host>,
    pub user: Option<&'m [u8]>,
    pub pwhash: Option<&'m [u8]>,
    pub forwarded: Option<&'m [u8]>,
    pub session: Option<&'m [u8]>,
    pub companion: Option<&'m [u8]>,
    pub same: Option<&'m [u8]>,
    pub date: Option<Date>,
}

impl<'m> Found<'m> {
    /// False: what `<HOST>` took is no address, so that the pattern did not match after all.
    #[inline]
    pub fn read(&mut self, pattern: &Pattern, cache: &MatchCache, message: &'m [u8]) -> bool {
        for (group, tag) in &pattern.groups {
            let Some(range) = cache.group(*group) else { continue };
            let text = &message[range.clone()];
            match tag {
                Tag::Host => match cache.address(&range).or_else(|| peer::host(text)) {
                    Some(host) => self.host = Some(host),
                    None => return false,
                },
                Tag::User => self.user = self.user.or(Some(text)),
                Tag::Pwhash => self.pwhash = self.pwhash.or(Some(text)),
                Tag::Forwarded => self.forwarded = self.forwarded.or(Some(text)),
                Tag::Session => self.session = self.session.or(Some(text)),
                Tag::Companion => self.companion = self.companion.or(Some(text)),
                Tag::Same => self.same = self.same.or(Some(text)),
                Tag::Time => self.date = self.date.or_else(|| timestamp::whole(text)),
                Tag::Domain | Tag::Other(_) => {}
            }
        }
        true
    }
}

/// A pattern by its index in its filter, and what its tags took.
pub type PatternMatch = (usize, Vec<(Tag, Vec<u8>)>);

impl Filter {
    /// Takes a line apart in the first of the filter's frames that fits it, program name included.
    pub fn frame<'l>(&self, line: &'l [u8]) -> Option<Framed<'l>> {
        self.frame_of(line, false, None, &mut LastStamp::default())
    }

    /// The same. `reads`: the line's program name is known to fit; `glance`: what is known of the line already.
    #[inline]
    fn frame_of<'l>(
        &self,
        line: &'l [u8],
        reads: bool,
        glance: Option<Glance<'l>>,
        last: &mut LastStamp,
    ) -> Option<Framed<'l>> {
        self.frames.iter().find_map(|kind| {
            let framed = kind.split_seen(line, glance, last)?;
            match framed.ident {
                Some(ident) if !reads && !self.ident.is_empty() => {
                    self.ident.iter().any(|glob| glob.fits(ident, framed.short_ident)).then_some(framed)
                }
                _ => Some(framed),
            }
        })
    }

    /// Every pattern that fits `line`, also those that another one before it would keep from being tried, and
    /// what their groups took. For tests and `filter test`; slow.
    pub fn all_matches(&self, line: &[u8]) -> Vec<PatternMatch> {
        let Some(framed) = self.frame(line.strip_suffix(b"\r").unwrap_or(line)) else { return Vec::new() };
        let mut cache = MatchCache::default();
        let mut found = Vec::new();
        for (number, pattern) in self.patterns.iter().enumerate() {
            if pattern.matches(&mut cache, framed.message)
                && Found::default().read(pattern, &cache, framed.message)
            {
                let groups = pattern.captured(&cache).into_iter();
                found.push((
                    number,
                    groups.map(|(tag, range)| (tag, framed.message[range].to_vec())).collect(),
                ));
            }
        }
        found
    }
}
