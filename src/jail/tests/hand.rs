//! Ignore lists, bans and unbans by hand, grace, allow entries.

use std::path::Path;

use super::*;

fn ignoring(texts: &[&str]) -> World {
    let mut world = World::new();
    let entries = texts.iter().map(|text| text.parse().unwrap()).collect();
    world.jails = Jails::new(vec![sasl(), imap()], entries, &Limits::default(), 1);
    world
}

#[test]
fn failures_from_ignoreip_do_not_count() {
    let mut world = ignoring(&["192.0.2.0/24", "2001:db8::/48"]);
    for from in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"] {
        assert_eq!(world.fail_times(from, 20), Seen::Ignored);
    }
    assert_eq!(world.fail_times("192.0.3.7", 5), Seen::Banned);
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).failures, 5);
}

#[test]
fn a_jails_own_ignoreip_is_its_own() {
    let mut world =
        World::of(vec![JailSettings { ignoreip: vec!["192.0.2.7".parse().unwrap()], ..sasl() }, imap()]);
    assert_eq!(world.fail_times("192.0.2.7", 9), Seen::Ignored);
    let attempt = Attempt { times: 5, ..failure("192.0.2.7", Some(world.now)) };
    assert_eq!(world.tell("cyrus", true, &attempt), Seen::Banned);
}

#[test]
fn names_and_files_in_ignoreip_follow_their_last_answer() {
    let mut world = ignoring(&["office.example.org", "file:/etc/portero/allow.txt"]);
    assert_eq!(world.jails.names(), ["office.example.org"]);
    assert_eq!(world.jails.files(), [Path::new("/etc/portero/allow.txt")]);
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
    assert_eq!(world.fail_times("203.0.113.8", 5), Seen::Banned);
    let mut out = Vec::new();
    let now = world.now;
    world.jails.set_name(now, "Office.Example.org", &[host("203.0.113.7")], &mut out);
    assert!(matches!(out.as_slice(), [Action::Unban { cause: Cause::Allowed, .. }]), "{out:?}");
    let list = ignore::read_list("203.0.113.8 # customer\nhome.example.org").0;
    world.jails.set_file(now, Path::new("/etc/portero/allow.txt"), list, &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(world.fail_times("203.0.113.7", 9), Seen::Ignored);
    assert_eq!(world.fail_times("203.0.113.8", 9), Seen::Ignored);
    assert_eq!(world.jails.names(), ["home.example.org", "office.example.org"]);
    // The office has a new address: the old one is nobody's now.
    world.jails.set_name(now, "office.example.org", &[host("203.0.113.9")], &mut out);
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
}

#[test]
fn what_is_around_this_host_is_never_banned_by_rule_or_by_hand() {
    let mut world = World::new();
    let kinds = [Never::Own, Never::Gateway, Never::Resolver, Never::TrustedProxy, Never::AdminSession];
    for (n, kind) in kinds.into_iter().enumerate() {
        let target = format!("192.0.2.{n}");
        let mut out = Vec::new();
        assert_eq!(world.fail_times(&target, 5), Seen::Banned);
        let now = world.now;
        world.jails.set_never(now, kind, vec![net(&target)], &mut out);
        assert_eq!(out.len(), 1, "a ban is lifted once its target is known to be {kind}");
        assert_eq!(world.fail_times(&target, 9), Seen::Ignored);
        assert_eq!(world.ban_by_hand(&target, None, true), Err(Refusal::Never(net(&target), kind)));
    }
    for loopback in ["127.0.0.1", "127.8.8.8", "::1"] {
        assert_eq!(world.fail_times(loopback, 9), Seen::Ignored);
        let refused = world.ban_by_hand(loopback, None, true);
        assert_eq!(refused, Err(Refusal::Never(net(loopback), Never::Loopback)));
    }
}

#[test]
fn with_ignoreself_off_own_failures_are_counted_and_still_never_ban() {
    let mut world = World::of(vec![JailSettings { ignoreself: false, ..sasl() }, imap()]);
    let now = world.now;
    world.jails.set_never(now, Never::Own, vec![net("192.0.2.1")], &mut Vec::new());
    assert_eq!(world.fail_times("192.0.2.1", 9), Seen::Ignored);
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).failures, 9);
    assert!(!world.banned("192.0.2.1"));
}

