//! The table, its chains and its sets: created, taken over, checked, made whole, changed with the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Batch, Element, NFT_MSG_NEWRULE, Op, kind};
use super::layout::{self, Kind, SetDef};
use super::link::{CommitError, DumpError, Events, Link};
use super::read::{self, DORMANT, OWNER, PERSIST, SetInfo, Structure};
use super::ruleset::{self, Abilities};
use super::wide::WideSet;
use super::{ElementAbilities, JailState, State, open_link, program, refusal};
use crate::addr::Net;
use crate::firewall::sockets::Sockets;
use crate::firewall::{Errno, FirewallError, KernelBan, Plan, TableOwner, Verdict, wire};
use crate::jail::JailName;
use crate::sys::netlink::Protocol;
use crate::time::{Clock, Span};

/// A set larger than this is not read back: the kernel's time for it grows with the square (100,000: 0.2 s;
/// 1,000,000: 20 s). `replace_all` writes such a set anew instead.
pub const READ_BACK_MAX: usize = 200_000;

const FLAGS_OWNED: u32 = OWNER | PERSIST;

impl State {
    /// Opens the sockets, takes the table over or makes it, and reads which bans it holds.
    pub fn open(plan: &Plan, clock: &dyn Clock) -> Result<(State, Vec<KernelBan>), FirewallError> {
        let action = "set up table inet portero";
        let command = open_link(Protocol::Netfilter)?;
        let mut reader = open_link(Protocol::Netfilter)?;
        let events = Events::open(command.port())
            .map_err(|error| refusal(super::link::errno(&error), "watch nftables".to_owned()))?;
        let found = read::structure(&mut reader).map_err(|errno| refusal(errno, action.to_owned()))?;
        if let Some(owner) = found.table.as_ref().and_then(|table| table.owner) {
            return Err(FirewallError::Owned { action: action.to_owned(), owner: program(owner) });
        }
        let held = held_bans(&mut reader, plan, &found)?;
        let mut state = State {
            command,
            reader,
            events,
            sockets: Sockets::default(),
            plan: Plan::default(),
            jails: BTreeMap::new(),
            table_flags: if plan.table_owner == TableOwner::Off { 0 } else { FLAGS_OWNED },
            can: Abilities { reject_in_prerouting: true },
            elements: ElementAbilities { refresh: false, destroy: false },
            structure: found,
        };
        state.jails = plan.jails.iter().map(|jail| (jail.name.clone(), JailState::new(jail))).collect();
        state.remember_wide(&held, clock.monotonic());
        state.establish(plan, &held, clock)?;
        state.plan = plan.clone();
        state.probe()?;
        // Bans in sets that the plan no longer has (another prefix length) move to where they belong now.
        let moved: Vec<KernelBan> =
            held.iter().filter(|(set, _)| !state.has_set(set)).map(|(_, ban)| ban.clone()).collect();
        let held = held.into_iter().map(|(_, ban)| ban).collect();
        state.apply(&moved, &[], clock)?;
        state.take_snapshot()?;
        Ok((state, held))
    }

    /// Brings the table to its flags and the plan, in one transaction whatever was there.
    fn establish(
        &mut self,
        plan: &Plan,
        held: &[(String, KernelBan)],
        clock: &dyn Clock,
    ) -> Result<(), FirewallError> {
        let mut clashes = false;
        loop {
            // An orphan still has PERSIST; adding OWNER takes it over. An ordinary table cannot be owned later, nor an
            // orphan be freed: then the table is made anew with all its bans in the same transaction.
            let found = self.structure.table.as_ref();
            let convert =
                found.is_some_and(|table| (table.flags ^ self.table_flags) & PERSIST != 0) || clashes;
            let failed = match self.ensure(plan, convert.then_some(held), clock) {
                Ok(_) => return Ok(()),
                Err(failed) => failed,
            };
            if self.cannot_reject_here(plan, &failed) {
                continue;
            }
            let too_old = self.table_flags != 0 && failed.at_table && is_unsupported(failed.errno());
            if too_old && plan.table_owner == TableOwner::Auto {
                self.table_flags = 0;
                continue;
            }
            if !convert && self.structure.table.is_some() && failed.is_clash() {
                clashes = true;
                continue;
            }
            let action = if too_old {
                "own table inet portero (table_owner = \"on\"; this kernel may be too old for it)"
            } else {
                "set up table inet portero"
            };
            return Err(self.failed(failed.error, action));
        }
    }

