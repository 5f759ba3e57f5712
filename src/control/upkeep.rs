//! Bodies about the daemon itself: its configuration read anew, whether it is well, its end.

use serde::{Deserialize, Serialize};

/// `reload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// False if anything is wrong with the configuration.
    pub ok: bool,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
    pub unchanged: Vec<String>,
    pub problems: Vec<ProblemInfo>,
}

/// Something wrong in the configuration, of `reload` and `check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProblemInfo {
    /// `None`: not of one jail.
    pub jail: Option<String>,
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    pub message: String,
    /// The whole report: place, message, source line, caret.
    pub text: String,
}

/// `ping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// Every present log is open and the firewall is in step.
    pub ok: bool,
    pub version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// `--flush`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flushed {
    pub ok: bool,
    /// Bans ended.
    pub ended: u64,
}

/// `stop`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    pub ok: bool,
}