#[test]
fn by_hand_what_is_too_wide_needs_force() {
    let mut world = World::new();
    for (target, limit) in [("0.0.0.0/0", 16), ("10.0.0.0/15", 16), ("::/0", 32), ("2001:db8::/31", 32)] {
        assert_eq!(world.ban_by_hand(target, None, false), Err(Refusal::TooWide(net(target), limit)));
        assert!(world.out.is_empty());
        assert!(world.ban_by_hand(target, None, true).is_ok(), "{target}");
    }
    for target in ["10.1.0.0/16", "2001:db8::/32", "203.0.113.7", "2001:db8::7"] {
        assert!(world.ban_by_hand(target, None, false).is_ok(), "{target}");
    }
}

#[test]
fn by_hand_no_nonsense_is_banned() {
    let mut world = ignoring(&["192.0.2.0/24"]);
    for target in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "::"] {
        assert_eq!(world.ban_by_hand(target, None, true), Err(Refusal::NoPeer(net(target))));
    }
    assert_eq!(world.ban_by_hand("192.0.2.9", None, true), Err(Refusal::Ignored(net("192.0.2.9"))));
    assert_eq!(world.ban_by_hand("192.0.2.128/25", None, true), Err(Refusal::Ignored(net("192.0.2.128/25"))));
    // Around it is fine: the allow set lets the ignored ones through.
    assert!(world.ban_by_hand("192.0.0.0/16", None, false).is_ok());
    assert!(world.jails.allow_nets().contains(&net("192.0.2.0/24")));
}

#[test]
fn a_ban_by_hand_lasts_as_long_as_said_and_else_the_jails_bantime() {
    let mut world = World::new();
    let now = world.now;
    let ban = world.ban_by_hand("203.0.113.7", Some(Span::For(DAY)), false).unwrap();
    assert_eq!((ban.jail, ban.until, ban.failures), (JailName::manual(), Some(now.plus(DAY)), 0));
    assert_eq!((ban.origin, ban.reason.as_deref()), (Origin::Manual, Some("because")));
    let ban = world.ban_by_hand("203.0.113.8", None, false).unwrap();
    assert_eq!(ban.until, Some(now.plus(HOUR)));
    let ban = world.ban_by_hand("203.0.113.9", Some(Span::Forever), false).unwrap();
    assert_eq!(ban.until, None);
}

#[test]
fn a_ban_over_a_ban_takes_its_place() {
    let mut world = World::new();
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    let ban = world.ban_by_hand("203.0.113.7", Some(Span::For(DAY)), false).unwrap();
    assert_eq!(world.ban(), &ban);
    assert_eq!((world.jails.ban_count(), world.jails.counts(JailId::MANUAL).banned), (1, 1));
    world.wait(HOUR);
    assert!(world.expire().is_empty(), "the first one's end is gone");
    let shorter = world.ban_by_hand("203.0.113.7", Some(Span::For(MINUTE)), false).unwrap();
    assert_eq!(shorter.until, Some(world.now.plus(MINUTE)));
}

#[test]
fn an_unban_lifts_in_every_jail_and_clears_open_failures_but_keeps_history() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    let attempt = Attempt { times: 4, ..failure("203.0.113.7", Some(world.now)) };
    world.tell("cyrus", true, &attempt);
    assert_eq!(world.unban("203.0.113.7"), 2);
    assert!(!world.banned("203.0.113.7") && world.jails.tracked() == 0);
    assert_eq!(world.unban("203.0.113.7"), 0);
    assert_eq!(world.fail_times("203.0.113.7", 4), Seen::Counted);
    assert_eq!(world.fail_times("203.0.113.7", 1), Seen::Banned);
    assert_eq!(world.ban().count, 2);
}

#[test]
fn an_unban_of_one_jail_leaves_the_others() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    let (jail, now) = (world.id("postfix-sasl"), world.now);
    assert_eq!(world.jails.unban(now, Some(jail), net("203.0.113.7"), &mut world.out), 1);
    assert!(world.banned("203.0.113.7"));
    assert_eq!(world.jails.unban_all(now, None, &mut world.out), 1);
}

#[test]
fn an_unban_takes_what_lies_inside_and_what_lies_around() {
    let mut world = World::new();
    for target in ["203.0.113.7", "203.0.113.8", "203.0.112.0/23", "198.51.100.1"] {
        world.ban_by_hand(target, None, false).unwrap();
    }
    assert_eq!(world.unban("203.0.113.7"), 2);
    assert_eq!(world.unban("203.0.113.0/24"), 1);
    assert_eq!(world.jails.ban_count(), 1);
    world.fail_times("2001:db8::7", 5);
    assert_eq!(world.unban("2001:db8::1234"), 1, "an address in a banned /64");
}

