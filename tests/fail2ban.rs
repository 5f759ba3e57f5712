//! A fail2ban configuration run live: real daemon, real kernel, the set-ups that admins really have.

use std::path::PathBuf;

use portero::time::{Clock, SystemClock};

use crate::debian;
use crate::rig::{Net, Portero, Service, root, served, shut_out, wait_until};

/// What Debian's own jail.conf of 2008 said of jail sasl and of all jails; and a jail of today that reads the journal.
const ETCH: &str = "[sshd]\nenabled = true\nbackend = systemd\n\
    [DEFAULT]\nmaxretry = 3\nbantime = 600\n\
    [sasl]\nenabled = false\nport = smtp,ssmtp\nfilter = sasl\nlogpath = /var/log/mail.log\n";
const SASL: &str = "[Definition]\n\
    failregex = : warning: .*+\\[<HOST>\\]: SASL (?:LOGIN|PLAIN|(?:CRAM|DIGEST)-MD5) authentication failed\n";
const CYRUS: &str = "[Definition]\n\
    failregex = : badlogin: .*\\[<HOST>\\] (?:plaintext|LOGIN|(?:CRAM|DIGEST)-MD5|NTLM) .*SASL\\(-13\\): authentication failure\n\
    ignoreregex =\n";
const JAILS: &str = "[sasl]\nenabled  = true\n\
    [pop3]\nenabled  = true\nport     = pop3\nfilter   = cyrus\nlogpath  = /var/log/mail.log\n\
    [pop3s]\nenabled  = true\nport     = pop3s\nfilter   = cyrus\nlogpath  = /var/log/mail.log\n\
    [imap2]\nenabled  = true\nport     = imap2\nfilter   = cyrus\nlogpath  = /var/log/mail.log\n\
    [imaps]\nenabled  = true\nport     = imaps\nfilter   = cyrus\nlogpath  = /var/log/mail.log\n";

/// A daemon over Debian's /etc/fail2ban with `files` in it; log folders in them are those of the test.
struct Set {
    net: Net,
    portero: Portero,
    dir: PathBuf,
}

impl Set {
    /// `None`, said by name, where the package or root is missing.
    fn new(test: &str, files: &[(&str, &str)]) -> Option<Set> {
        if !root(test) {
            return None;
        }
        let package = debian::fail2ban(test)?;
        let net = Net::new();
        let portero = Portero::new(Some(&net.host), "table_owner = \"off\"\n");
        let logs = portero.logs().display().to_string();
        let moved = |text: &str| {
            text.replace("/var/log/", &format!("{logs}/")).replace("/opt/zimbra/log/", &format!("{logs}/"))
        };
        let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (*name, moved(text))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let dir = portero.folder.path().join("fail2ban");
        debian::configuration(&package, &dir, &files);
        Some(Set { net, portero, dir })
    }

    fn start(&mut self) {
        let dir = self.dir.display().to_string();
        self.portero.spawn(&["--fail2ban-dir", &dir]);
        self.portero.wait_ready();
    }

    fn jail(&self, name: &str) -> serde_json::Value {
        self.portero.json(&["status", name])
    }
}

/// `Nov 22 10:00:00`, in the daemon's zone.
fn syslog_now() -> String {
    let now = chrono::DateTime::from_timestamp_micros(SystemClock::new().now().micros()).unwrap();
    now.format("%b %e %H:%M:%S").to_string()
}

fn badlogin(from: &str) -> String {
    format!(
        "{} mail cyrus/imap[812]: badlogin: host.example.org [{from}] plaintext alice SASL(-13): authentication \
         failure: checkpass failed\n",
        syslog_now()
    )
}

fn sasl(from: &str) -> String {
    format!(
        "{} mail postfix/smtpd[813]: warning: unknown[{from}]: SASL LOGIN authentication failed: bad password\n",
        syslog_now()
    )
}

