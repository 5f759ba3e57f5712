//! portero's own command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{Config, DEFAULT_PATH, Setup};
use crate::exit;

/// Reads mail-server logs, finds who is guessing passwords, and shuts them out with nftables.
///
/// Runs in the foreground and logs to stderr. Stopping it leaves the bans in the kernel, where they end by
/// themselves. banctl(1) asks and tells a running portero.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "portero",
    version,
    after_help = "Exit codes: 0 done, 64 usage, 69 another portero is running, 77 not permitted, 78 configuration."
)]
pub struct Cli {
    /// Configuration to use, with jails/ and filters/ beside it
    #[arg(long, value_name = "F", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Run the fail2ban configuration in D as it stands
    #[arg(long, value_name = "D")]
    pub fail2ban_dir: Option<PathBuf>,
    /// Take over bans, their counts and log positions from fail2ban's database F, each once
    #[arg(long, value_name = "F")]
    pub fail2ban_db: Option<PathBuf>,
    /// Keep the store in D
    #[arg(long, value_name = "D")]
    pub state_dir: Option<PathBuf>,
    /// Answer banctl at S
    #[arg(long, value_name = "S")]
    pub socket: Option<PathBuf>,
    /// Ban by this backend: nftables, log-only
    #[arg(long, value_name = "B", value_parser = backend)]
    pub firewall: Option<String>,
    /// Run beside fail2ban: decide, enforce nothing, and compare with fail2ban's log (banctl shadow)
    ///
    /// What is remembered stands in a folder of its own, shadow/ in the state directory, and is never in force later.
    #[arg(long)]
    pub shadow: bool,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
    /// End all bans, remove the table and exit; asks a running portero, else does it itself
    #[arg(long)]
    pub flush: bool,
}

fn backend(name: &str) -> Result<String, String> {
    let known: Vec<&str> = crate::firewall::backends().iter().map(|(name, _)| *name).collect();
    if known.contains(&name) { Ok(name.to_owned()) } else { Err(format!("one of: {}", known.join(", "))) }
}

impl Cli {
    /// Reads the program's arguments. `Err`: help was asked for or the arguments make no sense, it is said
    /// already, and the program ends with this code.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
        Cli::try_parse_from(args).map_err(|error| {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK })
        })
    }

    /// Where the configuration comes from.
    pub fn setup(&self) -> Setup {
        Setup { config: self.config.clone(), fail2ban_dir: self.fail2ban_dir.clone() }
    }

    /// What the command line says goes over the configuration; at a reload too.
    pub fn apply(&self, config: &mut Config) {
        if let Some(state_dir) = &self.state_dir {
            config.state_dir.clone_from(state_dir);
        }
        if let Some(socket) = &self.socket {
            config.socket.path.clone_from(socket);
        }
        if let Some(firewall) = &self.firewall {
            config.firewall.clone_from(firewall);
        }
        if self.shadow {
            config.shadow = true;
            config.firewall = "log-only".to_owned();
            // What is decided here must not be in force one day, and fail2ban's socket is fail2ban's.
            config.state_dir.push("shadow");
            config.fail2ban_socket = None;
        }
    }
}
