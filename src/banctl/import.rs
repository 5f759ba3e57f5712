//! `banctl import`: an existing fail2ban configuration, resolved, with a list of what does not carry over.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::exit;
use crate::fail2ban::jail::Jail;
use crate::fail2ban::note::{Kind, Note};
use crate::fail2ban::reader::{Import, read};

#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// fail2ban's folder
    #[arg(long, value_name = "D", default_value = "/etc/fail2ban")]
    pub fail2ban_dir: PathBuf,
    /// Exit code 1 if anything was lost
    #[arg(long)]
    pub strict: bool,
}

/// What `--json` prints; the contract is that of the conformance runner.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    jails: &'a [Jail],
    warnings: Vec<String>,
}

/// The whole command.
pub fn run(args: &ImportArgs, json: bool) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    match import(args, json, &mut out).and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => super::lost(&error),
    }
}

fn import(args: &ImportArgs, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let import = match read(&args.fail2ban_dir) {
        Ok(import) => import,
        Err(error) if json => {
            writeln!(
                out,
                "{}",
                serde_json::json!({ "error": error.to_string(), "jails": [], "warnings": [] })
            )?;
            return Ok(exit::CONFIG);
        }
        Err(error) => {
            eprintln!("banctl: {error}");
            return Ok(exit::CONFIG);
        }
    };
    if json {
        let warnings = import.notes.iter().map(Note::line).collect();
        serde_json::to_writer(&mut *out, &Answer { jails: &import.jails, warnings })?;
        writeln!(out)?;
    } else {
        report(&import, out)?;
    }
    let lost = import.notes.iter().any(|note| note.kind != Kind::Hint);
    Ok(if args.strict && lost { exit::NO } else { exit::OK })
}

fn report(import: &Import, out: &mut dyn Write) -> io::Result<()> {
    for note in &import.notes {
        writeln!(out, "{}", note.line())?;
    }
    Ok(())
}
