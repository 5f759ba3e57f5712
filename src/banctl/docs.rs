//! Man pages and completions, made from the command lines themselves. A test holds those under packaging/ to
//! the code: after a change run `banctl gen-docs packaging`.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};

use super::args::Cli;
use crate::daemon::cli::Cli as DaemonCli;

/// Writes `man/` and `completions/` below `dir`.
///
/// # Errors
/// A folder or file cannot be written.
pub fn generate(dir: &Path) -> io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut banctl = Cli::command().disable_help_subcommand(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut banctl.clone(), "banctl", &completions)?;
    }
    banctl.build();
    pages(&banctl, "1", &man)?;
    pages(&DaemonCli::command(), "8", &man)
}

/// The page of `command` and of each command below it, `banctl-allow-add.1`.
fn pages(command: &Command, section: &'static str, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let page = clap_mangen::Man::new(command.clone())
        .title(name.clone())
        .source(concat!("portero ", env!("CARGO_PKG_VERSION")))
        .section(section);
    let mut bytes = Vec::new();
    page.render(&mut bytes)?;
    fs::write(dir.join(format!("{name}.{section}")), bytes)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, section, dir)?;
    }
    Ok(())
}
