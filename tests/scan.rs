//! `banctl scan` as people and programs call it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const LOG: &str = "\
2026-06-01T06:48:30+00:00 mx1 postfix/smtpd[12]: warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=alice@example.org
2026-06-01T06:48:31+00:00 mx1 postfix/smtpd[12]: disconnect from unknown[203.0.113.7] ehlo=1 auth=0/1 quit=1 commands=2/3
2026-06-01T06:48:32.500+00:00 mx1 postfix/smtpd[12]: warning: unknown[2001:db8::7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=Bob \"\\quoted\\\"
2026-06-01T06:50:00+00:00 mx1 postfix/smtpd[12]: 4XyZ12: client=mail.example.org[203.0.113.9], sasl_method=PLAIN, sasl_username=alice@example.org
";

fn banctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
    command.args(["scan", "--timezone", "UTC"]).args(args).env("NO_COLOR", "1");
    command
}

fn run(args: &[&str]) -> Output {
    banctl(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, stdout, stderr.
fn told(args: &[&str]) -> (i32, String, String) {
    let output = run(args);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn with(input: &[u8], args: &[&str]) -> String {
    let mut child = banctl(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    text(&child.wait_with_output().unwrap().stdout)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn json_is_one_object_for_each_attempt_to_the_letter() {
    let folder = Folder::new();
    let log = folder.file("mail \"x\".log", LOG);
    let (code, stdout, stderr) = told(&["--filters", "all", "--json", "--log", &log]);
    let file = serde_json::to_string(&log).unwrap();
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(
        stdout,
        format!(
            "{{\"file\":{file},\"line\":1,\"filter\":\"postfix-sasl\",\"event\":\"failure\",\"ip\":\"203.0.113.7\",\"user\":\"alice@example.org\",\"time\":1780296510}}\n\
             {{\"file\":{file},\"line\":3,\"filter\":\"postfix-sasl\",\"event\":\"failure\",\"ip\":\"2001:db8::7\",\"user\":\"Bob \\\"\\\\quoted\\\\\\\"\",\"time\":1780296512.5}}\n\
             {{\"file\":{file},\"line\":4,\"filter\":\"postfix-sasl\",\"event\":\"success\",\"ip\":\"203.0.113.9\",\"user\":\"alice@example.org\",\"time\":1780296600}}\n"
        )
    );
}

#[test]
fn invalid_utf8_in_a_user_comes_out_as_replacement_characters() {
    let line = b"2026-06-01T06:48:30Z mx1 postfix/smtpd[12]: warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x, sasl_username=a\xff\x1b\xc3\xa9\n";
    let found = objects(&with(line, &["--json", "-"]));
    assert_eq!(found[0]["user"], json!("a\u{fffd}\u{1b}\u{e9}"));
    assert_eq!(found[0]["file"], json!("-"));
}

#[test]
fn every_packing_standard_input_and_several_logs_read_the_same() {
    let folder = Folder::new();
    let bytes = LOG.as_bytes();
    let names = ["mail.log", "mail.log.1.gz", "mail.log.2.xz", "mail.log.3.zst"];
    let packed = [bytes.to_vec(), gz(bytes), xz(bytes), zst(bytes)];
    let logs: Vec<String> = names.iter().zip(packed).map(|(name, bytes)| folder.file(name, bytes)).collect();
    let mut args = vec!["--json"];
    args.extend(logs.iter().map(String::as_str));
    let (code, stdout, stderr) = told(&args);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let found = objects(&stdout);
    let bare = |from: &[Value]| -> Vec<Value> {
        let mut from = from.to_vec();
        from.iter_mut().for_each(|object| drop(object.as_object_mut().unwrap().remove("file")));
        from
    };
    assert_eq!(found.len(), 12);
    for (index, log) in logs.iter().enumerate() {
        let of_log = &found[3 * index..3 * index + 3];
        assert!(of_log.iter().all(|object| object["file"] == json!(log)));
        assert_eq!(bare(of_log), bare(&found[..3]));
    }
    assert_eq!(bare(&objects(&with(&gz(bytes), &["--json", "-"]))), bare(&found[..3]));
}

#[test]
fn filter_test_in_fail2bans_dialect_reads_packed_logs_and_standard_input_too() {
    let folder = Folder::new();
    let config = folder.file("portero.toml", "");
    folder.file("filters/own.toml", "dialect = \"fail2ban\"\nfailregex = ['refused <HOST>$']\n");
    let line = b"2026-06-01 06:48:30 refused 203.0.113.7\n";
    let test = |log: &str, input: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
        command.args(["filter", "test", "--json", "--config", &config, "--filter", "own", "--log", log]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        objects(&String::from_utf8(output.stdout).unwrap())
    };
    let plain = test(&folder.file("a.log", line), b"");
    assert!(plain.len() == 1 && plain[0]["match"] == true, "{plain:?}");
    assert_eq!(test(&folder.file("a.log.gz", gz(line)), b""), plain);
    assert_eq!(test("-", line), plain);
}

#[test]
fn filter_test_in_fail2bans_dialect_tells_people_what_matched() {
    let folder = Folder::new();
    let config = folder.file("portero.toml", "");
    let patterns =
        "failregex = ['bad <HOST>$', 'user <F-USER>.*?</F-USER> refused <HOST>$']\nignoreregex = ['probe']\n";
    folder.file("filters/own.toml", format!("dialect = \"fail2ban\"\n{patterns}"));
    let log = "2026-06-01 06:48:30 user a\x1bb refused 203.0.113.7\n2026-06-01 06:48:31 probe, user x refused 203.0.113.7\n\
               2026-06-01 06:48:32 hello\n";
    let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
    command.args(["filter", "test", "--config", &config, "--filter", "own", "--timezone", "Europe/Madrid"]);
    let output = command.args(["--log", &folder.file("a.log", log)]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for said in [
        "1: failure 203.0.113.7\n  2026-06-01 06:48:30 user a\\x1bb refused 203.0.113.7\n  by failregex 2: user ",
        "\n     time = 2026-06-01 06:48:30\n",
        "\n     user = a\\x1bb\n",
        "\n2: ignored by an ignoreregex\n",
        "\n3: no match\n  2026-06-01 06:48:32 hello\n",
        "\nlines: 3, failures: 1, ignored: 1\n       0 failregex 1: bad <HOST>$\n       1 failregex 2: user ",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
}

#[test]
fn repeated_lines_carry_their_number_and_count_as_often() {
    let log = "Jun  1 06:48:30 mx1 postfix/smtpd[12]: message repeated 3 times: [ warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x, sasl_username=alice]\n";
    let found = objects(&with(log.as_bytes(), &["--json", "--year", "2026", "-"]));
    assert_eq!((&found[0]["times"], &found[0]["time"]), (&json!(3), &json!(1_780_296_510)));
    let summary = with(log.as_bytes(), &["--filters", "postfix-sasl", "--year", "2026", "-"]);
    assert!(summary.contains("\npostfix-sasl         3          0\n"), "{summary}");
}

#[test]
fn the_summary_tells_filters_addresses_accounts_span_and_speed() {
    let folder = Folder::new();
    let log = folder.file("mail.log", LOG);
    let (code, stdout, _) = told(&[&log]);
    assert_eq!(code, 0);
    let words: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(stdout.starts_with("4 lines, ") && words[0].ends_with(&["lines/s"]), "{stdout}");
    assert_eq!(
        stdout.lines().nth(1).unwrap(),
        "from 2026-06-01 06:48:30 to 2026-06-01 06:50:00 (1m 30s, UTC)"
    );
    let has = |row: &[&str]| words.iter().any(|words| words == row);
    assert!(has(&["postfix-sasl", "2", "1"]), "{stdout}");
    let at = ["2026-06-01", "06:48:30", "2026-06-01", "06:48:30"];
    assert!(has(&[&["203.0.113.7", "1", "0", "1"], &at[..]].concat()), "{stdout}");
    let span = ["2026-06-01", "06:48:30", "2026-06-01", "06:50:00"];
    assert!(has(&[&["alice@example.org", "1", "1", "2"], &span[..]].concat()), "{stdout}");
    // Aligned: each table's columns begin where their headings do.
    let lines: Vec<&str> = stdout.lines().collect();
    let heading = lines.iter().position(|line| line.starts_with("ADDRESS")).unwrap();
    let first = lines[heading].find("FIRST").unwrap();
    assert!(lines[heading + 1][first..].starts_with("2026-06-01 06:48:30"), "{stdout}");
}

#[test]
fn log_text_is_escaped_when_people_read_it() {
    let log = b"2026-06-01T06:48:30Z mx1 postfix/smtpd[12]: warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x, sasl_username=\x1b[2Jroot\n2026-06-01T06:48:30Z mx1 demo[1]: login failed \x1b]0;x\x07\n";
    for args in [&["-"][..], &["--unmatched", "-"]] {
        let shown = with(log, args);
        assert!(!shown.contains(['\x1b', '\x07']) && shown.contains("\\x1b"), "{shown}");
    }
}

#[test]
fn an_unreadable_log_is_named_and_the_others_are_read() {
    let folder = Folder::new();
    let log = folder.file("mail.log", LOG);
    let cut = folder.file("cut.gz", &gz(&LOG.as_bytes().repeat(2000))[..2000]);
    let absent = folder.0.path().join("absent.log").to_str().unwrap().to_owned();
    let (code, stdout, stderr) = told(&["--json", &absent, &log]);
    assert_eq!(code, 1);
    assert_eq!(objects(&stdout).len(), 3);
    assert!(stderr.starts_with("banctl: ") && stderr.contains("absent.log"), "{stderr}");
    let (code, stdout, stderr) = told(&[&cut, &log]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("cut.gz") && stdout.contains("1 of 2 logs could not be read"),
        "{stdout}{stderr}"
    );
}

#[test]
fn wrong_words_on_the_command_line_are_usage_errors_with_help() {
    for (args, help) in [
        (&["--filters", "postfx-sasl", "x"][..], "did you mean \"postfix-sasl\"?"),
        (&["--filters", "sshd[mode=agressive]", "x"], "did you mean \"aggressive\"?"),
        (&["--filters", "sshd[mode", "x"], "names no filter"),
        (&["--filters", ",", "x"], "names none"),
        (&["--timezone", "Europe/Madird", "x"], "no such time zone"),
        (&[], "no log given"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_banctl")).arg("scan").args(args).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(help), "{stderr}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new();
    let log = folder.file("mail.log", LOG.repeat(20_000));
    for json in [true, false] {
        let mut command = banctl(if json { &["--json"] } else { &["--unmatched"] });
        let mut child = command.arg(&log).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let _ = stdout.read(&mut [0; 10]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}

#[test]
fn a_configuration_gives_trusted_proxies_zone_and_filters() {
    let folder = Folder::new();
    let config = folder
        .file("etc/portero.toml", "trusted_proxies = [\"203.0.113.0/24\"]\ntimezone = \"Europe/Madrid\"\n");
    folder.file(
        "etc/filters/demo.toml",
        "description = \"demo\"\nident = [\"demo\"]\nfailregex = ['''no entry for <HOST>, <F-FORWARDED>[0-9., ]*</F-FORWARDED>$''']\n",
    );
    let log = b"2026-06-01 06:48:30 x\nJun  1 06:48:30 mx1 demo[1]: no entry for 203.0.113.7, 198.51.100.9\n";
    let run = |zone: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_banctl"));
        command
            .args(["scan", "--json", "--year", "2026", "--filters", "demo", "--config", &config])
            .args(zone);
        let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(log).unwrap();
        objects(&text(&child.wait_with_output().unwrap().stdout)).remove(0)
    };
    let found = run(&[]);
    assert_eq!((&found["ip"], &found["time"]), (&json!("198.51.100.9"), &json!(1_780_289_310)));
    assert_eq!(run(&["--timezone", "UTC"])["time"], json!(1_780_296_510));
    let bad = folder.file("bad/portero.toml", "nonsense = 1\n");
    assert_eq!(told(&["--config", &bad, "x"]).0, 78);
}

#[test]
fn what_no_filter_reads_is_told_by_shape_with_a_pattern_to_try() {
    let folder = Folder::new();
    let mut log = LOG.to_owned();
    for (user, ip) in [("alice", "203.0.113.7"), ("bob", "2001:db8::7"), ("carol", "203.0.113.8")] {
        log += &format!(
            "2026-06-01T06:48:30Z mx1 demo[12]: Login refused, bad password for {user} (peer {ip} port 4711)\n"
        );
    }
    log += "2026-06-01T06:48:30Z mx1 demo[12]: all is well for alice\n";
    let path = folder.file("mail.log", &log);
    let (code, stdout, _) = told(&["--unmatched", "--json", &path]);
    assert_eq!(code, 0);
    let suggestion = "ident = [\"demo\"]\nfailregex = ['''Login refused, bad password for <F-USER>\\S*</F-USER> \\(peer <HOST> port \\d+\\)$''']";
    assert_eq!(
        objects(&stdout),
        [json!({
            "count": 3,
            "shape": "demo: Login refused, bad password for <user> (peer <ip> port <n>)",
            "example": "2026-06-01T06:48:30Z mx1 demo[12]: Login refused, bad password for alice (peer 203.0.113.7 port 4711)",
            "file": path,
            "line": 5,
            "suggestion": suggestion,
            "fooled": null,
        })]
    );
    let (_, stdout, _) = told(&["--unmatched", &path]);
    assert!(
        stdout.starts_with("3 of 8 lines look like failed logins and are read by no filter; 1 shape\n"),
        "{stdout}"
    );
    for line in suggestion.lines() {
        assert!(stdout.contains(line), "{stdout}");
    }
    // With the suggestion as a filter, nothing is left and the attempts are found.
    let config = folder.file("etc/portero.toml", "");
    folder.file("etc/filters/demo.toml", format!("description = \"demo\"\n{suggestion}\n"));
    let (_, stdout, _) = told(&["--unmatched", "--json", "--config", &config, &path]);
    assert_eq!(stdout, "");
    let (_, stdout, _) = told(&["--filters", "demo", "--json", "--config", &config, &path]);
    let found: Vec<(String, String)> = objects(&stdout)
        .iter()
        .map(|object| (object["ip"].as_str().unwrap().into(), object["user"].as_str().unwrap().into()))
        .collect();
    assert_eq!(found[1], ("2001:db8::7".to_owned(), "bob".to_owned()));
    assert_eq!(found.len(), 3);
}

#[test]
fn a_filter_of_the_admins_that_a_client_fools_is_refused_as_by_the_daemon() {
    let folder = Folder::new();
    let path = folder.file("mail.log", LOG);
    let config = folder.file("etc/portero.toml", "");
    let filter = |rest: &str| {
        let text = format!("description = \"demo\"\n{rest}failregex = ['''.*refused .* from <HOST>''']\n");
        folder.file("etc/filters/demo.toml", text)
    };
    let file = filter("");
    let (code, _, stderr) = told(&["--filters", "demo", "--config", &config, &path]);
    assert_eq!(code, 78);
    assert!(stderr.contains(&format!("{file}:2")) && stderr.contains("allow_unsafe = true"), "{stderr}");
    filter("allow_unsafe = true\n");
    assert_eq!(told(&["--filters", "demo", "--config", &config, &path]).0, 0);
}

#[test]
fn healthy_logs_of_real_servers_raise_no_alarm_worth_the_name() {
    let shared = std::env::var_os("PORTERO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = shared.join("corpus/mail/real");
    if !folder.is_dir() {
        println!(
            "skipped: healthy_logs_of_real_servers_raise_no_alarm_worth_the_name needs {}",
            folder.display()
        );
        return;
    }
    for name in ["postfix-cyrus", "postfix-dovecot", "courier", "sendmail"] {
        let [mail, auth] = ["mail", "auth"]
            .map(|kind| folder.join(format!("{name}.{kind}.log")).to_str().unwrap().to_owned());
        let (_, stdout, _) = told(&["--unmatched", "--json", &mail, &auth]);
        for group in objects(&stdout) {
            assert!(group["count"].as_u64().unwrap() <= 2, "{group}");
        }
    }
}