    /// Falls back to rejecting at input and forward, once.
    fn cannot_reject_here(&mut self, plan: &Plan, failed: &Failed) -> bool {
        let rejecting = plan.jails.iter().any(|jail| jail.verdict == Verdict::Reject);
        let unsupported = !failed.at_table && failed.errno() == libc::EOPNOTSUPP;
        let fall_back = self.can.reject_in_prerouting && rejecting && unsupported;
        if fall_back {
            self.can.reject_in_prerouting = false;
        }
        fall_back
    }

    /// Makes table, chains, sets and rules those of `plan`, in one transaction. Returns the sets that are empty for
    /// certain, because they were made by it.
    ///
    /// With `anew` the table is deleted first and made again with those bans.
    pub fn ensure(
        &mut self,
        plan: &Plan,
        anew: Option<&[(String, KernelBan)]>,
        clock: &dyn Clock,
    ) -> Result<Vec<String>, Failed> {
        let nothing = Structure::default();
        let found = if anew.is_some() { &nothing } else { &self.structure };
        let sets = layout::all_sets(plan);
        let chains = ruleset::chain_names(plan, self.can);
        let rules = ruleset::messages(plan, self.can);
        let fits = |set: &SetDef, info: &SetInfo| {
            set.flags() == info.flags & 0x14 && set.key_bytes() == info.key_bytes
        };
        let known = |set: &SetDef| found.sets.iter().find(|info| info.name == set.name);
        let fresh: Vec<String> = sets
            .iter()
            .filter(|set| !known(set).is_some_and(|info| fits(set, info)))
            .map(|set| set.name.clone())
            .collect();

        let mut batch = Batch::new(self.command.seq());
        if anew.is_some() {
            batch.delete_table();
        }
        let at_table = batch.next_seq();
        batch.add_table(self.table_flags);
        if found.table.is_some() {
            batch.delete_rules();
        }
        for info in &found.sets {
            if sets.iter().all(|set| set.name != info.name) || fresh.contains(&info.name) {
                batch.delete_set(&info.name);
            }
        }
        for info in &found.chains {
            if !chains.contains(&info.name) {
                batch.delete_chain(&info.name);
            }
        }
        for set in &sets {
            batch.add_set(set);
        }
        write_allow(&mut batch, &plan.allow);
        batch.messages(&rules);
        let mut elements: BTreeMap<&str, Vec<Element<'_>>> = BTreeMap::new();
        for (_, ban) in anew.unwrap_or(&[]) {
            let Some(jail) = self.jails.get(&ban.jail) else { continue };
            let set = jail.set_of(ban.target);
            if set.is_hash() {
                elements.entry(&set.name).or_default().push(Element::ban(ban.target.base().ip(), ban.left));
            }
        }
        for (set, elements) in elements {
            batch.elements(Op::Add, set, elements.into_iter().map(|element| (0, element)));
        }
        if anew.is_some() {
            let now = clock.monotonic();
            for jail in self.jails.values() {
                for (ipv4, wide) in [(true, &jail.wide4), (false, &jail.wide6)] {
                    write_wide(&mut batch, &jail.wide_set(ipv4).name, wide, now);
                }
            }
        }
        // Not sent twice: chains deleted by name would not be there the second time. An unknown fate is settled by
        // reading the structure again, which every caller does.
        match self.command.commit(&batch.close()) {
            Ok(()) | Err(CommitError::Unknown) => Ok(fresh),
            Err(error) => {
                let at_table = matches!(&error, CommitError::Refused(answers) if answers[0].seq == at_table);
                Err(Failed { at_table, error })
            }
        }
    }

