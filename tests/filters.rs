//! Runs `filters/NAME.samples` over `filters/NAME.toml`, read from the tree. Run one filter alone with
//! `PORTERO_FILTER=postfix-sasl cargo nextest run filters`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portero::config::report::SourceText;
use portero::filter::pattern::MatchCache;
use portero::filter::peer::TrustedProxies;
use portero::filter::samples::{self, Expect, Sample};
use portero::filter::{Context, Filter, FilterSet, FilterSpec, FilterState, Kind, Outcome, load};
use portero::text::escape;
use portero::time::Timestamp;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("filters")
}

/// Name and text of every filter, or of the one asked for.
fn filters() -> Vec<(String, SourceText)> {
    let wanted = std::env::var("PORTERO_FILTER").ok();
    let mut found: Vec<(String, SourceText)> = std::fs::read_dir(folder())
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
            (wanted.as_ref().is_none_or(|wanted| *wanted == name)).then(|| {
                let text = std::fs::read_to_string(&path).unwrap();
                (name.clone(), SourceText::new(format!("filters/{name}.toml"), text))
            })
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn samples_of(name: &str) -> Result<Vec<Sample>, String> {
    let label = format!("filters/{name}.samples");
    let text = std::fs::read(folder().join(format!("{name}.samples")))
        .map_err(|error| format!("{label}: {error}; every filter has samples"))?;
    let text = String::from_utf8(text)
        .map_err(|_| format!("{label}: not UTF-8; write such bytes as \\xNN in an eline:"))?;
    samples::parse(&SourceText::new(label, text)).map_err(|error| error.to_string())
}

fn in_mode(name: &str, source: &SourceText, mode: &str) -> Result<Arc<Filter>, String> {
    let mut spec = FilterSpec::normal(name);
    if mode != load::NORMAL {
        spec.options.push(("mode".to_owned(), mode.to_owned()));
    }
    Filter::load(&spec, std::slice::from_ref(source)).map(Arc::new).map_err(|error| error.to_string())
}

fn context(sample: &Sample) -> Context {
    let default = || ["10.0.0.0/24", "127.0.0.0/8", "::1"].iter().map(|net| net.parse().unwrap()).collect();
    Context {
        timezone: chrono_tz::Tz::UTC,
        year: Some(2026),
        trusted_proxies: TrustedProxies::new(sample.trusted.clone().unwrap_or_else(default)),
        sessions_max: 1000,
    }
}

fn shown(expect: Option<&Expect>) -> String {
    let Some(expect) = expect else { return "no".to_owned() };
    let mut text = match expect.outcome {
        Outcome::Failure => "fail".to_owned(),
        Outcome::Success => "ok".to_owned(),
    };
    let _ = write!(text, " ip={}", expect.host.map_or("-".to_owned(), |host| host.to_string()));
    for (key, value) in [("user", &expect.user), ("pwhash", &expect.pwhash)] {
        if let Some(value) = value {
            let _ = write!(text, " {key}={}", escape(value));
        }
    }
    if let Some(time) = expect.time {
        let at = chrono::DateTime::from_timestamp_micros(time.micros()).unwrap();
        let _ = write!(text, " time={}", at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    }
    if expect.times != 1 {
        let _ = write!(text, " times={}", expect.times);
    }
    text
}

/// All that is wrong with a filter, in words.
fn faults(name: &str, source: &SourceText) -> Vec<String> {
    let mut faults = Vec::new();
    let samples = match samples_of(name) {
        Ok(samples) => samples,
        Err(error) => return vec![error],
    };
    if !samples.iter().any(|sample| sample.expect.is_some()) {
        faults.push(format!("filters/{name}.samples: no line that must be found"));
    }
    let mut modes = vec![load::NORMAL.to_owned()];
    modes.extend(load::modes(source.text()));
    for mode in &modes {
        let filter = match in_mode(name, source, mode) {
            Ok(filter) => filter,
            Err(error) => {
                faults.push(error);
                return faults;
            }
        };
        let mut hit = vec![false; filter.patterns.len()];
        for (number, pattern) in filter.patterns.iter().enumerate() {
            if let Err(error) = pattern.build() {
                faults.push(format!("{}: {} {number}: {error}", pattern.place, pattern.kind.key()));
            }
        }
        let mut states: BTreeMap<usize, FilterState> = BTreeMap::new();
        for sample in &samples {
            let here = sample.mode.as_deref().unwrap_or(load::NORMAL) == *mode;
            // Session lines of the block must be seen in every mode.
            let state = states.entry(sample.block).or_default();
            let set = FilterSet::new(vec![Arc::clone(&filter)], context(sample));
            let mut block = sample.line.clone();
            block.push(b'\n');
            let mut got: Vec<Expect> = Vec::new();
            set.scan(state, Timestamp::from_secs(1_798_700_000), &block, &mut |attempt| {
                got.push(Expect {
                    outcome: attempt.outcome,
                    host: attempt.host,
                    user: attempt.user.map(<[u8]>::to_vec),
                    pwhash: attempt.pwhash.map(<[u8]>::to_vec),
                    time: attempt.time,
                    times: attempt.times,
                });
            });
            let at = format!("filters/{name}.samples:{}", sample.at);
            let line = escape(&sample.line);
            for line in sample.line.split(|b| *b == b'\n') {
                let matches = filter.all_matches(line);
                for (number, _) in &matches {
                    hit[*number] = true;
                }
                let counting: Vec<usize> = matches
                    .iter()
                    .map(|(number, _)| *number)
                    .filter(|number| filter.patterns[*number].kind != Kind::Ignore)
                    .collect();
                if counting.len() > 1 {
                    let mut text = format!(
                        "{at}: {} patterns hit one line (mode {mode})\n  {}",
                        counting.len(),
                        escape(line)
                    );
                    for number in counting {
                        let _ = write!(
                            text,
                            "\n  {}: {}",
                            filter.patterns[number].place, filter.patterns[number].text
                        );
                    }
                    faults.push(text);
                }
            }
            if !here {
                continue;
            }
            let mut want = sample.expect.clone();
            // The time is compared where the sample gives one.
            if let (Some(want), Some(got)) = (&mut want, got.first())
                && want.time.is_none()
            {
                want.time = got.time;
            }
            if got.first() != want.as_ref() || got.len() > 1 {
                let mut text = format!("{at}: mode {mode}\n  line {line}\n  want {}", shown(want.as_ref()));
                if got.is_empty() {
                    let _ = write!(text, "\n  got  no{}", why_not(&filter, &sample.line));
                }
                for got in &got {
                    let _ = write!(text, "\n  got  {}", shown(Some(got)));
                }
                for (number, groups) in filter.all_matches(&sample.line) {
                    let pattern = &filter.patterns[number];
                    let _ = write!(text, "\n  {} {}: {}", pattern.kind.key(), pattern.place, pattern.text);
                    for (tag, value) in groups {
                        let _ = write!(text, "\n      {} = {}", tag.field(), escape(&value));
                    }
                }
                faults.push(text);
            }
        }
        for (pattern, hit) in filter.patterns.iter().zip(hit) {
            if !hit {
                faults.push(format!(
                    "{}: {} is hit by no sample (mode {mode})\n  {}",
                    pattern.place,
                    pattern.kind.key(),
                    pattern.text
                ));
            }
        }
    }
    faults
}

fn why_not(filter: &Filter, line: &[u8]) -> String {
    match filter.frame(line) {
        Some(framed) => format!(" (no pattern fits the message: {})", escape(framed.message)),
        None => {
            let ident = filter.frames.iter().find_map(|frame| frame.split(line)?.ident);
            match ident {
                Some(ident) => format!(" (program name {:?} is not in ident)", escape(ident)),
                None => " (the line is built like none of the filter's frames)".to_owned(),
            }
        }
    }
}

#[test]
fn every_filter_finds_what_its_samples_say() {
    let mut failed = 0;
    for (name, source) in filters() {
        let faults = faults(&name, &source);
        println!(
            "{name}: {}",
            if faults.is_empty() { "ok".to_owned() } else { format!("{} faults", faults.len()) }
        );
        for fault in &faults {
            println!("{fault}\n");
        }
        failed += faults.len();
    }
    assert_eq!(failed, 0, "{failed} faults, see above");
}

/// The lines that the tests have: the samples', and the shared corpus where it is there.
fn lines() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (name, _) in filters() {
        found.extend(samples_of(&name).unwrap_or_default().into_iter().map(|sample| sample.line));
    }
    let shared = std::env::var_os("PORTERO_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    for folder in ["corpus/mail", "corpus/mail/real", "corpus/mail/formats"] {
        for entry in std::fs::read_dir(shared.join(folder)).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read(entry.path()).unwrap();
                found.extend(text.split(|b| *b == b'\n').map(<[u8]>::to_vec));
            }
        }
    }
    found
}

