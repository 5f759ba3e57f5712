//! Jails that count bans.

use super::*;
use crate::jail::Dirty;

/// Three bans within an hour ban for a day.
fn again(name: &str) -> JailSettings {
    let settings = JailSettings::new(JailName::new(name).unwrap());
    let recidive = Some(settings.name.clone());
    JailSettings { maxretry: 3, findtime: secs(3600), bantime: Span::For(secs(86_400)), recidive, ..settings }
}

fn short() -> JailSettings {
    JailSettings { maxretry: 1, bantime: Span::For(secs(60)), ..sasl() }
}

fn world() -> World {
    World::of(vec![short(), JailSettings { maxretry: 1, ..imap() }, again("recidive")])
}

impl World {
    /// One failure, which bans for a minute; that passes.
    fn short_ban(&mut self, from: &str) -> Vec<String> {
        self.fail(from);
        let jails = self.out.iter().filter_map(|action| match action {
            Action::Ban(ban) => Some(ban.jail.to_string()),
            _ => None,
        });
        let jails = jails.collect();
        self.wait(secs(61));
        self.expire();
        jails
    }
}

#[test]
fn the_third_ban_within_findtime_bans_for_longer() {
    let mut world = world();
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
    assert_eq!(world.short_ban("203.0.113.8"), ["postfix-sasl"]);
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl", "recidive"]);
    let [ban] = &world.jails.bans_of(net("203.0.113.7"))[..] else { panic!("one ban is left") };
    assert_eq!((ban.jail.as_str(), ban.failures, ban.count), ("recidive", 3, 1));
    // While it stands, no further ones of it are made.
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
    let counts = world.jails.counts(world.id("recidive"));
    assert_eq!((counts.banned_total, counts.failures), (1, 5));
}

#[test]
fn bans_longer_ago_than_findtime_do_not_count() {
    let mut world = world();
    for _ in 0..5 {
        assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
        world.wait(secs(1800));
    }
}

#[test]
fn bans_of_several_jails_and_by_hand_count_together() {
    let mut world = world();
    world.fail("203.0.113.7");
    world.tell("cyrus", true, &failure("203.0.113.7", Some(world.now)));
    world.ban_by_hand("203.0.113.7", None, false).unwrap();
    let jails: Vec<_> =
        world.jails.bans_of(net("203.0.113.7")).iter().map(|ban| ban.jail.to_string()).collect();
    assert_eq!(jails, ["cyrus", "manual", "postfix-sasl", "recidive"]);
    // A ban that only takes the place of another is none more.
    world.unban("203.0.113.7");
    for _ in 0..3 {
        world.ban_by_hand("203.0.113.8", None, false).unwrap();
    }
    assert_eq!(world.jails.bans_of(net("203.0.113.8")).len(), 1);
}

#[test]
fn its_own_bans_and_those_of_the_jail_it_names_do_not_count_and_those_of_another_such_jail_do() {
    let named = JailSettings { recidive: Some(sasl().name), maxretry: 1, ..again("named") };
    let mut world = World::of(vec![short(), named]);
    for _ in 0..4 {
        assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
    }
    let first = JailSettings { maxretry: 1, ..again("first") };
    let mut world = World::of(vec![short(), first.clone(), JailSettings { maxretry: 2, ..again("second") }]);
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl", "first", "second"]);
    // Two that count each other's bans come to an end.
    let mut world = World::of(vec![short(), first, JailSettings { maxretry: 1, ..again("second") }]);
    assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl", "first", "second"]);
}

#[test]
fn who_is_ignored_there_is_not_counted_and_networks_count_where_they_are_the_key() {
    let ignoring = JailSettings { ignoreip: vec!["203.0.113.7".parse().unwrap()], ..again("recidive") };
    let mut world = World::of(vec![short(), ignoring]);
    for _ in 0..4 {
        assert_eq!(world.short_ban("203.0.113.7"), ["postfix-sasl"]);
    }
    // A /64 is one peer to both; a /24 by hand is no address.
    for _ in 0..2 {
        assert_eq!(world.short_ban("2001:db8:1:2::7"), ["postfix-sasl"]);
    }
    assert_eq!(world.short_ban("2001:db8:1:2::8"), ["postfix-sasl", "recidive"]);
    for _ in 0..4 {
        world.ban_by_hand("192.0.2.0/24", None, false).unwrap();
        assert_eq!(world.out.len(), 1);
        world.unban("192.0.2.0/24");
    }
}

#[test]
fn what_was_counted_survives_a_restart_and_a_ban_put_back_counts_no_more() {
    let mut world = world();
    world.short_ban("203.0.113.7");
    world.fail("203.0.113.7");
    let mut after = self::world();
    after.now = world.now;
    for ban in world.jails.bans() {
        assert!(after.jails.restore_ban(after.now, &ban));
    }
    world.jails.take_dirty(|dirty| {
        if let Dirty::Window { jail, key, window: Some(window) } = dirty {
            assert!(after.jails.restore_window(&jail, key, &window));
        }
    });
    after.wait(secs(61));
    after.expire();
    assert_eq!(after.short_ban("203.0.113.7"), ["postfix-sasl", "recidive"], "the third");
}
