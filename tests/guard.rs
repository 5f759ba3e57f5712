//! The main job, end to end: a line is written, and the kernel shuts the attacker out.

use std::io::Read;
use std::time::Duration;

use portero::time::{Clock, SystemClock};

use crate::rig::{
    Net, Portero, Service, connect, failure, failures, root, run, served, shut_out, success, wait_until,
};

/// One jail on one log; `table_owner` off, so that other programs can meddle.
const CONFIG: &str = r#"
table_owner = "off"
ignoreip = ["203.0.113.99"]
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
port = ["smtp", "submission"]
"#;

fn guarded(config: &str) -> (Net, Portero) {
    let net = Net::new();
    let mut portero = Portero::new(Some(&net.host), config);
    portero.write_log("mail.log", "");
    portero.start();
    (net, portero)
}

#[test]
fn an_attacker_at_maxretry_is_cut_off_and_everybody_else_is_served() {
    if !root("an_attacker_at_maxretry_is_cut_off_and_everybody_else_is_served") {
        return;
    }
    let (net, portero) = guarded(CONFIG);
    let _service = Service::start(&net, &[25, 143]);
    let attackers = ["203.0.113.7", "2001:db8:bad:1::7"];
    let mut open: Vec<_> = attackers
        .iter()
        .map(|from| connect(&net, from, 25, Duration::from_secs(2)).expect("served before the attack"))
        .collect();
    for from in attackers {
        portero.write_log("mail.log", &failures(from, "alice", 4));
    }
    portero.write_log("mail.log", &failures("203.0.113.99", "bob", 10));
    portero.wait_read();
    assert!(attackers.iter().all(|from| !portero.banned(from)), "four failures are below maxretry");

    for (from, stream) in attackers.iter().zip(&mut open) {
        portero.write_log("mail.log", &failure(from, "alice"));
        portero.wait_banned(from);
        // What was on its way may still arrive; then nothing more, and no clean end either.
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let mut more = [0u8; 4096];
        let first = stream.read(&mut more).unwrap_or(0);
        let second = stream.read(&mut more).unwrap_or(0);
        assert!(first == 0 || second == 0, "{from} still gets bytes after its ban");
        assert!(shut_out(&net, from, 25), "{from} can still connect");
        assert!(served(&net, from, 143), "the jail's ports are smtp and submission only");
    }
    let sockets =
        run("ip", &["netns", "exec", &net.host, "ss", "-Htn", "state", "established", "sport", "=", ":25"]);
    assert!(!sockets.contains("203.0.113.7"), "the server's socket is gone: {sockets}");
    for from in ["203.0.113.8", "203.0.113.99", "2001:db8:bad:2::7"] {
        assert!(served(&net, from, 25), "{from} did nothing");
    }
    // The whole /64 of the IPv6 attacker is one peer.
    assert!(shut_out(&net, "2001:db8:bad:1::8", 25));
    let status = portero.json(&["status", "203.0.113.99"]);
    assert_eq!(status["allowed"], true);
}

#[test]
fn a_ban_ends_by_itself_also_with_the_daemon_killed() {
    if !root("a_ban_ends_by_itself_also_with_the_daemon_killed") {
        return;
    }
    let config = CONFIG.replace("port = [", "bantime = 2\nport = [");
    let (net, mut portero) = guarded(&config);
    let _service = Service::start(&net, &[25]);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    wait_until("the ban is in the kernel", || net.ruleset().contains("203.0.113.7"));
    portero.kill();
    assert!(shut_out(&net, "203.0.113.7", 25));
    wait_until("the kernel ended the ban", || served(&net, "203.0.113.7", 25));
}

