//! `banctl check`: the daemon's own loader, filters compiled and all, without the daemon.

use std::io::Write;

use serde::Serialize;

use crate::config::{Fatal, Loaded, Setup};
use crate::control::protocol::ProblemInfo;
use crate::exit;
use crate::fail2ban::note::Note;

/// What `check --json` prints.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    file: String,
    /// The jails that would guard.
    jails: Vec<String>,
    problems: Vec<ProblemInfo>,
    /// What of a fail2ban configuration is lost, approximated or looks wrong.
    notes: Vec<String>,
}

/// Loads what `setup` names and says what is wrong with it: on `out` as JSON, else on stderr.
///
/// # Errors
/// Nobody reads `out` any more.
pub fn run(program: &str, setup: &Setup, json: bool, out: &mut dyn Write) -> std::io::Result<u8> {
    let loaded = crate::daemon::load::load(setup).and_then(|(loaded, _)| loaded.require_jails());
    report(program, loaded, &setup.name(), json, out)
}

/// The same, of what was loaded already.
///
/// # Errors
/// Nobody reads `out` any more.
pub fn report(
    program: &str,
    loaded: Result<Loaded, Fatal>,
    name: &str,
    json: bool,
    out: &mut dyn Write,
) -> std::io::Result<u8> {
    let mut checked = Checked {
        ok: false,
        file: name.to_owned(),
        jails: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    match loaded {
        Ok(loaded) => {
            if loaded.config.fail2ban.is_none() {
                checked.file.clone_from(&loaded.config.file);
            }
            checked.notes = loaded.notes.iter().map(Note::line).collect();
            checked.jails = loaded.config.enabled().map(|jail| jail.settings.name.to_string()).collect();
            checked.problems = loaded.problems.iter().map(ProblemInfo::from).collect();
        }
        Err(fatal) => checked.problems = fatal.errors.iter().map(ProblemInfo::from).collect(),
    }
    checked.ok = checked.problems.is_empty();
    if json {
        serde_json::to_writer(&mut *out, &checked)?;
        out.write_all(b"\n")?;
    } else {
        for note in &checked.notes {
            eprintln!("{program}: {}", crate::text::escape(note.as_bytes()));
        }
        for problem in &checked.problems {
            eprintln!("{program}: {}", problem.text);
        }
        if checked.ok {
            writeln!(out, "{}: good; jails: {}", checked.file, checked.jails.join(", "))?;
        } else if !checked.jails.is_empty() {
            writeln!(out, "{}: would guard in spite of that: {}", checked.file, checked.jails.join(", "))?;
        }
    }
    Ok(if checked.ok { exit::OK } else { exit::CONFIG })
}
