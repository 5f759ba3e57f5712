//! Restart and reload.

use super::*;

/// What a store would hold: everything dirty, applied.
#[derive(Default, Clone)]
struct Stored {
    windows: std::collections::BTreeMap<(JailName, Net), Vec<u8>>,
    histories: std::collections::BTreeMap<(JailName, Net), (u32, Option<Timestamp>)>,
    counters: std::collections::BTreeMap<JailName, (u64, u64)>,
}

impl Stored {
    fn take(&mut self, jails: &mut Jails) {
        jails.take_dirty(|dirty| match dirty {
            Dirty::Window { jail, key, window: Some(bytes) } => {
                self.windows.insert((jail, key), bytes);
            }
            Dirty::Window { jail, key, window: None } => {
                self.windows.remove(&(jail, key));
            }
            Dirty::History { jail, target, count: 0, .. } => {
                self.histories.remove(&(jail, target));
            }
            Dirty::History { jail, target, count, last_end } => {
                self.histories.insert((jail, target), (count, last_end));
            }
            Dirty::Counters { jail, failures, banned_total } => {
                self.counters.insert(jail, (failures, banned_total));
            }
        });
    }

    fn put(&self, jails: &mut Jails) {
        for ((jail, key), bytes) in &self.windows {
            assert!(jails.restore_window(jail, *key, bytes));
        }
        for ((jail, target), (count, last_end)) in &self.histories {
            assert!(jails.restore_history(jail, *target, *count, *last_end));
        }
        for (jail, (failures, banned_total)) in &self.counters {
            assert!(jails.restore_counters(jail, *failures, *banned_total));
        }
    }
}

#[test]
fn after_a_restart_everything_goes_on_where_it_was() {
    let increment = Increment { enabled: true, ..Increment::default() };
    let settings = vec![JailSettings { increment, ..sasl() }, imap()];
    let mut world = World::of(settings.clone());
    let mut stored = Stored::default();
    world.fail_times("203.0.113.7", 5);
    stored.take(&mut world.jails);
    world.unban("203.0.113.7");
    world.fail_times("203.0.113.8", 5);
    world.fail_times("203.0.113.9", 4);
    stored.take(&mut world.jails);
    let bans: Vec<Ban> = world.jails.bans().collect();
    let counts = world.jails.counts(world.id("postfix-sasl"));

    world.jails = Jails::new(settings, Vec::new(), &Limits::default(), 2);
    stored.put(&mut world.jails);
    for ban in &bans {
        assert!(world.jails.restore_ban(world.now, ban));
    }
    assert_eq!(world.jails.bans().collect::<Vec<_>>(), bans);
    assert_eq!(world.jails.counts(world.id("postfix-sasl")), counts);
    let mut fresh = Stored::default();
    fresh.take(&mut world.jails);
    assert!(fresh.windows.is_empty() && fresh.histories.is_empty() && fresh.counters.is_empty());
    assert_eq!(world.fail("203.0.113.8"), Seen::AlreadyBanned);
    assert_eq!(world.fail("203.0.113.9"), Seen::Banned, "four failures were remembered");
    world.fail_times("203.0.113.7", 5);
    assert_eq!((world.ban().count, world.ban().until), (2, Some(world.now.plus(2 * HOUR))));
}

/// What is in force goes over a restart: everything dirty, and the bans.
fn restart(world: &mut World, stored: &mut Stored, settings: Vec<JailSettings>) {
    stored.take(&mut world.jails);
    let bans: Vec<Ban> = world.jails.bans().collect();
    world.jails = Jails::new(settings, Vec::new(), &Limits::default(), 2);
    for ban in &bans {
        assert!(world.jails.restore_ban(world.now, ban));
    }
    stored.put(&mut world.jails);
}

#[test]
fn the_history_of_a_first_ban_is_known_after_a_restart_without_a_record_and_has_one_from_its_end_on() {
    for overalljails in [false, true] {
        let increment = Increment { enabled: true, overalljails, ..Increment::default() };
        let jails = || {
            let of = |settings| JailSettings { increment: increment.clone(), ..settings };
            vec![of(sasl()), of(imap())]
        };
        let mut world = World::of(jails());
        let mut stored = Stored::default();
        world.fail_times("203.0.113.7", 5);
        stored.take(&mut world.jails);
        assert!(stored.histories.is_empty(), "the ban tells it");
        restart(&mut world, &mut stored, jails());
        world.wait(30 * DAY);
        world.expire();
        stored.take(&mut world.jails);
        assert_eq!(stored.histories.values().map(|(count, _)| *count).collect::<Vec<_>>(), [1]);
        restart(&mut world, &mut stored, jails());
        world.fail_times("203.0.113.7", 5);
        assert_eq!(world.ban().count, 2);
        // The second jail's first ban counts as the third where all jails count: it does not tell its own history.
        while !matches!(world.tell("cyrus", true, &failure("203.0.113.7", None)), Seen::Banned) {}
        let third = world.ban().clone();
        assert_eq!(third.count, if overalljails { 3 } else { 1 });
        restart(&mut world, &mut stored, jails());
        let cyrus = world.id("cyrus");
        assert_eq!(world.jails.history_of(cyrus, third.target), Some((1, third.until)));
    }
}