#[test]
fn bans_are_back_after_another_program_flushed_the_ruleset() {
    if !root("bans_are_back_after_another_program_flushed_the_ruleset") {
        return;
    }
    let (net, portero) = guarded(CONFIG);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.write_log("mail.log", &failures("2001:db8:bad:1::7", "alice", 5));
    portero.wait_banned("2001:db8:bad:1::7");
    let whole = |net: &Net| {
        let ruleset = net.ruleset();
        ruleset.contains("203.0.113.7") && ruleset.contains("2001:db8:bad:1::")
    };
    wait_until("the bans are in the kernel", || whole(&net));
    for meddling in [&["flush", "ruleset"][..], &["delete", "table", "inet", "portero"]] {
        net.nft(meddling);
        let clock = SystemClock::new();
        wait_until("the bans are back", || whole(&net));
        println!("restored at most {:?} after nft {}", clock.monotonic(), meddling.join(" "));
    }
    assert_eq!(portero.code(&["ping"]), 0);
}

#[test]
fn an_owned_table_is_out_of_reach_and_survives_a_restart() {
    if !root("an_owned_table_is_out_of_reach_and_survives_a_restart") {
        return;
    }
    let (net, mut portero) = guarded(&CONFIG.replace("\"off\"", "\"on\""));
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");
    net.nft(&["flush", "ruleset"]);
    let delete = std::process::Command::new("ip")
        .args(["netns", "exec", &net.host, "nft", "delete", "table", "inet", "portero"])
        .output()
        .unwrap();
    assert!(!delete.status.success(), "the kernel refuses");
    assert!(net.ruleset().contains("203.0.113.7"));
    assert_eq!(portero.stop(), Some(0));
    assert!(net.ruleset().contains("203.0.113.7"), "stopping leaves the bans");
    portero.start();
    assert!(portero.banned("203.0.113.7") && net.ruleset().contains("203.0.113.7"));
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    wait_until("the next ban is in the kernel", || net.ruleset().contains("203.0.113.8"));
}

#[test]
fn an_unban_that_was_answered_stays_after_kill_9() {
    if !root("an_unban_that_was_answered_stays_after_kill_9") {
        return;
    }
    let (net, mut portero) = guarded(CONFIG);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.write_log("mail.log", &failures("203.0.113.8", "bob", 5));
    portero.wait_banned("203.0.113.8");
    let unban = portero.json(&["unban", "203.0.113.7", "--reason", "new password"]);
    assert_eq!(unban["lifted"][0]["target"], "203.0.113.7");
    portero.kill();
    assert!(!net.ruleset().contains("203.0.113.7"));
    portero.start();
    assert!(!portero.banned("203.0.113.7") && portero.banned("203.0.113.8"));
    let why = portero.json(&["why", "203.0.113.7"]);
    assert_eq!(why["earlier"][0]["ended_reason"], "new password", "{why}");
    assert_eq!(portero.code(&["unban", "203.0.113.7"]), 1, "nothing to lift");
}

#[test]
fn an_unban_by_account_frees_its_owner_and_not_those_who_tried_many_accounts() {
    if !root("an_unban_by_account_frees_its_owner_and_not_those_who_tried_many_accounts") {
        return;
    }
    let (net, portero) = guarded(CONFIG);
    // Carol's own address; a guesser with many names, hers among them; one who rotates through a /64.
    portero.write_log("mail.log", &failures("203.0.113.50", "carol@example.org", 5));
    for user in ["carol", "admin", "info", "sales", "carol@example.org"] {
        portero.write_log("mail.log", &failure("203.0.113.66", user));
    }
    for (last, user) in ["carol@example.org", "admin", "info", "sales", "test"].iter().enumerate() {
        portero.write_log("mail.log", &failure(&format!("2001:db8:bad:1::{last}"), user));
    }
    // An office: one good login vouches for it.
    portero.write_log("mail.log", &success("203.0.113.70", "carol@example.org"));
    for user in ["carol@example.org", "dave", "dave", "dave", "dave"] {
        portero.write_log("mail.log", &failure("203.0.113.70", user));
    }
    for target in ["203.0.113.50", "203.0.113.66", "2001:db8:bad:1::1", "203.0.113.70"] {
        portero.wait_banned(target);
    }
    portero.wait_read();
    let unban = portero.json(&["unban", "CAROL", "--grace", "30m"]);
    let mut lifted: Vec<_> =
        unban["lifted"].as_array().unwrap().iter().map(|l| l["target"].as_str().unwrap()).collect();
    lifted.sort_unstable();
    assert_eq!(lifted, ["203.0.113.50", "203.0.113.70"], "{unban}");
    assert_eq!(unban["kept"].as_array().unwrap().len(), 2, "{unban}");
    // Under grace it also stands in the allow set, so the jail's own set is looked at.
    let set = net.nft(&["list", "set", "inet", "portero", "postfix-sasl4"]);
    assert!(set.contains("203.0.113.66") && !set.contains("203.0.113.50"), "{set}");
    // Under grace her own address may fail again.
    portero.write_log("mail.log", &failures("203.0.113.50", "carol@example.org", 6));
    portero.wait_read();
    assert!(!portero.banned("203.0.113.50"));
    let unban = portero.json(&["unban", "carol", "--all-addresses"]);
    assert_eq!(unban["kept"].as_array().unwrap().len(), 0, "{unban}");
    assert!(!net.nft(&["list", "set", "inet", "portero", "postfix-sasl4"]).contains("203.0.113.66"));
}

