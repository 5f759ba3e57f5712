//! What every backend promises, as one test that each backend runs. A new backend calls [`keeps`].

use std::sync::Arc;
use std::time::Duration;

use super::{Firewall, FirewallError, JailRules, KernelBan, Plan, TableOwner};
use crate::addr::Net;
use crate::jail::JailName;
use crate::time::{Clock, Span, SystemClock};

fn jail(name: &str) -> JailRules {
    JailRules { ipv6_prefix: 64, ..JailRules::all_ports(JailName::new(name).unwrap()) }
}

fn ban(jail: &str, target: &str, left: Span) -> KernelBan {
    KernelBan { jail: JailName::new(jail).unwrap(), target: target.parse().unwrap(), left }
}

/// What it holds, as text; asked by opening it once more, as a restart does.
fn held(firewall: &mut dyn Firewall, plan: &Plan) -> Vec<String> {
    firewall.close();
    let mut held: Vec<String> = firewall
        .open(plan)
        .unwrap()
        .into_iter()
        .map(|ban| {
            let left = match ban.left {
                Span::Forever => "ever".to_owned(),
                // Rounded up: some time has gone by.
                Span::For(left) => format!("{}m", left.as_secs() / 60 + 1),
            };
            format!("{} {} {left}", ban.jail, ban.target)
        })
        .collect();
    held.sort();
    held
}

/// Runs a backend through everything the engine relies on. It must be free to use and hold nothing yet.
pub fn keeps(firewall: &mut dyn Firewall) {
    let minutes = |n: u64| Span::For(Duration::from_secs(60 * n));
    let plan = Plan {
        jails: vec![jail("mail"), jail("manual")],
        allow: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()],
        table_owner: TableOwner::Auto,
    };

    // Closed, it refuses to work, and says so.
    assert!(matches!(firewall.apply(&[], &[]), Err(FirewallError::NotOpen { .. })));
    assert!(matches!(
        firewall.replace_all(&plan, &mut std::iter::empty()),
        Err(FirewallError::NotOpen { .. })
    ));
    firewall.flush().unwrap();
    assert!(firewall.open(&plan).unwrap().is_empty());
    assert!(firewall.in_step().unwrap());

    // Bans stand, each once, with their time; over a restart too.
    let bans = [
        ban("mail", "203.0.113.7", minutes(10)),
        ban("mail", "2001:db8::7", minutes(10)),
        ban("mail", "2001:db8:1::/64", Span::Forever),
        ban("manual", "198.51.0.0/16", minutes(20)),
        ban("manual", "198.51.100.0/24", minutes(30)),
        ban("manual", "2001:db8:5::/48", minutes(20)),
    ];
    assert!(firewall.apply(&bans, &[]).unwrap().is_empty());
    let all = [
        "mail 2001:db8:1::/64 ever",
        "mail 2001:db8::7 10m",
        "mail 203.0.113.7 10m",
        "manual 198.51.0.0/16 20m",
        "manual 198.51.100.0/24 30m",
        "manual 2001:db8:5::/48 20m",
    ];
    assert_eq!(held(firewall, &plan), all);
    for ban in &bans {
        assert!(firewall.holds(&ban.jail, ban.target).unwrap(), "{ban:?}");
    }
    for target in ["203.0.113.8", "2001:db8:2::/64", "198.52.0.0/16"] {
        assert!(!firewall.holds(&bans[0].jail, target.parse().unwrap()).unwrap(), "{target}");
    }

    // Again: refreshed, not doubled, whatever it was before.
    let again = [
        ban("mail", "203.0.113.7", minutes(40)),
        ban("mail", "2001:db8:1::/64", minutes(5)),
        ban("mail", "2001:db8::7", Span::Forever),
    ];
    assert!(firewall.apply(&again, &[]).unwrap().is_empty());
    let mail = held(firewall, &plan);
    assert_eq!(mail[..3], ["mail 2001:db8:1::/64 5m", "mail 2001:db8::7 ever", "mail 203.0.113.7 40m"]);

    // Unbans come first in a batch; what is not banned can be lifted; an unknown jail spoils nothing else.
    let name = |jail: &str| JailName::new(jail).unwrap();
    let net = |text: &str| text.parse::<Net>().unwrap();
    let unbans = [
        (name("mail"), net("203.0.113.7")),
        (name("mail"), net("203.0.113.99")),
        (name("manual"), net("198.51.0.0/16")),
        (name("gone"), net("203.0.113.7")),
    ];
    let bans = [ban("mail", "203.0.113.7", minutes(1)), ban("gone", "203.0.113.7", minutes(1))];
    let refused = firewall.apply(&bans, &unbans).unwrap();
    assert_eq!(refused.len(), 1);
    assert!(matches!(refused[0].why, FirewallError::NoSuchJail { .. }));
    let now = held(firewall, &plan);
    assert!(now.contains(&"mail 203.0.113.7 1m".to_owned()), "{now:?}");
    assert!(now.contains(&"manual 198.51.100.0/24 30m".to_owned()), "{now:?}");
    assert!(!now.iter().any(|ban| ban.contains("198.51.0.0/16")), "{now:?}");

    // The allow list changes without touching bans.
    firewall.set_allow(&[]).unwrap();
    assert_eq!(held(firewall, &plan).len(), now.len());

    // Nobody to cut is no trouble, and nobody else changed anything.
    assert_eq!(firewall.cut(&[]).unwrap(), 0);
    assert_eq!(firewall.on_event(), None);

    // A jail goes with its bans, the others stay.
    let fewer = Plan { jails: vec![jail("mail")], ..plan.clone() };
    firewall.change_plan(&fewer).unwrap();
    assert!(firewall.in_step().unwrap());
    let mail: Vec<String> = now.into_iter().filter(|ban| ban.starts_with("mail ")).collect();
    assert_eq!(held(firewall, &fewer), mail);

    // All at once: what is not named goes.
    let bans = [ban("mail", "203.0.113.8", minutes(2)), ban("manual", "203.0.113.0/24", minutes(3))];
    assert!(firewall.replace_all(&plan, &mut bans.iter().cloned()).unwrap().is_empty());
    assert_eq!(held(firewall, &plan), ["mail 203.0.113.8 2m", "manual 203.0.113.0/24 3m"]);

    // The shortest ban ends; it does not last for ever.
    assert!(
        firewall.apply(&[ban("mail", "203.0.113.9", Span::For(Duration::ZERO))], &[]).unwrap().is_empty()
    );
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(held(firewall, &plan).len(), 2);

    firewall.flush().unwrap();
    firewall.flush().unwrap();
    assert!(firewall.open(&plan).unwrap().is_empty());
    firewall.flush().unwrap();
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[test]
fn log_only_keeps_the_contract() {
    keeps(&mut super::LogOnly::new(clock()));
}

#[test]
fn nftables_keeps_the_contract() {
    let Some(space) = super::nftables::netns::Space::new("nftables_keeps_the_contract") else { return };
    space.run(|| keeps(&mut super::Nftables::new(clock())));
}

#[test]
fn every_backend_is_found_under_the_name_it_tells() {
    for (name, make) in super::backends() {
        assert_eq!(make(clock()).name(), *name);
        assert!(super::backend(name, clock()).is_some());
    }
    assert!(super::backend("pf", clock()).is_none());
}
