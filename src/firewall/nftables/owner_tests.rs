//! Other programs and the table: removed and restored, owned and left alone, taken over by the next process.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::kernel_tests::*;
use super::netns::{Space, sh, try_sh};
use super::*;
use crate::addr::Host;
use crate::firewall::{TableOwner, Verdict};
use crate::time::{Clock, Span, SystemClock};

fn unowned(jails: &[JailRules]) -> Plan {
    Plan { table_owner: TableOwner::Off, ..plan(jails) }
}

/// That many addresses out of 198.18.0.0/15 and on.
fn many(count: u32) -> impl Iterator<Item = KernelBan> {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    (0..count).map(move |n| {
        let host = Host::new(Ipv4Addr::from(first + n).into());
        KernelBan { jail: name("mail"), target: Net::host(host), left: HOUR }
    })
}

#[test]
fn whoever_flushes_or_deletes_is_noticed_and_everything_is_put_back() {
    let Some(space) = Space::new("whoever_flushes_or_deletes_is_noticed") else { return };
    space.run(|| {
        let plan = unowned(&[jail("mail", &[25])]);
        let mut firewall = opened(&plan);
        let count = 10_000;
        assert!(firewall.replace_all(&plan, &mut many(count)).unwrap().is_empty());
        assert!(firewall.in_step().unwrap());
        assert_eq!(firewall.on_event(), None, "our own changes are no news");
        for damage in [
            "nft flush ruleset",
            "nft delete table inet portero",
            "nft flush chain inet portero prerouting",
            "nft insert rule inet portero jail/mail accept",
            "nft add chain inet portero prerouting { policy drop ; }",
            "nft add table inet portero { flags dormant ; }",
            "nft add set inet portero mine { type ipv4_addr ; }",
        ] {
            let before = sh("nft -s list table inet portero");
            sh(damage);
            let start = SystemClock::new();
            let by = firewall.on_event().and_then(|change| change.by).unwrap_or_default();
            assert!(by.starts_with("nft (pid "), "{damage}: {by}");
            assert!(!firewall.in_step().unwrap(), "{damage}");
            assert!(firewall.replace_all(&plan, &mut many(count)).unwrap().is_empty());
            println!("{damage}: restored with {count} bans in {:?}", start.monotonic());
            assert!(firewall.in_step().unwrap(), "{damage}");
            assert_eq!(firewall.on_event(), None);
            assert_eq!(keys("mail4").len(), count as usize);
            assert_eq!(sh("nft -s list table inet portero"), before, "{damage}");
        }
        // What concerns other tables only is told, and changes nothing here.
        sh("nft add table ip other");
        assert!(firewall.on_event().is_some() && firewall.in_step().unwrap());
        sh("nft delete table inet portero");
        let gone = firewall.apply(&[ban("mail", "203.0.113.7", HOUR)], &[]).unwrap_err();
        assert_eq!(
            gone.to_string(),
            "cannot ban 203.0.113.7 in set inet portero/mail4: ENOENT; another program removed it, it has to be restored"
        );
    });
}

#[test]
fn a_set_replaced_by_another_make_is_made_again() {
    let Some(space) = Space::new("a_set_replaced_by_another_make") else { return };
    space.run(|| {
        sh("nft add table inet portero");
        sh("nft add set inet portero mail4 { type ipv6_addr ; }");
        sh("nft add chain inet portero prerouting { type filter hook input priority 5 ; }");
        sh("nft add map inet portero old { type ipv4_addr : verdict ; }");
        let plan = unowned(&[jail("mail", &[25])]);
        let mut firewall = Nftables::new(clock());
        firewall.open(&plan).unwrap();
        assert!(firewall.replace_all(&plan, &mut many(3)).unwrap().is_empty());
        assert!(firewall.in_step().unwrap());
        assert_eq!(keys("mail4").len(), 3);
        assert!(!sh("nft list table inet portero").contains("map old"));
    });
}