#[test]
fn what_is_never_banned_is_refused_by_hand_and_by_rule() {
    if !root("what_is_never_banned_is_refused_by_hand_and_by_rule") {
        return;
    }
    let (_net, portero) = guarded(CONFIG);
    for target in
        ["127.0.0.1", "::1", "0.0.0.0/0", "198.51.100.25", "198.51.100.1", "203.0.113.99", "10.0.0.0/8"]
    {
        let output = portero.ctl(&["ban", target]);
        assert_eq!(output.status.code(), Some(1), "{target}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("refused"), "{output:?}");
    }
    assert_eq!(portero.code(&["ban", "nonsense"]), 64);
    assert_eq!(portero.code(&["ban", "203.0.113.7", "--jail", "nosuch"]), 64);
    assert_eq!(portero.code(&["ban", "10.0.0.0/8", "--force", "--for", "1m"]), 0);
    portero.write_log("mail.log", &failures("198.51.100.1", "alice", 9));
    portero.wait_read();
    assert!(!portero.banned("198.51.100.1"), "the default gateway");
}

#[test]
fn bans_by_hand_hold_on_all_ports_and_are_listed() {
    if !root("bans_by_hand_hold_on_all_ports_and_are_listed") {
        return;
    }
    let (net, portero) = guarded(CONFIG);
    let _service = Service::start(&net, &[25, 143]);
    assert!(portero.json_lines(&["bans"]).is_empty());
    assert_eq!(portero.code(&["bans"]), 0);
    let ban = portero.json(&["ban", "203.0.113.0/25", "--for", "1h", "--reason", "a test"]);
    assert_eq!(ban["jail"], "manual");
    assert!(shut_out(&net, "203.0.113.7", 143) && served(&net, "203.0.113.200", 143));
    assert!(served(&net, "203.0.113.99", 25), "ignoreip goes before a wide ban");
    let bans = portero.json_lines(&["bans"]);
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0]["reason"], "a test");
    assert!(portero.banned("203.0.113.7"), "the network's ban covers it");
    assert_eq!(portero.code(&["unban", "--all"]), 0);
    assert!(served(&net, "203.0.113.7", 143));
    assert_eq!(portero.json_lines(&["bans", "--ended"]).len(), 1);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_guards_on() {
    let mut first = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    first.write_log("mail.log", "");
    first.start();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_portero"))
        .arg("--config")
        .arg(first.config_file())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another portero"), "{second:?}");
    first.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    first.wait_banned("203.0.113.7");
    assert_eq!(first.stop(), Some(0));
    let log = first.daemon_log();
    assert!(log.contains("stopping") && !log.contains("in the kernel"), "nothing was enforced: {log}");
}

