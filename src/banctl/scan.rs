//! `banctl scan`: every attempt found in old logs, offline.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::filter::peer::TrustedProxies;
use crate::filter::{Attempt, Context, Counts, Filter, FilterSet, FilterSpec, FilterState, Outcome};
use crate::limits::Limits;
use crate::shipped;
use crate::time::{Clock, SystemClock, system_zone, zone_by_name};

/// Usage error (sysexits).
const EX_USAGE: u8 = 64;
/// Configuration error (sysexits).
const EX_CONFIG: u8 = 78;

/// Finds every attempt in logs, offline.
#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Filters to look with, separated by commas; `all`: every shipped one.
    #[arg(long, default_value = "all", value_name = "A,B")]
    pub filters: String,
    /// Zone of dates that carry none; the system's by default.
    #[arg(long, value_name = "TZ")]
    pub timezone: Option<String>,
    /// Year of dates that carry none; by default this year, or last year where that would be in the future.
    #[arg(long, value_name = "Y")]
    pub year: Option<i32>,
    /// One JSON object for each attempt instead of a summary.
    #[arg(long)]
    pub json: bool,
    /// A log to read; may be given more than once.
    #[arg(long, value_name = "F")]
    pub log: Vec<PathBuf>,
    /// More logs to read.
    #[arg(value_name = "F")]
    pub logs: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: ScanArgs) -> ExitCode {
    match scan(&args) {
        Ok(code) => code,
        Err((code, message)) => {
            eprintln!("banctl: {message}");
            ExitCode::from(code)
        }
    }
}

fn scan(args: &ScanArgs) -> Result<ExitCode, (u8, String)> {
    let filters = load_filters(&args.filters)?;
    let timezone = match &args.timezone {
        Some(name) => zone_by_name(name)
            .ok_or_else(|| (EX_USAGE, format!("{name:?} is no time zone; example: Europe/Madrid")))?,
        None => system_zone(),
    };
    let context = Context {
        timezone,
        year: args.year,
        trusted_proxies: TrustedProxies::private(),
        sessions_max: Limits::default().sessions_max,
    };
    let set = FilterSet::new(filters, context);
    let logs: Vec<&PathBuf> = args.log.iter().chain(&args.logs).collect();
    if logs.is_empty() {
        return Err((EX_USAGE, "no log given; example: banctl scan /var/log/mail.log".to_owned()));
    }
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut counts = Counts::default();
    for log in logs {
        let counted =
            scan_log(&set, log, &mut out).map_err(|error| (1, format!("{}: {error}", log.display())))?;
        counts.add(counted);
    }
    out.flush().map_err(|error| (1, error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

fn load_filters(names: &str) -> Result<Vec<Arc<Filter>>, (u8, String)> {
    let specs: Vec<FilterSpec> = if names == "all" {
        shipped::FILTERS.iter().map(|(name, _)| FilterSpec::normal(name)).collect()
    } else {
        split_specs(names)
            .into_iter()
            .map(|name| name.parse().map_err(|error| (EX_USAGE, format!("{error}"))))
            .collect::<Result<_, _>>()?
    };
    specs
        .iter()
        .map(|spec| Filter::shipped(spec).map(Arc::new).map_err(|error| (EX_CONFIG, error.to_string())))
        .collect()
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

fn scan_log(set: &FilterSet, path: &Path, out: &mut impl Write) -> std::io::Result<Counts> {
    let limits = Limits::default();
    let mut file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path)?),
    };
    let name = path.to_string_lossy().into_owned();
    let now = SystemClock::new().now();
    let mut state = FilterState::default();
    let mut counts = Counts::default();
    let mut buffer = vec![0; limits.block_bytes];
    let mut filled = 0;
    let mut line_base = 1;
    let mut failed = None;
    loop {
        let read = file.read(&mut buffer[filled..])?;
        filled += read;
        let whole = match memchr::memrchr(b'\n', &buffer[..filled]) {
            _ if read == 0 => filled,
            Some(end) => end + 1,
            None if filled == buffer.len() => filled,
            None => continue,
        };
        let counted = set.scan(&mut state, now, &buffer[..whole], &mut |attempt| {
            let result = write_json(
                out,
                &name,
                line_base + attempt.line_index,
                &set.filters()[attempt.filter].name,
                &attempt,
            );
            failed = failed.take().or(result.err());
        });
        if let Some(error) = failed {
            return Err(error);
        }
        counts.add(counted);
        line_base += counted.lines as usize;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        if read == 0 {
            return Ok(counts);
        }
    }
}

fn write_json(
    out: &mut impl Write,
    file: &str,
    line: usize,
    filter: &str,
    attempt: &Attempt<'_>,
) -> std::io::Result<()> {
    let event = match attempt.outcome {
        Outcome::Failure => "failure",
        Outcome::Success => "success",
    };
    let mut object = serde_json::json!({
        "file": file,
        "line": line,
        "filter": filter,
        "event": event,
        "ip": attempt.host,
        "user": attempt.user.map(String::from_utf8_lossy),
        "time": attempt.time.map(|time| time.to_json()),
    });
    if attempt.times != 1 {
        object["times"] = attempt.times.into();
    }
    writeln!(out, "{object}")
}
