//! Shadow mode: portero beside a fail2ban, enforcing nothing, and what `banctl shadow` makes of the two.

use chrono_tz::UTC;
use portero::addr::Net;
use portero::fail2ban::log::{Event, write_line};
use portero::time::{Clock, SystemClock};
use serde_json::Value;

use crate::rig::{Net as Namespaces, Portero, failures, root, wait_until};

const CONFIG: &str = r#"
fail2ban_log = "LOGS/fail2ban.log"
shadow_log = "LOGS/fail2ban.log"
ignoreip = ["203.0.113.99"]
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
"#;

/// fail2ban writes that this happened just now.
fn fail2ban(portero: &Portero, target: &str, event: Event) {
    let (now, target) = (SystemClock::new().now(), target.parse::<Net>().unwrap());
    let mut line = String::new();
    // Its jail need not be called as ours.
    write_line(&mut line, now, UTC, 4711, "postfix", target, event);
    portero.write_log("fail2ban.log", &line);
}

fn found(portero: &Portero, target: &str) {
    fail2ban(portero, target, Event::Found { at: SystemClock::new().now() });
}

fn start(portero: &mut Portero) {
    portero.spawn(&["--shadow"]);
    portero.wait_ready();
}

/// The report with a tolerance of a second, once `done` is content with it.
fn report(portero: &Portero, done: impl Fn(&Value) -> bool) -> Value {
    let mut report = Value::Null;
    wait_until("the comparison is done", || {
        report = portero.json(&["shadow", "--tolerance", "1s"]);
        report["undecided"] == 0 && done(&report)
    });
    report
}

fn targets(report: &Value, side: &str) -> Vec<String> {
    let differences = report[side].as_array().unwrap().iter();
    let mut targets: Vec<_> = differences.map(|one| one["target"].as_str().unwrap().to_owned()).collect();
    targets.sort();
    targets
}

fn difference<'a>(report: &'a Value, side: &str, target: &str) -> &'a Value {
    report[side].as_array().unwrap().iter().find(|one| one["target"] == target).expect("it differs")
}

