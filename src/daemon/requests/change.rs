//! Answers that change something: unban, ban, allow, flush.
//!
//! An unban is recorded first and lifted when the record is durable, so that no crash brings the ban back after
//! somebody was told that it is gone.

use std::collections::HashSet;
use std::time::Duration;

use super::{Answer, Target, reply, who};
use crate::addr::{Host, Net};
use crate::control::protocol::{
    AllowAnswer, BanAnswer, Banned, ErrorBody, ErrorCode, Flushed, Kept, LIFTED_SHOWN_MAX, Lifted, Response,
    Unbanned,
};
use crate::control::server::Peer;
use crate::daemon::engine::Engine;
use crate::daemon::recorder::cause_of;
use crate::fail2ban::log::Event;
use crate::jail::{Action, AllowEntry, GraceTarget, JailId, JailName, Refusal};
use crate::store::{Store, StoreError, UnbanCause};
use crate::time::{Span, Timestamp};

/// Addresses of one banned network that an unban by account looks at.
const NET_HOSTS_MAX: usize = 256;

/// What goes with an unban.
#[derive(Debug, Clone)]
pub(super) struct UnbanWish {
    pub jail: Option<String>,
    pub grace_secs: Option<u64>,
    pub reason: Option<String>,
    pub all_addresses: bool,
}

/// What the store says of one address that tried the account, and of the network whose ban covers it.
struct Tried {
    host: Host,
    /// Good logins of the account from there.
    good: u64,
    /// Other accounts tried from there or, where a whole network is banned, from that network.
    others: u64,
}

fn unbanned(target: &str) -> Unbanned {
    Unbanned {
        target: target.to_owned(),
        lifted: Vec::new(),
        kept: Vec::new(),
        grace_until: None,
        lifted_total: 0,
        error: None,
    }
}

impl Engine {
    pub(super) fn unban(
        &mut self,
        targets: Vec<String>,
        all: bool,
        wish: UnbanWish,
        peer: &Peer,
        answer: Answer,
    ) {
        let jail = match wish.jail.as_deref().map(|name| self.jail_of(name)).transpose() {
            Ok(jail) => jail,
            Err(error) => return reply(answer, Response::Error(error)),
        };
        let now = self.clock.now();
        self.hand_in(now, true);
        if all {
            let mut actions = Vec::new();
            self.jails.unban_all(now, jail, &mut actions);
            let done = lifted(unbanned("all"), &actions);
            let lifts = self.record_unbans(actions, UnbanCause::Flush, peer, wish.reason.as_deref());
            self.audit(peer, "unban --all", wish.jail, wish.reason, &format!("{} lifted", done.lifted_total));
            return self.lift(lifts, vec![done], answer);
        }
        let mut accounts = Vec::new();
        let mut done = Vec::new();
        let mut lifts = Vec::new();
        for text in targets {
            match self.target(&text) {
                Ok(Target::Net(net)) => {
                    let (one, more) =
                        self.unban_nets(&text, &[net], jail, GraceTarget::Net(net), &wish, peer);
                    done.push(one);
                    lifts.extend(more);
                }
                Ok(Target::Account(name)) => accounts.push((text, name)),
                Ok(Target::Jail(name)) => {
                    let error = ErrorBody {
                        code: ErrorCode::BadRequest,
                        message: format!("{name} is a jail"),
                        help: Some(format!("banctl unban --all --jail {name} lifts all its bans")),
                    };
                    done.push(Unbanned { error: Some(error), ..unbanned(&text) });
                }
                Err(error) => done.push(Unbanned { error: Some(error), ..unbanned(&text) }),
            }
        }
        if accounts.is_empty() {
            return self.lift(lifts, done, answer);
        }
        let bans: Vec<Net> =
            self.jails.bans().map(|ban| ban.target).filter(|net| net.as_host().is_none()).collect();
        let names: Vec<String> = accounts.iter().map(|(_, name)| name.clone()).collect();
        let question = move |store: &mut dyn Store| {
            names.iter().map(|name| tried(store, name, &bans)).collect::<Result<Vec<_>, _>>()
        };
        let peer = peer.clone();
        self.ask(question, move |engine, found: Result<Vec<Vec<Tried>>, StoreError>| match found {
            Err(why) => reply(answer, Response::error(ErrorCode::Internal, why.to_string())),
            Ok(found) => {
                for ((text, name), tried) in accounts.into_iter().zip(found) {
                    let (one, more) = engine.unban_account(&text, &name, &tried, jail, &wish, &peer);
                    done.push(one);
                    lifts.extend(more);
                }
                engine.lift(lifts, done, answer);
            }
        });
    }

