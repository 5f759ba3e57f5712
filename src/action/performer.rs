//! One action of one jail through its life: started, told of bans, repaired, stopped. Decides which command is due;
//! a [`Shell`] runs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{Definition, Family, Verb};
use super::script::{self, HostNames, Script};
use super::shell::{Outcome, Shell};
use super::ticket::{Ticket, Value, jail_value};
use crate::addr::{Host, Net};
use crate::jail::JailCounts;

/// Evidence kept of bans that stand, for an action whose unban wants it; bans beyond it stand without. Bytes.
const EVIDENCE_BYTES_MAX: usize = 16 << 20;

/// What a person should know of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub verb: Verb,
    /// What happened, for a person.
    pub what: String,
}

/// What a command may need beside its ticket.
pub struct Around<'a> {
    pub jail: &'a str,
    /// The jail's plain bantime, seconds; -1 for ever.
    pub bantime_secs: i64,
    pub names: &'a HostNames,
    /// The name of an address, asked of the resolver; only called where a command names `<ip-host>`.
    pub host_name: &'a dyn Fn(Host) -> Vec<u8>,
}

/// What was made for one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Started {
    /// The start ran well.
    on: bool,
    /// It was told of a ban since.
    filled: bool,
}

/// The state of one action of one jail.
#[derive(Debug)]
pub struct Performer {
    definition: Arc<Definition>,
    started: BTreeMap<Family, Started>,
    /// Start commands that ran, so that one that is the same for both families runs once.
    start_commands: BTreeMap<Family, String>,
    /// Bans that it was told of and that stand.
    held: BTreeMap<Net, Ticket>,
    keeps_evidence: bool,
    evidence_bytes: usize,
    pub troubles: Vec<Trouble>,
}

impl Performer {
    pub fn new(definition: Arc<Definition>) -> Performer {
        let late: Vec<&str> = [Verb::Unban, Verb::Reban, Verb::Prolong]
            .into_iter()
            .filter_map(|verb| definition.command(verb))
            .collect();
        let keeps_evidence = late.iter().any(|text| text.contains("matches>") || text.contains("<F-"))
            || definition.tags.values().any(|text| text.contains("matches>") || text.contains("<F-"));
        Performer {
            definition,
            started: BTreeMap::new(),
            start_commands: BTreeMap::new(),
            held: BTreeMap::new(),
            keeps_evidence,
            evidence_bytes: 0,
            troubles: Vec::new(),
        }
    }

    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Takes other parameters; what was started stays started.
    pub fn redefine(&mut self, definition: Arc<Definition>, around: &Around<'_>, shell: &mut dyn Shell) {
        let fresh = Performer::new(definition);
        self.definition = fresh.definition;
        self.keeps_evidence = fresh.keeps_evidence;
        let families = self.families(|started| started.on);
        self.operate(Verb::Reload, &families, around, shell);
    }

    /// The jail starts.
    pub fn start(&mut self, around: &Around<'_>, shell: &mut dyn Shell) {
        if !self.definition.starts_on_demand() {
            self.start_families(self.definition.clone().families(), around, shell);
        }
    }

    fn start_families(&mut self, families: &[Family], around: &Around<'_>, shell: &mut dyn Shell) {
        for family in families {
            let Some(command) = self.fixed(Verb::Start, *family, around) else { continue };
            let known = self.start_commands.iter().any(|(other, ran)| other != family && *ran == command);
            let good = command.is_empty() || known || self.run_plain(Verb::Start, &command, around, shell);
            if good {
                self.started.entry(*family).or_default().on = true;
                self.start_commands.insert(*family, command);
            }
        }
    }

    /// A ban was made. One that it knows already was made longer.
    pub fn ban(&mut self, ticket: &Ticket, around: &Around<'_>, shell: &mut dyn Shell) {
        if ticket.restored && self.definition.norestored {
            return;
        }
        let verb = if self.held.contains_key(&ticket.target) { Verb::Prolong } else { Verb::Ban };
        if verb == Verb::Prolong && self.definition.command(Verb::Prolong).is_none() {
            return;
        }
        let family = Family::of(ticket.target);
        if self.definition.starts_on_demand() && !self.started.get(&family).is_some_and(|started| started.on)
        {
            self.start_families(&[family], around, shell);
        }
        // Held from here on even if it fails: it may have been done in part, and the unban is to clear that.
        self.hold(ticket);
        if self.carry_out(verb, ticket, around, shell) {
            *self.started.entry(family).or_default() = Started { on: true, filled: true };
        }
    }

