//! Commands of actions, told of bans by the real daemon with the real kernel.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rig::{Net, Portero, Service, failure, failures, root, served, shut_out, wait_until};

/// A jail that bans in the firewall and tells two actions; one that only tells.
const CONFIG: &str = r#"
table_owner = "off"
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
port = ["smtp"]
maxretry = 3
bantime = "1h"
run = ["record[to=LOGS/record]", "news"]
[jails.told]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/told.log"]
port = "none"
maxretry = 3
run = ["record[to=LOGS/told]"]
"#;

/// Writes down all that it is told.
const RECORD: &str = r#"
start = "echo start <name> <family> >> <to>"
ban = "echo ban <ip> <family> <which> <failures> <bantime> <bancount> restored=<restored> >> <to>; printf '%s|%s\n' \"<F-USER>\" '<F-USER>' >> <to>.users; printf '%s\n' \"<matches>\" >> <to>.lines"
unban = "echo unban <ip> >> <to>"
stop = "echo stop <which> >> <to>"
[tags]
which = "four"
[tags_inet6]
which = "six"
"#;

/// Wants to hear of what is new only.
const NEWS: &str = "norestored = true\nban = \"echo <ip> >> LOGS/news\"\n";

fn guarded(config: &str, actions: &[(&str, &str)]) -> (Net, Portero) {
    let net = Net::new();
    let mut portero = Portero::new(Some(&net.host), config);
    let folder = portero.folder.path().join("etc/actions");
    fs::create_dir(&folder).unwrap();
    for (name, text) in actions {
        let text = text.replace("LOGS", &portero.logs().display().to_string());
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    portero.write_log("mail.log", "");
    portero.write_log("told.log", "");
    portero.start();
    (net, portero)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn log(portero: &Portero, name: &str) -> PathBuf {
    portero.logs().join(name)
}

#[test]
fn actions_are_told_of_bans_their_ends_and_once_more_after_a_restart() {
    if !root("actions_are_told_of_bans_their_ends_and_once_more_after_a_restart") {
        return;
    }
    let (net, mut portero) = guarded(CONFIG, &[("record", RECORD), ("news", NEWS)]);
    let record = log(&portero, "record");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 3));
    portero.wait_banned("203.0.113.7");
    portero.write_log("mail.log", &failures("2001:db8:bad:1::7", "bob", 3));
    wait_until("both bans were told", || read(&record).matches("ban ").count() == 2);
    assert_eq!(portero.code(&["unban", "203.0.113.7"]), 0);
    wait_until("the unban was told", || read(&record).contains("unban"));
    assert_eq!(
        read(&record),
        "start postfix-sasl inet4\n\
         ban 203.0.113.7 inet4 four 3 3600 1 restored=0\n\
         start postfix-sasl inet6\n\
         ban 2001:db8:bad:1::/64 inet6 six 3 3600 1 restored=0\n\
         unban 203.0.113.7\n",
        "each family starts with its first ban"
    );
    assert_eq!(read(&log(&portero, "record.lines")).matches("sasl_username=alice").count(), 3);
    assert_eq!(portero.stop(), Some(0));
    assert!(net.ruleset().contains("2001:db8:bad:1::"), "the kernel's ban stays");
    assert!(
        read(&record).ends_with("unban 2001:db8:bad:1::/64\nstop four\nstop six\n"),
        "what was told is taken back: {}",
        read(&record)
    );
    fs::remove_file(&record).unwrap();
    portero.start();
    wait_until("the ban is told anew", || read(&record).contains("ban "));
    assert_eq!(
        read(&record),
        "start postfix-sasl inet6\nban 2001:db8:bad:1::/64 inet6 six 3 3600 1 restored=1\n"
    );
    portero.write_log("mail.log", &failures("203.0.113.9", "carol", 3));
    let news = log(&portero, "news");
    wait_until("the news of it", || read(&news).contains("203.0.113.9"));
    assert_eq!(read(&news), "203.0.113.7\n2001:db8:bad:1::/64\n203.0.113.9\n", "nothing twice");
}

#[test]
fn hostile_names_reach_commands_as_they_are_and_run_nothing() {
    if !root("hostile_names_reach_commands_as_they_are_and_run_nothing") {
        return;
    }
    let (_net, portero) = guarded(CONFIG, &[("record", RECORD), ("news", NEWS)]);
    let trap = log(&portero, "trap");
    let names = ["$(touch TRAP)", "`touch TRAP`", "';touch${IFS}TRAP;'", "\";touch${IFS}TRAP;\"", "a\\nb*"];
    for (last, name) in names.iter().enumerate() {
        let name = name.replace("TRAP", trap.to_str().unwrap());
        portero.write_log("mail.log", &failures(&format!("203.0.113.{}", last + 1), &name, 3));
        portero.wait_banned(&format!("203.0.113.{}", last + 1));
    }
    let users = log(&portero, "record.users");
    wait_until("all were told", || read(&users).lines().count() == names.len());
    for (line, name) in read(&users).lines().zip(names) {
        let name = name.replace("TRAP", trap.to_str().unwrap());
        assert_eq!(line, format!("{name}|{name}"));
    }
    assert!(!trap.exists());
}

