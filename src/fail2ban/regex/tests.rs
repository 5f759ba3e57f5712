//! The program's whole output, on files and on single lines.

use super::*;

fn output(args: &[&str]) -> (String, bool) {
    let args = ["fail2ban-regex"].iter().chain(args);
    let options = Options::try_parse_from(args).expect("options");
    let mut out = Vec::new();
    let good = run(&options, &mut out).expect("a vector takes all");
    (String::from_utf8(out).expect("text"), good)
}

const LINES: &str = "\
2026-11-22 10:00:00 demo[1]: login failed for alice from 203.0.113.7\n\
2026-11-22 10:00:01 demo[1]: login failed for bob from 2001:db8::7\n\
# a comment\n\
\n\
2026-11-22 10:00:02 demo[1]: login failed for monitor from 192.0.2.99\n\
2026-11-22 10:00:03 demo[1]: good morning\n";

const REGEX: &str = "login failed for <F-USER>\\S+</F-USER> from <HOST>$";

fn log() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("demo.log");
    std::fs::write(&path, LINES).expect("written");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_log_and_patterns_give_fail2bans_summary() {
    let (_folder, log) = log();
    let (text, good) = output(&[&log, REGEX, "for monitor"]);
    assert!(good);
    let want = format!(
        "\nRunning tests\n=============\n\nUse   failregex line : login failed for <F-USER>\\S+</F-USER> from <HOST>$\n\
         Use ignoreregex line : for monitor\nUse         log file : {log}\nUse         encoding : UTF-8\n\n\n\
         Results\n=======\n\nFailregex: 2 total\n|-  #) [# of hits] regular expression\n|   1) [2] {REGEX}\n`-\n\n\
         Ignoreregex: 1 total\n|-  #) [# of hits] regular expression\n|   1) [1] for monitor\n`-\n\n\
         Date template hits:\n|- [# of hits] date format\n|  [4] "
    );
    assert!(text.starts_with(&want), "{text}\n---\n{want}");
    assert!(text.contains("\n\nLines: 4 lines, 1 ignored, 2 matched, 1 missed\n[processed in 0."), "{text}");
    let end = "|- Ignored line(s):\n|  2026-11-22 10:00:02 demo[1]: login failed for monitor from 192.0.2.99\n`-\n\
               |- Missed line(s):\n|  2026-11-22 10:00:03 demo[1]: good morning\n`-\n";
    assert!(text.ends_with(end), "{text}");
    let (text, _) = output(&[&log, REGEX, "--print-no-missed", "--print-all-matched", "-v"]);
    assert!(text.contains("|- Matched line(s):\n|  2026-11-22 10:00:00"), "{text}");
    assert!(text.contains("|      203.0.113.7  "), "{text}");
    assert!(!text.contains("Missed"), "{text}");
}

#[test]
fn single_values_are_printed_alone() {
    let (_folder, log) = log();
    let out = |what: &str| output(&[&log, REGEX, "for monitor", "-o", what]).0;
    assert_eq!(out("ip"), "203.0.113.7\n2001:db8::7\n");
    assert_eq!(out("id"), "203.0.113.7\n2001:db8::7\n");
    assert_eq!(out("user"), "alice\nbob\n");
    assert_eq!(out("nothing"), "None\nNone\n");
    assert!(out("msg").starts_with("2026-11-22 10:00:00 demo[1]: login failed for alice"));
    assert_eq!(out("<F-USER> at <ip> <x>"), "alice at 203.0.113.7 <x>\nbob at 2001:db8::7 <x>\n");
    assert!(out("row").starts_with("['203.0.113.7',\t"), "{}", out("row"));
}

#[test]
fn filters_are_found_by_name_and_by_path() {
    let (folder, log) = log();
    std::fs::create_dir(folder.path().join("filter.d")).expect("made");
    let filter = folder.path().join("filter.d/demo.conf");
    let text = "[Definition]\nprefregex = ^\\s*demo\\[\\d+\\]: <F-CONTENT>.+</F-CONTENT>$\nfailregex = ^login <mode> for \\S+ \
                from <HOST>$\n            ^good <ADDR>$\n[Init]\nmode = failed\n";
    std::fs::write(&filter, text).expect("written");
    let dir = folder.path().display().to_string();
    for name in ["demo", "demo.conf", filter.to_str().expect("text")] {
        let (text, good) = output(&["-c", &dir, &log, name]);
        assert!(good, "{text}");
        assert!(text.contains(&format!("Use   failregex filter file : demo, basedir: {dir}\n")), "{text}");
        assert!(text.contains("\nPrefregex: 4 total\n"), "{text}");
        assert!(
            text.contains("\nFailregex: 3 total\n|-  #) [# of hits] regular expression\n|   1) [3] "),
            "{text}"
        );
        assert!(text.contains("Lines: 4 lines, 0 ignored, 3 matched, 1 missed"), "{text}");
    }
    let (text, _) = output(&["-c", &dir, &log, "demo[mode=accepted]"]);
    assert!(text.contains("Use   filter options : {'mode': 'accepted'}\n"), "{text}");
    assert!(text.contains("\nFailregex: 0 total\n\n"), "{text}");
}

#[test]
fn one_line_is_a_log_and_what_cannot_be_fails() {
    let line = "login failed for alice from 203.0.113.7";
    let (text, good) = output(&[line, REGEX]);
    assert!(good && text.contains(&format!("Use      single line : {line}\n\n")), "{text}");
    assert!(text.contains("Lines: 1 lines, 0 ignored, 1 matched, 0 missed"), "{text}");
    for wrong in [&["systemd-journal", REGEX][..], &[line, "from <HOST> (("], &[line, REGEX, "-e", "klingon"]]
    {
        let (text, good) = output(wrong);
        assert!(!good && text.contains("ERROR: "), "{text}");
    }
    assert_eq!(output(&["-V"]).0, "1.1.0\n");
}
