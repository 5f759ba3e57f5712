//! Hostile text in every place of a line that a client controls: the address found is the true one or none. The
//! same generator runs under a fuzzer, see `packaging/tests/fuzz.sh`.
//!
//! `PORTERO_FUZZ_SEED` repeats a run, `PORTERO_FUZZ_LINES` sets its length, `PORTERO_FUZZ_SECONDS` runs on to that time.

#[path = "hostile/lines/mod.rs"]
mod lines;

use std::collections::BTreeMap;
use std::time::Duration;

use portero::filter::load;
use portero::shipped;
use portero::time::{Clock, SystemClock};

use lines::templates::{Reads, TEMPLATES};
use lines::{Case, Dice, Judge, Seeded, split};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn hostile_text_never_chooses_the_address() {
    let judge = Judge::new();
    let seed = number("PORTERO_FUZZ_SEED").unwrap_or(0x706f_7274_6572_6f00);
    let least = number("PORTERO_FUZZ_LINES").unwrap_or(20_000);
    let seconds = Duration::from_secs(number("PORTERO_FUZZ_SECONDS").unwrap_or(0));
    let clock = SystemClock::new();
    let end = clock.monotonic() + seconds;
    let mut lines = 0;
    // The first fault of each template.
    let mut faults = BTreeMap::new();
    println!("seed {seed}");
    while lines < least || clock.monotonic() < end {
        let of_case = seed.wrapping_add(lines);
        let case = Case::hostile(&mut Seeded(of_case));
        if let Err(wrong) = judge.judge(&case) {
            let repeat = format!("PORTERO_FUZZ_SEED={of_case} PORTERO_FUZZ_LINES=1 repeats it: {wrong}");
            faults.entry(case.template.text).or_insert(repeat);
        }
        lines += 1;
    }
    println!("{lines} hostile lines");
    let faults: Vec<String> = faults.into_values().collect();
    assert!(faults.is_empty(), "{} templates are read wrongly\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn a_block_may_be_split_after_any_line() {
    let judge = Judge::new();
    let mut dice = Seeded(number("PORTERO_FUZZ_SEED").unwrap_or(1));
    for _ in 0..150 {
        let mut block = Vec::new();
        for _ in 0..=dice.below(8) {
            block.extend(Case::hostile(&mut dice).lines);
            // Bytes that are no line of anybody's, sometimes in the middle of one.
            if dice.one_in(3) {
                let at = dice.below(block.len());
                let noise: Vec<u8> = (0..dice.below(9)).map(|_| dice.below(256) as u8).collect();
                block.splice(at..at, noise);
            }
        }
        if let Err(wrong) = split::same_attempts(&judge, &block, dice.below(99)) {
            panic!("{wrong}");
        }
    }
}

#[test]
fn templates_are_read_as_they_are_meant() {
    let judge = Judge::new();
    let mut wrong = Vec::new();
    for template in TEMPLATES {
        for seed in 0..12 {
            let case = Case::plain(template, &mut Seeded(seed));
            for mode in judge.modes() {
                let found = judge.scan(mode, &[&case.lines]);
                let wanted = match template.reads {
                    Reads::Fails | Reads::Succeeds => 1,
                    Reads::Loud(loud) if mode == loud => 1,
                    Reads::Loud(_) | Reads::Nothing if mode == load::NORMAL => 0,
                    Reads::Loud(_) | Reads::Nothing => found.len().min(1),
                };
                let right = found.iter().all(|one| one.filter == template.filter && one.host == case.host);
                if found.len() != wanted || !right {
                    wrong.push(case.report(mode, &format!("{wanted} attempts wanted"), &found));
                }
            }
            if let Err(fault) = judge.judge(&case) {
                wrong.push(fault);
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn every_shipped_filter_has_a_template() {
    for (name, _) in shipped::FILTERS {
        assert!(TEMPLATES.iter().any(|template| template.filter == *name), "{name} has none");
    }
}
