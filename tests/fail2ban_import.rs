//! `banctl import --out`, `scan` and `replay --fail2ban-dir`: what is written runs, and does what fail2ban's files said.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::debian;
use crate::rig::{Portero, wait_until};

const CYRUS: &str = "[Definition]\n\
    failregex = : badlogin: .*\\[<HOST>\\] (?:plaintext|LOGIN|(?:CRAM|DIGEST)-MD5|NTLM) .*SASL\\(-13\\): authentication failure\n";
/// A stock filter with a pattern of the admin's beside its own.
const DOVECOT: &str = "[Definition]\n\
    failregex = %(known/failregex)s\n            ^our proxy refused <F-USER>\\S+</F-USER> from <HOST>$\n";
/// Lines are joined by their connection.
const JOINED: &str = "[Definition]\nprefregex = ^ gate: <F-MLFID>c\\d+</F-MLFID> <F-CONTENT>.+</F-CONTENT>$\n\
    failregex = ^<F-NOFAIL>open</F-NOFAIL> from <HOST>$\n            ^<F-MLFFORGET>refused</F-MLFFORGET> <F-USER>\\S+</F-USER>$\n\
    datepattern = ^%%Y/%%m/%%d %%H:%%M:%%S\nmaxlines = 1\n";
const JAILS: &str = "[DEFAULT]\nbackend = polling\nmaxretry = 3\nfindtime = 1h\nbantime = 2h\n\
    [pop3]\nenabled = true\nport = pop3\nfilter = cyrus\nlogpath = LOGS/mail.log\n\
    [imap2]\nenabled = true\nport = imap2\nfilter = cyrus\nlogpath = LOGS/mail.log\n\
    [dovecot]\nenabled = true\nlogpath = LOGS/mail.log\nbantime.increment = true\nbantime.factor = 2\n\
    [sshd]\nenabled = true\nlogpath = LOGS/auth.log\n\
    [apache-auth]\nenabled = true\nlogpath = LOGS/error.log\n\
    [gate]\nenabled = true\nport = 8443\nfilter = gate\nlogpath = LOGS/gate.log\nlogtimezone = UTC\nmaxretry = 2\n";

/// A configuration, a daemon that changes no firewall, and the folder of its logs.
fn set_up(test: &str) -> Option<(Portero, PathBuf)> {
    let package = debian::fail2ban(test)?;
    let portero = Portero::new(None, "firewall = \"log-only\"\ntimezone = \"UTC\"\n");
    let dir = portero.folder.path().join("fail2ban");
    let jails = JAILS.replace("LOGS", &portero.logs().display().to_string());
    let files = [
        ("filter.d/cyrus.local", CYRUS),
        ("filter.d/dovecot.local", DOVECOT),
        ("filter.d/gate.conf", JOINED),
        ("jail.d/defaults-debian.conf", ""),
        ("jail.local", &jails),
    ];
    debian::configuration(&package, &dir, &files);
    Some((portero, dir))
}

fn banctl(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_banctl")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Failures of several kinds, written a minute ago: whom they ban, by jail, and whom not.
fn write_logs(portero: &Portero) {
    use portero::time::{Clock, SystemClock};
    let at = |format: &str, ago: i64| {
        let micros = SystemClock::new().now().micros() - ago * 1_000_000;
        chrono::DateTime::from_timestamp_micros(micros).unwrap().format(format).to_string()
    };
    let syslog = |ago| at("%b %e %H:%M:%S", ago);
    let mut mail = String::new();
    let mut gate = String::new();
    for n in 0..3 {
        let time = syslog(60 - n);
        mail += &format!(
            "{time} mx cyrus/imap[8]: badlogin: a.example.org [203.0.113.7] plaintext eve SASL(-13): authentication failure: x\n\
             {time} mx dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<eve>, method=PLAIN, rip=203.0.113.8, lip=192.0.2.1\n\
             {time} mx our proxy refused eve from 203.0.113.9\n"
        );
        let stamp = at("%Y/%m/%d %H:%M:%S", 60 - n);
        gate += &format!("{stamp} gate: c{n} open from 203.0.113.10\n{stamp} gate: c{n} refused eve\n");
    }
    mail += &format!("{} mx our proxy refused bob from 203.0.113.99\n", syslog(50));
    // Older than findtime.
    let old = "mx our proxy refused old from 203.0.113.98\n";
    let old: String = (0..9).map(|n| format!("{} {old}", syslog(7200 - n))).collect();
    portero.write_log("mail.log", &(old + &mail));
    portero.write_log("gate.log", &gate);
}

fn bans(portero: &Portero) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut bans: Vec<_> =
        portero.json_lines(&["bans"]).iter().map(|ban| (text(&ban["jail"]), text(&ban["target"]))).collect();
    bans.sort();
    bans
}

const EXPECTED: [(&str, &str); 5] = [
    ("dovecot", "203.0.113.8"),
    ("dovecot", "203.0.113.9"),
    ("gate", "203.0.113.10"),
    ("imap2", "203.0.113.7"),
    ("pop3", "203.0.113.7"),
];

fn expected() -> Vec<(String, String)> {
    EXPECTED.map(|(jail, target)| (jail.to_owned(), target.to_owned())).to_vec()
}

fn end(text: &Path) -> String {
    text.display().to_string()
}