    fn unban_account(
        &mut self,
        text: &str,
        name: &str,
        tried: &[Tried],
        jail: Option<JailId>,
        wish: &UnbanWish,
        peer: &Peer,
    ) -> (Unbanned, Vec<(JailName, Net)>) {
        let banned = |one: &&Tried| {
            let bans = self.live_bans(Net::host(one.host));
            bans.iter().any(|ban| jail.is_none_or(|jail| self.jails.id(ban.jail.as_str()) == Some(jail)))
        };
        let (lift, keep): (Vec<&Tried>, Vec<&Tried>) = tried
            .iter()
            .filter(banned)
            .partition(|one| wish.all_addresses || one.others == 0 || one.good > 0);
        let kept = keep
            .iter()
            .map(|one| Kept {
                target: one.host.to_string(),
                why: match one.others {
                    1 => "tried another account too".to_owned(),
                    others => format!("tried {others} other accounts"),
                },
            })
            .collect();
        let nets: Vec<Net> = lift.iter().map(|one| Net::host(one.host)).collect();
        let grace = GraceTarget::Account(name.to_owned());
        let (done, lifts) = self.unban_nets(text, &nets, jail, grace, wish, peer);
        (Unbanned { kept, ..done }, lifts)
    }

    /// Takes the bans of `nets` out of the jails and records it; the kernel's part is returned.
    fn unban_nets(
        &mut self,
        text: &str,
        nets: &[Net],
        jail: Option<JailId>,
        grace: GraceTarget,
        wish: &UnbanWish,
        peer: &Peer,
    ) -> (Unbanned, Vec<(JailName, Net)>) {
        let now = self.clock.now();
        let mut actions = Vec::new();
        for net in nets {
            self.jails.unban(now, jail, *net, &mut actions);
        }
        let mut done = lifted(unbanned(text), &actions);
        if let Some(secs) = wish.grace_secs {
            let length = Duration::from_secs(secs);
            // By account, the addresses are trusted too: the log does not always name the account.
            for net in nets.iter().filter(|net| grace != GraceTarget::Net(**net)) {
                let entry = self.jails.grace(now, GraceTarget::Net(*net), length);
                self.recorder.grace(&entry, &who(peer), wish.reason.as_deref());
            }
            let entry = self.jails.grace(now, grace, length);
            self.recorder.grace(&entry, &who(peer), wish.reason.as_deref());
            done.grace_until = Some(entry.until);
        }
        let lifts = self.record_unbans(actions, UnbanCause::Person, peer, wish.reason.as_deref());
        let result = format!("{} lifted", done.lifted_total);
        self.audit_later(peer, "unban", Some(text.to_owned()), wish.reason.clone(), &result);
        (done, lifts)
    }

    /// Puts unbans into the frame; what the kernel has to lift is returned.
    fn record_unbans(
        &mut self,
        actions: Vec<Action>,
        cause: UnbanCause,
        peer: &Peer,
        reason: Option<&str>,
    ) -> Vec<(JailName, Net)> {
        let mut lifts = Vec::new();
        for action in actions {
            if let Action::Unban { jail, target, at, .. } = action {
                tracing::info!(%jail, %target, by = peer.user, reason, "unban");
                self.recorder.unban(&jail, target, at, cause, Some(&who(peer)), reason);
                self.fail2ban_log.write(at, jail.as_str(), target, Event::Unban);
                if let Some(shadow) = &mut self.shadow {
                    shadow.unban(&jail, target, at);
                }
                lifts.push((jail, target));
            }
        }
        self.fail2ban_log.send();
        lifts
    }

    /// Makes the record durable, then lifts, then answers.
    fn lift(&mut self, lifts: Vec<(JailName, Net)>, done: Vec<Unbanned>, answer: Answer) {
        self.record(move |engine, recorded| {
            let now = engine.clock.now();
            // Banned again while the record was written: that ban stays.
            let banned_again =
                |(jail, target): &(JailName, Net)| engine.jails.ban_of(jail, *target).is_some();
            let lifts: Vec<_> = lifts.into_iter().filter(|key| !banned_again(key)).collect();
            engine.enforcer.apply(&[], &lifts, &engine.jails, now);
            for (jail, target) in &lifts {
                engine.actions.unban(jail, *target);
            }
            engine.enforcer.set_allow(engine.jails.allow_nets(), now);
            if let Err(why) = recorded {
                engine.note(format!("an unban is lifted but could not be recorded: {why}"));
            }
            reply(answer, Response::Unban(done));
        });
    }

