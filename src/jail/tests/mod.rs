//! The state machine as a whole: feed attempts, look at actions.

mod ask;
mod hand;
mod keep;
mod recidive;
mod rule;

use std::time::Duration;

use super::*;
use crate::addr::{Host, Net};
use crate::filter::{Attempt, Outcome};
use crate::limits::Limits;
use crate::time::{Span, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Jails, a clock, and what came out last.
struct World {
    jails: Jails,
    now: Timestamp,
    out: Vec<Action>,
}

/// 5 failures in 10 minutes ban for an hour.
fn sasl() -> JailSettings {
    JailSettings::new(JailName::new("postfix-sasl").unwrap())
}

fn imap() -> JailSettings {
    JailSettings::new(JailName::new("cyrus").unwrap())
}

fn net(text: &str) -> Net {
    text.parse().unwrap()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl World {
    fn of(settings: Vec<JailSettings>) -> World {
        let jails = Jails::new(settings, Vec::new(), &Limits::default(), 1);
        World { jails, now: Timestamp::from_secs(1_795_300_000), out: Vec::new() }
    }

    fn new() -> World {
        World::of(vec![sasl(), imap()])
    }

    fn id(&self, name: &str) -> JailId {
        self.jails.id(name).unwrap()
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    /// Any attempt; what came out replaces `out`.
    fn tell(&mut self, jail: &str, live: bool, attempt: &Attempt<'_>) -> Seen {
        self.out.clear();
        let jail = self.id(jail);
        self.jails.attempt(self.now, live, jail, attempt, &mut self.out)
    }

    /// One live failure of postfix-sasl, right now.
    fn fail(&mut self, from: &str) -> Seen {
        self.tell("postfix-sasl", true, &failure(from, Some(self.now)))
    }

    /// A failure each second, until one bans or `times` are done.
    fn fail_times(&mut self, from: &str, times: u32) -> Seen {
        let mut seen = Seen::Ignored;
        for _ in 0..times {
            self.wait(secs(1));
            seen = self.fail(from);
            if seen == Seen::Banned {
                break;
            }
        }
        seen
    }

    fn expire(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        self.jails.expire(self.now, &mut out);
        out
    }

    fn ban_by_hand(&mut self, target: &str, span: Option<Span>, force: bool) -> Result<Ban, Refusal> {
        self.out.clear();
        self.jails.ban(self.now, None, net(target), span, Some("because".into()), force, &mut self.out)
    }

    fn unban(&mut self, target: &str) -> usize {
        self.out.clear();
        self.jails.unban(self.now, None, net(target), &mut self.out)
    }

    fn banned(&self, who: &str) -> bool {
        self.jails.is_banned(host(who), None)
    }

    /// The one ban that came out.
    fn ban(&self) -> &Ban {
        match self.out.as_slice() {
            [Action::Ban(ban)] => ban,
            other => panic!("not one ban: {other:?}"),
        }
    }
}

fn failure(from: &str, time: Option<Timestamp>) -> Attempt<'static> {
    Attempt {
        outcome: Outcome::Failure,
        host: Some(host(from)),
        user: None,
        pwhash: None,
        time,
        times: 1,
        line: b"",
        line_index: 0,
        filter: 0,
        pattern: 0,
        beside: Default::default(),
    }
}
