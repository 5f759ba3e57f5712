//! The nftables backend: one table `inet portero`, over netlink.
//!
//! [`layout`] says what stands in the table, [`ruleset`] and [`batch`] write it as bytes, [`link`] sends them and
//! [`read`] reads back; [`table`] keeps chains and sets whole, [`bans`] fills the sets. Nothing waits: the kernel
//! works inside the call that sends.

mod bans;
mod batch;
mod layout;
pub(in crate::firewall) mod link;
mod probe;
mod read;
mod ruleset;
mod table;
mod wide;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
pub(in crate::firewall) mod netns;
#[cfg(test)]
mod owner_tests;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use self::batch::encode_bans;

use self::batch::Closed;
use self::layout::{Kind, SetDef};
use self::link::{CommitError, Events, Link};
use self::read::Structure;
use self::ruleset::Abilities;
use self::wide::WideSet;
use super::sockets::Sockets;
use super::{Errno, Firewall, FirewallError, ForeignChange, JailRules, KernelBan, Plan, Ports, Refused};
use crate::addr::Net;
use crate::jail::JailName;
use crate::sys::netlink::Protocol;
use crate::time::Clock;

/// The table that portero owns, in family inet. No other is touched.
pub const TABLE: &str = "portero";

/// Drops packets of banned peers by nftables.
pub struct Nftables {
    clock: Arc<dyn Clock>,
    state: Option<State>,
}

/// What an open backend knows of its table.
struct State {
    /// The only socket that changes anything: the kernel ties ownership of the table to it.
    command: Link,
    reader: Link,
    events: Events,
    sockets: Sockets,
    plan: Plan,
    jails: BTreeMap<JailName, JailState>,
    /// The flags our table has, OWNER and PERSIST or none.
    table_flags: u32,
    can: Abilities,
    elements: ElementAbilities,
    /// The table as we left it.
    structure: Structure,
}

/// What the kernel can do with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ElementAbilities {
    /// Adding an element that is there gives it the new time: kernel 6.12.
    refresh: bool,
    /// Deleting what is absent is no error: kernel 6.3.
    destroy: bool,
}

/// One jail's rules, its sets, and those networks that the kernel holds as intervals.
struct JailState {
    rules: JailRules,
    sets: Vec<SetDef>,
    wide4: WideSet,
    wide6: WideSet,
}

impl JailState {
    fn new(rules: &JailRules) -> JailState {
        let sets = layout::jail_sets(rules);
        JailState { rules: rules.clone(), sets, wide4: WideSet::default(), wide6: WideSet::default() }
    }

    /// The set that a ban of `net` belongs to.
    fn set_of(&self, net: Net) -> &SetDef {
        let kind = layout::place(&self.rules, net);
        let found = self.sets.iter().find(|set| set.ipv4 == net.is_ipv4() && set.kind == kind);
        found.expect("a jail has a set for each place that layout::place can name")
    }

    fn wide(&mut self, ipv4: bool) -> &mut WideSet {
        if ipv4 { &mut self.wide4 } else { &mut self.wide6 }
    }

    fn wide_set(&self, ipv4: bool) -> &SetDef {
        let found = self.sets.iter().find(|set| set.ipv4 == ipv4 && set.kind == Kind::Wide);
        found.expect("every jail has an interval set in each family")
    }
}

impl Nftables {
    pub fn new(clock: Arc<dyn Clock>) -> Nftables {
        Nftables { clock, state: None }
    }

