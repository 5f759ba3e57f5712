//! fail2ban's stock filters in the matcher: all of them load, and what spares them lines changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portero::fail2ban::encoding::Encoding;
use portero::fail2ban::matcher::{Matcher, Outcome, Pace, Program, test::rules};
use portero::fail2ban::prefilter::{Marks, Prefilter};
use portero::fail2ban::set::FilterSet;
use portero::filter::{Attempt, Beside};
use portero::time::Timestamp;

use crate::debian;

const NOW: Timestamp = Timestamp::from_secs(1_785_000_000);

fn program(dir: &Path, spec: &str) -> Arc<Program> {
    let rules = rules(dir, spec).unwrap_or_else(|why| panic!("{spec}: {why}"));
    let made = Program::new(&rules, chrono_tz::Tz::Europe__Zurich, NOW);
    Arc::new(made.unwrap_or_else(|why| panic!("{spec}: {why}")))
}

/// Every stock filter in every mode that its file speaks of.
fn specs(dir: &Path) -> Vec<String> {
    const MODES: [&str; 10] =
        ["normal", "aggressive", "ddos", "extra", "auth", "errors", "rbl", "more", "crypt", "uri"];
    let mut specs = Vec::new();
    for entry in fs::read_dir(dir.join("filter.d")).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".conf")) else {
            continue;
        };
        if name.ends_with("-common") || name == "common" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let has = |mode: &&&str| text.contains(&format!("-{mode}>")) || text.contains(&format!("-{mode} ="));
        specs.push(name.to_owned());
        specs.extend(MODES.iter().filter(has).map(|mode| format!("{name}[mode={mode}]")));
    }
    specs.sort();
    specs
}

#[test]
fn every_stock_filter_loads_in_every_mode() {
    let Some(package) = debian::fail2ban("every_stock_filter_loads_in_every_mode") else { return };
    let dir = package.join("etc/fail2ban");
    let (mut linear, mut all, mut whole) = (0, 0, 0);
    let specs = specs(&dir);
    for spec in &specs {
        let (in_linear, patterns) = program(&dir, spec).linear_of();
        linear += in_linear;
        all += patterns;
        whole += usize::from(in_linear == patterns);
    }
    println!(
        "{} filters and modes, {whole} wholly linear; {linear} of {all} regexes run in linear time",
        specs.len()
    );
    assert!(specs.len() >= 100, "{}", specs.len());
    assert!(linear * 10 >= all * 8, "{linear} of {all}");
}

/// Lines on which Python finds no end. Both filters run in the linear engine here, so the line is judged like any other.
#[test]
fn lines_that_backtrack_without_end_in_python_are_judged_like_any_other() {
    let test = "lines_that_backtrack_without_end_in_python_are_judged_like_any_other";
    let Some(package) = debian::fail2ban(test) else { return };
    let dir = package.join("etc/fail2ban");
    let time = "2026-07-25 17:20:00";
    let cases = [
        (
            "domino-smtp",
            format!("{time} smtp: {}", "mx ".repeat(1300)),
            format!(
                "{time} smtp: mx.example.org [203.0.113.7] authentication failure using internet password"
            ),
        ),
        (
            "dovecot",
            format!("{time} mx dovecot: imap-login: Disconnected{}", ": aa(b) cc".repeat(400)),
            format!(
                "{time} mx dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<eve>, rip=203.0.113.7"
            ),
        ),
        (
            "dovecot[mode=aggressive]",
            format!("{time} mx dovecot: imap-login: Disconnected{}", ": x ".repeat(1000)),
            format!(
                "{time} mx dovecot: imap-login: Disconnected (no auth attempts in 2 secs): user=<>, rip=203.0.113.7"
            ),
        ),
    ];
    for (spec, endless, plain) in cases {
        let rules = rules(&dir, spec).unwrap();
        let mut matcher = Matcher::new(&rules, chrono_tz::Tz::UTC, NOW).unwrap();
        let outcome = matcher.line(NOW, endless.as_bytes(), Pace::Recorded);
        assert!(matches!(outcome, Outcome::NoMatch), "{spec}: {outcome:?}");
        assert_eq!(matcher.overruns(), 0, "{spec}");
        let outcome = matcher.line(NOW, plain.as_bytes(), Pace::Recorded);
        assert!(matches!(outcome, Outcome::Failure(_)), "{spec}: {outcome:?}");
    }
}

