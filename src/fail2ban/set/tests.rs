use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::matcher::Rules;
use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_785_000_000);

/// Filters that look at several lines together, and one that looks at one.
fn programs() -> Vec<Arc<Program>> {
    let rules = |maxlines, failregex: &str, ignoreregex: &str| {
        let list = |text: &str| (!text.is_empty()).then(|| text.to_owned()).into_iter().collect();
        let (failregex, ignoreregex) = (list(failregex), list(ignoreregex));
        Rules { failregex, ignoreregex, maxlines, ..Rules::default() }
    };
    let refused = r"^.* authentication refused to (?P<c>\d) at <HOST><SKIPLINES>^.* (?P=c) ends";
    let programs = [
        rules(3, refused, ""),
        rules(5, refused, r"refused to 2"),
        rules(4, r"^.* (?P<c>\d) opens at <HOST>\n(?:.*\n)*?.* (?P=c) was refused", ""),
        rules(1, r"refused to \d at <HOST>$", ""),
    ];
    programs.map(|rules| Arc::new(Program::new(&rules, chrono_tz::Tz::UTC, NOW).expect("compiles"))).to_vec()
}

/// The attempts in `log`: line, filter and who it was.
fn found(set: &FilterSet, log: &str) -> Vec<(usize, usize, Option<String>)> {
    let mut found = Vec::new();
    set.scan(&mut set.begin(), NOW, log.as_bytes(), &mut |attempt| {
        found.push((attempt.line_index, attempt.filter, attempt.host.map(|host| host.to_string())));
    });
    found
}

/// The same with and without the prefilter.
fn agreed(log: &str) -> Vec<(usize, usize, Option<String>)> {
    static SETS: LazyLock<[FilterSet; 2]> = LazyLock::new(|| {
        let programs = programs();
        [
            FilterSet::new(programs.clone(), Encoding::Utf8),
            FilterSet::without_prefilter(programs, Encoding::Utf8),
        ]
    });
    let quickly = found(&SETS[0], log);
    assert_eq!(quickly, found(&SETS[1], log), "{log}");
    quickly
}

#[test]
fn lines_that_a_match_left_over_are_held_longer_than_others() {
    let stamp = "Jul 25 17:20:00 mx auth:";
    let lines = [
        "authentication refused to 1 at 192.0.2.1",
        "authentication refused to 2 at 192.0.2.2",
        "2 ends",
        "nothing",
        "1 ends",
    ];
    let log = lines.map(|line| format!("{stamp} {line}\n")).concat();
    let host = |number| Some(format!("192.0.2.{number}"));
    let first: Vec<_> = agreed(&log).into_iter().filter(|(_, filter, _)| *filter == 0).collect();
    assert_eq!(first, [(2, 0, host(2)), (4, 0, host(1))]);
    // The same in a block that is sieved.
    let many = format!("{stamp} nothing that anybody asks for\n").repeat(700);
    let attempts = agreed(&format!("{many}{log}{many}"));
    assert!(attempts.contains(&(704, 0, host(1))), "{attempts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sparing_lines_changes_nothing_where_several_are_looked_at_together(
        lines in prop::collection::vec((0..8usize, 1..4usize, 0..3usize), 0..40),
    ) {
        let log: String = lines.iter().map(|(kind, number, stamp)| {
            let stamp = ["Jul 25 17:20:00 mx auth:", "Jul 25 17:20:01 mx auth:", "-"][*stamp];
            match kind {
                0 | 1 => format!("{stamp} authentication refused to {number} at 192.0.2.{number}\n"),
                2 | 3 => format!("{stamp} {number} ends\n"),
                4 => format!("{stamp} {number} opens at 192.0.2.{number}\n"),
                5 => format!("{stamp} {number} was refused\n"),
                _ => format!("{stamp} nothing that anybody asks for\n"),
            }
        }).collect();
        agreed(&log);
    }
}
