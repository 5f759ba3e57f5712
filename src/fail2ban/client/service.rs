//! `start` and `restart`: the daemon itself. Under systemd its unit is started, elsewhere the program beside this one.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::command_line::CommandLine;
use super::facade::{Silent, fail, print, socket};
use crate::config;
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::exit;
use crate::time::{Clock, SystemClock};

/// How long the daemon may take to start or to end, where `--timeout` says nothing.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const UNIT: &str = "portero.service";

/// Starts the daemon and waits until it guards.
pub fn start(line: &CommandLine) -> Result<(), Silent> {
    if answers(&socket(line)) {
        return Err(fail("Server already running"));
    }
    if by_systemd(line) {
        systemctl("start")?;
    } else {
        spawn(line)?;
    }
    print("Server ready")
}

/// Ends the daemon, whose bans stay in the kernel meanwhile, and starts it again.
pub fn restart(line: &CommandLine) -> Result<(), Silent> {
    if by_systemd(line) {
        systemctl("restart")?;
        return print("Shutdown successful\nServer ready");
    }
    let socket = socket(line);
    let mut client = Client::connect(&socket).map_err(|error| fail(&error.message))?;
    client.call(Request::Stop).map_err(|error| fail(&error.message))?;
    drop(client);
    print("Shutdown successful")?;
    let clock = SystemClock::new();
    while answers(&socket) {
        if clock.monotonic() > patience(line) {
            return Err(fail("Could not stop server"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    spawn(line)?;
    print("Server ready")
}

fn patience(line: &CommandLine) -> Duration {
    line.timeout.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(PATIENCE)
}

fn answers(socket: &Path) -> bool {
    Client::connect(socket).is_ok_and(|mut client| client.call(Request::Ping).is_ok())
}

/// Whether the host's one portero is meant, and systemd keeps it.
fn by_systemd(line: &CommandLine) -> bool {
    let own = line.conf.is_some() || line.socket.is_some() || line.foreground;
    let own = own || ["PORTERO_CONFIG", "PORTERO_SOCKET"].iter().any(|name| std::env::var_os(name).is_some());
    !own && Path::new("/run/systemd/system").is_dir()
}

fn systemctl(verb: &str) -> Result<(), Silent> {
    match Command::new("systemctl").args([verb, UNIT]).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(fail(&format!("systemctl {verb} {UNIT} failed; see journalctl -u {UNIT}"))),
        Err(why) => Err(fail(&format!("systemctl: {}", crate::text::io_reason(&why)))),
    }
}

/// portero beside this program, else where packages put it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = beside.map(|path| path.with_file_name("portero")).filter(|path| path.exists());
    beside.unwrap_or_else(|| "/usr/sbin/portero".into())
}

fn command(line: &CommandLine) -> Command {
    let mut command = Command::new(program());
    command.arg("--config").arg(config::default_file());
    if let Some(conf) = &line.conf {
        command.arg("--fail2ban-dir").arg(conf);
    }
    command.arg("--socket").arg(socket(line)).stdin(Stdio::null());
    command
}

/// Starts the program in the background, once its configuration is known to be good.
fn spawn(line: &CommandLine) -> Result<(), Silent> {
    let cannot = |why: std::io::Error| {
        fail(&format!("cannot run {}: {}", program().display(), crate::text::io_reason(&why)))
    };
    if line.foreground {
        return Err(cannot(command(line).exec()));
    }
    let checked = command(line).arg("--check").stdout(Stdio::null()).status().map_err(cannot)?;
    if !checked.success() {
        return Err(fail("the configuration is not good; nothing was started"));
    }
    let socket = socket(line);
    let clock = SystemClock::new();
    let run = || {
        let mut command = command(line);
        // Of a session of its own: a hang-up of this terminal is not for it.
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().map_err(cannot)
    };
    let mut child: Child = run()?;
    while !answers(&socket) {
        if clock.monotonic() > patience(line) {
            return Err(fail("Could not find server, waiting failed"));
        }
        if let Ok(Some(ended)) = child.try_wait() {
            // The one before may still be giving its store back.
            if ended.code() != Some(exit::UNAVAILABLE.into()) {
                return Err(fail(&format!("{} ended at once: {ended}", program().display())));
            }
            child = run()?;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
