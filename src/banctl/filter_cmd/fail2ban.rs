//! `banctl filter test` of a filter of fail2ban's, run with fail2ban's own meaning.

use std::io::{self, BufReader, Write};

use chrono_tz::Tz;

use super::{TestArgs, without_end};
use crate::banctl::failure::{Failure, fail, lost};
use crate::banctl::table::{Look, Tone, clock};
use crate::exit;
use crate::fail2ban::matcher::test::{TestError, object, run as run_rules};
use crate::fail2ban::matcher::{Hit, Outcome, Rules, Value};
use crate::source::offline::unpacked;
use crate::text::escape;
use crate::time::Timestamp;

/// Runs the log through the filter. `look`: for people; `None`: one JSON object for each line.
pub fn run(
    args: &TestArgs,
    rules: &Rules,
    timezone: Tz,
    now: Timestamp,
    look: Option<Look>,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut log = BufReader::new(unpacked(&args.log).map_err(|why| fail(exit::NO, why))?);
    let mut report = look.map(|look| Report {
        rules,
        look,
        timezone,
        hits: vec![0; rules.failregex.len()],
        ignored: 0,
        lines: 0,
    });
    let done =
        run_rules(
            rules,
            &mut log,
            timezone,
            now,
            args.journal,
            &mut |number, line, outcome| match &mut report {
                Some(report) => report.line(out, number, line, outcome),
                None => writeln!(out, "{}", serde_json::Value::Object(object(number, outcome))),
            },
        );
    match done.and_then(|()| report.map_or(Ok(()), |report| report.summary(out).map_err(TestError::Io))) {
        Ok(()) => Ok(exit::OK),
        Err(TestError::Io(why)) => Err(lost(&why)),
        Err(why) => Err((exit::CONFIG, Some(why.to_string()))),
    }
}

/// What people are shown.
struct Report<'a> {
    rules: &'a Rules,
    look: Look,
    timezone: Tz,
    /// Failures that each failregex found.
    hits: Vec<u64>,
    ignored: u64,
    lines: u64,
}

impl Report<'_> {
    fn line(&mut self, out: &mut dyn Write, number: u64, line: &[u8], outcome: &Outcome) -> io::Result<()> {
        self.lines = number;
        let verdict = match outcome {
            Outcome::Failure(hit) => {
                let times =
                    if hit.lines.len() > 1 { format!(" x{}", hit.lines.len()) } else { String::new() };
                format!(
                    "{}{times} {}",
                    self.look.paint(Tone::Bad, "failure"),
                    escape(hit.id.to_string().as_bytes())
                )
            }
            Outcome::NoFailure => self.look.paint(Tone::Dim, "remembered, or no failure by itself"),
            Outcome::Ignored => self.look.paint(Tone::Warn, "ignored by an ignoreregex"),
            Outcome::NoMatch => self.look.paint(Tone::Dim, "no match"),
            Outcome::Overrun => {
                self.look.paint(Tone::Bad, "given up: too many steps; who wrote it may go unnoticed")
            }
        };
        writeln!(out, "{number}: {verdict}")?;
        let line = escape(without_end(line));
        match outcome {
            Outcome::Failure(hit) => {
                writeln!(out, "  {line}")?;
                self.hit(out, hit)
            }
            outcome => {
                self.ignored += u64::from(matches!(outcome, Outcome::Ignored));
                writeln!(out, "  {}", self.look.paint(Tone::Dim, &line))
            }
        }
    }

    fn hit(&mut self, out: &mut dyn Write, hit: &Hit) -> io::Result<()> {
        self.hits[hit.regex] += 1;
        writeln!(out, "  by failregex {}: {}", hit.regex + 1, self.text(hit.regex))?;
        let time = hit.time.map_or("none in the line".to_owned(), |time| clock(self.timezone, time));
        writeln!(out, "     time = {time}")?;
        for (name, value) in hit.groups.iter() {
            let value = match value {
                Value::Text(text) => escape(text.as_bytes()),
                Value::Tuple(parts) => {
                    let parts: Vec<_> = parts.iter().flatten().map(|part| escape(part.as_bytes())).collect();
                    parts.join(" ")
                }
            };
            let tone = if matches!(name, "ip4" | "ip6" | "dns" | "fid") { Tone::Bad } else { Tone::Good };
            writeln!(out, "     {name} = {}", self.look.paint(tone, &value))?;
        }
        Ok(())
    }

    fn text(&self, regex: usize) -> String {
        self.look.paint(Tone::Dim, &escape(self.rules.failregex[regex].as_bytes()))
    }

    fn summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let failures: u64 = self.hits.iter().sum();
        writeln!(out, "\nlines: {}, failures: {failures}, ignored: {}", self.lines, self.ignored)?;
        for (regex, hits) in self.hits.iter().enumerate() {
            writeln!(out, "{hits:>8} failregex {}: {}", regex + 1, self.text(regex))?;
        }
        Ok(())
    }
}
