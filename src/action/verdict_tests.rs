//! Questions asked of real shells.

use std::sync::mpsc;

use super::*;
use crate::jail::{Ban, JailCounts};
use crate::time::SystemClock;

const PATIENCE: Duration = Duration::from_secs(60);

fn ticket(target: &str) -> Ticket {
    let ban = Ban::example(JailName::new("sshd").unwrap(), target.parse().unwrap());
    Ticket::of(&ban, false, JailCounts::default())
}

fn world(queue_max: usize) -> (Verdicts, mpsc::Receiver<Verdict>) {
    let (sender, answers) = mpsc::channel();
    let tell = move |verdict| sender.send(verdict).unwrap();
    (Verdicts::new(queue_max, Arc::new(SystemClock::new()), tell), answers)
}

fn command(text: &str, cache: Option<&str>) -> Arc<IgnoreCommand> {
    let cache = cache.map(|text| IgnoreCache::read(text).unwrap());
    Arc::new(IgnoreCommand { command: text.to_owned(), cache })
}

#[test]
fn only_exit_code_0_ignores_and_anything_but_0_and_1_is_said() {
    let (mut verdicts, answers) = world(9);
    let jail = JailName::new("sshd").unwrap();
    for (text, ignore, trouble) in [
        ("test <ip> = 203.0.113.7", true, None),
        ("test <ip> = 203.0.113.8", false, None),
        ("echo broken >&2; exit 3", false, Some("exit code 3: broken")),
        ("test -z \"$(echo <F-USER>)\"", true, None),
    ] {
        let command = command(text, None);
        assert_eq!(verdicts.ask(&jail, &command, ticket("203.0.113.7")), Asked::Waiting);
        assert_eq!(verdicts.ask(&jail, &command, ticket("203.0.113.7")), Asked::Waiting, "asked once");
        let verdict = answers.recv_timeout(PATIENCE).unwrap();
        assert_eq!((verdict.ignore, verdict.trouble.as_deref()), (ignore, trouble), "{text}");
        verdicts.settle(&verdict, Some(&command));
    }
    verdicts.close();
    assert!(answers.try_recv().is_err());
}

#[test]
fn answers_are_kept_by_their_key_as_many_and_as_long_as_said() {
    let (mut verdicts, answers) = world(9);
    let jail = JailName::new("sshd").unwrap();
    let command = command("test <ip> != 203.0.113.9", Some("key=\"<ip>\", max-count=2, max-time=1h"));
    for last in [7, 8, 9] {
        let target = format!("203.0.113.{last}");
        assert_eq!(verdicts.ask(&jail, &command, ticket(&target)), Asked::Waiting);
        verdicts.settle(&answers.recv_timeout(PATIENCE).unwrap(), Some(&command));
    }
    assert_eq!(verdicts.ask(&jail, &command, ticket("203.0.113.8")), Asked::Known(true));
    assert_eq!(verdicts.ask(&jail, &command, ticket("203.0.113.9")), Asked::Known(false));
    assert_eq!(verdicts.ask(&jail, &command, ticket("203.0.113.7")), Asked::Waiting, "the oldest went");
    verdicts.close();
}

#[test]
fn a_flood_of_questions_is_bounded() {
    let (mut verdicts, answers) = world(2);
    let jail = JailName::new("sshd").unwrap();
    let command = command("sleep 1000", None);
    let asked: Vec<Asked> =
        (1..=20).map(|last| verdicts.ask(&jail, &command, ticket(&format!("203.0.113.{last}")))).collect();
    assert_eq!(asked[0], Asked::Waiting);
    assert_eq!(asked[19], Asked::Full);
    verdicts.close();
    assert!(answers.try_recv().is_err(), "what was killed has not answered");
}

#[test]
fn a_cache_is_read_as_fail2ban_writes_it() {
    let cache = IgnoreCache::read("key=\"<ip>\", max-count=100, max-time=5m").unwrap();
    assert_eq!((cache.key.as_str(), cache.count_max, cache.time_max.as_secs()), ("<ip>", 100, 300));
    for wrong in ["", "max-count=1", "key=x, max-count=y", "key=x, size=1", "key=x, max-time=soon"] {
        assert!(IgnoreCache::read(wrong).is_err(), "{wrong}");
    }
}
