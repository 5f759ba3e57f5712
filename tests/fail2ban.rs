//! A fail2ban configuration run live: real daemon, real kernel, the set-ups that admins really have.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
    // It runs as its admin wrote it, and he is told what a client can do to it.
    let warning = set.jail("zimbra-audit")["warning"].to_string();
    assert!(warning.contains("4 patterns can be fooled") && warning.contains("198.51.100.66"), "{warning}");
    assert!(set.portero.daemon_log().contains("can be fooled"));
    // The recipes do not say where the account stands in the line.
    let why = set.portero.json(&["why", "alice@example.org"]);
    assert_eq!(why["bans"][0]["target"], "203.0.113.7", "{why}");
}

/// The helpdesk's questions, on patterns that name no account and know no good logins.
#[test]
fn accounts_and_good_logins_are_known_where_fail2bans_filters_name_none() {
    let files = [
        ("jail.d/etch.conf", ETCH),
        ("filter.d/sasl.local", SASL),
        ("jail.local", "[sasl]\nenabled = true\n"),
    ];
    let test = "accounts_and_good_logins_are_known_where_fail2bans_filters_name_none";
    let Some(mut set) = Set::new(test, &files) else { return };
    set.portero.write_log("mail.log", "");
    set.start();
    let now = syslog_now();
    let client =
        |from: &str| format!("{now} mail postfix/smtpd[813]: 4Zx1Q2: client=office.example.org[{from}]");
    let failed = |from: &str, user: &str| {
        format!(
            "{now} mail postfix/smtpd[813]: warning: unknown[{from}]: SASL LOGIN authentication failed: \
             bad password, sasl_username={user}\n"
        )
    };
    let good = client("203.0.113.7") + ", sasl_method=LOGIN, sasl_username=alice@example.org\n";
    let mut log = good;
    // An office, with one good login and two stale passwords; and who tries one account after the other.
    for user in ["alice@example.org", "bob@example.org", "alice@example.org"] {
        log += &failed("203.0.113.7", user);
    }
    for user in ["carol@example.org", "dora@example.org", "alice@example.org"] {
        log += &failed("203.0.113.8", user);
    }
    set.portero.write_log("mail.log", &log);
    set.portero.wait_banned("203.0.113.7");
    set.portero.wait_banned("203.0.113.8");

    let why = set.portero.json(&["why", "203.0.113.7"]);
    let accounts = why["accounts"].to_string();
    assert!(accounts.contains("alice@example.org") && accounts.contains("bob@example.org"), "{why}");
    let unban = set.portero.json(&["unban", "alice@example.org", "--grace", "30m"]);
    assert_eq!(unban["lifted"][0]["target"], "203.0.113.7", "{unban}");
    assert_eq!(unban["kept"][0]["target"], "203.0.113.8", "{unban}");
    // Her phone goes on with the old password while she changes it elsewhere.
    set.portero.write_log("mail.log", &failed("203.0.113.7", "alice@example.org").repeat(4));
    set.portero.wait_read();
    assert!(!set.portero.banned("203.0.113.7"));
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

/// Python's fail2ban-server of the package, in a namespace of its own, with its own socket, log and no database.
struct RealFail2ban {
    server: Child,
    package: PathBuf,
    netns: String,
    folder: PathBuf,
}

impl RealFail2ban {
    fn command(&self, program: &str) -> Command {
        python(&self.package, &self.netns, &self.folder, program)
    }

    /// The addresses that are banned in `jail`.
    fn banned(&self, jail: &str) -> Vec<String> {
        let output = self.command("fail2ban-client").args(["get", jail, "banip"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut banned: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        banned.sort();
        banned
    }
}

impl Drop for RealFail2ban {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn python(package: &Path, netns: &str, folder: &Path, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, "python3"]).arg(package.join("usr/bin").join(program));
    command.env("PYTHONPATH", package.join("usr/lib/python3/dist-packages")).env("TZ", "UTC");
    command.arg("-c").arg(folder.join("fail2ban")).arg("-s").arg(folder.join("f2b.sock"));
    command.arg("-p").arg(folder.join("f2b.pid"));
    command.stdin(Stdio::null());
    command
}

/// Starts it and waits until it answers; `None`, said by name, where this Python cannot run it.
fn real_fail2ban(test: &str, package: &Path, set: &Set) -> Option<RealFail2ban> {
    let folder = set.portero.folder.path().to_owned();
    let log = std::fs::File::create(folder.join("f2b.out")).unwrap();
    let mut command = python(package, &set.net.world, &folder, "fail2ban-server");
    command.args(["-f", "-x"]).stdout(log.try_clone().unwrap()).stderr(log);
    let mut real = RealFail2ban {
        server: command.spawn().unwrap(),
        package: package.to_owned(),
        netns: set.net.world.clone(),
        folder: folder.clone(),
    };
    let mut ended = false;
    wait_until("the real fail2ban answers", || {
        ended = real.server.try_wait().unwrap().is_some();
        ended || real.command("fail2ban-client").arg("ping").output().unwrap().status.success()
    });
    if ended {
        let said = std::fs::read_to_string(folder.join("f2b.out")).unwrap_or_default();
        println!("skipped: {test}: fail2ban of the package does not run here: {said}");
        return None;
    }
    Some(real)
}

const SIDE_BY_SIDE: &str = "[DEFAULT]\nbackend = polling\nbanaction = nftables[type=multiport]\nfindtime = 600\n\
    bantime = 600\nmaxretry = 4\nignoreip = 203.0.113.99 192.0.2.128/25\n\
    [sshd]\nenabled = true\nmode = aggressive\nlogpath = /var/log/auth.log\n\
    [dovecot]\nenabled = true\nlogpath = /var/log/mail.log\n\
    [postfix-sasl]\nenabled = true\nlogpath = /var/log/mail.log\n\
    [cyrus-imap]\nenabled = true\nlogpath = /var/log/mail.log\n\
    [sogo-auth]\nenabled = true\nlogpath = /var/log/mail.log\nmaxretry = 2\n";

#[test]
fn the_real_fail2ban_and_portero_ban_the_same_on_a_growing_log() {
    let test = "the_real_fail2ban_and_portero_ban_the_same_on_a_growing_log";
    let files = [
        ("jail.d/defaults-debian.conf", ""),
        ("jail.local", SIDE_BY_SIDE),
        ("fail2ban.local", "[Definition]\ndbfile = None\nlogtarget = STDOUT\n"),
    ];
    let Some(mut set) = Set::new(test, &files) else { return };
    let package = debian::fail2ban(test).expect("it was there a moment ago");
    for log in ["auth.log", "mail.log"] {
        set.portero.write_log(log, "");
    }
    let Some(real) = real_fail2ban(test, &package, &set) else { return };
    set.start();

    // Attackers below, at and above maxretry, of each kind, interleaved; and those whom ignoreip excepts.
    let mut mail = Vec::new();
    let mut auth = Vec::new();
    for (number, count) in [(10, 3), (11, 4), (12, 6), (99, 6), (13, 5), (14, 1)] {
        for n in 0..count {
            let time = syslog_now();
            let pid = 1000 + number * 10 + n;
            let a = format!("203.0.113.{number}");
            let b = format!("203.0.113.{}", 100 + number);
            let c = format!("192.0.2.{number}");
            let d = format!("192.0.2.{}", 30 + number);
            auth.push(format!(
                "{time} mx sshd[{pid}]: Connection from {a} port 40000 on 198.51.100.25 port 22\n\
                 {time} mx sshd[{pid}]: Failed password for invalid user eve{n} from {a} port 40000 ssh2\n\
                 {time} mx sshd[{pid}]: Connection closed by invalid user eve{n} {a} port 40000 [preauth]\n"
            ));
            mail.push(sasl(&b));
            mail.push(badlogin(&c));
            mail.push(format!(
                "{time} mx dovecot: imap-login: Aborted login (auth failed, {n} attempts in 2 secs): user=<eve>, \
                 method=PLAIN, rip={d}, lip=198.51.100.25, session=<x>\n\
                 {time} mx dovecot: auth-worker({pid}): pam(bob,2001:db8:bad:{number}::7): unknown user\n"
            ));
            mail.push(sasl(&format!("192.0.2.{}", 100 + number)));
            mail.push(format!(
                "{time} sogod [{pid}]: SOGoRootPage Login from '{a}' for user 'eve' might not have worked\n"
            ));
            mail.push(format!("{time} mx postfix/smtpd[{pid}]: connect from unknown[{b}]\n"));
        }
    }
    for (log, lines) in [("auth.log", &auth), ("mail.log", &mail)] {
        for few in lines.chunks(7) {
            set.portero.write_log(log, &few.concat());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    // The last lines of each log ban somebody: once they are banned, all before them was read.
    let last = syslog_now();
    let sshd =
        format!("{last} mx sshd[9]: Failed password for root from 203.0.113.250 port 40000 ssh2\n").repeat(4);
    set.portero.write_log("auth.log", &sshd);
    set.portero.write_log("mail.log", &sasl("203.0.113.250").repeat(4));
    let ours = |jail: &str| -> Vec<String> {
        let bans = set.portero.json_lines(&["bans", "--jail", jail]);
        let mut targets: Vec<String> =
            bans.iter().map(|ban| ban["target"].as_str().unwrap().to_owned()).collect();
        targets.sort();
        targets
    };
    for jail in ["sshd", "postfix-sasl"] {
        let last = "203.0.113.250".to_owned();
        wait_until("both have read all", || ours(jail).contains(&last) && real.banned(jail).contains(&last));
    }
    let mut all = 0;
    for jail in ["sshd", "dovecot", "postfix-sasl", "cyrus-imap", "sogo-auth"] {
        let (ours, theirs) = (ours(jail), real.banned(jail));
        assert_eq!(ours, theirs, "jail {jail}; fail2ban says\n{}", real_log(&set));
        println!("{jail}: {} bans agree", ours.len());
        all += ours.len();
    }
    assert!(all >= 15, "{all}");
    assert!(!set.portero.banned("203.0.113.99") && !set.portero.banned("203.0.113.14"));
}

fn real_log(set: &Set) -> String {
    std::fs::read_to_string(set.portero.folder.path().join("f2b.out")).unwrap_or_default()
}

/// Names in place of addresses, in a jail that asks for them and in one that does as Debian's do.
#[test]
fn names_are_asked_where_usedns_says_yes_and_only_there() {
    let filter = "[Definition]\nfailregex = ^ mx app: bad login from <HOST>$\n";
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfilter = app\nlogpath = /var/log/app.log\n\
        [asks]\nenabled = true\nport = 8080\nusedns = yes\n[warns]\nenabled = true\nport = 8081\n";
    let files = [("filter.d/app.conf", filter), ("jail.local", jails), ("jail.d/defaults-debian.conf", "")];
    let Some(mut set) = Set::new("names_are_asked_where_usedns_says_yes_and_only_there", &files) else {
        return;
    };
    // `ip netns exec` puts these over /etc/hosts.
    let own = Path::new("/etc/netns").join(&set.net.host);
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("hosts"), "127.0.0.1 localhost\n203.0.113.7 evil.example.org\n").unwrap();
    set.portero.write_log("app.log", "");
    set.start();
    let line = format!("{} mx app: bad login from evil.example.org\n", syslog_now());
    set.portero.write_log("app.log", &line.repeat(2));
    set.portero.wait_banned("203.0.113.7");
    let _ = std::fs::remove_dir_all(own);
    assert_eq!(set.jail("asks")["banned"], 1);
    assert_eq!(set.jail("warns")["banned"], 0);
    let notes = set.portero.json(&["status"])["notes"].to_string();
    assert!(
        notes.contains("jail warns: names in place of addresses") && !notes.contains("jail asks"),
        "{notes}"
    );
}

/// A log of networks, in Latin-1.
#[test]
fn a_network_in_the_log_is_banned_whole_and_an_encoding_is_heeded() {
    let filter = "[Definition]\nfailregex = ^ mx règle: refusé <SUBNET>$\n";
    let jails = "[nets]\nenabled = true\nbackend = polling\nfilter = nets\nlogpath = /var/log/nets.log\nmaxretry = 1\n\
        logencoding = latin-1\nport = smtp\n";
    let files = [("filter.d/nets.conf", filter), ("jail.local", jails), ("jail.d/defaults-debian.conf", "")];
    let Some(mut set) = Set::new("a_network_in_the_log_is_banned_whole_and_an_encoding_is_heeded", &files)
    else {
        return;
    };
    let log = set.portero.logs().join("nets.log");
    let write = |net: &str| {
        use std::io::Write;
        let line = format!("{} mx règle: refusé {net}\n", syslog_now());
        let bytes: Vec<u8> = line.chars().map(|c| c as u8).collect();
        std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap().write_all(&bytes).unwrap();
    };
    set.portero.write_log("nets.log", "");
    set.start();
    let _service = Service::start(&set.net, &[25]);
    write("203.0.113.0/25");
    // So wide a network would shut out half the world.
    write("192.0.0.0/8");
    wait_until("the network is shut out", || shut_out(&set.net, "203.0.113.77", 25));
    assert!(served(&set.net, "203.0.113.200", 25) && served(&set.net, "192.0.2.9", 25));
    wait_until("it is told", || {
        set.portero.json(&["status"])["notes"].to_string().contains("too wide to be banned")
    });
}