    fn state(&mut self, action: &str) -> Result<(&mut State, &dyn Clock), FirewallError> {
        match &mut self.state {
            Some(state) => Ok((state, self.clock.as_ref())),
            None => Err(FirewallError::NotOpen { action: action.to_owned() }),
        }
    }
}

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn open(&mut self, plan: &Plan) -> Result<Vec<KernelBan>, FirewallError> {
        self.state = None;
        let (state, held) = State::open(plan, self.clock.as_ref())?;
        self.state = Some(state);
        Ok(held)
    }

    fn replace_all(
        &mut self,
        plan: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
    ) -> Result<Vec<Refused>, FirewallError> {
        let (state, clock) = self.state("set the bans")?;
        state.replace_all(plan, bans, clock)
    }

    fn change_plan(&mut self, plan: &Plan) -> Result<Vec<JailName>, FirewallError> {
        let (state, clock) = self.state("change the plan")?;
        state.change_plan(plan, clock)
    }

    fn set_allow(&mut self, allow: &[Net]) -> Result<(), FirewallError> {
        let (state, _) = self.state("set the allow list")?;
        state.set_allow(allow)
    }

    fn apply(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
    ) -> Result<Vec<Refused>, FirewallError> {
        let (state, clock) = self.state("ban")?;
        state.apply(bans, unbans, clock)
    }

    fn cut(&mut self, targets: &[(Net, Ports)]) -> Result<usize, FirewallError> {
        let (state, _) = self.state("close sockets")?;
        state.sockets.cut(targets)
    }

    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.state.as_ref().map(|state| state.events.fd())
    }

    fn on_event(&mut self) -> Option<ForeignChange> {
        self.state.as_mut()?.events.drain()
    }

    fn in_step(&mut self) -> Result<bool, FirewallError> {
        let (state, _) = self.state("check the table")?;
        state.in_step()
    }

    fn holds(&mut self, jail: &JailName, target: Net) -> Result<bool, FirewallError> {
        let (state, _) = self.state("ask for a ban")?;
        state.holds(jail, target)
    }

    fn close(&mut self) {
        self.state = None;
    }

    fn flush(&mut self) -> Result<(), FirewallError> {
        let action = || "remove table inet portero".to_owned();
        let mut link = match self.state.take() {
            Some(state) => state.command,
            None => open_link(Protocol::Netfilter)?,
        };
        let mut batch = batch::Batch::new(link.seq());
        batch.delete_table();
        match link.commit(&batch.close()) {
            Ok(()) => Ok(()),
            Err(CommitError::Refused(answers)) if answers[0].errno == libc::ENOENT => Ok(()),
            Err(error) => Err(failure(error, action(), &mut link)),
        }
    }
}

fn open_link(protocol: Protocol) -> Result<Link, FirewallError> {
    Link::open(protocol).map_err(|error| refusal(link::errno(&error), "open a netlink socket".to_owned()))
}

/// An error number as the error it means; what the table's owner has to do with it, [`failure`] finds out.
fn refusal(errno: Errno, action: String) -> FirewallError {
    match errno.0 {
        libc::EPERM | libc::EACCES => FirewallError::NotPermitted { action, errno },
        libc::ENOENT => FirewallError::Gone { action, errno },
        _ => FirewallError::Rejected { action, errno },
    }
}

/// A batch's fate as an error: EPERM may be the missing capability or another owner of the table.
fn failure(error: CommitError, action: String, link: &mut Link) -> FirewallError {
    let errno = match error {
        CommitError::Io(errno) => errno,
        CommitError::Unknown => return FirewallError::Garbled { action },
        CommitError::Refused(answers) => Errno(answers.first().map_or(libc::EIO, |answer| answer.errno)),
    };
    if errno.0 == libc::EPERM
        && let Ok(Structure { table: Some(table), .. }) = read::structure(link)
        && let Some(owner) = table.owner.filter(|owner| *owner != link.port())
    {
        return FirewallError::Owned { action, owner: program(owner) };
    }
    refusal(errno, action)
}

/// Who is behind a port id: mostly it is the process id.
fn program(port: u32) -> String {
    match std::fs::read(format!("/proc/{port}/comm")) {
        Ok(name) => format!("{} (pid {port})", name.trim_ascii().escape_ascii()),
        Err(_) => format!("another program (netlink port {port})"),
    }
}

impl State {
    /// Sends a batch that can be sent twice without harm, and does so once if its answer was lost.
    fn commit(&mut self, build: impl Fn(u32) -> Closed) -> Result<(), CommitError> {
        match self.command.commit(&build(self.command.seq())) {
            Err(CommitError::Unknown) => self.command.commit(&build(self.command.seq())),
            fate => fate,
        }
    }

    fn failed(&mut self, error: CommitError, action: impl Into<String>) -> FirewallError {
        failure(error, action.into(), &mut self.command)
    }
}
