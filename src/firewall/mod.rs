//! Firewalls: they make the kernel refuse what is banned.
//!
//! A backend is one file, a row in [`backends`] and a call of the contract test. It is told the [`Plan`] (jails,
//! ports, what is never banned) at [`Firewall::open`] and the bans after that; bans outlive it.

mod log_only;
mod nftables;
mod rules;
mod sockets;
mod wire;

#[cfg(test)]
mod contract;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::addr::Net;
use crate::jail::JailName;
use crate::time::{Clock, Span};

pub use log_only::LogOnly;
pub use nftables::{Nftables, TABLE, encode_bans};
pub use rules::{Hook, JailRules, Plan, PortRange, Ports, Protocol, TableOwner, Verdict};

/// One ban as a firewall knows it: no reason, no history, only what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBan {
    pub jail: JailName,
    pub target: Net,
    pub left: Span,
}

/// One ban or unban out of a batch that did not happen, and why; the rest of the batch did.
#[derive(Debug)]
pub struct Refused {
    pub jail: JailName,
    pub target: Net,
    pub why: FirewallError,
}

/// Another program changed the ruleset, ours or not: ask [`Firewall::in_step`], and if it is not, restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChange {
    /// `nft (pid 20615)`, for the log; `None` where notices were lost and nobody knows.
    pub by: Option<String>,
}

/// Why a firewall refused.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The process lacks CAP_NET_ADMIN (exit 77).
    #[error("cannot {action}: {errno}; CAP_NET_ADMIN missing, see portero(8)")]
    NotPermitted { action: String, errno: Errno },
    /// The table is owned by another living program, most likely a second portero.
    #[error("cannot {action}: table inet portero is owned by {owner}; is another portero running?")]
    Owned { action: String, owner: String },
    /// Table, chain or set is not there any more: somebody removed it. `replace_all` makes it whole.
    #[error("cannot {action}: {errno}; another program removed it, it has to be restored")]
    Gone { action: String, errno: Errno },
    /// The kernel refused; nothing of that message is in force.
    #[error("cannot {action}: {errno}")]
    Rejected { action: String, errno: Errno },
    /// The plan names no such jail.
    #[error("cannot {action}: the firewall knows no jail of that name")]
    NoSuchJail { action: String },
    /// The backend was not opened.
    #[error("cannot {action}: the firewall is not open")]
    NotOpen { action: String },
    /// The kernel's answer was not understood.
    #[error("cannot {action}: the kernel's answer is garbled")]
    Garbled { action: String },
}

/// An error number of the kernel, printed by its name (`EPERM`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => write!(f, "error {}", self.0),
            known => write!(f, "{known:?}"),
        }
    }
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Makes the kernel refuse what is banned.
///
/// All calls do their work before they return and wait for nobody but the kernel. The order of use is `open`, then
/// `replace_all` with every ban that should hold, then `apply` for each change.
pub trait Firewall: Send {
    /// The name in `firewall = "..."`.
    fn name(&self) -> &'static str;

    /// Whether its bans keep anybody out.
    fn enforces(&self) -> bool {
        true
    }

    /// Creates what is missing of the plan and returns the bans that the kernel holds already, with what is left.
    ///
    /// Bans of jails that the plan no longer has are dropped. A set too large to be read in reasonable time
    /// (over 200,000 bans) is not returned; its bans stay in force until `replace_all`.
    ///
    /// # Errors
    /// `NotPermitted` without CAP_NET_ADMIN, `Owned` if another living program owns the table.
    fn open(&mut self, plan: &Plan) -> Result<Vec<KernelBan>, FirewallError>;

    /// Makes the kernel hold exactly the plan and `bans`: adds and refreshes first, removes strays after, so that no
    /// ban has a gap. Puts back whatever of table, chains, rules and sets is missing. This is restore and reload too.
    ///
    /// `bans`: any order, families mixed; read once, in chunks.
    ///
    /// # Errors
    /// The first refusal that is not about one single ban; `Gone` also where another program came in between, and what it
    /// did is not known. Calling again goes on from any state.
    fn replace_all(
        &mut self,
        plan: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
    ) -> Result<Vec<Refused>, FirewallError>;