#[test]
fn what_import_writes_is_good_and_bans_the_same() {
    let test = "what_import_writes_is_good_and_bans_the_same";
    let Some((mut live, dir)) = set_up(test) else { return };
    write_logs(&live);
    live.spawn(&["--fail2ban-dir", &end(&dir)]);
    live.wait_ready();
    wait_until("the live jails ban", || bans(&live).len() >= EXPECTED.len());
    assert_eq!(bans(&live), expected());
    live.stop();

    let mut written = Portero::new(None, "firewall = \"log-only\"\ntimezone = \"UTC\"\n");
    let out = written.folder.path().join("etc");
    let (code, report, errors) = banctl(&["import", "--fail2ban-dir", &end(&dir), "--out", &end(&out)]);
    assert_eq!(code, 0, "{report}{errors}");
    assert!(
        out.join("filters/fail2ban-cyrus.toml").is_file() && out.join("jails/pop3.toml").is_file(),
        "{report}"
    );
    let cyrus = std::fs::read_to_string(out.join("filters/fail2ban-cyrus.toml")).unwrap();
    assert!(cyrus.contains("dialect = \"fail2ban\"") && cyrus.contains("cyrus.local:2"), "{cyrus}");
    // There are shipped filters of these names, and they would not know the admin's patterns.
    assert!(out.join("filters/fail2ban-dovecot.toml").is_file());
    assert!(!out.join("jails/gate.toml.off").exists());
    for stock in ["sshd", "apache-auth"] {
        let jail = std::fs::read_to_string(out.join(format!("jails/{stock}.toml"))).unwrap();
        assert!(jail.contains(&format!("filter = \"{stock}\"")), "the shipped one serves: {jail}");
    }
    let config = end(&written.config_file());
    let (code, good, errors) = banctl(&["check", "--config", &config]);
    assert_eq!(code, 0, "{good}{errors}");
    let (code, listed, _) = banctl(&["filter", "--config", &config, "list", "--json"]);
    assert!(code == 0 && listed.contains("\"fail2ban-dovecot\""), "{listed}");

    // Its jails name the logs of the other one.
    for file in std::fs::read_dir(out.join("jails")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let moved = text.replace(&end(&live.logs()), &end(&written.logs()));
        std::fs::write(path, moved).unwrap();
    }
    write_logs(&written);
    written.start();
    wait_until("the written jails ban", || bans(&written).len() >= EXPECTED.len());
    assert_eq!(bans(&written), expected());

    // Each ban goes on after a restart, and what was open between two lines is joined.
    written.write_log("gate.log", &gate_line("c9 open from 203.0.113.11"));
    written.wait_read();
    written.kill();
    written.start();
    for n in 0..2 {
        written.write_log("gate.log", &gate_line(&format!("c1{n} open from 203.0.113.12")));
    }
    written.write_log("gate.log", &gate_line("c9 refused eve"));
    written.wait_read();
    assert_eq!(bans(&written), expected());
    let why = written.json(&["status", "203.0.113.11"]);
    assert_eq!(why["windows"][0]["failures"], 1, "{why}");
}

fn gate_line(what: &str) -> String {
    use portero::time::{Clock, SystemClock};
    let now = chrono::DateTime::from_timestamp_micros(SystemClock::new().now().micros()).unwrap();
    format!("{} gate: {what}\n", now.format("%Y/%m/%d %H:%M:%S"))
}

#[test]
fn scan_looks_with_the_filters_of_the_jails() {
    let Some((portero, dir)) = set_up("scan_looks_with_the_filters_of_the_jails") else { return };
    write_logs(&portero);
    let log = end(&portero.logs().join("mail.log"));
    let scan = |more: &[&str]| {
        let dir = end(&dir);
        let mut args = vec!["scan", "--json", "--timezone", "UTC", "--fail2ban-dir", &dir];
        args.extend(more);
        args.push(&log);
        let (code, out, errors) = banctl(&args);
        assert_eq!(code, 0, "{errors}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = scan(&[]);
    assert_eq!(all.len(), 9 + 9 + 1, "{all:?}");
    let first = &all[0];
    assert_eq!((&first["filter"], &first["event"]), (&Value::from("dovecot"), &Value::from("failure")));
    assert_eq!((&first["ip"], &first["user"]), (&Value::from("203.0.113.98"), &Value::from("old")));
    assert_eq!(first["line"], 1);
    assert!(first["time"].as_f64().unwrap() > 1.7e9);
    let one = scan(&["--filters", "cyrus"]);
    assert!(one.len() == 3 && one.iter().all(|found| found["ip"] == "203.0.113.7"), "{one:?}");
    let (code, _, errors) = banctl(&["scan", "--fail2ban-dir", &end(&dir), "--filters", "nosuch", &log]);
    assert!(code == 78 && errors.contains("there is no filter.d/nosuch.conf"), "{errors}");
}

/// Before anything is switched over: who would have been banned, by fail2ban's configuration as it stands.
#[test]
fn replay_tells_whom_the_jails_would_have_banned() {
    let Some((portero, dir)) = set_up("replay_tells_whom_the_jails_would_have_banned") else { return };
    write_logs(&portero);
    let logs = portero.logs();
    let (mail, gate) = (end(&logs.join("mail.log")), end(&logs.join("gate.log")));
    let none = end(&portero.config_file());
    let args = ["replay", "--json", "--timezone", "UTC", "--config-dir", &none, "--fail2ban-dir", &end(&dir)];
    let (code, out, errors) = banctl(&[&args[..], &["--log", &mail, &gate]].concat());
    assert_eq!(code, 0, "{errors}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut bans: Vec<_> = events.map(|event| (text(&event["jail"]), text(&event["target"]))).collect();
    bans.sort();
    // Log time decides: that one failed two hours before the others.
    let mut all = expected();
    all.push(("dovecot".to_owned(), "203.0.113.98".to_owned()));
    all.sort();
    assert_eq!(bans, all);
}
