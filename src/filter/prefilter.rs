//! Which patterns may match a line, found out at a few nanoseconds a line.
//!
//! A line is read as far as its program name; the name (through a cache) gives the line's *lane*: the filters
//! that read such lines. In the lane the message's first byte gives a *bucket*: the patterns that can begin
//! with it, for patterns are anchored at the message's start. The bucket's required literals are then searched
//! in the message, and the patterns whose literal was seen are the candidates. Most lines of a mail log end at
//! the first or second step without their text being looked at, however many filters there are. Lines that are
//! no syslog lines have two lanes of their own, for filters with the frames `date` and `line`.
//!
//! The answer is a superset: what is not proposed here cannot match; what is proposed is then matched in
//! earnest. Literals that overlap: a search that does not go back misses a literal that begins inside another
//! one's occurrence, so each literal also stands for those it can hide ([`hides`]).

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, packed};

use super::Filter;
use super::frame::{self, FrameKind};
use super::literal::{self, ByteSet, Literal};
use super::pattern::Kind;

/// Patterns of a set as bits; indices run through all filters in order, without ignoreregexes.
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
    first: ByteSet,
    may_be_empty: bool,
    /// One of them begins the message; empty: none known.
    prefixes: Vec<Vec<u8>>,
    /// One of them is in the message; empty: none known, always a candidate.
    literals: Vec<Literal>,
}

/// The prefilter of one set of filters, with its caches.
#[derive(Debug)]
pub struct Prefilter {
    filters: Vec<Arc<Filter>>,
    entries: Vec<Entry>,
    idents: Vec<CachedIdent>,
    /// Which of those that share a place goes next where there is no room.
    displaced: usize,
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
/// Idents whose lanes are remembered, and how many of them share a place.
const IDENT_SLOTS: usize = 256;
const IDENT_WAYS: usize = 4;
/// Longer idents are not remembered. Bytes.
const IDENT_BYTES_MAX: usize = 32;

#[derive(Debug, Clone, Copy)]
struct CachedIdent {
    ident: IdentKey,
    lane: u16,
}

/// All of an ident in words that are compared at once. Length 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct IdentKey {
    words: [u64; 4],
    len: u8,
}

impl IdentKey {
    /// `None`: longer than [`IDENT_BYTES_MAX`].
    #[inline]
    fn new(ident: &[u8]) -> Option<IdentKey> {
        let word = |at: usize| ident[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let len = ident.len();
        // From both ends; in the middle they overlap.
        let words = match len {
            0..8 => [ident.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0, 0, 0],
            8..16 => [word(0), word(len - 8), 0, 0],
            16..=IDENT_BYTES_MAX => [word(0), word(len - 8), word(8), word(len - 16)],
            _ => return None,
        };
        Some(IdentKey { words, len: len as u8 })
    }

    /// Its place among [`IDENT_SLOTS`].
    #[inline]
    fn slot(&self) -> usize {
        let [first, last, ..] = self.words;
        let hash = (first ^ last.rotate_left(29) ^ u64::from(self.len)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 56) as usize % (IDENT_SLOTS / IDENT_WAYS) * IDENT_WAYS
    }
}

impl Prefilter {
    /// `on`: false makes every pattern a candidate on every line, for tests that compare.
    pub fn new(filters: &[Arc<Filter>], on: bool) -> Prefilter {
        let mut entries = Vec::new();
        for (filter_index, filter) in filters.iter().enumerate() {
            for (number, pattern) in filter.patterns.iter().enumerate() {
                if pattern.kind == Kind::Ignore {
                    break;
                }
                let (first, may_be_empty, prefixes, literals) = match pattern.hir() {
                    Some(hir) => {
                        let (first, empty) = literal::first_bytes(&hir);
                        let literals = literal::required(&hir).map_or(Vec::new(), |set| set.literals);
                        (first, empty, literal::prefixes(&hir), literals)
                    }
                    None => (ByteSet::ALL, true, Vec::new(), Vec::new()),
                };
                // A pattern that can be empty begins with anything.
                let first = if may_be_empty { ByteSet::ALL } else { first };
                entries.push(Entry {
                    filter: filter_index as u16,
                    number: number as u16,
                    first,
                    may_be_empty,
                    prefixes,
                    literals,
                });
            }
        }
        assert!(entries.len() < usize::from(u16::MAX), "a log has fewer than 65,535 patterns");
        let with = |kind: FrameKind| -> Vec<u16> {
            let fits = |(_, filter): &(usize, &Arc<Filter>)| filter.frames.contains(&kind);
            filters.iter().enumerate().filter(fits).map(|(at, _)| at as u16).collect()
        };
        let lane = |kind: FrameKind| {
            Some(with(kind)).filter(|own| !own.is_empty()).map(|own| Lane::new(&own, &entries))
        };
        let bits = Bits::new(entries.len());
        Prefilter {
            date: lane(FrameKind::Date),
            line: lane(FrameKind::Line),
            has_syslog: !with(FrameKind::Syslog).is_empty(),
            lanes: vec![Lane::new(&[], &entries)],
            lane_of: HashMap::from([(Vec::new(), 0)]),
            idents: vec![CachedIdent { ident: IdentKey::default(), lane: 0 }; IDENT_SLOTS],
            displaced: 0,
            filters: filters.to_vec(),
            entries,
            lane: 0,
            bits,
            dirty: false,
            on,
        }
    }

