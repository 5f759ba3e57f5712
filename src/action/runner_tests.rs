//! The runner with real shells.

use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::time::SystemClock;

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    while !ready() {
        assert!(clock.monotonic() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn definition(name: &str, file: &str, commands: &[(Verb, String)]) -> Arc<Definition> {
    let mut definition = Definition::new(name, file);
    definition.commands = commands.iter().cloned().collect();
    Arc::new(definition)
}

fn name(jail: &str) -> JailName {
    JailName::new(jail).unwrap()
}

fn ban(jail: &str, target: &str) -> Ban {
    Ban::example(name(jail), target.parse().unwrap())
}

struct World {
    actions: Actions,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl World {
    fn new(limits: &Limits) -> World {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = reports.clone();
        let tell = move |report| told.lock().unwrap().push(report);
        World { actions: Actions::new(limits, Arc::new(SystemClock::new()), tell), reports }
    }

    fn configure(&mut self, jails: &[(&str, Vec<Arc<Definition>>)], bans: &[Ban]) {
        let names: Vec<JailName> = jails.iter().map(|(jail, _)| name(jail)).collect();
        let jails = names.iter().zip(jails).map(|(jail, (_, actions))| JailActions {
            jail,
            actions,
            bantime: Span::Forever,
            watched: false,
            matches_max: 5,
        });
        let of = |jail: &JailName| bans.iter().filter(|ban| ban.jail == *jail).cloned().collect();
        self.actions.configure(jails, of).unwrap();
    }

    fn ban(&mut self, ban: &Ban) {
        self.actions.ban(ban, false, JailCounts::default());
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_slow_action_delays_neither_the_caller_nor_other_actions() {
    let folder = tempfile::tempdir().unwrap();
    let (go, slow, quick) =
        (folder.path().join("go"), folder.path().join("slow"), folder.path().join("quick"));
    let waits =
        format!("while [ ! -e {} ]; do sleep 0.02; done; echo <ip> >> {}", go.display(), slow.display());
    let writes = format!("echo <ip> <restored> >> {}", quick.display());
    let mut world = World::new(&Limits::default());
    let one = definition("slow", "slow", &[(Verb::Ban, waits)]);
    let two = definition("quick", "quick", &[(Verb::Ban, writes)]);
    world.configure(&[("sshd", vec![one, two])], &[ban("sshd", "203.0.113.1")]);
    world.ban(&ban("sshd", "203.0.113.7"));
    world.ban(&ban("sshd", "203.0.113.8"));
    wait_until("the quick one has heard of all", || read(&quick).lines().count() == 3);
    assert_eq!(read(&quick), "203.0.113.1 1\n203.0.113.7 0\n203.0.113.8 0\n");
    assert_eq!(read(&slow), "", "the slow one still waits for its first");
    std::fs::write(&go, "").unwrap();
    wait_until("the slow one is through", || read(&slow).lines().count() == 3);
    assert_eq!(read(&slow), "203.0.113.1\n203.0.113.7\n203.0.113.8\n", "in their order");
    world.actions.close(PATIENCE);
    assert!(world.reports.lock().unwrap().is_empty());
}

#[test]
fn a_full_queue_is_reported_once_and_leaves_out_bans_with_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (go, out) = (folder.path().join("go"), folder.path().join("out"));
    let waits =
        format!("while [ ! -e {} ]; do sleep 0.02; done; echo ban <ip> >> {}", go.display(), out.display());
    let lifts = format!("echo unban <ip> >> {}", out.display());
    let mut world = World::new(&Limits { actions_queue_max: 2, ..Limits::default() });
    let action = definition("a", "a", &[(Verb::Ban, waits), (Verb::Unban, lifts)]);
    world.configure(&[("sshd", vec![action])], &[]);
    world.ban(&ban("sshd", "203.0.113.1"));
    // Whether the first is at work already does not matter: two fit behind it at most.
    for last in 2..=9 {
        world.ban(&ban("sshd", &format!("203.0.113.{last}")));
    }
    assert_eq!(*world.reports.lock().unwrap(), [Report::Overflow { file: "a".into() }]);
    for last in 1..=9 {
        world.actions.unban(&name("sshd"), format!("203.0.113.{last}").parse().unwrap());
    }
    std::fs::write(&go, "").unwrap();
    let balanced = || {
        let text = read(&out);
        let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
        count("ban") >= 1 && count("ban") <= 3 && count("ban") == count("unban")
    };
    wait_until("what was told is taken back", balanced);
    world.actions.close(PATIENCE);
    assert!(balanced());
}

#[test]
fn stopping_lifts_and_stops_and_the_rest_is_left_when_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let (out, told) = (folder.path().join("out"), folder.path().join("told"));
    let write = |what: &str| format!("echo {what} >> {}", out.display());
    let mut world = World::new(&Limits::default());
    let good = definition(
        "good",
        "good",
        &[
            (Verb::Start, write("start")),
            (Verb::Ban, write("ban")),
            (Verb::Unban, write("unban")),
            (Verb::Stop, write("stop")),
        ],
    );
    let hangs = definition(
        "hangs",
        "hangs",
        &[
            (Verb::Ban, format!("echo told >> {}", told.display())),
            (Verb::Unban, "sleep 1000".into()),
            (Verb::Stop, write("never")),
        ],
    );
    world.configure(&[("sshd", vec![good, hangs])], &[]);
    world.ban(&ban("sshd", "203.0.113.7"));
    world.ban(&ban("sshd", "203.0.113.8"));
    wait_until("both were told of both", || {
        read(&out).matches("ban\n").count() == 2 && read(&told).lines().count() == 2
    });
    world.actions.close(Duration::from_secs(2));
    assert_eq!(read(&out), "start\nban\nban\nunban\nunban\nstop\n");
    let left = world.reports.lock().unwrap().clone();
    assert!(
        left.contains(&Report::Left { jail: name("sshd"), action: "hangs".into(), bans: 1 }),
        "one was being lifted, one was not: {left:?}"
    );
}

#[test]
fn a_reload_stops_what_is_gone_starts_what_is_new_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let action = |name: &str, extra: &str| {
        let write = |what: &str| format!("echo {name} {what} {extra} >> {}", out.display());
        let commands = [
            (Verb::Start, write("start")),
            (Verb::Ban, write("ban <ip> <restored>")),
            (Verb::Unban, write("unban <ip>")),
            (Verb::Stop, write("stop")),
        ];
        // All in one lane, so that the order is one.
        definition(name, "one", &commands)
    };
    let with_reload = |extra: &str| {
        let mut definition = (*action("d", extra)).clone();
        definition.commands.insert(Verb::Reload, format!("echo d reload {extra} >> {}", out.display()));
        Arc::new(definition)
    };
    let mut world = World::new(&Limits::default());
    let bans = [ban("sshd", "203.0.113.7")];
    world.configure(&[("sshd", vec![action("a", ""), action("b", ""), with_reload("")])], &[]);
    world.ban(&bans[0]);
    world.configure(
        &[("sshd", vec![action("a", ""), action("b", "new"), action("c", ""), with_reload("new")])],
        &bans,
    );
    world.configure(&[("sshd", vec![action("a", "")])], &bans);
    world.actions.unban(&name("sshd"), bans[0].target);
    world.configure(&[], &[]);
    let last = |text: &str| text.ends_with("a stop\n");
    wait_until("all is through", || last(&read(&out).replace(" \n", "\n")));
    let lines = read(&out).replace(" \n", "\n");
    let of = |name: &str| lines.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join(", ");
    assert_eq!(of("a"), "a start, a ban 203.0.113.7 0, a unban 203.0.113.7, a stop");
    assert_eq!(
        of("b"),
        "b start, b ban 203.0.113.7 0, b unban 203.0.113.7, b stop, b start new, b ban 203.0.113.7 1 new, \
         b unban 203.0.113.7 new, b stop new"
    );
    assert_eq!(of("c"), "c start, c ban 203.0.113.7 1, c unban 203.0.113.7, c stop");
    assert_eq!(of("d"), "d start, d ban 203.0.113.7 0, d reload new, d unban 203.0.113.7 new, d stop new");
    world.actions.close(PATIENCE);
}

#[test]
fn failures_are_reported_with_what_was_said() {
    let mut world = World::new(&Limits::default());
    let action = definition("a", "a", &[(Verb::Ban, "echo 'no way' >&2; exit 7".into())]);
    world.configure(&[("sshd", vec![action])], &[]);
    world.ban(&ban("sshd", "203.0.113.7"));
    wait_until("it is reported", || !world.reports.lock().unwrap().is_empty());
    world.actions.close(PATIENCE);
    let report = Report::Failed {
        jail: name("sshd"),
        action: "a".into(),
        verb: Verb::Ban,
        target: Some("203.0.113.7".parse().unwrap()),
        what: "exit code 7: no way".into(),
    };
    assert_eq!(*world.reports.lock().unwrap(), [report]);
}