#[test]
fn garbage_in_the_log_is_counted_and_guarding_goes_on() {
    let mut portero = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    portero.start();
    let status = portero.json(&["status", "postfix-sasl"]);
    assert_eq!(status["state"], "waiting", "{status}");
    portero.write_log("mail.log", &"x".repeat(10 << 20));
    portero.write_log("mail.log", "\n\0\0\0\u{1b}[31m\n\n");
    portero.write_log("mail.log", &failures("203.0.113.7", "\u{202e}\u{1b}]0;x\u{7}alice", 5));
    portero.wait_banned("203.0.113.7");
    let why = portero.ctl(&["why", "203.0.113.7"]);
    assert!(!why.stdout.contains(&0x1b), "{}", String::from_utf8_lossy(&why.stdout));
    let status = portero.json(&["status", "postfix-sasl"]);
    assert_eq!(status["logs"][0]["lines_cut"], 1, "{status}");
}

#[test]
fn a_bad_jail_is_named_and_the_others_guard_on() {
    let config = format!(
        "firewall = \"log-only\"{CONFIG}\n[jails.typo]\nenabled = true\nfilter = \"postfix-sasl\"\nlogpath = [\"LOGS/mail.log\"]\nbantime = \"10q\"\n"
    );
    let mut portero = Portero::new(None, &config);
    portero.write_log("mail.log", "");
    portero.start();
    let status = portero.json(&["status"]);
    let jails = status["jails"].as_array().unwrap();
    let jail = |name: &str| jails.iter().find(|jail| jail["name"] == name).unwrap();
    assert_eq!(jail("typo")["state"], "broken");
    let problem = jail("typo")["problem"].as_str().unwrap();
    assert!(problem.contains("10q") && problem.contains("portero.toml:"), "{problem}");
    assert_eq!(jail("postfix-sasl")["state"], "guarding");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");

    // Mended at a reload; then broken again: the last good form guards on.
    let good = config.replace("10q", "10m");
    portero.configure(&good);
    let report = portero.json(&["reload"]);
    assert_eq!((&report["ok"], &report["added"][0]), (&true.into(), &"typo".into()), "{report}");
    assert_eq!(report["unchanged"][0], "postfix-sasl");
    assert!(portero.banned("203.0.113.7"), "what did not change keeps its bans");
    portero.configure(&config);
    let output = portero.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let status = portero.json(&["status", "typo"]);
    assert_eq!(status["state"], "outdated", "{status}");
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    wait_until("both jails ban", || {
        portero.json(&["status", "203.0.113.8"])["bans"].as_array().unwrap().len() == 2
    });
}

#[test]
fn without_the_capability_the_way_out_is_named() {
    if !root("without_the_capability_the_way_out_is_named") {
        return;
    }
    let net = Net::new();
    let portero = Portero::new(Some(&net.host), CONFIG);
    run("chmod", &["-R", "a+rwX", &portero.folder.path().display().to_string()]);
    let output = std::process::Command::new("ip")
        .args([
            "netns",
            "exec",
            &net.host,
            "setpriv",
            "--bounding-set",
            "-net_admin",
            "--inh-caps",
            "-net_admin",
        ])
        .arg(env!("CARGO_BIN_EXE_portero"))
        .arg("--config")
        .arg(portero.config_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CAP_NET_ADMIN") && said.contains("log-only"), "{said}");
}

#[test]
fn a_flush_ends_every_ban_and_removes_the_table() {
    if !root("a_flush_ends_every_ban_and_removes_the_table") {
        return;
    }
    let (net, mut portero) = guarded(CONFIG);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");
    let flush = |portero: &Portero, net: &Net| {
        let config = portero.config_file().display().to_string();
        run(
            "ip",
            &["netns", "exec", &net.host, env!("CARGO_BIN_EXE_portero"), "--config", &config, "--flush"],
        );
        assert!(!net.ruleset().contains("portero"));
    };
    flush(&portero, &net);
    assert_eq!(portero.wait_end(), Some(0));
    portero.start();
    assert!(!portero.banned("203.0.113.7"));
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    portero.wait_banned("203.0.113.8");
    portero.stop();
    // With no daemon to ask, it does it itself.
    flush(&portero, &net);
    portero.start();
    assert!(!portero.banned("203.0.113.8"));
}
