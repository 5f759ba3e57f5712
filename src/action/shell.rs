//! Runs a [`Script`] with `/bin/sh`, in a process group of its own, for so long and no longer.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::script::Script;
use crate::text::escape;
use crate::time::Clock;

/// How much of what a command says last is kept. Bytes.
const SAID_BYTES_MAX: usize = 512;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// How often a running command is looked at: soon at first, seldom later.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(20);

/// What the service manager tells the daemon and nobody else.
const NOT_FOR_CHILDREN: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Good,
    /// The exit code, and the last line on standard error, escaped.
    Failed(i32, String),
    /// Ended by a signal of somebody else's.
    Killed(i32, String),
    /// Its time was up; it and all it had started were killed.
    TimedOut(Duration),
    /// The daemon stops and waits no longer; killed.
    Abandoned,
    /// It could not be started.
    NotStarted(String),
}

impl Outcome {
    pub fn good(&self) -> bool {
        *self == Outcome::Good
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = |said: &str| if said.is_empty() { String::new() } else { format!(": {said}") };
        match self {
            Outcome::Good => f.write_str("done"),
            Outcome::Failed(code, text) => write!(f, "exit code {code}{}", said(text)),
            Outcome::Killed(signal, text) => write!(f, "killed by signal {signal}{}", said(text)),
            Outcome::TimedOut(after) => write!(f, "killed after {} s without an end", after.as_secs_f32()),
            Outcome::Abandoned => f.write_str("killed: the daemon stops"),
            Outcome::NotStarted(why) => write!(f, "/bin/sh does not start: {why}"),
        }
    }
}

/// Runs scripts one at a time. A trait, so that what is run can be looked at without running it.
pub trait Shell {
    /// Runs `script` to its end, at most for `timeout`.
    fn run(&mut self, script: &Script, timeout: Duration) -> Outcome;

    /// Whether the daemon wants no more commands.
    fn abandoned(&self) -> bool {
        false
    }
}

/// The real one.
pub struct System<'a> {
    pub clock: &'a dyn Clock,
    /// Asked while a command runs: whether it is to be given up.
    pub give_up: &'a dyn Fn() -> bool,
}

impl Shell for System<'_> {
    fn run(&mut self, script: &Script, timeout: Duration) -> Outcome {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&script.text).process_group(0).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in NOT_FOR_CHILDREN {
            command.env_remove(name);
        }
        let env = script.env.iter().map(|(name, value)| (name, OsString::from_vec(value.clone())));
        let mut child = match command.envs(env).spawn() {
            Ok(child) => child,
            Err(why) => return Outcome::NotStarted(why.to_string()),
        };
        let mut said = Said::new(child.stderr.take());
        let start = self.clock.monotonic();
        let mut pause = LOOK_FIRST;
        loop {
            said.read();
            match child.try_wait() {
                Ok(Some(status)) => {
                    said.read();
                    return ended(status, &said.last_line());
                }
                Ok(None) => {}
                Err(why) => return Outcome::NotStarted(why.to_string()),
            }
            if (self.give_up)() {
                self.kill(&mut child);
                return Outcome::Abandoned;
            }
            if self.clock.monotonic().saturating_sub(start) >= timeout {
                self.kill(&mut child);
                return Outcome::TimedOut(timeout);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    fn abandoned(&self) -> bool {
        (self.give_up)()
    }
}

impl System<'_> {
    /// Ends the whole group: asks, then does not ask.
    fn kill(&self, child: &mut Child) {
        let group = Pid::from_raw(child.id() as i32);
        let _ = killpg(group, Signal::SIGTERM);
        let start = self.clock.monotonic();
        // Not reaped before SIGKILL: until then the group's number is its own.
        while !leader_ended(child) && self.clock.monotonic().saturating_sub(start) < GRACE {
            std::thread::sleep(LOOK_MAX);
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait();
    }
}

/// Whether the shell has ended, without taking its status.
fn leader_ended(child: &Child) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(Pid::from_raw(child.id() as i32)), flags), Ok(WaitStatus::StillAlive))
}

