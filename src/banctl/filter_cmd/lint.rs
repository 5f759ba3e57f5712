//! `banctl filter lint`.

use std::io::Write;
use std::path::Path;

use super::{LintArgs, config, files, spec, usage};
use crate::banctl::failure::{Failure, lost};
use crate::banctl::table::{Look, Tone};
use crate::config::FilterLibrary;
use crate::config::report::SourceText;
use crate::exit;
use crate::fail2ban::dialect;
use crate::filter::FilterSpec;
use crate::filter::lint::{self, FAKE_ADDRESS, Finding, TRUE_ADDRESS, conf, pasted};
use crate::text::{escape, io_reason};
use crate::time::{Clock, SystemClock};

pub fn run(
    args: &LintArgs,
    library: &FilterLibrary,
    json: bool,
    look: Look,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut found = Vec::new();
    let mut looked = args.pattern.len();
    for pattern in &args.pattern {
        found.extend(pasted::pattern(pattern, "failregex", ""));
    }
    let mut targets = args.targets.clone();
    if targets.is_empty() && args.pattern.is_empty() {
        targets = library.names();
    }
    for target in &targets {
        looked += 1;
        let path = Path::new(target);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("conf" | "local") => found.extend(fail2ban(path)?),
            Some("toml") => {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("filter");
                let source = SourceText::new(target, read(path)?);
                found.extend(findings(stem, &[source])?);
            }
            _ if target.contains('/') => {
                return Err(usage(format!("{target} is neither a filter's name nor a .toml or .conf file")));
            }
            _ => {
                let spec = spec(target)?;
                let files = files(library, &spec.name)?;
                found.extend(findings(&spec.name, &files.sources())?);
            }
        }
    }
    for finding in &found {
        let shown = if json { writeln!(out, "{}", object(finding)) } else { show(finding, look, out) };
        shown.map_err(|error| lost(&error))?;
    }
    if !json && found.is_empty() {
        let what = if looked == 1 { "it" } else { "them" };
        writeln!(out, "{looked} looked into; nothing fools {what}").map_err(|error| lost(&error))?;
    }
    Ok(if found.is_empty() { exit::OK } else { exit::NO })
}

/// The findings of a filter of portero, in either dialect.
fn findings(name: &str, sources: &[SourceText]) -> Result<Vec<Finding>, Failure> {
    if !sources.first().is_some_and(dialect::is_meant) {
        return lint::sources(name, sources).map_err(config);
    }
    let now = SystemClock::new().now();
    let program =
        dialect::load(&FilterSpec::normal(name), sources, chrono_tz::Tz::UTC, now).map_err(config)?;
    let label = sources[0].label();
    let patterns = program.rules().failregex.iter();
    Ok(patterns.flat_map(|pattern| pasted::pattern(pattern, "failregex", label)).collect())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| (exit::NO, Some(format!("{}: {}", path.display(), io_reason(&error)))))
}

/// The findings of a fail2ban filter file.
fn fail2ban(path: &Path) -> Result<Vec<Finding>, Failure> {
    let text = read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let others: Vec<String> =
        conf::includes(&text).iter().filter_map(|name| read(&folder.join(name)).ok()).collect();
    let mut found = Vec::new();
    for line in conf::patterns(&text, &others) {
        let place = format!("{}:{}", path.display(), line.at);
        found.extend(pasted::pattern(&line.pattern, "failregex", &place));
    }
    Ok(found)
}

fn object(finding: &Finding) -> serde_json::Value {
    let mut object = serde_json::json!({
        "fault": finding.fault,
        "message": finding.fault.text(),
        "help": finding.fault.help(),
        "key": finding.key,
        "place": finding.place,
        "pattern": finding.pattern,
        "detail": finding.detail,
    });
    if let Some(example) = &finding.example {
        object["example"] = String::from_utf8_lossy(example).into();
        object["true"] = TRUE_ADDRESS.into();
        object["taken"] = FAKE_ADDRESS.into();
    }
    object
}

fn show(finding: &Finding, look: Look, out: &mut dyn Write) -> std::io::Result<()> {
    let place = if finding.place.is_empty() { String::new() } else { format!("{}: ", finding.place) };
    let detail = finding.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
    writeln!(out, "{place}{}{detail}", look.paint(Tone::Bad, finding.fault.text()))?;
    writeln!(out, "  {} = {}", finding.key, look.paint(Tone::Dim, &escape(finding.pattern.as_bytes())))?;
    if let Some(example) = &finding.example {
        let example = escape(example)
            .replace(TRUE_ADDRESS, &look.paint(Tone::Good, TRUE_ADDRESS))
            .replace(FAKE_ADDRESS, &look.paint(Tone::Bad, FAKE_ADDRESS));
        writeln!(out, "  {example}")?;
        writeln!(out, "  is from {TRUE_ADDRESS}; the pattern takes {FAKE_ADDRESS}")?;
    }
    if !finding.fault.help().is_empty() {
        writeln!(out, "  {}", finding.fault.help())?;
    }
    writeln!(out)
}