    /// Remembers how the table looks now, as what [`State::in_step`] compares with.
    pub fn take_snapshot(&mut self) -> Result<(), FirewallError> {
        self.structure = self.read_structure()?;
        let (sets, chains) = (layout::all_sets(&self.plan), ruleset::chain_names(&self.plan, self.can));
        // Somebody may have been quicker than our reading: then it is not ours, and the next check restores.
        let rules = wire::messages(&ruleset::messages(&self.plan, self.can))
            .filter(|message| message.kind == kind(NFT_MSG_NEWRULE))
            .count();
        let found = &self.structure;
        let whole =
            (found.sets.len(), found.chains.len(), found.rules.len()) == (sets.len(), chains.len(), rules);
        if !whole {
            self.structure = Structure::default();
        }
        Ok(())
    }

    pub fn read_structure(&mut self) -> Result<Structure, FirewallError> {
        read::structure(&mut self.reader)
            .map_err(|errno| refusal(errno, "read table inet portero".to_owned()))
    }

    pub fn in_step(&mut self) -> Result<bool, FirewallError> {
        let now = self.read_structure()?;
        let awake = now.table.as_ref().is_some_and(|table| table.flags & DORMANT == 0);
        Ok(awake && now == self.structure)
    }

    /// Puts the table in order if it is not. Returns the sets made anew, which are empty.
    pub fn make_whole(&mut self, plan: &Plan, clock: &dyn Clock) -> Result<Vec<String>, FirewallError> {
        if self.plan == *plan && self.in_step()? {
            return Ok(Vec::new());
        }
        self.structure = self.read_structure()?;
        let fresh = loop {
            let failed = match self.ensure(plan, None, clock) {
                Ok(fresh) => break fresh,
                Err(failed) => failed,
            };
            if self.cannot_reject_here(plan, &failed) {
                continue;
            }
            if !failed.is_clash() || self.structure.table.is_none() {
                return Err(self.failed(failed.error, "restore table inet portero"));
            }
            let made = self.ensure(plan, Some(&[]), clock);
            break made.map_err(|failed| self.failed(failed.error, "restore table inet portero"))?;
        };
        self.adopt(plan);
        self.take_snapshot()?;
        Ok(fresh)
    }

    /// Makes the plan the current one; jails that stay keep what is known of their wide bans.
    fn adopt(&mut self, plan: &Plan) {
        let mut jails = BTreeMap::new();
        for rules in &plan.jails {
            let mut jail = JailState::new(rules);
            if let Some(old) = self.jails.remove(&rules.name) {
                (jail.wide4, jail.wide6) = (old.wide4, old.wide6);
            }
            jails.insert(rules.name.clone(), jail);
        }
        self.jails = jails;
        self.plan = plan.clone();
    }

    pub fn change_plan(&mut self, plan: &Plan, clock: &dyn Clock) -> Result<Vec<JailName>, FirewallError> {
        let prefixes = |plan: &Plan, name: &JailName| {
            let jail = plan.jails.iter().find(|jail| jail.name == *name)?;
            Some((jail.ipv4_prefix, jail.ipv6_prefix))
        };
        let moved = plan.jails.iter().map(|jail| jail.name.clone()).filter(|name| {
            prefixes(&self.plan, name).is_some_and(|before| Some(before) != prefixes(plan, name))
        });
        let moved: Vec<JailName> = moved.collect();
        let fresh = self.make_whole(plan, clock)?;
        for jail in &moved {
            if let Some(jail) = self.jails.get_mut(jail) {
                // All its bans come again; what then belongs elsewhere must not stay here as well.
                (jail.wide4, jail.wide6) = Default::default();
            }
        }
        // A wide set that had to be made anew is filled from what is known here.
        let now = clock.monotonic();
        let mut batch = Batch::new(self.command.seq());
        for jail in self.jails.values() {
            for (ipv4, wide) in [(true, &jail.wide4), (false, &jail.wide6)] {
                let name = &jail.wide_set(ipv4).name;
                if fresh.contains(name) || moved.contains(&jail.rules.name) {
                    write_wide(&mut batch, name, wide, now);
                }
            }
        }
        if !batch.is_empty() {
            let fate = self.command.commit(&batch.close());
            fate.map_err(|error| self.failed(error, "ban networks"))?;
        }
        Ok(moved)
    }

