//! An action's life against a shell that only writes down.

use std::time::Duration;

use super::*;
use crate::jail::{Ban, JailName};

/// Writes down what it is given; fails what contains one of `failing`, each so many times.
#[derive(Default)]
struct Paper {
    ran: Vec<String>,
    failing: Vec<(&'static str, usize)>,
    stop_after: Option<usize>,
}

impl Shell for Paper {
    fn run(&mut self, script: &Script, _timeout: Duration) -> Outcome {
        self.ran.push(script.text.clone());
        let fails = self.failing.iter_mut().find(|(text, times)| *times > 0 && script.text.contains(text));
        match fails {
            Some((_, times)) => {
                *times -= 1;
                Outcome::Failed(1, String::new())
            }
            None => Outcome::Good,
        }
    }

    fn abandoned(&self) -> bool {
        self.stop_after.is_some_and(|count| self.ran.len() >= count)
    }
}

fn action(commands: &[(Verb, &str)], tags: &[(&str, &str)]) -> Definition {
    let mut definition = Definition::new("x", "x");
    definition.commands = commands.iter().map(|(verb, text)| (*verb, (*text).to_owned())).collect();
    definition.tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    definition
}

fn ticket(target: &str) -> Ticket {
    let ban = Ban::example(JailName::new("sshd").unwrap(), target.parse().unwrap());
    let until = Some(ban.since.plus(Duration::from_secs(600)));
    let ban = Ban { until, count: 2, ..ban };
    Ticket::of(&ban, false, JailCounts::default())
}

fn play(
    definition: Definition,
    paper: &mut Paper,
    moves: impl FnOnce(&mut Performer, &Around<'_>, &mut Paper),
) -> Performer {
    let names = HostNames::default();
    let around = Around {
        jail: "sshd",
        bantime_secs: 600,
        names: &names,
        host_name: &|_| b"evil.example.org".to_vec(),
    };
    let mut performer = Performer::new(Arc::new(definition));
    performer.start(&around, paper);
    moves(&mut performer, &around, paper);
    performer
}

#[test]
fn a_simple_action_starts_at_once_and_lifts_what_it_holds_when_it_stops() {
    let mut paper = Paper::default();
    let definition = action(
        &[
            (Verb::Start, "start <name> <bantime>"),
            (Verb::Ban, "ban <ip> <failures> <bantime> <bancount> <time> <restored> <jail.name> <ip-rev>"),
            (Verb::Unban, "unban <ip>"),
            (Verb::Stop, "stop <name>"),
        ],
        &[("name", "n")],
    );
    play(definition, &mut paper, |performer, around, paper| {
        performer.ban(&ticket("203.0.113.7"), around, paper);
        performer.ban(&ticket("203.0.113.8"), around, paper);
        performer.ban(&ticket("203.0.113.8"), around, paper);
        performer.unban("203.0.113.7".parse().unwrap(), around, paper);
        performer.unban("203.0.113.9".parse().unwrap(), around, paper);
        assert_eq!(performer.stop(around, paper), 0);
    });
    assert_eq!(
        paper.ran,
        [
            "start n 600",
            "ban 203.0.113.7 5 600 2 1790000000 0 sshd 7.113.0.203.",
            "ban 203.0.113.8 5 600 2 1790000000 0 sshd 8.113.0.203.",
            "unban 203.0.113.7",
            "unban 203.0.113.8",
            "stop n",
        ]
    );
}

#[test]
fn an_action_with_tags_by_family_starts_each_family_with_its_first_ban() {
    let mut paper = Paper::default();
    let definition = action(
        &[
            (Verb::Start, "start <t> <family>"),
            (Verb::Ban, "ban <t> <ip>"),
            (Verb::Flush, "flush <t>"),
            (Verb::Stop, "stop <t>"),
        ],
        &[("t", "four"), ("t?family=inet6", "six")],
    );
    play(definition.clone(), &mut paper, |performer, around, paper| {
        assert!(paper.ran.is_empty());
        performer.ban(&ticket("2001:db8::7"), around, paper);
        performer.ban(&ticket("2001:db8::8"), around, paper);
        performer.ban(&ticket("203.0.113.7"), around, paper);
        performer.stop(around, paper);
    });
    let all = [
        "start six inet6",
        "ban six 2001:db8::7",
        "ban six 2001:db8::8",
        "start four inet4",
        "ban four 203.0.113.7",
        "flush four",
        "flush six",
        "stop four",
        "stop six",
    ];
    assert_eq!(paper.ran, all);
    // Nothing was banned, so nothing was started and nothing is stopped.
    let mut paper = Paper::default();
    play(definition, &mut paper, |performer, around, paper| {
        performer.stop(around, paper);
    });
    assert!(paper.ran.is_empty());
}

#[test]
fn a_start_that_is_the_same_for_both_families_runs_once() {
    let mut paper = Paper::default();
    let mut definition = action(&[(Verb::Start, "start"), (Verb::Ban, "b <t>"), (Verb::Stop, "stop")], &[]);
    definition.tags.insert("t?family=inet6".into(), "six".into());
    definition.on_demand = Some(false);
    play(definition, &mut paper, |performer, around, paper| {
        performer.stop(around, paper);
    });
    assert_eq!(paper.ran, ["start", "stop"]);
}

#[test]
fn norestored_leaves_out_what_stood_before() {
    let mut paper = Paper::default();
    let mut definition = action(&[(Verb::Ban, "ban <ip> <restored>"), (Verb::Unban, "unban <ip>")], &[]);
    let restored = Ticket { restored: true, ..ticket("203.0.113.7") };
    play(definition.clone(), &mut paper, |performer, around, paper| performer.ban(&restored, around, paper));
    assert_eq!(paper.ran, ["ban 203.0.113.7 1"]);
    definition.norestored = true;
    let mut paper = Paper::default();
    play(definition, &mut paper, |performer, around, paper| {
        performer.ban(&restored, around, paper);
        performer.unban(restored.target, around, paper);
        performer.stop(around, paper);
    });
    assert!(paper.ran.is_empty());
}

#[test]
fn what_another_program_broke_is_repaired_and_its_bans_are_told_again() {
    let commands = [
        (Verb::Start, "start"),
        (Verb::Stop, "stop"),
        (Verb::Check, "check"),
        (Verb::Ban, "ban <ip>"),
        (Verb::Unban, "unban <ip>"),
    ];
    let mut paper = Paper::default();
    let performer = play(action(&commands, &[]), &mut paper, |performer, around, paper| {
        performer.ban(&ticket("203.0.113.7"), around, paper);
        paper.ran.clear();
        paper.failing = vec![("ban 203.0.113.8", 1), ("check", 1)];
        performer.ban(&ticket("203.0.113.8"), around, paper);
    });
    // As fail2ban, for the family of the ban; and the bans of before are there again at once.
    assert_eq!(
        paper.ran,
        ["ban 203.0.113.8", "check", "stop", "start", "check", "ban 203.0.113.7", "ban 203.0.113.8"]
    );
    assert!(performer.troubles.is_empty());

    let mut with_repair = action(&commands, &[]);
    with_repair.commands.insert(Verb::Repair, "repair".into());
    with_repair.commands.insert(Verb::Reban, "reban <ip>".into());
    let mut paper = Paper::default();
    play(with_repair, &mut paper, |performer, around, paper| {
        performer.ban(&ticket("203.0.113.7"), around, paper);
        paper.ran.clear();
        paper.failing = vec![("unban", 9), ("check", 1)];
        performer.unban("203.0.113.7".parse().unwrap(), around, paper);
        assert_eq!(paper.ran, ["unban 203.0.113.7", "check"], "an unban repairs nothing");
        assert_eq!(performer.troubles.len(), 1);
        paper.ran.clear();
        paper.failing = vec![("ban 203.0.113.8", 1), ("check", 1)];
        performer.ban(&ticket("203.0.113.8"), around, paper);
    });
    assert_eq!(paper.ran, ["ban 203.0.113.8", "check", "repair", "check", "ban 203.0.113.8"]);
}

#[test]
fn a_stop_that_may_take_no_longer_leaves_the_rest() {
    let mut paper = Paper::default();
    let definition = action(&[(Verb::Ban, "ban"), (Verb::Unban, "unban <ip>"), (Verb::Stop, "stop")], &[]);
    play(definition, &mut paper, |performer, around, paper| {
        for last in 1..=9 {
            performer.ban(&ticket(&format!("203.0.113.{last}")), around, paper);
        }
        paper.ran.clear();
        paper.stop_after = Some(2);
        assert_eq!(performer.stop(around, paper), 7);
    });
    assert_eq!(paper.ran, ["unban 203.0.113.1", "unban 203.0.113.2"]);
}

#[test]
fn a_longer_ban_is_told_to_those_who_want_to_know() {
    let mut paper = Paper::default();
    let definition = action(&[(Verb::Ban, "ban <ip>"), (Verb::Prolong, "prolong <ip> <bantime>")], &[]);
    play(definition, &mut paper, |performer, around, paper| {
        performer.ban(&ticket("203.0.113.7"), around, paper);
        let longer = Ticket { bantime: crate::time::Span::Forever, ..ticket("203.0.113.7") };
        performer.ban(&longer, around, paper);
    });
    assert_eq!(paper.ran, ["ban 203.0.113.7", "prolong 203.0.113.7 -1"]);
}
