//! Which template finds the date of a line, and what it means.
//!
//! The order templates are tried in changes with the log: what was found last is tried first and at its old
//! place, a template that finds its stamp further right than before gives way to another one, and one that is
//! hit often moves up. All this decides which of several stamps in a line counts, so it is kept to the letter.

mod outline;
mod reach;
mod strptime;
mod template;
mod usual;
mod zones;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub use strptime::Surroundings;
pub use template::{DateError, DateMatch};
use template::{LINE_BEGIN, Template};
use usual::{DEFAULTS, defaults, replace_date, shared};
pub use zones::offset_minutes;

/// A template not used this long gives its place away. Seconds.
const UNUSED_SECS: i64 = 300;
const FAR: usize = usize::MAX;

/// One template's record on a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// Its number in [`Dates`].
    template: usize,
    hits: u64,
    last_used: Timestamp,
    /// Where it matched last. Characters from the line's begin.
    distance: usize,
    /// Matches, also those that did not win.
    matches: u64,
}

impl Entry {
    fn weight(&self, dates: &Dates) -> f64 {
        self.hits as f64 * self.template(dates).weight / (self.distance.max(1) as f64)
    }

    fn template<'d>(&self, dates: &'d Dates) -> &'d Template {
        &dates.templates[self.template]
    }

    fn find(&mut self, dates: &Dates, line: &str, start: usize, end: usize) -> Option<DateMatch> {
        let template = self.template(dates);
        if template.is_ruled_out(line) {
            return None;
        }
        let found = template.find(line, start, end);
        self.matches += u64::from(found.is_some());
        found.map(|found| found.of_template(self.template))
    }

    /// The same where the place is known from the line before: without the groups, if that will do.
    fn find_again(&mut self, dates: &Dates, line: &str, start: usize, end: usize) -> Option<DateMatch> {
        if (start, end) == (0, line.len())
            && let Some((found, _)) = self.template(dates).known(line)
        {
            self.matches += 1;
            return Some(found.of_template(self.template));
        }
        match self.template(dates).find_bounds(line, start, end) {
            Some(found) => {
                self.matches += u64::from(found.is_some());
                found.map(|found| found.of_template(self.template))
            }
            None => self.find(dates, line, start, end),
        }
    }
}

/// The templates of one `datepattern`, compiled.
#[derive(Debug)]
pub struct Dates {
    templates: Vec<Arc<Template>>,
}

/// Where one log's dates were found so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DateState {
    /// In the order in which they are tried.
    entries: Vec<Entry>,
    last: Option<Last>,
    first_unused: usize,
    #[serde(skip)]
    memo: Option<Memo>,
    /// Memos made so far.
    #[serde(skip)]
    memos: u64,
    /// No template finds anything in a line that begins so.
    #[serde(skip)]
    dateless: Option<Vec<u8>>,
    /// The begin of the last line without a date.
    #[serde(skip)]
    without: Vec<u8>,
}

/// Lines without a date that begin with so much of the same are taken to go on so. Bytes.
const ALIKE_BYTES: usize = 8;

/// What the template that found the last date says of any line that begins with `head`: lines of one second mostly differ
/// only after what decides about the date.
#[derive(Debug, Clone)]
struct Memo {
    head: Vec<u8>,
    /// Of the template's entry.
    index: usize,
    found: DateMatch,
}

/// The last match: where it lay, in characters from the line's begin, and what stood around it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Last {
    index: usize,
    start: usize,
    before_start: Option<char>,
    at_start: Option<char>,
    end: usize,
    before_end: Option<char>,
    at_end: Option<char>,
}

/// How many characters stand before byte `at`.
fn column(line: &str, at: usize) -> usize {
    let before = &line[..at];
    if before.is_ascii() { at } else { before.chars().count() }
}

/// The byte at which character `column` begins; the length of `line` for the one after its last; `None` beyond.
fn byte_of(line: &str, column: usize) -> Option<usize> {
    match line.as_bytes().get(..column) {
        Some(before) if before.is_ascii() => Some(column),
        _ => line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(column),
    }
}

