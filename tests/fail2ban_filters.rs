//! fail2ban's stock filters in the matcher: all of them load, and what spares them lines changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portero::fail2ban::encoding::Encoding;
use portero::fail2ban::matcher::{Program, test::rules};
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

/// An attempt, with nothing borrowed.
fn told(attempt: &Attempt<'_>) -> String {
    let Attempt { host, user, time, line_index, filter, pattern, beside, .. } = attempt;
    let Beside { prefix, name, fields, lines } = beside;
    format!(
        "{line_index}: {filter}/{pattern} {host:?} {user:?} {time:?} {prefix:?} {name:?} {fields:?} {lines:?}"
    )
}

fn all_told(set: &FilterSet, log: &[u8]) -> Vec<String> {
    let mut state = set.begin();
    let mut found = Vec::new();
    set.scan(&mut state, NOW, log, &mut |attempt| found.push(told(&attempt)));
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

/// `logs` through all stock filters, with and without the prefilter.
fn agree(package: &Path, logs: &[PathBuf]) {
    let dir = package.join("etc/fail2ban");
    // A mode more or less asks for the same kinds of texts; without them this takes half the time.
    let specs = specs(&dir).into_iter().filter(|spec| !spec.contains('[') || spec.contains("aggressive"));
    let programs: Vec<Arc<Program>> = specs.map(|spec| program(&dir, &spec)).collect();
    let quick = FilterSet::new(programs.clone(), Encoding::Utf8);
    let slow = FilterSet::without_prefilter(programs, Encoding::Utf8);
    let (mut attempts, mut spared, mut lines) = (0, 0, 0);
    for log in logs {
        let text = fs::read(log).unwrap();
        let (quickly, slowly) = (all_told(&quick, &text), all_told(&slow, &text));
        for (quick, slow) in quickly.iter().zip(&slowly) {
            assert_eq!(quick, slow, "{}", log.display());
        }
        assert_eq!(quickly.len(), slowly.len(), "{}", log.display());
        attempts += quickly.len();
        let counts = quick.scan(&mut quick.begin(), NOW, &text, &mut |_| {});
        lines += counts.lines;
        spared += counts.lines - counts.candidates;
    }
    println!("{} logs, {lines} lines, {spared} of them spared, {attempts} attempts agree", logs.len());
    assert!(attempts > 0);
}

#[test]
fn sparing_lines_changes_nothing_on_fail2bans_own_samples() {
    let test = "sparing_lines_changes_nothing_on_fail2bans_own_samples";
    let Some(package) = debian::fail2ban(test) else { return };
    agree(&package, &logs_below(&package.join("usr/lib/python3/dist-packages/fail2ban/tests/files/logs")));
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
    agree(&package, &logs);
}
