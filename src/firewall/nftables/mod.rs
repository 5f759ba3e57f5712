//! The nftables backend: one table `inet portero`, over netlink.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::{Firewall, FirewallError, ForeignChange, KernelBan, Plan, Ports, Refused};
use crate::addr::Net;
use crate::jail::JailName;
use crate::time::Clock;

/// The table that portero owns, in family inet. No other is touched.
pub const TABLE: &str = "portero";

/// Drops packets of banned peers by nftables.
pub struct Nftables {
    _clock: Arc<dyn Clock>,
}

impl Nftables {
    pub fn new(clock: Arc<dyn Clock>) -> Nftables {
        Nftables { _clock: clock }
    }
}

fn not_open<T>(action: &str) -> Result<T, FirewallError> {
    Err(FirewallError::NotOpen { action: action.to_owned() })
}

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }
    fn open(&mut self, _plan: &Plan) -> Result<Vec<KernelBan>, FirewallError> {
        not_open("open the table")
    }
    fn replace_all(
        &mut self,
        _plan: &Plan,
        _bans: &mut dyn Iterator<Item = KernelBan>,
    ) -> Result<Vec<Refused>, FirewallError> {
        not_open("set the bans")
    }
    fn change_plan(&mut self, _plan: &Plan) -> Result<Vec<JailName>, FirewallError> {
        not_open("change the plan")
    }
    fn set_allow(&mut self, _allow: &[Net]) -> Result<(), FirewallError> {
        not_open("set the allow list")
    }
    fn apply(&mut self, _: &[KernelBan], _: &[(JailName, Net)]) -> Result<Vec<Refused>, FirewallError> {
        not_open("ban")
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
        not_open("check the table")
    }
    fn close(&mut self) {}
    fn flush(&mut self) -> Result<(), FirewallError> {
        not_open("remove the table")
    }
}
