//! Answers that change nothing: status, bans, the allow list, ping.

use super::{Answer, Target, reply};
use crate::addr::Net;
use crate::config::{Backend, ports};
use crate::control::protocol::{
    AllowEntry, BanInfo, BansPage, Ending, ErrorBody, ErrorCode, JailInfo, JailNumbers, JailReport,
    JailState, Overview, PAGE_BANS_MAX, Pong, Response, TargetKind, TargetStatus, WindowInfo,
};
use crate::daemon::engine::Engine;
use crate::daemon::load::filter_key;
use crate::firewall::Verdict;
use crate::jail::{Ban, GraceTarget, JailId, JailName, Never, Refusal};
use crate::source::{LogState, LogStatus};
use crate::store::{AccountRecord, UnbanCause};
use crate::time::Span;

/// Ended bans that a list looks back on.
const ENDED_MAX: usize = 10_000;

impl Engine {
    pub(super) fn overview(&mut self) -> Response {
        self.note_troubles();
        let logs = self.tailer.status();
        let mut jails: Vec<JailInfo> =
            self.config.enabled().map(|jail| self.jail_info(jail.settings.name.as_str(), &logs)).collect();
        let broken = self.problems.iter().map(|problem| problem.jail.clone());
        for name in broken {
            if !jails.iter().any(|jail| jail.name == name) {
                jails.push(self.jail_info(&name, &logs));
            }
        }
        jails.push(self.jail_info(JailName::manual().as_str(), &logs));
        jails.sort_by(|a, b| a.name.cmp(&b.name));
        Response::Overview(Box::new(Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.clock.monotonic().saturating_sub(self.started).as_secs(),
            firewall: self.enforcer.name().to_owned(),
            in_step: self.enforcer.problem().is_none(),
            jails,
            caps: self.config.limits.clone(),
            problems: self.troubles(),
            shadow: !self.enforcer.firewall().enforces(),
            notes: self.notes.clone(),
        }))
    }

    /// What is wrong beside single jails.
    fn troubles(&self) -> Vec<String> {
        let firewall = self.enforcer.problem().map(|problem| format!("firewall: {problem}"));
        let store = self.store.health().trouble.map(|trouble| format!("store: {trouble}"));
        firewall.into_iter().chain(store).collect()
    }

    pub(super) fn jail_info(&self, name: &str, logs: &[LogStatus]) -> JailInfo {
        let config = self.config.jail(name).filter(|jail| jail.enabled);
        let logs: Vec<LogStatus> = match config {
            None => Vec::new(),
            Some(jail) => {
                let paths: Vec<String> = jail
                    .logpath
                    .iter()
                    .flat_map(|pattern| self.tailer.logs_of(pattern))
                    .filter_map(|log| Some(self.tailer.path_of(log)?.display().to_string()))
                    .chain(jail.logpath.iter().cloned())
                    .collect();
                logs.iter().filter(|log| paths.contains(&log.path)).cloned().collect()
            }
        };
        let problem = self.problems.iter().find(|problem| problem.jail == name);
        let state = if problem.is_some() {
            if config.is_some() { JailState::Outdated } else { JailState::Broken }
        } else if name == JailName::manual().as_str()
            || config.is_some_and(|jail| jail.settings.recidive.is_some())
            || logs.iter().any(|log| log.state == LogState::Open)
        {
            JailState::Guarding
        } else {
            JailState::Waiting
        };
        let counts = self.jails.id(name).map(|id| self.jails.counts(id)).unwrap_or_default();
        let waits = match state {
            JailState::Waiting => config.map(|jail| waits_for(jail, &logs)),
            _ => None,
        };
        JailInfo {
            name: name.to_owned(),
            state,
            failures: counts.failures,
            tracked: counts.tracked as u64,
            banned: counts.banned as u64,
            banned_total: counts.banned_total,
            logs,
            problem: problem.map(|problem| problem.to_string()).or(waits),
            warning: config
                .and_then(|jail| self.filters.get(&filter_key(jail)))
                .and_then(|loaded| loaded.warning.clone()),
        }
    }

    pub(super) fn status(&mut self, text: &str, answer: Answer) {
        match self.target(text) {
            Err(error) => reply(answer, Response::Error(error)),
            Ok(Target::Jail(name)) => reply(answer, self.jail_report(&name)),
            Ok(Target::Net(net)) => {
                let status = self.net_status(text, net);
                reply(answer, Response::Target(status));
            }
            Ok(Target::Account(name)) => {
                let text = text.to_owned();
                let question = name.clone();
                self.ask(
                    move |store| store.account(&question),
                    move |engine, found| match found {
                        Ok(record) => {
                            let status = engine.account_status(&text, &name, &record);
                            reply(answer, Response::Target(status));
                        }
                        Err(why) => reply(answer, Response::error(ErrorCode::Internal, why.to_string())),
                    },
                );
            }
        }
    }

    fn jail_report(&self, name: &str) -> Response {
        let logs = self.tailer.status();
        let info = self.jail_info(name, &logs);
        let Some(id) = self.jails.id(name) else {
            // A jail whose file is bad has no numbers; its problem says why.
            return Response::Jail(Box::new(JailReport {
                info,
                settings: JailNumbers::default(),
                bans: Vec::new(),
            }));
        };
        let settings = self.jails.settings(id);
        let config = self.config.jail(name);
        let rules = self.enforcer.plan().jails.iter().find(|rules| rules.name.as_str() == name);
        let mut bans: Vec<Ban> = self.jails.bans().filter(|ban| ban.jail.as_str() == name).collect();
        bans.sort_by_key(|ban| std::cmp::Reverse(ban.since));
        bans.truncate(PAGE_BANS_MAX);
        Response::Jail(Box::new(JailReport {
            info,
            settings: JailNumbers {
                filter: config.map(|jail| jail.filter.clone()).unwrap_or_default(),
                maxretry: settings.maxretry,
                findtime_secs: settings.findtime.as_secs(),
                bantime_secs: match settings.bantime {
                    Span::For(length) => Some(length.as_secs()),
                    Span::Forever => None,
                },
                ports: rules.map(|rules| ports::show(&rules.ports)).unwrap_or_default(),
                action: match rules.map(|rules| rules.verdict) {
                    Some(Verdict::Reject) => "reject",
                    _ => "drop",
                }
                .to_owned(),
            },
            bans: bans.iter().map(BanInfo::of).collect(),
        }))
    }

    pub(super) fn net_status(&self, text: &str, net: Net) -> TargetStatus {
        let now = self.clock.now();
        let bans: Vec<Ban> = self.live_bans(net);
        let window = |view: crate::jail::WindowView| WindowInfo {
            jail: view.jail.to_string(),
            key: view.key.to_string(),
            failures: view.failures,
            maxretry: view.maxretry,
        };
        let host = net.as_host().is_some();
        TargetStatus {
            target: text.trim().to_owned(),
            kind: if host { TargetKind::Address } else { TargetKind::Network },
            banned: !bans.is_empty(),
            bans: bans.iter().map(BanInfo::of).collect(),
            grace_until: self.jails.grace_of(now, &GraceTarget::Net(net)),
            // Not `allow_nets`: that holds graces too, which `grace_until` tells.
            allowed: matches!(
                self.jails.refusal(now, JailId::MANUAL, net, true),
                Some(Refusal::Never(..) | Refusal::Ignored(_) | Refusal::Allowed(..))
            ),
            windows: self.jails.windows_of(now, net).into_iter().map(window).collect(),
        }
    }

    /// Bans that touch `net` and are not over, whatever the last sweep saw.
    pub(super) fn live_bans(&self, net: Net) -> Vec<Ban> {
        let now = self.clock.now();
        let mut bans = self.jails.bans_of(net);
        bans.retain(|ban| ban.left(now).is_some());
        bans
    }

    pub(super) fn account_status(&self, text: &str, name: &str, record: &AccountRecord) -> TargetStatus {
        let now = self.clock.now();
        let mut bans: Vec<Ban> =
            record.hosts.iter().flat_map(|seen| self.live_bans(Net::host(seen.host))).collect();
        bans.sort_by(|a, b| (&a.jail, a.target).cmp(&(&b.jail, b.target)));
        bans.dedup_by(|a, b| a.jail == b.jail && a.target == b.target);
        TargetStatus {
            target: text.trim().to_owned(),
            kind: TargetKind::Account,
            banned: !bans.is_empty(),
            bans: bans.iter().map(BanInfo::of).collect(),
            grace_until: self.jails.grace_of(now, &GraceTarget::Account(name.to_owned())),
            allowed: false,
            windows: Vec::new(),
        }
    }

    pub(super) fn bans(&mut self, jail: Option<String>, ended: bool, after: Option<String>, answer: Answer) {
        if let Some(name) = &jail
            && !self.knows_jail(name)
        {
            let body = ErrorBody {
                code: ErrorCode::UnknownJail,
                message: format!("no jail is named {name:?}"),
                help: Some("banctl status lists the jails".to_owned()),
            };
            return reply(answer, Response::Error(body));
        }
        if ended {
            let page = move |_: &mut Engine, found: Result<Vec<crate::store::Unban>, _>| match found {
                Ok(ends) => {
                    let wanted = ends
                        .iter()
                        .filter(|end| jail.as_deref().is_none_or(|name| end.jail.as_str() == name))
                        .filter_map(ended_ban)
                        .collect();
                    reply(answer, Response::Bans(BansPage { bans: wanted, after: None }));
                }
                Err::<_, crate::store::StoreError>(why) => {
                    reply(answer, Response::error(ErrorCode::Internal, why.to_string()));
                }
            };
            return self.ask(|store| store.ended(ENDED_MAX), page);
        }
        reply(answer, Response::Bans(self.bans_page(jail.as_deref(), after.as_deref())));
    }

    /// One page of the bans in force, in the order of jail and target: a stable order, whatever comes and goes.
    fn bans_page(&self, jail: Option<&str>, after: Option<&str>) -> BansPage {
        let now = self.clock.now();
        let start = after.and_then(|after| {
            let (jail, target) = after.split_once(' ')?;
            Some((JailName::new(jail)?, target.parse::<Net>().ok()?))
        });
        let key = |ban: &Ban| (ban.jail.clone(), ban.target);
        let mut page: std::collections::BTreeMap<(JailName, Net), Ban> = std::collections::BTreeMap::new();
        let mut more = false;
        for ban in self.jails.bans() {
            let wanted = jail.is_none_or(|name| ban.jail.as_str() == name)
                && ban.left(now).is_some()
                && start.as_ref().is_none_or(|start| key(&ban) > *start);
            if !wanted {
                continue;
            }
            page.insert(key(&ban), ban);
            if page.len() > PAGE_BANS_MAX {
                page.pop_last();
                more = true;
            }
        }
        let after = page.last_key_value().filter(|_| more).map(|((jail, net), _)| format!("{jail} {net}"));
        BansPage { bans: page.values().map(BanInfo::of).collect(), after }
    }

    pub(super) fn allow_list(&self) -> Response {
        let mut list: Vec<AllowEntry> = self
            .jails
            .allow_list()
            .map(|entry| AllowEntry {
                target: entry.target.to_string(),
                source: "banctl".to_owned(),
                by: Some(entry.by.clone()),
                reason: entry.reason.clone(),
                until: entry.until,
            })
            .collect();
        let plain = |target: String, source: &str| AllowEntry {
            target,
            source: source.to_owned(),
            by: None,
            reason: None,
            until: None,
        };
        list.extend(self.config.ignoreip.iter().map(|entry| plain(entry.to_string(), "ignoreip")));
        let proxies = self.config.trusted_proxies.iter();
        list.extend(proxies.map(|net| plain(net.to_string(), "trusted-proxy")));
        for (kind, nets) in &self.never {
            let source = match kind {
                Never::Own | Never::Loopback => "self",
                Never::Gateway => "gateway",
                Never::Resolver => "resolver",
                Never::TrustedProxy => "trusted-proxy",
                Never::AdminSession => "session",
            };
            list.extend(nets.iter().map(|net| plain(net.to_string(), source)));
        }
        Response::AllowList(list)
    }

    pub(super) fn ping(&mut self) -> Response {
        let mut problems = self.troubles();
        for log in self.tailer.status() {
            if log.state == LogState::Unreadable {
                problems.push(format!("{} cannot be read", log.path));
            }
        }
        Response::Ping(Pong {
            ok: problems.is_empty(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            problems,
        })
    }
}