    /// Takes over a changed plan (ports, verdicts, jails added or removed, allow list) without touching bans.
    ///
    /// Returns the jails whose bans have to be given again through `apply`, because a changed `ipv4_prefix` or
    /// `ipv6_prefix` moved them to another set. Bans of removed jails are gone.
    ///
    /// # Errors
    /// As `replace_all`; on an error the old plan is in force.
    fn change_plan(&mut self, plan: &Plan) -> Result<Vec<JailName>, FirewallError>;

    /// Replaces the list of what no ban of any jail can hit.
    ///
    /// # Errors
    /// As `apply`.
    fn set_allow(&mut self, allow: &[Net]) -> Result<(), FirewallError>;

    /// Bans and lifts, all in as few commits as possible. A ban that stands is refreshed to its new length; lifting
    /// what is not banned is no error. Unbans are done first.
    ///
    /// # Errors
    /// `Gone` if the table was removed (then `replace_all`), `NotPermitted`. What concerns single bans is returned.
    fn apply(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
    ) -> Result<Vec<Refused>, FirewallError>;

    /// Closes the TCP sockets of this host whose peer is in one of the nets and whose local port is in the ports that
    /// go with it, so that no further byte reaches the peer and no process waits for it. Call it after `apply`.
    ///
    /// With [`Ports::All`] only connections to a listening port are closed, not our own outgoing ones. Returns how
    /// many were closed; 0 where the kernel cannot (CONFIG_INET_DIAG_DESTROY).
    ///
    /// # Errors
    /// `NotPermitted`, `Rejected`: the dump of sockets failed.
    fn cut(&mut self, targets: &[(Net, Ports)]) -> Result<usize, FirewallError>;

    /// Readable when [`Firewall::on_event`] has something to say; `None`: this backend has no events. It stays the same
    /// descriptor from `open` to `close`.
    fn event_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Drains the events. `Some` if another program changed the ruleset since the last call.
    fn on_event(&mut self) -> Option<ForeignChange>;

    /// Whether table, chains, rules and sets stand as we made them. Cheap; the daemon also asks every 30 s.
    ///
    /// # Errors
    /// The kernel could not be asked.
    fn in_step(&mut self) -> Result<bool, FirewallError>;

    /// Whether the firewall holds that ban. One question to the kernel: good for a sample after a foreign change,
    /// since [`Firewall::in_step`] does not look into the sets.
    ///
    /// # Errors
    /// The kernel could not be asked.
    fn holds(&mut self, jail: &JailName, target: Net) -> Result<bool, FirewallError>;

    /// Lets go; the bans stay in the kernel.
    fn close(&mut self);

    /// Removes the table and with it every ban. Needs no `open` before.
    ///
    /// # Errors
    /// `Owned`, `NotPermitted`. That there is no table is no error.
    fn flush(&mut self) -> Result<(), FirewallError>;
}

/// Makes a backend that is not open yet.
pub type MakeFirewall = fn(Arc<dyn Clock>) -> Box<dyn Firewall>;

/// The registry: every backend by its name in `firewall = "..."`. A new one gets a row here.
pub fn backends() -> &'static [(&'static str, MakeFirewall)] {
    &[
        ("nftables", |clock| Box::new(Nftables::new(clock))),
        ("log-only", |clock| Box::new(LogOnly::new(clock))),
    ]
}

/// The backend of that name; `None`: there is none, see [`backends`].
pub fn backend(name: &str, clock: Arc<dyn Clock>) -> Option<Box<dyn Firewall>> {
    backends().iter().find(|(known, _)| *known == name).map(|(_, make)| make(clock))
}
