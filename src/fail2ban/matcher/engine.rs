//! The two engines that run a regex of fail2ban's as it is written: the linear one, and for what looks around or refers back
//! the backtracking one.

use regex_syntax::hir::Hir;

use super::linear::{Linear, REGEX_BYTES_MAX};
use super::python::SyntaxError;

/// Steps a backtracking search may take before it is given up. About 50 ms.
pub const BACKTRACK_STEPS_MAX: usize = 1_000_000;

/// Why a regex cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("is empty")]
    Empty,
    #[error("has {0}")]
    Syntax(SyntaxError),
    #[error("does not compile: {0}")]
    Compile(String),
    #[error(
        "names no failure: one of <HOST>, <ADDR>, <IP4>, <IP6>, <DNS>, <F-ID> or <F-MLFID> must stand in it or in prefregex"
    )]
    NoFailureId,
}

/// The search needed more than [`BACKTRACK_STEPS_MAX`] steps; whether the line matches is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun;

#[derive(Debug)]
pub(super) enum Engine {
    Linear(Linear),
    Backtracking(Box<fancy_regex::Regex>),
}

impl Engine {
    pub(super) fn linear(text: &str) -> Result<Engine, PatternError> {
        Engine::with_tree(text).map(|(engine, _)| engine)
    }

    pub(super) fn with_tree(text: &str) -> Result<(Engine, Hir), PatternError> {
        let made = Linear::new(text).map_err(|error| PatternError::Compile(error.to_string()))?;
        Ok((Engine::Linear(made.0), made.1))
    }

    pub(super) fn backtracking(text: &str) -> Result<Engine, PatternError> {
        let built = fancy_regex::RegexBuilder::new(text)
            .backtrack_limit(BACKTRACK_STEPS_MAX)
            .delegate_size_limit(REGEX_BYTES_MAX)
            .build();
        built
            .map(|regex| Engine::Backtracking(Box::new(regex)))
            .map_err(|error| PatternError::Compile(error.to_string()))
    }

    pub(super) fn names(&self) -> Vec<(String, usize)> {
        let number = |(number, name): (usize, Option<&str>)| Some((name?.to_owned(), number));
        match self {
            Engine::Linear(linear) => linear.names().to_vec(),
            Engine::Backtracking(regex) => regex.capture_names().enumerate().filter_map(number).collect(),
        }
    }

    /// Where each group of the leftmost match from byte `start` on lies; what stands before is still seen by `^` and `\b`.
    pub(super) fn spans(&self, text: &str, start: usize) -> Result<Option<Spans>, Overrun> {
        let span = |start: usize, end: usize| (start, end);
        match self {
            Engine::Linear(linear) => {
                let found = linear.regex().ok_or(Overrun)?.captures_at(text, start);
                Ok(found.map(|found| {
                    found.iter().map(|group| group.map(|group| span(group.start(), group.end()))).collect()
                }))
            }
            Engine::Backtracking(regex) => match regex.captures_from_pos(text, start) {
                Ok(found) => Ok(found.map(|found| {
                    found.iter().map(|group| group.map(|group| span(group.start(), group.end()))).collect()
                })),
                Err(_) => Err(Overrun),
            },
        }
    }
}

/// Start and end of each group, by number.
pub(super) type Spans = Vec<Option<(usize, usize)>>;