#[test]
fn differences_are_named_with_the_lines_that_make_them_and_nothing_is_enforced() {
    if !root("differences_are_named_with_the_lines_that_make_them_and_nothing_is_enforced") {
        return;
    }
    let net = Namespaces::new();
    let mut portero = Portero::new(Some(&net.host), CONFIG);
    portero.write_log("mail.log", "");
    portero.write_log("fail2ban.log", "");
    // It stood before.
    fail2ban(&portero, "203.0.113.5", Event::RestoreBan);
    start(&mut portero);
    wait_until("fail2ban's log is read", || portero.json(&["shadow"])["log_state"] == "open");

    // Both; only fail2ban, with two failures that portero counted too; only fail2ban, by hand; one that portero
    // leaves alone; only portero, of which fail2ban found one failure; only portero, and fail2ban saw nothing.
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    fail2ban(&portero, "203.0.113.7", Event::Ban);
    portero.write_log("mail.log", &failures("203.0.113.8", "bob", 2));
    found(&portero, "203.0.113.8");
    fail2ban(&portero, "203.0.113.8", Event::Ban);
    fail2ban(&portero, "203.0.113.9", Event::Ban);
    portero.write_log("mail.log", &failures("203.0.113.99", "dave", 5));
    found(&portero, "203.0.113.99");
    fail2ban(&portero, "203.0.113.99", Event::Ban);
    found(&portero, "203.0.113.10");
    portero.write_log("mail.log", &failures("203.0.113.10", "erin", 5));
    portero.write_log("mail.log", &failures("2001:db8:bad:1::7", "frank", 5));
    // Who is banned there already makes no difference.
    portero.write_log("mail.log", &failures("203.0.113.5", "gus", 5));

    let settled = |report: &Value| {
        report["only_portero"].as_array().is_some_and(|all| all.len() == 2)
            && report["only_fail2ban"].as_array().is_some_and(|all| all.len() == 3)
    };
    let report = report(&portero, settled);
    assert_eq!((&report["both"], &report["covered"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(targets(&report, "only_portero"), ["2001:db8:bad:1::/64", "203.0.113.10"]);
    assert_eq!(targets(&report, "only_fail2ban"), ["203.0.113.8", "203.0.113.9", "203.0.113.99"]);
    let why = |side: &str, target: &str| {
        let one = difference(&report, side, target);
        let said = one["fail2ban"].as_array().unwrap().len();
        (one["why"].as_str().unwrap().to_owned(), one["lines"].as_array().unwrap().len(), said)
    };
    let (text, lines, said) = why("only_portero", "203.0.113.10");
    assert!(text.contains("found some failures") && lines == 5 && said == 1, "{text} {lines} {said}");
    let (text, lines, said) = why("only_portero", "2001:db8:bad:1::/64");
    assert!(text.contains("found no failure") && lines == 5 && said == 0, "{text} {lines} {said}");
    let (text, lines, said) = why("only_fail2ban", "203.0.113.8");
    assert!(text.contains("fewer than maxretry") && lines == 2 && said == 2, "{text} {lines} {said}");
    let (text, lines, said) = why("only_fail2ban", "203.0.113.9");
    assert!(text.contains("by hand") && lines == 0 && said == 1, "{text} {lines} {said}");
    assert!(why("only_fail2ban", "203.0.113.99").0.contains("ignoreip"));
    let line = difference(&report, "only_fail2ban", "203.0.113.8")["lines"][0]["line"].as_str().unwrap();
    assert!(line.contains("SASL LOGIN authentication failed"), "{line}");
    let text = portero.ctl(&["shadow", "--tolerance", "1s"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("Only portero would ban: 2") && text.contains("fail2ban: "), "{text}");

    // Nothing was enforced, and nothing written into fail2ban's own log.
    assert!(!net.ruleset().contains("portero"), "{}", net.ruleset());
    let log = std::fs::read_to_string(portero.logs().join("fail2ban.log")).unwrap();
    assert!(log.lines().all(|line| line.contains("[4711]")), "{log}");
}

#[test]
fn what_was_compared_survives_a_restart_and_no_ban_of_it_is_ever_in_force() {
    let config = format!("firewall = \"log-only\"{CONFIG}run = [\"mark\"]\n");
    let mut portero = Portero::new(None, &config);
    let actions = portero.folder.path().join("etc/actions");
    std::fs::create_dir(&actions).unwrap();
    let mark = portero.logs().join("mark");
    std::fs::write(actions.join("mark.toml"), format!("ban = \"echo <ip> >> {}\"\n", mark.display()))
        .unwrap();
    portero.write_log("mail.log", "");
    portero.write_log("fail2ban.log", "");
    start(&mut portero);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    fail2ban(&portero, "203.0.113.8", Event::Ban);
    report(&portero, |report| {
        targets(report, "only_portero").len() == 1 && targets(report, "only_fail2ban").len() == 1
    });
    portero.stop();
    fail2ban(&portero, "203.0.113.9", Event::Ban);
    start(&mut portero);
    let again = report(&portero, |report| targets(report, "only_fail2ban").len() == 2);
    assert_eq!(targets(&again, "only_fail2ban"), ["203.0.113.8", "203.0.113.9"]);
    assert_eq!(targets(&again, "only_portero"), ["203.0.113.7"]);
    portero.stop();

    // In earnest: its own store knows nothing of it. (The log is looked back on, as at any first start.)
    std::fs::write(portero.logs().join("mail.log"), "").unwrap();
    assert!(!mark.exists(), "no action was run");
    portero.configure(&config.replace("fail2ban_log", "# "));
    portero.start();
    assert!(portero.json_lines(&["bans"]).is_empty() && portero.json_lines(&["bans", "--ended"]).is_empty());
    let answer = portero.ctl(&["shadow"]);
    assert_eq!(answer.status.code(), Some(64), "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.stderr).contains("portero --shadow"), "{answer:?}");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    wait_until("the action is run", || mark.exists());
}

#[test]
fn a_log_that_is_not_there_is_said() {
    let mut portero = Portero::new(None, &CONFIG.replace("LOGS/fail2ban.log", "LOGS/none.log"));
    portero.write_log("mail.log", "");
    start(&mut portero);
    assert_eq!(portero.json(&["shadow"])["log_state"], "missing");
    let text = portero.ctl(&["shadow"]);
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("nothing is known of fail2ban's bans"),
        "{text:?}"
    );
}
