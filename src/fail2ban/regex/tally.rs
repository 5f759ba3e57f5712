//! Lines through a filter, and which of its patterns fit how often.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::fail2ban::matcher::{
    CalendarState, Cut, Hit, Line, MatcherError, Memory, Outcome, Pace, Part, Program, Rules,
};
use crate::time::Timestamp;

/// The filter at work, and its counts so far.
pub struct Tally {
    program: Program,
    calendar: CalendarState,
    memory: Memory,
    now: Timestamp,
    /// To ask every pattern about a line, not only up to the first that fits: the same filter, in which lines that are
    /// no failure by themselves carry [`SEEN`] instead. `None`: only the first counts.
    each: Option<Program>,
    /// Tells whether `prefregex` fits, whatever follows it.
    prefix: Option<Program>,
    /// One for each ignoreregex, to tell which it was.
    ignoring: Vec<Program>,
    pub prefregex_hits: u64,
    pub failregex_hits: Vec<u64>,
    pub ignoreregex_hits: Vec<u64>,
    /// By template, as often as it found a date, in the order in which they were first of use.
    pub date_hits: Vec<(String, u64)>,
    /// Searches given up.
    pub overruns: u64,
    pub matched: u64,
    pub ignored: u64,
    pub missed: u64,
}

/// The tags that make a line no failure, and what they are called where that is to be seen.
const SEEN: &[(&str, &str, &str)] =
    &[("F-NOFAIL>", "F-NOFAILSEEN>", "nofailseen"), ("F-MLFGAINED>", "F-GAINEDSEEN>", "gainedseen")];

/// What a line is counted as.
pub enum Fate {
    /// `None`: a failure whose address a later line may tell.
    Matched(Option<Box<Hit>>),
    Ignored,
    Missed,
}

