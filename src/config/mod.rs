//! The configuration: files as typed ([`raw`]), resolved into what the stages take ([`Config`]).
//!
//! A bad portero.toml is [`Fatal`] (exit code 78). A bad jail is a [`Problem`]: it is named, and the others
//! guard on.

pub mod report;
pub mod value;

pub mod filters;
mod global;
mod jail;
pub mod ports;
mod raw;
mod zone;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use crate::addr::Net;
use crate::control::server::SocketSettings;
use crate::firewall::{JailRules, TableOwner};
use crate::jail::{IgnoreEntry, JailSettings};
use crate::limits::Limits;

pub use filters::{FilterFiles, FilterLibrary};
pub use global::socket_in;
pub use ports::show as show_ports;
pub use report::{ReportedError, SourceText};

/// Where portero.toml stands if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/portero/portero.toml";

/// Where the control socket is if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/portero/control.sock";

/// Where packages put the shipped jails and filters.
pub const SHIPPED_DIR: &str = "/usr/share/portero";

/// Everything that portero.toml and the jails say, checked and with all defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// portero.toml's path, for messages.
    pub file: String,
    pub state_dir: PathBuf,
    pub socket: SocketSettings,
    /// The backend's name, one of `firewall::backends()`.
    pub firewall: String,
    pub table_owner: TableOwner,
    pub limits: Limits,
    /// The global one; each jail may have its own beside it.
    pub ignoreip: Vec<IgnoreEntry>,
    pub trusted_proxies: Vec<Net>,
    /// The zone of log times without one, where a jail does not say otherwise: as set, else the system's.
    pub timezone: Tz,
    /// How long ended bans and the audit trail are kept.
    pub history: Duration,
    /// How long evidence lines are kept.
    pub evidence: Duration,
    /// All jails that are known and good, sorted by name; also those that are off.
    pub jails: Vec<JailConfig>,
    /// Where the jails' filters are found.
    pub filters: FilterLibrary,
}

impl Config {
    /// The jails that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = &JailConfig> {
        self.jails.iter().filter(|jail| jail.enabled)
    }

    pub fn jail(&self, name: &str) -> Option<&JailConfig> {
        self.jails.iter().find(|jail| jail.settings.name.as_str() == name)
    }
}

/// One jail: what each stage is told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct JailConfig {
    pub enabled: bool,
    /// For `banctl status`; empty if the file has none.
    pub description: String,
    pub settings: JailSettings,
    pub rules: JailRules,
    /// `postfix-sasl`, or `sshd[mode=aggressive]`.
    pub filter: String,
    /// Paths and globs, never empty.
    pub logpath: Vec<String>,
    pub backend: Backend,
    /// Of log times without a zone: the jail's, else the global one.
    pub timezone: Tz,
    /// The file that defines it.
    pub file: String,
    /// Built in or from [`SHIPPED_DIR`], not the admin's own.
    pub shipped: bool,
}

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Files where there are some.
    Auto,
    File,
}

/// What loading yields.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Bad jails, and jails that `enable` names and nobody knows.
    pub problems: Vec<Problem>,
}

/// One jail that does not guard, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub jail: String,
    pub error: ReportedError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// portero.toml is bad, or no jail is usable: exit code 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// What is wrong, in the order of the file; at least one.
    pub errors: Vec<ReportedError>,
}

impl std::error::Error for Fatal {}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl From<ReportedError> for Fatal {
    fn from(error: ReportedError) -> Fatal {
        Fatal { errors: vec![error] }
    }
}