    #[expect(clippy::too_many_arguments, reason = "it is what banctl ban says")]
    pub(super) fn ban(
        &mut self,
        targets: Vec<String>,
        jail: Option<String>,
        for_secs: Option<f64>,
        reason: Option<String>,
        force: bool,
        peer: &Peer,
        answer: Answer,
    ) {
        let jail = match jail.as_deref().map(|name| self.jail_of(name)).transpose() {
            Ok(jail) => jail,
            Err(error) => return reply(answer, Response::Error(error)),
        };
        let span = match for_secs.map(span_of).transpose() {
            Ok(span) => span,
            Err(error) => return reply(answer, Response::Error(error)),
        };
        // What was found at start or by the last look may be old: an administrator may have logged in since.
        let now = self.clock.now();
        self.look_around(now);
        self.hand_in(now, false);
        let mut done = Vec::new();
        let mut actions = Vec::new();
        for text in targets {
            let refused = |error| BanAnswer::Refused { target: text.clone(), error };
            let net = match text.trim().parse::<Net>() {
                Ok(net) => net,
                Err(why) => {
                    let help = Some("banctl why shows the addresses that tried an account".to_owned());
                    let code = ErrorCode::BadRequest;
                    done.push(refused(ErrorBody { code, message: why.to_string(), help }));
                    continue;
                }
            };
            let name = self.jails.settings(jail.unwrap_or(JailId::MANUAL)).name.clone();
            let renewed = self.jails.ban_of(&name, net).is_some();
            match self.jails.ban(now, jail, net, span, reason.clone(), force, &mut actions) {
                Ok(ban) => {
                    if renewed {
                        self.fail2ban_log.leave_out(name, net);
                    }
                    self.audit_later(peer, "ban", Some(net.to_string()), reason.clone(), "banned");
                    done.push(BanAnswer::Banned(Banned {
                        target: net.to_string(),
                        jail: ban.jail.to_string(),
                        until: ban.until,
                        renewed,
                    }));
                }
                Err(refusal) => done.push(refused(refusal_body(&refusal))),
            }
        }
        self.perform(actions, Some((&who(peer), reason.as_deref())), now);
        self.record(move |engine, recorded| {
            if let Err(why) = recorded {
                engine.note(format!("a ban is in force but could not be recorded: {why}"));
            }
            reply(answer, Response::Ban(done));
        });
    }

    pub(super) fn allow_add(
        &mut self,
        targets: &[String],
        for_secs: Option<u64>,
        reason: Option<String>,
        peer: &Peer,
        answer: Answer,
    ) {
        let now = self.clock.now();
        let until = for_secs.map(|secs| now.plus(Duration::from_secs(secs)));
        let mut actions = Vec::new();
        let mut done = Vec::new();
        for text in targets {
            let Some(net) = allow_target(text, &mut done) else { continue };
            let entry = AllowEntry { target: net, until, by: who(peer), reason: reason.clone() };
            self.recorder.allow(now, net, Some(&entry));
            self.jails.allow_add(now, entry, &mut actions);
            self.audit_later(peer, "allow add", Some(net.to_string()), reason.clone(), "done");
            done.push(AllowAnswer { target: net.to_string(), done: true, until, error: None });
        }
        self.finish_allow(actions, done, peer, reason, now, answer);
    }

    pub(super) fn allow_remove(&mut self, targets: &[String], peer: &Peer, answer: Answer) {
        let now = self.clock.now();
        let mut done = Vec::new();
        for text in targets {
            let Some(net) = allow_target(text, &mut done) else { continue };
            let removed = self.jails.allow_remove(net);
            if removed {
                self.recorder.allow(now, net, None);
                self.audit_later(peer, "allow rm", Some(net.to_string()), None, "done");
            }
            done.push(AllowAnswer { target: net.to_string(), done: removed, until: None, error: None });
        }
        self.finish_allow(Vec::new(), done, peer, None, now, answer);
    }

    fn finish_allow(
        &mut self,
        actions: Vec<Action>,
        done: Vec<AllowAnswer>,
        peer: &Peer,
        reason: Option<String>,
        now: Timestamp,
        answer: Answer,
    ) {
        self.perform(actions, Some((&who(peer), reason.as_deref())), now);
        self.enforcer.set_allow(self.jails.allow_nets(), now);
        self.record(move |engine, recorded| {
            if let Err(why) = recorded {
                engine.note(format!("the allow list changed but could not be recorded: {why}"));
            }
            reply(answer, Response::Allow(done));
        });
    }

    /// Ends every ban, removes the table, and ends the daemon: with it running, the table would come back.
    pub(super) fn flush_all(&mut self, peer: &Peer, answer: Answer) -> bool {
        let now = self.clock.now();
        let mut actions = Vec::new();
        let ended = self.jails.unban_all(now, None, &mut actions);
        for action in &actions {
            if let Action::Unban { jail, target, at, .. } = action {
                self.recorder.unban(jail, *target, *at, UnbanCause::Flush, Some(&who(peer)), None);
                self.fail2ban_log.write(now, jail.as_str(), *target, Event::Unban);
            }
        }
        self.audit_later(peer, "flush", None, None, &format!("{ended} bans ended"));
        match self.enforcer.flush() {
            Ok(()) => {
                reply(answer, Response::Flush(Flushed { ok: true, ended: ended as u64 }));
                true
            }
            Err(why) => {
                reply(answer, Response::error(ErrorCode::Internal, why.to_string()));
                self.flush(now);
                false
            }
        }
    }