/// Everything that comes out of `block`, as text.
fn attempts(set: &FilterSet, block: &[u8]) -> Vec<String> {
    let mut state = FilterState::default();
    let mut found = Vec::new();
    set.scan(&mut state, Timestamp::from_secs(1_798_700_000), block, &mut |attempt| {
        found.push(format!("{attempt:?}"));
    });
    found
}

/// Small changes at random places, and pieces of one line put into another.
fn mutate(lines: &[Vec<u8>], seed: &mut u64) -> Vec<u8> {
    let mut random = |below: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize % below.max(1)
    };
    let mut line = lines[random(lines.len())].clone();
    for _ in 0..random(4) {
        let at = random(line.len() + 1);
        match random(5) {
            0 => line.truncate(at),
            1 => line.insert(at, b" :[]<>,=\"\\\r\0x1A"[random(15)]),
            2 if at < line.len() => {
                line.remove(at);
            }
            3 => {
                let other = &lines[random(lines.len())];
                let from = random(other.len() + 1);
                let to = from + random(other.len() - from + 1);
                line.splice(at..at, other[from..to].iter().copied());
            }
            _ if at < line.len() => line[at] = line[at].wrapping_add(1),
            _ => {}
        }
    }
    line.retain(|b| *b != b'\n');
    line
}

