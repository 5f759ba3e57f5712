//! `banctl scan`: every attempt found in old logs, offline.
//!
//! The logs are read block by block ([`OfflineLog`]) and matched; an [`Output`] is told what was found: JSON
//! lines ([`json`]), a summary for people ([`report`]), or what no filter reads ([`unmatched`]).

mod fail2ban;
mod json;
mod pairs;
mod progress;
mod report;
mod rows;
mod sets;
mod shape;
mod suggest;
mod times;
mod unmatched;
mod words;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono_tz::Tz;
use smallvec::SmallVec;

use self::json::JsonLines;
use self::progress::Progress;
use self::report::Report;
use self::sets::Sets;
use self::times::Times;
use self::unmatched::Unmatched;
use super::failure::{Failure, end, fail, lost};
use super::table::Look;
use super::values::timezone;
use crate::addr::Host;
use crate::config::{Config, FilterFiles, FilterLibrary};
use crate::exit;
use crate::fail2ban::dialect;
use crate::filter::peer::TrustedProxies;
use crate::filter::{Attempt, Context, Filter, FilterSet, FilterSpec, Outcome};
use crate::limits::Limits;
use crate::shipped;
use crate::source::OfflineLog;
use crate::text;
use crate::time::{Clock, SystemClock, Timestamp, system_zone};

/// Finds every login attempt in logs, offline: a summary, or with --json one object for each attempt.
///
/// Exit code 1: a log could not be read; the others were.
#[derive(Debug, clap::Args)]
pub struct ScanArgs {
    /// Filters to look with, separated by commas, `sshd[mode=aggressive]` for a mode; `all`: every one there is
    #[arg(long, default_value = "all", value_name = "A,B")]
    pub filters: String,
    /// Take trusted proxies, time zone and filters from this portero.toml, or a folder that holds one
    /// [default: private networks are trusted, the built-in filters]
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Look with the filters of the fail2ban configuration in D instead, each as its jail has it; `--filters`
    /// then names filters of filter.d [default: those of the enabled jails]
    #[arg(long, value_name = "D", conflicts_with_all = ["unmatched", "year"])]
    pub fail2ban_dir: Option<PathBuf>,
    /// Zone of dates that carry none [default: the configuration's, else the system's]
    #[arg(long, value_name = "TZ", value_parser = timezone)]
    pub timezone: Option<Tz>,
    /// Year of dates that carry none [default: this year, or last year where that would be in the future]
    #[arg(long, value_name = "Y")]
    pub year: Option<i32>,
    /// Show the lines that look like failed logins and that no filter reads, by shape, with a pattern to try
    #[arg(long)]
    pub unmatched: bool,
    /// A log to read; may be given more than once
    #[arg(long, value_name = "F")]
    pub log: Vec<PathBuf>,
    /// Logs to read, .gz, .xz and .zst too; `-` is standard input
    #[arg(value_name = "F")]
    pub logs: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ScanArgs, json: bool) -> ExitCode {
    end(scan(args, json))
}

