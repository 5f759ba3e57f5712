//! `fail2ban-regex`, the program: banctl under that name. A log, or one line, through patterns or a filter of
//! fail2ban's, and what each pattern found.
//!
//! Host names are reported as they stand; nothing is looked up.

mod report;
mod source;
mod tally;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Parser};

use self::report::Report;
use self::tally::Tally;
use super::client::VERSION;
use super::client::facade::FAILED;
use crate::time::{Clock, SystemClock, system_zone};

/// The longest line that is read whole. Bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Tests patterns and filters of fail2ban against a log or a line.
#[derive(Debug, Parser)]
#[command(
    name = "fail2ban-regex",
    disable_version_flag = true,
    after_help = "LOG is a file or a line. REGEX is a failregex, a filter with or without options \
                  (sshd[mode=aggressive]) or the path of one. IGNOREREGEX is an ignoreregex."
)]
pub struct Options {
    #[arg(value_name = "LOG", required_unless_present_any = ["version", "version_number"])]
    log: Option<String>,
    #[arg(value_name = "REGEX", required_unless_present_any = ["version", "version_number"], allow_hyphen_values = true)]
    regex: Option<String>,
    #[arg(value_name = "IGNOREREGEX", allow_hyphen_values = true)]
    ignoreregex: Option<String>,
    /// fail2ban's folder
    #[arg(short, long, value_name = "DIR", default_value = "/etc/fail2ban")]
    config: PathBuf,
    /// The pattern of dates
    #[arg(short, long, value_name = "PATTERN")]
    datepattern: Option<String>,
    /// The zone of dates without one
    #[arg(long, alias = "TZ", value_name = "ZONE")]
    timezone: Option<String>,
    /// The log's encoding
    #[arg(short, long, value_name = "NAME", default_value = "UTF-8")]
    encoding: String,
    /// Take host names as they are; they are never looked up in any case
    #[arg(short, long)]
    raw: bool,
    /// What `<HOST>` stands for: yes, warn, no, raw
    #[arg(long, value_name = "HOW")]
    usedns: Option<String>,
    /// Lines that one pattern may span
    #[arg(short = 'L', long, value_name = "N")]
    maxlines: Option<usize>,
    /// Not available: the journal is not read here
    #[arg(short = 'm', long, value_name = "MATCH")]
    journalmatch: Option<String>,
    /// Without effect
    #[arg(short = 'l', long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Show each address, and patterns without hits
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// The same as a number
    #[arg(long, value_name = "N")]
    verbosity: Option<u8>,
    /// Count only the first pattern that fits a line
    #[arg(long)]
    no_check_all: bool,
    /// Print only this of each failure: id, ip, user, msg, row, any field, or a text with `<tags>`
    #[arg(short, long, value_name = "WHAT")]
    out: Option<String>,
    #[arg(long, conflicts_with = "print_all_missed")]
    print_no_missed: bool,
    #[arg(long, conflicts_with = "print_all_ignored")]
    print_no_ignored: bool,
    #[arg(long)]
    print_all_matched: bool,
    #[arg(long)]
    print_all_missed: bool,
    #[arg(long)]
    print_all_ignored: bool,
    /// Print the version whose behaviour is followed, the number alone
    #[arg(short = 'V')]
    version_number: bool,
    /// Print the version whose behaviour is followed
    #[arg(long)]
    version: bool,
}

impl Options {
    fn verbosity(&self) -> u8 {
        self.verbosity.unwrap_or(self.verbose)
    }
}

/// The whole program. `args`: with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match run(&options, &mut out).and_then(|good| out.flush().map(|()| good)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        // Nobody reads on (`| head`): nothing to say.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("ERROR: {}", crate::text::io_reason(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// False: it failed, and that is printed.
fn run(options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let (Some(log), Some(regex)) = (&options.log, &options.regex) else {
        let name = if options.version { "fail2ban-regex " } else { "" };
        writeln!(out, "{name}{VERSION}")?;
        return Ok(true);
    };
    if log.starts_with("systemd-journal") || options.journalmatch.is_some() {
        writeln!(out, "ERROR: the journal is not read here; write it to a file: journalctl -o short > FILE")?;
        return Ok(false);
    }
    let quiet = options.out.is_some();
    if !quiet {
        writeln!(out, "\nRunning tests\n=============\n")?;
    }
    let source = match source::find(options, regex) {
        Ok(source) => source,
        Err(why) => {
            writeln!(out, "ERROR: {why}")?;
            return Ok(false);
        }
    };
    let now = SystemClock::new().now();
    let mut tally = match Tally::new(source.rules, system_zone(), now, !options.no_check_all && !quiet) {
        Ok(tally) => tally,
        Err(why) => {
            writeln!(out, "ERROR: {why}")?;
            return Ok(false);
        }
    };
    if !quiet {
        source.said.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    let mut report = Report::new(options);
    if Path::new(log).is_file() {
        if !quiet {
            writeln!(out, "Use         log file : {log}\nUse         encoding : {}\n", options.encoding)?;
        }
        let file = match std::fs::File::open(log) {
            Ok(file) => file,
            Err(why) => {
                writeln!(out, "ERROR: cannot open {log}: {}", crate::text::io_reason(&why))?;
                return Ok(false);
            }
        };
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if io::Read::take(&mut file, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            report.line(&mut tally, &line, out)?;
        }
    } else {
        let lines: Vec<&str> = log.split('\n').collect();
        if !quiet {
            match lines.as_slice() {
                [line] => writeln!(out, "Use      single line : {}\n", shortened(line))?,
                lines => {
                    writeln!(out, "Use      multi line : {} line(s)", lines.len())?;
                    for (index, line) in lines.iter().take(5).enumerate() {
                        writeln!(out, "| {:>2}: {}", index + 1, shortened(line))?;
                    }
                    writeln!(out, "{}`-\n", if lines.len() > 5 { "| ...\n" } else { "" })?;
                }
            }
        }
        for line in lines {
            report.line(&mut tally, line.as_bytes(), out)?;
        }
    }
    if !quiet {
        report.summary(&tally, out)?;
    }
    Ok(true)
}

/// The beginning of a long text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(53) {
        Some(_) => format!("{}...", text.chars().take(50).collect::<String>()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
