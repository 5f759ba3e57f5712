//! `banctl`: asks and tells a running portero, and does offline what needs no daemon.
//!
//! [`args`] holds every command once, [`online`] carries out those that need the daemon, [`render`] makes their
//! answers readable.

pub mod args;
pub mod check;
pub mod docs;
mod failure;
pub mod filter_cmd;
pub mod import;
pub mod online;
pub mod render;
pub mod replay;
pub mod scan;
pub mod shadow;
pub mod table;
mod values;

use std::ffi::OsString;
use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use self::online::Failure;
use crate::config::Setup;
use crate::exit;

/// The whole program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Under another name it answers as the program of that name does.
    let name = args.first().map(std::path::Path::new).and_then(std::path::Path::file_name);
    if name.is_some_and(|name| name == "fail2ban-client") {
        return crate::fail2ban::client::facade::main(args);
    }
    if name.is_some_and(|name| name == "fail2ban-regex") {
        return crate::fail2ban::regex::main(args);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    // These print by themselves.
    let cli = match cli {
        Cli { command: Command::Scan(args), json, .. } => return scan::run(&args, json),
        Cli { command: Command::Replay(args), json, .. } => return replay::run(&args, json),
        Cli { command: Command::Import(args), json, .. } => return import::run(&args, json),
        Cli { command: Command::Filter(args), json, .. } => return filter_cmd::run(&args, json),
        cli => cli,
    };
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let done = match &cli.command {
        Command::Check { config, fail2ban_dir } => {
            let setup = Setup { config: config.clone(), fail2ban_dir: fail2ban_dir.clone() };
            check::run("banctl", &setup, cli.json, &mut out).map_err(Failure::from)
        }
        Command::GenDocs { dir } => docs::generate(dir).map(|()| exit::OK).map_err(Failure::from),
        _ => online::run(&cli, &mut out),
    };
    let code = match done {
        Ok(code) => code,
        Err(Failure::Answered(error)) => {
            if cli.json {
                let _ = writeln!(out, "{}", serde_json::json!({ "error": error }));
            } else {
                let _ = out.flush();
                eprintln!("banctl: {}", render::error(&error));
            }
            error.code.exit_code()
        }
        Err(Failure::Output(error)) => return lost(&error),
    };
    match out.flush() {
        Ok(()) => ExitCode::from(code),
        Err(error) => lost(&error),
    }
}

/// Input or output failed. A reader that has seen enough (`banctl bans | head`) is no error to talk about.
fn lost(error: &std::io::Error) -> ExitCode {
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!("banctl: {}", crate::text::io_reason(error));
    }
    ExitCode::from(exit::NO)
}
