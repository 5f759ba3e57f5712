//! Bans by rule.

use super::*;

#[test]
fn fifth_failure_inside_findtime_bans() {
    let mut world = World::new();
    assert_eq!(world.fail_times("203.0.113.7", 4), Seen::Counted);
    assert!(!world.banned("203.0.113.7"));
    assert_eq!(world.fail_times("203.0.113.7", 1), Seen::Banned);
    let ban = world.ban().clone();
    assert_eq!(
        (ban.jail.as_str(), ban.target, ban.failures, ban.count),
        ("postfix-sasl", net("203.0.113.7"), 5, 1)
    );
    assert_eq!((ban.since, ban.until), (world.now, Some(world.now.plus(HOUR))));
    assert!(ban.effective && ban.origin == Origin::Jail && world.banned("203.0.113.7"));
}

#[test]
fn failures_further_apart_than_findtime_do_not_ban() {
    let mut world = World::new();
    for _ in 0..100 {
        world.wait(secs(151));
        assert_eq!(world.fail("203.0.113.7"), Seen::Counted);
    }
}

#[test]
fn jails_count_apart() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 4);
    let attempt = failure("203.0.113.7", Some(world.now));
    assert_eq!(world.tell("cyrus", true, &attempt), Seen::Counted);
    assert_eq!(world.jails.windows_of(world.now, net("203.0.113.7")).len(), 2);
}

#[test]
fn a_good_login_is_no_failure_and_clears_nothing() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 4);
    let good = Attempt { outcome: Outcome::Success, ..failure("203.0.113.7", Some(world.now)) };
    assert_eq!(world.tell("postfix-sasl", true, &good), Seen::Success);
    assert_eq!(world.fail("203.0.113.7"), Seen::Banned);
}

#[test]
fn an_attempt_without_an_address_counts_for_nothing() {
    let mut world = World::new();
    let attempt = Attempt { host: None, ..failure("203.0.113.7", Some(world.now)) };
    for _ in 0..20 {
        assert_eq!(world.tell("postfix-sasl", true, &attempt), Seen::NoHost);
    }
    assert_eq!((world.jails.tracked(), world.jails.counts(world.id("postfix-sasl")).failures), (0, 0));
}

#[test]
fn repeated_n_times_counts_n() {
    let mut world = World::new();
    let attempt = Attempt { times: 5, ..failure("203.0.113.7", Some(world.now)) };
    assert_eq!(world.tell("postfix-sasl", true, &attempt), Seen::Banned);
    assert_eq!(world.ban().failures, 5);
    let attempt = Attempt { times: 4, ..failure("203.0.113.8", Some(world.now)) };
    assert_eq!(world.tell("postfix-sasl", true, &attempt), Seen::Counted);
}

#[test]
fn a_mapped_address_is_the_same_peer() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 4);
    assert_eq!(world.fail("::ffff:203.0.113.7"), Seen::Banned);
}

#[test]
fn ipv6_is_counted_and_banned_by_64() {
    let mut world = World::new();
    for n in 1..5 {
        assert_eq!(world.fail(&format!("2001:db8:0:7::{n}")), Seen::Counted);
    }
    assert_eq!(world.fail("2001:db8:0:8::1"), Seen::Counted);
    assert_eq!(world.fail("2001:db8:0:7::ffff"), Seen::Banned);
    assert_eq!(world.ban().target, net("2001:db8:0:7::/64"));
    assert!(world.banned("2001:db8:0:7:1:2:3:4") && !world.banned("2001:db8:0:8::1"));
}

#[test]
fn ipv6_prefix_128_counts_addresses() {
    let mut world = World::of(vec![JailSettings { ipv6_prefix: 128, ..sasl() }]);
    for n in 1..100 {
        assert_eq!(world.fail(&format!("2001:db8::{n:x}")), Seen::Counted);
    }
    assert_eq!(world.fail_times("2001:db8::1", 4), Seen::Banned);
    assert_eq!(world.ban().target, net("2001:db8::1"));
}

#[test]
fn key_subnet_counts_and_bans_networks_of_both_families() {
    let subnet = JailSettings { key: KeyKind::Subnet, ipv4_prefix: 24, ipv6_prefix: 56, ..sasl() };
    let mut world = World::of(vec![subnet]);
    for n in 1..5 {
        world.fail(&format!("203.0.113.{n}"));
    }
    assert_eq!(world.fail("203.0.112.1"), Seen::Counted);
    assert_eq!(world.fail("203.0.113.200"), Seen::Banned);
    assert_eq!(world.ban().target, net("203.0.113.0/24"));
    for n in 1..5 {
        world.fail(&format!("2001:db8:0:{n}::1"));
    }
    assert_eq!(world.fail("2001:db8:0:ff::1"), Seen::Banned);
    assert_eq!(world.ban().target, net("2001:db8::/56"));
}

