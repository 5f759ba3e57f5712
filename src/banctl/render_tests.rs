//! What a person sees, word for word.

use super::*;
use crate::control::protocol::{AccountInfo, EvidenceLine, Kept, Lifted};
use crate::time::Timestamp;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_795_300_000);
const LOOK: Look = Look { colour: false, now: NOW };

fn a_ban() -> BanInfo {
    BanInfo {
        jail: "postfix-sasl".into(),
        target: "203.0.113.7".into(),
        since: NOW.minus(Duration::from_secs(1020)),
        until: Some(NOW.plus(Duration::from_secs(2580))),
        failures: 5,
        count: 1,
        origin: "jail".into(),
        reason: None,
        effective: true,
        ended: None,
    }
}

fn a_status() -> TargetStatus {
    TargetStatus {
        target: "203.0.113.7".into(),
        kind: TargetKind::Address,
        banned: true,
        bans: vec![a_ban()],
        grace_until: None,
        allowed: false,
        windows: vec![],
    }
}

#[test]
fn status_says_until_when_and_what_to_type_next() {
    let shown = target(LOOK, &a_status());
    assert!(shown.starts_with("203.0.113.7: banned\n\n  TARGET       JAIL          SINCE"), "{shown}");
    assert!(shown.contains(" (in 43m)") && shown.contains("banctl unban 203.0.113.7"), "{shown}");
    assert!(!shown.contains("NOTE"), "an empty column is left out: {shown}");
}

#[test]
fn a_ban_without_effect_and_a_hostile_log_line_are_shown_for_what_they_are() {
    let mut status = a_status();
    status.bans[0].effective = false;
    let report = WhyReport {
        status,
        lines: vec![EvidenceLine {
            time: NOW,
            jail: Some("postfix-sasl".into()),
            event: Outcome::Failure,
            ip: Some("203.0.113.7".into()),
            log: "/var/log/mail.log".into(),
            line: "user=\x1b[2J".into(),
        }],
        accounts: vec![AccountInfo { account: "alice".into(), failures: 5, successes: 0, last: Some(NOW) }],
        addresses: vec![],
        earlier: vec![],
        unban_command: Some("banctl unban 203.0.113.7".into()),
    };
    let shown = why(LOOK, &report);
    assert!(
        shown.contains("NO EFFECT") && shown.contains("user=\\x1b[2J") && shown.contains("alice"),
        "{shown}"
    );
    assert!(shown.ends_with("To let it in: banctl unban 203.0.113.7\n"), "{shown}");
}

#[test]
fn an_unban_by_account_says_who_stays_out_and_why() {
    let answer = Unbanned {
        target: "alice@example.org".into(),
        lifted: vec![Lifted { jail: "cyrus".into(), target: "192.0.2.7".into() }],
        kept: vec![Kept { target: "203.0.113.7".into(), why: "tried 41 other accounts".into() }],
        grace_until: Some(NOW.plus(Duration::from_secs(1800))),
        lifted_total: 1,
        error: None,
    };
    let shown = unbanned(LOOK, &answer);
    assert!(
        shown.starts_with(
            "192.0.2.7: let in (jail cyrus)\n203.0.113.7: still banned: tried 41 other accounts\n"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("banctl unban alice@example.org --all-addresses") && shown.contains("(in 30m)"),
        "{shown}"
    );
}

#[test]
fn a_target_is_quoted_for_the_shell_where_it_must_be() {
    assert_eq!(quoted("alice@example.org"), "alice@example.org");
    assert_eq!(quoted("o'neill; rm -rf ~"), r"'o'\''neill; rm -rf ~'");
}
