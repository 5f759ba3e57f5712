use super::*;

/// 2005-08-14 12:00 in Zurich.
const NOW: i64 = 1_124_013_600;

fn matcher(rules: &Rules) -> Matcher {
    Matcher::new(rules, chrono_tz::Tz::Europe__Zurich, Timestamp::from_secs(NOW))
        .expect("compiles")
        .with_raw_names()
}

fn rules(failregex: &[&str]) -> Rules {
    Rules { failregex: failregex.iter().map(|text| (*text).to_owned()).collect(), ..Rules::default() }
}

fn read(matcher: &mut Matcher, line: &str) -> Outcome {
    matcher.line(Timestamp::from_secs(NOW), line.as_bytes(), Pace::Recorded)
}

fn hit(outcome: Outcome) -> Box<Hit> {
    match outcome {
        Outcome::Failure(hit) => hit,
        other => panic!("no failure but {other:?}"),
    }
}

fn text(id: &FailureId) -> String {
    match id {
        FailureId::Net(net) => net.as_host().map_or_else(|| net.to_string(), |host| host.to_string()),
        FailureId::Name(text) | FailureId::Text(text) => text.clone(),
        FailureId::Tuple(parts) => format!("{parts:?}"),
    }
}

#[test]
fn the_date_is_cut_out_before_any_regex_sees_the_line() {
    let mut matcher = matcher(&rules(&[r"^ mx imapd: badlogin: <F-USER>\S+</F-USER> from <HOST>$"]));
    let hit = hit(read(&mut matcher, "Aug 14 11:59:00 mx imapd: badlogin: ana from 192.0.2.7"));
    assert_eq!((text(&hit.id).as_str(), hit.groups.text("user")), ("192.0.2.7", Some("ana")));
    assert_eq!(hit.time.map(Timestamp::secs), Some(NOW - 60));
    assert_eq!(hit.lines[0].whole(), "Aug 14 11:59:00 mx imapd: badlogin: ana from 192.0.2.7");
}

#[test]
fn a_line_without_a_date_takes_the_last_one_while_it_is_fresh() {
    let mut fresh = matcher(&rules(&["^(?: mx)? ?bad <HOST>$"]));
    assert_eq!(hit(read(&mut fresh, "bad 192.0.2.7")).time, None);
    read(&mut fresh, "Aug 14 11:59:30 mx good");
    assert_eq!(hit(read(&mut fresh, "bad 192.0.2.7")).time.map(Timestamp::secs), Some(NOW - 30));
    read(&mut fresh, "Aug 14 11:58:00 mx good");
    assert_eq!(hit(read(&mut fresh, "bad 192.0.2.7")).time, None);
    let live = fresh.line(Timestamp::from_secs(NOW), b"bad 192.0.2.7", Pace::Live);
    assert_eq!(hit(live).time.map(Timestamp::secs), Some(NOW));
}

#[test]
fn whom_prefregex_found_is_kept_where_the_failregex_names_nobody() {
    let prefregex =
        Some(r"^ mx auth(?:\(<ADDR>\))?<F-USER>\S*</F-USER>: <F-CONTENT>.+</F-CONTENT>$".to_owned());
    let regex = r"^(?:by <F-USER>\S+</F-USER> )?(?:from <ADDR>: )?mismatch$";
    let mut matcher = matcher(&Rules { prefregex, ..rules(&[regex]) });
    let found = hit(read(&mut matcher, "Aug 14 11:59:00 mx auth(192.0.2.7)ana: mismatch"));
    assert_eq!((text(&found.id).as_str(), found.groups.text("user")), ("192.0.2.7", None));
    let found = hit(read(&mut matcher, "Aug 14 11:59:00 mx auth(192.0.2.7)ana: from 192.0.2.8: mismatch"));
    assert_eq!(text(&found.id), "192.0.2.8");
    assert!(matches!(read(&mut matcher, "Aug 14 11:59:00 mx authana: mismatch"), Outcome::NoFailure));
}

#[test]
fn the_first_regex_that_matches_wins() {
    let mut matcher = matcher(&rules(&["^a <HOST>", "^a <HOST> b"]));
    assert_eq!(hit(read(&mut matcher, "a 192.0.2.7 b")).regex, 0);
}

#[test]
fn prefregex_decides_and_hands_on_its_content() {
    let mut filter = rules(&["^bad <F-USER>.*</F-USER>$"]);
    filter.prefregex = Some(r"^app\[<ADDR>\]: <F-CONTENT>bad .+</F-CONTENT>$".to_owned());
    let mut matcher = matcher(&filter);
    let hit = hit(read(&mut matcher, "app[192.0.2.7]: bad ana"));
    assert_eq!((text(&hit.id).as_str(), hit.groups.text("user")), ("192.0.2.7", Some("ana")));
    assert!(matches!(read(&mut matcher, "bad ana"), Outcome::NoMatch));
}

#[test]
fn an_ignoreregex_takes_the_match_back() {
    let mut filter = rules(&["^bad <HOST>"]);
    filter.ignoreregex = vec!["monitor$".to_owned()];
    let mut matcher = matcher(&filter);
    assert!(matches!(read(&mut matcher, "bad 192.0.2.7 monitor"), Outcome::Ignored));
    assert!(matches!(read(&mut matcher, "bad 192.0.2.7 monitors"), Outcome::Failure(_)));
}

