//! The dates of one log: found in each line, cut out of it, and lent to lines that carry none.

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
    dates: Dates,
}

/// What is known of one log's dates.
#[derive(Debug, Serialize, Deserialize)]
pub struct CalendarState {
    places: DateState,
    last: Option<(Timestamp, String)>,
    /// The latest line whose date nobody has asked for yet; it goes before `last`.
    #[serde(skip)]
    passed: Passed,
}

/// A line kept so that its date can be read when a line without one asks for it. The text's memory is reused.
#[derive(Debug, Default)]
struct Passed {
    line: String,
    at: Option<(DateMatch, Timestamp)>,
}

impl Calendar {
    /// `now`: for the years that a date may have.
    ///
    /// # Errors
    /// A datepattern that fail2ban would refuse, a logtimezone that nobody knows.
    pub fn new(
        datepattern: Option<&str>,
        logtimezone: Option<&str>,
        zone: Tz,
        now: Timestamp,
    ) -> Result<Calendar, MatcherError> {
        let offset = match logtimezone.filter(|zone| !zone.is_empty()) {
            Some(text) => {
                Some(date::offset_minutes(text).ok_or_else(|| MatcherError::Zone(text.to_owned()))?)
            }
            None => None,
        };
        let dates = Dates::new(datepattern, now)?;
        Ok(Calendar { datepattern: datepattern.map(str::to_owned), zone, offset, dates })
    }

    /// What is known of a log that was never read.
    pub fn begin(&self) -> CalendarState {
        CalendarState { places: DateState::new(&self.dates), last: None, passed: Passed::default() }
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

    /// The date pattern that found a date.
    pub fn template_name(&self, found: &DateMatch) -> &str {
        self.dates.template_name(found)
    }

    /// Notes a line whose date nobody needs now.
    pub fn pass(&self, state: &mut CalendarState, now: Timestamp, text: &str, found: Option<DateMatch>) {
        if let Some(found) = found.filter(|found| found.stamp.0 < found.stamp.1) {
            state.passed.line.clear();
            state.passed.line.push_str(text);
            state.passed.at = Some((found, now));
        }
    }

    fn around(&self, now: Timestamp) -> Surroundings {
        Surroundings { now, zone: self.zone, offset: self.offset }
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

    /// Cuts the date out, and says what time the line is of. `found`: as [`Calendar::find`] gave it.
    pub fn dated(
        &self,
        state: &mut CalendarState,
        now: Timestamp,
        text: &str,
        found: Option<DateMatch>,
        pace: Pace,
    ) -> (Line, Option<Timestamp>) {
        if pace == Pace::Journal {
            state.last = Some((now, String::new()));
            return (Line::new("", "", text), Some(now));
        }
        let (mut line, mut time) = match found {
            Some(found) => {
                let (start, end) = found.stamp;
                let stamp = &text[start..end];
                let line = Line::new(&text[..start], stamp, &text[end..]);
                let moment = match stamp.is_empty() {
                    true => None,
                    false => self.dates.moment(text, &found, &self.around(now)),
                };
                match moment {
                    Some(time) => {
                        state.passed.at = None;
                        state.last = Some((time, stamp.to_owned()));
                        (line, Some(time))
                    }
                    None if stamp.is_empty() => match self.recent(state, now) {
                        Some((time, stamp)) => (Line::new("", &stamp, text), Some(time)),
                        None => (line, Some(now)),
                    },
                    None => (line, None),
                }
            }
            None => (Line::new("", "", text), None),
        };
        if time.is_none()
            && let Some((last, stamp)) = self.recent(state, now)
        {
            (line, time) = (Line::new("", &stamp, text), Some(last));
        }
        if pace == Pace::Live {
            let off = time.map(|time| (time.secs() - now.secs()).abs());
            if off.is_none_or(|off| off > LAST_DATE_SECS) {
                if let (Some(_), Some(last)) = (time, &mut state.last) {
                    last.0 = now;
                }
                time = Some(now);
            }
        }
        (line, time)
    }
}
