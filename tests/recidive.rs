//! The jail that counts bans, beside what a filter would find that reads fail2ban.log: the same bans.

use std::process::Command;
use std::time::Duration;

use portero::addr::Net;
use portero::fail2ban::log::{Event, write_line};
use portero::filter::{Attempt, Outcome};
use portero::jail::{Action, Ban, JailName, JailSettings, Jails};
use portero::limits::Limits;
use portero::time::{Span, Timestamp};
use serde_json::Value;

use crate::rig::{Portero, failures, wait_until};

fn name(text: &str) -> JailName {
    JailName::new(text).unwrap()
}

/// Three bans within ten minutes, an hour.
fn again() -> JailSettings {
    let settings = JailSettings::new(name("recidive"));
    JailSettings { maxretry: 3, ipv6_prefix: 128, bantime: Span::For(Duration::from_secs(3600)), ..settings }
}

fn other(text: &str, bantime: u64) -> JailSettings {
    let settings = JailSettings::new(name(text));
    JailSettings {
        maxretry: 2,
        ipv6_prefix: 128,
        bantime: Span::For(Duration::from_secs(bantime)),
        ..settings
    }
}

fn attempt(target: Net, time: Timestamp) -> Attempt<'static> {
    Attempt {
        outcome: Outcome::Failure,
        host: target.as_host(),
        user: None,
        pwhash: None,
        time: Some(time),
        times: 1,
        line: b"",
        line_index: 0,
        filter: 0,
        pattern: 0,
        beside: Default::default(),
    }
}

/// The bans of `recidive` among `actions`, as what can be compared.
fn bans_again(actions: &[Action]) -> Vec<(Net, Timestamp)> {
    let again = |action: &Action| match action {
        Action::Ban(Ban { jail, target, since, .. }) if jail.as_str() == "recidive" => {
            Some((*target, *since))
        }
        _ => None,
    };
    actions.iter().filter_map(again).collect()
}

#[test]
fn it_bans_as_a_filter_over_the_written_log_does() {
    let watching = JailSettings { recidive: Some(name("recidive")), ..again() };
    let settings = vec![other("postfix", 30), other("cyrus", 90), watching];
    let mut jails = Jails::new(settings, Vec::new(), &Limits::default(), 1);
    let ids = ["postfix", "cyrus"].map(|jail| jails.id(jail).unwrap());
    let hosts: Vec<Net> = ["203.0.113.7", "203.0.113.8", "203.0.113.9", "2001:db8::7", "2001:db8::8"]
        .iter()
        .map(|host| host.parse().unwrap())
        .collect();
    let (mut now, mut log, mut actions) = (Timestamp::from_secs(1_795_300_000), String::new(), Vec::new());
    // A fixed sequence without a pattern: what matters is that both see the same.
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..3000 {
        now = now.plus(Duration::from_secs(draw(40)));
        let before = actions.len();
        jails.expire(now, &mut actions);
        let host = hosts[draw(5) as usize];
        // A ban by hand over one that stands is none more, here and in fail2ban.
        if draw(20) == 0 && jails.ban_of(&name("postfix"), host).is_none() {
            let _ = jails.ban(now, Some(ids[0]), host, None, None, false, &mut actions);
        } else {
            jails.attempt(now, true, ids[draw(2) as usize], &attempt(host, now), &mut actions);
        }
        for action in &actions[before..] {
            let (jail, target, event) = match action {
                Action::Ban(ban) => (&ban.jail, ban.target, Event::Ban),
                Action::Unban { jail, target, .. } => (jail, *target, Event::Unban),
                _ => continue,
            };
            write_line(&mut log, now, chrono_tz::UTC, 4711, jail.as_str(), target, event);
        }
    }
    let want = bans_again(&actions);
    assert!(want.len() > 20, "{}", want.len());

    // The same through a filter in fail2ban's own language, by portero's reader of it.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("filter.d")).unwrap();
    let filter = "[Definition]\nfailregex = ^\\s*fail2ban\\.actions\\s+\\[\\d+\\]: NOTICE\\s+\\[(?!recidive\\])[^\\]]*\\] \
                  Ban <HOST>$\ndatepattern = ^%%Y-%%m-%%d %%H:%%M:%%S,%%f\n";
    std::fs::write(folder.path().join("filter.d/recidive.conf"), filter).unwrap();
    let path = folder.path().join("fail2ban.log");
    std::fs::write(&path, &log).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_banctl"))
        .args(["filter", "test", "--filter", "recidive", "--timezone", "UTC", "--json", "--fail2ban-dir"])
        .arg(folder.path())
        .args(["--now", &now.secs().to_string(), "--log"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut plain = Jails::new(vec![again()], Vec::new(), &Limits::default(), 1);
    let id = plain.id("recidive").unwrap();
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(host) = line["host"].as_str() else { continue };
        let time = Timestamp::from_secs_f64(line["time"].as_f64().unwrap());
        plain.expire(time, &mut found);
        plain.attempt(time, true, id, &attempt(host.parse().unwrap(), time), &mut found);
    }
    assert_eq!(bans_again(&found), want);
}

const CONFIG: &str = r#"
firewall = "log-only"
[jails.recidive]
filter = "recidive"
maxretry = 2
findtime = "1d"
bantime = "1w"
[jails.postfix-sasl]
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
"#;

#[test]
fn the_daemon_bans_for_longer_who_comes_back_also_after_a_restart() {
    let mut portero = Portero::new(None, CONFIG);
    portero.write_log("mail.log", "");
    portero.start();
    assert_eq!(portero.json(&["status", "recidive"])["state"], "guarding");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");
    portero.json(&["unban", "203.0.113.7", "--jail", "postfix-sasl"]);
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    portero.wait_banned("203.0.113.8");
    portero.kill();
    portero.start();
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 1));
    portero.wait_read();
    assert_eq!(portero.json_lines(&["bans"]).len(), 1, "a ban put back counts no more");
    assert_eq!(portero.code(&["ban", "203.0.113.8", "--jail", "manual", "--for", "1m"]), 0);
    wait_until("a second ban, by hand, is enough", || {
        portero.json(&["status", "203.0.113.8"])["bans"]
            .as_array()
            .unwrap()
            .iter()
            .any(|ban| ban["jail"] == "recidive")
    });
}

#[test]
fn a_path_to_read_is_refused_since_nothing_is_read() {
    let config =
        CONFIG.replace("filter = \"recidive\"", "filter = \"recidive\"\nlogpath = [\"LOGS/fail2ban.log\"]");
    let portero = Portero::new(None, &config);
    let output = Command::new(env!("CARGO_BIN_EXE_banctl"))
        .args(["check", "--config"])
        .arg(portero.config_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("takes no logpath"), "{output:?}");
}
