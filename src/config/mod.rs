//! The configuration: files as typed ([`raw`]), resolved into what the stages take ([`Config`]).
//!
//! A bad portero.toml is [`Fatal`] (exit code 78). A bad jail is a [`Problem`]: it is named, and the others
//! guard on.

pub mod report;
pub mod value;

pub mod action;
mod fail2ban;
pub mod filters;
mod global;
mod jail;
pub mod ports;
mod raw;
mod zone;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;

use crate::addr::Net;
use crate::control::protocol::ProblemInfo;
use crate::control::server::SocketSettings;
use crate::firewall::{JailRules, TableOwner};
use crate::jail::{IgnoreEntry, JailSettings};
use crate::limits::Limits;

pub use filters::{FilterFiles, FilterLibrary};
pub use global::{control_socket, default_file, fail2ban_socket};
pub use ports::show as show_ports;
pub use report::{ReportedError, SourceText};

/// Where portero.toml stands if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/portero/portero.toml";

/// Where the control socket is if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/portero/control.sock";

/// Where packages put the shipped jails and filters.
pub const SHIPPED_DIR: &str = "/usr/share/portero";

/// Where fail2ban's log is on most hosts.
const DEFAULT_FAIL2BAN_LOG: &str = "/var/log/fail2ban.log";

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// portero.toml, or the folder that holds it.
    pub config: PathBuf,
    /// fail2ban's folder, where its configuration is run.
    pub fail2ban_dir: Option<PathBuf>,
}

impl Setup {
    /// portero.toml alone.
    pub fn of(config: &Path) -> Setup {
        Setup { config: config.to_owned(), fail2ban_dir: None }
    }

    /// Loads portero.toml and, on top of it, fail2ban's jails. Beside the latter no portero.toml need be at its usual
    /// place.
    ///
    /// # Errors
    /// A bad portero.toml, or files with which fail2ban itself would not start.
    pub fn load(&self) -> Result<Loaded, Fatal> {
        let Some(folder) = &self.fail2ban_dir else { return Config::load(&self.config) };
        let optional = self.config == Path::new(DEFAULT_PATH) && !self.config.exists();
        let mut loaded =
            if optional { Config::without_file(&self.config)? } else { Config::load(&self.config)? };
        fail2ban::add(&mut loaded, folder)?;
        Ok(loaded)
    }

    /// What this is called in messages.
    pub fn name(&self) -> String {
        match &self.fail2ban_dir {
            Some(folder) => folder.display().to_string(),
            None => self.config.display().to_string(),
        }
    }
}

/// Everything that portero.toml and the jails say, checked and with all defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// portero.toml's path, for messages.
    pub file: String,
    pub state_dir: PathBuf,
    pub socket: SocketSettings,
    /// Where fail2ban's own clients are answered too, in their protocol.
    pub fail2ban_socket: Option<SocketSettings>,
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
    /// fail2ban.conf, where a fail2ban configuration is run.
    pub fail2ban: Option<Arc<crate::fail2ban::main_conf::Main>>,
    /// Whether lines in fail2ban's form are written, and where.
    pub fail2ban_log: Option<Fail2banLog>,
    /// Shadow mode, as the command line says: nothing is enforced, run or written but the own store.
    pub shadow: bool,
    /// In shadow mode: fail2ban's log, where fail2ban.conf does not name it.
    pub shadow_log: Option<PathBuf>,
}

/// Where lines in fail2ban's form go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail2banLog {
    /// The file that fail2ban.conf names as `logtarget`.
    Auto,
    File(PathBuf),
}

impl Config {
    /// The jails that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = &JailConfig> {
        self.jails.iter().filter(|jail| jail.enabled)
    }

    pub fn jail(&self, name: &str) -> Option<&JailConfig> {
        self.jails.iter().find(|jail| jail.settings.name.as_str() == name)
    }

    /// The log of the fail2ban that runs beside, in shadow mode: as set, as fail2ban.conf says, else its usual place.
    pub fn shadow_log_file(&self) -> Option<&Path> {
        let named = self.shadow_log.as_deref();
        let named = named.or_else(|| self.fail2ban.as_ref()?.log_file());
        self.shadow.then(|| named.unwrap_or(Path::new(DEFAULT_FAIL2BAN_LOG)))
    }

    /// The file for lines in fail2ban's form. Only where portero.toml asks for it: beside a fail2ban that runs,
    /// its own log is left to it. `None`: nowhere; with `auto` also where fail2ban.conf names no file.
    pub fn fail2ban_log_file(&self) -> Option<&Path> {
        // In shadow mode that is what is compared with.
        if self.shadow {
            return None;
        }
        match self.fail2ban_log.as_ref()? {
            Fail2banLog::Auto => self.fail2ban.as_ref()?.log_file(),
            Fail2banLog::File(path) => Some(path),
        }
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
    /// Paths and globs; empty only in a jail of fail2ban, or one that counts bans.
    pub logpath: Vec<String>,
    pub backend: Backend,
    /// Of log times without a zone: the jail's, else the global one.
    pub timezone: Tz,
    /// The file that defines it.
    pub file: String,
    /// Built in or from [`SHIPPED_DIR`], not the admin's own.
    pub shipped: bool,
    /// A command that is asked before a ban.
    pub ignore_command: Option<Arc<crate::action::IgnoreCommand>>,
    /// Commands that are told of its bans.
    pub run: Vec<Arc<crate::action::Definition>>,
    /// What fail2ban's files said, for a jail that comes from there; its filter is in here and not in a library.
    pub fail2ban: Option<Arc<crate::fail2ban::jail::Jail>>,
}

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Files where there are some.
    Auto,
    File,
    /// systemd's journal; only a jail of fail2ban has it, and waits until that source is there.
    Journal,
}

/// What loading yields.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Bad jails, and jails that `enable` names and nobody knows.
    pub problems: Vec<Problem>,
    /// What is lost, approximated or looks wrong in a fail2ban configuration.
    pub notes: Vec<crate::fail2ban::note::Note>,
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

/// As `reload` and `check` tell it; of no jail.
impl From<&ReportedError> for ProblemInfo {
    fn from(error: &ReportedError) -> ProblemInfo {
        let place = error.place.as_deref();
        ProblemInfo {
            jail: None,
            file: Some(error.file.clone()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            message: error.message.clone(),
            text: error.to_string(),
        }
    }
}

/// As `reload` and `check` tell it.
impl From<&Problem> for ProblemInfo {
    fn from(problem: &Problem) -> ProblemInfo {
        ProblemInfo { jail: Some(problem.jail.clone()), ..ProblemInfo::from(&problem.error) }
    }
}