    pub fn set_allow(&mut self, allow: &[Net]) -> Result<(), FirewallError> {
        let fate = self.commit(|seq| {
            let mut batch = Batch::new(seq);
            write_allow(&mut batch, allow);
            batch.close()
        });
        fate.map_err(|error| self.failed(error, "set the allow list in table inet portero"))?;
        self.plan.allow = allow.to_vec();
        Ok(())
    }

    fn has_set(&self, name: &str) -> bool {
        self.jails.values().any(|jail| jail.sets.iter().any(|set| set.name == name))
    }

    fn remember_wide(&mut self, held: &[(String, KernelBan)], now: Duration) {
        for (_, ban) in held {
            if let Some(jail) = self.jails.get_mut(&ban.jail)
                && jail.set_of(ban.target).kind == Kind::Wide
            {
                jail.wide(ban.target.is_ipv4()).ban(ban.target, ban.left, now);
            }
        }
    }
}

/// The bans in the sets of the plan's jails, those of former prefix lengths too, each with its set.
fn held_bans(
    reader: &mut Link,
    plan: &Plan,
    found: &Structure,
) -> Result<Vec<(String, KernelBan)>, FirewallError> {
    let mut held = Vec::new();
    for info in &found.sets {
        let Some((jail, set)) = layout::owner_of(plan, &info.name) else { continue };
        match read::elements(reader, &info.name, READ_BACK_MAX) {
            Ok(elements) => held.extend(read::bans(&set, elements).into_iter().map(|(target, left)| {
                (info.name.clone(), KernelBan { jail: jail.name.clone(), target, left })
            })),
            Err(DumpError::TooMany) => {}
            Err(DumpError::Errno(errno)) => {
                return Err(refusal(errno, format!("read set inet portero/{}", info.name)));
            }
        }
    }
    Ok(held)
}

/// Writes the allow list anew: the nets as intervals, which must not overlap.
fn write_allow(batch: &mut Batch, allow: &[Net]) {
    for ipv4 in [true, false] {
        let mut merged = WideSet::default();
        for net in allow.iter().filter(|net| net.is_ipv4() == ipv4) {
            merged.ban(*net, Span::Forever, Duration::ZERO);
        }
        write_wide(batch, &layout::allow_set(ipv4).name, &merged, Duration::ZERO);
    }
}

/// Writes an interval set anew. Only whole intervals go out: a lone start would reach to the next end.
pub fn write_wide(batch: &mut Batch, set: &str, wide: &WideSet, now: Duration) {
    batch.empty_set(set);
    let intervals = wide.intervals(now);
    let comments: Vec<String> = intervals.iter().map(|interval| interval.source.to_string()).collect();
    let elements = intervals.iter().zip(&comments).flat_map(|(interval, comment)| {
        let start = Element { comment: Some(comment), ..Element::ban(interval.first, interval.left) };
        std::iter::once((0, start)).chain(interval.after.map(|after| (0, Element::end(after))))
    });
    batch.elements(Op::Add, set, elements);
}

/// Why the table could not be brought in order.
pub struct Failed {
    /// It was the table itself that was refused first: its flags.
    at_table: bool,
    error: CommitError,
}

impl Failed {
    /// Something there has our name but is of another make; the table has to be made anew.
    fn is_clash(&self) -> bool {
        matches!(self.errno(), libc::EEXIST | libc::EOPNOTSUPP | libc::EBUSY)
    }

    fn errno(&self) -> i32 {
        match &self.error {
            CommitError::Refused(answers) => answers.first().map_or(libc::EIO, |answer| answer.errno),
            CommitError::Io(Errno(errno)) => *errno,
            CommitError::Unknown => libc::ENOBUFS,
        }
    }
}

fn is_unsupported(errno: i32) -> bool {
    matches!(errno, libc::EOPNOTSUPP | libc::EINVAL)
}