    /// A ban is over.
    pub fn unban(&mut self, target: Net, around: &Around<'_>, shell: &mut dyn Shell) {
        let Some(ticket) = self.held.remove(&target) else { return };
        self.evidence_bytes -= weight(&ticket);
        if self.definition.command(Verb::Unban).is_some() {
            self.carry_out(Verb::Unban, &ticket, around, shell);
        }
    }

    /// The jail ends: everything is lifted, at once if there is a command for it, then one by one; then it stops.
    /// Answers how many bans are left as they are, because the daemon waits no longer.
    pub fn stop(&mut self, around: &Around<'_>, shell: &mut dyn Shell) -> usize {
        if self.definition.command(Verb::Flush).is_some() {
            let filled = self.families(|started| started.on && started.filled);
            if self.operate(Verb::Flush, &filled, around, shell) {
                self.held.clear();
            }
        } else if self.definition.command(Verb::Unban).is_none() {
            self.held.clear();
        }
        while !shell.abandoned()
            && let Some((target, _)) = self.held.first_key_value()
        {
            let target = *target;
            self.unban(target, around, shell);
        }
        if !shell.abandoned() {
            let families = self.families(|started| started.on);
            self.operate(Verb::Stop, &families, around, shell);
        }
        self.started.clear();
        self.start_commands.clear();
        self.evidence_bytes = 0;
        std::mem::take(&mut self.held).len()
    }

    fn families(&self, wanted: impl Fn(&Started) -> bool) -> Vec<Family> {
        self.started.iter().filter(|(_, started)| wanted(started)).map(|(family, _)| *family).collect()
    }

    fn hold(&mut self, ticket: &Ticket) {
        let with = self.keeps_evidence && self.evidence_bytes + weight(ticket) <= EVIDENCE_BYTES_MAX;
        let kept = if with { ticket.clone() } else { ticket.without_evidence() };
        self.evidence_bytes += weight(&kept);
        if let Some(old) = self.held.insert(ticket.target, kept) {
            self.evidence_bytes -= weight(&old);
        }
    }

    /// Runs a command that is about no ban, for each family once; the same text only once.
    fn operate(
        &mut self,
        verb: Verb,
        families: &[Family],
        around: &Around<'_>,
        shell: &mut dyn Shell,
    ) -> bool {
        let mut ran: Vec<String> = Vec::new();
        let mut good = true;
        for family in families {
            let Some(command) = self.fixed(verb, *family, around) else {
                good = false;
                continue;
            };
            if command.is_empty() || ran.contains(&command) {
                continue;
            }
            good &= self.run_plain(verb, &command, around, shell);
            ran.push(command);
        }
        good
    }

    /// Runs a command about a ban. If it fails, looks whether all still stands, repairs it, and tries once more.
    fn carry_out(&mut self, verb: Verb, ticket: &Ticket, around: &Around<'_>, shell: &mut dyn Shell) -> bool {
        let Some(first) = self.attempt(verb, ticket, around, shell) else { return false };
        if first.good() {
            return true;
        }
        if matches!(first, Outcome::Abandoned | Outcome::TimedOut(_) | Outcome::NotStarted(_)) {
            self.trouble(verb, &first);
            return false;
        }
        if self.definition.command(Verb::Check).is_some()
            && !self.put_right(verb, ticket.target, around, shell)
        {
            self.trouble(verb, &first);
            return false;
        }
        let Some(second) = self.attempt(verb, ticket, around, shell) else { return false };
        if !second.good() {
            self.trouble(verb, &second);
        }
        second.good()
    }

    /// `None`: the command's tags go in circles; said already.
    fn attempt(
        &mut self,
        verb: Verb,
        ticket: &Ticket,
        around: &Around<'_>,
        shell: &mut dyn Shell,
    ) -> Option<Outcome> {
        let command = self.fixed(verb, Family::of(ticket.target), around)?;
        if command.is_empty() {
            return Some(Outcome::Good);
        }
        let script = script::dynamic(&command, |tag| match tag {
            "ip-host" => Some(Value::Foreign((around.host_name)(ticket.target.base()))),
            tag => ticket.value(around.jail, tag),
        });
        Some(shell.run(&script, self.definition.timeout))
    }