impl Tally {
    /// Compiles the filter.
    ///
    /// # Errors
    /// The first part that fail2ban would refuse, or that is not read here.
    pub fn new(rules: Rules, zone: Tz, now: Timestamp, check_all: bool) -> Result<Tally, MatcherError> {
        let program = Program::new(&rules, zone, now)?.with_raw_names();
        let alone = |rules: Rules| Program::new(&Rules { maxlines: 1, ..rules }, zone, now);
        let anything = || vec!["^<F-ID>.*</F-ID>".to_owned()];
        let prefix = match &rules.prefregex {
            Some(_) => {
                let only = Rules { failregex: anything(), ignoreregex: Vec::new(), ..rules.clone() };
                Some(alone(only)?)
            }
            None => None,
        };
        let one = |pattern: &String| alone(Rules { ignoreregex: vec![pattern.clone()], ..rules.clone() });
        let seen =
            |text: &String| SEEN.iter().fold(text.clone(), |text, (tag, other, _)| text.replace(tag, other));
        let each = if check_all && !program.sees_all() {
            let failregex = rules.failregex.iter().map(seen).collect();
            let prefregex = rules.prefregex.as_ref().map(seen);
            Some(alone(Rules { failregex, prefregex, ..rules.clone() })?.with_raw_names())
        } else {
            None
        };
        let ignoring = rules.ignoreregex.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Tally {
            calendar: program.calendar().begin(),
            memory: Memory::default(),
            now,
            each,
            prefix,
            ignoring,
            prefregex_hits: 0,
            failregex_hits: vec![0; rules.failregex.len()],
            ignoreregex_hits: vec![0; rules.ignoreregex.len()],
            date_hits: Vec::new(),
            overruns: 0,
            matched: 0,
            ignored: 0,
            missed: 0,
            program,
        })
    }

    pub fn rules(&self) -> &Rules {
        self.program.rules()
    }

    /// The text of a line, its end cut off; `None`: a line that is not looked at, empty or a comment.
    pub fn text(&self, line: &[u8]) -> Option<String> {
        let text = self.program.encoding().text(line);
        let text = text.trim_end_matches(['\r', '\n']);
        (!text.is_empty() && !text.starts_with('#')).then(|| text.to_owned())
    }

    /// Judges and counts one line.
    pub fn line(&mut self, text: &str) -> Fate {
        let calendar = self.program.calendar().clone();
        let found = calendar.find(&mut self.calendar, self.now, text);
        if let Some(name) = found.as_ref().map(|found| calendar.template_name(found)) {
            match self.date_hits.iter_mut().find(|(known, _)| known == name) {
                Some((_, hits)) => *hits += 1,
                None => self.date_hits.push((name.to_owned(), 1)),
            }
        }
        let cut = &mut Cut::default();
        let (line, time) = calendar.dated(&mut self.calendar, self.now, text, found, Pace::Recorded, cut);
        if let Some(prefix) = &self.prefix
            && !matches!(alone(prefix, self.now, &line, time, &|_| true), Outcome::NoMatch | Outcome::Overrun)
        {
            self.prefregex_hits += 1;
        }
        let overruns = &mut self.overruns;
        let mut alarm = |_: Part| *overruns += 1;
        let outcome =
            self.program.judge(&mut self.memory, self.now, line.clone(), time, &|_| true, &mut alarm);
        let no_failure = self.count(&outcome, &line, time);
        match outcome {
            Outcome::Failure(_) | Outcome::NoFailure if no_failure => {
                self.ignored += 1;
                Fate::Ignored
            }
            Outcome::Failure(hit) => {
                // The lines before this one that belong to it were counted when they came.
                let before = (hit.lines.len() as u64).saturating_sub(1).min(self.missed);
                if self.program.sees_all() {
                    self.missed -= before;
                    self.matched += before;
                }
                self.matched += 1;
                Fate::Matched(Some(hit))
            }
            Outcome::NoFailure => {
                self.matched += 1;
                Fate::Matched(None)
            }
            Outcome::Ignored => {
                self.ignored += 1;
                Fate::Ignored
            }
            Outcome::NoMatch | Outcome::Overrun => {
                self.missed += 1;
                Fate::Missed
            }
        }
    }

    /// Counts the patterns that fit. True: one of them says that the line is no failure by itself.
    fn count(&mut self, outcome: &Outcome, line: &Arc<Line>, time: Option<Timestamp>) -> bool {
        match (outcome, &self.each) {
            (Outcome::Failure(_) | Outcome::NoFailure, Some(each)) => {
                let mut no_failure = false;
                for (index, hits) in self.failregex_hits.iter_mut().enumerate() {
                    let pattern = &self.program.rules().failregex[index];
                    let says_so = match alone(each, self.now, line, time, &|tried| tried == index) {
                        Outcome::Failure(hit) => SEEN.iter().any(|(.., group)| hit.groups.is_true(group)),
                        // Without an address nothing is told of the match but its pattern.
                        Outcome::NoFailure => SEEN.iter().any(|(tag, ..)| pattern.contains(tag)),
                        _ => continue,
                    };
                    *hits += 1;
                    // Judged among the other lines, the pattern that made the failure had an earlier one to complete.
                    let made_it = matches!(outcome, Outcome::Failure(hit) if hit.regex == index);
                    no_failure |= says_so && !made_it;
                }
                return no_failure;
            }
            (Outcome::NoFailure, None) => return true,
            (Outcome::Failure(hit), None) => {
                if let Some(hits) = self.failregex_hits.get_mut(hit.regex) {
                    *hits += 1;
                }
            }
            (Outcome::Ignored, _) => {
                for (program, hits) in self.ignoring.iter().zip(&mut self.ignoreregex_hits) {
                    let judged = alone(program, self.now, line, time, &|_| true);
                    *hits += u64::from(matches!(judged, Outcome::Ignored));
                }
            }
            _ => {}
        }
        false
    }

    /// Lines looked at.
    pub fn tested(&self) -> u64 {
        self.matched + self.ignored + self.missed
    }
}

/// Judges a line as if it were the only one. What was given up is counted where the line is judged among the others.
fn alone(
    program: &Program,
    now: Timestamp,
    line: &Arc<Line>,
    time: Option<Timestamp>,
    tries: &dyn Fn(usize) -> bool,
) -> Outcome {
    program.judge(&mut Memory::default(), now, line.clone(), time, tries, &mut |_| {})
}
