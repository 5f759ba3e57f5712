//! The firewall as the engine uses it: bans go out at once, and what another program breaks is put back.

use std::collections::HashMap;
use std::time::Duration;

use tracing::{error, warn};

use super::cuts::Cuts;
use crate::addr::Net;
use crate::firewall::{Firewall, FirewallError, KernelBan, Plan, Ports, Refused};
use crate::jail::{JailName, Jails};
use crate::time::{Clock, Span, Timestamp};

/// After a refusal the firewall is tried again so much later, twice as much each time up to the second.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Keeps the kernel in step with the jails.
pub struct Enforcer {
    firewall: Box<dyn Firewall>,
    plan: Plan,
    /// Bans found in the kernel at start that no record explains, as of `found_at`; kept until every log was caught
    /// up with.
    found: Vec<KernelBan>,
    found_at: Timestamp,
    cuts: Cuts,
    /// What is wrong, for `status`; `None`: in step.
    problem: Option<String>,
    /// When to try again, and the wait after that one.
    retry: Option<(Timestamp, Duration)>,
}

impl Enforcer {
    /// Opens the firewall. What it holds that `jails` does not know and that is `unrecorded` (not lifted by
    /// anybody) is kept until [`Enforcer::take_found`].
    ///
    /// # Errors
    /// The firewall's: NotPermitted, Owned.
    pub fn open(
        mut firewall: Box<dyn Firewall>,
        plan: Plan,
        jails: &Jails,
        unrecorded: impl Fn(&JailName, Net) -> bool,
        now: Timestamp,
    ) -> Result<Enforcer, FirewallError> {
        let held = firewall.open(&plan)?;
        let known = |ban: &KernelBan| {
            jails.bans_of(ban.target).iter().any(|known| known.jail == ban.jail && known.target == ban.target)
        };
        let found: Vec<KernelBan> =
            held.into_iter().filter(|ban| !known(ban) && unrecorded(&ban.jail, ban.target)).collect();
        let cuts = Cuts::default();
        let mut enforcer =
            Enforcer { firewall, plan, found, found_at: now, cuts, problem: None, retry: None };
        enforcer.restore(jails, now);
        Ok(enforcer)
    }

