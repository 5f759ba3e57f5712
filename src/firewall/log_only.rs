//! The backend that enforces nothing: for trials, and for hosts without the capability.
//!
//! It keeps what a kernel would hold, with its time running off, so that `status` and the contract tell the truth.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::{Firewall, FirewallError, ForeignChange, KernelBan, Plan, Ports, Refused};
use crate::addr::Net;
use crate::jail::JailName;
use crate::time::{Clock, Span};

/// Says what would be banned, and bans nothing.
pub struct LogOnly {
    clock: Arc<dyn Clock>,
    open: bool,
    jails: Vec<JailName>,
    /// When each ends, by the monotonic clock; `None`: never.
    bans: HashMap<(JailName, Net), Option<Duration>>,
}

impl LogOnly {
    pub fn new(clock: Arc<dyn Clock>) -> LogOnly {
        LogOnly { clock, open: false, jails: Vec::new(), bans: HashMap::new() }
    }

    fn must_be_open(&self, action: &str) -> Result<(), FirewallError> {
        if self.open { Ok(()) } else { Err(FirewallError::NotOpen { action: action.to_owned() }) }
    }

    fn take_plan(&mut self, plan: &Plan) {
        self.jails = plan.jails.iter().map(|jail| jail.name.clone()).collect();
        let jails = &self.jails;
        self.bans.retain(|(jail, _), _| jails.contains(jail));
    }

    fn ban(&mut self, ban: KernelBan) -> Option<Refused> {
        if !self.jails.contains(&ban.jail) {
            let action = format!("ban {} in jail {}", ban.target, ban.jail);
            return Some(Refused {
                jail: ban.jail,
                target: ban.target,
                why: FirewallError::NoSuchJail { action },
            });
        }
        let end = match ban.left {
            Span::For(left) => Some(self.clock.monotonic() + left),
            Span::Forever => None,
        };
        self.bans.insert((ban.jail, ban.target), end);
        None
    }

    fn expire(&mut self) -> Duration {
        let now = self.clock.monotonic();
        self.bans.retain(|_, end| end.is_none_or(|end| end > now));
        now
    }
}

impl Firewall for LogOnly {
    fn name(&self) -> &'static str {
        "log-only"
    }

    fn enforces(&self) -> bool {
        false
    }

    fn open(&mut self, plan: &Plan) -> Result<Vec<KernelBan>, FirewallError> {
        self.open = true;
        self.take_plan(plan);
        let now = self.expire();
        let held = self.bans.iter().map(|((jail, target), end)| KernelBan {
            jail: jail.clone(),
            target: *target,
            left: end.map_or(Span::Forever, |end| Span::For(end - now)),
        });
        Ok(held.collect())
    }

    fn replace_all(
        &mut self,
        plan: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
    ) -> Result<Vec<Refused>, FirewallError> {
        self.must_be_open("set the bans")?;
        self.take_plan(plan);
        self.bans.clear();
        Ok(bans.filter_map(|ban| self.ban(ban)).collect())
    }

    fn change_plan(&mut self, plan: &Plan) -> Result<Vec<JailName>, FirewallError> {
        self.must_be_open("change the plan")?;
        self.take_plan(plan);
        Ok(Vec::new())
    }

    fn set_allow(&mut self, _allow: &[Net]) -> Result<(), FirewallError> {
        self.must_be_open("set the allow list")
    }

    fn apply(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
    ) -> Result<Vec<Refused>, FirewallError> {
        self.must_be_open("ban")?;
        self.expire();
        for unban in unbans {
            self.bans.remove(unban);
        }
        Ok(bans.iter().filter_map(|ban| self.ban(ban.clone())).collect())
    }

    fn cut(&mut self, _targets: &[(Net, Ports)]) -> Result<usize, FirewallError> {
        Ok(0)
    }

    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn on_event(&mut self) -> Option<ForeignChange> {
        None
    }

    fn in_step(&mut self) -> Result<bool, FirewallError> {
        Ok(self.open)
    }

    fn holds(&mut self, jail: &JailName, target: Net) -> Result<bool, FirewallError> {
        self.must_be_open("ask for a ban")?;
        self.expire();
        Ok(self.bans.contains_key(&(jail.clone(), target)))
    }

    fn close(&mut self) {
        self.open = false;
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        self.bans.clear();
        self.open = false;
        Ok(())
    }
}