/// What becomes of that which a scan finds.
trait Output {
    /// A log begins.
    fn begin(&mut self, file: &[u8]);
    /// An attempt; `line` counts from 1. `again`: another filter found the same on this line already.
    fn attempt(&mut self, line: u64, attempt: &Attempt<'_>, again: bool);
    /// All attempts of `block`, which begins with line `first_line`, were told.
    ///
    /// # Errors
    /// What was found cannot be written.
    fn block(&mut self, first_line: u64, block: &[u8]) -> io::Result<()>;
}

fn scan(args: &ScanArgs, json: bool) -> Result<u8, Failure> {
    let logs: Vec<PathBuf> = args.log.iter().chain(&args.logs).cloned().collect();
    if logs.is_empty() {
        return Err(fail(exit::USAGE, "no log given; example: banctl scan /var/log/mail.log"));
    }
    let scanner = Scanner::new(args)?;
    let mut out = io::stdout().lock();
    let now = SystemClock::new().now();
    let mut progress = Progress::new(&logs, json && !args.unmatched);
    let look = Look::of_stdout(now);
    let totals;
    if args.unmatched {
        let mut unmatched = Unmatched::new(scanner.known()?);
        totals = scanner.read(&logs, now, &mut unmatched, &mut progress)?;
        let groups = unmatched.groups();
        let shown = match json {
            true => unmatched::json(&groups),
            false => unmatched::text(look, &groups, totals.lines),
        };
        out.write_all(&shown).map_err(|error| lost(&error))?;
    } else if json {
        let mut lines = JsonLines::new(&mut out, scanner.set.names());
        totals = scanner.read(&logs, now, &mut lines, &mut progress)?;
    } else {
        let mut report = Report::new(scanner.set.names().len());
        totals = scanner.read(&logs, now, &mut report, &mut progress)?;
        let shown =
            report.text(look, scanner.context.timezone, scanner.set.names(), &totals, progress.elapsed());
        out.write_all(shown.as_bytes()).map_err(|error| lost(&error))?;
    }
    out.flush().map_err(|error| lost(&error))?;
    for (name, trouble, count) in scanner.set.overruns() {
        let (what, how) = crate::daemon::trouble_words(trouble, count);
        eprintln!("banctl: filter {name}: {what} {how}");
    }
    Ok(if totals.unreadable == 0 { exit::OK } else { exit::NO })
}

/// What reading all logs came to.
#[derive(Debug, Default)]
struct Totals {
    logs: u64,
    /// Logs that could not be read, or not to their end.
    unreadable: u64,
    lines: u64,
    /// Decompressed.
    bytes: u64,
    /// Lines cut at the cap.
    cut: u64,
    /// Dates of the earliest and the latest line that were met at the borders of blocks.
    times: Times,
}

/// Filters and what they need.
struct Scanner {
    set: Sets,
    context: Context,
    /// The native filters that were chosen.
    plain: Vec<(FilterSpec, FilterFiles)>,
    limits: Limits,
}

impl Scanner {
    fn new(args: &ScanArgs) -> Result<Scanner, Failure> {
        let config = match &args.config {
            Some(path) => Some(Config::load(path).map_err(|fatal| fail(exit::CONFIG, fatal))?.config),
            None => None,
        };
        let configured = || config.as_ref().map_or_else(system_zone, |config| config.timezone);
        let zone = args.timezone.unwrap_or_else(configured);
        let limits = config.as_ref().map(|config| config.limits.clone()).unwrap_or_default();
        let trusted_proxies = match &config {
            Some(config) => TrustedProxies::with_loopback(&config.trusted_proxies),
            None => TrustedProxies::private(),
        };
        let own_filters = config.map(|config| config.filters);
        let context =
            Context { timezone: zone, year: args.year, trusted_proxies, sessions_max: limits.sessions_max };
        if let Some(dir) = &args.fail2ban_dir {
            let programs = fail2ban::programs(dir, &args.filters, zone)?;
            let set = Sets::new(Vec::new(), programs, context.clone());
            return Ok(Scanner { set, context, plain: Vec::new(), limits });
        }
        let (mut plain, mut filters, mut programs) = (Vec::new(), Vec::new(), Vec::new());
        for spec in specs(&args.filters, own_filters.as_ref())? {
            let files = files(&spec.name, own_filters.as_ref())?;
            if dialect::is_meant(&files.base) {
                let made = dialect::load(&spec, &files.sources(), zone, SystemClock::new().now());
                programs
                    .push((spec.name.clone(), Arc::new(made.map_err(|error| fail(exit::CONFIG, error))?)));
            } else {
                filters.push(load(&spec, &files)?);
                plain.push((spec, files));
            }
        }
        let set = Sets::new(filters, programs, context.clone());
        Ok(Scanner { set, context, plain, limits })
    }

    /// The chosen filters in all their modes: a line that another mode reads is nothing new.
    fn known(&self) -> Result<FilterSet, Failure> {
        let mut known = self.set.native().filters().to_vec();
        for (spec, files) in &self.plain {
            for mode in files.modes().into_iter().filter(|mode| mode != spec.mode()) {
                let options = vec![("mode".to_owned(), mode)];
                known.push(load(&FilterSpec { options, ..FilterSpec::normal(&spec.name) }, files)?);
            }
        }
        Ok(FilterSet::new(known, self.context.clone()))
    }

