//! Filling the sets: single changes as they come, and all bans at once without a gap.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::batch::{Batch, Closed, Element, Op};
use super::layout::{Kind, SetDef};
use super::link::{CommitError, DumpError};
use super::read;
use super::table::{READ_BACK_MAX, write_wide};
use super::{ElementAbilities, State, refusal};
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
    fresh: HashSet<&'s str>,
}

impl Changes<'_> {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Writes the changes but for those in `skip`.
    fn write(&self, batch: &mut Batch, can: ElementAbilities, skip: &HashSet<u32>) {
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
            self.apply_chunk(bans, part, &HashSet::new(), clock, &mut refused)?;
        }
        for bans in bans.get(CHUNK..).unwrap_or(&[]).chunks(CHUNK) {
            self.apply_chunk(bans, &[], &HashSet::new(), clock, &mut refused)?;
        }
        Ok(refused)
    }

    /// One transaction. `fresh`: names of sets known to be empty but for what was put there since.
    fn apply_chunk(
        &mut self,
        bans: &[KernelBan],
        unbans: &[(JailName, Net)],
        fresh: &HashSet<String>,
        clock: &dyn Clock,
        refused: &mut Vec<Refused>,
    ) -> Result<(), FirewallError> {
        let now = clock.monotonic();
        let touched = self.take_wide(bans, unbans, now);
        let mut changes = Changes::default();
        for (ticket, (jail, net)) in unbans.iter().enumerate() {
            if let Some(jail) = self.jails.get(jail) {
                let set = jail.set_of(*net);
                if set.is_hash() {
                    let ticket = (bans.len() + ticket) as u32;
                    changes.remove.entry(&set.name).or_default().push((ticket, net.base().ip()));
                }
            }
        }
        for (ticket, ban) in bans.iter().enumerate() {
            match self.jails.get(&ban.jail) {
                Some(jail) => {
                    let set = jail.set_of(ban.target);
                    if set.is_hash() {
                        let key = ban.target.base().ip();
                        changes.add.entry(&set.name).or_default().push((ticket as u32, key, ban.left));
                        if let Some(name) = fresh.get(&set.name) {
                            changes.fresh.insert(name);
                        }
                    }
                }
                None => {
                    let action = format!("ban {} in jail {}", ban.target, ban.jail);
                    let why = FirewallError::NoSuchJail { action };
                    refused.push(Refused { jail: ban.jail.clone(), target: ban.target, why });
                }
            }
        }
        if changes.is_empty() && touched.is_empty() {
            return Ok(());
        }
        let write = |seq: u32, single: bool, skip: &HashSet<u32>| {
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
        let what = |ticket: u32| {
            let ticket = ticket as usize;
            match bans.get(ticket) {
                Some(ban) => (&ban.jail, ban.target, "ban"),
                None => (&unbans[ticket - bans.len()].0, unbans[ticket - bans.len()].1, "unban"),
            }
        };
        let fate = commit_dropping(&mut self.command, &write, |ticket, errno| {
            let (jail, target, verb) = what(ticket);
            let set = self.jails.get(jail).map_or("", |jail| jail.set_of(target).name.as_str());
            let action = format!("{verb} {target} in set inet portero/{set}");
            refused.push(Refused { jail: jail.clone(), target, why: refusal(errno, action) });
        });
        let action = || match (bans.first(), unbans.first()) {
            (Some(_), _) => {
                let (jail, target, _) = what(0);
                let more =
                    if bans.len() > 1 { format!(" and {} more", bans.len() - 1) } else { String::new() };
                let set = self.jails.get(jail).map_or("", |jail| jail.set_of(target).name.as_str());
                format!("ban {target}{more} in set inet portero/{set}")
            }
            (None, Some((jail, target))) => format!("unban {target} in jail {jail}"),
            (None, None) => "change table inet portero".to_owned(),
        };
        match fate {
            Ok(()) => Ok(()),
            Err(error) => {
                let action = action();
                Err(self.failed(error, action))
            }
        }
    }

    /// Takes the networks among the changes into the interval maps; which of those changed.
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
        let fresh: HashSet<String> = self.make_whole(plan, clock)?.into_iter().collect();
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
        fresh: &HashSet<String>,
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
                    changes.write(&mut batch, can, &HashSet::new());
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

/// Sends a batch; what the kernel refuses of it for its own sake is reported through `refuse` and left out, and the
/// rest is sent again. All that is sent here may be sent twice without harm.
fn commit_dropping(
    command: &mut super::Link,
    write: &dyn Fn(u32, bool, &HashSet<u32>) -> Closed,
    mut refuse: impl FnMut(u32, Errno),
) -> Result<(), CommitError> {
    let mut skip = HashSet::new();
    let mut single = false;
    let mut unknown = 0;
    loop {
        let batch = write(command.seq(), single, &skip);
        let answers = match command.commit(&batch) {
            Ok(()) => return Ok(()),
            Err(CommitError::Unknown) if unknown == 0 => {
                unknown += 1;
                continue;
            }
            Err(CommitError::Refused(answers)) => answers,
            Err(error) => return Err(error),
        };
        // These are about the table, the set or ourselves, not about an element.
        let about_all = |errno: i32| matches!(errno, libc::ENOENT | libc::EPERM | libc::EACCES);
        let hits: Vec<(u32, Errno)> = answers
            .iter()
            .filter(|answer| !about_all(answer.errno))
            .filter_map(|answer| Some((batch.ticket(answer.seq, answer.offset)?, Errno(answer.errno))))
            .collect();
        let hopeless = answers.iter().any(|answer| about_all(answer.errno)) || skip.len() > REFUSED_MAX;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::wire;

    fn kinds(changes: &Changes<'_>, refresh: bool, destroy: bool) -> Vec<u16> {
        let mut batch = Batch::new(1);
        changes.write(&mut batch, ElementAbilities { refresh, destroy }, &HashSet::new());
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
