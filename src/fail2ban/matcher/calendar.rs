//! The dates of one log: found in each line, cut out of it, and lent to lines that carry none.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::date::{self, DateMatch, DateState, Dates, Surroundings};
use super::{Line, MatcherError, Pace};
use crate::time::Timestamp;

/// A date older than this does not serve lines that carry none. Seconds.
const LAST_DATE_SECS: i64 = 60;

/// How lines are dated; filters that say the same about it share what is known of a log.
#[derive(Debug)]
pub struct Calendar {
    datepattern: Option<String>,
    zone: Tz,
    /// `logtimezone`: minutes east of UTC.
    offset: Option<i32>,
    decade_max: u8,
    dates: Dates,
}

/// Those in use: most filters say the same about dates, and dozens of templates take long to read.
static CALENDARS: Mutex<Vec<Weak<Calendar>>> = Mutex::new(Vec::new());

/// What is known of one log's dates.
#[derive(Debug, Serialize, Deserialize)]
pub struct CalendarState {
    places: DateState,
    last: Option<(Timestamp, String)>,
    /// The latest line whose date nobody has asked for yet; it goes before `last`.
    #[serde(skip)]
    passed: Passed,
    /// What the last date that was read means, by its [`DateMatch::same`] and the clock then.
    #[serde(skip)]
    read: Option<(Mark, Option<Timestamp>)>,
    /// The date that `last` or `passed` holds.
    #[serde(skip)]
    noted: Option<Mark>,
}

/// A line without its date, for all calendars that find it at the same place.
#[derive(Debug, Default)]
pub struct Cut(Option<((usize, usize), Arc<Line>)>);

impl Cut {
    /// `text`: always the same.
    fn line(&mut self, text: &str, stamp: (usize, usize)) -> Arc<Line> {
        match &self.0 {
            Some((known, line)) if *known == stamp => line.clone(),
            _ => {
                let line = Arc::new(Line::new(&text[..stamp.0], &text[stamp.0..stamp.1], &text[stamp.1..]));
                self.0 = Some((stamp, line.clone()));
                line
            }
        }
    }
}

/// Equal marks of one log: the same text, read at the same time, means the same moment.
type Mark = (u64, Timestamp);

fn mark(found: &DateMatch, now: Timestamp) -> Option<Mark> {
    (found.same != 0).then_some((found.same, now))
}

/// A line kept so that its date can be read when a line without one asks for it. The text's memory is reused.
#[derive(Debug, Default)]
struct Passed {
    line: String,
    at: Option<(DateMatch, Timestamp)>,
}

impl Passed {
    /// Whether its date is written as `stamp`, and was found at `now`.
    fn says(&self, stamp: &str, now: Timestamp) -> bool {
        let held = |(found, then): &(DateMatch, Timestamp)| {
            *then == now && self.line[found.stamp.0..found.stamp.1] == *stamp
        };
        self.at.as_ref().is_some_and(held)
    }
}