fn char_before(line: &str, at: usize) -> Option<char> {
    line.get(..at)?.chars().next_back()
}

fn char_at(line: &str, at: usize) -> Option<char> {
    line.get(at..)?.chars().next()
}

impl Dates {
    /// `datepattern` as a filter has it, one pattern a line; `None`: the default ones. `decade_max`: see [`decade_max`].
    pub fn new(datepattern: Option<&str>, decade_max: u8) -> Result<Dates, DateError> {
        let mut dates = Dates { templates: Vec::new() };
        for pattern in datepattern.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty())
        {
            let key = if pattern.contains('%') { pattern.to_owned() } else { pattern.to_uppercase() };
            match key.as_str() {
                LINE_BEGIN => {
                    for template in defaults(decade_max)?.into_iter().filter(|template| template.line_begin) {
                        dates.add(template);
                    }
                }
                // fail2ban adds nothing here: alone it means the defaults, beside others nothing.
                "{DEFAULT}" => {}
                "{NONE}" => dates.add(shared("{UNB}^", decade_max, 1.0)?),
                key if key.contains("{DATE}") => {
                    for (number, default) in DEFAULTS.into_iter().enumerate() {
                        let pattern = replace_date(pattern, &template::unbound(default));
                        let template = shared(&pattern, decade_max, 1.0)?;
                        // What stands around the date is the same in all.
                        if number == 0 {
                            template.check()?;
                        }
                        dates.add(template);
                    }
                }
                _ => {
                    let template = shared(pattern, decade_max, 1.0)?;
                    template.check()?;
                    dates.add(template);
                }
            }
        }
        if dates.templates.is_empty() {
            for template in defaults(decade_max)? {
                dates.add(template);
            }
        }
        Ok(dates)
    }

    fn add(&mut self, template: Arc<Template>) {
        if !self.templates.iter().any(|known| known.name == template.name) {
            self.templates.push(template);
        }
    }

    /// The pattern that a match is of.
    pub fn template_name(&self, found: &DateMatch) -> &str {
        &self.templates[found.template].name
    }

    /// The moment that a match in `line` means; `None` if it means none.
    pub fn moment(&self, line: &str, found: &DateMatch, around: &Surroundings) -> Option<Timestamp> {
        self.templates[found.template].moment(line, found, around)
    }
}

impl DateState {
    pub fn new(dates: &Dates) -> DateState {
        let entry = |template| Entry {
            template,
            hits: 0,
            last_used: Timestamp::default(),
            distance: FAR,
            matches: 0,
        };
        DateState {
            entries: (0..dates.templates.len()).map(entry).collect(),
            last: None,
            first_unused: 0,
            memo: None,
            memos: 0,
            dateless: None,
            without: Vec::new(),
        }
    }

    /// Whether every number in here stands for something: a stored state may be of older patterns.
    pub fn fits(&self, dates: &Dates) -> bool {
        let count = dates.templates.len();
        let mut seen = vec![false; count];
        self.entries.len() == count
            && self
                .entries
                .iter()
                .all(|entry| seen.get_mut(entry.template).is_some_and(|seen| !std::mem::replace(seen, true)))
            && self.first_unused <= count
            && self.last.is_none_or(|last| last.index < count && last.start <= last.end)
    }

    /// The date of `line`; `None` if no template finds one.
    pub fn find(&mut self, dates: &Dates, line: &str, now: Timestamp) -> Option<DateMatch> {
        if let Some(found) = self.repeat(line, now, None) {
            return Some(found.again_in(line));
        }
        if self.dateless.as_ref().is_some_and(|head| line.as_bytes().starts_with(head)) {
            return None;
        }
        match self.find_afresh(dates, line, now) {
            Some(mut found) => {
                self.memorize(dates, line, &mut found);
                Some(found)
            }
            None => {
                self.note_dateless(dates, line);
                None
            }
        }
    }

