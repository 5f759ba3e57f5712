//! The daemon.

use std::process::ExitCode;

use portero::daemon::{self, cli::Cli};

fn main() -> ExitCode {
    match Cli::from_args(std::env::args_os()) {
        Ok(cli) => daemon::run(cli),
        Err(code) => code,
    }
}