/// The stock patterns that need the backtracking engine, on a line made to hurt them: either they judge it, or the
/// search is given up after its steps, and that is counted.
#[test]
fn a_stock_pattern_that_backtracks_ends_and_is_told() {
    let test = "a_stock_pattern_that_backtracks_ends_and_is_told";
    let Some(package) = debian::fail2ban(test) else { return };
    let dir = package.join("etc/fail2ban");
    let mut told = 0;
    for spec in ["sshd[mode=aggressive]", "sshd[mode=ddos]", "exim[mode=aggressive]"] {
        let rules = rules(&dir, spec).unwrap();
        let mut matcher = Matcher::new(&rules, chrono_tz::Tz::UTC, NOW).unwrap();
        let hostile = [
            format!(
                "2026-07-25 17:20:00 mx sshd[9]: Failed password for {} from 1",
                "invalid user from ".repeat(450)
            ),
            format!("2026-07-25 17:20:00 mx sshd[9]: Disconnecting{} from", ": Too many ".repeat(700)),
            format!("2026-07-25 17:20:00 H=({}) [203.0.113.7", "a) [b] (".repeat(900)),
        ];
        for line in &hostile {
            let before = matcher.overruns();
            let overran = matches!(matcher.line(NOW, line.as_bytes(), Pace::Recorded), Outcome::Overrun);
            assert!(!overran || matcher.overruns() > before, "{spec}: an overrun is counted");
            told += matcher.overruns() - before;
        }
    }
    println!("{told} searches given up");
}

/// An attempt, with nothing borrowed.
fn told(attempt: &Attempt<'_>) -> String {
    let Attempt { host, user, time, line_index, filter, pattern, beside, .. } = attempt;
    let Beside { prefix, name, fields, lines } = beside;
    format!(
        "{line_index}: {filter}/{pattern} {host:?} {user:?} {time:?} {prefix:?} {name:?} {fields:?} {lines:?}"
    )
}

/// The attempts in `log`, which comes in two blocks with a restart in between.
fn all_told(set: &FilterSet, log: &[u8]) -> Vec<String> {
    let mut state = set.begin();
    let mut found = Vec::new();
    let half = log[..log.len() / 2].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    set.scan(&mut state, NOW, &log[..half], &mut |attempt| found.push(told(&attempt)));
    let stored = set.store(&mut state);
    state = set.begin();
    set.restore(&mut state, &stored.unwrap_or_default());
    set.scan(&mut state, NOW, &log[half..], &mut |attempt| found.push(told(&attempt)));
    found
}

fn logs_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(logs_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Not more than `max` lines of a log, from all over it.
fn some_lines(text: &[u8], max: usize) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let step = lines.len().div_ceil(max).max(1);
    lines.into_iter().step_by(step).flatten().copied().collect()
}

/// `logs`, at most so many lines of each, through all stock filters, with and without the prefilter.
fn agree(package: &Path, logs: &[PathBuf], lines_max: usize) {
    let dir = package.join("etc/fail2ban");
    // A mode more or less asks for the same kinds of texts; without them this takes half the time.
    let specs = specs(&dir).into_iter().filter(|spec| !spec.contains('[') || spec.contains("aggressive"));
    let programs: Vec<Arc<Program>> = specs.map(|spec| program(&dir, &spec)).collect();
    let (_, prefilter) = Prefilter::new(programs.iter().map(|program| &**program), true);
    let mut marks = Marks::default();
    let quick = FilterSet::new(programs.clone(), Encoding::Utf8);
    let slow = FilterSet::without_prefilter(programs.clone(), Encoding::Utf8);
    let (mut attempts, mut judged, mut lines) = (0, 0, 0);
    for log in logs {
        let text = some_lines(&fs::read(log).unwrap(), lines_max);
        let (quickly, slowly) = (all_told(&quick, &text), all_told(&slow, &text));
        for (quick, slow) in quickly.iter().zip(&slowly) {
            assert_eq!(quick, slow, "{}", log.display());
        }
        assert_eq!(quickly.len(), slowly.len(), "{}", log.display());
        attempts += quickly.len();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            prefilter.begin(&mut marks, line);
            judged += (0..programs.len()).filter(|filter| prefilter.may_match(&marks, *filter)).count();
            lines += 1;
        }
    }
    let pairs = lines * programs.len();
    println!(
        "{} logs, {lines} lines, {} filters: {attempts} attempts agree; {judged} of {pairs} pairs were looked into",
        logs.len(),
        programs.len()
    );
    assert!(attempts > 0 && judged * 4 < pairs);
}

#[test]
fn sparing_lines_changes_nothing_on_fail2bans_own_samples() {
    let test = "sparing_lines_changes_nothing_on_fail2bans_own_samples";
    let Some(package) = debian::fail2ban(test) else { return };
    agree(
        &package,
        &logs_below(&package.join("usr/lib/python3/dist-packages/fail2ban/tests/files/logs")),
        500,
    );
}