    /// Notes how `line` begins, in which no template found anything, once there was another such line that begins alike.
    fn note_dateless(&mut self, dates: &Dates, line: &str) {
        let begin = &line.as_bytes()[..line.len().min(ALIKE_BYTES)];
        if self.without == begin {
            let mut reach = dates.templates.iter().map(|template| template.rules_out(line));
            self.dateless = reach
                .try_fold(0, |most, reach| Some(reach?.max(most)))
                .map(|reach| line.as_bytes()[..reach].to_vec());
        }
        self.without.clear();
        self.without.extend_from_slice(begin);
    }

    /// How many bytes at the begin of `line`, the last one that was searched, decide about its date: each line that begins
    /// with them has the same, or none as `line` has none. `None`: not known.
    pub fn decided(&self, line: &str) -> Option<(usize, Option<&DateMatch>)> {
        let begins = |head: &Vec<u8>| line.as_bytes().starts_with(head).then_some(head.len());
        if let Some(memo) = &self.memo
            && let Some(len) = begins(&memo.head)
        {
            return Some((len, Some(&memo.found)));
        }
        Some((self.dateless.as_ref().and_then(begins)?, None))
    }

    /// The date of a line that begins as the one before did, so that it need not be searched. `same`: only this one.
    pub fn repeat(&mut self, line: &str, now: Timestamp, same: Option<u64>) -> Option<&DateMatch> {
        let memo = self.memo.as_ref()?;
        if same.is_some_and(|same| same != memo.found.same) || !line.as_bytes().starts_with(&memo.head) {
            return None;
        }
        Self::hit(&mut self.entries[memo.index], now, 1);
        Some(&memo.found)
    }

    /// [`DateState::repeat`] of `times` lines.
    pub fn repeat_times(&mut self, now: Timestamp, times: u64) {
        if let Some(memo) = &self.memo {
            Self::hit(&mut self.entries[memo.index], now, times);
        }
    }

    /// What the long way would do: the last template is tried first, is bound to the line's begin and so wins, and finds
    /// what it found before. All else that is remembered of it is the same already.
    fn hit(entry: &mut Entry, now: Timestamp, times: u64) {
        entry.matches += times;
        entry.hits += times;
        entry.last_used = now;
    }

    /// What [`DateState::repeat`] said of the last line, as of `line`.
    pub fn repeated(&self, line: &str) -> Option<DateMatch> {
        self.memo.as_ref().map(|memo| memo.found.again_in(line))
    }

    /// Begins a memo if the template in [`DateState::last`] wins by itself in every line in which it matches.
    fn memorize(&mut self, dates: &Dates, line: &str, found: &mut DateMatch) {
        self.memo = None;
        let Some(index) = self.last.map(|last| last.index) else { return };
        let template = self.entries[index].template(dates);
        if found.template != self.entries[index].template || !template.anchored {
            return;
        }
        let len = match template.known(line) {
            Some((_, len)) => len,
            None => {
                let Some(reach) = template.reach(line) else { return };
                let next = char_at(line, found.end).map_or(0, char::len_utf8);
                let len = reach.max(found.end + next);
                template.note(&line.as_bytes()[..len], found);
                len
            }
        };
        self.memos += 1;
        found.same = self.memos;
        let head = line.as_bytes()[..len].to_vec();
        self.memo = Some(Memo { head, index, found: found.again_in(line) });
    }

