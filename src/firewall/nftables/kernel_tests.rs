//! The backend against the real kernel, each test in network namespaces of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::netns::{Space, dial, echoes, pair, served, sh};
use super::*;
use crate::firewall::{Hook, PortRange, Protocol, TableOwner, Verdict};
use crate::time::{Clock, Span, SystemClock};

pub const HOUR: Span = Span::For(Duration::from_secs(3600));

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

pub fn name(jail: &str) -> JailName {
    JailName::new(jail).unwrap()
}

pub fn jail(jail: &str, ports: &[u16]) -> JailRules {
    let ports = if ports.is_empty() { Ports::All } else { Ports::of(ports) };
    JailRules { ports, ipv6_prefix: 64, ..JailRules::all_ports(name(jail)) }
}

pub fn plan(jails: &[JailRules]) -> Plan {
    Plan { jails: jails.to_vec(), allow: Vec::new(), table_owner: TableOwner::Auto }
}

pub fn ban(jail: &str, target: &str, left: Span) -> KernelBan {
    KernelBan { jail: name(jail), target: target.parse().unwrap(), left }
}

pub fn unban(jail: &str, target: &str) -> (JailName, Net) {
    (name(jail), target.parse().unwrap())
}

pub fn opened(plan: &Plan) -> Nftables {
    let mut firewall = Nftables::new(clock());
    firewall.open(plan).unwrap();
    firewall
}