#[test]
fn a_jail_without_ports_shuts_nobody_out_and_tells_its_action() {
    if !root("a_jail_without_ports_shuts_nobody_out_and_tells_its_action") {
        return;
    }
    let (net, portero) = guarded(CONFIG, &[("record", RECORD), ("news", NEWS)]);
    let _service = Service::start(&net, &[25]);
    portero.write_log("told.log", &failures("203.0.113.20", "alice", 3));
    let told = log(&portero, "told");
    wait_until("it is told", || read(&told).contains("ban 203.0.113.20"));
    assert!(portero.banned("203.0.113.20"));
    assert!(served(&net, "203.0.113.20", 25));
}

#[test]
fn an_action_that_hangs_delays_no_ban_and_its_failure_is_shown() {
    if !root("an_action_that_hangs_delays_no_ban_and_its_failure_is_shown") {
        return;
    }
    let hangs =
        "timeout = 2\nban = \"echo begun <ip> >> LOGS/record; sleep 1000; echo never >> LOGS/record\"\n";
    let (net, portero) = guarded(CONFIG, &[("record", hangs), ("news", NEWS)]);
    let _service = Service::start(&net, &[25]);
    let record = log(&portero, "record");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 3));
    wait_until("the action hangs", || read(&record).contains("begun 203.0.113.7"));
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 2));
    portero.write_log("mail.log", &failure("203.0.113.8", "alice"));
    portero.wait_banned("203.0.113.8");
    // It is in the kernel while the action still works on the ban before.
    assert!(shut_out(&net, "203.0.113.8", 25));
    assert!(!read(&record).contains("203.0.113.8"));
    let shown =
        || portero.daemon_log().contains("action record: its command for ban failed: killed after 2 s");
    wait_until("the time-out is reported", shown);
    wait_until("the next one had its turn", || read(&record).contains("begun 203.0.113.8"));
    assert!(!read(&record).contains("never"));
    let status = portero.json(&["status"]).to_string();
    assert!(status.contains("its command for ban failed"), "{status}");
}

/// A fail2ban configuration whose jail bans by stock and by foreign actions.
const JAIL_LOCAL: &str = "[DEFAULT]\nmaxretry = 3\nbantime = 600\nbackend = polling\n\
    [postfix-sasl]\nenabled = true\nlogpath = LOGS/mail.log\nport = smtp,submission\n\
    action = iptables-multiport[name=sasl, port=\"%(port)s\", protocol=tcp, blocktype=DROP]\n  \
             hostsdeny[file=LOGS/deny, daemon_list=smtpd]\n  \
             mine[norestored=1]\n\
    [told]\nenabled = true\nfilter = postfix[mode=auth]\nlogpath = LOGS/told.log\naction = hostsdeny[file=LOGS/deny2]\n";

/// Somebody's own, with what fail2ban's filters found.
const MINE: &str = "[Definition]\n\
    actionstart = echo start >> LOGS/mine\n\
    actionban = echo \"<ip> <name> <failures>\" >> LOGS/mine\n            printf '%%s\\n' \"<matches>\" >> LOGS/mine.lines\n\
    actionunban = echo unban <ip> >> LOGS/mine\n\
    actionstop = echo stop >> LOGS/mine\n[Init]\nname = default\n";

/// A host with fail2ban's configuration beside it: [`JAIL_LOCAL`], [`MINE`] and Debian's files. `None`: not here.
fn with_fail2bans(test: &str) -> Option<(Net, Portero, PathBuf)> {
    if !root(test) {
        return None;
    }
    let package = crate::debian::fail2ban(test)?;
    let net = Net::new();
    let portero = Portero::new(Some(&net.host), "table_owner = \"off\"\n");
    let logs = portero.logs().display().to_string();
    let dir = portero.folder.path().join("fail2ban");
    let (jail, mine) = (JAIL_LOCAL.replace("LOGS", &logs), MINE.replace("LOGS", &logs));
    crate::debian::configuration(&package, &dir, &[("jail.local", &jail), ("action.d/mine.conf", &mine)]);
    portero.write_log("mail.log", "");
    portero.write_log("told.log", "");
    Some((net, portero, dir))
}

