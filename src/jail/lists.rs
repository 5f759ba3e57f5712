//! Whom jails leave alone: what is set from outside, and what follows from it.

use std::path::{Path, PathBuf};

use super::ignore::{IgnoreEntry, Never, is_no_peer};
use super::keymap::Key;
use super::nets::NetSet;
use super::{Action, Cause, GraceTarget, JailId, Jails, Refusal};
use crate::addr::{Host, Net};
use crate::time::Timestamp;

/// By hand nothing wider than this is banned without force: an IPv4 and an IPv6 prefix length.
const WIDEST: (u8, u8) = (16, 32);

impl Jails {
    /// Sets all networks of one kind that are never banned; bans wholly inside are lifted (cause `Allowed`).
    pub fn set_never(&mut self, now: Timestamp, kind: Never, nets: Vec<Net>, out: &mut Vec<Action>) {
        self.known.set_never(kind, nets);
        self.rebuild_ignored();
        self.lift_exempt(now, out);
    }

    /// Sets the last good answer for a name in some `ignoreip`; bans of it are lifted.
    pub fn set_name(&mut self, now: Timestamp, name: &str, hosts: &[Host], out: &mut Vec<Action>) {
        self.known.set_name(name, hosts);
        self.rebuild_ignored();
        self.lift_exempt(now, out);
    }

    /// Sets the content of a `file:` list, see [`super::ignore::read_list`]; bans of it are lifted.
    pub fn set_file(
        &mut self,
        now: Timestamp,
        path: &Path,
        entries: Vec<IgnoreEntry>,
        out: &mut Vec<Action>,
    ) {
        self.known.set_file(path, entries);
        self.rebuild_ignored();
        self.lift_exempt(now, out);
    }

    /// The names in all `ignoreip` and in their files, to be asked in the background.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.lists().flat_map(|list| self.known.wanted(list).0).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The files in all `ignoreip`, to be read and watched.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.lists().flat_map(|list| self.known.wanted(list).1).collect();
        files.sort();
        files.dedup();
        files
    }

    fn lists(&self) -> impl Iterator<Item = &[IgnoreEntry]> {
        let own = self.jails.iter().filter(|jail| jail.alive).map(|jail| jail.settings.ignoreip.as_slice());
        own.chain([self.ignoreip.as_slice()])
    }

    /// What the firewall must let through before any drop: everything of `set_never`, loopback, the global
    /// `ignoreip` with its names and files, the allow list, graces of addresses.
    pub fn allow_nets(&self) -> Vec<Net> {
        let graces = self.graces().filter_map(|entry| match entry.target {
            GraceTarget::Net(net) => Some(net),
            GraceTarget::Account(_) => None,
        });
        let mut nets: Vec<Net> = self.known.never_nets().chain(super::ignore::loopback()).collect();
        nets.extend(self.known.resolve(&self.ignoreip));
        nets.extend(self.allow.iter().map(|entry| entry.target).chain(graces));
        nets.sort();
        nets.dedup();
        nets
    }

    /// Why `target` would not be banned by hand in `jail`, were it now.
    pub fn refusal(&self, now: Timestamp, jail: JailId, target: Net, force: bool) -> Option<Refusal> {
        if is_no_peer(target) {
            return Some(Refusal::NoPeer(target));
        }
        let widest = if target.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if target.prefix() < widest && !force {
            return Some(Refusal::TooWide(target, widest));
        }
        if let Some(never) = self.known.why_never(target) {
            return Some(Refusal::Never(target, never));
        }
        if self.ignored.covers(target) || self.jail(jail).ignored.covers(target) {
            return Some(Refusal::Ignored(target));
        }
        let allowing = self
            .allow
            .iter()
            .find(|entry| entry.target.covers(target) && entry.until.is_none_or(|until| until > now))?;
        let reason = allowing.reason.as_deref().unwrap_or("no reason given");
        Some(Refusal::Allowed(target, format!("by {}: {reason}", allowing.by)))
    }

    /// After a change of names, files or surroundings.
    pub(super) fn rebuild_ignored(&mut self) {
        self.never = self.known.never_set();
        self.ignored = NetSet::new(self.known.resolve(&self.ignoreip));
        for jail in &mut self.jails {
            jail.ignored = NetSet::new(self.known.resolve(&jail.settings.ignoreip));
        }
    }

    /// After a change of graces or allow entries.
    pub(super) fn rebuild_lists(&mut self) {
        self.allowed = NetSet::new(self.allow.iter().map(|entry| entry.target));
        self.graced = NetSet::new(self.graces.iter().filter_map(|grace| match grace.entry.target {
            GraceTarget::Net(net) => Some(net),
            GraceTarget::Account(_) => None,
        }));
    }

    /// Lifts the bans of what is never banned from now on.
    pub(super) fn lift_exempt(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let exempt = |key: &Key| {
            self.never.covers(key.net)
                || self.ignored.covers(key.net)
                || self.allowed.covers(key.net)
                || self.jail(key.jail).ignored.covers(key.net)
        };
        let keys: Vec<Key> = self.bans.iter().map(|(key, _)| key).filter(exempt).collect();
        for key in keys {
            self.end_ban(key, now, Cause::Allowed, out);
        }
    }
}