#[test]
fn maxretry_0_and_1_ban_at_the_first_failure() {
    for maxretry in [0, 1] {
        let mut world = World::of(vec![JailSettings { maxretry, ..sasl() }]);
        assert_eq!(world.fail("203.0.113.7"), Seen::Banned);
    }
}

#[test]
fn a_banned_target_gets_no_second_ban_while_lines_still_arrive() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    for _ in 0..30 {
        assert_eq!(world.fail("203.0.113.7"), Seen::AlreadyBanned);
        assert!(world.out.is_empty());
    }
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).banned_total, 1);
}

#[test]
fn failures_well_after_a_ban_show_that_it_does_nothing_and_that_is_said_once() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    world.wait(secs(6));
    world.fail("203.0.113.7");
    world.fail("203.0.113.7");
    assert!(world.out.is_empty() && world.jails.bans_of(net("203.0.113.7"))[0].effective);
    world.fail("203.0.113.7");
    let jail = JailName::new("postfix-sasl").unwrap();
    assert_eq!(world.out, [Action::Ineffective { jail, target: net("203.0.113.7") }]);
    assert!(!world.jails.bans_of(net("203.0.113.7"))[0].effective);
    assert_eq!(world.fail_times("203.0.113.7", 20), Seen::AlreadyBanned);
    assert!(world.out.is_empty());
}

#[test]
fn a_manual_ban_that_does_nothing_is_noticed_by_any_jail() {
    let mut world = World::new();
    world.ban_by_hand("203.0.113.0/24", None, false).unwrap();
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::AlreadyBanned);
    world.wait(secs(6));
    world.fail_times("203.0.113.7", 3);
    assert_eq!(world.out, [Action::Ineffective { jail: JailName::manual(), target: net("203.0.113.0/24") }]);
    // From now on the jail's own rule is tried.
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
}

#[test]
fn a_ban_ends_by_itself_and_counting_starts_anew() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    assert_eq!(world.jails.next_deadline(), Some(world.now.plus(HOUR)));
    world.wait(HOUR - secs(1));
    assert!(world.expire().is_empty());
    world.wait(secs(1));
    let (jail, at) = (JailName::new("postfix-sasl").unwrap(), world.now);
    let end = Action::Unban { jail, target: net("203.0.113.7"), at, cause: Cause::Expired };
    assert_eq!(world.expire(), [end]);
    assert!(!world.banned("203.0.113.7") && world.jails.next_deadline().is_none());
    assert_eq!(world.fail_times("203.0.113.7", 4), Seen::Counted);
    assert_eq!(world.fail_times("203.0.113.7", 1), Seen::Banned);
    assert_eq!(world.ban().count, 2);
}

#[test]
fn a_ban_that_is_over_by_log_time_does_not_hide_failures_before_anybody_called_expire() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    world.wait(HOUR);
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
    // The old ban was replaced: it ends once.
    world.wait(HOUR);
    assert_eq!(world.expire().len(), 1);
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).banned, 0);
}

#[test]
fn bans_grow_and_shrink_again_after_quiet_times() {
    let increment = Increment { enabled: true, decay: Some(60 * DAY), ..Increment::default() };
    let mut world = World::of(vec![JailSettings { increment, ..sasl() }]);
    let mut hours = Vec::new();
    let mut offend = |world: &mut World| {
        assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Banned);
        let ban = world.ban().clone();
        hours.push(ban.until.unwrap().since(ban.since).as_secs() / 3600);
        world.now = ban.until.unwrap();
        world.expire();
    };
    for _ in 0..4 {
        offend(&mut world);
    }
    world.wait(61 * DAY);
    offend(&mut world);
    world.wait(60 * 4 * DAY);
    offend(&mut world);
    assert_eq!(hours, [1, 2, 4, 8, 4, 1]);
}

#[test]
fn who_was_banned_before_is_banned_sooner_where_known_bad_says_so() {
    let increment = Increment { enabled: true, known_bad: true, decay: None, ..Increment::default() };
    let mut world = World::of(vec![JailSettings { increment, ..sasl() }]);
    let mut tries = Vec::new();
    for _ in 0..4 {
        let needed = (1..=5).find(|_| world.fail("203.0.113.7") == Seen::Banned);
        tries.push(needed.expect("five failures ban in any case"));
        world.now = world.ban().until.unwrap();
        world.expire();
    }
    assert_eq!(tries, [5, 3, 2, 1], "each counts once, twice, three times, five times");
    assert_eq!(world.fail("203.0.113.8"), Seen::Counted, "others are as they were");
}

