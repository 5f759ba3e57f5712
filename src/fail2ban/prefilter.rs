//! Which filters of a log a line may matter to: one search for all the texts that their regexes ask for.
//!
//! Sound because a line without the date is never searched for what its regex does not hold: the texts are sought in the
//! line as it stands, and where the date was cut out of the middle, also in what its two sides make together
//! ([`Prefilter::joined`]).
//!
//! A filter that looks at several lines together is called by a text in any of the lines that it may hold: no text asked
//! for has a newline in it, so each stands in one line. After a match it is asked about all of them
//! ([`Prefilter::matched`]).

use std::collections::BTreeMap;

use super::matcher::Program;
use crate::filter::literal::Literal;
use crate::filter::prefilter::{Asked, Sieve, Texts};

/// Texts of all filters of one log, and what each of them calls for.
#[derive(Debug)]
pub struct Prefilter {
    /// `None`: no filter asks for any text.
    texts: Option<Texts>,
    /// By text: whom it calls.
    calls: Vec<Vec<Call>>,
    filters: Vec<Asks>,
    /// Filters to be asked about on every line: no text calls them, or one of an earlier line may.
    always: Vec<usize>,
    /// The longest text less one. Bytes.
    reach: usize,
}

/// A text stands in the line that this regex of this filter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    filter: usize,
    /// [`PREFREGEX`], or the failregex counted from 1.
    part: usize,
    /// Of the set that the text is of.
    bit: u8,
}

const PREFREGEX: usize = 0;

/// What the regexes of a filter ask for.
#[derive(Debug)]
struct Asks {
    /// By part: the bits of all its sets; 0: it asks for no text.
    parts: Vec<u8>,
    /// Some failregex asks for none, so that only prefregex can spare the filter a line.
    open: bool,
    /// For so many lines a text counts: 1 unless the filter looks at several together.
    lines: u64,
}

/// What stands in the lines of one log, up to the one in hand. Reused from line to line: an entry is the number of the last
/// line in which that text stood.
///
/// A log begins at line 1 with every entry 0, so that a filter of several lines is tried on the first ones: what it
/// remembers may have been put back.
#[derive(Debug, Default)]
pub struct Marks {
    line: u64,
    /// By filter and part.
    parts: Vec<Vec<Seen>>,
    /// By filter: the last line that had all that some failregex asks for.
    any: Vec<u64>,
    /// By filter: the last line in which any text for it stood.
    touched: Vec<u64>,
    /// Those of the line in hand.
    called: Vec<usize>,
    /// Up to this line, a text that stood in an earlier one may still call a filter of several lines.
    until: u64,
    joined: Vec<u8>,
}

/// What stood there of the texts that one regex asks for.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The last line that had any of them, and the bits of those sets.
    line: u64,
    bits: u8,
    /// The last line that had all.
    whole: u64,
}

