//! What the daemon answers. What is in memory is answered at once; what stands on disk is asked of the store, and
//! the answer goes on from there as a continuation, while the loop guards on.

mod change;
mod look;
mod settings;
mod shadow;
mod why;

use tokio::sync::oneshot;

use super::engine::Engine;
use super::inbox::Letter;
use super::run::Stop;
use crate::addr::Net;
use crate::control::protocol::{ErrorBody, ErrorCode, Request, Response};
use crate::control::server::{Call, Peer};
use crate::store::{Audit, Store};

/// Something to do on the engine's thread when the store has answered.
pub type Later = Box<dyn FnOnce(&mut Engine) + Send>;

/// Where an answer goes. The peer may be gone; then nobody hears it.
pub(super) type Answer = oneshot::Sender<Response>;

pub(super) fn reply(answer: Answer, response: Response) {
    let _ = answer.send(response);
}

/// What a person named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Jail(String),
    Net(Net),
    Account(String),
}

impl Engine {
    /// Answers one request, now or later. `Some`: the daemon is to end.
    pub(super) fn answer(&mut self, call: Call) -> Option<Stop> {
        let Call { request, peer, answer } = call;
        match request {
            Request::Status { target: None } => reply(answer, self.overview()),
            Request::Status { target: Some(text) } => self.status(&text, answer),
            Request::Why { target } => self.why(&target, answer),
            Request::Bans { jail, ended, after } => self.bans(jail, ended, after, answer),
            Request::AllowList => reply(answer, self.allow_list()),
            Request::Ping => reply(answer, self.ping()),
            Request::Shadow { since_secs, tolerance_secs } => self.shadow(since_secs, tolerance_secs, answer),
            Request::Unban { targets, all, jail, grace_secs, reason, all_addresses } => {
                let wish = change::UnbanWish { jail, grace_secs, reason, all_addresses };
                self.unban(targets, all, wish, &peer, answer);
            }
            Request::Ban { targets, jail, for_secs, reason, force } => {
                self.ban(targets, jail, for_secs, reason, force, &peer, answer);
            }
            Request::AllowAdd { targets, for_secs, reason } => {
                self.allow_add(&targets, for_secs, reason, &peer, answer);
            }
            Request::AllowRm { targets } => self.allow_remove(&targets, &peer, answer),
            Request::Reload => {
                let report = self.reload();
                self.audit(&peer, "reload", None, None, if report.ok { "done" } else { "with problems" });
                reply(answer, Response::Reload(report));
            }
            Request::Flush => return self.flush_all(&peer, answer).then_some(Stop::Flushed),
            Request::JailSettings { jail } => reply(answer, self.jail_settings(&jail)),
            Request::JailSet { jail, change } => self.jail_set(&jail, change, &peer, answer),
            Request::Settings => reply(answer, self.settings()),
            Request::Stop => {
                self.stop(&peer, answer);
                return Some(Stop::Asked);
            }
        }
        None
    }

    /// What `text` names: a jail, an address, a network, an account, tried in that order.
    pub(super) fn target(&self, text: &str) -> Result<Target, ErrorBody> {
        let text = text.trim();
        let unknown_jail = |name: &str| ErrorBody {
            code: ErrorCode::UnknownJail,
            message: format!("no jail is named {name:?}"),
            help: Some("banctl status lists the jails".to_owned()),
        };
        if let Some(name) = text.strip_prefix("jail:") {
            return if self.knows_jail(name) {
                Ok(Target::Jail(name.to_owned()))
            } else {
                Err(unknown_jail(name))
            };
        }
        if let Some(name) = text.strip_prefix("account:") {
            return Ok(Target::Account(name.to_owned()));
        }
        if self.knows_jail(text) {
            return Ok(Target::Jail(text.to_owned()));
        }
        if let Ok(net) = text.parse() {
            return Ok(Target::Net(net));
        }
        // What looks like a mistyped address is none: an account of that name can be forced by account:.
        let address =
            text.contains('/') || text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b':');
        if text.is_empty() || address {
            return Err(ErrorBody {
                code: ErrorCode::BadRequest,
                message: format!("{text:?} is no jail, address, network or account"),
                help: Some(
                    "examples: 203.0.113.7, 192.0.2.0/24, alice@example.org, jail:sshd, account:1234"
                        .to_owned(),
                ),
            });
        }
        Ok(Target::Account(text.to_owned()))
    }

    /// Whether a jail of that name is configured, guarding or broken.
    pub(super) fn knows_jail(&self, name: &str) -> bool {
        self.jails.id(name).is_some() || self.problems.iter().any(|problem| problem.jail == name)
    }

    /// Asks the store, after it has heard everything so far, and goes on with its answer.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut dyn Store) -> T + Send + 'static,
        then: impl FnOnce(&mut Engine, T) + Send + 'static,
    ) {
        self.hand_in(self.clock.now(), true);
        let letters = self.letters.clone();
        self.store.query(question, move |found| {
            letters.post(Letter::Later(Box::new(move |engine| then(engine, found))));
        });
    }

    /// Writes what was gathered since the last [`Engine::hand_in`] and goes on when it is durable, or when the store
    /// said that it cannot be; then it is not written later either.
    pub(super) fn record(&mut self, then: impl FnOnce(&mut Engine, Result<(), String>) + Send + 'static) {
        let now = self.clock.now();
        let Some(frame) = self.recorder.take(now, &mut self.jails, false) else {
            return then(self, Ok(()));
        };
        let letters = self.letters.clone();
        self.store.submit_then(frame, move |done| {
            let done = done.map_err(|why| why.to_string());
            letters.post(Letter::Later(Box::new(move |engine| then(engine, done))));
        });
    }

    /// Puts what a person did into the audit trail.
    pub(super) fn audit(
        &mut self,
        peer: &Peer,
        what: &str,
        target: Option<String>,
        reason: Option<String>,
        result: &str,
    ) {
        let at = self.clock.now();
        tracing::info!(by = peer.user, what, target, reason, result, "banctl");
        self.recorder.audit(Audit {
            at,
            by: who(peer),
            what: what.to_owned(),
            target,
            reason,
            result: result.to_owned(),
        });
        self.flush(at);
    }
}

/// A peer as the audit trail names him.
pub(super) fn who(peer: &Peer) -> String {
    format!("{} (uid {})", peer.user, peer.uid)
}