#[test]
fn bans_of_all_jails_count_where_overalljails_says_so() {
    let increment = Increment { enabled: true, overalljails: true, ..Increment::default() };
    let mut world = World::of(vec![sasl(), JailSettings { increment, ..imap() }]);
    world.fail_times("203.0.113.7", 5);
    world.wait(2 * HOUR);
    world.expire();
    let attempt = Attempt { times: 5, ..failure("203.0.113.7", Some(world.now)) };
    assert_eq!(world.tell("cyrus", true, &attempt), Seen::Banned);
    let ban = world.ban();
    assert_eq!((ban.count, ban.until), (2, Some(world.now.plus(2 * HOUR))));
    world.wait(3 * HOUR);
    world.expire();
    world.fail_times("203.0.113.7", 5);
    assert_eq!(world.ban().count, 2, "postfix-sasl counts only its own");
}

#[test]
fn a_bantime_without_end_never_ends_with_increments_too() {
    let increment = Increment { enabled: true, ..Increment::default() };
    let mut world = World::of(vec![JailSettings { bantime: Span::Forever, increment, ..sasl() }]);
    world.fail_times("203.0.113.7", 5);
    assert_eq!((world.ban().until, world.jails.next_deadline()), (None, None));
    world.wait(10_000 * DAY);
    assert!(world.expire().is_empty() && world.banned("203.0.113.7"));
}

#[test]
fn one_target_may_be_banned_in_several_jails() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    let attempt = Attempt { times: 5, ..failure("203.0.113.7", Some(world.now)) };
    assert_eq!(world.tell("cyrus", true, &attempt), Seen::Banned);
    assert_eq!(world.jails.bans_of(net("203.0.113.7")).len(), 2);
    assert!(world.jails.is_banned(host("203.0.113.7"), Some(world.id("cyrus"))));
}

mod time {
    use super::*;

    #[test]
    fn old_lines_count_by_their_own_time_and_ban_for_the_remainder() {
        let mut world = World::new();
        let start = world.now.minus(40 * MINUTE);
        for n in 0..5 {
            let attempt = failure("203.0.113.7", Some(start.plus(secs(n))));
            world.tell("postfix-sasl", false, &attempt);
        }
        let ban = world.ban();
        assert_eq!((ban.since, ban.until), (start.plus(secs(4)), Some(start.plus(secs(4)).plus(HOUR))));
        assert_eq!(ban.left(world.now).map(|left| left == Span::For(20 * MINUTE + secs(4))), Some(true));
    }

    #[test]
    fn a_ban_that_would_be_over_by_now_is_not_made_and_its_failures_are_spent() {
        let mut world = World::new();
        let start = world.now.minus(65 * MINUTE);
        for n in 0..5 {
            let attempt = failure("203.0.113.7", Some(start.plus(secs(n))));
            let seen = world.tell("postfix-sasl", false, &attempt);
            assert_eq!(seen, if n == 4 { Seen::TooOld } else { Seen::Counted });
        }
        assert!(world.out.is_empty() && world.jails.tracked() == 0);
    }

    #[test]
    fn lines_too_old_to_lead_to_a_ban_are_not_kept() {
        let mut world = World::new();
        let attempt = failure("203.0.113.7", Some(world.now.minus(71 * MINUTE)));
        assert_eq!(world.tell("postfix-sasl", false, &attempt), Seen::TooOld);
        assert_eq!(world.jails.tracked(), 0);
    }

    #[test]
    fn lines_of_two_logs_read_one_after_the_other_add_up() {
        let mut world = World::new();
        let start = world.now.minus(30 * MINUTE);
        for n in [0, 200, 400, 100, 300] {
            let attempt = failure("203.0.113.7", Some(start.plus(secs(n))));
            world.tell("postfix-sasl", false, &attempt);
        }
        assert_eq!(world.ban().since, start.plus(secs(400)));
    }

    #[test]
    fn failures_read_late_do_not_make_a_fresh_ban_look_useless() {
        let mut world = World::new();
        let start = world.now.minus(40 * MINUTE);
        for n in 0..60 {
            let attempt = failure("203.0.113.7", Some(start.plus(secs(20 * n))));
            world.tell("postfix-sasl", false, &attempt);
            assert!(!matches!(world.out.as_slice(), [Action::Ineffective { .. }]));
        }
        assert!(world.jails.bans_of(net("203.0.113.7"))[0].effective);
    }

