use chrono_tz::Tz;

use super::*;

fn time(text: &str) -> i64 {
    time_in(text, Tz::UTC, 1_780_300_000)
}

fn time_in(text: &str, zone: Tz, now: i64) -> i64 {
    let (len, date) = at_start(text.as_bytes()).unwrap_or_else(|| panic!("no date: {text}"));
    assert_eq!(len, text.len(), "{text}");
    let mut resolver = Resolver::new(zone, None);
    resolver.resolve(date, Timestamp::from_secs(now), None).unwrap().secs()
}

#[test]
fn every_form_names_the_same_second() {
    // 2026-06-01 06:27:45 UTC
    for text in [
        "Jun  1 06:27:45",
        "Jun 01 06:27:45",
        "Jun 1 6:27:45",
        "Jun  1 06:27:45 2026",
        "Jun  1 2026 06:27:45",
        "Mon Jun 01 06:27:45 2026",
        "Mon, 01 Jun 2026 08:27:45 +0200",
        "Mon 2026-06-01 08:27:45 +0200",
        "2026-06-01T06:27:45Z",
        "2026-06-01T08:27:45+02:00",
        "2026-06-01 06:27:45",
        "2026-06-01 01:27:45 -0500",
        "2026/06/01 06:27:45",
        "01/Jun/2026:06:27:45 +0000",
        "[01/Jun/2026:06:27:45 +0000]",
        "01-Jun-2026 06:27:45 +0000",
        "20260601 06:27:45",
        "20260601T062745Z",
        "1780295265",
        "@400000006a1d266b",
    ] {
        assert_eq!(time(text), 1_780_295_265, "{text}");
    }
}

#[test]
fn fractions_are_kept_to_the_microsecond() {
    for (text, micros) in [
        ("2026-06-01 06:27:45,895", 895_000),
        ("2026-06-01T06:27:45.123456789Z", 123_456),
        ("Mon Jun 01 06:27:45.123456 2026", 123_456),
        ("1780295265.5", 500_000),
        ("@400000006a1d266b1dcd6500", 500_000),
    ] {
        let (len, date) = at_start(text.as_bytes()).unwrap();
        assert_eq!(len, text.len());
        let at = Resolver::new(Tz::UTC, None).resolve(date, Timestamp::from_secs(1_780_300_000), None);
        assert_eq!(at.unwrap().micros(), 1_780_295_265_000_000 + micros, "{text}");
    }
}

#[test]
fn what_is_no_date_is_none() {
    for text in [
        "",
        "[",
        "Jun",
        "Jun  x 06:27:45",
        "hello",
        "12345",
        "2026-13-01 00:00:00",
        "2026-06-01",
        "25:00:00",
        "Jun  1 24:00:00",
        "@4000",
        "12345678901",
        "Jun  1 06:27",
    ] {
        assert!(at_start(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn a_stamp_without_year_is_of_this_year_or_the_last() {
    let now = 1_767_229_200; // 2026-01-01 01:00 UTC
    assert_eq!(time_in("Dec 31 23:59:59", Tz::UTC, now), 1_767_225_599);
    assert_eq!(time_in("Jan  1 00:59:59", Tz::UTC, now), 1_767_229_199);
    assert_eq!(time_in("Jan  1 20:00:00", Tz::UTC, now), 1_767_297_600);
    assert_eq!(time_in("Jan  3 00:00:00", Tz::UTC, now), 1_767_398_400 - 365 * 86_400);
    // The clock of the host that wrote the line is a minute ahead, over New Year.
    assert_eq!(time_in("Jan  1 00:00:30", Tz::UTC, 1_767_225_590), 1_767_225_630);
    // 29 February is of the last leap year.
    assert_eq!(time_in("Feb 29 12:00:00", Tz::UTC, now), 1_709_208_000);
}

#[test]
fn summer_time_gaps_and_folds_are_resolved() {
    let zone = Tz::Europe__Madrid;
    let now = 1_800_000_000;
    // 2026-03-29 02:30 does not exist; 2026-10-25 02:30 comes twice.
    assert_eq!(time_in("2026-03-29 02:30:00", zone, now), 1_774_747_800);
    assert_eq!(time_in("2026-03-29 03:30:00", zone, now), 1_774_747_800);
    let fold = at_start(b"2026-10-25 02:30:00").unwrap().1;
    let mut resolver = Resolver::new(zone, None);
    let first = resolver.resolve(fold, Timestamp::from_secs(now), None).unwrap();
    let after = Some(Timestamp::from_secs(first.secs() + 1750));
    let second = resolver.resolve(fold, Timestamp::from_secs(now), after).unwrap();
    assert_eq!(second.secs() - first.secs(), 3600);
    let live = resolver.resolve(fold, second, None).unwrap();
    assert_eq!(live, second);
}

#[test]
fn a_day_that_does_not_exist_has_no_time() {
    let (_, date) = at_start(b"2026-02-30 00:00:00").unwrap();
    assert!(Resolver::new(Tz::UTC, None).resolve(date, Timestamp::from_secs(0), None).is_none());
}