impl Calendar {
    /// `now`: for the years that a date may have. One that is in use and says the same is shared.
    ///
    /// # Errors
    /// A datepattern that fail2ban would refuse, a logtimezone that nobody knows.
    pub fn new(
        datepattern: Option<&str>,
        logtimezone: Option<&str>,
        zone: Tz,
        now: Timestamp,
    ) -> Result<Arc<Calendar>, MatcherError> {
        let offset = match logtimezone.filter(|zone| !zone.is_empty()) {
            Some(text) => {
                Some(date::offset_minutes(text).ok_or_else(|| MatcherError::Zone(text.to_owned()))?)
            }
            None => None,
        };
        let decade_max = date::decade_max(now);
        let mut known = CALENDARS.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|calendar| calendar.strong_count() > 0);
        let same = |calendar: &Arc<Calendar>| {
            calendar.key() == (datepattern, offset, zone.name()) && calendar.decade_max == decade_max
        };
        if let Some(calendar) = known.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(calendar);
        }
        let dates = Dates::new(datepattern, decade_max)?;
        let datepattern = datepattern.map(str::to_owned);
        let calendar = Arc::new(Calendar { datepattern, zone, offset, decade_max, dates });
        known.push(Arc::downgrade(&calendar));
        Ok(calendar)
    }

    /// What is known of a log that was never read.
    pub fn begin(&self) -> CalendarState {
        CalendarState {
            places: DateState::new(&self.dates),
            last: None,
            passed: Passed::default(),
            read: None,
            noted: None,
        }
    }

    /// Whether both date any line alike.
    pub fn agrees(&self, other: &Calendar) -> bool {
        self.key() == other.key()
    }

    /// What tells calendars apart, also for a stored state.
    pub fn key(&self) -> (Option<&str>, Option<i32>, &'static str) {
        (self.datepattern.as_deref(), self.offset, self.zone.name())
    }

    /// Whether `state` was made by a calendar with as many templates: else it cannot serve this one.
    pub fn takes(&self, state: &CalendarState) -> bool {
        state.places.fits(&self.dates)
    }

    /// Finds the date of `text`, one line without its line end. Each line of a log comes here once and in order, and
    /// then to [`Calendar::dated`] or, where its date is not asked for, to [`Calendar::pass`].
    pub fn find(&self, state: &mut CalendarState, now: Timestamp, text: &str) -> Option<DateMatch> {
        state.places.find(&self.dates, text, now)
    }

    /// [`Calendar::find`] and [`Calendar::pass`] in one where the date is that of the line before: where it stands. `None`:
    /// that is not so, and nothing was done. The line may still be [`Calendar::dated`], as [`Calendar::repeated`].
    pub fn repeat(&self, state: &mut CalendarState, now: Timestamp, text: &str) -> Option<(usize, usize)> {
        let (same, then) = state.noted?;
        if then != now {
            return None;
        }
        state.places.repeat(text, now, Some(same)).map(|found| found.stamp)
    }

    /// How many bytes at the begin of `text`, the line that was dated last, decide about its date: to each line that begins
    /// with them, [`Calendar::repeat`] gives the same place, or has none as `text` has none; which of the two is the second
    /// part. `None`: that is not so, or the date does not begin the line.
    pub fn steady(&self, state: &CalendarState, now: Timestamp, text: &str) -> Option<(usize, bool)> {
        let (len, found) = state.places.decided(text)?;
        let noted = |found: &DateMatch| state.noted == Some((found.same, now)) && found.stamp.0 == 0;
        found.is_none_or(noted).then_some((len, found.is_some()))
    }

    /// [`Calendar::repeat`] of `times` lines that are [`Calendar::steady`].
    pub fn repeat_times(&self, state: &mut CalendarState, now: Timestamp, times: u64) {
        state.places.repeat_times(now, times);
    }

    /// The date that [`Calendar::repeat`] found in `text`.
    pub fn repeated(&self, state: &CalendarState, text: &str) -> Option<DateMatch> {
        state.places.repeated(text)
    }

    /// The date pattern that found a date.
    pub fn template_name(&self, found: &DateMatch) -> &str {
        self.dates.template_name(found)
    }

    /// Notes a line whose date nobody needs now.
    pub fn pass(&self, state: &mut CalendarState, now: Timestamp, text: &str, found: Option<DateMatch>) {
        if let Some(found) = found.filter(|found| found.stamp.0 < found.stamp.1) {
            let mark = mark(&found, now);
            if mark.is_some() && mark == state.noted {
                return;
            }
            // The one before stays the last date if this one turns out to be none, as February 30th.
            if !state.passed.says(&text[found.stamp.0..found.stamp.1], now) {
                self.settle(state);
            }
            state.noted = mark;
            state.passed.line.clear();
            state.passed.line.push_str(text);
            state.passed.at = Some((found, now));
        }
    }

    fn around(&self, now: Timestamp) -> Surroundings {
        Surroundings { now, zone: self.zone, offset: self.offset }
    }

    /// The moment that `found` in `text` means.
    fn moment(
        &self,
        state: &mut CalendarState,
        now: Timestamp,
        text: &str,
        found: &DateMatch,
    ) -> Option<Timestamp> {
        let mark = mark(found, now);
        if let Some((known, moment)) = &state.read
            && Some(*known) == mark
        {
            return *moment;
        }
        let moment = self.dates.moment(text, found, &self.around(now));
        state.read = mark.map(|mark| (mark, moment));
        moment
    }

    /// Reads the date of the line that was passed over.
    pub fn settle(&self, state: &mut CalendarState) {
        let Some((found, now)) = state.passed.at.take() else { return };
        let line = &state.passed.line;
        if let Some(time) = self.dates.moment(line, &found, &self.around(now)) {
            state.last = Some((time, line[found.stamp.0..found.stamp.1].to_owned()));
        }
    }

    fn recent(&self, state: &mut CalendarState, now: Timestamp) -> Option<(Timestamp, String)> {
        self.settle(state);
        let (time, stamp) = state.last.as_ref()?;
        (time.micros() > now.micros() - LAST_DATE_SECS * 1_000_000).then(|| (*time, stamp.clone()))
    }

    /// The time of a line by itself, for finding where to begin in a log.
    pub fn time(&self, state: &mut CalendarState, now: Timestamp, text: &str) -> Option<Timestamp> {
        let found = self.find(state, now, text)?;
        (found.stamp.0 < found.stamp.1).then(|| self.dates.moment(text, &found, &self.around(now))).flatten()
    }

    /// Cuts the date out, and says what time the line is of. `found`: as [`Calendar::find`] gave it. `cut`: the line as
    /// other calendars had it.
    pub fn dated(
        &self,
        state: &mut CalendarState,
        now: Timestamp,
        text: &str,
        found: Option<DateMatch>,
        pace: Pace,
        cut: &mut Cut,
    ) -> (Arc<Line>, Option<Timestamp>) {
        let without_date = |stamp: &str| Arc::new(Line::new("", stamp, text));
        if pace == Pace::Journal {
            state.last = Some((now, String::new()));
            state.noted = None;
            return (without_date(""), Some(now));
        }
        let (mut line, mut time) = match found {
            Some(found) => {
                let (start, end) = found.stamp;
                let stamp = &text[start..end];
                let line = cut.line(text, (start, end));
                let moment = match stamp.is_empty() {
                    true => None,
                    false => self.moment(state, now, text, &found),
                };
                match moment {
                    Some(time) => {
                        let mark = mark(&found, now);
                        if mark.is_none() || mark != state.noted {
                            state.passed.at = None;
                            state.last = Some((time, stamp.to_owned()));
                            state.noted = mark;
                        }
                        (line, Some(time))
                    }
                    None if stamp.is_empty() => match self.recent(state, now) {
                        Some((time, stamp)) => (without_date(&stamp), Some(time)),
                        None => (line, Some(now)),
                    },
                    None => (line, None),
                }
            }
            None => (without_date(""), None),
        };
        if time.is_none()
            && let Some((last, stamp)) = self.recent(state, now)
        {
            (line, time) = (without_date(&stamp), Some(last));
        }
        if pace == Pace::Live {
            let off = time.map(|time| (time.secs() - now.secs()).abs());
            if off.is_none_or(|off| off > LAST_DATE_SECS) {
                if let (Some(_), Some(last)) = (time, &mut state.last) {
                    last.0 = now;
                    state.noted = None;
                }
                time = Some(now);
            }
        }
        (line, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_is_none_does_not_replace_the_last_one() {
        let now = Timestamp::from_secs(1_785_000_000); // 2026-07-25 17:20:00 UTC
        for stamps in
            [["Jul 25 17:20:00", "Feb 30 17:20:00"], ["[25/Jul/2026:17:20:00]", "[30/Feb/2026:17:20:00]"]]
        {
            let calendar = Calendar::new(None, None, Tz::UTC, now).expect("the usual dates");
            let state = &mut calendar.begin();
            for line in [stamps[0], stamps[1], stamps[1]].map(|stamp| format!("{stamp} mx: passed over")) {
                let found = calendar.find(state, now, &line);
                assert!(found.is_some(), "{line}");
                calendar.pass(state, now, &line, found);
            }
            let (_, time) = calendar.dated(state, now, "no date", None, Pace::Recorded, &mut Cut::default());
            assert_eq!(time, Some(now), "{}", stamps[1]);
        }
    }
}
