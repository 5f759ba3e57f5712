//! `banctl scan`: every attempt found in old logs, offline.

mod json;
mod summary;
mod unmatched;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::table::Look;
use crate::exit;
use crate::filter::peer::TrustedProxies;
use crate::filter::{Context, Counts, Filter, FilterSet, FilterSpec, FilterState};
use crate::limits::Limits;
use crate::shipped;
use crate::source::offline::OfflineLog;
use crate::time::{Clock, SystemClock, Timestamp, system_zone, zone_by_name};

use summary::Summary;
use unmatched::Unmatched;

/// Finds every login attempt in logs, offline.
#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Filters to look with, separated by commas; `all`: every shipped one
    #[arg(long, default_value = "all", value_name = "A,B")]
    pub filters: String,
    /// Zone of dates that carry none [default: the system's]
    #[arg(long, value_name = "TZ")]
    pub timezone: Option<String>,
    /// Year of dates that carry none [default: this year, or last year where that would be in the future]
    #[arg(long, value_name = "Y")]
    pub year: Option<i32>,
    /// Instead: lines that look like failed logins and that no filter knows, by shape, with a pattern for each
    #[arg(long)]
    pub unmatched: bool,
    /// A log to read; may be given more than once
    #[arg(long, value_name = "F")]
    pub log: Vec<PathBuf>,
    /// More logs: plain, .gz, .xz, .zst, or - for standard input
    #[arg(value_name = "F")]
    pub logs: Vec<PathBuf>,
}

/// An exit code and what to say; nothing: whoever read our output has gone.
type Failure = (u8, Option<String>);

/// Runs the command.
pub fn run(args: &ScanArgs, json: bool) -> ExitCode {
    match scan(args, json) {
        Ok(code) => ExitCode::from(code),
        Err((_, None)) => ExitCode::SUCCESS,
        Err((code, Some(message))) => {
            eprintln!("banctl: {message}");
            ExitCode::from(code)
        }
    }
}

/// What is made of the attempts.
enum Sink {
    Json,
    Summary(Box<Summary>),
    Unmatched(Box<Unmatched>),
}

fn scan(args: &ScanArgs, json: bool) -> Result<u8, Failure> {
    let timezone = match &args.timezone {
        Some(name) => zone_by_name(name).ok_or_else(|| {
            (exit::USAGE, Some(format!("{name:?} is no time zone; examples: Europe/Madrid, UTC")))
        })?,
        None => system_zone(),
    };
    let logs: Vec<&Path> = args.log.iter().chain(&args.logs).map(PathBuf::as_path).collect();
    if logs.is_empty() {
        return Err((exit::USAGE, Some("no log given; example: banctl scan /var/log/mail.log".to_owned())));
    }
    let filters = load_filters(&args.filters)?;
    let context = Context {
        timezone,
        year: args.year,
        trusted_proxies: TrustedProxies::private(),
        sessions_max: Limits::default().sessions_max,
    };
    let clock = SystemClock::new();
    let mut sink = match (args.unmatched, json) {
        (true, _) => Sink::Unmatched(Box::new(Unmatched::new(&filters, context.clone()))),
        (false, true) => Sink::Json,
        (false, false) => Sink::Summary(Box::new(Summary::new(&filters))),
    };
    let set = FilterSet::new(filters, context);
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let progress = progress(&logs);
    let mut failed = 0;
    let mut counts = Counts::default();
    for log in &logs {
        match scan_log(&set, log, clock.now(), &mut sink, &mut out, &progress) {
            Ok(counted) => counts.add(counted),
            Err(Fault::Log(message)) => {
                progress.suspend(|| eprintln!("banctl: {message}"));
                failed += 1;
            }
            Err(Fault::Output(error)) => return Err(lost(&error)),
        }
    }
    progress.finish_and_clear();
    let look = Look::of_stdout(clock.now());
    let done = match sink {
        Sink::Json => Ok(()),
        Sink::Summary(summary) => {
            summary.show(&mut out, look, &counts, logs.len() - failed, clock.monotonic())
        }
        Sink::Unmatched(unmatched) => unmatched.show(&mut out, look, json),
    };
    done.and_then(|()| out.flush()).map_err(|error| lost(&error))?;
    // Something was read: the answer stands, with what went wrong said above.
    Ok(if failed == logs.len() { exit::NO } else { exit::OK })
}

fn lost(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => (exit::OK, None),
        _ => (exit::NO, Some(format!("cannot write the answer: {error}"))),
    }
}

fn load_filters(names: &str) -> Result<Vec<Arc<Filter>>, Failure> {
    let specs: Vec<FilterSpec> = if names == "all" {
        shipped::FILTERS.iter().map(|(name, _)| FilterSpec::normal(name)).collect()
    } else {
        let parse = |name: &str| name.parse().map_err(|error| (exit::USAGE, Some(format!("{error}"))));
        split_specs(names).into_iter().map(parse).collect::<Result<_, _>>()?
    };
    let load = |spec: &FilterSpec| {
        Filter::shipped(spec).map(Arc::new).map_err(|error| (exit::CONFIG, Some(error.to_string())))
    };
    specs.iter().map(load).collect()
}

/// Splits at commas outside of brackets.
fn split_specs(names: &str) -> Vec<&str> {
    let mut depth = 0;
    names
        .split(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

enum Fault {
    /// Said of the log; the others are read on.
    Log(String),
    /// Nobody takes our output.
    Output(io::Error),
}

fn scan_log(
    set: &FilterSet,
    path: &Path,
    now: Timestamp,
    sink: &mut Sink,
    out: &mut impl Write,
    progress: &ProgressBar,
) -> Result<Counts, Fault> {
    let read_fault = |error: crate::source::SourceError| Fault::Log(error.to_string());
    let mut log = OfflineLog::open(path, &Limits::default()).map_err(read_fault)?;
    let before = progress.position();
    let mut writer = json::Writer::new(path, set.filters());
    let mut state = FilterState::default();
    let mut counts = Counts::default();
    let mut line_base = 1;
    loop {
        let block = match log.next_block() {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(error) => return Err(read_fault(error)),
        };
        let counted = match sink {
            Sink::Json => {
                let counted =
                    set.scan(&mut state, now, block, &mut |attempt| writer.add(line_base, &attempt));
                writer.flush_to(out).map_err(Fault::Output)?;
                counted
            }
            Sink::Summary(summary) => {
                summary.bytes += block.len() as u64;
                set.scan(&mut state, now, block, &mut |attempt| summary.add(&attempt))
            }
            Sink::Unmatched(unmatched) => unmatched.scan(set, &mut state, now, block),
        };
        line_base += counted.lines;
        counts.add(counted);
        progress.set_position(before + log.progress().0);
    }
    Ok(counts)
}

/// A bar on a terminal, by bytes on the disk; nothing elsewhere.
fn progress(logs: &[&Path]) -> ProgressBar {
    let size = |log: &&Path| std::fs::metadata(log).map_or(0, |meta| meta.len());
    let total: u64 = logs.iter().map(size).sum();
    if total < 64 << 20 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar
}