#[test]
fn fail2bans_actions_run_as_they_stand_and_its_firewall_actions_become_nftables() {
    let test = "fail2bans_actions_run_as_they_stand_and_its_firewall_actions_become_nftables";
    let Some((net, mut portero, dir)) = with_fail2bans(test) else { return };
    let dir = dir.display().to_string();
    portero.spawn(&["--fail2ban-dir", &dir]);
    portero.wait_ready();
    let _service = Service::start(&net, &[25, 587, 143]);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 3));
    portero.write_log("mail.log", &failures("2001:db8:bad:1::7", "bob", 3));
    portero.write_log("told.log", &failures("203.0.113.8", "bob", 3));
    let (deny, deny2, mine) = (log(&portero, "deny"), log(&portero, "deny2"), log(&portero, "mine"));
    wait_until("hosts.deny has them", || {
        read(&deny).lines().count() == 2 && read(&deny2).lines().count() == 1
    });
    assert_eq!(read(&deny), "smtpd: 203.0.113.7\nsmtpd: [2001:db8:bad:1::7]\n");
    assert!(shut_out(&net, "203.0.113.7", 587) && served(&net, "203.0.113.7", 143));
    assert!(served(&net, "203.0.113.8", 25), "its jail has no firewall action");
    wait_until("and the own one", || read(&mine).lines().count() == 3);
    assert_eq!(read(&mine), "start\n203.0.113.7 postfix-sasl 3\n2001:db8:bad:1::7 postfix-sasl 3\n");
    assert_eq!(read(&log(&portero, "mine.lines")).matches("SASL LOGIN").count(), 6);
    assert_eq!(portero.code(&["unban", "203.0.113.7"]), 0);
    wait_until("it is out of hosts.deny", || read(&deny) == "smtpd: [2001:db8:bad:1::7]\n");
    wait_until("and told", || read(&mine).contains("unban 203.0.113.7"));
    assert_eq!(portero.stop(), Some(0));
    assert_eq!((read(&deny).as_str(), read(&deny2).as_str()), ("", ""));
    assert!(read(&mine).ends_with("unban 2001:db8:bad:1::7\nstop\n"), "{}", read(&mine));
    portero.spawn(&["--fail2ban-dir", &dir]);
    portero.wait_ready();
    wait_until("what is left is there again", || read(&deny) == "smtpd: [2001:db8:bad:1::7]\n");
}

#[test]
fn whom_ignorecommand_excepts_is_not_banned_and_nothing_waits_for_its_answer() {
    if !root("whom_ignorecommand_excepts_is_not_banned_and_nothing_waits_for_its_answer") {
        return;
    }
    // The answer for .7 is yes, for .8 no; for .9 it comes only when the test says so.
    let asks = r#"ignorecommand = """
echo <ip> "<F-USER>" >> LOGS/asked
while [ <ip> = 203.0.113.9 ] && [ ! -e LOGS/go ]; do sleep 0.05; done
test <ip> = 203.0.113.7"""
ignorecache = 'key="<ip>", max-count=10, max-time=1h'
run = ["record[to=LOGS/record]", "news"]"#;
    let config = CONFIG.replacen("run = [\"record[to=LOGS/record]\", \"news\"]", asks, 1);
    let (_net, portero) = guarded(&config, &[("record", RECORD), ("news", NEWS)]);
    portero.write_log("mail.log", &failures("203.0.113.9", "$(id)", 3));
    let asked = log(&portero, "asked");
    wait_until("somebody is asked about the first", || read(&asked) == "203.0.113.9 $(id)\n");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 4));
    portero.write_log("mail.log", &failures("203.0.113.8", "bob", 3));
    portero.wait_banned("203.0.113.8");
    assert!(!portero.banned("203.0.113.9"), "its answer has not come");
    wait_until("all three were asked about", || read(&asked).lines().count() == 3);
    wait_until("the answer is in the log", || portero.daemon_log().contains("ignorecommand says so"));
    fs::write(log(&portero, "go"), "").unwrap();
    portero.wait_banned("203.0.113.9");
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 6));
    portero.wait_read();
    assert!(!portero.banned("203.0.113.7"));
    assert_eq!(read(&asked).lines().count(), 3, "the answer is kept");
    assert_eq!(read(&log(&portero, "news")).lines().count(), 2);
}

#[test]
fn an_import_writes_actions_that_do_the_same() {
    let test = "an_import_writes_actions_that_do_the_same";
    let Some((net, mut portero, dir)) = with_fail2bans(test) else { return };
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_banctl"))
        .args(["import", "--fail2ban-dir", dir.to_str().unwrap(), "--out"])
        .arg(portero.folder.path().join("etc"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    portero.start();
    let _service = Service::start(&net, &[25]);
    portero.write_log("mail.log", &failures("203.0.113.7", "alice", 3));
    portero.write_log("told.log", &failures("203.0.113.8", "bob", 3));
    let (deny, deny2) = (log(&portero, "deny"), log(&portero, "deny2"));
    wait_until("both have them", || read(&deny).lines().count() == 1 && read(&deny2).lines().count() == 1);
    assert_eq!(read(&deny), "smtpd: 203.0.113.7\n");
    let mine = log(&portero, "mine");
    wait_until("and the own one", || read(&mine).contains("203.0.113.7 postfix-sasl 3"));
    assert!(shut_out(&net, "203.0.113.7", 25) && served(&net, "203.0.113.8", 25));
}
