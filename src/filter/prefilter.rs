//! Which patterns may match a line, found out at a few nanoseconds a line.
//!
//! Of large blocks the [`sieve`] chooses the lines that are looked at; of small ones all are.
//!
//! A line is read as far as its program name; the name (through a cache) gives the line's *lane*: the filters
//! that read such lines. In the lane the message's first byte gives a *bucket*: the patterns that can begin
//! with it, for patterns are anchored at the message's start. The bucket's required literals are then searched
//! in the message, and the patterns whose literal was seen are the candidates. Most lines of a mail log end at
//! the first or second step without their text being looked at, however many filters there are. Lines that are
//! no syslog lines have two lanes of their own, for filters with the frames `date` and `line`.
//!
//! The answer is a superset: what is not proposed here cannot match; what is proposed is then matched in
//! earnest.

mod gate;
mod ident;
mod lane;
mod search;
mod sieve;
mod texts;

use std::collections::HashMap;
use std::sync::Arc;

use self::ident::IdentCache;
use self::lane::Lane;
pub use self::sieve::{Asked, Sieve};
pub use self::texts::Texts;
use super::Filter;
use super::frame::FrameKind;
use super::frame::glance::{self, Glance, LastStamp};
use super::literal::{ByteSet, Literal, Near, Traits};
use super::pattern::Kind;

/// Patterns of a set as bits; indices run through all filters in order.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)])
    }

    #[inline]
    fn set(&mut self, at: u16) {
        self.0[usize::from(at >> 6)] |= 1 << (at & 63);
    }

    /// The lowest index not below `from`; takes nothing away.
    #[inline]
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.0.get(word)? & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.0.get(word)?;
        }
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// A pattern as the prefilter sees it.
#[derive(Debug)]
struct Entry {
    filter: u16,
    number: u16,
    /// An ignoreregex: it makes no line a candidate.
    ignores: bool,
    first: ByteSet,
    may_be_empty: bool,
    /// One of them begins the message; empty: none known.
    prefixes: Vec<Vec<u8>>,
    near: Option<Near>,
    /// One of them is in the message; empty: none known, always a candidate.
    literals: Vec<Literal>,
}

/// The prefilter of one set of filters, with its caches.
#[derive(Debug)]
pub struct Prefilter {
    filters: Vec<Arc<Filter>>,
    entries: Vec<Entry>,
    idents: IdentCache,
    /// Lanes of syslog lines, by the filters in them. Lane 0 has none.
    lanes: Vec<Lane>,
    lane_of: HashMap<Vec<u16>, u16>,
    date: Option<Lane>,
    line: Option<Lane>,
    has_syslog: bool,
    /// Of the line in hand; 0: it has none, or nobody reads it.
    lane: u16,
    bits: Bits,
    dirty: bool,
    /// Off: every pattern is a candidate on every line.
    on: bool,
}

/// Distinct sets of filters that program names lead to; beyond, one lane with all filters serves.
const LANES_MAX: usize = 1000;
impl Prefilter {
    /// The prefilter of lines, and the sieve that goes before it. `on`: false makes every pattern a candidate on every
    /// line, for tests that compare.
    pub fn new(filters: &[Arc<Filter>], on: bool) -> (Sieve, Prefilter) {
        let mut entries = Vec::new();
        let mut asked = Vec::new();
        for (filter_index, filter) in filters.iter().enumerate() {
            let mut asks = Asked { lines: sieve::names(filter).into_iter().collect(), patterns: Vec::new() };
            for (number, pattern) in filter.patterns.iter().enumerate() {
                let Traits { first, may_be_empty, prefixes, near, required: sets } = &pattern.traits;
                let ignores = pattern.kind == Kind::Ignore;
                entries.push(Entry {
                    filter: filter_index as u16,
                    number: number as u16,
                    ignores,
                    first: *first,
                    may_be_empty: *may_be_empty,
                    prefixes: prefixes.clone(),
                    near: near.clone(),
                    literals: sets.first().map_or(Vec::new(), |set| set.literals.clone()),
                });
                if !ignores {
                    asks.patterns.push(sets.iter().map(|set| set.literals.clone()).collect());
                }
            }
            asked.push(asks);
        }
        let sieve = Sieve::new(&asked, on);
        assert!(entries.len() < usize::from(u16::MAX), "a log has fewer than 65,535 patterns");
        let with = |kind: FrameKind| -> Vec<u16> {
            let fits = |(_, filter): &(usize, &Arc<Filter>)| filter.frames.contains(&kind);
            filters.iter().enumerate().filter(fits).map(|(at, _)| at as u16).collect()
        };
        let lane = |kind: FrameKind| {
            Some(with(kind)).filter(|own| !own.is_empty()).map(|own| Lane::new(&own, &entries))
        };
        let bits = Bits::new(entries.len());
        let prefilter = Prefilter {
            date: lane(FrameKind::Date),
            line: lane(FrameKind::Line),
            has_syslog: !with(FrameKind::Syslog).is_empty(),
            lanes: vec![Lane::new(&[], &entries)],
            lane_of: HashMap::from([(Vec::new(), 0)]),
            idents: IdentCache::new(),
            filters: filters.to_vec(),
            entries,
            lane: 0,
            bits,
            dirty: false,
            on,
        };
        (sieve, prefilter)
    }

    /// (filter, pattern in it) of pattern `index` of the set.
    #[inline]
    pub fn pattern(&self, index: usize) -> (usize, usize) {
        let entry = &self.entries[index];
        (usize::from(entry.filter), usize::from(entry.number))
    }

