//! Commands that ask the running daemon: request out, answer printed, exit code.

use std::io::{BufRead, Write};

use serde::Serialize;

use super::args::{AllowCommand, BanArgs, BansArgs, Cli, Command, ShadowArgs, UnbanArgs};
use super::render;
use super::table::Look;
use crate::addr::Net;
use crate::config;
use crate::control::client::Client;
use crate::control::protocol::{BanAnswer, ErrorBody, ErrorCode, Request, Response};
use crate::exit;
use crate::time::{Clock, SystemClock};

/// How many targets go out in one request: far below `limits.request_bytes_max`.
const TARGETS_PER_REQUEST: usize = 1000;

/// How a command ended that could be carried out.
type Done = Result<u8, Failure>;

/// Why a command could not be carried out.
#[derive(Debug)]
pub enum Failure {
    Answered(ErrorBody),
    /// Nobody reads our output any more.
    Output(std::io::Error),
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Failure {
        Failure::Answered(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// One invocation: where to print, how, and the connection.
pub struct Session<'a> {
    out: &'a mut dyn Write,
    json: bool,
    look: Look,
    client: Client,
}

/// Carries out `cli`'s command, one of those that need the daemon.
///
/// # Errors
/// The daemon is not there, or refused the whole of it.
pub fn run(cli: &Cli, out: &mut dyn Write) -> Done {
    // What makes no sense is said before anybody is asked.
    let targets = match &cli.command {
        Command::Ban(args) => ban_targets(args)?,
        _ => Vec::new(),
    };
    let socket = cli.socket.clone().unwrap_or_else(config::control_socket);
    let look = Look::of_stdout(SystemClock::new().now());
    let mut session = Session { out, json: cli.json, look, client: Client::connect(&socket)? };
    match &cli.command {
        Command::Status { target } => session.status(target.clone()),
        Command::Why { target } => session.why(target.clone()),
        Command::Unban(args) => session.unban(args),
        Command::Ban(args) => session.ban(args, targets),
        Command::Bans(args) => session.bans(args),
        Command::Allow(command) => session.allow(command),
        Command::Reload => session.reload(),
        Command::Ping => session.ping(),
        Command::Shadow(args) => session.shadow(args),
        Command::Check { .. }
        | Command::Scan(_)
        | Command::Replay(_)
        | Command::Import(_)
        | Command::Filter(_)
        | Command::GenDocs { .. } => {
            unreachable!("these need no daemon")
        }
    }
}

/// The targets of `ban`: those typed, and with `-` those of stdin. What is typed must be an address or a
/// network; a bad line of a list is the daemon's to refuse, so that it does not keep the others from being banned.
fn ban_targets(args: &BanArgs) -> Result<Vec<String>, Failure> {
    let mut targets = Vec::new();
    for target in &args.targets {
        if target == "-" {
            for line in std::io::stdin().lock().lines() {
                let line = line?;
                let word = line.split('#').next().unwrap_or_default().trim();
                if !word.is_empty() {
                    targets.push(word.to_owned());
                }
            }
        } else if let Err(error) = target.parse::<Net>() {
            return Err(bad_request(error.to_string()).into());
        } else {
            targets.push(target.clone());
        }
    }
    Ok(targets)
}

fn bad_request(message: String) -> ErrorBody {
    ErrorBody { code: ErrorCode::BadRequest, message, help: None }
}

/// The daemon answered something else than was asked.
fn odd() -> Failure {
    Failure::Answered(ErrorBody {
        code: ErrorCode::Version,
        message: "the daemon's answer does not fit the request".to_owned(),
        help: Some("use the banctl that came with the daemon".to_owned()),
    })
}

impl Session<'_> {
    /// Prints one answer: `value` as JSON, or `text`.
    fn print(&mut self, value: &impl Serialize, text: impl FnOnce(Look) -> String) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer(&mut self.out, value).map_err(std::io::Error::from)?;
            self.out.write_all(b"\n")?;
        } else {
            self.out.write_all(text(self.look).as_bytes())?;
        }
        Ok(())
    }

    fn shadow(&mut self, args: &ShadowArgs) -> Done {
        let request = Request::Shadow { since_secs: args.since, tolerance_secs: args.tolerance };
        let Response::Shadow(report) = self.client.call(request)? else { return Err(odd()) };
        self.print(&report, |look| super::shadow::show(look, &report))?;
        Ok(exit::OK)
    }

    fn status(&mut self, target: Option<String>) -> Done {
        match self.client.call(Request::Status { target })? {
            Response::Overview(all) => {
                self.print(&all, |look| render::overview(look, &all))?;
                Ok(exit::OK)
            }
            Response::Jail(jail) => {
                self.print(&jail, |look| render::jail(look, &jail))?;
                Ok(exit::OK)
            }
            Response::Target(status) => {
                self.print(&status, |look| render::target(look, &status))?;
                Ok(if status.banned { exit::OK } else { exit::NO })
            }
            _ => Err(odd()),
        }
    }

    fn why(&mut self, target: String) -> Done {
        let Response::Why(why) = self.client.call(Request::Why { target })? else { return Err(odd()) };
        let status = &why.status;
        let known = !status.bans.is_empty()
            || !status.windows.is_empty()
            || !why.lines.is_empty()
            || !why.accounts.is_empty()
            || !why.addresses.is_empty()
            || !why.earlier.is_empty();
        self.print(&why, |look| {
            let text = render::why(look, &why);
            if known { text } else { format!("{text}  nothing is known of it\n") }
        })?;
        Ok(if known { exit::OK } else { exit::NO })
    }

    fn unban(&mut self, args: &UnbanArgs) -> Done {
        let mut lifted = false;
        let mut worst = exit::OK;
        let chunks: Vec<&[String]> =
            if args.all { vec![&[]] } else { args.targets.chunks(TARGETS_PER_REQUEST).collect() };
        for targets in chunks {
            let request = Request::Unban {
                targets: targets.to_vec(),
                all: args.all,
                jail: args.jail.clone(),
                grace_secs: args.grace,
                reason: args.reason.clone(),
                all_addresses: args.all_addresses,
            };
            let Response::Unban(answers) = self.client.call(request)? else { return Err(odd()) };
            for answer in answers {
                lifted |= answer.lifted_total > 0 || !answer.lifted.is_empty();
                if let Some(error) = &answer.error {
                    worst = worst.max(error.code.exit_code());
                }
                self.print(&answer, |look| render::unbanned(look, &answer))?;
            }
        }
        Ok(if lifted { worst } else { worst.max(exit::NO) })
    }

    fn ban(&mut self, args: &BanArgs, targets: Vec<String>) -> Done {
        let mut worst = exit::OK;
        for targets in targets.chunks(TARGETS_PER_REQUEST) {
            let request = Request::Ban {
                targets: targets.to_vec(),
                jail: args.jail.clone(),
                for_secs: args.for_secs,
                reason: args.reason.clone(),
                force: args.force,
            };
            let Response::Ban(answers) = self.client.call(request)? else { return Err(odd()) };
            for answer in answers {
                if let BanAnswer::Refused { error, .. } = &answer {
                    worst = worst.max(error.code.exit_code());
                }
                self.print(&answer, |look| render::ban(look, &answer))?;
            }
        }
        Ok(worst)
    }

    fn bans(&mut self, args: &BansArgs) -> Done {
        let mut after = None;
        let mut none = true;
        loop {
            let request = Request::Bans { jail: args.jail.clone(), ended: args.ended, after };
            let Response::Bans(page) = self.client.call(request)? else { return Err(odd()) };
            if self.json {
                for ban in &page.bans {
                    self.print(ban, |_| String::new())?;
                }
            } else if !page.bans.is_empty() {
                let text = render::bans(self.look, &page.bans, "");
                // One heading is enough.
                let text =
                    if none { text.as_str() } else { text.split_once('\n').map_or("", |(_, rows)| rows) };
                self.out.write_all(text.as_bytes())?;
            }
            none &= page.bans.is_empty();
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        if none && !self.json {
            self.out.write_all(if args.ended { b"no ban has ended yet\n" } else { b"no bans\n" })?;
        }
        Ok(exit::OK)
    }

    fn allow(&mut self, command: &AllowCommand) -> Done {
        let (request, added) = match command {
            AllowCommand::List => {
                let Response::AllowList(entries) = self.client.call(Request::AllowList)? else {
                    return Err(odd());
                };
                if self.json {
                    for entry in &entries {
                        self.print(entry, |_| String::new())?;
                    }
                } else {
                    self.out.write_all(render::allow_list(self.look, &entries).as_bytes())?;
                }
                return Ok(exit::OK);
            }
            AllowCommand::Add { targets, for_secs, reason } => {
                let reason = reason.clone();
                (Request::AllowAdd { targets: nets(targets)?, for_secs: *for_secs, reason }, true)
            }
            AllowCommand::Rm { targets } => (Request::AllowRm { targets: nets(targets)? }, false),
        };
        let Response::Allow(answers) = self.client.call(request)? else { return Err(odd()) };
        let mut worst = exit::OK;
        for answer in answers {
            let refused = answer.error.as_ref().map(|error| error.code.exit_code());
            worst = worst.max(refused.unwrap_or(if added || answer.done { exit::OK } else { exit::NO }));
            self.print(&answer, |look| render::allow(look, &answer, added))?;
        }
        Ok(worst)
    }

    fn reload(&mut self) -> Done {
        let Response::Reload(report) = self.client.call(Request::Reload)? else { return Err(odd()) };
        self.print(&report, |look| render::reload(look, &report))?;
        Ok(if report.ok { exit::OK } else { exit::CONFIG })
    }

    fn ping(&mut self) -> Done {
        let Response::Ping(pong) = self.client.call(Request::Ping)? else { return Err(odd()) };
        self.print(&pong, |look| render::ping(look, &pong))?;
        Ok(if pong.ok { exit::OK } else { exit::NO })
    }
}

/// Targets that must be addresses or networks.
fn nets(targets: &[String]) -> Result<Vec<String>, Failure> {
    match targets.iter().find_map(|target| target.parse::<Net>().err()) {
        Some(error) => Err(bad_request(error.to_string()).into()),
        None => Ok(targets.to_vec()),
    }
}
