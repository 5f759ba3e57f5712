//! From a date as written to a moment: its zone, its year.

use chrono::{Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

use super::{Civil, Date};
use crate::time::Timestamp;

/// Days since 1970-01-01 of a date that may not exist (31 June is 1 July).
fn days(year: i32, month: u8, day: u8) -> i64 {
    let y = i64::from(year) - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn exists(year: i32, month: u8, day: u8) -> bool {
    NaiveDate::from_ymd_opt(year, u32::from(month), u32::from(day)).is_some()
}

/// Places dates in time. Remembers the last minute of local time, since zone tables are slow to ask.
#[derive(Debug, Clone)]
pub struct Resolver {
    zone: Tz,
    /// Lines without a year are of this one; absent: inferred from now.
    year: Option<i32>,
    /// Local minutes since the epoch -> seconds east of UTC; never of an ambiguous minute.
    memo: Option<(i64, i32)>,
    /// Day of `now` (UTC) -> its local year.
    now_year: Option<(i64, i32)>,
    /// The minute placed last, and its first second: most lines are of the same one.
    minute: Option<Minute>,
    /// The date in hand has two moments.
    ambiguous: bool,
}

/// A minute as written, by which `now` it was placed, and where. Seconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Minute {
    written: Civil,
    now: Timestamp,
    start: i64,
}

/// A stamp without a year further in the future than this is of last year.
const FUTURE_SECS: i64 = 24 * 3600;
/// How far clocks of hosts that log to one another may differ at the turn of the year.
const SKEW_SECS: i64 = 900;

impl Resolver {
    pub fn new(zone: Tz, year: Option<i32>) -> Resolver {
        Resolver { zone, year, memo: None, now_year: None, minute: None, ambiguous: false }
    }

    /// The moment that `date` names. `None`: the date does not exist (31 February).
    ///
    /// `last`: the last time seen in this log; of two moments with the same wall clock (the hour that comes
    /// twice in autumn) the one that goes on from there, or that is nearer to `now`, is meant.
    pub fn resolve(&mut self, date: Date, now: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        let civil = match date {
            Date::Moment(at) => return Some(at),
            Date::Civil(civil) => civil,
        };
        let second = civil.second % 60;
        let written = Civil { second: civil.second - second, micros: 0, ..civil };
        let start = match self.minute {
            Some(minute) if minute.written == written && minute.now == now => Some(minute.start),
            _ => self.place_minute(written, now, last),
        };
        let secs = match start {
            Some(start) => start + i64::from(second),
            None => self.place(&civil, now, last)?,
        };
        Some(Timestamp::from_micros(secs * 1_000_000 + i64::from(civil.micros)))
    }

    /// The first second of a minute, if the minute is whole: one moment, nothing between its first second and its last.
    fn place_minute(&mut self, written: Civil, now: Timestamp, last: Option<Timestamp>) -> Option<i64> {
        self.ambiguous = false;
        let start = self.place(&written, now, last)?;
        let end = self.place(&Civil { second: written.second + 59, ..written }, now, last)?;
        if self.ambiguous || end != start + 59 {
            return None;
        }
        self.minute = Some(Minute { written, now, start });
        Some(start)
    }

    fn place(&mut self, civil: &Civil, now: Timestamp, last: Option<Timestamp>) -> Option<i64> {
        if let Some(year) = civil.year.or(self.year) {
            return self.in_year(civil, year, now, last);
        }
        let year = self.year_of(now);
        // Next year's only where another host's clock is ahead of ours at New Year's Eve; earlier ones
        // for New Year's Eve read on New Year's Day, and for 29 February.
        (year - 8..=year + 1).rev().find_map(|candidate| {
            let ahead = if candidate > year { SKEW_SECS } else { FUTURE_SECS };
            self.in_year(civil, candidate, now, last).filter(|secs| *secs <= now.secs().saturating_add(ahead))
        })
    }

    fn year_of(&mut self, now: Timestamp) -> i32 {
        let hour = now.secs().div_euclid(3600);
        if let Some((known, year)) = self.now_year
            && known == hour
        {
            return year;
        }
        let year = self.zone.timestamp_opt(now.secs(), 0).single().map_or(1970, |local| local.year());
        self.now_year = Some((hour, year));
        year
    }

    fn in_year(&mut self, civil: &Civil, year: i32, now: Timestamp, last: Option<Timestamp>) -> Option<i64> {
        if civil.day > 28 && !exists(year, civil.month, civil.day) {
            return None;
        }
        let local = days(year, civil.month, civil.day) * 86_400 + i64::from(civil.second);
        Some(local - i64::from(civil.offset.unwrap_or_else(|| self.offset_at(local, now, last))))
    }

    /// Seconds east of UTC at a local time (seconds since the epoch as if the zone were UTC).
    fn offset_at(&mut self, local: i64, now: Timestamp, last: Option<Timestamp>) -> i32 {
        if self.zone == Tz::UTC {
            return 0;
        }
        let minute = local.div_euclid(60);
        if let Some((known, offset)) = self.memo
            && known == minute
        {
            return offset;
        }
        let naive = |secs: i64| {
            chrono::DateTime::from_timestamp(secs, 0).map(|utc| utc.naive_utc()).unwrap_or_default()
        };
        use chrono::LocalResult::{Ambiguous, None as Gap, Single};
        match self.zone.offset_from_local_datetime(&naive(local)) {
            Single(offset) => {
                let offset = offset.fix().local_minus_utc();
                self.memo = Some((minute, offset));
                offset
            }
            // The clocks went forward over this time; the writer had not noticed yet: the offset before.
            Gap => self.zone.offset_from_utc_datetime(&naive(local - 86_400)).fix().local_minus_utc(),
            Ambiguous(first, second) => {
                self.ambiguous = true;
                let (first, second) = (first.fix().local_minus_utc(), second.fix().local_minus_utc());
                let (early, late) = (local - i64::from(first), local - i64::from(second));
                let now = now.secs();
                // Live: the one that is now. Else the one that does not go back from the last line.
                let live = (now - late).abs() < 1800 && (now - late).abs() < (now - early).abs();
                let goes_on =
                    last.is_some_and(|last| last.secs() > early + 900 && last.secs() <= late + 3600);
                if (live || goes_on) && late <= now + 60 { second } else { first }
            }
        }
    }
}