    /// The lowest candidate of the last line not below `from`. With the candidates come those ignoreregexes that may match.
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        self.bits.next(from)
    }

    /// Whether any pattern may match `line` (without its line end), and what a glance at the line showed (`last`: this log's);
    /// [`Prefilter::next`] tells which patterns.
    #[inline]
    pub(super) fn candidates<'l>(&mut self, line: &'l [u8], last: &LastStamp) -> (bool, Option<Glance<'l>>) {
        if self.dirty {
            self.bits.clear();
            self.dirty = false;
        }
        self.lane = 0;
        if !self.on {
            self.bits.0.fill(u64::MAX);
            let spare = self.bits.0.len() * 64 - self.entries.len();
            if let Some(last) = self.bits.0.last_mut() {
                *last >>= spare;
            }
            self.dirty = true;
            return (true, None);
        }
        let mut glance = None;
        if self.has_syslog {
            glance = glance::syslog(line, last);
            let (lane, message) = self.syslog_lane(line, &mut glance);
            self.lane = lane;
            if lane != 0 {
                self.dirty |= self.lanes[usize::from(lane)].search(message, &self.entries, &mut self.bits);
            }
        }
        if let Some(lane) = &mut self.date
            && let Some(message) = glance::date(line)
        {
            self.dirty |= lane.search(message, &self.entries, &mut self.bits);
        }
        if let Some(lane) = &mut self.line {
            self.dirty |= lane.search(line, &self.entries, &mut self.bits);
        }
        (self.dirty, glance)
    }

    /// Whether `filter` of the set is known to read the program that wrote the last line.
    #[inline]
    pub fn reads(&self, filter: usize) -> bool {
        self.lanes[usize::from(self.lane)].filters.get(filter).copied().unwrap_or(false)
    }

    /// The lane of a syslog line and its message. Lane 0: nobody reads it, or it is no syslog line.
    #[inline]
    fn syslog_lane<'l>(&mut self, line: &'l [u8], glance: &mut Option<Glance<'l>>) -> (u16, &'l [u8]) {
        if let Some(glance) = glance
            && let Some(lane) = self.idents.lane(glance.ident)
        {
            glance.known = true;
            return (lane, glance.message);
        }
        self.read_lane(line)
    }

    /// The same by the careful reading of the line; remembers the ident.
    #[cold]
    fn read_lane<'l>(&mut self, line: &'l [u8]) -> (u16, &'l [u8]) {
        let Some(framed) = FrameKind::Syslog.split(line) else { return (0, b"") };
        let Some(ident) = framed.ident else { return (0, b"") };
        let lane = self.find_lane(ident, framed.short_ident);
        // A glance never sees an RFC 5424 header, so what is cached is of the other forms.
        if !framed.short_ident {
            self.idents.remember(ident, lane);
        }
        (lane, framed.message)
    }

    fn find_lane(&mut self, ident: &[u8], short: bool) -> u16 {
        let reads = |filter: &Filter| {
            filter.frames.contains(&FrameKind::Syslog)
                && (filter.ident.is_empty() || filter.ident.iter().any(|glob| glob.fits(ident, short)))
        };
        let all = self.lanes.len() >= LANES_MAX;
        let own: Vec<u16> = (0..self.filters.len() as u16)
            .filter(|at| all || reads(&self.filters[usize::from(*at)]))
            .collect();
        if let Some(lane) = self.lane_of.get(&own) {
            return *lane;
        }
        let lane = self.lanes.len() as u16;
        let mut new = Lane::new(&own, &self.entries);
        if !all {
            new.filters = (0..self.filters.len() as u16).map(|at| own.contains(&at)).collect();
        }
        self.lanes.push(new);
        self.lane_of.insert(own, lane);
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(toml: &str, line: &str) -> Vec<String> {
        let filter = Arc::new(Filter::from_toml("x", toml, "x").unwrap());
        let (_, mut prefilter) = Prefilter::new(&[Arc::clone(&filter)], true);
        let (any, _) = prefilter.candidates(line.as_bytes(), &LastStamp::default());
        let mut at = 0;
        let mut texts = Vec::new();
        while let Some(index) = prefilter.next(at) {
            texts.push(filter.patterns[prefilter.pattern(index).1].text.clone());
            at = index + 1;
        }
        assert_eq!(any, !texts.is_empty());
        texts
    }

    #[test]
    fn overlapping_literals_hide_nothing() {
        let toml = "failregex = ['.*abcde', '.*cdefg', '.*efghij']";
        let line = "Jun  1 06:27:45 mail x[1]: abcdefghij";
        assert_eq!(found(toml, line), [".*abcde", ".*cdefg", ".*efghij"]);
    }

    #[test]
    fn a_foreign_program_and_a_foreign_beginning_propose_nothing() {
        let toml = "ident = ['sshd']\nfailregex = ['Failed .* from x', '[a-f]+ failed']";
        assert_eq!(found(toml, "Jun  1 06:27:45 mail sshd[1]: Failed abc from x").len(), 1);
        assert_eq!(found(toml, "Jun  1 06:27:45 mail sshd[1]: abc failed").len(), 1);
        assert!(found(toml, "Jun  1 06:27:45 mail imap[1]: Failed abc from x").is_empty());
        assert!(found(toml, "Jun  1 06:27:45 mail sshd[1]: zfailed").is_empty());
        assert!(found(toml, "Failed abc from x").is_empty());
    }
}
