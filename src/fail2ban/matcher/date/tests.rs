use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// 2005-08-14 12:00 in Zurich.
const NOW: i64 = 1_124_013_600;

fn around() -> Surroundings {
    Surroundings { now: Timestamp::from_secs(NOW), zone: chrono_tz::Tz::Europe__Zurich, offset: None }
}

fn dates(datepattern: Option<&str>, lines: &[&str]) -> Vec<Option<(String, Option<i64>)>> {
    let dates = Dates::new(datepattern, decade_max(around().now)).expect("reads");
    let mut state = DateState::new(&dates);
    let mut one = |line: &&str| {
        let found = state.find(&dates, line, around().now)?;
        let (start, end) = found.stamp;
        let time = if start < end { dates.moment(line, &found, &around()) } else { None };
        Some((line[start..end].to_owned(), time.map(Timestamp::secs)))
    };
    lines.iter().map(&mut one).collect()
}

#[test]
fn the_usual_stamps_are_found_without_a_pattern() {
    for line in [
        "2005-08-14T12:00:00.5+02:00 x",
        "2005/08/14 12:00:00 x",
        "[Sun Aug 14 12:00:00.011 2005] x",
        "Aug 14 12:00:00 mx x",
        "14/08/2005 12:00:00 x",
        "203.0.113.5 - - [14/Aug/2005:10:00:00 +0000] x",
        "08/14/2005:12:00:00 x",
        "1124013600 x",
        "<08/14/05@12:00:00> x",
        "050814 12:00:00 x",
        "Aug 14, 2005 12:00:00 PM x",
        "Aug-14-05 12:00:00 x",
        "20050814T120000 x",
        "CEST Aug 14 12:00:00 x",
        "12:00:00 x",
    ] {
        let found = dates(None, &[line]).remove(0);
        assert_eq!(found.and_then(|(_, time)| time), Some(NOW), "{line}");
    }
}

#[test]
fn a_stamp_in_the_text_does_not_win_over_the_one_before_it() {
    let lines = ["Aug 14 12:00:00 mx a", "Aug 14 11:00:00 mx at 2005-08-13 01:02:03", "Aug 14 12:00:00 mx b"];
    let found = dates(None, &lines);
    assert_eq!(found[1].as_ref().map(|(stamp, _)| stamp.as_str()), Some("Aug 14 11:00:00"));
}

#[test]
fn a_place_in_the_line_is_counted_in_characters() {
    // Only the place of the line before is looked at, since the same signs stand around it.
    let found = dates(Some("%S"), &["2005-08-14 x", "é 14-09-2005 x"]);
    let stamps: Vec<_> = found.iter().flatten().map(|(stamp, _)| stamp.as_str()).collect();
    assert_eq!(stamps, ["08", "09"]);
    assert_eq!((column("é1", 2), byte_of("é1", 1), byte_of("é1", 2)), (1, Some(2), Some(3)));
    assert_eq!((byte_of("é1", 3), byte_of("12", 2), byte_of("12", 3)), (None, Some(2), None));
}

#[test]
fn patterns_may_stand_around_any_date() {
    let found = dates(Some(r"^\{{DATE}\}"), &["{2005-08-14 12:00:00} x", "{Aug 14 12:00:00} x"]);
    assert!(found.iter().all(|found| found.as_ref().is_some_and(|(_, time)| *time == Some(NOW))));
}

#[test]
fn no_date_at_all_is_an_empty_stamp() {
    assert_eq!(dates(Some("{NONE}"), &["2005-08-14 12:00:00 x"]), [Some((String::new(), None))]);
    assert_eq!(dates(Some("{^LN-BEG}"), &["x 2005-08-14 12:00:00 x"]), [None]);
}