#[test]
fn lines_of_one_connection_make_one_failure() {
    let mut matcher = matcher(&rules(&[
        "^<F-MLFID>c\\d+</F-MLFID>: <F-NOFAIL>connect</F-NOFAIL> from <HOST>$",
        "^<F-MLFID>c\\d+</F-MLFID>: bad <F-USER>\\S+</F-USER>$",
    ]));
    assert!(matches!(read(&mut matcher, "c1: bad eve"), Outcome::NoFailure), "no address yet");
    assert!(matches!(read(&mut matcher, "c2: connect from 192.0.2.7"), Outcome::NoFailure));
    let hit = hit(read(&mut matcher, "c2: bad ana"));
    assert_eq!(
        (text(&hit.id).as_str(), hit.groups.text("user"), hit.lines.len()),
        ("192.0.2.7", Some("ana"), 2)
    );
}

#[test]
fn a_failure_waits_for_its_address() {
    let mut matcher = matcher(&rules(&[
        "^<F-MLFID>c\\d+</F-MLFID>: bad$",
        "^<F-MLFID>c\\d+</F-MLFID>: <F-NOFAIL>end</F-NOFAIL> of <HOST>$",
    ]));
    read(&mut matcher, "c1: bad");
    assert_eq!(text(&hit(read(&mut matcher, "c1: end of 192.0.2.7")).id), "192.0.2.7");
}

#[test]
fn lines_that_are_skipped_stay_in_the_buffer() {
    let mut filter = rules(&["^open <F-ID>\\d+</F-ID> <ADDR>$<SKIPLINES>^bad (?P=fid)$"]);
    filter.maxlines = 5;
    let mut matcher = matcher(&filter);
    read(&mut matcher, "open 1 192.0.2.1");
    read(&mut matcher, "open 2 192.0.2.2");
    let first = hit(read(&mut matcher, "bad 1"));
    assert_eq!((first.groups.text("ip4"), first.lines.len()), (Some("192.0.2.1"), 2));
    assert_eq!(hit(read(&mut matcher, "bad 2")).groups.text("ip4"), Some("192.0.2.2"));
    assert!(matches!(read(&mut matcher, "bad 1"), Outcome::NoMatch), "its lines are used up");
}

#[test]
fn the_end_of_an_ignoreregex_is_the_end_of_the_whole_buffer() {
    let mut filter = rules(&["^bad <HOST>$"]);
    (filter.maxlines, filter.ignoreregex) = (2, vec!["^bad 192.0.2.7$".to_owned()]);
    let mut matcher = matcher(&filter);
    assert!(matches!(read(&mut matcher, "bad 192.0.2.7"), Outcome::Ignored));
    assert!(matches!(read(&mut matcher, "bad 192.0.2.8"), Outcome::Failure(_)));
}

#[test]
fn a_search_without_end_is_counted_and_not_taken_for_a_no() {
    let mut matcher = matcher(&rules(&[r"^(?:(?!z)(?:x+x+)+z)<HOST>(?=q)"]));
    let line = "x".repeat(200);
    assert!(matches!(read(&mut matcher, &line), Outcome::Overrun));
    assert_eq!(matcher.overruns(), 1);
}

#[test]
fn what_is_not_utf8_does_not_hide_a_failure() {
    let mut matcher = matcher(&rules(&[r"^bad <F-USER>\S+</F-USER> from <HOST>$"]));
    let outcome =
        matcher.line(Timestamp::from_secs(NOW), b"bad a\xff\xfe from 192.0.2.7\r\n", Pace::Recorded);
    assert_eq!(hit(outcome).groups.text("user"), Some("a\u{fffd}\u{fffd}"));
}

#[test]
fn an_id_goes_before_the_address_and_a_prefix_makes_a_network() {
    let mut by_id = matcher(&rules(&["^<F-ID>\\S+</F-ID> from <ADDR>$"]));
    let found = hit(read(&mut by_id, "ana from 192.0.2.7"));
    assert_eq!((found.id, found.groups.text("ip")), (FailureId::Text("ana".to_owned()), Some("192.0.2.7")));
    let mut by_net = matcher(&rules(&["^net <SUBNET>$"]));
    assert_eq!(text(&hit(read(&mut by_net, "net 192.0.2.7/24")).id), "192.0.2.0/24");
    let mut odd = matcher(&rules(&["^<HOST>$"]));
    assert_eq!(
        hit(read(&mut odd, "192.0.2.007")).id,
        FailureId::Text("192.0.2.007".to_owned()),
        "may be octal"
    );
    assert_eq!(hit(read(&mut odd, "mx.example.org")).id, FailureId::Name("mx.example.org".to_owned()));
}

#[test]
fn a_regex_that_names_nobody_is_refused() {
    let refused = Matcher::new(&rules(&["^bad$"]), chrono_tz::Tz::UTC, Timestamp::from_secs(NOW)).err();
    assert_eq!(
        refused,
        Some(MatcherError::Regex { part: Part::Failregex(0), error: PatternError::NoFailureId })
    );
}
