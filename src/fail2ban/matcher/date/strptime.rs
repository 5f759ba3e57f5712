//! The fields of a date as a pattern captured them, and the moment they mean.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;

use super::zones;
use crate::time::Timestamp;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What surrounds a stamp that does not say everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    pub now: Timestamp,
    /// The machine's zone: for "today", and for stamps without a zone.
    pub zone: Tz,
    /// `logtimezone`: minutes east of UTC, for stamps without a zone.
    pub offset: Option<i32>,
}

impl Surroundings {
    fn local_now(&self) -> NaiveDateTime {
        let utc = chrono::DateTime::from_timestamp(self.now.secs(), 0).unwrap_or_default();
        utc.with_timezone(&self.zone).naive_local()
    }
}

/// The regex of one strptime directive (without its percent sign), as (group name or empty, regex).
///
/// Names are English whatever the process locale. `decade_max`: the last decade of 20xx that `%ExY` takes.
pub fn directive(name: &str, decade_max: u8) -> Option<(&'static str, String)> {
    let names = |list: &[&str], take: usize| {
        let mut names: Vec<&str> =
            list.iter().map(|name| if take == 0 { name } else { &name[..take] }).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.join("|")
    };
    let (group, regex) = match name {
        "Y" => ("Y", r"\d{4}".to_owned()),
        "ExY" => ("Y", format!(r"20[0-{decade_max}]\d")),
        "y" | "Exy" => ("y", r"\d{2}".to_owned()),
        "G" => ("G", r"\d{4}".to_owned()),
        "m" => ("m", "0?[1-9]|1[0-2]".to_owned()),
        "Exm" => ("m", "0[1-9]|1[0-2]".to_owned()),
        "d" => ("d", r"[1-2]\d|[0 ]?[1-9]|3[0-1]".to_owned()),
        "Exd" => ("d", r"[1-2]\d|0[1-9]|3[0-1]".to_owned()),
        "H" => ("H", r"[0-1]?\d|2[0-3]".to_owned()),
        "ExH" => ("H", r"[0-1]\d|2[0-3]".to_owned()),
        "k" => ("H", r"[0-2]?\d".to_owned()),
        "Exk" => ("H", r"[0-1]?\d|2[0-3]".to_owned()),
        "I" => ("I", "1[0-2]|0[1-9]|[1-9]".to_owned()),
        "l" => ("I", r"1?\d".to_owned()),
        "Exl" => ("I", r"1[0-2]|\d".to_owned()),
        "M" => ("M", r"[0-5]?\d".to_owned()),
        "ExM" => ("M", r"[0-5]\d".to_owned()),
        "S" => ("S", r"[0-5]?\d|6[0-1]".to_owned()),
        "ExS" => ("S", r"[0-5]\d|6[0-1]".to_owned()),
        "f" => ("f", "[0-9]{1,6}".to_owned()),
        "j" => ("j", r"36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]".to_owned()),
        "U" => ("U", r"5[0-3]|[0-4]\d|\d".to_owned()),
        "W" => ("W", r"5[0-3]|[0-4]\d|\d".to_owned()),
        "V" => ("V", r"5[0-3]|0[1-9]|[1-4]\d|\d".to_owned()),
        "w" => ("w", "[0-6]".to_owned()),
        "u" => ("u", "[1-7]".to_owned()),
        "a" => ("a", names(&DAYS, 3)),
        "A" => ("A", names(&DAYS, 0)),
        "b" => ("b", names(&MONTHS, 3)),
        "B" => ("B", names(&MONTHS, 0)),
        "p" => ("p", "am|pm".to_owned()),
        "z" => ("z", r"Z|UTC|GMT|[+-][01]\d(?::?\d{2})?".to_owned()),
        "Z" => ("Z", "Z|[A-Z]{3,5}".to_owned()),
        "ExZ" => ("Z", "[A-Z](?:[A-Z]{2,4})?".to_owned()),
        "Exz" => ("z", r"(?:[A-Z](?:[A-Z]{2,4})?)?[+-][01]\d(?::?\d{2})?|[A-Z](?:[A-Z]{2,4})?".to_owned()),
        "%" => ("", "%".to_owned()),
        _ => return None,
    };
    Some((group, regex))
}

