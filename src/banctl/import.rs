//! `banctl import`: an existing fail2ban configuration, resolved, with a list of what does not carry over.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::exit;
use crate::fail2ban::jail::Jail;
use crate::fail2ban::native::{Filters, Native, translate};
use crate::fail2ban::note::{Kind, Note};
use crate::fail2ban::reader::{Import, read};
use crate::fail2ban::remarks::hints;
use crate::text::escape;

#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// fail2ban's folder
    #[arg(long, value_name = "D", default_value = "/etc/fail2ban")]
    pub fail2ban_dir: PathBuf,
    /// Write the jails as TOML below DIR, with their filters and actions: jails/NAME.toml, filters/NAME.toml,
    /// actions/NAME.toml, and jails/NAME.toml.off where a hand is needed
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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
    let mut import = match read(&args.fail2ban_dir) {
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
    let hints = hints(&import);
    import.notes.extend(hints);
    let mut filters = Filters::default();
    let natives: Vec<Native> =
        import.jails.iter().map(|jail| translate(jail, &mut filters, &mut import.notes)).collect();
    if let Some(folder) = &args.out {
        write_toml(folder, &import, &natives)?;
        write_filters(folder, &filters)?;
    }
    if json {
        let warnings = import.notes.iter().map(Note::line).collect();
        serde_json::to_writer(&mut *out, &Answer { jails: &import.jails, warnings })?;
        writeln!(out)?;
    } else {
        report(&import, &natives, out)?;
    }
    let lost = import.notes.iter().any(|note| matches!(note.kind, Kind::Refused | Kind::Loss));
    Ok(if args.strict && lost { exit::NO } else { exit::OK })
}

/// Writes what [`translate`] made of each jail; no file that is there already is replaced.
fn write_toml(folder: &Path, import: &Import, natives: &[Native]) -> io::Result<()> {
    let jails = folder.join("jails");
    fs::create_dir_all(&jails)?;
    for (jail, native) in import.jails.iter().zip(natives) {
        let name: String = jail
            .name
            .chars()
            .map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' })
            .collect();
        let suffix = if native.complete { "toml" } else { "toml.off" };
        let mut text = format!("# jail {name} of fail2ban, by banctl import\n");
        for note in import.notes.iter().filter(|note| note.jail.as_ref() == Some(&jail.name)) {
            text.push_str(&format!("# {}\n", escape(note.line().as_bytes())));
        }
        text.push_str(&native.toml);
        write_new(&jails.join(format!("{name}.{suffix}")), &text)?;
        for (action, text) in &native.actions {
            let actions = folder.join("actions");
            fs::create_dir_all(&actions)?;
            write_new(&actions.join(format!("{action}.toml")), text)?;
        }
    }
    Ok(())
}

/// Writes the filters that the jails name and that are not shipped.
fn write_filters(folder: &Path, filters: &Filters) -> io::Result<()> {
    let folder = folder.join("filters");
    fs::create_dir_all(&folder)?;
    filters.files().try_for_each(|(name, text)| write_new(&folder.join(format!("{name}.toml")), text))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::File::create_new(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    file.write_all(text.as_bytes())
}

/// One line for each jail, then every note with its place, the weightiest first.
fn report(import: &Import, natives: &[Native], out: &mut dyn Write) -> io::Result<()> {
    for (jail, native) in import.jails.iter().zip(natives) {
        let state = if native.complete { "imported" } else { "needs a hand" };
        let filter = jail.filter.as_deref().unwrap_or("-");
        writeln!(out, "{}: {state}; filter {}", escape(jail.name.as_bytes()), escape(filter.as_bytes()))?;
    }
    let mut notes: Vec<&Note> = import.notes.iter().collect();
    notes.sort_by_key(|note| note.kind);
    for note in &notes {
        let jail =
            note.jail.as_ref().map(|jail| format!("jail {}: ", escape(jail.as_bytes()))).unwrap_or_default();
        writeln!(out, "\n{jail}{}: {}", note.kind.name(), note.error)?;
    }
    let count = |kind| notes.iter().filter(|note| note.kind == kind).count();
    writeln!(
        out,
        "\n{} jails; {} refused, {} losses, {} approximations, {} hints\n\
         The window is strict here: maxretry failures within findtime ban; fail2ban's own count drifts a little. \
         usedns = warn acts as no.",
        import.jails.len(),
        count(Kind::Refused),
        count(Kind::Loss),
        count(Kind::Approximation),
        count(Kind::Hint)
    )
}
