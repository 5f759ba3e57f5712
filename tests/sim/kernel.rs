//! The kernel's sets, made of memory: elements end by a clock that no one can set.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portero::addr::Net;
use portero::firewall::{Errno, Firewall, FirewallError, ForeignChange, KernelBan, Plan, Ports, Refused};
use portero::jail::JailName;
use portero::time::Span;

/// What outlives the daemon.
#[derive(Default)]
pub struct Sets {
    /// Time since boot.
    pub uptime: Duration,
    /// When each element ends; `None`: never.
    pub elements: BTreeMap<(JailName, Net), Option<Duration>>,
    /// Whether the table is there.
    pub table: bool,
    /// So many calls from now on are refused.
    pub refusals: u32,
}

impl Sets {
    /// Drops what is over.
    pub fn expire(&mut self) {
        let uptime = self.uptime;
        self.elements.retain(|_, end| end.is_none_or(|end| end > uptime));
    }
}

/// A firewall over shared [`Sets`].
#[derive(Clone, Default)]
pub struct Kernel(Arc<Mutex<Sets>>);

impl Kernel {
    pub fn sets(&self) -> MutexGuard<'_, Sets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sets, unless this call is refused.
    fn ask(&self, action: &str) -> Result<MutexGuard<'_, Sets>, FirewallError> {
        let mut sets = self.sets();
        sets.expire();
        if sets.refusals > 0 {
            sets.refusals -= 1;
            return Err(FirewallError::Rejected { action: action.to_owned(), errno: Errno(12) });
        }
        Ok(sets)
    }
}

fn end(sets: &Sets, left: Span) -> Option<Duration> {
    match left {
        Span::For(left) => Some(sets.uptime + left),
        Span::Forever => None,
    }
}

impl Firewall for Kernel {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn open(&mut self, _: &Plan) -> Result<Vec<KernelBan>, FirewallError> {
        let mut sets = self.sets();
        sets.expire();
        sets.table = true;
        let held = sets.elements.iter().map(|((jail, target), end)| KernelBan {
            jail: jail.clone(),
            target: *target,
            left: end.map_or(Span::Forever, |end| Span::For(end - sets.uptime)),
        });
        Ok(held.collect())
    }

    fn replace_all(
        &mut self,
        _: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
    ) -> Result<Vec<Refused>, FirewallError> {
        let mut sets = self.ask("restore")?;
        sets.table = true;
        sets.elements.clear();
        for ban in bans {
            let end = end(&sets, ban.left);
            sets.elements.insert((ban.jail, ban.target), end);
        }
        Ok(Vec::new())
    }

    fn change_plan(&mut self, _: &Plan) -> Result<Vec<JailName>, FirewallError> {
        Ok(Vec::new())
    }

    fn set_allow(&mut self, _: &[Net]) -> Result<(), FirewallError> {
        Ok(())
    }

    fn apply(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
    ) -> Result<Vec<Refused>, FirewallError> {
        let mut sets = self.ask("apply")?;
        if !sets.table {
            return Err(FirewallError::Gone { action: "apply".to_owned(), errno: Errno(2) });
        }
        for unban in unbans {
            sets.elements.remove(unban);
        }
        for ban in bans {
            let end = end(&sets, ban.left);
            sets.elements.insert((ban.jail.clone(), ban.target), end);
        }
        Ok(Vec::new())
    }

    fn holds(&mut self, jail: &JailName, target: Net) -> Result<bool, FirewallError> {
        let mut sets = self.sets();
        sets.expire();
        Ok(sets.elements.contains_key(&(jail.clone(), target)))
    }

    fn cut(&mut self, _: &[(Net, Ports)]) -> Result<usize, FirewallError> {
        Ok(0)
    }

    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn on_event(&mut self) -> Option<ForeignChange> {
        None
    }

    fn in_step(&mut self) -> Result<bool, FirewallError> {
        Ok(self.sets().table)
    }

    fn close(&mut self) {}

    fn flush(&mut self) -> Result<(), FirewallError> {
        let mut sets = self.sets();
        sets.elements.clear();
        sets.table = false;
        Ok(())
    }
}
