//! `banctl filter test --fail2ban-dir`: a log through one filter, line by line.

use std::io::{self, BufRead};
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

/// Takes a line's number, the line and what came of it.
pub type Tell<'a> = dyn FnMut(u64, &[u8], &Outcome) -> io::Result<()> + 'a;

/// Feeds every line of `log` to one instance of the filter and tells what came of each, with its number, from 1.
///
/// `now` stands still. Host names are reported as they stand. `journal`: the lines are journal entries, and
/// their time is `now`.
///
/// # Errors
/// The filter does not compile, or reading or telling failed.
pub fn run(
    rules: &Rules,
    log: &mut dyn BufRead,
    zone: Tz,
    now: Timestamp,
    journal: bool,
    tell: &mut Tell<'_>,
) -> Result<(), TestError> {
    let mut matcher = Matcher::new(rules, zone, now)?.with_raw_names();
    let pace = if journal { Pace::Journal } else { Pace::Recorded };
    let mut line = Vec::new();
    let mut number = 0;
    while log.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let outcome = matcher.line(now, &line, pace);
        tell(number, &line, &outcome)?;
        line.clear();
    }
    Ok(())
}

/// The line's object; the contract stands at the head of the shared conformance runner.
pub fn object(number: u64, outcome: &Outcome) -> Map<String, serde_json::Value> {
    let mut answer = Map::new();
    answer.insert("line".to_owned(), number.into());
    match outcome {
        Outcome::Failure(hit) => answer.append(&mut failure(hit)),
        outcome => {
            answer.insert("match".to_owned(), false.into());
            answer.insert("ignored".to_owned(), matches!(outcome, Outcome::Ignored).into());
            if matches!(outcome, Outcome::Overrun) {
                answer.insert("overrun".to_owned(), true.into());
            }
        }
    }
    answer
}

fn failure(hit: &Hit) -> Map<String, serde_json::Value> {
    let value = |value: &Value| match value {
        Value::Text(text) => json!(text),
        Value::Tuple(parts) => json!(parts),
    };
    let host = match &hit.id {
        FailureId::Tuple(parts) => json!(parts),
        id => json!(id.to_string()),
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