#[test]
fn sparing_lines_changes_nothing_on_the_corpus() {
    let test = "sparing_lines_changes_nothing_on_the_corpus";
    let Some(package) = debian::fail2ban(test) else { return };
    let shared = std::env::var("PORTERO_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned());
    let mut logs = logs_below(&Path::new(&shared).join("corpus"));
    logs.retain(|log| log.extension().is_some_and(|extension| extension == "log"));
    if logs.is_empty() {
        println!("skipped: {test}: no {shared}/corpus beside this checkout");
        return;
    }
    agree(&package, &logs, 40);
}

/// Numbers from a seed: xorshift.
struct Seed(u64);

impl Seed {
    fn below(&mut self, max: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % max.max(1) as u64) as usize
    }
}

/// Lines of the samples as an attacker or a broken log would have them: cut, run into each other, under another stamp, in
/// other letter cases, apart from what belongs to them.
fn shuffled(lines: &[&str], count: usize, seed: &mut Seed) -> Vec<u8> {
    const STAMPS: [&str; 8] = [
        "Jul 25 17:20:00 ",
        "Jul 25 17:20:01 ",
        "2026-07-25T17:20:00+02:00 ",
        "[",
        "",
        "Feb 30 17:20:00 ",
        "é ",
        "1785000000 ",
    ];
    let mut log = Vec::new();
    let at_char = |line: &str, mut at: usize| {
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    for _ in 0..count {
        let first = seed.below(lines.len());
        for line in &lines[first..(first + 1 + seed.below(3)).min(lines.len())] {
            let cut = at_char(line, seed.below(line.len() + 1));
            let text = match seed.below(8) {
                0 => line[..cut].to_owned(),
                1 => line[cut..].to_owned(),
                2 => format!("{}{}", &line[..cut], lines[seed.below(lines.len())]),
                3 => line.to_uppercase(),
                4 => format!("{}{}{}", &line[..cut], STAMPS[seed.below(STAMPS.len())], &line[cut..]),
                5 | 6 => {
                    let behind = at_char(line, 16.min(line.len()));
                    format!("{}{}", STAMPS[seed.below(STAMPS.len())], &line[behind..])
                }
                _ => (*line).to_owned(),
            };
            log.extend_from_slice(text.as_bytes());
            log.push(b'\n');
        }
    }
    log
}

/// The lines of `log` with so many others between them that blocks of it are sieved; what begins alike mostly comes
/// together.
fn between_others(log: &[u8], seed: &mut Seed) -> Vec<u8> {
    let mut out = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let stamp = match seed.below(6) {
            0 => "Feb 30 17:20:00 ".to_owned(),
            1 => String::new(),
            2 => "[1785000000] ".to_owned(),
            second => format!("Jul 25 17:20:0{second} "),
        };
        for number in 0..seed.below(20) {
            out.extend_from_slice(
                format!("{stamp}mx queue[{number}]: nothing that anybody asks for\n").as_bytes(),
            );
        }
        if seed.below(2) == 0 {
            out.extend_from_slice(stamp.as_bytes());
        }
        out.extend_from_slice(line);
    }
    out
}

#[test]
fn sparing_lines_changes_nothing_on_lines_that_are_out_of_order() {
    let test = "sparing_lines_changes_nothing_on_lines_that_are_out_of_order";
    let Some(package) = debian::fail2ban(test) else { return };
    let dir = package.join("etc/fail2ban");
    // Those that need the backtracking engine, look at several lines, join lines, or bring dates of their own.
    let specs = [
        "sshd[mode=aggressive]",
        "postfix[mode=aggressive]",
        "dovecot",
        "cyrus-imap",
        "mongodb-auth",
        "guacamole",
        "exim",
        "nsd",
        "apache-auth",
        "nginx-http-auth",
        "murmur",
        "asterisk",
        "slapd",
        "squid",
        "proftpd",
    ];
    let programs: Vec<Arc<Program>> = specs.iter().map(|spec| program(&dir, spec)).collect();
    let quick = FilterSet::new(programs.clone(), Encoding::Utf8);
    let slow = FilterSet::without_prefilter(programs, Encoding::Utf8);
    let samples = package.join("usr/lib/python3/dist-packages/fail2ban/tests/files/logs");
    let mut text = String::new();
    for spec in specs {
        let name = spec.split('[').next().unwrap_or(spec);
        text.push_str(&String::from_utf8_lossy(&fs::read(samples.join(name)).unwrap_or_default()));
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut attempts = 0;
    for number in 1..=12 {
        let mut seed = Seed(number * 0x9e37_79b9);
        let mut log = shuffled(&lines, 60, &mut seed);
        if number > 8 {
            log = between_others(&log, &mut seed);
        }
        let (quickly, slowly) = (all_told(&quick, &log), all_told(&slow, &log));
        assert_eq!(quickly, slowly, "seed {number}");
        attempts += quickly.len();
    }
    println!("{attempts} attempts agree");
    assert!(attempts > 0);
}
