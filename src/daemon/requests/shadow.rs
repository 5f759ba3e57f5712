//! `shadow`: who one of portero and fail2ban would ban and the other not, and the lines that make the difference.

use std::time::Duration;

use super::{Answer, reply};
use crate::addr::Net;
use crate::control::protocol::{ErrorBody, ErrorCode, EvidenceLine, Response};
use crate::control::shadow::{Difference, ShadowReport};
use crate::daemon::engine::Engine;
use crate::fail2ban::shadow::{ShadowBan, Side};
use crate::filter::Outcome;
use crate::jail::JailId;
use crate::source::LogState;
use crate::store::{self, Store};
use crate::text::escape;
use crate::time::Timestamp;

/// How far two times of one ban may be apart, unless the question says.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Differences shown of each side, the latest.
const SHOWN_MAX: usize = 200;

/// Addresses of a network whose lines are shown.
const HOSTS_MAX: usize = 8;

impl Engine {
    pub(super) fn shadow(&mut self, since_secs: Option<u64>, tolerance_secs: Option<u64>, answer: Answer) {
        let now = self.clock.now();
        let Some(shadow) = &self.shadow else {
            let body = ErrorBody {
                code: ErrorCode::BadRequest,
                message: "portero does not run in shadow mode".to_owned(),
                help: Some("start it as portero --shadow, beside fail2ban".to_owned()),
            };
            return reply(answer, Response::Error(body));
        };
        let tolerance = tolerance_secs.map_or(TOLERANCE, Duration::from_secs);
        let from =
            since_secs.map_or(shadow.began, |secs| now.minus(Duration::from_secs(secs)).max(shadow.began));
        let compared = shadow.compare(from, now, tolerance);
        let state = self.tailer.status().into_iter().find(|log| log.path == shadow.log.to_string_lossy());
        let mut report = ShadowReport {
            since: from,
            until: now,
            log: escape(shadow.log.to_string_lossy().as_bytes()),
            log_state: match state.map(|log| log.state) {
                Some(LogState::Open) => "open",
                Some(LogState::Unreadable) => "unreadable",
                Some(LogState::Missing) | None => "missing",
            }
            .to_owned(),
            tolerance: tolerance.as_secs(),
            both: compared.both,
            covered: compared.covered,
            undecided: compared.undecided,
            only_portero: Vec::new(),
            only_fail2ban: Vec::new(),
            more: 0,
        };
        let mut alone: Vec<(ShadowBan, Vec<String>)> = Vec::new();
        let mut shown = [0, 0];
        for ban in compared.alone.iter().rev().map(|at| &shadow.bans[*at]) {
            let shown = &mut shown[usize::from(ban.side == Side::Fail2ban)];
            if *shown == SHOWN_MAX {
                report.more += 1;
                continue;
            }
            *shown += 1;
            alone.push((ban.clone(), shadow.said_about(ban, tolerance)));
        }
        let targets: Vec<Net> = alone.iter().map(|(ban, _)| ban.target).collect();
        let question = move |store: &mut dyn Store| -> Result<Vec<_>, store::StoreError> {
            targets.into_iter().map(|target| lines_of(store, target)).collect()
        };
        self.ask(question, move |engine, found| match found {
            Err(why) => reply(answer, Response::error(ErrorCode::Internal, why.to_string())),
            Ok(found) => {
                for ((ban, said), lines) in alone.into_iter().zip(found) {
                    let side = ban.side;
                    let difference = engine.difference(ban, said, lines, tolerance);
                    match side {
                        Side::Portero => report.only_portero.push(difference),
                        Side::Fail2ban => report.only_fail2ban.push(difference),
                    }
                }
                reply(answer, Response::Shadow(Box::new(report)));
            }
        });
    }

    fn difference(
        &self,
        ban: ShadowBan,
        said: Vec<String>,
        mut lines: Vec<EvidenceLine>,
        tolerance: Duration,
    ) -> Difference {
        // What could have led to it: no failure counts longer than the longest findtime.
        let jails = self.jails.ids().map(|id| self.jails.settings(id).findtime);
        let findtime = jails.max().unwrap_or_default();
        let (first, last) = (ban.since.minus(findtime), ban.since.plus(tolerance));
        lines.retain(|line| line.event == Outcome::Failure && (first..=last).contains(&line.time));
        let why = match ban.side {
            Side::Portero => why_not_fail2ban(&said),
            Side::Fail2ban => self.why_not_portero(&ban, &said, lines.len()),
        };
        let ShadowBan { jail, target, since, .. } = ban;
        let jail = escape(jail.as_bytes());
        Difference { jail, target: target.to_string(), at: since, why, lines, fail2ban: said }
    }

    fn why_not_portero(&self, ban: &ShadowBan, said: &[String], counted: usize) -> String {
        let jail = self.jails.id(&ban.jail).unwrap_or(JailId::MANUAL);
        if let Some(refusal) = self.jails.refusal(ban.since, jail, ban.target, true) {
            return refusal.to_string();
        }
        match counted {
            0 if !said.iter().any(|line| line.contains("] Found ")) => {
                "fail2ban found no failure of it either: banned by hand, or for what it did earlier".to_owned()
            }
            0 => "portero counted no failure of it: none of its filters knows the lines, or no jail of it reads that \
                  log"
                .to_owned(),
            _ => "portero counted some failures of it, and fewer than maxretry within findtime".to_owned(),
        }
    }
}

fn why_not_fail2ban(said: &[String]) -> String {
    let why = if said.iter().any(|line| line.contains("] Ignore ")) {
        "fail2ban ignores it"
    } else if said.iter().any(|line| line.contains("] Found ")) {
        "fail2ban found some failures of it, and fewer than maxretry within findtime"
    } else {
        "fail2ban found no failure of it: none of its filters knows the lines, or no jail of it reads that log"
    };
    why.to_owned()
}

/// The evidence against a target, oldest first.
fn lines_of(store: &mut dyn Store, target: Net) -> Result<Vec<EvidenceLine>, store::StoreError> {
    let hosts = match target.as_host() {
        Some(host) => vec![host],
        None => store.hosts_in(target, HOSTS_MAX)?,
    };
    let mut lines = Vec::new();
    for host in hosts {
        lines.extend(store.evidence(host)?.lines.into_iter().map(|line| EvidenceLine {
            time: line.time,
            jail: line.jail.map(|jail| jail.to_string()),
            event: line.outcome,
            ip: Some(host.to_string()),
            log: line.log.map(|log| escape(log.to_string_lossy().as_bytes())).unwrap_or_default(),
            line: escape(&line.line),
        }));
    }
    lines.sort_by_key(|line: &EvidenceLine| -> Timestamp { line.time });
    Ok(lines)
}