pub fn put(firewall: &mut Nftables, bans: &[KernelBan]) {
    let refused = firewall.apply(bans, &[]).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

/// What `nft` says is in a set: element as text, and its timeout in seconds.
pub fn listed(set: &str) -> BTreeMap<String, Option<u64>> {
    let text = sh(&format!("nft -j list set inet portero {set}"));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let elements = json["nftables"][1]["set"]["elem"].as_array().cloned().unwrap_or_default();
    let show = |value: &serde_json::Value| match value {
        serde_json::Value::String(ip) => ip.clone(),
        other => match (&other["range"], &other["prefix"]) {
            (serde_json::Value::Array(range), _) => {
                format!("{}-{}", range[0].as_str().unwrap(), range[1].as_str().unwrap())
            }
            (_, prefix) => format!("{}/{}", prefix["addr"].as_str().unwrap(), prefix["len"]),
        },
    };
    elements
        .iter()
        .map(|element| match element.get("elem") {
            Some(elem) => (show(&elem["val"]), elem["timeout"].as_u64()),
            None => (show(element), None),
        })
        .collect()
}

pub fn keys(set: &str) -> Vec<String> {
    listed(set).into_keys().collect()
}

#[test]
fn bans_are_in_the_sets_they_belong_to_and_unbans_take_them_out() {
    let Some(space) = Space::new("bans_are_in_the_sets_they_belong_to") else { return };
    space.run(|| {
        let mail = JailRules { ipv4_prefix: 24, ..jail("mail", &[25, 465]) };
        let mut firewall = opened(&plan(&[mail, jail("manual", &[])]));
        put(
            &mut firewall,
            &[
                ban("mail", "203.0.113.7", HOUR),
                ban("mail", "198.51.100.0/24", HOUR),
                ban("mail", "2001:db8:1::/64", HOUR),
                ban("mail", "2001:db8::7", Span::Forever),
                ban("manual", "198.51.0.0/16", HOUR),
                ban("manual", "2001:db8::/48", HOUR),
            ],
        );
        assert_eq!(listed("mail4"), BTreeMap::from([("203.0.113.7".to_owned(), Some(3600))]));
        assert_eq!(keys("mail4-24"), ["198.51.100.0"]);
        assert_eq!(keys("mail6-64"), ["2001:db8:1::"]);
        assert_eq!(listed("mail6"), BTreeMap::from([("2001:db8::7".to_owned(), None)]));
        assert_eq!(keys("manual4-net"), ["198.51.0.0/16"]);
        assert_eq!(keys("manual6-net"), ["2001:db8::/48"]);
        let unbans = ["203.0.113.7", "198.51.100.0/24", "2001:db8:1::/64", "2001:db8::7", "192.0.2.99"];
        let unbans: Vec<_> = unbans.iter().map(|target| unban("mail", target)).collect();
        assert!(firewall.apply(&[], &unbans).unwrap().is_empty());
        assert!(firewall.apply(&[], &[unban("manual", "198.51.0.0/16")]).unwrap().is_empty());
        for set in ["mail4", "mail4-24", "mail6-64", "mail6", "manual4-net"] {
            assert!(keys(set).is_empty(), "{set}");
        }
        let refused =
            firewall.apply(&[ban("gone", "203.0.113.7", HOUR), ban("mail", "203.0.113.8", HOUR)], &[]);
        let refused = refused.unwrap();
        assert_eq!(refused.len(), 1);
        assert_eq!(
            refused[0].why.to_string(),
            "cannot ban 203.0.113.7 in jail gone: the firewall knows no jail of that name"
        );
        assert_eq!(keys("mail4"), ["203.0.113.8"]);
        println!("{}", sh("nft list table inet portero"));
    });
}

#[test]
fn a_ban_is_refreshed_and_never_doubled() {
    let Some(space) = Space::new("a_ban_is_refreshed_and_never_doubled") else { return };
    space.run(|| {
        let mut firewall = opened(&plan(&[jail("mail", &[25])]));
        println!("{:?}", firewall.state.as_ref().unwrap().elements);
        for abilities in [(true, true), (false, true), (false, false)] {
            let (refresh, destroy) = abilities;
            firewall.state.as_mut().unwrap().elements = ElementAbilities { refresh, destroy };
            for left in [60, 7200, -1, 30, 0, -1] {
                let span = u64::try_from(left).map_or(Span::Forever, |s| Span::For(Duration::from_secs(s)));
                let targets = ["203.0.113.7", "2001:db8::/64", "198.51.0.0/16"];
                put(&mut firewall, &targets.map(|target| ban("mail", target, span)));
                let want = u64::try_from(left).ok().map(|s| s.max(1));
                assert_eq!(
                    listed("mail4"),
                    BTreeMap::from([("203.0.113.7".to_owned(), want)]),
                    "{abilities:?}"
                );
                assert_eq!(listed("mail6-64"), BTreeMap::from([("2001:db8::".to_owned(), want)]));
                if left != 0 {
                    assert_eq!(listed("mail4-net"), BTreeMap::from([("198.51.0.0/16".to_owned(), want)]));
                }
            }
            assert!(
                firewall
                    .apply(&[], &[unban("mail", "203.0.113.7"), unban("mail", "203.0.113.8")])
                    .unwrap()
                    .is_empty()
            );
            assert!(keys("mail4").is_empty());
        }
    });
}

#[test]
fn what_another_program_does_while_many_bans_are_set_is_noticed() {
    let Some(space) = Space::new("what_another_program_does_while_many") else { return };
    space.run(|| {
        let plan = Plan { table_owner: TableOwner::Off, ..plan(&[jail("manual", &[])]) };
        let mut firewall = opened(&plan);
        let many = |n: u32| KernelBan {
            jail: name("manual"),
            target: Net::host(crate::addr::Host::new(std::net::Ipv4Addr::from(0x0b00_0000 + n).into())),
            left: HOUR,
        };
        let count = 20_000;
        // The last ban comes after the first of them were set.
        let mut bans = (0..count).map(|n| {
            if n == count - 1 {
                sh("nft flush chain inet portero prerouting");
            }
            many(n)
        });
        let disturbed = firewall.replace_all(&plan, &mut bans);
        assert!(matches!(disturbed, Err(FirewallError::Gone { .. })), "{disturbed:?}");
        assert!(firewall.replace_all(&plan, &mut (0..count).map(many)).unwrap().is_empty());
        assert!(firewall.in_step().unwrap());
        assert_eq!(keys("manual4").len(), count as usize);
        assert_eq!(firewall.on_event(), None, "our own changes are no news");
        sh("nft add table inet other");
        assert!(firewall.on_event().is_some(), "it listens again");
    });
}

#[test]
fn the_kernel_ends_a_ban_by_itself() {
    let Some((server, client)) = pair("the_kernel_ends_a_ban_by_itself") else { return };
    server.serve(25);
    server.run(|| {
        let mut firewall = opened(&plan(&[jail("mail", &[25])]));
        put(&mut firewall, &[ban("mail", "192.0.2.7", Span::For(Duration::from_millis(1500)))]);
        firewall.close();
    });
    client.run(|| {
        assert!(!served("192.0.2.7", "192.0.2.1:25"));
        std::thread::sleep(Duration::from_millis(1300));
        assert!(served("192.0.2.7", "192.0.2.1:25"));
    });
}

#[test]
fn banned_peers_are_shut_out_on_the_ports_of_the_jail_and_nobody_else_is() {
    let Some((server, client)) = pair("banned_peers_are_shut_out") else { return };
    for port in [25, 80, 700] {
        server.serve(port);
    }
    let ports = Ports::List(vec![25.into(), 26.into(), PortRange { first: 690, last: 710 }]);
    let protocols = vec![Protocol::Tcp, Protocol::Udp];
    let mail = JailRules { ports, protocols, ..jail("mail", &[]) };
    let mut firewall = server.run(|| opened(&plan(&[mail, jail("manual", &[])])));
    put(&mut firewall, &[ban("mail", "192.0.2.7", HOUR), ban("mail", "2001:db8::7", HOUR)]);
    put(&mut firewall, &[ban("manual", "192.0.2.9", HOUR), ban("mail", "2001:db8:0:1::/64", HOUR)]);
    client.run(|| {
        for (from, to, want) in [
            ("192.0.2.7", "192.0.2.1:25", false),
            ("192.0.2.7", "192.0.2.1:700", false),
            ("192.0.2.7", "192.0.2.1:80", true),
            ("192.0.2.8", "192.0.2.1:25", true),
            ("192.0.2.9", "192.0.2.1:80", false),
            ("2001:db8::7", "[2001:db8::1]:25", false),
            ("2001:db8::8", "[2001:db8::1]:25", true),
            ("2001:db8:0:1::7", "[2001:db8::1]:25", false),
            ("2001:db8:0:1::7", "[2001:db8::1]:80", true),
        ] {
            assert_eq!(served(from, to), want, "{from} to {to}");
        }
    });
}

#[test]
fn an_allowed_host_inside_a_banned_network_is_served() {
    let Some((server, client)) = pair("an_allowed_host_inside_a_banned_network_is_served") else { return };
    server.serve(25);
    let allow = ["192.0.2.8", "2001:db8::8"].map(|net| net.parse().unwrap());
    let subnets = JailRules { ipv4_prefix: 24, ..jail("subnets", &[25]) };
    let mut firewall =
        server.run(|| opened(&Plan { allow: allow.to_vec(), ..plan(&[subnets, jail("manual", &[])]) }));
    // Prefix sets first, then wide nets that overlap.
    put(&mut firewall, &[ban("subnets", "192.0.2.0/24", HOUR), ban("subnets", "2001:db8::/64", HOUR)]);
    put(&mut firewall, &[ban("manual", "192.0.0.0/16", HOUR), ban("manual", "192.0.2.0/25", Span::Forever)]);
    put(&mut firewall, &[ban("manual", "2001:db8::/32", HOUR)]);
    let to = ("192.0.2.1:25", "[2001:db8::1]:25");
    client.run(|| {
        assert!(served("192.0.2.8", to.0) && served("2001:db8::8", to.1));
        assert!(!served("192.0.2.7", to.0) && !served("2001:db8::7", to.1));
    });
    firewall.set_allow(&["192.0.2.0/24".parse().unwrap(), "192.0.2.7".parse().unwrap()]).unwrap();
    client.run(|| assert!(served("192.0.2.7", to.0) && !served("2001:db8::8", to.1)));
}

#[test]
fn overlapping_networks_keep_each_their_own_time() {
    let Some(space) = Space::new("overlapping_networks_keep_each_their_own_time") else { return };
    space.run(|| {
        let half = Span::For(Duration::from_secs(1800));
        let mut firewall = opened(&plan(&[jail("manual", &[])]));
        put(&mut firewall, &[ban("manual", "10.0.0.0/8", HOUR), ban("manual", "255.0.0.0/8", HOUR)]);
        put(
            &mut firewall,
            &[ban("manual", "10.1.0.0/16", Span::Forever), ban("manual", "10.2.0.0/16", half)],
        );
        let want = ["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0-10.255.255.255", "255.0.0.0/8"];
        assert_eq!(keys("manual4-net"), want);
        // What the kernel holds comes back as the bans that were made.
        firewall.close();
        let mut held: Vec<String> = Nftables::new(clock())
            .open(&plan(&[jail("manual", &[])]))
            .unwrap()
            .iter()
            .map(|ban| format!("{} {}", ban.target, ban.left == Span::Forever))
            .collect();
        held.sort();
        assert_eq!(held[..2], ["10.0.0.0/8 false", "10.1.0.0/16 true"]);
        assert!(held.contains(&"255.0.0.0/8 false".to_owned()), "{held:?}");
        let mut firewall = opened(&plan(&[jail("manual", &[])]));
        assert!(firewall.apply(&[], &[unban("manual", "10.1.0.0/16")]).unwrap().is_empty());
        assert!(!keys("manual4-net").contains(&"10.1.0.0/16".to_owned()));
        assert!(firewall.apply(&[], &[unban("manual", "10.0.0.0/8")]).unwrap().is_empty());
    });
}

/// A server whose handler never stops writing, and what the client got after `after` was done to it.
fn bytes_after(verdict: Verdict, from: &str, to: &str) {
    let Some((server, client)) = pair("an_established_connection_is_cut") else { return };
    server.serve(25);
    let mut firewall =
        server.run(|| opened(&plan(&[JailRules { verdict, ..jail("mail", &[25]) }, jail("manual", &[])])));
    let mut stream = client.run(|| dial(from, to)).unwrap();
    let mut other = client.run(|| dial("192.0.2.8", "192.0.2.1:25")).unwrap();
    assert!(echoes(&mut stream) && echoes(&mut other));
    assert_eq!(server.sockets_of(from), 1);
    let target: Net = from.parse().unwrap();
    put(&mut firewall, &[KernelBan { jail: name("mail"), target, left: HOUR }]);
    let cut = server.run(|| firewall.cut(&[(target, Ports::of(&[25]))]).unwrap());
    assert_eq!(cut, 1);
    assert!(!echoes(&mut stream));
    assert_eq!(server.sockets_of(from), 0);
    assert!(echoes(&mut other));
    assert!(client.run(|| !served(from, to)));
}

#[test]
fn an_established_connection_is_cut_under_drop() {
    bytes_after(Verdict::Drop, "192.0.2.7", "192.0.2.1:25");
}

#[test]
fn an_established_connection_is_cut_under_reject() {
    bytes_after(Verdict::Reject, "192.0.2.7", "192.0.2.1:25");
}

#[test]
fn an_established_ipv6_connection_is_cut_under_drop_and_reject() {
    bytes_after(Verdict::Drop, "2001:db8::7", "[2001:db8::1]:25");
    bytes_after(Verdict::Reject, "2001:db8::7", "[2001:db8::1]:25");
}

#[test]
fn reject_refuses_at_once_and_works_without_prerouting_too() {
    let Some((server, client)) = pair("reject_refuses_at_once") else { return };
    server.serve(25);
    let plan = plan(&[JailRules { verdict: Verdict::Reject, ..jail("mail", &[25]) }]);
    let mut firewall = server.run(|| opened(&plan));
    put(&mut firewall, &[ban("mail", "192.0.2.7", HOUR), ban("mail", "2001:db8::7", HOUR)]);
    let refused = |from: &str, to: &str| {
        let error = dial(from, to).expect_err("banned");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{from}");
    };
    let both = || {
        client.run(|| {
            refused("192.0.2.7", "192.0.2.1:25");
            refused("2001:db8::7", "[2001:db8::1]:25");
            assert!(served("192.0.2.8", "192.0.2.1:25"));
        });
    };
    both();
    // As on a kernel that takes no reject in prerouting.
    let state = firewall.state.as_mut().unwrap();
    state.can.reject_in_prerouting = false;
    state.structure = Structure::default();
    let bans = [ban("mail", "192.0.2.7", HOUR), ban("mail", "2001:db8::7", HOUR)];
    server.run(|| firewall.replace_all(&plan, &mut bans.iter().cloned())).unwrap();
    assert!(server.run(|| sh("nft list chain inet portero input")).contains("jump jail/mail"));
    both();
}

#[test]
fn replies_to_our_own_connection_to_a_banned_peer_pass() {
    let Some((server, client)) = pair("replies_to_our_own_connection_pass") else { return };
    client.serve(2525);
    server.serve(25);
    let mut firewall = server.run(|| opened(&plan(&[jail("manual", &[])])));
    put(&mut firewall, &[ban("manual", "192.0.2.7", HOUR), ban("manual", "2001:db8::7", HOUR)]);
    let mut ours = server.run(|| dial("192.0.2.1", "192.0.2.7:2525")).unwrap();
    assert!(echoes(&mut ours));
    let cut = server.run(|| firewall.cut(&[("192.0.2.7".parse().unwrap(), Ports::All)]).unwrap());
    assert_eq!(cut, 0, "our own outgoing connection stays");
    assert!(echoes(&mut ours));
    assert!(server.run(|| served("2001:db8::1", "[2001:db8::7]:2525")));
    assert!(client.run(|| !served("192.0.2.7", "192.0.2.1:25")));
}

#[test]
fn a_forwarded_port_is_blocked_by_the_number_the_client_sees() {
    let Some((server, client)) = pair("a_forwarded_port_is_blocked") else { return };
    let Some(behind) = Space::new("behind") else { return };
    let (gate, inside) = (&server, &behind);
    gate.link_to(inside, "10.1.0.1/24", "10.1.0.2/24");
    inside.run(|| sh("ip route add default via 10.1.0.1"));
    inside.serve(80);
    gate.run(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        sh("nft add table ip nat");
        sh("nft add chain ip nat pre { type nat hook prerouting priority -100 ; }");
        sh("nft add rule ip nat pre tcp dport 8080 dnat to 10.1.0.2:80");
    });
    assert!(client.run(|| served("192.0.2.7", "192.0.2.1:8080")));
    let containers = JailRules { hook: Hook::Forward, ..jail("containers", &[80]) };
    let mut firewall = gate.run(|| opened(&plan(&[jail("web", &[8080]), containers])));
    put(&mut firewall, &[ban("web", "192.0.2.7", HOUR), ban("containers", "192.0.2.8", HOUR)]);
    client.run(|| {
        assert!(!served("192.0.2.7", "192.0.2.1:8080"));
        assert!(!served("192.0.2.8", "192.0.2.1:8080"));
        assert!(served("192.0.2.9", "192.0.2.1:8080"));
    });
}
