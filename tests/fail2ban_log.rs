//! fail2ban.log, written by portero: what happened, in the form that log watchers know.

use portero::fail2ban::log::{Said, read_line};
use portero::time::system_zone;

use crate::rig::{Portero, failures, wait_until};

const CONFIG: &str = r#"
firewall = "log-only"
fail2ban_log = "LOGS/fail2ban.log"
ignoreip = ["203.0.113.99"]
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
bantime_increment = true
"#;

fn lines(portero: &Portero, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(portero.logs().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_for(portero: &Portero, name: &str, end: &str) {
    wait_until(end, || lines(portero, name).iter().any(|line| line.ends_with(end)));
}

#[test]
fn what_happens_is_written_in_fail2bans_form_also_after_a_rotation() {
    let mut portero = Portero::new(None, CONFIG);
    portero.write_log("mail.log", &failures("203.0.113.7", "a\u{1b}]0;x\u{7}] NOTICE [x] Ban 192.0.2.1", 5));
    portero.start();
    portero.write_log("mail.log", &failures("203.0.113.99", "bob", 1));
    wait_for(&portero, "fail2ban.log", "[postfix-sasl] Ignore 203.0.113.99 by ip");
    portero.json(&["unban", "203.0.113.7"]);
    wait_for(&portero, "fail2ban.log", "[postfix-sasl] Unban 203.0.113.7");
    let zone = system_zone();
    let said: Vec<_> = lines(&portero, "fail2ban.log")
        .iter()
        .map(|line| {
            let entry = read_line(line.as_bytes(), zone).unwrap_or_else(|| panic!("{line}"));
            assert!(entry.at.is_some() && entry.jail == "postfix-sasl", "{line}");
            (entry.what, entry.target.to_string())
        })
        .collect();
    let seven = |what| (what, "203.0.113.7".to_owned());
    let mut want = vec![seven(Said::Found); 5];
    want.extend([seven(Said::Ban), (Said::Ignored, "203.0.113.99".to_owned()), seven(Said::Unban)]);
    assert_eq!(said, want);

    // logrotate moves it away: the next line begins a new one, and a second ban is longer.
    let logs = portero.logs();
    std::fs::rename(logs.join("fail2ban.log"), logs.join("fail2ban.log.1")).unwrap();
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");
    wait_until("the second ban is logged", || {
        lines(&portero, "fail2ban.log")
            .iter()
            .any(|line| line.contains("Increase Ban 203.0.113.7 (2 # 2h -> "))
    });
    assert_eq!(lines(&portero, "fail2ban.log.1").len(), want.len());
}

#[test]
fn a_log_that_cannot_be_written_is_reported_and_guarding_goes_on() {
    let mut portero = Portero::new(None, &CONFIG.replace("LOGS/fail2ban.log", "/dev/full"));
    portero.write_log("mail.log", "");
    portero.start();
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 5));
    portero.wait_banned("203.0.113.7");
    wait_until("it is reported", || portero.daemon_log().contains("cannot write fail2ban_log /dev/full"));
    // A reload takes another path over.
    portero.configure(CONFIG);
    assert_eq!(portero.json(&["reload"])["ok"], true);
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    wait_for(&portero, "fail2ban.log", "[postfix-sasl] Ban 203.0.113.8");
    assert_eq!(portero.daemon_log().matches("/dev/full").count(), 1, "{}", portero.daemon_log());
}