    /// (filter, pattern in it) of pattern `index` of the set.
    #[inline]
    pub fn pattern(&self, index: usize) -> (usize, usize) {
        let entry = &self.entries[index];
        (usize::from(entry.filter), usize::from(entry.number))
    }

    /// The lowest candidate of the last line not below `from`.
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        self.bits.next(from)
    }

    /// Whether any pattern may match `line` (without its line end); [`Prefilter::next`] tells which.
    #[inline]
    pub fn candidates(&mut self, line: &[u8]) -> bool {
        if self.dirty {
            self.bits.clear();
            self.dirty = false;
        }
        if !self.on {
            self.lane = 0;
            self.bits.0.fill(u64::MAX);
            let spare = self.bits.0.len() * 64 - self.entries.len();
            if let Some(last) = self.bits.0.last_mut() {
                *last >>= spare;
            }
            self.dirty = true;
            return true;
        }
        self.lane = 0;
        if self.has_syslog {
            let (lane, message) = self.syslog_lane(line);
            self.lane = lane;
            if lane != 0 {
                self.dirty |= self.lanes[usize::from(lane)].search(message, &self.entries, &mut self.bits);
            }
        }
        if let Some(lane) = &mut self.date
            && let Some(message) = frame::glance_date(line)
        {
            self.dirty |= lane.search(message, &self.entries, &mut self.bits);
        }
        if let Some(lane) = &mut self.line {
            self.dirty |= lane.search(line, &self.entries, &mut self.bits);
        }
        self.dirty
    }

    /// Whether `filter` of the set is known to read the program that wrote the last line.
    #[inline]
    pub fn reads(&self, filter: usize) -> bool {
        self.lanes[usize::from(self.lane)].filters.get(filter).copied().unwrap_or(false)
    }

