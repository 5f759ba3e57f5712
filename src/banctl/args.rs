//! Every banctl command once: from here come the parser, `--help`, man pages and completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::values::{seconds, span_secs};
use crate::config::DEFAULT_PATH;

/// Asks and tells a running portero: who is shut out, why, and how to let them in again.
#[derive(Debug, Parser)]
#[command(
    name = "banctl",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = false,
    after_help = "A TARGET is an address, a network or an account (a mailbox); banctl status also takes a jail.\n\
                  Called as fail2ban-client or fail2ban-regex it answers as that program does; see its -h.\n\
                  Exit codes: 0 done, 1 the answer is no, 64 usage, 69 daemon unreachable, 77 not permitted, \
                  78 configuration."
)]
pub struct Cli {
    /// The daemon's socket [default: as portero.toml says, /run/portero/control.sock]
    #[arg(long, global = true, value_name = "S")]
    pub socket: Option<PathBuf>,
    /// JSON instead of text: one object, or one object a line for lists
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Overview; or is this jail, address, network or account banned?
    ///
    /// TARGET is tried as a jail, an address, a network and an account, in that order; `jail:NAME` and
    /// `account:NAME` force one. Exit code 1: not banned.
    Status { target: Option<String> },
    /// The evidence: log lines, accounts tried, earlier bans, and the command that lifts it
    ///
    /// Exit code 1: nothing is known.
    Why { target: String },
    /// Let an address, a network or an account in again
    ///
    /// By account: the addresses that tried no other account, or have a good login there, are let in; the
    /// others are listed, and --all-addresses takes them too. History is kept. Exit code 1: there was nothing
    /// to lift.
    Unban(UnbanArgs),
    /// Ban addresses or networks by hand
    ///
    /// What is never banned is refused: own addresses, loopback, gateway, resolvers, ignoreip, trusted
    /// proxies, a logged-in administrator's address. Exit code 1: something was refused.
    Ban(BanArgs),
    /// List the bans
    Bans(BansArgs),
    /// Whom nothing bans: add, remove, list
    #[command(subcommand)]
    Allow(AllowCommand),
    /// Read the configuration anew; jails that did not change keep their state
    Reload,
    /// Is the daemon well? Exit code 0 only if every present log is open and the firewall is in step
    Ping,
    /// Beside fail2ban (portero --shadow): who one of the two would ban and the other not, and why
    Shadow(ShadowArgs),
    /// Check the configuration, with the daemon's own loader; needs no daemon
    Check {
        /// portero.toml, or a folder that holds one
        #[arg(long, value_name = "F", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// With the fail2ban configuration in D, as portero --fail2ban-dir D runs it
        #[arg(long, value_name = "D")]
        fail2ban_dir: Option<PathBuf>,
    },
    /// Every login attempt found in old logs, offline; .gz, .xz and .zst too
    Scan(super::scan::ScanArgs),
    /// The whole engine over old logs in their own time: whom it would have banned
    Replay(super::replay::ReplayArgs),
    /// Translate a fail2ban configuration, with a list of every loss
    ///
    /// Exit code 0 whenever it answers (with --strict: 1 if anything was lost), 78 if fail2ban itself would
    /// refuse to start.
    Import(super::import::ImportArgs),
    /// Filters: list them, show one, test one on a log, look for what fools one
    Filter(super::filter_cmd::FilterArgs),
    /// Write man pages and completions below DIR
    #[command(hide = true)]
    GenDocs { dir: PathBuf },
}

#[derive(Debug, Clone, Args)]
pub struct UnbanArgs {
    /// Addresses, networks, accounts
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    pub targets: Vec<String>,
    /// Lift every ban (of --jail, if given)
    #[arg(long)]
    pub all: bool,
    /// Only the bans of this jail
    #[arg(long, value_name = "J")]
    pub jail: Option<String>,
    /// No jail bans it again for so long, while the password gets mended
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub grace: Option<u64>,
    /// For the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// By account: also the addresses that tried other accounts
    #[arg(long)]
    pub all_addresses: bool,
}

#[derive(Debug, Clone, Args)]
pub struct BanArgs {
    /// Addresses or networks; `-` reads them from stdin, one a line
    #[arg(value_name = "TARGET", required = true)]
    pub targets: Vec<String>,
    /// Ban in this jail, on its ports [default: manual, all ports]
    #[arg(long, value_name = "J")]
    pub jail: Option<String>,
    /// For how long; -1: for ever [default: the jail's bantime]
    #[arg(long = "for", value_name = "TIME", value_parser = span_secs, allow_hyphen_values = true)]
    pub for_secs: Option<f64>,
    /// For the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Also networks wider than /16 (IPv4) or /32 (IPv6)
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Clone, Args)]
pub struct BansArgs {
    /// Only this jail's
    #[arg(long, value_name = "J")]
    pub jail: Option<String>,
    /// Those that are over, latest first
    #[arg(long)]
    pub ended: bool,
}

#[derive(Debug, Clone, Args)]
pub struct ShadowArgs {
    /// Only bans of the last TIME [default: since shadow mode began]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub since: Option<u64>,
    /// Bans that are so far apart are the same [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub tolerance: Option<u64>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum AllowCommand {
    /// Never ban these; lifts their bans
    Add {
        /// Addresses or networks
        #[arg(value_name = "TARGET", required = true)]
        targets: Vec<String>,
        /// For so long [default: until removed]
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        for_secs: Option<u64>,
        /// For the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Take these off the list again
    Rm {
        #[arg(value_name = "TARGET", required = true)]
        targets: Vec<String>,
    },
    /// Everything that is never banned, and why
    List,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        crate::daemon::cli::Cli::command().debug_assert();
    }

    #[test]
    fn commands_parse_as_people_type_them() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let cli = parse("banctl unban alice@example.org --grace 30m --reason new-phone --json").unwrap();
        assert!(cli.json);
        assert!(matches!(cli.command, Command::Unban(UnbanArgs { grace: Some(1800), all: false, .. })));
        let cli = parse("banctl ban 203.0.113.7 --for -1").unwrap();
        assert!(matches!(cli.command, Command::Ban(BanArgs { for_secs: Some(-1.0), .. })));
        let cli = parse("banctl --socket /tmp/s ban - --for 1h").unwrap();
        assert_eq!(cli.socket.unwrap(), PathBuf::from("/tmp/s"));
        for wrong in
            ["banctl", "banctl unban", "banctl unban --all x", "banctl ban", "banctl unban x --grace -1"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_command_gets_a_suggestion() {
        let error = Cli::try_parse_from(["banctl", "statsu"]).unwrap_err().to_string();
        assert!(error.contains("'status'"), "{error}");
    }
}
