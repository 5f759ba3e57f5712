//! The change from fail2ban: its bans, counts and log positions go on, once each.

use std::path::{Path, PathBuf};
use std::process::Command;

use portero::time::{Clock, SystemClock};
use rusqlite::Connection;
use sha1::{Digest, Sha1};

use crate::rig::{Net, Portero, Service, failure_at, failures, root, served, shut_out, wait_until};

const CONFIG: &str = r#"
table_owner = "off"
ignoreip = ["203.0.113.99"]
[jails.postfix-sasl]
enabled = true
filter = "postfix-sasl"
logpath = ["LOGS/mail.log"]
bantime_increment = { enabled = true, factor = 2 }
"#;

fn now() -> i64 {
    SystemClock::new().now().secs()
}

/// An empty database as fail2ban 1.0 makes it.
fn database(portero: &Portero) -> (PathBuf, Connection) {
    let path = portero.folder.path().join("fail2ban.sqlite3");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE fail2banDb(version INTEGER); INSERT INTO fail2banDb VALUES(4);
             CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
             CREATE TABLE logs(jail TEXT NOT NULL, path TEXT, firstlinemd5 TEXT, lastfilepos INTEGER DEFAULT 0,
               UNIQUE(jail, path));
             CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL, bantime INTEGER NOT NULL,
               bancount INTEGER NOT NULL default 1, data JSON);
             CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL,
               bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON, PRIMARY KEY(ip, jail));",
        )
        .unwrap();
    (path, connection)
}

/// A ban made `ago` seconds ago.
fn ban(database: &Connection, jail: &str, ip: &str, ago: i64, bantime: i64, count: u32) {
    let data =
        r#"{"matches": [["", "Nov 22 02:02:11", " mail postfix/smtpd[1]: a line it kept"]], "failures": 5}"#;
    let row = (jail, ip, now() - ago, bantime, count, data);
    database
        .execute(
            "INSERT OR REPLACE INTO bips(jail, ip, timeofban, bantime, bancount, data) VALUES(?,?,?,?,?,?)",
            row,
        )
        .unwrap();
    database
        .execute("INSERT INTO bans(jail, ip, timeofban, bantime, bancount, data) VALUES(?,?,?,?,?,?)", row)
        .unwrap();
}

/// What fail2ban remembers of the log `name`, read up to `offset`.
fn log_read(database: &Connection, portero: &Portero, name: &str, offset: usize) {
    let path = portero.logs().join(name);
    let text = std::fs::read(&path).unwrap();
    let end = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let digest: String = Sha1::digest(&text[..end]).iter().map(|byte| format!("{byte:02x}")).collect();
    let row = ("postfix-sasl", path.to_str().unwrap(), digest, offset as i64);
    database.execute("INSERT OR REPLACE INTO logs VALUES(?,?,?,?)", row).unwrap();
}

fn start(portero: &mut Portero, database: &Path) {
    portero.spawn(&["--fail2ban-db", database.to_str().unwrap()]);
    portero.wait_ready();
}

#[test]
fn the_kernel_holds_fail2bans_bans_from_the_first_moment_and_none_comes_back_once_lifted() {
    let name = "the_kernel_holds_fail2bans_bans_from_the_first_moment_and_none_comes_back_once_lifted";
    if !root(name) {
        return;
    }
    let net = Net::new();
    let mut portero = Portero::new(Some(&net.host), CONFIG);
    portero.write_log("mail.log", "");
    let (path, db) = database(&portero);
    ban(&db, "postfix-sasl", "203.0.113.7", 300, 600, 1);
    ban(&db, "postfix-sasl", "2001:db8:bad:1::7", 9_000, -1, 3);
    ban(&db, "postfix-sasl", "192.0.2.0/25", 10, 3600, 1);
    ban(&db, "postfix-sasl", "203.0.113.8", 601, 600, 1);
    ban(&db, "postfix-sasl", "203.0.113.99", 10, 600, 1);
    ban(&db, "postfix-sasl", "alice@example.org", 10, 600, 1);
    ban(&db, "sieve", "203.0.113.9", 10, 600, 1);
    // A fail2ban that runs has it open and writes now and then; nobody is in the other's way.
    start(&mut portero, &path);
    let _service = Service::start(&net, &[25]);
    for from in ["203.0.113.7", "2001:db8:bad:1::7", "192.0.2.1"] {
        assert!(shut_out(&net, from, 25), "{from} was banned by fail2ban");
    }
    for from in ["203.0.113.8", "203.0.113.9", "203.0.113.99", "2001:db8:bad:1::8", "192.0.2.200"] {
        assert!(served(&net, from, 25), "{from} is not banned");
    }
    let status = portero.json(&["status", "203.0.113.7"]);
    let held = &status["bans"][0];
    assert_eq!((&held["origin"], &held["failures"]), (&"import".into(), &5.into()), "{status}");
    let left = held["until"].as_i64().unwrap() - now();
    assert!((200..=300).contains(&left), "what fail2ban left of it: {left}");
    let why = portero.json(&["why", "203.0.113.7"]).to_string();
    assert!(why.contains("Nov 22 02:02:11 mail postfix/smtpd[1]: a line it kept"), "{why}");
    let log = portero.daemon_log();
    for said in ["no jail \\\"sieve\\\" (1)", "alice@example.org", "203.0.113.99 is never banned"] {
        let said = said.replace("\\\"", "\"");
        assert!(log.contains(&said), "{said}: {log}");
    }

    // Once more, after kill -9 and with the same database: as it was, and not counted twice.
    portero.kill();
    start(&mut portero, &path);
    assert_eq!(portero.json_lines(&["bans"]).len(), 3);
    assert_eq!(portero.code(&["unban", "203.0.113.7"]), 0);
    assert_eq!(portero.code(&["unban", "2001:db8:bad:1::7"]), 0);
    ban(&db, "postfix-sasl", "203.0.113.10", 1, 600, 1);
    portero.stop();
    start(&mut portero, &path);
    assert!(!portero.banned("203.0.113.7") && !portero.banned("2001:db8:bad:1::7"), "a person lifted them");
    assert!(portero.banned("203.0.113.10"), "a ban that fail2ban made meanwhile is new");
    assert!(served(&net, "203.0.113.7", 25) && shut_out(&net, "203.0.113.10", 25));
    // And one that fail2ban made after the unban is a new one as well.
    ban(&db, "postfix-sasl", "203.0.113.7", -1, 600, 2);
    portero.stop();
    start(&mut portero, &path);
    assert!(portero.banned("203.0.113.7"));
}

