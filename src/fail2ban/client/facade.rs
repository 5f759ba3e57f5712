//! `fail2ban-client`, the program: banctl under that name. Answers go to standard output, what went wrong is
//! also told on standard error as fail2ban logs it, and the exit code is 0 or 255.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::answer::Answerer;
use super::beautify::beautify;
use super::command_line::{AtOnce, CommandLine, read};
use super::service;
use super::value::{Refusal, Value};
use super::{FAIL2BAN_SOCKET, VERSION};
use crate::config;
use crate::control::client::Client;
use crate::fail2ban::time;
use crate::time::{Clock, SystemClock, system_zone};

/// The exit code of everything that went wrong.
pub const FAILED: u8 = 255;

/// fail2ban's folder if nobody says otherwise.
const DEFAULT_CONF: &str = "/etc/fail2ban";

/// The whole program. `args`: with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    args.next();
    match run(read(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Silent) => ExitCode::from(FAILED),
    }
}

/// It failed, and that is told already.
pub struct Silent;

fn run(line: Option<CommandLine>) -> Result<(), Silent> {
    let Some(line) = line else {
        print(&usage())?;
        return Err(Silent);
    };
    match &line.at_once {
        Some(AtOnce::Help) => return print(&usage()),
        Some(AtOnce::VersionNumber) => return print(VERSION),
        Some(AtOnce::Version) => return print(&format!("Fail2Ban v{VERSION}")),
        Some(AtOnce::Seconds(text)) => return str2sec(text),
        None => {}
    }
    if line.interactive {
        return Err(fail("interactive mode is not available; give the command on the command line"));
    }
    let conf = line.conf.clone().unwrap_or_else(|| DEFAULT_CONF.into());
    if line.dump || line.dump_pretty || line.test {
        super::dump::run(&conf, &line)?;
        if line.words.is_empty() || !line.test {
            return Ok(());
        }
    }
    if line.words.is_empty() {
        print(&usage())?;
        return Err(Silent);
    }
    command(&line)
}

fn command(line: &CommandLine) -> Result<(), Silent> {
    let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["start"] => service::start(line),
        ["restart"] => service::restart(line),
        // A jail is restarted by reading it anew.
        ["restart", rest @ ..] => {
            let words = ["reload", "--restart"].iter().chain(rest).map(|word| (*word).to_owned()).collect();
            ask(line, words)
        }
        ["ping", wait] if time::seconds(wait).is_none() => {
            Err(fail(&format!("could not convert string to float: {}", Value::text(*wait).repr())))
        }
        _ => ask(line, line.words.clone()),
    }
}

/// Asks the daemon one command and prints its answer.
fn ask(line: &CommandLine, words: Vec<String>) -> Result<(), Silent> {
    let mut client = Client::connect(&socket(line)).map_err(|error| {
        let help = error.help.map_or(String::new(), |help| format!("; {help}"));
        fail(&format!("{}{help}", error.message))
    })?;
    let answer = Answerer { ask: &mut client, zone: system_zone() }.answer(&words);
    match answer {
        Ok(answer) => print(&beautify(&words, &answer, utf8_locale())),
        Err(refusal) => {
            log_refusal(&refusal);
            print(&refusal.message())?;
            Err(Silent)
        }
    }
}

/// portero's own socket. fail2ban's path, which scripts name, stands for it: behind it is the same daemon.
pub fn socket(line: &CommandLine) -> PathBuf {
    let of_fail2ban = |path: &Path| {
        [FAIL2BAN_SOCKET, "/run/fail2ban/fail2ban.sock"].iter().any(|known| path == Path::new(known))
            || config::fail2ban_socket().is_some_and(|known| path == known)
    };
    match &line.socket {
        Some(path) if !of_fail2ban(path) => path.clone(),
        _ => config::control_socket(),
    }
}

/// `--str2sec`: a whole number as such, where the text has no fraction in it.
fn str2sec(text: &str) -> Result<(), Silent> {
    match time::seconds(text) {
        Some(secs) if secs.fract() == 0.0 && !text.contains(['.', '/']) => print(&format!("{secs:.0}")),
        Some(secs) => print(&Value::Float(secs).repr()),
        None => {
            let shown = Value::text(text).repr();
            Err(fail(&format!("{shown} is no length of time; examples: 600, 10m, 1h 30m, 2w")))
        }
    }
}

/// A line of output. A reader that has seen enough is no error to talk about.
pub fn print(text: &str) -> Result<(), Silent> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|_| Silent)
}

/// Tells on standard error that something failed.
pub fn fail(text: &str) -> Silent {
    log("ERROR", text);
    Silent
}

fn log_refusal(refusal: &Refusal) {
    let arguments = Value::Tuple(vec![Value::text(refusal.argument())]);
    log("ERROR", &format!("NOK: {arguments}"));
}

/// A line in the form of fail2ban's own log.
pub fn log(level: &str, text: &str) {
    let now = SystemClock::new().now();
    let utc = chrono::DateTime::from_timestamp_micros(now.micros()).unwrap_or_default();
    let local = utc.with_timezone(&system_zone());
    eprintln!(
        "{} {:<24}[{}]: {level:<7} {text}",
        local.format("%Y-%m-%d %H:%M:%S,%3f"),
        "fail2ban",
        std::process::id()
    );
}

/// Whether the locale's characters are UTF-8: the first of these variables that is set says so.
fn utf8_locale() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

fn usage() -> String {
    include_str!("usage.txt").trim_end().replace("VERSION", VERSION)
}