fn ended(status: ExitStatus, said: &str) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Good,
        (Some(code), _) => Outcome::Failed(code, said.to_owned()),
        (None, signal) => Outcome::Killed(signal.unwrap_or_default(), said.to_owned()),
    }
}

/// The end of what a command writes on standard error. Never waited for: a program that it leaves behind may hold the
/// pipe open for ever.
struct Said {
    pipe: Option<ChildStderr>,
    bytes: Vec<u8>,
}

impl Said {
    fn new(pipe: Option<ChildStderr>) -> Said {
        // A pipe that cannot be read without waiting is not read.
        let quick = |pipe: &ChildStderr| fcntl(pipe.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok();
        Said { pipe: pipe.filter(quick), bytes: Vec::new() }
    }

    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0u8; 4096];
        // As much as a pipe holds, so that a command that never stops writing is also looked at.
        for _ in 0..16 {
            match pipe.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    let spare = self.bytes.len().saturating_sub(SAID_BYTES_MAX);
                    self.bytes.drain(..spare);
                }
            }
        }
    }

    fn last_line(&self) -> String {
        let lines = self.bytes.split(|byte| *byte == b'\n');
        escape(lines.rev().find(|line| !line.trim_ascii().is_empty()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    fn run(text: &str, env: &[(&str, &[u8])], timeout: Duration) -> Outcome {
        let clock = SystemClock::new();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect();
        let script = Script { text: text.to_owned(), env };
        System { clock: &clock, give_up: &|| false }.run(&script, timeout)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn hostile_values_reach_the_command_as_they_are_and_are_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let trap = folder.path().join("trap");
        for evil in
            ["$(touch TRAP)", "`touch TRAP`", "'; touch TRAP; '", "\"; touch TRAP; \"", "a\nb", "* \\"]
        {
            let evil = evil.replace("TRAP", trap.to_str().unwrap());
            let script = super::super::script::dynamic(
                &format!("printf '%s|%s|%s' <F-USER> \"<F-USER>\" '<F-USER>' > {}", out.display()),
                |_| Some(super::super::ticket::Value::Foreign(evil.clone().into_bytes())),
            );
            let clock = SystemClock::new();
            let outcome = System { clock: &clock, give_up: &|| false }.run(&script, LONG);
            assert_eq!(outcome, Outcome::Good);
            assert_eq!(std::fs::read_to_string(&out).unwrap(), format!("{evil}|{evil}|{evil}"));
            assert!(!trap.exists(), "{evil}");
        }
    }

    #[test]
    fn a_failure_tells_its_code_and_what_was_said_last() {
        let outcome = run("echo first >&2; printf 'a\\033[2Jb\\n\\n' >&2; exit 3", &[], LONG);
        assert_eq!(outcome, Outcome::Failed(3, "a\\x1b[2Jb".into()));
        assert_eq!(run("kill -9 $$", &[], LONG), Outcome::Killed(9, String::new()));
        assert_eq!(run("test \"$f2bV_x\" = 'a b'", &[("f2bV_x", b"a b")], LONG), Outcome::Good);
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        // The shell and one child heed no SIGTERM.
        let text = format!(
            "trap '' TERM; sleep 1000 & echo $! >> {0}; (trap - TERM; exec sleep 1000) & echo $! >> {0}; wait; sleep 1000",
            pids.display()
        );
        assert_eq!(
            run(&text, &[], Duration::from_millis(300)),
            Outcome::TimedOut(Duration::from_millis(300))
        );
        let text = std::fs::read_to_string(&pids).unwrap();
        let pids: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2);
        let gone = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Nobody may be there to bury it.
            stat.is_empty() || stat.contains(") Z")
        };
        let clock = SystemClock::new();
        while !pids.iter().all(|pid| gone(*pid)) {
            assert!(clock.monotonic() < LONG, "{pids:?} live on");
            std::thread::sleep(LOOK_MAX);
        }
    }

    #[test]
    fn what_a_command_leaves_behind_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let outcome = run(&format!("sleep 600 & echo $! > {}", pid.display()), &[], Duration::from_secs(300));
        assert_eq!(outcome, Outcome::Good);
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}