    #[test]
    fn a_live_date_more_than_a_minute_off_counts_as_now_and_is_said_once_a_day() {
        for hours_off in [-5i64, 5] {
            let mut world = World::new();
            let mut said = 0;
            for n in 0..5 {
                world.wait(secs(1));
                let log = Timestamp::from_secs(world.now.secs() + hours_off * 3600);
                let seen = world.tell("postfix-sasl", true, &failure("203.0.113.7", Some(log)));
                assert_eq!(seen == Seen::Banned, n == 4);
                said += world.out.iter().filter(|action| matches!(action, Action::ClockOff { .. })).count();
            }
            assert_eq!(said, 1);
            assert_eq!(world.jails.bans().next().unwrap().since, world.now);
            world.wait(DAY);
            let log = Timestamp::from_secs(world.now.secs() + hours_off * 3600);
            world.tell("postfix-sasl", true, &failure("203.0.113.8", Some(log)));
            assert!(matches!(world.out.as_slice(), [Action::ClockOff { .. }]));
        }
    }

    #[test]
    fn a_live_date_just_inside_a_minute_stands() {
        let mut world = World::of(vec![JailSettings { maxretry: 1, ..sasl() }]);
        let log = world.now.minus(secs(60));
        world.tell("postfix-sasl", true, &failure("203.0.113.7", Some(log)));
        assert_eq!(world.ban().since, log);
    }

    #[test]
    fn a_date_in_the_future_is_no_longer_ban_even_in_an_old_line() {
        let mut world = World::of(vec![JailSettings { maxretry: 1, ..sasl() }]);
        let log = world.now.plus(DAY);
        world.tell("postfix-sasl", false, &failure("203.0.113.7", Some(log)));
        let ban = world.jails.bans().next().unwrap();
        assert_eq!(ban.until, Some(world.now.plus(HOUR)));
    }

    #[test]
    fn a_line_without_a_date_counts_as_now() {
        let mut world = World::of(vec![JailSettings { maxretry: 1, ..sasl() }]);
        world.tell("postfix-sasl", true, &failure("203.0.113.7", None));
        assert_eq!(world.ban().since, world.now);
    }

    #[test]
    fn a_clock_set_back_neither_ends_bans_nor_makes_them_longer() {
        let mut world = World::new();
        world.fail_times("203.0.113.7", 5);
        let until = world.ban().until;
        world.now = world.now.minus(DAY);
        assert!(world.expire().is_empty());
        assert_eq!(world.jails.bans().next().unwrap().until, until);
        assert_eq!(world.fail_times("203.0.113.8", 5), Seen::Banned);
    }
}

mod caps {
    use super::*;

    #[test]
    fn failures_never_push_out_bans_and_a_full_table_says_so() {
        let limits = Limits { bans_max: 3, tracked_keys_max: 10, ..Limits::default() };
        let mut world = World::new();
        world.jails = Jails::new(vec![sasl()], Vec::new(), &limits, 1);
        for n in 1..=3 {
            assert_eq!(world.fail_times(&format!("203.0.113.{n}"), 5), Seen::Banned);
        }
        assert_eq!(world.fail_times("203.0.113.4", 5), Seen::Counted);
        assert!(matches!(world.out.as_slice(), [Action::BansFull { .. }]));
        world.fail("203.0.113.4");
        assert!(world.out.is_empty(), "said at most once a minute");
        for n in 0..1000 {
            world.fail(&format!("198.18.{}.{}", n / 250, n % 250));
        }
        assert_eq!((world.jails.ban_count(), world.jails.tracked()), (3, 10));
        assert_eq!(world.ban_by_hand("192.0.2.1", None, false), Err(Refusal::Full(3)));
        let id = world.id("postfix-sasl");
        assert_eq!(world.jails.counts(id).tracked, 10);
    }

    #[test]
    fn old_windows_are_forgotten_bit_by_bit_once_caught_up() {
        let mut world = World::new();
        world.expire();
        for n in 0..3000 {
            world.fail(&format!("198.18.{}.{}", n / 250, n % 250));
        }
        assert_eq!(world.jails.tracked(), 3000);
        world.wait(11 * MINUTE);
        for _ in 0..3 {
            world.expire();
        }
        let id = world.id("postfix-sasl");
        assert_eq!((world.jails.tracked(), world.jails.counts(id).tracked), (0, 0));
    }

    #[test]
    fn windows_stay_while_old_lines_are_read() {
        let mut world = World::new();
        let start = world.now.minus(30 * MINUTE);
        for n in 0..4 {
            world.tell("postfix-sasl", false, &failure("203.0.113.7", Some(start.plus(secs(n)))));
            world.expire();
        }
        let seen = world.tell("postfix-sasl", false, &failure("203.0.113.7", Some(start.plus(secs(9)))));
        assert_eq!(seen, Seen::Banned);
    }
}
