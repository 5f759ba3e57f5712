//! What a tracked address and a held ban cost in memory: the process is measured from outside its allocator, as
//! resident pages, so nothing is left out. Each case runs in a process of its own.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use portero::addr::Host;
use portero::filter::{Attempt, Outcome};
use portero::jail::{JailName, JailSettings, Jails};
use portero::limits::Limits;
use portero::time::Timestamp;

/// A million in a release build. A debug build holds an eighth: tables of that size are filled to the same degree.
const COUNT: u32 = if cfg!(debug_assertions) { 125_000 } else { 1_000_000 };

/// Set in the child: what to hold.
const WHAT: &str = "PORTERO_FOOTPRINT";

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().expect("a size");
    pages * page as u64
}

/// `failures` failures from each of `count` addresses.
fn hold(count: u32, failures: u32, maxretry: u32, ipv6: bool) -> Jails {
    let settings =
        JailSettings { maxretry, ..JailSettings::new(JailName::new("postfix-sasl").expect("a jail's name")) };
    let limits =
        Limits { tracked_keys_max: COUNT as usize, histories_max: COUNT as usize, ..Limits::default() };
    let mut jails = Jails::new(vec![settings], Vec::new(), &limits, 1);
    let id = jails.id("postfix-sasl").expect("just made");
    let now = Timestamp::from_secs(1_795_300_000);
    let mut out = Vec::new();
    for number in 0..count {
        let host = match ipv6 {
            true => Ipv6Addr::from((0x2001_0db8_0000_0000 + u128::from(number)) << 64 | 1).into(),
            false => Ipv4Addr::from(0x0b00_0000 + number).into(),
        };
        let attempt = Attempt {
            outcome: Outcome::Failure,
            host: Some(Host::new(host)),
            user: None,
            pwhash: None,
            time: Some(now),
            times: failures,
            line: b"",
            line_index: 0,
            filter: 0,
            pattern: 0,
            beside: Default::default(),
        };
        jails.attempt(now, true, id, &attempt, &mut out);
        out.clear();
        if number.is_multiple_of(1000) {
            jails.take_dirty(|_| {});
        }
    }
    jails.take_dirty(|_| {});
    jails
}

/// Runs `what` in a child and answers its bytes for each of them.
fn measure(what: &str) -> u64 {
    let child = Command::new(std::env::current_exe().expect("we run"))
        .args(["--exact", "footprint::child", "--nocapture"])
        .env(WHAT, what)
        .output()
        .expect("the child runs");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let bytes = text.lines().find_map(|line| line.split_once("bytes each: ")?.1.trim().parse().ok());
    bytes.unwrap_or_else(|| panic!("{what}: {text}{}", String::from_utf8_lossy(&child.stderr)))
}

#[test]
fn child() {
    let Ok(what) = std::env::var(WHAT) else { return };
    let hold = |count| match what.as_str() {
        "one failure, IPv4" => hold(count, 1, 5, false),
        "four failures, IPv4" => hold(count, 4, 5, false),
        "four failures, IPv6" => hold(count, 4, 5, true),
        "nine failures, IPv4" => hold(count, 9, 10, false),
        "ban" => hold(count, 1, 1, false),
        other => panic!("{other}"),
    };
    // Code and allocator are warm before the first look.
    drop(hold(COUNT / 50));
    let before = resident_bytes();
    let jails = hold(COUNT);
    let each = (resident_bytes() - before) / u64::from(COUNT);
    assert_eq!(jails.tracked() + jails.ban_count(), COUNT as usize);
    println!("bytes each: {each}");
}

#[test]
fn tracked_addresses_and_bans_stay_within_their_budgets() {
    for (what, budget) in [
        ("one failure, IPv4", 100),
        ("four failures, IPv4", 100),
        ("four failures, IPv6", 100),
        ("nine failures, IPv4", 150),
        // With its entry in the history of earlier bans; the rest of 250 is the store's and the firewall's.
        ("ban", 170),
    ] {
        let each = measure(what);
        println!("{what}: {each} bytes each at {COUNT}");
        assert!(each <= budget, "{what}: {each} bytes each, budget {budget}");
    }
}