    fn find_afresh(&mut self, dates: &Dates, line: &str, now: Timestamp) -> Option<DateMatch> {
        let mut winner = None;
        let mut best: Option<(DateMatch, usize)> = None;
        let mut tried = FAR;
        if let Some(last) = self.last {
            let single = self.entries.len() == 1;
            let entry = &mut self.entries[last.index];
            let anchored = entry.template(dates).anchored;
            let found = if anchored {
                tried = last.index;
                entry.find_again(dates, line, 0, line.len())
            } else if let Some((start, end)) = last.same_bounds(line) {
                entry.find_again(dates, line, start, end)
            } else {
                tried = last.index;
                entry.find_again(dates, line, 0, line.len())
            };
            match found {
                Some(found)
                    if single
                        || anchored
                        || (column(line, found.start), column(line, found.end)) == (last.start, last.end) =>
                {
                    winner = Some((found, last.index));
                }
                Some(found) => best = Some((found, last.index)),
                None => {}
            }
        }
        if winner.is_none() {
            winner = self.search(dates, line, tried, &mut best);
        }
        let (found, index) = winner.or(best)?;
        let entry = &mut self.entries[index];
        entry.hits += 1;
        entry.last_used = now;
        let (start, end) = (column(line, found.start), column(line, found.end));
        entry.distance = start;
        if self.first_unused == index {
            self.first_unused += 1;
        }
        let moves = index != 0 && self.last.is_none_or(|last| last.index != index);
        let index = if moves { self.reorder(dates, index) } else { index };
        self.last = Some(Last {
            index,
            start,
            before_start: char_before(line, found.start),
            at_start: char_at(line, found.start),
            end,
            before_end: char_before(line, found.end),
            at_end: char_at(line, found.end),
        });
        Some(found)
    }

    fn search(
        &mut self,
        dates: &Dates,
        line: &str,
        tried: usize,
        best: &mut Option<(DateMatch, usize)>,
    ) -> Option<(DateMatch, usize)> {
        let last_start = self.last.map_or(1, |last| last.start);
        let count = self.entries.len();
        for index in (0..count).filter(|&index| index != tried) {
            let Some(found) = self.entries[index].find(dates, line, 0, line.len()) else { continue };
            let entry = &self.entries[index];
            let next_unused = index + 1 < count && self.entries[index + 1].matches == 0;
            let settled = index + 1 >= count
                || entry.template(dates).anchored
                || (found.start == 0 && entry.hits > 0 && next_unused);
            let distance = column(line, found.start);
            if !settled && (distance > entry.distance || distance > last_start) {
                // Perhaps it stands in the body of the message: keep the leftmost, and look on.
                if best.as_ref().is_none_or(|(best, _)| found.start < best.start) {
                    *best = Some((found, index));
                }
                continue;
            }
            return Some((found, index));
        }
        None
    }

    /// Moves a template that is hit more towards the front; its new index.
    fn reorder(&mut self, dates: &Dates, index: usize) -> usize {
        let (weight, used) =
            (self.entries[index].weight(dates), self.entries[index].last_used.secs() - UNUSED_SECS);
        let movable = |to: usize, entries: &[Entry]| {
            weight > entries[to].weight(dates) || used > entries[to].last_used.secs()
        };
        let mut to = if self.first_unused < index { self.first_unused } else { index / 2 };
        if !movable(to, &self.entries) {
            if to == index - 1 {
                return index;
            }
            to = index - 1;
            if !movable(to, &self.entries) {
                return index;
            }
        }
        let entry = self.entries.remove(index);
        self.entries.insert(to, entry);
        while self.entries.get(self.first_unused).is_some_and(|entry| entry.hits > 0) {
            self.first_unused += 1;
        }
        to
    }
}

impl Last {
    /// The old place as a range of bytes, if the signs around it are the same, so that only this place need be
    /// searched.
    fn same_bounds(&self, line: &str) -> Option<(usize, usize)> {
        let inner = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let around = |at: Option<usize>| match at {
            Some(at) => (char_before(line, at), char_at(line, at)),
            None => (None, None),
        };
        let (start, end) = (byte_of(line, self.start), byte_of(line, self.end));
        let ((before_start, at_start), (before_end, at_end)) = (around(start), around(end));
        let same = (before_start == self.before_start || (at_start == self.at_start && inner(at_start)))
            && (at_end == self.at_end || (before_end == self.before_end && inner(before_end)));
        same.then_some((start.unwrap_or(line.len()), end.unwrap_or(line.len())))
    }
}

/// The last decade of 20xx that `%ExY` takes: the years reach to three years after `now`.
pub fn decade_max(now: Timestamp) -> u8 {
    let year = 1970 + now.secs() / 31_556_952;
    ((year + 3 - 2000) / 10).clamp(2, 9) as u8
}

#[cfg(test)]
mod tests;