#[test]
fn the_prefilter_changes_no_result() {
    let mut sets = Vec::new();
    let mut all = Vec::new();
    for (name, source) in filters() {
        for mode in std::iter::once(load::NORMAL.to_owned()).chain(load::modes(source.text())) {
            all.push(in_mode(&name, &source, &mode).unwrap());
        }
    }
    let context = Context {
        timezone: chrono_tz::Tz::UTC,
        year: Some(2026),
        trusted_proxies: TrustedProxies::private(),
        sessions_max: 1000,
    };
    sets.push((FilterSet::new(all.clone(), context.clone()), FilterSet::without_prefilter(all, context)));
    let lines = lines();
    if lines.is_empty() {
        return;
    }
    let mut seed = 7;
    let changed: Vec<Vec<u8>> = (0..3000).map(|_| mutate(&lines, &mut seed)).collect();
    let step = (lines.len() / 3000).max(1);
    for (with, without) in &sets {
        for line in lines.iter().step_by(step).chain(&changed) {
            let block = [line.as_slice(), b"\n"].concat();
            assert_eq!(attempts(with, &block), attempts(without, &block), "{}", escape(line));
        }
    }
}

/// Blocks of a size that the sieve is used on: what an ordinary log holds, in between what stands in `lines`, one of
/// them in every `rare`.
fn blocks(lines: &[&Vec<u8>], rare: usize) -> Vec<Vec<u8>> {
    const ORDINARY: [&str; 5] = [
        "Jun  1 06:27:45 mail postfix/smtpd[12]: connect from unknown[192.0.2.1]",
        "Jun  1 06:27:45 mail postfix/smtpd[12]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1",
        "Jun  1 06:27:46 mail dovecot: imap(u)<1><x>: Disconnected: Logged out in=1 out=2",
        "2026-06-01T06:27:45.123456+02:00 mail postfix/qmgr[12]: 4F1: removed",
        "Jun  1 06:27:46 mail cyrus/imap[12]: USAGE u user: 0.01 sys: 0.00",
    ];
    let mut blocks = Vec::new();
    let mut block = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for other in 1..rare {
            block.extend_from_slice(ORDINARY[(at + other) % ORDINARY.len()].as_bytes());
            block.extend_from_slice(if other % 7 == 0 { b"\r\n" } else { b"\n" });
        }
        block.extend(line.iter().copied().filter(|byte| *byte != b'\n'));
        block.push(b'\n');
        if block.len() > 48 << 10 {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks
}

#[test]
fn passing_over_lines_in_large_blocks_changes_no_result() {
    let lines = lines();
    if lines.is_empty() {
        return;
    }
    let context = Context {
        timezone: chrono_tz::Tz::UTC,
        year: Some(2026),
        trusted_proxies: TrustedProxies::private(),
        sessions_max: 1000,
    };
    let filters: Vec<Arc<Filter>> = filters()
        .iter()
        .flat_map(|(name, source)| {
            let modes = std::iter::once(load::NORMAL.to_owned()).chain(load::modes(source.text()));
            modes.map(move |mode| in_mode(name, source, &mode).unwrap())
        })
        .collect();
    let four = ["postfix-sasl", "dovecot", "cyrus", "sshd"];
    let some =
        |fits: &dyn Fn(&Filter) -> bool| filters.iter().filter(|f| fits(f)).cloned().collect::<Vec<_>>();
    let mut chosen = vec![
        filters.clone(),
        some(&|filter| filter.mode == load::NORMAL),
        some(&|filter| four.contains(&filter.name.as_str()) && filter.mode == load::NORMAL),
    ];
    chosen.extend(filters.iter().map(|filter| vec![filter.clone()]));
    let mut seed = 19;
    let changed: Vec<Vec<u8>> = (0..1500).map(|_| mutate(&lines, &mut seed)).collect();
    let mixed: Vec<&Vec<u8>> = lines.iter().step_by((lines.len() / 1500).max(1)).chain(&changed).collect();
    let mut read = [blocks(&mixed, 4), blocks(&mixed, 1)].concat();
    // What is learned from one block is used on another of quite different lines.
    read.swap(1, 3);
    for (number, set) in chosen.into_iter().enumerate() {
        let with = FilterSet::new(set.clone(), context.clone());
        let without = FilterSet::without_prefilter(set.clone(), context.clone());
        let few = if number < 3 { read.len() } else { 4 };
        for block in &read[..few.min(read.len())] {
            assert_eq!(attempts(&with, block), attempts(&without, block), "{}", set[0].name);
        }
    }
}

#[test]
fn the_program_matches_as_the_linear_engine_does() {
    let lines = lines();
    let mut seed = 11;
    let mut changed: Vec<Vec<u8>> = (0..400).map(|_| mutate(&lines, &mut seed)).collect();
    let step = (lines.len() / 400).max(1);
    changed.extend(lines.iter().step_by(step).cloned());
    let (mut a, mut b) = (MatchCache::default(), MatchCache::default());
    for (name, source) in filters() {
        for mode in std::iter::once(load::NORMAL.to_owned()).chain(load::modes(source.text())) {
            let filter = in_mode(&name, &source, &mode).unwrap();
            let own = samples_of(&name).unwrap_or_default();
            for line in own.iter().map(|sample| &sample.line).chain(&changed) {
                let Some(framed) = filter.frame(line) else { continue };
                for pattern in &filter.patterns {
                    let fast = pattern.matches(&mut a, framed.message).then(|| pattern.captured(&a));
                    let slow = pattern.matches_linear(&mut b, framed.message).then(|| pattern.captured(&b));
                    assert_eq!(fast, slow, "{} on {}", pattern.text, escape(line));
                }
            }
        }
    }
}
