//! `banctl filter`: which filters there are, what they read, and whether they can be fooled. All offline.

mod fail2ban;
mod lint;
mod test;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono_tz::Tz;
use clap::{Args, Subcommand};

use super::failure::{Failure, end, fail, lost};
use super::table::{Look, Table, Tone, cell};
use super::values::timezone;
use crate::config::report::{ReportedError, SourceText};
use crate::config::{DEFAULT_PATH, FilterFiles, FilterLibrary};
use crate::exit;
use crate::fail2ban::dialect;
use crate::filter::{Filter, FilterSpec, FilterSpecError, load};
use crate::text::suggest;
use crate::time::{Clock, SystemClock};

#[derive(Debug, Clone, Args)]
pub struct FilterArgs {
    /// portero.toml, or its folder: own filters stand in filters/ beside it
    #[arg(long, global = true, value_name = "F", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: FilterCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub enum FilterCommand {
    /// Every filter: its name, its modes, the programs whose lines it reads
    List,
    /// A filter's files, and where they are
    Show {
        /// As in a jail's `filter =`, without a mode
        name: String,
    },
    /// What a filter makes of each line of a log, and why
    ///
    /// With --json one object for each line; else the line with what was taken from it in colour, or why nothing
    /// was. Exit code 0 also where nothing matched.
    Test(TestArgs),
    /// Find what an attacker can use in a pattern, with a line that proves it
    ///
    /// Exit code 1: something was found.
    Lint(LintArgs),
}

#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// As in a jail's `filter =`: sshd, sshd[mode=aggressive]
    #[arg(long, value_name = "SPEC")]
    pub filter: String,
    /// A log; .gz, .xz and .zst too, `-` for stdin
    #[arg(long, value_name = "F")]
    pub log: PathBuf,
    /// Take the filter from fail2ban's configuration
    #[arg(long, value_name = "D")]
    pub fail2ban_dir: Option<PathBuf>,
    /// Zone of dates that carry none [default: the system's]
    #[arg(long, value_name = "TZ", value_parser = timezone)]
    pub timezone: Option<Tz>,
    /// The current time, as seconds since 1970 [default: the clock's]
    #[arg(long, value_name = "EPOCH", allow_hyphen_values = true)]
    pub now: Option<f64>,
    /// Lines are a journal's, `HOST IDENT[PID]: MESSAGE`; each happens now
    #[arg(long)]
    pub journal: bool,
}

#[derive(Debug, Clone, Args)]
pub struct LintArgs {
    /// Filters by name, or files: NAME.toml, or fail2ban's NAME.conf [default: every filter]
    #[arg(value_name = "NAME|FILE")]
    pub targets: Vec<String>,
    /// A single pattern as fail2ban takes it; may be given more than once
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub pattern: Vec<String>,
}

fn usage(message: impl std::fmt::Display) -> Failure {
    fail(exit::USAGE, message)
}

fn config(error: impl std::fmt::Display) -> Failure {
    fail(exit::CONFIG, error)
}

/// Runs the command.
pub fn run(args: &FilterArgs, json: bool) -> ExitCode {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let folder = match args.config.is_dir() {
        true => args.config.as_path(),
        false => match args.config.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        },
    };
    let library = FilterLibrary::of_folder(folder);
    let look = Look::of_stdout(SystemClock::new().now());
    let done = match &args.command {
        FilterCommand::List => list(&library, json, look, &mut out),
        FilterCommand::Show { name } => show(&library, name, json, look, &mut out),
        FilterCommand::Test(args) => test::run(args, &library, json, look, &mut out),
        FilterCommand::Lint(args) => lint::run(args, &library, json, look, &mut out),
    };
    end(done.and_then(|code| out.flush().map(|()| code).map_err(|error| lost(&error))))
}

/// The files of a filter, base first.
fn files(library: &FilterLibrary, name: &str) -> Result<FilterFiles, Failure> {
    let found = library.find(name).map_err(config)?;
    found.ok_or_else(|| {
        let names = library.names();
        let near = suggest(name, names.iter().map(String::as_str));
        let near = near
            .map_or("`banctl filter list` has them all".to_owned(), |near| format!("did you mean {near:?}?"));
        config(format!("there is no filter {name:?}; {near}"))
    })
}