#[test]
fn a_history_forgotten_at_the_cap_does_not_come_back_in_place_of_a_new_first_ban() {
    let limits = Limits { histories_max: 1, ..Limits::default() };
    let mut world = World::new();
    world.jails.set_limits(&limits);
    let mut stored = Stored::default();
    let mut recorded = |world: &mut World| {
        stored.take(&mut world.jails);
        stored.histories.keys().map(|(_, target)| target.to_string()).collect::<Vec<_>>()
    };
    world.fail_times("203.0.113.7", 5);
    world.unban("203.0.113.7");
    assert_eq!(recorded(&mut world), ["203.0.113.7"]);
    // Pushed out, and back within one frame.
    world.fail_times("203.0.113.8", 5);
    world.unban("203.0.113.8");
    world.fail_times("203.0.113.7", 5);
    assert_eq!(world.ban().count, 1);
    assert_eq!(recorded(&mut world), ["203.0.113.8"]);
    let id = world.id("postfix-sasl");
    assert_eq!(world.jails.history_of(id, net("203.0.113.7")), Some((1, world.ban().until)));
}

#[test]
fn a_ban_that_ended_while_the_daemon_was_down_ends_properly() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    let ban = world.ban().clone();
    world.wait(2 * HOUR);
    let mut jails = Jails::new(vec![sasl()], Vec::new(), &Limits::default(), 1);
    assert!(jails.restore_ban(world.now, &ban));
    world.jails = jails;
    let ended = world.expire();
    assert!(
        matches!(ended.as_slice(), [Action::Unban { at, cause: Cause::Expired, .. }] if Some(*at) == ban.until)
    );
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).banned, 0);
}

#[test]
fn lines_from_before_a_restart_do_not_make_a_restored_ban_look_useless() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    let (ban, then) = (world.ban().clone(), world.now);
    world.wait(10 * MINUTE);
    assert!(world.jails.restore_ban(world.now, &ban));
    for n in 0..20 {
        world.tell("postfix-sasl", false, &failure("203.0.113.7", Some(then.plus(secs(10 * n)))));
        assert!(world.out.is_empty());
    }
}

#[test]
fn what_belongs_to_no_jail_or_to_other_keys_is_not_restored() {
    let mut world = World::new();
    let nobody = JailName::new("nobody").unwrap();
    let sasl = JailName::new("postfix-sasl").unwrap();
    let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(!world.jails.restore_window(&nobody, net("203.0.113.7"), &bytes));
    assert!(!world.jails.restore_window(&sasl, net("203.0.113.0/24"), &bytes));
    assert!(!world.jails.restore_window(&sasl, net("203.0.113.7"), b"nonsense"));
    assert!(!world.jails.restore_history(&nobody, net("203.0.113.7"), 1, None));
    assert!(world.jails.restore_window(&sasl, net("203.0.113.7"), &bytes));
    assert_eq!(world.jails.counts(world.id("postfix-sasl")).tracked, 1);
}

#[test]
fn reload_keeps_the_state_of_every_jail_that_is_still_there() {
    let mut world = World::new();
    let id = world.id("cyrus");
    world.fail_times("203.0.113.7", 5);
    world.fail_times("203.0.113.8", 4);
    let mut out = Vec::new();
    let changed = JailSettings { maxretry: 6, bantime: Span::For(DAY), ..sasl() };
    world.jails.reconfigure(world.now, vec![changed, imap()], Vec::new(), &mut out);
    assert!(out.is_empty() && world.id("cyrus") == id && world.banned("203.0.113.7"));
    assert_eq!(world.fail_times("203.0.113.8", 1), Seen::Counted);
    assert_eq!(world.fail_times("203.0.113.8", 1), Seen::Banned);
    assert_eq!(world.ban().until, Some(world.now.plus(DAY)));
}

#[test]
fn reload_with_other_keys_starts_counting_anew() {
    let mut world = World::new();
    world.fail_times("2001:db8::7", 4);
    let changed = JailSettings { ipv6_prefix: 128, ..sasl() };
    world.jails.reconfigure(world.now, vec![changed, imap()], Vec::new(), &mut Vec::new());
    assert_eq!(world.jails.tracked(), 0);
    assert_eq!(world.fail_times("2001:db8::7", 4), Seen::Counted);
    assert_eq!(world.fail_times("2001:db8::7", 1), Seen::Banned);
}

#[test]
fn a_jail_that_is_gone_has_its_bans_lifted_and_may_come_back() {
    let mut world = World::new();
    let id = world.id("postfix-sasl");
    world.fail_times("203.0.113.7", 5);
    world.fail_times("203.0.113.8", 3);
    let mut out = Vec::new();
    world.jails.reconfigure(world.now, vec![imap()], Vec::new(), &mut out);
    assert!(matches!(out.as_slice(), [Action::Unban { cause: Cause::Reload, .. }]));
    assert!(world.jails.id("postfix-sasl").is_none() && world.jails.tracked() == 0);
    assert_eq!(world.jails.ids().count(), 2, "manual and cyrus");
    world.jails.reconfigure(world.now, vec![imap(), sasl()], Vec::new(), &mut out);
    assert_eq!(world.id("postfix-sasl"), id);
    assert_eq!(world.fail_times("203.0.113.8", 4), Seen::Counted);
}

#[test]
fn reload_with_a_longer_ignoreip_lifts_what_it_covers() {
    let mut world = World::new();
    world.fail_times("203.0.113.7", 5);
    let mut out = Vec::new();
    world.jails.reconfigure(world.now, vec![sasl()], vec!["203.0.113.0/24".parse().unwrap()], &mut out);
    assert!(matches!(out.as_slice(), [Action::Unban { cause: Cause::Allowed, .. }]));
}

#[test]
fn bans_by_hand_outlive_any_reload() {
    let mut world = World::new();
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    world.jails.reconfigure(world.now, Vec::new(), Vec::new(), &mut Vec::new());
    assert!(world.banned("203.0.113.7"));
}