    /// The lane of a syslog line and its message. Lane 0: nobody reads it, or it is no syslog line.
    #[inline]
    fn syslog_lane<'l>(&mut self, line: &'l [u8]) -> (u16, &'l [u8]) {
        if let Some((ident, message)) = frame::glance_syslog(line)
            && let Some(ident) = IdentKey::new(ident)
        {
            let slots = &self.idents[ident.slot()..][..IDENT_WAYS];
            if let Some(cached) = slots.iter().find(|cached| cached.ident == ident) {
                return (cached.lane, message);
            }
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
        if let Some(ident) = IdentKey::new(ident).filter(|_| !framed.short_ident) {
            let slots = &mut self.idents[ident.slot()..][..IDENT_WAYS];
            let free = slots.iter().position(|slot| slot.ident.len == 0).unwrap_or_else(|| {
                self.displaced = (self.displaced + 1) % IDENT_WAYS;
                self.displaced
            });
            slots[free] = CachedIdent { ident, lane };
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

/// Filters that read the same lines.
struct Lane {
    /// By their index in the set: whether they read its lines. Empty where the lane stands for several idents.
    filters: Box<[bool]>,
    /// First byte of the message -> bucket. The last one is for an empty message.
    bucket_of: Box<[u16; 257]>,
    buckets: Vec<Bucket>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}

/// Patterns that can begin with the same byte.
struct Bucket {
    patterns: Vec<u16>,
    /// Made when a line first comes here.
    gate: Option<Box<Gate>>,
}

impl Lane {
    fn new(filters: &[u16], entries: &[Entry]) -> Lane {
        let mut lane = Lane {
            filters: Box::default(),
            bucket_of: Box::new([0; 257]),
            buckets: vec![Bucket { patterns: Vec::new(), gate: None }],
        };
        let mut known: HashMap<Vec<u16>, u16> = HashMap::from([(Vec::new(), 0)]);
        for at in 0..257usize {
            let begins = |entry: &Entry| match u8::try_from(at) {
                Ok(byte) => entry.first.contains(byte),
                Err(_) => entry.may_be_empty,
            };
            let patterns: Vec<u16> = (0..entries.len() as u16)
                .filter(|index| {
                    let entry = &entries[usize::from(*index)];
                    filters.contains(&entry.filter) && begins(entry)
                })
                .collect();
            lane.bucket_of[at] = *known.entry(patterns).or_insert_with_key(|patterns| {
                lane.buckets.push(Bucket { patterns: patterns.clone(), gate: None });
                lane.buckets.len() as u16 - 1
            });
        }
        lane
    }

    #[inline]
    fn search(&mut self, message: &[u8], entries: &[Entry], bits: &mut Bits) -> bool {
        let first = message.first().map_or(256, |byte| usize::from(*byte));
        let bucket = self.bucket_of[first];
        if bucket == 0 {
            return false;
        }
        let bucket = &mut self.buckets[usize::from(bucket)];
        let gate = match &bucket.gate {
            Some(gate) => gate,
            None => bucket.gate.insert(Box::new(Gate::new(&bucket.patterns, entries))),
        };
        gate.search(message, bits)
    }
}

/// How the patterns of a bucket are told apart: those that share their possible beginnings are a group, and
/// only a group that the message begins like is searched for.
struct Gate {
    groups: Vec<(Box<[Beginning]>, Group)>,
}

/// The first bytes of a message, eight at most: little-endian, and which of them count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Beginning {
    head: u64,
    mask: u64,
}

impl Beginning {
    fn new(text: &[u8]) -> Beginning {
        let mut head = [0; 8];
        let mut mask = [0; 8];
        for (at, byte) in text.iter().take(8).enumerate() {
            (head[at], mask[at]) = (*byte, 0xff);
        }
        Beginning { head: u64::from_le_bytes(head), mask: u64::from_le_bytes(mask) }
    }

    /// `head`: a message's, NUL where it is shorter.
    #[inline]
    fn fits(self, head: u64) -> bool {
        head & self.mask == self.head
    }
}

/// Patterns with the same beginnings, by their required literals.
struct Group {
    /// Patterns without a required literal.
    always: Vec<u16>,
    exact: Option<Searcher>,
    folded: Option<Searcher>,
}

struct Searcher {
    engine: Engine,
    /// Literal -> patterns that it, or one that it can hide, stands for.
    patterns: Vec<Box<[u16]>>,
}

enum Engine {
    One(Box<memchr::memmem::Finder<'static>>, usize),
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

impl Gate {
    fn new(patterns: &[u16], entries: &[Entry]) -> Gate {
        let mut by_beginnings: Vec<(Vec<Beginning>, Vec<u16>)> = Vec::new();
        for pattern in patterns {
            let prefixes = &entries[usize::from(*pattern)].prefixes;
            let mut beginnings: Vec<Beginning> = prefixes.iter().map(|text| Beginning::new(text)).collect();
            beginnings.sort_unstable();
            beginnings.dedup();
            match by_beginnings.iter_mut().find(|(known, _)| *known == beginnings) {
                Some((_, own)) => own.push(*pattern),
                None => by_beginnings.push((beginnings, vec![*pattern])),
            }
        }
        let group = |(beginnings, own): (Vec<Beginning>, Vec<u16>)| {
            let known = !beginnings.is_empty();
            (beginnings.into(), Group::new(&own, entries, known))
        };
        Gate { groups: by_beginnings.into_iter().map(group).collect() }
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        let head = match message.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => Beginning::new(message).head,
        };
        let mut any = false;
        for (beginnings, group) in &self.groups {
            if beginnings.is_empty() || beginnings.iter().any(|beginning| beginning.fits(head)) {
                any |= group.search(message, bits);
            }
        }
        any
    }
}

/// So few patterns with a known beginning are tried without a search for their literals.
const TRIED_AT_ONCE: usize = 2;

impl Group {
    fn new(patterns: &[u16], entries: &[Entry], begins: bool) -> Group {
        if begins && patterns.len() <= TRIED_AT_ONCE {
            return Group { always: patterns.to_vec(), exact: None, folded: None };
        }
        let literals = |folded: bool| {
            let mut of: Vec<(Vec<u8>, Vec<u16>)> = Vec::new();
            for pattern in patterns {
                for literal in &entries[usize::from(*pattern)].literals {
                    if literal.folded != folded {
                        continue;
                    }
                    match of.iter_mut().find(|(bytes, _)| *bytes == literal.bytes) {
                        Some((_, own)) => own.push(*pattern),
                        None => of.push((literal.bytes.clone(), vec![*pattern])),
                    }
                }
            }
            of
        };
        let always = patterns.iter().copied().filter(|at| entries[usize::from(*at)].literals.is_empty());
        Group {
            always: always.collect(),
            exact: Searcher::new(&literals(false), false),
            folded: Searcher::new(&literals(true), true),
        }
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        self.always.iter().for_each(|at| bits.set(*at));
        let mut any = !self.always.is_empty();
        if let Some(searcher) = &self.exact {
            any |= searcher.search(message, bits);
        }
        if let Some(searcher) = &self.folded {
            any |= searcher.search(message, bits);
        }
        any
    }
}

/// Above this many literals the packed searcher and its few buckets are slower than an automaton.
const PACKED_MAX: usize = 64;

impl Searcher {
    fn new(literals: &[(Vec<u8>, Vec<u16>)], folded: bool) -> Option<Searcher> {
        if literals.is_empty() {
            return None;
        }
        let patterns = literals
            .iter()
            .map(|(bytes, own)| {
                let hidden = literals.iter().filter(|(other, _)| other != bytes && hides(bytes, other));
                let mut all: Vec<u16> = own.iter().chain(hidden.flat_map(|(_, own)| own)).copied().collect();
                all.sort_unstable();
                all.dedup();
                all.into()
            })
            .collect();
        let texts = || literals.iter().map(|(bytes, _)| bytes);
        let packed = || {
            let mut builder = packed::Config::new().match_kind(packed::MatchKind::LeftmostFirst).builder();
            builder.extend(texts()).build().map(Engine::Packed)
        };
        let engine = match literals {
            [(one, _)] if !folded => {
                Some(Engine::One(Box::new(memchr::memmem::Finder::new(one).into_owned()), one.len()))
            }
            _ if !folded && literals.len() <= PACKED_MAX => packed(),
            _ => None,
        };
        let engine = engine.or_else(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .ascii_case_insensitive(folded)
                .kind(Some(AhoCorasickKind::DFA))
                .build(texts())
                .map(Engine::Automaton)
                .ok()
        })?;
        Some(Searcher { engine, patterns })
    }

    #[inline]
    fn search(&self, message: &[u8], bits: &mut Bits) -> bool {
        let mut any = false;
        let mut seen = |literal: usize| {
            self.patterns[literal].iter().for_each(|at| bits.set(*at));
            any = true;
        };
        match &self.engine {
            Engine::One(finder, len) => {
                if message.len() >= *len && finder.find(message).is_some() {
                    seen(0);
                }
            }
            Engine::Packed(searcher) => {
                searcher.find_iter(message).for_each(|found| seen(found.pattern().as_usize()));
            }
            Engine::Automaton(automaton) => {
                automaton.find_iter(message).for_each(|found| seen(found.pattern().as_usize()));
            }
        }
        any
    }
}

/// Whether an occurrence of `a`, once found, can keep an occurrence of `b` from being found: `b` begins inside
/// it. (One that begins before it is found first.)
fn hides(a: &[u8], b: &[u8]) -> bool {
    (0..a.len()).any(|at| {
        let shared = (a.len() - at).min(b.len());
        a[at..at + shared] == b[..shared]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_is_told_from_every_other_one() {
        let text = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut keys = Vec::new();
        for len in 1..=IDENT_BYTES_MAX {
            let mut ident = text[..len].to_vec();
            keys.push(IdentKey::new(&ident).unwrap());
            for at in 0..len {
                ident[at] ^= 1;
                keys.push(IdentKey::new(&ident).unwrap());
                ident[at] ^= 1;
            }
        }
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key) && key.slot() + IDENT_WAYS <= IDENT_SLOTS);
        }
        assert_eq!(IdentKey::new(&text[..IDENT_BYTES_MAX + 1]), None);
    }

    #[test]
    fn a_literal_stands_for_those_it_can_hide() {
        assert!(hides(b"abcd", b"cde"));
        assert!(hides(b"abcd", b"bc"));
        assert!(hides(b"abc", b"abcd"));
        assert!(hides(b"abcd", b"abc"));
        assert!(!hides(b"abcd", b"xab"));
        assert!(!hides(b"abcd", b"ac"));
    }

    fn found(toml: &str, line: &str) -> Vec<String> {
        let filter = Arc::new(Filter::from_toml("x", toml, "x").unwrap());
        let mut prefilter = Prefilter::new(&[Arc::clone(&filter)], true);
        let any = prefilter.candidates(line.as_bytes());
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
