//! [`Jails`]: all jails together, the state machine itself.

use std::time::Duration;

use super::ignore::{IgnoreEntry, Never};
use super::{
    Action, AllowEntry, Ban, Dirty, GraceEntry, GraceTarget, JailCounts, JailId, JailName, JailSettings,
    Refusal, Seen, WindowView,
};
use crate::addr::{Host, Net};
use crate::filter::Attempt;
use crate::limits::Limits;
use crate::time::{Span, Timestamp};

/// Every jail's windows, bans and history.
pub struct Jails {}

impl Jails {
    /// `seed` drives `rndtime`, eviction and hashing; the same seed and the same calls give the same actions.
    /// A jail `manual` is always there.
    pub fn new(settings: Vec<JailSettings>, ignoreip: Vec<IgnoreEntry>, limits: &Limits, seed: u64) -> Jails {
        let _ = (settings, ignoreip, limits, seed);
        todo!()
    }

    /// The jail of that name; stays the same as long as the jail lives, over any number of `reconfigure`s.
    pub fn id(&self, name: &str) -> Option<JailId> {
        let _ = name;
        todo!()
    }
    pub fn settings(&self, jail: JailId) -> &JailSettings {
        let _ = jail;
        todo!()
    }
    /// All jails, `manual` first.
    pub fn ids(&self) -> impl Iterator<Item = JailId> + '_ {
        std::iter::empty()
    }

    /// One attempt of one jail. `live`: the line was just written. Actions are pushed to `out`.
    pub fn attempt(
        &mut self,
        now: Timestamp,
        live: bool,
        jail: JailId,
        attempt: &Attempt<'_>,
        out: &mut Vec<Action>,
    ) -> Seen {
        let _ = (now, live, jail, attempt, out);
        todo!()
    }

    /// Ends what is over: bans (an `Unban` each, cause `Expired`), graces, allow entries; forgets a bounded
    /// number of windows that are too old to matter.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let _ = (now, out);
        todo!()
    }
    /// When the next ban ends, if one does.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        todo!()
    }

    /// Bans by hand. `jail` `None`: `manual`; `span` `None`: that jail's bantime. A ban over an existing one
    /// refreshes it. The answer is the ban made, also pushed to `out`.
    #[expect(clippy::too_many_arguments, reason = "it is what banctl ban says")]
    pub fn ban(
        &mut self,
        now: Timestamp,
        jail: Option<JailId>,
        target: Net,
        span: Option<Span>,
        reason: Option<String>,
        force: bool,
        out: &mut Vec<Action>,
    ) -> Result<Ban, Refusal> {
        let _ = (now, jail, target, span, reason, force, out);
        todo!()
    }

    /// Lifts the bans of `target` in `jail` (`None`: all): of exactly it, of what lies in it, and, where it is
    /// an address, of the networks that hold it. Returns how many; history is kept, open failures are cleared.
    pub fn unban(
        &mut self,
        now: Timestamp,
        jail: Option<JailId>,
        target: Net,
        out: &mut Vec<Action>,
    ) -> usize {
        let _ = (now, jail, target, out);
        todo!()
    }
    /// Lifts every ban.
    pub fn unban_all(&mut self, now: Timestamp, jail: Option<JailId>, out: &mut Vec<Action>) -> usize {
        let _ = (now, jail, out);
        todo!()
    }

    /// Trusts a target for a while: its failures do not count. An older grace is replaced.
    pub fn grace(&mut self, now: Timestamp, target: GraceTarget, length: Duration) -> GraceEntry {
        let _ = (now, target, length);
        todo!()
    }
    pub fn graces(&self) -> impl Iterator<Item = &GraceEntry> {
        std::iter::empty()
    }
    /// The grace that covers `host` or `account` at `now`, the longest.
    pub fn grace_of(&self, now: Timestamp, target: &GraceTarget) -> Option<Timestamp> {
        let _ = (now, target);
        todo!()
    }

    /// Never bans `entry.target` until it ends; bans wholly inside it are lifted (cause `Allowed`).
    pub fn allow_add(&mut self, now: Timestamp, entry: AllowEntry, out: &mut Vec<Action>) {
        let _ = (now, entry, out);
        todo!()
    }
    /// Whether there was such an entry.
    pub fn allow_remove(&mut self, target: Net) -> bool {
        let _ = target;
        todo!()
    }
    pub fn allow_list(&self) -> impl Iterator<Item = &AllowEntry> {
        std::iter::empty()
    }

    /// Sets all networks of one kind that are never banned; bans wholly inside are lifted (cause `Allowed`).
    pub fn set_never(&mut self, now: Timestamp, kind: Never, nets: Vec<Net>, out: &mut Vec<Action>) {
        let _ = (now, kind, nets, out);
        todo!()
    }
    /// Sets the last good answer for a name of some `ignoreip`.
    pub fn set_name(&mut self, now: Timestamp, name: &str, hosts: &[Host], out: &mut Vec<Action>) {
        let _ = (now, name, hosts, out);
        todo!()
    }
    /// Sets the content of a `file:` list; see [`super::ignore::read_list`].
    pub fn set_file(
        &mut self,
        now: Timestamp,
        path: &std::path::Path,
        entries: Vec<IgnoreEntry>,
        out: &mut Vec<Action>,
    ) {
        let _ = (now, path, entries, out);
        todo!()
    }
    /// The names in all `ignoreip` and their files, to be asked.
    pub fn names(&self) -> Vec<String> {
        todo!()
    }
    /// The files in all `ignoreip`, to be read and watched.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        todo!()
    }
    /// What the firewall must let through before any drop: everything of `set_never`, the global `ignoreip`
    /// with its names and files, the allow list, graces of addresses.
    pub fn allow_nets(&self, now: Timestamp) -> Vec<Net> {
        let _ = now;
        todo!()
    }
    /// Why `target` would not be banned in `jail`, were it now.
    pub fn refusal(&self, now: Timestamp, jail: JailId, target: Net, force: bool) -> Option<Refusal> {
        let _ = (now, jail, target, force);
        todo!()
    }

    /// Every active ban.
    pub fn bans(&self) -> impl Iterator<Item = Ban> + '_ {
        std::iter::empty()
    }
    pub fn ban_count(&self) -> usize {
        todo!()
    }
    /// Every ban that touches `target`: of it, of what lies in it, of what holds it. Over all jails.
    pub fn bans_of(&self, target: Net) -> Vec<Ban> {
        let _ = target;
        todo!()
    }
    /// Whether `host` is shut out by any jail (`None`) or by one.
    pub fn is_banned(&self, host: Host, jail: Option<JailId>) -> bool {
        let _ = (host, jail);
        todo!()
    }
    /// Counters of one jail.
    pub fn counts(&self, jail: JailId) -> JailCounts {
        let _ = jail;
        todo!()
    }
    /// Open failures of the keys that touch `target`, by jail.
    pub fn windows_of(&self, now: Timestamp, target: Net) -> Vec<WindowView> {
        let _ = (now, target);
        todo!()
    }
    /// Keys with open failures, all jails.
    pub fn tracked(&self) -> usize {
        todo!()
    }

    /// Hands over everything that changed since the last call, as absolute upserts for the store; bans and
    /// unbans are not among it (they are actions), nor are graces and allow entries (their calls return them).
    pub fn take_dirty(&mut self, f: impl FnMut(Dirty)) {
        let _ = f;
        todo!()
    }

    /// Puts back what the store held. A jail that is no more: nothing happens, `false`.
    pub fn restore_ban(&mut self, now: Timestamp, ban: &Ban) -> bool {
        let _ = (now, ban);
        todo!()
    }
    pub fn restore_window(&mut self, jail: &JailName, key: Net, record: &[u8]) -> bool {
        let _ = (jail, key, record);
        todo!()
    }
    pub fn restore_history(
        &mut self,
        jail: &JailName,
        target: Net,
        count: u32,
        last_end: Option<Timestamp>,
    ) -> bool {
        let _ = (jail, target, count, last_end);
        todo!()
    }
    pub fn restore_counters(&mut self, jail: &JailName, failures: u64, banned_total: u64) -> bool {
        let _ = (jail, failures, banned_total);
        todo!()
    }
    pub fn restore_grace(&mut self, entry: GraceEntry) {
        let _ = entry;
        todo!()
    }
    pub fn restore_allow(&mut self, entry: AllowEntry) {
        let _ = entry;
        todo!()
    }

    /// New settings. A jail that did not change keeps all; changed numbers keep windows and bans; other keys
    /// drop the windows; a jail that is gone has its bans lifted (`Unban`, cause `Reload`).
    pub fn reconfigure(
        &mut self,
        now: Timestamp,
        settings: Vec<JailSettings>,
        ignoreip: Vec<IgnoreEntry>,
        out: &mut Vec<Action>,
    ) {
        let _ = (now, settings, ignoreip, out);
        todo!()
    }
}