#[test]
fn under_grace_failures_do_not_count_until_it_ends() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    world.unban("203.0.113.7");
    let now = world.now;
    let target = GraceTarget::Net(net("203.0.113.7"));
    let grace = world.jails.grace(now, target.clone(), 30 * MINUTE);
    assert_eq!(world.jails.grace_of(now, &target), Some(grace.until));
    assert!(world.jails.allow_nets().contains(&net("203.0.113.7")));
    assert_eq!(world.fail_times("203.0.113.7", 60), Seen::Ignored);
    world.now = grace.until;
    assert_eq!(world.expire(), [Action::AllowSetChanged]);
    assert_eq!(world.jails.grace_of(world.now, &target), None);
    assert!(!world.jails.allow_nets().contains(&net("203.0.113.7")));
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
}

#[test]
fn a_line_from_within_a_grace_that_is_read_after_it_does_not_count() {
    let mut world = World::new();
    let now = world.now;
    world.jails.grace(now, GraceTarget::Net(net("203.0.113.7")), 30 * MINUTE);
    world.wait(40 * MINUTE);
    world.expire();
    let within = failure("203.0.113.7", Some(now.plus(10 * MINUTE)));
    assert_eq!(world.tell("postfix-sasl", false, &within), Seen::Ignored);
    assert_eq!(world.fail("203.0.113.7"), Seen::Counted);
}

#[test]
fn a_grace_of_an_account_holds_in_any_spelling_and_is_no_free_run() {
    let mut world = World::new();
    let now = world.now;
    world.jails.grace(now, GraceTarget::Account("Alice@example.org".into()), 30 * MINUTE);
    let attempt =
        |user: &'static [u8], now| Attempt { user: Some(user), ..failure("203.0.113.7", Some(now)) };
    for user in [b"alice@EXAMPLE.org".as_slice(), b"alice", b"ALICE"] {
        assert_eq!(world.tell("postfix-sasl", true, &attempt(user, now)), Seen::Ignored);
    }
    for user in [b"alice@example.net".as_slice(), b"bob", b"@example.org", b""] {
        assert_ne!(world.tell("cyrus", true, &attempt(user, now)), Seen::Ignored);
    }
    let target = GraceTarget::Account("alice".into());
    assert!(world.jails.grace_of(now, &target).is_some());
    let mut banned = 0;
    for n in 0..400 {
        let from = format!("198.18.0.{}", n % 30);
        let attempt = Attempt { user: Some(b"alice"), ..failure(&from, Some(now)) };
        banned += u32::from(world.tell("postfix-sasl", true, &attempt) == Seen::Banned);
    }
    assert!(banned > 0, "a guesser must not have a mailbox to himself for half an hour");
}

#[test]
fn a_ban_by_hand_ends_the_grace() {
    let mut world = World::new();
    let now = world.now;
    world.jails.grace(now, GraceTarget::Net(net("203.0.113.7")), 30 * MINUTE);
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    assert_eq!(world.jails.graces().count(), 0);
    assert_eq!(world.out[0], Action::AllowSetChanged);
}

#[test]
fn an_allow_entry_lifts_bans_and_holds_until_it_ends() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    let now = world.now;
    let entry = AllowEntry {
        target: net("203.0.113.0/24"),
        until: Some(now.plus(DAY)),
        by: "helpdesk".into(),
        reason: Some("customer 4711".into()),
    };
    let mut out = Vec::new();
    world.jails.allow_add(now, entry.clone(), &mut out);
    assert!(matches!(out.as_slice(), [Action::Unban { cause: Cause::Allowed, .. }]));
    assert_eq!(world.fail_times("203.0.113.7", 9), Seen::Ignored);
    let refused = world.ban_by_hand("203.0.113.9", None, false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "203.0.113.9 is never banned: it is on the allow list (by helpdesk: customer 4711)"
    );
    assert_eq!(world.jails.allow_list().collect::<Vec<_>>(), [&entry]);
    world.wait(DAY);
    assert_eq!(world.expire(), [Action::AllowSetChanged]);
    assert_eq!(world.jails.allow_list().count(), 0);
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
}

#[test]
fn an_allow_entry_can_be_taken_back() {
    let mut world = World::new();
    let entry = AllowEntry { target: net("203.0.113.7"), until: None, by: "root".into(), reason: None };
    world.jails.allow_add(world.now, entry, &mut Vec::new());
    assert_eq!(world.fail_times("203.0.113.7", 9), Seen::Ignored);
    assert!(world.jails.allow_remove(net("203.0.113.7")) && !world.jails.allow_remove(net("203.0.113.7")));
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
}