#[test]
fn an_owned_table_withstands_others_and_the_next_process_takes_it_over() {
    let Some(space) = Space::new("an_owned_table_withstands_others") else { return };
    space.run(|| {
        let plan = Plan { table_owner: TableOwner::On, ..plan(&[jail("mail", &[25])]) };
        let mut firewall = opened(&plan);
        let bans = [ban("mail", "203.0.113.7", HOUR), ban("mail", "2001:db8::/64", Span::Forever)];
        put(&mut firewall, &bans);
        sh("nft flush ruleset");
        assert!(!try_sh("nft delete table inet portero"));
        assert!(!try_sh("nft add element inet portero mail4 { 192.0.2.1 }"));
        assert!(firewall.in_step().unwrap());
        assert_eq!(keys("mail4"), ["203.0.113.7"]);

        let second = Nftables::new(clock()).open(&plan).unwrap_err().to_string();
        let expected = "cannot set up table inet portero: table inet portero is owned by ";
        assert!(second.starts_with(expected) && second.ends_with("; is another portero running?"), "{second}");
        let flush = Nftables::new(clock()).flush().unwrap_err();
        assert!(matches!(flush, FirewallError::Owned { .. }), "{flush}");

        firewall.close();
        assert_eq!(keys("mail4"), ["203.0.113.7"], "stopping leaves the bans");
        let mut next = Nftables::new(clock());
        let held = next.open(&plan).unwrap();
        assert_eq!(held.len(), 2, "{held:?}");
        assert!(held.iter().any(|ban| ban.target == bans[1].target && ban.left == Span::Forever));
        assert!(held.iter().any(|ban| ban.target == bans[0].target
            && matches!(ban.left, Span::For(left) if left <= Duration::from_secs(3600) && left > Duration::from_secs(3500))));
        assert!(!try_sh("nft delete table inet portero"));
        next.flush().unwrap();
        assert!(!try_sh("nft list table inet portero"));
        Nftables::new(clock()).flush().unwrap();
    });
}

#[test]
fn a_change_of_table_owner_keeps_the_bans() {
    let Some(space) = Space::new("a_change_of_table_owner_keeps_the_bans") else { return };
    space.run(|| {
        let jails = [jail("mail", &[25]), jail("manual", &[])];
        let mut firewall = opened(&unowned(&jails));
        put(&mut firewall, &[ban("mail", "203.0.113.7", HOUR), ban("manual", "198.51.0.0/16", HOUR)]);
        for owner in [TableOwner::On, TableOwner::Off, TableOwner::Auto] {
            firewall.close();
            let held = firewall.open(&Plan { table_owner: owner, ..plan(&jails) }).unwrap();
            assert_eq!(held.len(), 2, "{owner:?}");
            assert_eq!(keys("mail4"), ["203.0.113.7"]);
            assert_eq!(keys("manual4-net"), ["198.51.0.0/16"]);
            assert_eq!(try_sh("nft add table inet portero"), owner == TableOwner::Off);
        }
    });
}

#[test]
fn the_bans_given_at_start_replace_what_was_there() {
    let Some(space) = Space::new("the_bans_given_at_start_replace_what_was_there") else { return };
    space.run(|| {
        let plan = plan(&[jail("mail", &[25]), jail("manual", &[])]);
        let mut firewall = opened(&plan);
        put(&mut firewall, &[ban("mail", "203.0.113.7", HOUR), ban("mail", "203.0.113.8", HOUR)]);
        put(&mut firewall, &[ban("manual", "198.51.0.0/16", HOUR), ban("mail", "2001:db8:5::/64", HOUR)]);
        let bans = [
            ban("mail", "203.0.113.8", Span::For(Duration::from_secs(60))),
            ban("mail", "203.0.113.9", HOUR),
            ban("manual", "198.52.0.0/16", HOUR),
            ban("gone", "203.0.113.9", HOUR),
        ];
        assert_eq!(firewall.replace_all(&plan, &mut bans.iter().cloned()).unwrap().len(), 1);
        assert_eq!(keys("mail4"), ["203.0.113.8", "203.0.113.9"]);
        assert_eq!(listed("mail4")["203.0.113.8"], Some(60));
        assert_eq!(keys("manual4-net"), ["198.52.0.0/16"]);
        assert!(keys("mail6-64").is_empty());
    });
}

