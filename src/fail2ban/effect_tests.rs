//! Stock-like actions written for these tests, read through the reader.

use std::path::Path;

use super::*;
use crate::fail2ban::reader;

const IPTABLES: &str = "[Definition]
type = oneport
actionstart = <iptables> -N f2b-<name>
              for proto in $(echo '<protocol>' | sed 's/,/ /g'); do
              <iptables> -I <chain> -p $proto <match-<type>> -j f2b-<name>
              done
actionban = <iptables> -I f2b-<name> 1 -s <ip> -j <blocktype>
actionunban = <iptables> -D f2b-<name> -s <ip> -j <blocktype>
match-oneport = --dport <port>
match-multiport = -m multiport --dports <port>
match-allports =
[Init]
chain = INPUT
name = default
port = ssh
protocol = tcp
blocktype = REJECT --reject-with icmp-port-unreachable
iptables = iptables -w
[Init?family=inet6]
blocktype = REJECT --reject-with icmp6-port-unreachable
iptables = ip6tables -w
";

/// The effect of jail j with these actions; `files` are put beside the above.
fn effect(action: &str, files: &[(&str, &str)]) -> (Effect, Vec<Role>) {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("fail2ban.conf", "[Definition]\n");
    put("filter.d/f.conf", "[Definition]\nfailregex = ^x <HOST>$\n");
    put("action.d/iptables.conf", IPTABLES);
    put(
        "action.d/iptables-multiport.conf",
        "[INCLUDES]\nbefore = iptables.conf\n[Definition]\ntype = multiport\n",
    );
    put(
        "action.d/iptables-allports.conf",
        "[INCLUDES]\nbefore = iptables.conf\n[Definition]\ntype = allports\n",
    );
    put(
        "action.d/route.conf",
        "[Definition]\nactionban = ip route add <blocktype> <ip>\n[Init]\nblocktype = unreachable\n",
    );
    put("action.d/iptables-mine.conf", "[Definition]\nactionban = iptables -I mine -s <ip> -j DROP\n");
    for (name, text) in files {
        put(name, text);
    }
    let jail = format!("[j]\nenabled = true\nfilter = f\nlogpath = /x\nport = smtp,465\naction = {action}\n");
    put("jail.conf", &jail);
    let import = reader::read(Path::new(folder.path())).unwrap();
    assert_eq!(import.jails.len(), 1, "{:?}", import.notes);
    let jail = &import.jails[0];
    (Effect::of(jail), jail.actions.iter().map(role).collect())
}

#[test]
fn ports_protocols_and_verdict_are_those_of_the_commands() {
    let (one, roles) = effect("iptables-multiport[port=\"%(port)s\", protocol=\"tcp,udp\"]", &[]);
    assert_eq!(roles, [Role::Firewall]);
    assert_eq!(
        (one.ports, one.protocols),
        (vec!["smtp".into(), "465".into()], vec!["tcp".into(), "udp".into()])
    );
    assert!(one.bans && one.reject && !one.all_ports && !one.forward && one.notes.is_empty());

    let (all, _) = effect("iptables-allports[blocktype=DROP]", &[]);
    assert!(all.all_ports && !all.reject);
    assert_eq!(all.protocols, ["tcp"], "as the rule says -p tcp");

    let (route, _) = effect("route", &[]);
    assert!(route.all_ports && route.protocols.is_empty() && !route.reject);

    let (typed, _) = effect("iptables[type=allports, protocol=all]", &[]);
    assert!(typed.all_ports && typed.protocols.is_empty());

    let (docker, _) = effect("iptables-multiport[port=smtp, chain=DOCKER-USER]", &[]);
    assert!(docker.forward && docker.notes.is_empty());
    let (odd, _) = effect("iptables-multiport[port=smtp, chain=mine]", &[]);
    assert!(!odd.forward && odd.notes[0].1.contains("chain mine"), "{:?}", odd.notes);
}

#[test]
fn several_actions_add_up_and_disagreement_is_said() {
    let (sum, roles) = effect(
        "iptables-multiport[port=smtp]\n  iptables-multiport[name=two, port=imap, protocol=udp, blocktype=DROP]",
        &[],
    );
    assert_eq!(roles.len(), 2);
    assert_eq!(
        (sum.ports, sum.protocols),
        (vec!["smtp".into(), "imap".into()], vec!["tcp".into(), "udp".into()])
    );
    assert!(sum.reject);
    assert!(sum.notes[0].1.contains("drop or to reject"), "{:?}", sum.notes);
}

#[test]
fn what_is_not_fail2bans_own_is_run() {
    let (own, roles) = effect("iptables-mine", &[]);
    assert_eq!(roles, [Role::Run(None)]);
    assert!(!own.bans);
    // A copy that was changed, in the three ways in which people do it.
    let local =
        ("action.d/iptables-multiport.local", "[Definition]\nactionban = iptables -I x -s <ip> -j TARPIT\n");
    let (changed, roles) = effect("iptables-multiport", &[local]);
    assert!(matches!(&roles[..], [Role::Run(Some(why))] if why.contains("actionban")), "{roles:?}");
    assert!(!changed.bans && changed.notes.len() == 1);
    let text = IPTABLES
        .replace("-s <ip> -j <blocktype>\nactionunban", "-s <ip> -j <blocktype>\n  logger <ip>\nactionunban");
    let (_, roles) = effect("iptables-multiport", &[("action.d/iptables.conf", &text)]);
    assert!(matches!(&roles[..], [Role::Run(Some(why))] if why.contains("logger")), "{roles:?}");
    let (_, roles) = effect("iptables-multiport[actionban=\"true\"]", &[]);
    assert!(matches!(&roles[..], [Role::Run(Some(_))]), "{roles:?}");
    // Another parameter is none of these.
    let local =
        ("action.d/iptables.local", "[Init]\nblocktype = DROP\n[Init?family=inet6]\nblocktype = DROP\n");
    let (parameter, roles) = effect("iptables-multiport", &[local]);
    assert_eq!(roles, [Role::Firewall]);
    assert!(!parameter.reject);
    let (python, roles) = effect("smtp.py[dest=\"a@example.org\"]", &[]);
    assert_eq!(roles, [Role::Python]);
    assert!(!python.bans && python.notes[0].0 == Kind::Loss);
}
