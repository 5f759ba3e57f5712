//! What an import has to say beside its result.

use serde::Serialize;

use super::ini::At;
use crate::config::report::ReportedError;

/// How much a note weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// fail2ban drops this jail, and so does the import.
    Refused,
    /// Written there, not done here.
    Loss,
    /// Done here, but not to the letter.
    Approximation,
    /// fail2ban takes it as it is; it is hardly what was meant.
    Hint,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Refused => "refused",
            Kind::Loss => "loss",
            Kind::Approximation => "approximation",
            Kind::Hint => "hint",
        }
    }
}

/// One thing that was lost, approximated or looks wrong.
#[derive(Debug, Clone)]
pub struct Note {
    pub kind: Kind,
    /// `None`: the configuration as a whole.
    pub jail: Option<String>,
    /// Where and what.
    pub error: ReportedError,
}

impl Note {
    /// A note about `jail` at a place, or about the file `otherwise` where no place is known.
    pub fn new(kind: Kind, jail: &str, at: Option<&At>, otherwise: &str, text: impl Into<String>) -> Note {
        let error = match at {
            Some(at) => at.error(text),
            None => ReportedError::of_file(otherwise, text),
        };
        Note { kind, jail: Some(jail.to_owned()), error }
    }

    /// In one line: `jail sshd: loss: jail.local:7:1: ...`.
    pub fn line(&self) -> String {
        let place = match &self.error.place {
            Some(place) => format!("{}:{}:{}", self.error.file, place.line, place.column),
            None => self.error.file.clone(),
        };
        let jail = self.jail.as_ref().map(|jail| format!("jail {jail}: ")).unwrap_or_default();
        format!("{jail}{}: {place}: {}", self.kind.name(), self.error.message)
    }
}