/// The moment that `field` (the text of the group with that name) describes.
///
/// `None`: no such day or time exists, a name is unknown, or too little is said. Fractions of a second are dropped.
pub fn moment<'t>(field: impl Fn(&str) -> Option<&'t str>, around: &Surroundings) -> Option<Timestamp> {
    let number = |name: &str| field(name).map(|text| text.trim().parse::<i32>().ok());
    let index = |name: &str, list: &[&str], take: usize| {
        field(name).map(|text| {
            let text = text.to_lowercase();
            list.iter().position(|known| if take == 0 { *known == text } else { known[..take] == *text })
        })
    };
    // `Some(None)` is a field that says nothing sensible: the whole date then says nothing.
    let (mut year, mut month, mut day) = (None, None, None);
    if let Some(short) = number("y") {
        let short = short?;
        year = Some(if short <= 2000 { short + 2000 } else { short });
    }
    if let Some(full) = number("Y") {
        year = Some(full?);
    }
    for found in [
        number("m"),
        index("B", &MONTHS, 0).map(|at| at.map(|at| at as i32 + 1)),
        index("b", &MONTHS, 3).map(|at| at.map(|at| at as i32 + 1)),
    ]
    .into_iter()
    .flatten()
    {
        month = Some(found?);
    }
    if let Some(found) = number("d") {
        day = Some(found?);
    }
    let mut hour = number("H").unwrap_or(Some(0))?;
    if let Some(twelve) = number("I") {
        let afternoon = field("p").is_some_and(|p| p.eq_ignore_ascii_case("pm"));
        // `%l` also takes the hours from 13 to 19, which then are themselves.
        hour = match (twelve?, afternoon) {
            (12, false) => 0,
            (12, true) => 12,
            (hour, false) => hour,
            (hour, true) => hour + 12,
        };
    }
    let minute = number("M").unwrap_or(Some(0))?;
    let second = number("S").unwrap_or(Some(0))?;
    let offset = match field("z").or_else(|| field("Z")) {
        Some(text) => Some(zones::offset_minutes(text)?),
        None => around.offset,
    };

    let now = around.local_now();
    let assume_year = year.is_none();
    let mut year = year.unwrap_or(now.year());
    if month.is_none() || day.is_none() {
        let weekday = index("A", &DAYS, 0).or(index("a", &DAYS, 3)).flatten().map(|at| at as i32);
        let weekday = weekday.or(number("w").flatten().map(|w| (w + 6) % 7));
        let week =
            number("U").flatten().map(|week| (week, 6)).or(number("W").flatten().map(|week| (week, 0)));
        let mut julian = number("j").flatten();
        if let (None, Some((week, starts)), Some(weekday)) = (julian, week, weekday) {
            julian = Some(day_of_week(year, week, weekday, starts)?);
        }
        if let Some(julian) = julian {
            let date = NaiveDate::from_ymd_opt(year, 1, 1)? + chrono::TimeDelta::days(i64::from(julian) - 1);
            (year, month, day) = (date.year(), Some(date.month() as i32), Some(date.day() as i32));
        }
    }
    let assume_today = month.is_none() && day.is_none();
    if assume_today {
        (month, day) = (Some(now.month() as i32), Some(now.day() as i32));
    }
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month?).ok()?, u32::try_from(day?).ok()?)?;
    let (hour, minute) = (u32::try_from(hour).ok()?, u32::try_from(minute).ok()?);
    let mut stamp = date.and_time(NaiveTime::from_hms_opt(hour, minute, u32::try_from(second).ok()?)?);
    if let Some(offset) = offset {
        stamp -= chrono::TimeDelta::minutes(i64::from(offset));
    }
    // As fail2ban has it, a stamp with a zone is in UTC by now, and "now" is local.
    if assume_today && stamp > now {
        stamp = stamp.checked_sub_days(Days::new(1))?;
    }
    if assume_year && stamp > now.checked_add_days(Days::new(1))? {
        let date = NaiveDate::from_ymd_opt(year - 1, month? as u32, day? as u32)?;
        stamp = date.and_time(stamp.time());
    }
    match offset {
        Some(_) => Some(Timestamp::from_secs(stamp.and_utc().timestamp())),
        None => local(stamp, around.zone),
    }
}