/// A line as it is shown.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn spec(text: &str) -> Result<FilterSpec, Failure> {
    text.parse().map_err(|error: FilterSpecError| usage(error))
}

fn list(library: &FilterLibrary, json: bool, look: Look, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut table = Table::new(&["FILTER", "MODES", "READS LINES OF", "DESCRIPTION", "FROM"]);
    let mut bad: Vec<ReportedError> = Vec::new();
    for name in library.names() {
        let files = files(library, &name)?;
        let sources = files.sources();
        if dialect::is_meant(&sources[0]) {
            let from: Vec<&str> = sources.iter().map(SourceText::label).collect();
            let what = "in fail2ban's dialect";
            if json {
                let object = serde_json::json!({
                    "name": name, "description": what, "modes": [load::NORMAL], "programs": [], "frames": [],
                    "files": from, "shipped": false,
                });
                writeln!(out, "{object}").map_err(|error| lost(&error))?;
                continue;
            }
            let from = cell(from.join(" "), Tone::Warn);
            table.row(vec![cell(&name, Tone::Bold), "".into(), "any".into(), what.into(), from]);
            continue;
        }
        let filter = match Filter::load(&FilterSpec::normal(&name), &sources) {
            Ok(filter) => filter,
            Err(error) => {
                bad.push(error);
                continue;
            }
        };
        let programs: Vec<&str> = filter.ident.iter().map(|glob| glob.as_str()).collect();
        let modes = files.modes();
        if json {
            let object = serde_json::json!({
                "name": name,
                "description": filter.description,
                "modes": modes,
                "programs": programs,
                "frames": filter.frames.iter().map(|frame| frame.name()).collect::<Vec<_>>(),
                "files": sources.iter().map(SourceText::label).collect::<Vec<_>>(),
                "shipped": files.shipped,
            });
            writeln!(out, "{object}").map_err(|error| lost(&error))?;
            continue;
        }
        let programs = match programs.as_slice() {
            [] => "any".to_owned(),
            [only] => (*only).to_owned(),
            [first, second] => format!("{first} {second}"),
            [first, second, rest @ ..] => format!("{first} {second} +{}", rest.len()),
        };
        let own: Vec<&str> = match files.shipped {
            true => files.overlays.iter().map(SourceText::label).collect(),
            false => sources.iter().map(SourceText::label).collect(),
        };
        table.row(vec![
            cell(&name, Tone::Bold),
            modes[1..].join(" ").into(),
            programs.into(),
            filter.description.into(),
            cell(own.join(" "), Tone::Warn),
        ]);
    }
    if !table.is_empty() {
        write!(out, "{}", table.show(look, "")).map_err(|error| lost(&error))?;
    }
    for error in &bad {
        eprintln!("banctl: {error}");
    }
    Ok(if bad.is_empty() { exit::OK } else { exit::CONFIG })
}

fn show(
    library: &FilterLibrary,
    name: &str,
    json: bool,
    look: Look,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let spec = spec(name)?;
    let files = files(library, &spec.name)?;
    let sources = files.sources();
    let shown = if json {
        let texts: Vec<_> = sources
            .iter()
            .map(|source| serde_json::json!({ "file": source.label(), "text": source.text() }))
            .collect();
        writeln!(out, "{}", serde_json::json!({ "name": spec.name, "modes": files.modes(), "files": texts }))
    } else {
        sources.iter().enumerate().try_for_each(|(index, source)| {
            let what = if index == 0 { "" } else { ", whose keys replace those above" };
            let head = format!("# {}{what}", source.label());
            let text = source.text().trim_end();
            writeln!(out, "{}{}\n{text}", if index == 0 { "" } else { "\n" }, look.paint(Tone::Dim, &head))
        })
    };
    shown.map_err(|error| lost(&error))?;
    Ok(exit::OK)
}
