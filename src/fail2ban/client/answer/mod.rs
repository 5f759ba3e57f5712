//! What portero answers to the words of a command, in the values of fail2ban's server.
//!
//! The words are turned into [`Request`]s of the control protocol, so that whoever asks has the rights of his
//! role there and nothing more.

mod change;
mod look;

use chrono_tz::Tz;

use super::value::{Refusal, Value};
use crate::control::client::Client;
use crate::control::protocol::{
    BanInfo, ErrorBody, ErrorCode, JailInfo, JailSettingsReport, JailState, Overview, Request, Response,
    SettingsReport,
};
use crate::jail::JailName;

/// Who answers requests: the daemon over its control socket, or from within.
pub trait Ask {
    /// # Errors
    /// What the daemon answered as an error; or it does not answer.
    fn ask(&mut self, request: Request) -> Result<Response, ErrorBody>;
}

impl Ask for Client {
    fn ask(&mut self, request: Request) -> Result<Response, ErrorBody> {
        self.call(request)
    }
}

/// A command on its way to its answer.
pub struct Answerer<'a> {
    pub ask: &'a mut dyn Ask,
    /// Of the times in `get JAIL banip --with-time`.
    pub zone: Tz,
}

/// What a command came to.
pub type Answer = Result<Value, Refusal>;

impl Answerer<'_> {
    /// Answers one command.
    ///
    /// # Errors
    /// It is none, its jail is none, or portero does not do that; the text says so.
    pub fn answer(&mut self, words: &[String]) -> Answer {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((&name, rest)) = words.split_first() else { return Err(Refusal::TooFewWords) };
        match name {
            "ping" => self.ask(Request::Ping).map(|_| Value::text("pong")),
            "version" => Ok(Value::text(super::VERSION)),
            "echo" => Ok(Value::texts(rest.iter().copied())),
            "status" => self.status(rest),
            "stat" | "stats" | "statistic" | "statistics" => self.statistics(),
            "banned" => self.banned(rest),
            "get" => self.get(rest),
            "set" => self.set(rest),
            "unban" => self.unban(rest),
            "reload" => self.reload(rest),
            // The file is opened anew by itself once it was rotated away.
            "flushlogs" => Ok(Value::text(match self.settings_of_all()?.log_target.starts_with('/') {
                true => "rolled over",
                false => "flushed",
            })),
            "server-status" => self.ask(Request::Ping).map(|_| Value::text("Server ready")),
            "stop" if rest.is_empty() => self.ask(Request::Stop).map(|_| Value::None),
            "stop" | "start" | "add" => Err(cannot(
                name,
                "a jail is switched on and off by the configuration: change it, then reload",
            )),
            "multi-set" | "server-stream" => {
                Err(cannot(name, "portero reads its configuration itself; reload makes it do so"))
            }
            "sleep" | "config-error" => Err(cannot(name, "it is a part of fail2ban's own start")),
            _ => Err(Refusal::Other("Invalid command".to_owned())),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        self.ask.ask(request).map_err(|error| Refusal::Other(told(&error)))
    }

    /// The same for a request that names `jail`.
    fn ask_of(&mut self, jail: &str, request: Request) -> Result<Response, Refusal> {
        self.ask.ask(request).map_err(|error| match error.code {
            ErrorCode::UnknownJail => Refusal::UnknownJail(jail.to_owned()),
            _ => Refusal::Other(told(&error)),
        })
    }

    fn overview(&mut self) -> Result<Overview, Refusal> {
        match self.ask(Request::Status { target: None })? {
            Response::Overview(all) => Ok(*all),
            _ => Err(odd()),
        }
    }

    /// The jails as fail2ban would have them, by name: broken ones are none, and the jail of bans by hand is one
    /// only while it holds some.
    fn jails(&mut self) -> Result<Vec<JailInfo>, Refusal> {
        let mut jails = self.overview()?.jails;
        jails.retain(|jail| {
            jail.state != JailState::Broken && (jail.name != JailName::manual().as_str() || jail.banned > 0)
        });
        Ok(jails)
    }

    fn jail(&mut self, name: &str) -> Result<JailInfo, Refusal> {
        let known = self.overview()?.jails.into_iter().find(|jail| jail.name == name);
        known
            .filter(|jail| jail.state != JailState::Broken)
            .ok_or_else(|| Refusal::UnknownJail(name.to_owned()))
    }

    fn settings_of_all(&mut self) -> Result<SettingsReport, Refusal> {
        match self.ask(Request::Settings)? {
            Response::Settings(settings) => Ok(settings),
            _ => Err(odd()),
        }
    }

    fn settings(&mut self, jail: &str) -> Result<JailSettingsReport, Refusal> {
        match self.ask_of(jail, Request::JailSettings { jail: jail.to_owned() })? {
            Response::JailSettings(report) => Ok(*report),
            _ => Err(odd()),
        }
    }

    /// All bans in force, of one jail or of all, in the order in which they were made.
    fn bans(&mut self, jail: Option<&str>) -> Result<Vec<BanInfo>, Refusal> {
        let mut bans = Vec::new();
        let mut after = None;
        loop {
            let request = Request::Bans { jail: jail.map(str::to_owned), ended: false, after };
            let Response::Bans(page) = self.ask_of(jail.unwrap_or_default(), request)? else {
                return Err(odd());
            };
            bans.extend(page.bans);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
        bans.sort_by_key(|ban| ban.since);
        Ok(bans)
    }
}

/// The word at `index`.
fn word<'a>(words: &[&'a str], index: usize) -> Result<&'a str, Refusal> {
    words.get(index).copied().ok_or(Refusal::TooFewWords)
}

/// portero does not do that.
fn cannot(what: &str, why: &str) -> Refusal {
    Refusal::Other(format!("portero cannot answer '{what}': {why}"))
}

/// An error of the control protocol in one line.
fn told(error: &ErrorBody) -> String {
    match &error.help {
        Some(help) => format!("{}; {help}", error.message),
        None => error.message.clone(),
    }
}

/// The daemon answered something else than was asked.
fn odd() -> Refusal {
    Refusal::Other("the daemon's answer does not fit the request; restart it after an upgrade".to_owned())
}

/// Seconds as fail2ban counts them; `None`: for ever.
fn seconds(length: Option<u64>) -> Value {
    Value::Int(length.map_or(-1, |secs| secs as i64))
}
