//! `banctl filter test --fail2ban-dir`: a log through one filter, one JSON object for each line.

use std::io::{self, BufRead, Write};
use std::path::Path;

use chrono_tz::Tz;
use serde_json::{Map, json};

use super::{FailureId, Hit, Matcher, MatcherError, Outcome, Pace, Rules, Value};
use crate::config::report::ReportedError;
use crate::fail2ban::definition::Definition;
use crate::fail2ban::files::Files;
use crate::fail2ban::interpolate::Vars;
use crate::fail2ban::options::extract;
use crate::time::Timestamp;

/// The options that [`Rules`] takes.
const OPTIONS: &[&str] =
    &["prefregex", "failregex", "ignoreregex", "maxlines", "datepattern", "usedns", "logtimezone"];

/// Why a test run stopped.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The specification, or what the files say.
    #[error("filter {spec}: {why}")]
    Unreadable { spec: String, why: String },
    #[error(transparent)]
    Config(#[from] ReportedError),
    #[error(transparent)]
    Filter(#[from] MatcherError),
    #[error("cannot read the log or write the answer: {0}")]
    Io(#[from] io::Error),
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub lines: u64,
    pub failures: u64,
    /// Lines on which a search was given up.
    pub overruns: u64,
}

/// Reads the filter that `spec` names (`sshd`, `postfix[mode=auth]`) from fail2ban's folder `dir`.
///
/// # Errors
/// The specification does not parse, there is no such filter, or fail2ban would not load it.
pub fn rules(dir: &Path, spec: &str) -> Result<Rules, TestError> {
    let unreadable = |why: String| TestError::Unreadable { spec: spec.to_owned(), why };
    let (name, arguments) = extract(spec).map_err(unreadable)?;
    let config = Files::new(dir).read(&format!("filter.d/{name}"))?;
    let config = config.ok_or_else(|| unreadable(format!("there is no filter.d/{name}.conf or .local")))?;
    let mut definition = Definition::new(config, &arguments);
    definition.resolve(&Vars::new(), OPTIONS, true).map_err(unreadable)?;
    Ok(Rules::from_options(&definition.combined(&[]).map_err(unreadable)?))
}

/// Feeds every line of `log` to one instance of the filter and writes what came of each to `out`.
///
/// `now` stands still. Host names are reported as they stand. `journal`: the lines are journal entries, and
/// their time is `now`.
///
/// # Errors
/// The filter does not compile, or reading or writing failed.
pub fn run(
    rules: &Rules,
    log: &mut dyn BufRead,
    zone: Tz,
    now: Timestamp,
    journal: bool,
    out: &mut dyn Write,
) -> Result<Summary, TestError> {
    let mut matcher = Matcher::new(rules, zone, now)?.with_raw_names();
    let pace = if journal { Pace::Journal } else { Pace::Recorded };
    let mut summary = Summary::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        summary.lines += 1;
        let outcome = matcher.line(now, &line, pace);
        let mut answer = Map::new();
        answer.insert("line".to_owned(), summary.lines.into());
        match &outcome {
            Outcome::Failure(hit) => {
                summary.failures += 1;
                answer.append(&mut failure(hit));
            }
            outcome => {
                answer.insert("match".to_owned(), false.into());
                answer.insert("ignored".to_owned(), matches!(outcome, Outcome::Ignored).into());
                if matches!(outcome, Outcome::Overrun) {
                    answer.insert("overrun".to_owned(), true.into());
                }
            }
        }
        serde_json::to_writer(&mut *out, &answer).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    summary.overruns = matcher.overruns();
    Ok(summary)
}

fn failure(hit: &Hit) -> Map<String, serde_json::Value> {
    let value = |value: &Value| match value {
        Value::Text(text) => json!(text),
        Value::Tuple(parts) => json!(parts),
    };
    let host = match &hit.id {
        FailureId::Net(net) => match net.as_host() {
            Some(host) => json!(host.to_string()),
            None => json!(net.to_string()),
        },
        FailureId::Name(text) | FailureId::Text(text) => json!(text),
        FailureId::Tuple(parts) => json!(parts),
    };
    let fields: Map<_, _> = hit.groups.iter().map(|(name, held)| (name.to_owned(), value(held))).collect();
    let mut answer = Map::new();
    answer.insert("match".to_owned(), true.into());
    answer.insert("host".to_owned(), host);
    answer.insert("time".to_owned(), hit.time.map_or(json!(null), Timestamp::to_json));
    answer.insert("user".to_owned(), hit.groups.get("user").map_or(json!(null), value));
    answer.insert("fields".to_owned(), fields.into());
    answer.insert("attempts".to_owned(), hit.lines.len().into());
    answer.insert("regex".to_owned(), hit.regex.into());
    answer
}
