//! Talks to the daemon, and reads logs offline.

use clap::Parser;

#[derive(Parser)]
enum Command {
    Scan(portero::banctl::scan::ScanArgs),
}

fn main() -> std::process::ExitCode {
    match Command::parse() {
        Command::Scan(args) => portero::banctl::scan::run(args),
    }
}
