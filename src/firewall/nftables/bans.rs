//! Filling the sets: single changes as they come, and all bans at once without a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::batch::{Batch, Closed, Element, Op};
use super::layout::{Kind, SetDef};
use super::link::{CommitError, DumpError};
use super::read;
use super::table::{READ_BACK_MAX, write_wide};
use super::{ElementAbilities, JailState, State, refusal};
use crate::addr::Net;
use crate::firewall::{Errno, FirewallError, KernelBan, Plan, Refused};
use crate::jail::JailName;
use crate::time::{Clock, Span};

/// Bans in one transaction: some 20 ms in which other changes to nftables wait.
const CHUNK: usize = 16_384;
/// Single elements that may be sorted out of one batch before it is given up as a whole.
const REFUSED_MAX: usize = 64;

/// Changes to hash sets by set name, each with the place of its ban in the caller's list.
#[derive(Default)]
struct Changes<'s> {
    remove: BTreeMap<&'s str, Vec<(u32, IpAddr)>>,
    add: BTreeMap<&'s str, Vec<(u32, IpAddr, Span)>>,
    /// The sets among `add` that hold nothing: no need to make way for a refresh there.
    fresh: BTreeSet<&'s str>,
}

impl<'s> Changes<'s> {
    /// Takes the single addresses among `unbans`; their tickets begin at `ticket`. Apart from the way of a ban.
    #[inline(never)]
    fn take_unbans(
        &mut self,
        jails: &'s BTreeMap<JailName, JailState>,
        unbans: &[(JailName, Net)],
        ticket: usize,
    ) {
        for (ticket, (jail, net)) in (ticket..).zip(unbans) {
            if let Some(jail) = jails.get(jail) {
                let set = jail.set_of(*net);
                if set.is_hash() {
                    self.remove.entry(&set.name).or_default().push((ticket as u32, net.base().ip()));
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Writes the changes but for those in `skip`.
    fn write(&self, batch: &mut Batch, can: ElementAbilities, skip: &BTreeSet<u32>) {
        let kept = |ticket: &u32| !skip.contains(ticket);
        for (set, keys) in &self.remove {
            let keys = || keys.iter().filter(|(t, _)| kept(t)).map(|(t, key)| (*t, Element::remove(*key)));
            if can.destroy {
                batch.elements(Op::Destroy, set, keys());
            } else {
                // What is there for certain can be deleted: an absent element would fail the batch.
                batch.elements(Op::Add, set, keys());
                batch.elements(Op::Delete, set, keys());
            }
        }
        for (set, bans) in &self.add {
            let bans = || bans.iter().filter(|(t, ..)| kept(t));
            let add = |(t, key, left): &(u32, IpAddr, Span)| (*t, Element::ban(*key, *left));
            // A refresh in place cannot turn a ban for ever into one that ends, or back, on every kernel.
            let fresh = self.fresh.contains(set);
            let in_place =
                |(_, _, left): &&(u32, IpAddr, Span)| fresh || (can.refresh && matches!(left, Span::For(_)));
            let bare = |(t, key, _): &(u32, IpAddr, Span)| (*t, Element::remove(*key));
            if can.destroy {
                batch.elements(Op::Destroy, set, bans().filter(|ban| !in_place(ban)).map(bare));
            } else {
                batch.elements(Op::Add, set, bans().filter(|ban| !in_place(ban)).map(bare));
                batch.elements(Op::Delete, set, bans().filter(|ban| !in_place(ban)).map(bare));
            }
            batch.elements(Op::Add, set, bans().map(add));
        }
    }
}

impl State {
    pub fn apply(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
        clock: &dyn Clock,
    ) -> Result<Vec<Refused>, FirewallError> {
        let mut refused = Vec::new();
        let mut done = 0;
        while done < unbans.len().max(1) {
            let part = &unbans[done..unbans.len().min(done + CHUNK)];
            done += CHUNK;
            // The last unbans and the first bans share a transaction: mostly that is all there is.
            let bans = if done >= unbans.len() { &bans[..bans.len().min(CHUNK)] } else { &[] };
            self.apply_chunk(bans, part, &BTreeSet::new(), clock, &mut refused)?;
        }
        for bans in bans.get(CHUNK..).unwrap_or(&[]).chunks(CHUNK) {
            self.apply_chunk(bans, &[], &BTreeSet::new(), clock, &mut refused)?;
        }
        Ok(refused)
    }

    /// One transaction. `fresh`: names of sets known to be empty but for what was put there since.
    fn apply_chunk(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
        fresh: &BTreeSet<String>,
        clock: &dyn Clock,
        refused: &mut Vec<Refused>,
    ) -> Result<(), FirewallError> {
        let now = clock.monotonic();
        let touched = self.take_wide(bans, unbans, now);
        let mut changes = Changes::default();
        if !unbans.is_empty() {
            changes.take_unbans(&self.jails, unbans, bans.len());
        }
        for (ticket, ban) in bans.iter().enumerate() {
            match self.jails.get(&ban.jail) {
                Some(jail) => {
                    let set = jail.set_of(ban.target);
                    if set.is_hash() {
                        let key = ban.target.base().ip();
                        changes.add.entry(&set.name).or_default().push((ticket as u32, key, ban.left));
                    }
                }
                None => refused.push(no_such_jail(ban)),
            }
        }
        changes.fresh.extend(changes.add.keys().filter(|name| fresh.contains(**name)));
        if changes.is_empty() && touched.is_empty() {
            return Ok(());
        }
        let write = |seq: u32, single: bool, skip: &BTreeSet<u32>| {
            let mut batch = Batch::new(seq);
            if single {
                batch = batch.single();
            }
            changes.write(&mut batch, self.elements, skip);
            for (jail, ipv4) in &touched {
                let Some(jail) = self.jails.get(jail) else { continue };
                let wide = if *ipv4 { &jail.wide4 } else { &jail.wide6 };
                write_wide(&mut batch, &jail.wide_set(*ipv4).name, wide, now);
            }
            batch.close()
        };
        let mut dropped = Vec::new();
        let fate =
            commit_dropping(&mut self.command, &write, &mut |ticket, errno| dropped.push((ticket, errno)));
        if !dropped.is_empty() {
            self.tell_refused(&dropped, bans, unbans, refused);
        }
        fate.map_err(|error| {
            let action = self.what_failed(bans, unbans);
            self.failed(error, action)
        })
    }

    /// Names what the kernel dropped of a transaction, by the tickets.
    #[cold]
    fn tell_refused(
        &self,
        dropped: &[(u32, Errno)],
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
        refused: &mut Vec<Refused>,
    ) {
        for (ticket, errno) in dropped {
            let ticket = *ticket as usize;
            let (jail, target, verb) = match bans.get(ticket) {
                Some(ban) => (&ban.jail, ban.target, "ban"),
                None => (&unbans[ticket - bans.len()].0, unbans[ticket - bans.len()].1, "unban"),
            };
            let action = format!("{verb} {target} in set inet portero/{}", self.set_name(jail, target));
            refused.push(Refused { jail: jail.clone(), target, why: refusal(*errno, action) });
        }
    }

    /// What a transaction was about that failed as a whole.
    #[cold]
    fn what_failed(&self, bans: &[KernelBan], unbans: &[(JailName, Net)]) -> String {
        match (bans, unbans) {
            ([KernelBan { jail, target, .. }, more @ ..], _) => {
                let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                format!("ban {target}{more} in set inet portero/{}", self.set_name(jail, *target))
            }
            ([], [(jail, target), ..]) => format!("unban {target} in jail {jail}"),
            ([], []) => "change table inet portero".to_owned(),
        }
    }

    /// The set that a target of a jail is in; empty where there is no such jail.
    fn set_name(&self, jail: &JailName, target: Net) -> &str {
        self.jails.get(jail).map_or("", |jail| jail.set_of(target).name.as_str())
    }

    /// Takes the networks among the changes into the interval maps; which of those changed.
    #[inline(never)]
    fn take_wide(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
        now: Duration,
    ) -> BTreeSet<(JailName, bool)> {
        let mut touched = BTreeSet::new();
        for (name, net) in unbans {
            if let Some(jail) = self.jails.get_mut(name)
                && jail.set_of(*net).kind == Kind::Wide
                && jail.wide(net.is_ipv4()).unban(*net)
            {
                touched.insert((name.clone(), net.is_ipv4()));
            }
        }
        for ban in bans {
            if let Some(jail) = self.jails.get_mut(&ban.jail)
                && jail.set_of(ban.target).kind == Kind::Wide
            {
                jail.wide(ban.target.is_ipv4()).ban(ban.target, ban.left, now);
                touched.insert((ban.jail.clone(), ban.target.is_ipv4()));
            }
        }
        for (name, ipv4) in &touched {
            if let Some(jail) = self.jails.get_mut(name) {
                jail.wide(*ipv4).expire(now);
            }
        }
        touched
    }

    /// Makes the sets hold exactly `bans`. Over many of them nobody listens to what other programs do; afterwards the
    /// table is compared with what it should be, and what they did to it is `Gone`.
    pub fn replace_all(
        &mut self,
        plan: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
        clock: &dyn Clock,
    ) -> Result<Vec<Refused>, FirewallError> {
        let filled = self.fill(plan, bans, clock);
        let was_away = self
            .events
            .turn_back()
            .map_err(|error| refusal(super::link::errno(&error), "watch nftables".to_owned()))?;
        if was_away && filled.is_ok() && !self.in_step()? {
            let action = "set the bans: another program changed table inet portero meanwhile".to_owned();
            return Err(FirewallError::Gone { action, errno: Errno(libc::ENOENT) });
        }
        filled
    }

    fn fill(
        &mut self,
        plan: &Plan,
        bans: &mut dyn Iterator<Item = KernelBan>,
        clock: &dyn Clock,
    ) -> Result<Vec<Refused>, FirewallError> {
        let fresh: BTreeSet<String> = self.make_whole(plan, clock)?.into_iter().collect();
        self.set_allow(&plan.allow)?;
        let mut strays = self.held_keys(&fresh)?;
        let mut refused = Vec::new();
        // Interval sets are written anew at the end, from all there is then; hash sets too large to be read likewise.
        let mut anew: HashMap<String, Vec<(IpAddr, Span)>> = strays
            .iter()
            .filter(|(_, keys)| keys.is_none())
            .map(|(name, _)| (name.clone(), Vec::new()))
            .collect();
        for jail in self.jails.values_mut() {
            (jail.wide4, jail.wide6) = Default::default();
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let next = bans.next();
            let ended = next.is_none();
            if let Some(ban) = next {
                if let Some(jail) = self.jails.get_mut(&ban.jail) {
                    let set = jail.set_of(ban.target);
                    let key = ban.target.base().ip();
                    if set.kind == Kind::Wide {
                        jail.wide(ban.target.is_ipv4()).ban(ban.target, ban.left, clock.monotonic());
                        continue;
                    }
                    if let Some(all) = anew.get_mut(&set.name) {
                        all.push((key, ban.left));
                        continue;
                    }
                    if let Some(Some(keys)) = strays.get_mut(&set.name) {
                        keys.remove(&key);
                    }
                }
                chunk.push(ban);
            }
            if chunk.len() == CHUNK {
                self.events.turn_away();
            }
            if chunk.len() == CHUNK || (ended && !chunk.is_empty()) {
                self.apply_chunk(&chunk, &[], &fresh, clock, &mut refused)?;
                chunk.clear();
            }
            if ended {
                break;
            }
        }
        self.finish(strays, anew, clock)?;
        Ok(refused)
    }

    /// The keys that each hash set holds, `None` for a set too large to be read.
    fn held_keys(
        &mut self,
        fresh: &BTreeSet<String>,
    ) -> Result<HashMap<String, Option<HashSet<IpAddr>>>, FirewallError> {
        let sets: Vec<SetDef> = self.jails.values().flat_map(|jail| jail.sets.iter().cloned()).collect();
        let mut held = HashMap::new();
        for set in sets.into_iter().filter(|set| set.is_hash() && !fresh.contains(&set.name)) {
            let keys = match read::elements(&mut self.reader, &set.name, READ_BACK_MAX) {
                Ok(elements) => Some(elements.into_iter().map(|element| element.key).collect()),
                Err(DumpError::TooMany) => None,
                Err(DumpError::Errno(errno)) => {
                    return Err(refusal(errno, format!("read set inet portero/{}", set.name)));
                }
            };
            held.insert(set.name, keys);
        }
        Ok(held)
    }

    /// Removes what no ban asked for, and writes those sets that are written as a whole.
    fn finish(
        &mut self,
        strays: HashMap<String, Option<HashSet<IpAddr>>>,
        anew: HashMap<String, Vec<(IpAddr, Span)>>,
        clock: &dyn Clock,
    ) -> Result<(), FirewallError> {
        let action = "set the bans in table inet portero";
        for (set, keys) in &strays {
            let keys: Vec<(u32, IpAddr)> = keys.iter().flatten().map(|key| (0, *key)).collect();
            for keys in keys.chunks(CHUNK) {
                let changes =
                    Changes { remove: BTreeMap::from([(set.as_str(), keys.to_vec())]), ..Changes::default() };
                let can = self.elements;
                let fate = self.commit(|seq| {
                    let mut batch = Batch::new(seq);
                    changes.write(&mut batch, can, &BTreeSet::new());
                    batch.close()
                });
                fate.map_err(|error| self.failed(error, action))?;
            }
        }
        let now = clock.monotonic();
        let write = |seq: u32| {
            let mut batch = Batch::new(seq);
            for (set, all) in &anew {
                batch.empty_set(set);
                let bans = all.iter().map(|(key, left)| (0, Element::ban(*key, *left)));
                batch.elements(Op::Add, set, bans);
            }
            for jail in self.jails.values() {
                write_wide(&mut batch, &jail.wide_set(true).name, &jail.wide4, now);
                write_wide(&mut batch, &jail.wide_set(false).name, &jail.wide6, now);
            }
            batch.close()
        };
        let fate = match self.command.commit(&write(self.command.seq())) {
            Err(CommitError::Unknown) => self.command.commit(&write(self.command.seq())),
            fate => fate,
        };
        fate.map_err(|error| self.failed(error, action))
    }
}

#[cold]
fn no_such_jail(ban: &KernelBan) -> Refused {
    let action = format!("ban {} in jail {}", ban.target, ban.jail);
    let why = FirewallError::NoSuchJail { action };
    Refused { jail: ban.jail.clone(), target: ban.target, why }
}

/// Sends a batch; what the kernel refuses of it for its own sake is reported through `refuse` and left out, and the
/// rest is sent again. All that is sent here may be sent twice without harm.
fn commit_dropping(
    command: &mut super::Link,
    write: &dyn Fn(u32, bool, &BTreeSet<u32>) -> Closed,
    refuse: &mut dyn FnMut(u32, Errno),
) -> Result<(), CommitError> {
    let batch = write(command.seq(), false, &BTreeSet::new());
    match command.commit(&batch) {
        Ok(()) => Ok(()),
        Err(error) => commit_what_is_left(command, write, refuse, (batch, error)),
    }
}

/// Goes on where a batch failed.
#[cold]
fn commit_what_is_left(
    command: &mut super::Link,
    write: &dyn Fn(u32, bool, &BTreeSet<u32>) -> Closed,
    refuse: &mut dyn FnMut(u32, Errno),
    mut failed: (Closed, CommitError),
) -> Result<(), CommitError> {
    let mut skip = BTreeSet::new();
    let mut single = false;
    let mut unknown = 0;
    loop {
        let (batch, error) = failed;
        match error {
            CommitError::Unknown if unknown == 0 => unknown += 1,
            CommitError::Refused(answers) => {
                // These are about the table, the set or ourselves, not about an element.
                let about_all = |errno: i32| matches!(errno, libc::ENOENT | libc::EPERM | libc::EACCES);
                let hits: Vec<(u32, Errno)> = answers
                    .iter()
                    .filter(|answer| !about_all(answer.errno))
                    .filter_map(|answer| {
                        Some((batch.ticket(answer.seq, answer.offset)?, Errno(answer.errno)))
                    })
                    .collect();
                let hopeless =
                    answers.iter().any(|answer| about_all(answer.errno)) || skip.len() > REFUSED_MAX;
                match (hits.is_empty(), single) {
                    _ if hopeless => return Err(CommitError::Refused(answers)),
                    (true, true) => return Err(CommitError::Refused(answers)),
                    (true, false) => single = true,
                    (false, _) => {
                        for (ticket, errno) in hits {
                            if skip.insert(ticket) {
                                refuse(ticket, errno);
                            }
                        }
                    }
                }
            }
            error => return Err(error),
        }
        let batch = write(command.seq(), single, &skip);
        match command.commit(&batch) {
            Ok(()) => return Ok(()),
            Err(error) => failed = (batch, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::wire;

    fn kinds(changes: &Changes<'_>, refresh: bool, destroy: bool) -> Vec<u16> {
        let mut batch = Batch::new(1);
        changes.write(&mut batch, ElementAbilities { refresh, destroy }, &BTreeSet::new());
        wire::messages(&batch.close().bytes).map(|message| message.kind & 0xff).collect()
    }

    #[test]
    fn old_kernels_make_way_for_a_refresh_and_never_delete_what_is_absent() {
        let key: IpAddr = "203.0.113.7".parse().unwrap();
        let hour = Span::For(Duration::from_secs(3600));
        let mut ban = Changes { add: BTreeMap::from([("s4", vec![(0, key, hour)])]), ..Changes::default() };
        // 12 adds, 14 deletes, 30 destroys; 16 and 17 are the edges.
        assert_eq!(kinds(&ban, true, true), [16, 12, 17]);
        assert_eq!(kinds(&ban, false, true), [16, 30, 12, 17]);
        assert_eq!(kinds(&ban, false, false), [16, 12, 14, 12, 17]);
        ban.fresh.insert("s4");
        assert_eq!(kinds(&ban, false, false), [16, 12, 17]);
        let forever =
            Changes { add: BTreeMap::from([("s4", vec![(0, key, Span::Forever)])]), ..Changes::default() };
        assert_eq!(kinds(&forever, true, true), [16, 30, 12, 17]);
        let unban = Changes { remove: BTreeMap::from([("s4", vec![(0, key)])]), ..Changes::default() };
        assert_eq!(kinds(&unban, true, true), [16, 30, 17]);
        assert_eq!(kinds(&unban, true, false), [16, 12, 14, 17]);
    }
}