#[test]
fn a_changed_plan_leaves_the_bans_of_other_jails_alone() {
    let Some(space) = Space::new("a_changed_plan_leaves_the_bans_of_other_jails_alone") else { return };
    space.run(|| {
        let (mail, web) = (jail("mail", &[25]), jail("web", &[80]));
        let mut firewall = opened(&plan(&[mail.clone(), web.clone()]));
        put(&mut firewall, &[ban("mail", "203.0.113.7", HOUR), ban("web", "203.0.113.8", HOUR)]);
        put(&mut firewall, &[ban("mail", "2001:db8:5::/64", HOUR), ban("web", "198.51.0.0/16", HOUR)]);
        let moved = JailRules { ports: Ports::of(&[80, 443]), verdict: Verdict::Reject, ..web };
        let changed = plan(&[mail.clone(), moved, jail("new", &[22])]);
        assert!(firewall.change_plan(&changed).unwrap().is_empty());
        assert_eq!(keys("mail4"), ["203.0.113.7"]);
        assert_eq!(keys("web4"), ["203.0.113.8"]);
        assert_eq!(keys("web4-net"), ["198.51.0.0/16"]);
        assert!(firewall.in_step().unwrap());
        let shorter = JailRules { ipv6_prefix: 56, ..mail };
        assert_eq!(firewall.change_plan(&plan(std::slice::from_ref(&shorter))).unwrap(), [name("mail")]);
        assert!(!try_sh("nft list set inet portero web4") && !try_sh("nft list set inet portero mail6-64"));
        put(&mut firewall, &[ban("mail", "2001:db8:5::/64", HOUR)]);
        assert_eq!(keys("mail6-net"), ["2001:db8:5::/64"]);
        // A restart over sets of the former length moves the bans on without a gap.
        firewall.close();
        assert_eq!(firewall.open(&plan(&[jail("mail", &[25])])).unwrap().len(), 2);
        put(&mut firewall, &[ban("mail", "2001:db8:6::/64", HOUR)]);
        firewall.close();
        assert_eq!(firewall.open(&plan(&[shorter])).unwrap().len(), 3);
        assert_eq!(keys("mail6-net").len(), 2);
    });
}

#[test]
fn without_the_capability_the_error_says_so() {
    let Some(space) = Space::new("without_the_capability_the_error_says_so") else { return };
    space.run(|| {
        // Of this thread only: the library's call would change the whole process.
        crate::sys::drop_to_nobody_for_this_thread();
        let error = Nftables::new(clock()).open(&plan(&[jail("mail", &[25])])).unwrap_err();
        assert!(matches!(error, FirewallError::NotPermitted { .. }), "{error}");
        assert!(error.to_string().ends_with("CAP_NET_ADMIN missing, see portero(8)"), "{error}");
    });
}

#[test]
fn a_hundred_thousand_bans_are_restored() {
    let Some(space) = Space::new("a_hundred_thousand_bans_are_restored") else { return };
    space.run(|| {
        let plan = plan(&[jail("mail", &[25])]);
        let mut firewall = opened(&plan);
        let v6 = (0..10_000u128).map(|n| {
            let host = Host::new(std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) + (n << 64)).into());
            KernelBan { jail: name("mail"), target: Net::of(host, 64), left: HOUR }
        });
        let start = SystemClock::new();
        assert!(firewall.replace_all(&plan, &mut many(90_000).chain(v6)).unwrap().is_empty());
        println!("100,000 bans into an empty kernel: {:?}", start.monotonic());
        firewall.close();
        let start = SystemClock::new();
        assert_eq!(firewall.open(&plan).unwrap().len(), 100_000);
        println!("100,000 bans read back: {:?}", start.monotonic());
        let start = SystemClock::new();
        assert!(firewall.replace_all(&plan, &mut many(50_000)).unwrap().is_empty());
        println!("50,000 refreshed, 50,000 strays removed: {:?}", start.monotonic());
        assert_eq!(keys("mail4").len(), 50_000);
        assert!(keys("mail6-64").is_empty());
    });
}