#[test]
fn the_set_ups_of_the_2008_article_run_unchanged_and_ban() {
    let files = [
        ("jail.d/etch.conf", ETCH),
        ("filter.d/sasl.local", SASL),
        ("filter.d/cyrus.local", CYRUS),
        ("jail.local", JAILS),
    ];
    let Some(mut set) = Set::new("the_set_ups_of_the_2008_article_run_unchanged_and_ban", &files) else {
        return;
    };
    set.portero.write_log("mail.log", "");
    set.start();
    let _service = Service::start(&set.net, &[25, 110, 143, 993, 995]);
    let write = |text: String| set.portero.write_log("mail.log", &text);

    write(badlogin("203.0.113.7").repeat(2) + &sasl("203.0.113.8").repeat(2));
    set.portero.wait_read();
    assert!(
        !set.portero.banned("203.0.113.7") && !set.portero.banned("203.0.113.8"),
        "two are below maxretry"
    );
    write(badlogin("203.0.113.7") + &sasl("203.0.113.8"));
    for jail in ["pop3", "pop3s", "imap2", "imaps"] {
        wait_until("each of the four jails bans", || set.jail(jail)["banned"] == 1);
    }
    wait_until("the kernel shuts out", || shut_out(&set.net, "203.0.113.7", 143));
    for port in [110, 993, 995] {
        assert!(shut_out(&set.net, "203.0.113.7", port), "{port}");
    }
    assert!(served(&set.net, "203.0.113.7", 25), "no jail of cyrus is on smtp");
    set.portero.wait_banned("203.0.113.8");
    wait_until("the kernel shuts out", || shut_out(&set.net, "203.0.113.8", 25));
    assert!(served(&set.net, "203.0.113.8", 143) && served(&set.net, "203.0.113.9", 25));
    assert_eq!(set.jail("sasl")["settings"]["bantime_secs"], 600);

    // .*+ is read as it was meant, and that is told.
    let dir = set.dir.display().to_string();
    let checked = set.portero.json(&[
        "check",
        "--config",
        &set.portero.config_file().display().to_string(),
        "--fail2ban-dir",
        &dir,
    ]);
    let notes = checked["notes"].to_string();
    assert!(notes.contains("sasl.local:2") && notes.contains("possessive"), "{notes}");
    assert!(set.portero.daemon_log().contains("possessive"));
    // One that reads the journal waits for that source and is no error.
    let sshd = set.jail("sshd");
    assert_eq!(sshd["state"], "waiting");
    assert!(sshd["problem"].as_str().unwrap().contains("journal"), "{sshd}");
    assert_eq!(checked["ok"], true, "{checked}");
}

/// As the recipes for Zimbra have it.
const ZIMBRA: &str = "[Definition]\n\
    failregex = \\[ip=<HOST>;\\] account - authentication failed for .* \\(no such account\\)$\n\
    \x20           [;\\[]oip=<HOST>;.* security - cmd=Auth; .* protocol=soap; error=authentication failed for .* invalid password;$\n\
    \x20           \\[oip=<HOST>;.* SoapEngine - handler exception: authentication failed for .*, account not found$\n\
    \x20           WARN .*;oip=<HOST>;ua=.* security - cmd=AdminAuth; .* error=authentication failed for .*;$\n\
    ignoreregex =\n";
const ZIMBRA_JAILS: &str = "[DEFAULT]\nbanaction = iptables-multiport\nbanaction_allports = iptables-allports\n\
    [zimbra-audit]\nenabled = true\nfilter = zimbra\naction = iptables-allports[name=zimbra-audit]\n\
    logpath = /opt/zimbra/log/audit.log\nbantime = -1\nmaxretry = 4\nfindtime = 30m\n\
    [zimbra-web]\nenabled = true\nfilter = zimbra\nport = http,https\nlogpath = /opt/zimbra/log/mailbox.log\n\
    bantime = 1h\nmaxretry = 2\nfindtime = 30m\n";

#[test]
fn a_zimbra_admins_jails_run_unchanged() {
    let files = [("filter.d/zimbra.conf", ZIMBRA), ("jail.local", ZIMBRA_JAILS)];
    let Some(mut set) = Set::new("a_zimbra_admins_jails_run_unchanged", &files) else { return };
    let now = SystemClock::new().now().micros();
    let stamp = |ago: i64| {
        let at = chrono::DateTime::from_timestamp_micros(now - ago * 1_000_000).unwrap();
        at.format("%Y-%m-%d %H:%M:%S,%3f").to_string()
    };
    let audit = |from: &str, ago: i64| {
        format!(
            "{} WARN  [qtp1684106402-19732:https:https://192.0.2.10/service/soap/AuthRequest] \
             [name=alice@example.org;ip=198.51.100.25;oip={from};port=51422;ua=zclient/8.8.15_GA_3869;soapId=5f2;] \
             security - cmd=Auth; account=alice@example.org; protocol=soap; error=authentication failed for \
             [alice@example.org], invalid password;\n",
            stamp(ago)
        )
    };
    let mailbox = |from: &str| {
        format!(
            "{} INFO  [qtp1684106402-19735:https:https://192.0.2.10/service/soap/AuthRequest] \
             [oip={from};ua=ZimbraWebClient - GC120 (Linux);soapId=5f3;] SoapEngine - handler exception: \
             authentication failed for [nobody], account not found\n",
            stamp(0)
        )
    };
    // Written before the daemon was there: within findtime it counts, older lines do not.
    let before = audit("203.0.113.6", 7200).repeat(3) + &audit("203.0.113.7", 600).repeat(3);
    set.portero.write_log("audit.log", &before);
    set.portero.write_log("mailbox.log", "");
    set.start();
    let _service = Service::start(&set.net, &[25, 443]);
    assert!(!set.portero.banned("203.0.113.7"));
    set.portero.write_log("audit.log", &(audit("203.0.113.6", 0) + &audit("203.0.113.7", 0)));
    set.portero.write_log("mailbox.log", &mailbox("2001:db8:bad:1::7").repeat(2));
    set.portero.wait_banned("203.0.113.7");
    set.portero.wait_banned("2001:db8:bad:1::7");
    wait_until("the kernel shuts out", || shut_out(&set.net, "203.0.113.7", 443));
    assert!(shut_out(&set.net, "203.0.113.7", 25), "iptables-allports is all ports");
    wait_until("the kernel shuts out", || shut_out(&set.net, "2001:db8:bad:1::7", 443));
    assert!(served(&set.net, "2001:db8:bad:1::7", 25) && served(&set.net, "2001:db8:bad:1::8", 443));
    assert!(served(&set.net, "203.0.113.6", 443), "three of its four are two hours old");
    assert!(!set.portero.banned("198.51.100.25"), "the proxy is not the peer");
    let bans = set.portero.json_lines(&["bans", "--jail", "zimbra-audit"]);
    assert_eq!(bans[0]["until"], serde_json::Value::Null, "{bans:?}");
}