/// A local time that comes twice is the first one; one that the clock skips is read with the offset before.
fn local(stamp: NaiveDateTime, zone: Tz) -> Option<Timestamp> {
    let found = zone.from_local_datetime(&stamp);
    if let Some(found) = found.earliest() {
        return Some(Timestamp::from_secs(found.timestamp()));
    }
    let hour = chrono::TimeDelta::hours(1);
    let before = zone.from_local_datetime(&(stamp - hour)).earliest()?;
    Some(Timestamp::from_secs((before + hour).timestamp()))
}

/// The day of the year (1 is the first of January) of `weekday` (0: Monday) in `week`, weeks beginning on `starts`.
fn day_of_week(year: i32, week: i32, weekday: i32, starts: i32) -> Option<i32> {
    let first = NaiveDate::from_ymd_opt(year, 1, 1)?.weekday().num_days_from_monday() as i32;
    // Count weekdays from the day a week begins on.
    let (first, weekday) = ((first - starts + 7) % 7, (weekday - starts + 7) % 7);
    let week_zero = (7 - first) % 7;
    Some(if week == 0 { 1 + weekday - first } else { 1 + week_zero + 7 * (week - 1) + weekday })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2005-08-14 12:00 in Zurich.
    const NOW: i64 = 1_124_013_600;

    fn read(fields: &[(&str, &'static str)], offset: Option<i32>) -> Option<i64> {
        let around = Surroundings { now: Timestamp::from_secs(NOW), zone: Tz::Europe__Zurich, offset };
        let field = |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        moment(field, &around).map(Timestamp::secs)
    }

    #[test]
    fn a_stamp_without_a_year_is_of_this_year_or_of_the_last() {
        let stamp = |month, day| read(&[("b", month), ("d", day), ("H", "12")], None);
        assert_eq!(stamp("Aug", "14"), Some(NOW));
        assert_eq!(stamp("Aug", "15"), Some(NOW + 86_400), "up to a day ahead is a clock that runs fast");
        assert_eq!(stamp("Aug", "16"), Some(NOW + 2 * 86_400 - 365 * 86_400));
    }

    #[test]
    fn a_stamp_without_a_day_is_of_today_or_of_yesterday() {
        assert_eq!(read(&[("H", "11"), ("M", "59")], None), Some(NOW - 60));
        assert_eq!(read(&[("H", "12"), ("M", "01")], None), Some(NOW + 60 - 86_400));
    }

    #[test]
    fn hours_of_twelve_follow_am_and_pm_and_larger_ones_stand_for_themselves() {
        let hour = |hour, p| read(&[("Y", "2005"), ("m", "8"), ("d", "14"), ("I", hour), ("p", p)], None);
        for (said, p, hours) in
            [("12", "am", 0), ("1", "", 1), ("12", "PM", 12), ("11", "pm", 23), ("14", "", 14)]
        {
            assert_eq!(hour(said, p), Some(NOW + (hours - 12) * 3600), "{said} {p}");
        }
        assert_eq!(hour("14", "pm"), None);
    }

    #[test]
    fn a_zone_in_the_line_wins_over_the_one_of_the_log() {
        let date = [("Y", "2005"), ("m", "8"), ("d", "14"), ("H", "10")];
        assert_eq!(read(&date, Some(0)), Some(NOW));
        let with_zone: Vec<_> = date.into_iter().chain([("z", "-01:00")]).collect();
        assert_eq!(read(&with_zone, Some(0)), Some(NOW + 3600));
    }

    #[test]
    fn days_that_do_not_exist_are_no_date() {
        assert_eq!(read(&[("m", "2"), ("d", "30")], None), None);
        assert_eq!(read(&[("m", "2"), ("d", "3"), ("S", "60")], None), None);
        assert_eq!(read(&[("Z", "nosuch")], None), None);
    }

    #[test]
    fn weeks_and_days_of_the_year_are_counted() {
        assert_eq!(read(&[("j", "226"), ("H", "12")], None), Some(NOW));
        assert_eq!(read(&[("W", "32"), ("a", "Sun"), ("H", "12")], None), Some(NOW));
        assert_eq!(read(&[("U", "33"), ("w", "0"), ("H", "12")], None), Some(NOW));
        assert_eq!(
            read(&[("d", "14"), ("B", "AUGUST"), ("y", "05"), ("I", "12"), ("p", "PM")], None),
            Some(NOW)
        );
    }
}
