//! What a crash may not cost: kill -9 in the middle of an attack, again and again, across rotations.

use std::fs;
use std::time::Duration;

use portero::time::{Clock, SystemClock};

use crate::rig::{Net, Portero, failure, root};

const CYCLES: usize = 50;

const CONFIG: &str = r#"
table_owner = "off"
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
maxretry = 5
findtime = "1h"
bantime = "1h"
"#;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn fifty_kills_in_a_running_attack_lose_no_ban_no_line_and_count_nothing_twice() {
    if !root("fifty_kills_in_a_running_attack_lose_no_ban_no_line_and_count_nothing_twice") {
        return;
    }
    let net = Net::new();
    let mut portero = Portero::new(Some(&net.host), CONFIG);
    portero.write_log("mail.log", "");
    let log = portero.logs().join("mail.log");
    let mut dice = Dice(20_261_121);
    let (mut attackers, mut clumsy, mut rotations) = (0u32, 0u32, 0u32);
    // Failures still to be written: an attacker has five, a clumsy user four, one short of a ban.
    let mut open: Vec<(String, u32)> = Vec::new();
    let mut all: Vec<String> = Vec::new();
    for cycle in 0..CYCLES {
        portero.spawn(&[]);
        for _ in 0..3 + dice.roll(10) {
            while open.len() < 20 {
                if dice.roll(2) == 0 {
                    attackers += 1;
                    let ip = format!("203.0.{}.{}", 113 + attackers / 250, 1 + attackers % 250);
                    all.push(ip.clone());
                    open.push((ip, 5));
                } else {
                    clumsy += 1;
                    open.push((format!("192.0.{}.{}", 2 + clumsy / 250, 1 + clumsy % 250), 4));
                }
            }
            let mut lines = String::new();
            for _ in 0..1 + dice.roll(12) {
                if open.is_empty() {
                    break;
                }
                let at = dice.roll(open.len() as u64) as usize;
                lines.push_str(&failure(&open[at].0, "alice"));
                open[at].1 -= 1;
                if open[at].1 == 0 {
                    open.swap_remove(at);
                }
            }
            portero.write_log("mail.log", &lines);
            if dice.roll(12) == 0 {
                // As logrotate does it: the higher the number, the older the file.
                let old = |number: u32| log.with_extension(format!("log.{number}"));
                for number in (1..=rotations).rev() {
                    fs::rename(old(number), old(number + 1)).unwrap();
                }
                fs::rename(&log, old(1)).unwrap();
                rotations += 1;
                portero.write_log("mail.log", "");
            }
            std::thread::sleep(Duration::from_millis(dice.roll(40)));
        }
        portero.kill();
        if cycle % 10 == 9 {
            println!(
                "{} kills, {attackers} attackers, {clumsy} clumsy users, {rotations} rotations",
                cycle + 1
            );
        }
    }
    portero.start();
    let rest: String = open.iter().flat_map(|(ip, left)| (0..*left).map(|_| failure(ip, "alice"))).collect();
    portero.write_log("mail.log", &rest);
    portero.wait_read();
    let status = portero.json(&["status", "postfix-sasl"]);
    let bans = portero.json_lines(&["bans"]);
    let banned: Vec<&str> = bans.iter().map(|ban| ban["target"].as_str().unwrap()).collect();
    let missing: Vec<&String> = all.iter().filter(|ip| !banned.contains(&ip.as_str())).collect();
    assert!(missing.is_empty(), "attackers not banned: {missing:?}");
    assert_eq!(status["failures"].as_u64(), Some(u64::from(attackers * 5 + clumsy * 4)));
    assert!(banned.iter().all(|target| target.starts_with("203.")), "a clumsy user was banned: {banned:?}");
    assert_eq!(banned.len(), attackers as usize);
    assert!(
        bans.iter().all(|ban| ban["count"] == 1 && ban["failures"] == 5),
        "a ban was counted twice: {bans:?}"
    );
    let set = net.nft(&["list", "set", "inet", "portero", "postfix-sasl4"]);
    assert!(banned.iter().all(|target| set.contains(target)), "the kernel lacks a ban");
}

#[test]
fn a_hundred_thousand_bans_are_back_in_an_empty_kernel() {
    if !root("a_hundred_thousand_bans_are_back_in_an_empty_kernel") {
        return;
    }
    const BANS: usize = 100_000;
    let net = Net::new();
    let mut portero = Portero::new(Some(&net.host), CONFIG);
    portero.write_log("mail.log", "");
    portero.start();
    let address = |n: usize| match n % 10 {
        0 => format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff),
        _ => format!("10.{}.{}.{}", n >> 16, (n >> 8) & 0xff, n & 0xff),
    };
    let targets: String = (0..BANS).map(|n| format!("{}\n", address(n))).collect();
    let file = portero.folder.path().join("targets");
    fs::write(&file, targets).unwrap();
    let socket = portero.folder.path().join("control.sock");
    let mut ban = std::process::Command::new(env!("CARGO_BIN_EXE_banctl"));
    ban.arg("--socket").arg(&socket).args(["ban", "-", "--jail", "postfix-sasl", "--for", "1h"]);
    let done = ban.stdin(fs::File::open(&file).unwrap()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    portero.stop();
    net.nft(&["flush", "ruleset"]);
    let clock = SystemClock::new();
    portero.spawn(&[]);
    portero.wait_ready();
    println!("{BANS} bans: ready after {:?}", clock.monotonic());
    let statm = fs::read_to_string(format!("/proc/{}/statm", portero.pid())).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    println!("resident: {} MiB", pages * 4 / 1024);
    assert_eq!(portero.json(&["status", "postfix-sasl"])["banned"], BANS);
    let elements = |set: &str| {
        let text = net.nft(&["-j", "list", "set", "inet", "portero", set]);
        text.matches("\"expires\"").count()
    };
    assert_eq!(elements("postfix-sasl4") + elements("postfix-sasl6"), BANS);
}