/// What a waiting jail waits for.
fn waits_for(jail: &crate::config::JailConfig, logs: &[LogStatus]) -> String {
    if jail.backend == Backend::Journal {
        return "waiting for the journal: this version reads files only".to_owned();
    }
    if jail.logpath.is_empty() {
        return "it names no log: only bans by hand".to_owned();
    }
    match logs.iter().find(|log| log.state == LogState::Unreadable) {
        Some(log) => format!("cannot read {}: is the daemon's user in the log's group?", log.path),
        None => format!("no log yet: waiting for {}", jail.logpath.join(", ")),
    }
}

/// An ended ban as it is shown; `None` where only its end is known.
pub(super) fn ended_ban(end: &crate::store::Unban) -> Option<BanInfo> {
    let how = match end.cause {
        UnbanCause::Expired => "expired",
        UnbanCause::Person | UnbanCause::Foreign => "unban",
        UnbanCause::Flush => "flush",
        UnbanCause::JailGone => "reload",
        UnbanCause::Allowed => "allowed",
    };
    let ending = Ending {
        ended_at: end.at,
        ended_how: how.to_owned(),
        ended_by: end.by.clone(),
        ended_reason: end.reason.clone(),
    };
    Some(BanInfo { ended: Some(ending), ..BanInfo::of(end.ban.as_ref()?) })
}