/// A pattern that backtracks without end, as some stock ones do on the right line.
const SLOW: &str = "[Definition]\nfailregex = ^(?:\\s*\\w+\\s*(?!~))+\\. login of <HOST> failed$\n";

#[test]
fn a_search_without_end_is_an_alarm_and_the_daemon_guards_on() {
    let jail =
        "[slow]\nenabled = true\nfilter = slow\nport = smtp\nlogpath = /var/log/slow.log\nmaxretry = 1\n";
    let files = [("filter.d/slow.conf", SLOW), ("jail.local", jail)];
    let Some(mut set) = Set::new("a_search_without_end_is_an_alarm_and_the_daemon_guards_on", &files) else {
        return;
    };
    set.portero.write_log("slow.log", "");
    set.start();
    let endless = format!("{} {}. login of 203.0.113.5 failed once\n", syslog_now(), "x".repeat(300));
    let plain = format!("{} ax. login of 203.0.113.7 failed\n", syslog_now());
    set.portero.write_log("slow.log", &(endless.repeat(2) + &plain));
    set.portero.wait_banned("203.0.113.7");
    let status = set.portero.json(&["status"]);
    let notes = status["notes"].to_string();
    assert!(notes.contains("jail slow: failregex 1 was given up") && notes.contains("on 2 lines"), "{notes}");
}

#[test]
fn a_broken_jail_is_named_and_the_others_guard() {
    let jail = "[good]\nenabled = true\nfilter = cyrus\nport = imap2\nlogpath = /var/log/mail.log\n\
        [bad]\nenabled = true\nfilter = bad\nlogpath = /var/log/mail.log\n\
        [lost]\nenabled = true\nfilter = nowhere\nlogpath = /var/log/mail.log\n\
        [bad name]\nenabled = true\nfilter = cyrus\nlogpath = /var/log/mail.log\n";
    let files = [
        ("filter.d/cyrus.local", CYRUS),
        ("filter.d/bad.conf", "[Definition]\nfailregex = ^bad (<HOST>$\n"),
        ("jail.local", jail),
    ];
    let Some(mut set) = Set::new("a_broken_jail_is_named_and_the_others_guard", &files) else { return };
    set.portero.write_log("mail.log", "");
    set.start();
    let status = set.portero.json(&["status"]);
    let state = |name: &str| {
        let jails = status["jails"].as_array().unwrap();
        jails.iter().find(|jail| jail["name"] == name).unwrap_or_else(|| panic!("{name}: {status}")).clone()
    };
    assert_eq!(state("good")["state"], "guarding");
    for (name, place) in [("bad", "bad.conf:2:"), ("lost", "jail.local:12:"), ("bad name", "jail.local:15:")]
    {
        assert_eq!(state(name)["state"], "broken", "{name}");
        let problem = state(name)["problem"].as_str().unwrap().to_owned();
        assert!(problem.contains(place), "{name}: {problem}");
    }
    // None at all is an error of the configuration.
    let package = debian::fail2ban("checked above").unwrap();
    let none = set.portero.folder.path().join("none");
    debian::configuration(&package, &none, &[("jail.d/defaults-debian.conf", "")]);
    let portero = env!("CARGO_BIN_EXE_portero");
    let checked = std::process::Command::new(portero)
        .args(["--check", "--config", &set.portero.config_file().display().to_string()])
        .arg("--fail2ban-dir")
        .arg(&none)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(78), "{checked:?}");
}
