//! What people do to jails: ban, unban, trust for a while, allow.

use std::time::Duration;

use super::bans::Held;
use super::jails::Grace;
use super::keymap::Key;
use super::{Action, AllowEntry, Ban, Cause, GraceEntry, GraceTarget, JailId, Jails, Origin, Refusal};
use crate::addr::Net;
use crate::time::{Span, Timestamp};

/// More graces at once push out the one that ends first.
const GRACES_MAX: usize = 10_000;

impl Jails {
    /// Bans by hand. `jail` `None`: `manual`; `span` `None`: that jail's bantime. A ban over an existing one
    /// takes its place, and a grace of what is inside `target` ends. The answer is the ban made; it is also
    /// pushed to `out`.
    ///
    /// # Errors
    /// What is never banned; what is too wide without `force`.
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
        let jail = jail.unwrap_or(JailId::MANUAL);
        if let Some(refusal) = self.refusal(now, jail, target, force) {
            return Err(refusal);
        }
        let key = Key { jail, net: target };
        if self.bans.len() >= self.bans_max && self.bans.get(key).is_none() {
            return Err(Refusal::Full(self.bans_max));
        }
        let graces = self.graces.len();
        self.graces
            .retain(|grace| !matches!(grace.entry.target, GraceTarget::Net(net) if target.covers(net)));
        if self.graces.len() != graces {
            self.rebuild_lists();
            out.push(Action::AllowSetChanged);
        }
        self.forget_window(key);
        let span = span.unwrap_or(self.settings(jail).bantime);
        let mut held = Held::new(now, span.end(now), now, Origin::Manual);
        held.reason = reason.map(|reason| Box::new(reason.into_boxed_str()));
        let is_new = self.bans.get(key).is_none();
        let ban = self.put_ban(key, held, now);
        out.push(Action::Ban(ban.clone()));
        if is_new {
            self.tell_of_ban(now, &ban, out);
        }
        Ok(ban)
    }

    /// Lifts the bans that touch `target` in `jail` (`None`: in all): of exactly it, of what lies in it, and of
    /// the networks that hold it, since it would stay shut out otherwise. Returns how many. Open failures of it
    /// are cleared, so that the next one does not ban at once; history is kept.
    pub fn unban(
        &mut self,
        now: Timestamp,
        jail: Option<JailId>,
        target: Net,
        out: &mut Vec<Action>,
    ) -> usize {
        let fits = |key: &Key| jail.is_none_or(|jail| key.jail == jail);
        let keys: Vec<Key> = self.bans.touching(target).into_iter().filter(fits).collect();
        for key in &keys {
            self.end_ban(*key, now, Cause::Unban, out);
        }
        for key in self.windows_touching(target).into_iter().filter(fits) {
            self.forget_window(key);
        }
        keys.len()
    }

    /// Lifts every ban, of one jail or of all. Returns how many.
    pub fn unban_all(&mut self, now: Timestamp, jail: Option<JailId>, out: &mut Vec<Action>) -> usize {
        let all = self.bans.iter().map(|(key, _)| key);
        let keys: Vec<Key> = all.filter(|key| jail.is_none_or(|jail| key.jail == jail)).collect();
        for key in &keys {
            self.end_ban(*key, now, Cause::Unban, out);
        }
        keys.len()
    }

    /// Trusts a target for a while: its failures do not count, in no jail. An older grace of it is replaced.
    /// A grace of an account takes a bounded number of failures over all addresses
    /// ([`ACCOUNT_GRACE_FAILURES_MAX`](super::jails::ACCOUNT_GRACE_FAILURES_MAX)), so that it is no free run
    /// at that mailbox.
    pub fn grace(&mut self, now: Timestamp, target: GraceTarget, length: Duration) -> GraceEntry {
        let entry = GraceEntry { target, until: now.plus(length) };
        self.put_grace(entry.clone());
        entry
    }

    pub(super) fn put_grace(&mut self, entry: GraceEntry) {
        self.graces.retain(|grace| grace.entry.target != entry.target);
        if self.graces.len() >= GRACES_MAX
            && let Some(first) = (0..self.graces.len()).min_by_key(|at| self.graces[*at].entry.until)
        {
            self.graces.swap_remove(first);
        }
        self.graces.push(Grace { entry, taken: 0, over: false });
        self.rebuild_lists();
    }

    /// Every grace that has not ended.
    pub fn graces(&self) -> impl Iterator<Item = &GraceEntry> {
        self.graces.iter().filter(|grace| !grace.over).map(|grace| &grace.entry)
    }

    /// Until when `target` is under grace at `now`: the address through its network too, the account in any
    /// spelling.
    pub fn grace_of(&self, now: Timestamp, target: &GraceTarget) -> Option<Timestamp> {
        let fits = |grace: &&Grace| match (&grace.entry.target, target) {
            (GraceTarget::Net(net), GraceTarget::Net(asked)) => net.covers(*asked),
            (GraceTarget::Account(name), GraceTarget::Account(asked)) => {
                super::jails::same_account(name, asked.as_bytes())
            }
            _ => false,
        };
        let until = self.graces.iter().filter(fits).map(|grace| grace.entry.until).max()?;
        (until > now).then_some(until)
    }

    /// Never bans `entry.target` until the entry ends; bans wholly inside it are lifted (cause `Allowed`). An
    /// older entry of the same target is replaced.
    pub fn allow_add(&mut self, now: Timestamp, entry: AllowEntry, out: &mut Vec<Action>) {
        self.restore_allow(entry);
        self.lift_exempt(now, out);
    }

    /// Takes an entry off the allow list. False: there was none.
    pub fn allow_remove(&mut self, target: Net) -> bool {
        let entries = self.allow.len();
        self.allow.retain(|entry| entry.target != target);
        self.rebuild_lists();
        self.allow.len() != entries
    }

    /// The allow list.
    pub fn allow_list(&self) -> impl Iterator<Item = &AllowEntry> {
        self.allow.iter()
    }
}
