//! Filters: `(&mut FilterState, now, Block) -> Attempts`. Pure: no I/O, no clock, no logging.
//!
//! Matching is staged: [`prefilter`] finds the few patterns that may match a line, only those are matched
//! ([`pattern`]), and only a match gets its date placed in time ([`timestamp`]).

pub mod compile;
pub mod explain;
pub mod frame;
pub mod lint;
pub mod literal;
pub mod load;
pub mod pattern;
pub mod peer;
pub mod prefilter;
pub mod program;
pub mod samples;
pub mod session;
pub mod set;
pub mod timestamp;
mod tree;
pub(crate) mod word;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::addr::Host;
use crate::config::report::{ReportedError, SourceText};
use crate::time::Timestamp;

pub use frame::{FrameKind, IdentGlob};
pub use pattern::{Kind, Pattern};
pub use session::FilterState;
pub use set::{Context, Counts, FilterSet};

/// What a line says of a login attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Failure,
    Success,
}

/// One login attempt, found in one line. Borrows from the block and from the sessions of the log.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    pub outcome: Outcome,
    /// The peer that tried: the original address where a trusted proxy stands between. `None` where neither
    /// the line nor its session names one; such an attempt bans nobody.
    pub host: Option<Host>,
    /// The account tried, as the line spells it. Bytes: a client chose them.
    pub user: Option<&'a [u8]>,
    /// A hash of the password tried, as the line spells it (`auth_verbose_passwords`). Never stored as it is.
    pub pwhash: Option<&'a [u8]>,
    /// The line's own time; `None` where it has no date.
    pub time: Option<Timestamp>,
    /// How often it happened: 1, or N of `message repeated N times`. 0: an earlier line of the same attempt was
    /// counted; this one only tells more of it.
    pub times: u32,
    /// The whole line, without its line end.
    pub line: &'a [u8],
    /// Line in the block, from 0.
    pub line_index: usize,
    /// Index of the filter in the [`FilterSet`](crate::filter) that found it.
    pub filter: usize,
    /// Index of the pattern in its filter, failregexes first.
    pub pattern: usize,
    /// What a filter of fail2ban finds beside that.
    pub beside: Beside<'a>,
}

/// What only a filter of fail2ban finds; empty for a native one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The log named a network: counted and banned is the one of this length around `host`.
    pub prefix: Option<u8>,
    /// A host name where the address should be, and that is to be asked for it; `host` is `None` then.
    pub name: Option<&'a str>,
    /// Named groups that held a text.
    pub fields: &'a [(&'a str, &'a str)],
    /// The lines that make the failure, oldest first.
    pub lines: &'a [&'a str],
}

/// A filter in one mode: how its lines are built, and the patterns for their messages.
#[derive(Debug)]
pub struct Filter {
    pub name: String,
    pub mode: String,
    /// Stable key of the name in [`FilterState`].
    key: u64,
    pub description: String,
    /// Tried in this order; the first that fits a line, and whose program name fits, is used.
    pub frames: Vec<FrameKind>,
    /// Program names whose lines are read; empty: all.
    pub ident: Vec<IdentGlob>,
    /// Attempts count only where the line's own peer is a trusted proxy.
    pub trusted_only: bool,
    /// Some pattern tells whether a failure of its session was counted already, so it is to be remembered.
    joins: bool,
    /// The admin takes the blame for patterns that a client can fool.
    pub allow_unsafe: bool,
    /// Fail, success, note, forget, ignore, in this order.
    pub patterns: Vec<Pattern>,
}

impl Filter {
    /// Reads a filter from its file and overlays on it.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn load(spec: &FilterSpec, sources: &[SourceText]) -> Result<Filter, ReportedError> {
        load::load(spec, sources)
    }

    /// Reads a filter in its normal mode from one text.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn from_toml(name: &str, text: &str, label: &str) -> Result<Filter, ReportedError> {
        load::load(&FilterSpec::normal(name), &[SourceText::new(label, text)])
    }

    /// A filter that is built into the binary.
    ///
    /// # Errors
    /// There is none of this name, or it has no such mode.
    pub fn shipped(spec: &FilterSpec) -> Result<Filter, ReportedError> {
        let label = format!("built-in:filters/{}.toml", spec.name);
        match crate::shipped::text_of(crate::shipped::FILTERS, &spec.name) {
            Some(text) => load::load(spec, &[SourceText::new(label, text)]),
            None => {
                let names = crate::shipped::FILTERS.iter().map(|(name, _)| *name);
                let near = crate::text::suggest(&spec.name, names);
                let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                Err(ReportedError::of_file(label, format!("there is no filter {:?}{near}", spec.name)))
            }
        }
    }
}

/// What a jail's `filter =` names: `sshd`, `sshd[mode=aggressive]`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct FilterSpec {
    pub name: String,
    /// Options in brackets, in order. Native filters know `mode` only.
    pub options: Vec<(String, String)>,
}

impl FilterSpec {
    pub fn normal(name: &str) -> FilterSpec {
        FilterSpec { name: name.to_owned(), options: Vec::new() }
    }

    /// `normal` where none is given.
    pub fn mode(&self) -> &str {
        let mode = self.options.iter().rev().find(|(key, _)| key == "mode");
        mode.map_or(load::NORMAL, |(_, value)| value)
    }
}

/// A text that is no filter's name with options.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} names no filter; examples: sshd, sshd[mode=aggressive]")]
pub struct FilterSpecError(pub String);

impl FromStr for FilterSpec {
    type Err = FilterSpecError;

    fn from_str(text: &str) -> Result<FilterSpec, FilterSpecError> {
        let wrong = || FilterSpecError(text.to_owned());
        let trimmed = text.trim();
        let (name, options) = match trimmed.split_once('[') {
            Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(']').ok_or_else(wrong)?)),
            None => (trimmed, None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(valid) {
            return Err(wrong());
        }
        let mut spec = FilterSpec::normal(name);
        let mut rest = options.unwrap_or("").trim();
        while !rest.is_empty() {
            let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
            let value = value.trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (value, after) = match quote {
                Some(quote) => {
                    let (inside, after) = value[1..].split_once(quote).ok_or_else(wrong)?;
                    let after = after.trim_start();
                    if !(after.is_empty() || after.starts_with(',')) {
                        return Err(wrong());
                    }
                    (inside, after.trim_start_matches(','))
                }
                None => {
                    value.split_once(',').map_or((value.trim(), ""), |(value, after)| (value.trim(), after))
                }
            };
            if key.trim().is_empty() {
                return Err(wrong());
            }
            spec.options.push((key.trim().to_owned(), value.to_owned()));
            rest = after.trim();
        }
        Ok(spec)
    }
}

impl fmt::Display for FilterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.options.is_empty() {
            let options: Vec<String> =
                self.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(f, "[{}]", options.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_specs_read_and_print() {
        for text in ["sshd", "sshd[mode=aggressive]", "x[a=b, c=d e]"] {
            assert_eq!(text.parse::<FilterSpec>().unwrap().to_string(), text);
        }
        let quoted: FilterSpec = "x[mode=\"a,b\", y='z']".parse().unwrap();
        assert_eq!((quoted.mode(), quoted.options[1].1.as_str()), ("a,b", "z"));
        for text in ["", "[mode=x]", "a b", "x[mode", "x[mode]", "../etc/passwd", "x[=y]"] {
            assert!(text.parse::<FilterSpec>().is_err(), "{text}");
        }
    }
}