    /// Checks what was started, and repairs it if it is broken. True: all stands.
    fn put_right(&mut self, verb: Verb, target: Net, around: &Around<'_>, shell: &mut dyn Shell) -> bool {
        let family = Family::of(target);
        if self.stands(family, around, shell) {
            return true;
        }
        if verb == Verb::Unban && !self.definition.repair_on_unban {
            return false;
        }
        if self.definition.command(Verb::Repair).is_some() {
            if !self.operate(Verb::Repair, &[family], around, shell) {
                self.started.insert(family, Started::default());
                return false;
            }
            self.started.insert(family, Started { on: true, filled: false });
        } else {
            self.started.insert(family, Started::default());
            self.operate(Verb::Stop, &[family], around, shell);
            // The stop has undone the start of every family that starts with the same words.
            let start = self.fixed(Verb::Start, family, around);
            self.start_commands.retain(|_, command| Some(&*command) != start.as_ref());
            self.start_families(&[family], around, shell);
        }
        if !self.stands(family, around, shell) {
            return false;
        }
        self.tell_again(family, target, around, shell);
        true
    }

    fn stands(&mut self, family: Family, around: &Around<'_>, shell: &mut dyn Shell) -> bool {
        let Some(command) = self.fixed(Verb::Check, family, around) else { return false };
        let script = plain(&command, around);
        command.is_empty() || shell.run(&script, self.definition.timeout).good()
    }

    /// What was broken has lost its bans; that of `but` is told by who is at it.
    fn tell_again(&mut self, family: Family, but: Net, around: &Around<'_>, shell: &mut dyn Shell) {
        let verb = if self.definition.command(Verb::Reban).is_some() { Verb::Reban } else { Verb::Ban };
        let again: Vec<Ticket> = self
            .held
            .values()
            .filter(|ticket| Family::of(ticket.target) == family && ticket.target != but)
            .cloned()
            .collect();
        for ticket in again {
            if shell.abandoned() {
                return;
            }
            match self.attempt(verb, &ticket, around, shell) {
                Some(outcome) if !outcome.good() => self.trouble(verb, &outcome),
                _ => self.started.entry(family).or_default().filled = true,
            }
        }
    }

    fn run_plain(&mut self, verb: Verb, command: &str, around: &Around<'_>, shell: &mut dyn Shell) -> bool {
        let outcome = shell.run(&plain(command, around), self.definition.timeout);
        if !outcome.good() {
            self.trouble(verb, &outcome);
        }
        outcome.good()
    }

    /// The command with the action's own tags and `<family>` replaced. Two families whose commands are the same need
    /// only one.
    fn fixed(&mut self, verb: Verb, family: Family, around: &Around<'_>) -> Option<String> {
        match script::fixed(&self.definition, verb, family, around.names) {
            Ok(command) if command.trim().is_empty() => Some(String::new()),
            Ok(command) => Some(command.replace("<family>", family.name())),
            Err(what) => {
                self.troubles.push(Trouble { verb, what });
                None
            }
        }
    }

    fn trouble(&mut self, verb: Verb, outcome: &Outcome) {
        self.troubles.push(Trouble { verb, what: outcome.to_string() });
    }
}

/// A command that is about no ban: fail2ban fills its tags from an empty ticket.
fn plain(command: &str, around: &Around<'_>) -> Script {
    script::dynamic(command, |tag| {
        Some(match tag {
            "bantime" => Value::Own(around.bantime_secs.to_string()),
            "failures" | "ipfailures" | "ipjailfailures" | "bancount" | "restored" => {
                Value::Own("0".to_owned())
            }
            "ip" | "fid" | "ip-rev" | "ip-host" | "matches" | "ipmatches" | "ipjailmatches" => {
                Value::Foreign(Vec::new())
            }
            tag if tag.strip_prefix("F-").is_some_and(super::ticket::is_field) => Value::Foreign(Vec::new()),
            tag => return jail_value(around.jail, &JailCounts::default(), tag),
        })
    })
}

fn weight(ticket: &Ticket) -> usize {
    let lines = |lines: &[Box<[u8]>]| lines.iter().map(|line| line.len()).sum::<usize>();
    let fields = ticket.evidence.fields.values().map(Vec::len).sum::<usize>();
    lines(&ticket.evidence.matches) + lines(&ticket.ip_matches) + lines(&ticket.ip_jail_matches) + fields
}

#[cfg(test)]
#[path = "performer_tests.rs"]
mod tests;
