//! Which filters of a log a line may matter to: one search for all the texts that their regexes ask for.
//!
//! Sound because a line without the date is never searched for what its regex does not hold: the texts are sought in the
//! line as it stands, and where the date was cut out of the middle, also in what its two sides make together
//! ([`Marks::joined`]). Case is not told apart, which only lets more lines through.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

use super::matcher::{Program, Required};

/// Texts of all filters of one log, and what each of them calls for.
#[derive(Debug)]
pub struct Prefilter {
    /// `None`: no filter asks for any text.
    texts: Option<AhoCorasick>,
    /// By text: whom it calls.
    calls: Vec<Vec<Call>>,
    filters: Vec<Asks>,
    /// The longest text less one. Bytes.
    reach: usize,
}

/// A text stands in the line: this part of this filter may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Prefregex(usize),
    Failregex(usize, usize),
}

/// Which parts of a filter ask for a text.
#[derive(Debug)]
struct Asks {
    prefregex: bool,
    failregex: Vec<bool>,
    /// Some failregex asks for none, so that only prefregex can spare the filter a line.
    open: bool,
}

/// What stands in the line in hand. Reused from line to line: an entry counts if it holds the line's number.
#[derive(Debug, Default)]
pub struct Marks {
    line: u64,
    prefregex: Vec<u64>,
    failregex: Vec<Vec<u64>>,
    any: Vec<u64>,
    joined: Vec<u8>,
}

impl Prefilter {
    /// `on` false: every part may match every line.
    pub fn new<'p>(programs: impl Iterator<Item = &'p Program>, on: bool) -> Prefilter {
        let mut calls: BTreeMap<Vec<u8>, Vec<Call>> = BTreeMap::new();
        let mut add = |required: Required, call: Call| match required {
            Some(literals) => {
                for literal in literals {
                    calls.entry(literal.bytes.to_ascii_lowercase()).or_default().push(call);
                }
                true
            }
            None => false,
        };
        let mut filters = Vec::new();
        for (filter, program) in programs.enumerate() {
            let (prefregex, failregex) = program.required();
            if !on || program.sees_all() {
                let failregex = vec![false; failregex.len()];
                filters.push(Asks { prefregex: false, failregex, open: true });
                continue;
            }
            let prefregex = add(prefregex, Call::Prefregex(filter));
            let failregex = failregex.into_iter().enumerate();
            let failregex: Vec<bool> =
                failregex.map(|(number, texts)| add(texts, Call::Failregex(filter, number))).collect();
            let open = failregex.iter().any(|asks| !asks);
            filters.push(Asks { prefregex, failregex, open });
        }
        let reach = calls.keys().map(Vec::len).max().unwrap_or(1) - 1;
        let built = AhoCorasick::builder().ascii_case_insensitive(true).build(calls.keys());
        match built {
            Ok(texts) if !calls.is_empty() => {
                Prefilter { texts: Some(texts), calls: calls.into_values().collect(), filters, reach }
            }
            // Nothing to search for; or too much, and then every line is looked at.
            _ => {
                for asks in &mut filters {
                    asks.open = true;
                    asks.prefregex = false;
                    asks.failregex.fill(false);
                }
                Prefilter { texts: None, calls: Vec::new(), filters, reach: 0 }
            }
        }
    }

    /// Begins a line: finds what stands in it.
    pub fn begin(&self, marks: &mut Marks, text: &[u8]) {
        if marks.failregex.len() != self.filters.len() {
            *marks = Marks {
                prefregex: vec![0; self.filters.len()],
                any: vec![0; self.filters.len()],
                failregex: self.filters.iter().map(|asks| vec![0; asks.failregex.len()]).collect(),
                ..Marks::default()
            };
        }
        marks.line += 1;
        self.search(marks, text);
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
        for found in texts.find_overlapping_iter(text) {
            for call in &self.calls[found.pattern().as_usize()] {
                match *call {
                    Call::Prefregex(filter) => marks.prefregex[filter] = marks.line,
                    Call::Failregex(filter, number) => {
                        marks.failregex[filter][number] = marks.line;
                        marks.any[filter] = marks.line;
                    }
                }
            }
        }
    }

    /// Whether any failregex of `filter` may match the line.
    pub fn may_match(&self, marks: &Marks, filter: usize) -> bool {
        let asks = &self.filters[filter];
        (!asks.prefregex || marks.prefregex[filter] == marks.line)
            && (asks.open || marks.any[filter] == marks.line)
    }

    /// Whether failregex `number` of `filter` may.
    pub fn may_try(&self, marks: &Marks, filter: usize, number: usize) -> bool {
        !self.filters[filter].failregex[number] || marks.failregex[filter][number] == marks.line
    }
}
