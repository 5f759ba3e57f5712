//! Jails that ask somebody outside before they ban.

use super::*;

fn asked(world: &World) -> (Net, (Timestamp, u32)) {
    match world.out.as_slice() {
        [Action::Ask { target, last, failures, .. }] => (*target, (*last, *failures)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_jail_that_asks_bans_only_when_the_answer_is_no() {
    let mut world = World::of(vec![JailSettings { asks: true, ..sasl() }]);
    let jail = sasl().name;
    assert_eq!(world.fail_times("203.0.113.7", 5), Seen::Counted);
    let (target, ripe) = asked(&world);
    assert_eq!((target, ripe.1), (net("203.0.113.7"), 5));
    world.fail("203.0.113.7");
    assert_eq!(asked(&world).0, target, "said anew while it waits");
    world.out.clear();
    world.jails.answer(world.now, &jail, target, ripe, true, &mut world.out);
    assert!(world.out.is_empty());
    world.fail_times("203.0.113.7", 4);
    assert!(world.out.is_empty(), "its failures are forgotten");
    world.fail("203.0.113.7");
    let (target, ripe) = asked(&world);
    world.out.clear();
    for _ in 0..2 {
        world.jails.answer(world.now, &jail, target, ripe, false, &mut world.out);
        assert!(
            matches!(world.out.as_slice(), [Action::Ban(ban)] if ban.failures == 5 && ban.target == target)
        );
    }
}

#[test]
fn who_became_one_to_be_left_alone_meanwhile_is_not_banned() {
    let mut world = World::of(vec![JailSettings { asks: true, ..sasl() }]);
    world.fail_times("203.0.113.7", 5);
    let (target, ripe) = asked(&world);
    world.out.clear();
    world.jails.set_never(world.now, Never::AdminSession, vec![target], &mut world.out);
    world.jails.answer(world.now, &sasl().name, target, ripe, false, &mut world.out);
    assert!(world.out.is_empty());
}