/// Lines that differ a little: stamps of all kinds at the begin and in the text, what may follow one, cut ones.
fn some_line() -> impl Strategy<Value = String> {
    let stamp = prop::sample::select(vec![
        "Aug 14 12:00:00",
        "Aug 14 12:00:01",
        "Aug 14 12:00:00 2005",
        "Aug  4 12:00:00",
        "aug 14 2:00:00",
        "Sun Aug 14 12:00:00",
        "2005-08-14 12:00:00",
        "2005-08-14T12:00:00.5+02:00",
        "2005-08-14T12:00:00",
        "Feb 30 12:00:00",
        "1124013600",
        "é",
        "14/Aug/2005:12:00:00 +0200",
        "12:00:00",
        "",
    ]);
    let sign = prop::sample::select(vec![
        "", " ", "[", "] ", ": ", ".5 ", " 2", " 20", "é", "\t", "0", "<13>", "Z", "+02", " m",
    ]);
    let text = prop::sample::select(vec![
        "mail x[1]: bad",
        "20",
        "at Aug 13 11:00:00 x",
        "2005-08-13 12:00:00",
        "[1124013600]",
        "",
    ]);
    (sign.clone(), stamp.clone(), sign.clone(), text, sign, stamp).prop_map(
        |(before, first, between, text, after, second)| {
            format!("{before}{first}{between}{text}{after}{second}")
        },
    )
}

proptest! {
    #[test]
    fn what_is_known_of_the_line_before_finds_what_a_search_finds(
        lines in prop::collection::vec((some_line(), 1..4usize), 1..40),
        pattern in 0..SOME_DATES.len(),
    ) {
        let dates = &SOME_DATES[pattern];
        let (mut quick, mut slow) = (DateState::new(dates), DateState::new(dates));
        let mut second = NOW;
        for (line, times) in lines {
            for _ in 0..times {
                second += 1;
                let now = Timestamp::from_secs(second);
                let (found, afresh) = (quick.find(dates, &line, now), slow.find_afresh(dates, &line, now));
                let told = |found: &Option<DateMatch>| {
                    let of = |found: &DateMatch| (found.template, found.start, found.end, found.stamp, dates.moment(&line, found, &around()));
                    found.as_ref().map(of)
                };
                prop_assert_eq!(told(&found), told(&afresh), "{:?}", line);
                // What is known of a line that begins alike is what its template finds by itself.
                for template in &dates.templates {
                    if let Some((known, _)) = template.known(&line) {
                        let place = |found: DateMatch| (found.start, found.end, found.stamp);
                        prop_assert_eq!(Some(place(known)), template.find(&line, 0, line.len()).map(place), "{:?}", line);
                    }
                }
                prop_assert_eq!(format!("{:?}", quick.entries), format!("{:?}", slow.entries), "{:?}", line);
                prop_assert_eq!(format!("{:?}", quick.last), format!("{:?}", slow.last), "{:?}", line);
            }
        }
    }

    #[test]
    fn a_template_ruled_out_at_a_glance_does_not_match(line in some_line()) {
        for template in DEFAULT_TEMPLATES.iter().filter(|template| template.is_ruled_out(&line)) {
            prop_assert!(template.find(&line, 0, line.len()).is_none(), "{} {:?}", template.name, line);
        }
    }
}

static SOME_DATES: LazyLock<Vec<Dates>> = LazyLock::new(|| {
    let patterns = [
        None,
        Some("{^LN-BEG}"),
        Some(r"^\[%d/%b/%Y"),
        Some("{DATE}\n{^LN-BEG}"),
        Some(r"^(?:<\d+>)?{DATE}"),
        Some("%b %d %H:%M:%S$"),
        Some("EPOCH"),
        Some(r"^<?%ExY(?P<between>[-/])%m(?P=between)%d %H:%M:%S"),
    ];
    patterns.into_iter().map(|pattern| Dates::new(pattern, 2).expect("reads")).collect()
});

static DEFAULT_TEMPLATES: LazyLock<Vec<Arc<Template>>> = LazyLock::new(|| defaults(2).expect("reads"));

#[test]
fn every_usual_template_compiles() {
    for decade_max in 2..=9 {
        for template in defaults(decade_max).expect("reads") {
            template.check().expect("compiles");
        }
    }
}