#[test]
fn reading_goes_on_where_fail2ban_stopped_also_in_a_log_that_was_rotated_since() {
    let mut portero = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    let (path, db) = database(&portero);
    let line = |ip: &str, ago: i64| failure_at((now() - ago) * 1_000_000, ip, "alice");
    // fail2ban has seen four failures of one client. While neither ran, another one guessed; then the log was
    // rotated, twice. Half an hour is more than a findtime: looking back would not find it.
    let read: String = (0..4).map(|_| line("203.0.113.7", 1900)).collect();
    portero.write_log("mail.log", &read);
    log_read(&db, &portero, "mail.log", read.len());
    portero.write_log("mail.log", &(0..5).map(|_| line("203.0.113.8", 1800)).collect::<String>());
    let logs = portero.logs();
    let moved = |from: &str, to: &str| std::fs::rename(logs.join(from), logs.join(to)).unwrap();
    moved("mail.log", "mail.log.2");
    portero.write_log("mail.log.1", &(0..5).map(|_| line("203.0.113.9", 1700)).collect::<String>());
    portero.write_log("mail.log", &line("203.0.113.7", 1600));
    start(&mut portero, &path);
    assert!(portero.banned("203.0.113.8"), "guessed while nobody looked");
    assert!(portero.banned("203.0.113.9"), "in a file that fail2ban never saw");
    assert!(!portero.banned("203.0.113.7"), "fail2ban's four lines are not read again");

    // The position is portero's own now; fail2ban's does not take it back.
    portero.write_log("mail.log", &failures("203.0.113.10", "bob", 2));
    portero.wait_read();
    portero.stop();
    portero.write_log("mail.log", &failures("203.0.113.10", "bob", 2));
    log_read(&db, &portero, "mail.log", 0);
    start(&mut portero, &path);
    portero.wait_read();
    assert!(!portero.banned("203.0.113.10"), "four failures, each read once");
    portero.write_log("mail.log", &failures("203.0.113.10", "bob", 1));
    portero.wait_banned("203.0.113.10");
}

#[test]
fn bantimes_grow_on_from_fail2bans_counts() {
    let mut portero = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    portero.write_log("mail.log", "");
    let (path, db) = database(&portero);
    ban(&db, "postfix-sasl", "203.0.113.7", 2_000, 60, 3);
    for ago in [5_000, 4_000] {
        ban(&db, "postfix-sasl", "2001:db8:bad:1::7", ago, 60, 1);
    }
    start(&mut portero, &path);
    assert!(portero.json_lines(&["bans"]).is_empty(), "they are over");
    for (client, count, hours) in [("203.0.113.7", 4, 8), ("2001:db8:bad:1::7", 3, 4), ("203.0.113.8", 1, 1)]
    {
        portero.write_log("mail.log", &failures(client, "alice", 5));
        portero.wait_banned(client);
        let held = &portero.json(&["status", client])["bans"][0];
        let length = held["until"].as_f64().unwrap() - held["since"].as_f64().unwrap();
        let length = length.round() as i64;
        assert_eq!((held["count"].as_i64(), length), (Some(count), hours * 3600), "{client}: {held}");
    }
    // A second time the same database adds nothing.
    portero.stop();
    start(&mut portero, &path);
    portero.json(&["unban", "203.0.113.8"]);
    portero.write_log("mail.log", &failures("203.0.113.8", "alice", 5));
    portero.wait_banned("203.0.113.8");
    assert_eq!(portero.json(&["status", "203.0.113.8"])["bans"][0]["count"], 2);
}

#[test]
fn a_database_that_cannot_be_read_ends_the_start_before_anything_is_touched() {
    let portero = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    let garbage = portero.folder.path().join("garbage");
    std::fs::write(&garbage, "nothing that SQLite would know\n".repeat(100)).unwrap();
    let missing = portero.folder.path().join("missing");
    for (path, why) in [(&garbage, "damaged"), (&missing, "no such file")] {
        for check in [&[][..], &["--check"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_portero"))
                .arg("--config")
                .arg(portero.config_file())
                .arg("--fail2ban-db")
                .arg(path)
                .args(check)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(why) && said.contains(path.to_str().unwrap()), "{said}");
        }
    }
    assert!(!portero.folder.path().join("state").exists());
}

#[test]
fn a_database_that_is_being_written_is_waited_for() {
    let mut portero = Portero::new(None, &format!("firewall = \"log-only\"{CONFIG}"));
    portero.write_log("mail.log", "");
    let (path, db) = database(&portero);
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    portero.spawn(&["--fail2ban-db", path.to_str().unwrap()]);
    // Long enough for it to have met the lock, or (on a slow host) to come after it: both must do.
    std::thread::sleep(std::time::Duration::from_millis(500));
    ban(&db, "postfix-sasl", "203.0.113.7", 1, 600, 1);
    db.execute_batch("COMMIT").unwrap();
    portero.wait_ready();
    wait_until("it is taken over", || portero.banned("203.0.113.7"));
}