    pub fn name(&self) -> &'static str {
        self.firewall.name()
    }

    pub fn firewall(&self) -> &dyn Firewall {
        &*self.firewall
    }

    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bans found in the kernel that nothing explained, with what is left of them by now; they are left to the
    /// caller.
    pub fn take_found(&mut self, now: Timestamp) -> Vec<KernelBan> {
        let found = std::mem::take(&mut self.found);
        found.iter().filter_map(|ban| aged(ban, self.found_at, now)).collect()
    }

    /// Bans found in the kernel that nothing explained so far.
    pub fn found(&self) -> &[KernelBan] {
        &self.found
    }

    /// Forgets a found ban: its record turned up.
    pub fn explained(&mut self, jail: &JailName, target: Net) {
        self.found.retain(|ban| ban.jail != *jail || ban.target != target);
    }

    /// Bans and lifts; the sockets of who was banned are for [`Enforcer::cut`] to close. A refusal is reported and
    /// retried; it stops nothing.
    pub fn apply(&mut self, bans: &[KernelBan], unbans: &[(JailName, Net)], jails: &Jails, now: Timestamp) {
        if bans.is_empty() && unbans.is_empty() {
            return;
        }
        match self.firewall.apply(bans, unbans) {
            Ok(refused) => self.report(refused, now),
            Err(FirewallError::Gone { .. }) => {
                warn!("the firewall's table was removed by another program; restoring it");
                self.restore(jails, now);
            }
            Err(why) => self.failed(&why, now),
        }
        for (jail, target) in unbans {
            self.cuts.spare(jail, *target);
        }
        for ban in bans {
            self.cuts.add(ban.jail.clone(), ban.target);
        }
    }

    /// When [`Enforcer::cut`] has something to do, by the monotonic clock.
    pub fn cut_due(&self) -> Option<Duration> {
        self.cuts.due()
    }

    /// Closes the sockets of banned peers on their jails' ports, if it is time for that; how many those were.
    pub fn cut(&mut self, clock: &dyn Clock) -> usize {
        let begun = clock.monotonic();
        let peers = self.cuts.take(begun);
        if peers.is_empty() {
            return 0;
        }
        let ports: HashMap<&JailName, &Ports> =
            self.plan.jails.iter().map(|rules| (&rules.name, &rules.ports)).collect();
        let targets: Vec<(Net, Ports)> =
            peers.iter().filter_map(|(jail, target)| Some((*target, (*ports.get(jail)?).clone()))).collect();
        if targets.is_empty() {
            return 0;
        }
        let closed = self.firewall.cut(&targets).unwrap_or_else(|why| {
            warn!("{why}");
            0
        });
        self.cuts.looked(begun, clock.monotonic());
        closed
    }

    /// Another program changed the ruleset, or it is time to look: puts back what is missing.
    pub fn look(&mut self, jails: &Jails, now: Timestamp) {
        if let Some((at, _)) = self.retry {
            if at <= now {
                self.restore(jails, now);
            }
            return;
        }
        match self.firewall.in_step() {
            Ok(true) => {}
            Ok(false) => {
                warn!("the firewall is not as portero made it; restoring it");
                self.restore(jails, now);
            }
            Err(why) => self.failed(&why, now),
        }
    }

    /// Drains the firewall's events; looks if somebody else was at work.
    pub fn on_event(&mut self, jails: &Jails, now: Timestamp) {
        if let Some(change) = self.firewall.on_event() {
            tracing::debug!(by = change.by.as_deref().unwrap_or("unknown"), "the ruleset was changed");
            self.look(jails, now);
        }
    }

    /// Makes the kernel hold the plan and every ban; once more if another program came in between.
    pub fn restore(&mut self, jails: &Jails, now: Timestamp) {
        let replaced = match self.replace_all(jails, now) {
            Err(FirewallError::Gone { .. }) => self.replace_all(jails, now),
            done => done,
        };
        match replaced {
            Ok(refused) => {
                self.retry = None;
                self.problem = None;
                self.report(refused, now);
            }
            Err(why) => self.failed(&why, now),
        }
    }

    fn replace_all(&mut self, jails: &Jails, now: Timestamp) -> Result<Vec<Refused>, FirewallError> {
        let bans = jails
            .bans()
            .filter_map(|ban| Some(KernelBan { left: ban.left(now)?, jail: ban.jail, target: ban.target }));
        let found = self.found.iter().filter_map(|ban| aged(ban, self.found_at, now));
        self.firewall.replace_all(&self.plan, &mut bans.chain(found))
    }

    /// Takes over changed jails; their bans stay.
    pub fn change_plan(&mut self, plan: Plan, jails: &Jails, now: Timestamp) {
        if plan == self.plan {
            return;
        }
        let moved = self.firewall.change_plan(&plan);
        self.plan = plan;
        match moved {
            Ok(moved) if moved.is_empty() => {}
            Ok(moved) => {
                let bans = jails.bans().filter(|ban| moved.contains(&ban.jail));
                let again: Vec<KernelBan> = bans
                    .filter_map(|ban| {
                        Some(KernelBan { left: ban.left(now)?, jail: ban.jail, target: ban.target })
                    })
                    .collect();
                self.apply(&again, &[], jails, now);
            }
            Err(why) => self.failed(&why, now),
        }
    }

    /// Takes over who is never hit, if that changed.
    pub fn set_allow(&mut self, mut allow: Vec<Net>, now: Timestamp) {
        allow.sort();
        allow.dedup();
        if allow == self.plan.allow {
            return;
        }
        if let Err(why) = self.firewall.set_allow(&allow) {
            self.failed(&why, now);
        }
        self.plan.allow = allow;
    }

    /// Ends everything: the table goes.
    pub fn flush(&mut self) -> Result<(), FirewallError> {
        self.found.clear();
        self.firewall.flush()
    }

    pub fn close(&mut self) {
        self.firewall.close();
    }

    fn report(&mut self, refused: Vec<Refused>, now: Timestamp) {
        if let Some(first) = refused.first() {
            error!(refused = refused.len(), "{}", first.why);
            self.problem = Some(first.why.to_string());
            self.wait(now);
        }
    }

    fn failed(&mut self, why: &FirewallError, now: Timestamp) {
        error!("{why}");
        self.problem = Some(why.to_string());
        self.wait(now);
    }

    fn wait(&mut self, now: Timestamp) {
        let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_MAX));
        self.retry = Some((now.plus(wait), wait));
    }
}

/// What `ban`, read at `then`, is at `now`; `None` once it is over.
fn aged(ban: &KernelBan, then: Timestamp, now: Timestamp) -> Option<KernelBan> {
    let left = match ban.left.end(then) {
        None => Span::Forever,
        Some(end) if end > now => Span::For(end.since(now)),
        Some(_) => return None,
    };
    Some(KernelBan { left, ..ban.clone() })
}