    /// Reads all logs. One that cannot be read is named on stderr, and the others are read.
    fn read(
        &self,
        logs: &[PathBuf],
        now: Timestamp,
        output: &mut impl Output,
        progress: &mut Progress,
    ) -> Result<Totals, Failure> {
        let mut totals = Totals::default();
        for path in logs {
            totals.logs += 1;
            let mut log = match OfflineLog::open(path, &self.limits) {
                Ok(log) => log,
                Err(error) => {
                    progress.say(&format!("banctl: {}", text::escape(error.to_string().as_bytes())));
                    totals.unreadable += 1;
                    continue;
                }
            };
            output.begin(name_of(path));
            self.read_log(&mut log, now, output, progress, &mut totals)?;
            totals.cut += log.lines_cut();
            progress.log_done(log.progress().0);
        }
        progress.end();
        Ok(totals)
    }

    fn read_log(
        &self,
        log: &mut OfflineLog,
        now: Timestamp,
        output: &mut impl Output,
        progress: &mut Progress,
        totals: &mut Totals,
    ) -> Result<(), Failure> {
        let mut state = self.set.begin();
        let mut first_line = 1;
        loop {
            let block = match log.next_block() {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(()),
                Err(error) => {
                    progress.say(&format!("banctl: {}", text::escape(error.to_string().as_bytes())));
                    totals.unreadable += 1;
                    return Ok(());
                }
            };
            let mut told = Told::default();
            let counts = self.set.scan(&mut state, now, block, &mut |attempt| {
                let again = told.again(&attempt);
                output.attempt(first_line + attempt.line_index as u64, &attempt, again);
            });
            self.span(block, now, totals);
            totals.bytes += block.len() as u64;
            totals.lines += counts.lines;
            output.block(first_line, block).map_err(|error| lost(&error))?;
            first_line += counts.lines;
            progress.tick(log.progress().0);
        }
    }

    /// Dates of a block: of its first line and its last, which is near enough for the span of a log.
    fn span(&self, block: &[u8], now: Timestamp, totals: &mut Totals) {
        let text = block.strip_suffix(b"\n").unwrap_or(block);
        let first = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
        let last = &text[memchr::memrchr(b'\n', text).map_or(0, |at| at + 1)..];
        for line in [first, last] {
            if let Some(time) = self.set.native().time_of(line, now) {
                totals.times.add(time);
            }
        }
    }
}

/// What was told of the line in hand: where several filters read the same line, an attempt counts once.
#[derive(Default)]
struct Told {
    line: usize,
    seen: SmallVec<[(Option<Host>, Outcome); 4]>,
}

impl Told {
    fn again(&mut self, attempt: &Attempt<'_>) -> bool {
        if attempt.line_index != self.line {
            self.line = attempt.line_index;
            self.seen.clear();
        }
        let what = (attempt.host, attempt.outcome);
        if self.seen.contains(&what) {
            return true;
        }
        self.seen.push(what);
        false
    }
}

/// A log's name as it was given.
fn name_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// What `--filters` names.
fn specs(names: &str, library: Option<&FilterLibrary>) -> Result<Vec<FilterSpec>, Failure> {
    if names.trim() == "all" {
        return Ok(all(library).iter().map(|name| FilterSpec::normal(name)).collect());
    }
    let specs: Vec<FilterSpec> = split(names)
        .into_iter()
        .map(|name| name.parse().map_err(|error| fail(exit::USAGE, error)))
        .collect::<Result<_, _>>()?;
    if specs.is_empty() {
        return Err(fail(exit::USAGE, "--filters names none; examples: all, postfix-sasl,dovecot"));
    }
    Ok(specs)
}

/// The names of all filters.
fn all(library: Option<&FilterLibrary>) -> Vec<String> {
    match library {
        Some(library) => library.names(),
        None => shipped::FILTERS.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// Splits at commas outside of brackets.
pub(super) fn split(names: &str) -> Vec<&str> {
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

/// A filter's files: those of `--config`, or without it the built-in one.
fn files(name: &str, library: Option<&FilterLibrary>) -> Result<FilterFiles, Failure> {
    let found = match library {
        Some(library) => library.find(name).map_err(|error| fail(exit::CONFIG, error))?,
        None => FilterFiles::built_in(name),
    };
    found.ok_or_else(|| {
        let names = all(library);
        let help = match text::suggest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("there are: {}", names.join(", ")),
        };
        fail(exit::USAGE, format!("there is no filter {name:?}; {help}"))
    })
}

fn load(spec: &FilterSpec, files: &FilterFiles) -> Result<Arc<Filter>, Failure> {
    let known = files.modes().iter().any(|mode| mode == spec.mode());
    let code = if known { exit::CONFIG } else { exit::USAGE };
    files.load(spec).map(Arc::new).map_err(|error| fail(code, error))
}