    /// As [`Engine::audit`], written with whatever frame comes next.
    fn audit_later(
        &mut self,
        peer: &Peer,
        what: &str,
        target: Option<String>,
        reason: Option<String>,
        result: &str,
    ) {
        let at = self.clock.now();
        let result = result.to_owned();
        let audit = crate::store::Audit { at, by: who(peer), what: what.to_owned(), target, reason, result };
        self.recorder.audit(audit);
    }

    pub(super) fn jail_of(&self, name: &str) -> Result<JailId, ErrorBody> {
        self.jails.id(name).ok_or_else(|| ErrorBody {
            code: ErrorCode::UnknownJail,
            message: format!("no jail is named {name:?}"),
            help: Some("banctl status lists the jails".to_owned()),
        })
    }
}

/// Who tried an account; where one of `nets` is banned and holds the address, all that was tried from that
/// network counts: who rotates through a network tries one account from each address.
fn tried(store: &mut dyn Store, name: &str, nets: &[Net]) -> Result<Vec<Tried>, StoreError> {
    let record = store.account(name)?;
    let mut all = Vec::new();
    for seen in record.hosts {
        let mut others = seen.other_accounts;
        let mut good = seen.successes;
        for net in nets.iter().filter(|net| net.contains(seen.host)) {
            let mut accounts = HashSet::new();
            for host in store.hosts_in(*net, NET_HOSTS_MAX)? {
                let evidence = store.evidence(host)?;
                accounts.extend(evidence.accounts.iter().map(|account| local_part(&account.account)));
            }
            accounts.remove(&local_part(name.as_bytes()));
            if accounts.len() as u64 > others {
                others = accounts.len() as u64;
                // One good login does not vouch for a whole network of guesses.
                good = 0;
            }
        }
        all.push(Tried { host: seen.host, good, others });
    }
    Ok(all)
}

fn local_part(account: &[u8]) -> Vec<u8> {
    account.split(|b| *b == b'@').next().unwrap_or(account).to_ascii_lowercase()
}

fn lifted(mut done: Unbanned, actions: &[Action]) -> Unbanned {
    let all = actions.iter().filter_map(|action| match action {
        Action::Unban { jail, target, cause, .. } if cause_of(*cause) != UnbanCause::Expired => {
            Some(Lifted { jail: jail.to_string(), target: target.to_string() })
        }
        _ => None,
    });
    done.lifted = all.collect();
    done.lifted_total = done.lifted.len() as u64;
    done.lifted.truncate(LIFTED_SHOWN_MAX);
    done
}

/// Seconds as a person gave them; negative: for ever.
fn span_of(secs: f64) -> Result<Span, ErrorBody> {
    if secs < 0.0 {
        return Ok(Span::Forever);
    }
    Duration::try_from_secs_f64(secs).ok().filter(|span| span.as_secs() >= 1).map(Span::For).ok_or_else(
        || ErrorBody {
            code: ErrorCode::BadRequest,
            message: format!("{secs} seconds is no length of a ban"),
            help: Some("examples: --for 10m, --for 1h30m, --for -1 (never ends)".to_owned()),
        },
    )
}

fn refusal_body(refusal: &Refusal) -> ErrorBody {
    let help = match refusal {
        Refusal::Never(..) | Refusal::NoPeer(_) => None,
        Refusal::Ignored(_) => Some("it stands in ignoreip of portero.toml or of the jail".to_owned()),
        Refusal::Allowed(net, _) => Some(format!("banctl allow rm {net} takes it out")),
        Refusal::TooWide(..) => Some("a wide ban shuts out many who did nothing".to_owned()),
        Refusal::Full(_) => Some("raise bans_max under [limits], or lift some".to_owned()),
    };
    let code = match refusal {
        Refusal::Full(_) => ErrorCode::Internal,
        _ => ErrorCode::NeverBanned,
    };
    ErrorBody { code, message: refusal.to_string(), help }
}

/// The network of an allow entry; where it is none, the answer says so.
fn allow_target(text: &str, done: &mut Vec<AllowAnswer>) -> Option<Net> {
    match text.trim().parse::<Net>() {
        Ok(net) => Some(net),
        Err(why) => {
            let help = Some("a name (DynDNS) goes into ignoreip in portero.toml".to_owned());
            let error = ErrorBody { code: ErrorCode::BadRequest, message: why.to_string(), help };
            done.push(AllowAnswer { target: text.to_owned(), done: false, until: None, error: Some(error) });
            None
        }
    }
}