impl Prefilter {
    /// The prefilter of lines, and the sieve that goes before it. `on` false: every part may match every line.
    pub fn new<'p>(programs: impl Iterator<Item = &'p Program>, on: bool) -> (Sieve, Prefilter) {
        let mut asked = Vec::new();
        let mut calls: BTreeMap<Literal, Vec<Call>> = BTreeMap::new();
        let mut filters = Vec::new();
        for (filter, program) in programs.enumerate() {
            let (prefregex, failregex) = program.required();
            let lines = program.maxlines();
            // What prefregex hands on may be text of several lines taken for one.
            if !on || lines > 1 && program.has_prefregex() {
                filters.push(Asks { parts: vec![0; failregex.len() + 1], open: true, lines: 1 });
                asked.push(Asked { lines: Vec::new(), patterns: vec![Vec::new()] });
                continue;
            }
            // Of several lines, each may hold another of the texts.
            let sets_max = if lines > 1 { 1 } else { usize::MAX };
            // The sieve looks at bytes.
            let kept = |text: &Literal| {
                let bytes = program.encoding().kept(&text.bytes).to_vec();
                Literal { bytes, folded: text.folded }
            };
            let exact = |sets: &Vec<Vec<Literal>>| {
                sets.iter().take(sets_max).map(|set| set.iter().map(kept).collect()).collect()
            };
            asked.push(Asked { lines: exact(&prefregex), patterns: failregex.iter().map(exact).collect() });
            let mut parts = Vec::new();
            for (part, sets) in std::iter::once(prefregex).chain(failregex).enumerate() {
                let mut bits = 0;
                for (number, texts) in sets.into_iter().take(sets_max).enumerate() {
                    let call = Call { filter, part, bit: 1 << number };
                    bits |= call.bit;
                    for text in texts {
                        let calls = calls.entry(text).or_default();
                        if !calls.contains(&call) {
                            calls.push(call);
                        }
                    }
                }
                parts.push(bits);
            }
            let open = parts[PREFREGEX + 1..].contains(&0);
            filters.push(Asks { parts, open, lines: lines as u64 });
        }
        let reach = calls.keys().map(|text| text.bytes.len()).max().unwrap_or(1) - 1;
        let texts = Texts::new(calls.keys()).filter(|_| !calls.is_empty());
        if texts.is_none() {
            // Nothing to search for; or too much, and then every line is looked at.
            for asks in &mut filters {
                asks.open = true;
                asks.parts.fill(0);
            }
        }
        let uncalled = |asks: &Asks| asks.lines > 1 || asks.open && asks.parts[PREFREGEX] == 0;
        let always = (0..filters.len()).filter(|at| uncalled(&filters[*at])).collect();
        let sieve = Sieve::new(&asked, on && texts.is_some());
        (sieve, Prefilter { texts, calls: calls.into_values().collect(), filters, always, reach })
    }

    /// Begins a line: finds what stands in it.
    pub fn begin(&self, marks: &mut Marks, text: &[u8]) {
        if marks.parts.len() != self.filters.len() {
            *marks = Marks {
                any: vec![0; self.filters.len()],
                touched: vec![0; self.filters.len()],
                parts: self.filters.iter().map(|asks| vec![Seen::default(); asks.parts.len()]).collect(),
                until: self.filters.iter().map(|asks| asks.lines - 1).max().unwrap_or(0),
                ..Marks::default()
            };
        }
        marks.line += 1;
        marks.called.clear();
        self.search(marks, text);
    }

    /// Takes `count` lines in which no text stands that is asked for.
    pub fn skip(&self, marks: &mut Marks, count: u64) {
        marks.line += count;
    }

    /// Whether the next line has to be looked at whatever stands in it.
    pub fn is_held(&self, marks: &Marks) -> bool {
        marks.line < marks.until
    }

    /// The date at `stamp` is cut out: what only its two sides make together stands in the line, too.
    pub fn joined(&self, marks: &mut Marks, text: &[u8], stamp: (usize, usize)) {
        let (before, after) = (&text[..stamp.0], &text[stamp.1..]);
        if before.is_empty() || after.is_empty() || self.reach == 0 {
            return;
        }
        let mut joined = std::mem::take(&mut marks.joined);
        joined.clear();
        joined.extend_from_slice(&before[before.len().saturating_sub(self.reach)..]);
        joined.extend_from_slice(&after[..after.len().min(self.reach)]);
        self.search(marks, &joined);
        marks.joined = joined;
    }

    fn search(&self, marks: &mut Marks, text: &[u8]) {
        let Some(texts) = &self.texts else { return };
        texts.all(text, |found| {
            for Call { filter, part, bit } in self.calls[found].iter().copied() {
                let seen = &mut marks.parts[filter][part];
                if seen.line != marks.line {
                    (seen.line, seen.bits) = (marks.line, 0);
                }
                seen.bits |= bit;
                if seen.bits == self.filters[filter].parts[part] {
                    seen.whole = marks.line;
                    if part != PREFREGEX {
                        marks.any[filter] = marks.line;
                    }
                }
                if marks.touched[filter] != marks.line {
                    marks.touched[filter] = marks.line;
                    marks.called.push(filter);
                    marks.until = marks.until.max(marks.line + self.filters[filter].lines - 1);
                }
            }
        });
    }

    /// The filters of which some failregex may match the line, in no order; some may come twice.
    pub fn candidates<'m>(&'m self, marks: &'m Marks) -> impl Iterator<Item = usize> + 'm {
        let asked = self.always.iter().chain(&marks.called).copied();
        asked.filter(|filter| self.may_match(marks, *filter))
    }

    /// `filter` matched in the line in hand. What it still holds of the lines before may stay longer than they would have
    /// otherwise, since those that matched made room: it is asked about every line until they are gone.
    pub fn matched(&self, marks: &mut Marks, filter: usize) {
        let lines = self.filters[filter].lines;
        if lines > 1 {
            marks.parts[filter].iter_mut().for_each(|seen| seen.whole = marks.line);
            marks.any[filter] = marks.line;
            marks.until = marks.until.max(marks.line + lines - 1);
        }
    }

    /// Whether any failregex of `filter` may match the line, or those that it holds with it.
    pub fn may_match(&self, marks: &Marks, filter: usize) -> bool {
        let asks = &self.filters[filter];
        let stands = |line: u64| line + asks.lines > marks.line;
        (asks.parts[PREFREGEX] == 0 || stands(marks.parts[filter][PREFREGEX].whole))
            && (asks.open || stands(marks.any[filter]))
    }

    /// Whether failregex `number` of `filter` may.
    pub fn may_try(&self, marks: &Marks, filter: usize, number: usize) -> bool {
        let (asks, part) = (&self.filters[filter], number + 1);
        asks.parts[part] == 0 || marks.parts[filter][part].whole + asks.lines > marks.line
    }
}
