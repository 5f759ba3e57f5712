//! The store on real files and with real sled: killed, torn, flipped, deleted, out of space.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use portero::addr::{Host, Net};
use portero::filter::Outcome;
use portero::jail::{Ban, JailName, Origin};
use portero::limits::Limits;
use portero::store::{
    AttemptRecord, Audit, Change, DiskStore, Event, Frame, Handle, JournalSettings, MemoryStore,
    PositionRecord, Store, StoreError, Unban, UnbanCause,
};
use portero::time::Timestamp;

const T0: i64 = 1_795_300_000;
const DAY: i64 = 86_400;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(T0 + secs)
}

fn jail() -> JailName {
    JailName::new("postfix-sasl").unwrap()
}

fn net(n: u32) -> Net {
    Net::host(Host::new(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()))
}

fn ban(n: u32, until: Option<i64>) -> Change {
    Change::Ban(Ban {
        jail: jail(),
        target: net(n),
        since: at(0),
        until: until.map(at),
        failures: 5,
        count: 1,
        origin: Origin::Jail,
        reason: None,
        effective: true,
    })
}

fn unban(n: u32, secs: i64) -> Change {
    Change::Unban(Unban {
        jail: jail(),
        target: net(n),
        at: at(secs),
        cause: UnbanCause::Person,
        by: Some("root".into()),
        reason: None,
        ban: None,
    })
}

fn attempt(host: &str, outcome: Outcome, account: &str, secs: i64) -> Change {
    Change::Attempt(AttemptRecord {
        host: host.parse().unwrap(),
        jail: Some(jail()),
        outcome,
        time: at(secs),
        times: 1,
        account: Some(account.as_bytes().to_vec()),
        pwhash: None,
        line: Some(format!("line {secs} of {account} from {host} \u{fffd}").into_bytes()),
        log: Some(Path::new("/var/log/mail.log").into()),
    })
}

fn frame(secs: i64, changes: Vec<Change>) -> Frame {
    Frame { at: at(secs), changes }
}

fn open_with(dir: &Path, settings: JournalSettings) -> DiskStore {
    DiskStore::open(dir, &Limits::default(), settings, at(0)).unwrap()
}

fn open(dir: &Path) -> DiskStore {
    open_with(dir, JournalSettings::default())
}

fn settle(store: &mut DiskStore) {
    while store.settle().unwrap() {}
}

/// Whether this process lets go of sled's file of the store in `dir`; sled's own threads may be at it for a moment.
fn lets_go_of_sled(dir: &Path) -> bool {
    let file = dir.join("db/db");
    let closed = || {
        let mut open = std::fs::read_dir("/proc/self/fd").unwrap();
        !open.any(|fd| std::fs::read_link(fd.unwrap().path()).is_ok_and(|path| path == file))
    };
    (0..500).any(|_| {
        closed() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    })
}

/// Targets of the bans in force, sorted.
fn bans(store: &mut dyn Store) -> Vec<Net> {
    let mut found = Vec::new();
    let mut sink = |change| {
        if let Change::Ban(ban) = change {
            found.push(ban.target);
        }
    };
    store.load(&mut sink).unwrap();
    found.sort();
    found
}

fn state(store: &mut dyn Store) -> Vec<String> {
    let mut found = Vec::new();
    store.load(&mut |change| found.push(format!("{change:?}"))).unwrap();
    found.sort();
    found
}

fn nets(range: std::ops::Range<u32>) -> Vec<Net> {
    range.map(net).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

fn last_segment(dir: &Path) -> PathBuf {
    let names = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap()
}

/// A store with the bans 0..`count`, ten in a frame, settled or not.
fn filled(dir: &Path, count: u32, settled: bool) {
    let mut store = open(dir);
    for start in (0..count).step_by(10) {
        let changes = (start..count.min(start + 10)).map(|n| ban(n, None)).collect();
        store.commit(&mut [frame(i64::from(start), changes)]).unwrap();
    }
    if settled {
        settle(&mut store);
    }
}

#[test]
fn sled_is_let_go_once_it_is_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for n in 0..3 {
        store.commit(&mut [frame(i64::from(n), vec![ban(n, None)])]).unwrap();
        settle(&mut store);
        assert!(lets_go_of_sled(dir.path()));
    }
    assert_eq!(bans(&mut store), nets(0..3));
    assert!(lets_go_of_sled(dir.path()));
}

#[test]
fn sled_whose_threads_rest_takes_more_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for n in 0..3 {
        store.commit(&mut [frame(i64::from(n), vec![ban(n, None)])]).unwrap();
        assert!(n > 0 || !store.rest(), "it is open");
        settle(&mut store);
        let pause = |_: &i32| std::thread::sleep(Duration::from_millis(20));
        let tries = (0..500).take_while(|_| !store.rest()).inspect(pause).count();
        assert!(tries < 500, "sled's threads are never seen to wait");
    }
    assert_eq!(bans(&mut store), nets(0..3));
    drop(store);
    assert_eq!(bans(&mut open(dir.path())), nets(0..3));
}

#[test]
fn state_comes_back_settled_or_not() {
    for settled in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 25, settled);
        let mut store = open(dir.path());
        store.commit(&mut [frame(30, vec![unban(3, 30), ban(99, Some(600))])]).unwrap();
        if settled {
            settle(&mut store);
        }
        drop(store);
        let mut want = nets(0..25);
        want.remove(3);
        want.push(net(99));
        let mut store = open(dir.path());
        assert_eq!(bans(&mut store), want);
        assert_eq!(store.take_notices(), Vec::<String>::new());
    }
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = DiskStore::open(dir.path(), &Limits::default(), JournalSettings::default(), at(0));
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(first);
    open(dir.path());
}

#[test]
fn applying_frames_twice_is_harmless() {
    let changes = |turn: u32| {
        vec![
            ban(turn, None),
            Change::Window {
                jail: jail(),
                key: net(turn).into(),
                window: (turn.is_multiple_of(2)).then(|| vec![turn as u8]),
            },
            Change::Position { path: "/var/log/mail.log".into(), record: Some(PositionRecord::default()) },
            unban(turn / 2, i64::from(turn)),
        ]
    };
    let frames: Vec<Frame> = (0..20).map(|turn| frame(i64::from(turn), changes(turn))).collect();
    let mut once = MemoryStore::new(&Limits::default());
    once.commit(&mut frames.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut twice = open(dir.path());
    for _ in 0..2 {
        twice.commit(&mut frames.clone()).unwrap();
        twice.settle().unwrap();
    }
    assert_eq!(state(&mut twice), state(&mut once));
    drop(twice);
    assert_eq!(state(&mut open(dir.path())), state(&mut once));
}

/// Not a test of its own: what the next one starts and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("PORTERO_TEST_STORE_CHILD") else { return };
    let mut store =
        open_with(Path::new(&dir), JournalSettings { segment_bytes: 20_000, ..Default::default() });
    let start = bans(&mut store).len() as u32;
    for n in start.. {
        let filler =
            Change::Window { jail: jail(), key: net(n % 50).into(), window: Some(n.to_le_bytes().to_vec()) };
        store.commit(&mut [frame(i64::from(n), vec![ban(n, None), filler])]).unwrap();
        println!("acked {n}");
        if n % 7 == 0 {
            store.settle().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = 0;
    let cycles = 20;
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::child_that_writes_until_it_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("PORTERO_TEST_STORE_CHILD", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 20 + cycle * 13 % 170;
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.split("acked ").nth(1) {
                answered = n.trim().parse::<u32>().unwrap() + 1;
                left -= 1;
                if left == 0 {
                    // What it still writes until it is dead is read too: SIGKILL strikes anywhere.
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let mut store = open(dir.path());
        let found = bans(&mut store);
        assert!(found.len() as u32 >= answered, "cycle {cycle}: {} of {answered}", found.len());
        assert!(found.len() as u32 <= answered + 1);
        assert_eq!(found, nets(0..found.len() as u32));
        let notices = store.take_notices();
        assert!(notices.iter().all(|notice| notice.contains("unfinished write")), "{notices:?}");
    }
    println!("{cycles} kills, {answered} bans answered, none lost");
}

#[test]
fn a_last_frame_torn_at_any_byte_costs_that_frame_only() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 20, false);
    let path = last_segment(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let mut store = open(dir.path());
    store.commit(&mut [frame(50, vec![ban(20, None)])]).unwrap();
    drop(store);
    let longer = std::fs::read(&path).unwrap();
    for cut in whole.len()..longer.len() {
        std::fs::remove_dir_all(dir.path().join("db")).unwrap();
        std::fs::write(&path, &longer[..cut]).unwrap();
        let mut store = open(dir.path());
        assert_eq!(bans(&mut store), nets(0..20), "cut to {cut}");
        assert_eq!(store.take_notices().len(), usize::from(cut > whole.len()), "cut to {cut}");
        store.commit(&mut [frame(51, vec![ban(21, None)])]).unwrap();
        drop(store);
        assert_eq!(bans(&mut open(dir.path())).len(), 21, "cut to {cut}");
    }
}

#[test]
fn a_frame_that_sled_has_survives_the_loss_of_the_journals_end() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 20, true);
    let path = last_segment(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let mut store = open(dir.path());
    assert_eq!(bans(&mut store), nets(0..20));
    assert!(!store.take_notices().is_empty());
    store.commit(&mut [frame(60, vec![ban(20, None)])]).unwrap();
    drop(store);
    assert_eq!(bans(&mut open(dir.path())), nets(0..21));
}

#[test]
fn damage_to_sled_is_noticed_and_mended_wherever_it_is() {
    let source = tempfile::tempdir().unwrap();
    filled(source.path(), 300, true);
    let size = std::fs::metadata(source.path().join("db/db")).unwrap().len() as usize;
    let (mut rebuilt, mut sound) = (0, 0);
    let mut check = |what: String, harm: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        copy(source.path(), dir.path());
        harm(&dir.path().join("db"));
        let mut store = open(dir.path());
        assert_eq!(bans(&mut store), nets(0..300), "{what}");
        if store.take_notices().is_empty() {
            sound += 1
        } else {
            rebuilt += 1
        }
        // And it can be used: the mended store is written and opened again.
        store.commit(&mut [frame(900, vec![ban(300, None)])]).unwrap();
        settle(&mut store);
        drop(store);
        assert_eq!(bans(&mut open(dir.path())), nets(0..301), "{what}");
    };
    let used =
        std::fs::read(source.path().join("db/db")).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for turn in 0..40usize {
        let bit = (turn * 2_654_435_761) % (used.max(64) * 8);
        check(format!("bit {bit} flipped"), &|db| flip(&db.join("db"), bit));
    }
    for length in [0, 1, 4096, size / 2, size.saturating_sub(4096), size - 1] {
        check(format!("cut to {length}"), &|db| {
            std::fs::OpenOptions::new()
                .write(true)
                .open(db.join("db"))
                .unwrap()
                .set_len(length as u64)
                .unwrap();
        });
    }
    check("conf flipped".to_owned(), &|db| flip(&db.join("conf"), 100));
    check("all deleted".to_owned(), &|db| std::fs::remove_dir_all(db).unwrap());
    println!("sled damaged in {} ways: {rebuilt} reported, {sound} harmless, no ban lost", rebuilt + sound);
}

#[test]
fn damage_to_the_journal_loses_no_ban_silently() {
    let source = tempfile::tempdir().unwrap();
    filled(source.path(), 100, true);
    let segment = last_segment(source.path());
    let size = std::fs::metadata(&segment).unwrap().len() as usize;
    let name = segment.strip_prefix(source.path()).unwrap();
    let mut lost = 0;
    for turn in 0..60usize {
        let bit = (turn * 2_654_435_761) % (size * 8);
        let dir = tempfile::tempdir().unwrap();
        copy(source.path(), dir.path());
        flip(&dir.path().join(name), bit);
        let mut store = open(dir.path());
        assert_eq!(bans(&mut store), nets(0..100), "bit {bit}: sled has them all");
        drop(store);
        // Without sled the journal is the only copy: what is lost must be reported.
        copy(source.path(), dir.path());
        flip(&dir.path().join(name), bit);
        std::fs::remove_dir_all(dir.path().join("db")).unwrap();
        let mut store = open(dir.path());
        let found = bans(&mut store).len();
        let notices = store.take_notices();
        assert!(found == 100 || (found >= 90 && !notices.is_empty()), "bit {bit}: {found}, {notices:?}");
        lost += usize::from(found < 100);
    }
    println!("60 bits flipped in the journal, sled deleted: {lost} times one frame lost, each reported");
}

#[test]
fn a_lost_journal_is_begun_anew_from_sled() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 50, true);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let mut store = open(dir.path());
    assert_eq!(bans(&mut store), nets(0..50));
    assert_eq!(store.take_notices().len(), 1);
    drop(store);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    assert_eq!(bans(&mut open(dir.path())), nets(0..50));
}

#[test]
fn old_segments_go_and_what_is_in_force_stays() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 4000, ..Default::default() };
    let mut store = open_with(dir.path(), settings.clone());
    let position =
        Change::Position { path: "/var/log/quiet.log".into(), record: Some(PositionRecord::default()) };
    store.commit(&mut [frame(0, vec![ban(1, None), ban(2, Some(600)), position])]).unwrap();
    store.commit(&mut [frame(600, vec![unban(2, 600)])]).unwrap();
    let audit = Audit {
        at: at(1),
        by: "root".into(),
        what: "ban".into(),
        target: None,
        reason: None,
        result: "done".into(),
    };
    store.commit(&mut [frame(700, vec![Change::Audit(audit)])]).unwrap();
    for day in 0..200 {
        let secs = day * DAY + 1000;
        let host = format!("198.51.100.{}", day % 50);
        let lines = (0..20).map(|n| attempt(&host, Outcome::Failure, "alice", secs + n)).collect();
        store.commit(&mut [frame(secs, lines)]).unwrap();
        settle(&mut store);
        let days_of = |record: Option<Timestamp>| record.map(|first| (first.secs() - T0) / DAY);
        if day == 20 {
            let kept = store.evidence("198.51.100.0".parse().unwrap()).unwrap();
            assert_eq!((kept.lines.len(), days_of(kept.first)), (10, Some(0)));
        }
        if day == 100 {
            // Thinned: the evidence is gone, the history is not.
            assert!(store.evidence("198.51.100.10".parse().unwrap()).unwrap().lines.is_empty());
            assert!(!store.evidence("198.51.100.45".parse().unwrap()).unwrap().lines.is_empty());
            assert_eq!(store.ended(10).unwrap().len(), 1);
            assert_eq!(store.audit(10).unwrap().len(), 1);
        }
    }
    assert_eq!(store.ended(10).unwrap().len(), 0, "older than 180 days");
    assert_eq!(store.audit(10).unwrap().len(), 0);
    let want = state(&mut store);
    assert_eq!(want.len(), 2, "{want:?}");
    drop(store);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let mut store = open_with(dir.path(), settings);
    assert_eq!(state(&mut store), want);
    assert_eq!(store.take_notices(), Vec::<String>::new());
}

#[test]
fn a_journal_that_is_too_large_gives_up_evidence_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 50_000, bytes_max: 300_000, ..Default::default() };
    let mut store = open_with(dir.path(), settings);
    store.commit(&mut [frame(0, vec![ban(1, Some(60)), ban(2, None)])]).unwrap();
    store.commit(&mut [frame(60, vec![unban(1, 60)])]).unwrap();
    for turn in 0..100 {
        let lines =
            (0..100).map(|n| attempt("198.51.100.1", Outcome::Failure, "alice", turn * 100 + n)).collect();
        store.commit(&mut [frame(turn * 100, lines)]).unwrap();
        settle(&mut store);
    }
    let size: u64 = std::fs::read_dir(dir.path().join("journal"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 500_000, "{size} bytes");
    assert_eq!(store.ended(10).unwrap().len(), 1);
    assert_eq!(bans(&mut store), nets(2..3));
}

#[test]
fn evidence_accounts_and_history_are_found_over_segments_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 8000, ..Default::default() };
    let mut stores: Vec<Box<dyn Store>> = vec![
        Box::new(open_with(dir.path(), settings.clone())),
        Box::new(MemoryStore::new(&Limits::default())),
    ];
    for store in &mut stores {
        for n in 0..30 {
            let changes = vec![
                attempt("10.0.0.7", Outcome::Failure, "Alice@example.org", n),
                attempt("10.0.0.8", Outcome::Failure, &format!("user{n}"), n),
                attempt("2001:db8::8", Outcome::Failure, "alice@example.net", n),
            ];
            store.commit(&mut [frame(n, changes)]).unwrap();
        }
        store
            .commit(&mut [frame(40, vec![attempt("10.0.0.8", Outcome::Success, "ALICE", 40), ban(7, None)])])
            .unwrap();
        let wide = Change::Ban(Ban { target: "10.0.0.0/24".parse().unwrap(), ..some_ban() });
        store.commit(&mut [frame(41, vec![unban(7, 41), wide])]).unwrap();
    }
    stores[0] = Box::new(MemoryStore::default());
    stores[0] = Box::new(open_with(dir.path(), settings));
    assert!(std::fs::read_dir(dir.path().join("journal")).unwrap().count() > 2, "more than one segment");
    for store in &mut stores {
        let host = store.evidence("10.0.0.7".parse().unwrap()).unwrap();
        assert_eq!((host.failures, host.successes, host.accounts.len()), (30, 0, 1));
        let times: Vec<i64> = host.lines.iter().map(|line| line.time.secs() - T0).collect();
        assert_eq!(times, (20..30).collect::<Vec<_>>(), "the last ten, oldest first");
        assert!(host.lines[0].line.starts_with(b"line 20 of Alice@example.org"));
        assert_eq!(host.earlier.len(), 1);
        assert_eq!(host.earlier[0].ban.as_ref().unwrap().failures, 5, "the ban that ended is told");
        assert_eq!(store.ended(10).unwrap(), host.earlier);

        let account = store.account("alice").unwrap();
        let told: BTreeMap<String, (u64, u64, u64)> = account
            .hosts
            .iter()
            .map(|seen| (seen.host.to_string(), (seen.failures, seen.successes, seen.other_accounts)))
            .collect();
        let want = [("10.0.0.7", (30, 0, 0)), ("10.0.0.8", (0, 1, 30)), ("2001:db8::8", (30, 0, 0))];
        assert_eq!(told, want.map(|(host, counts)| (host.to_owned(), counts)).into());
        let hosts = |record: portero::store::AccountRecord| record.hosts.len();
        assert_eq!(
            hosts(store.account("alice@EXAMPLE.org").unwrap()),
            2,
            "another domain is another account"
        );
        assert_eq!(hosts(store.account("nobody").unwrap()), 0);

        let inside =
            |store: &mut dyn Store, net: &str| store.hosts_in(net.parse().unwrap(), 10).unwrap().len();
        assert_eq!(inside(store.as_mut(), "10.0.0.0/24"), 2);
        assert_eq!(inside(store.as_mut(), "10.0.0.8/31"), 1);
        assert_eq!(inside(store.as_mut(), "2001:db8::/64"), 1);
        assert_eq!(inside(store.as_mut(), "2001:db8:1::/48"), 0);
        assert_eq!(store.evidence("192.0.2.1".parse().unwrap()).unwrap(), Default::default());
    }
}

fn some_ban() -> Ban {
    let Change::Ban(ban) = ban(0, None) else { unreachable!("it makes bans") };
    ban
}

#[test]
fn a_lost_index_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 2000, ..Default::default() };
    let mut store = open_with(dir.path(), settings.clone());
    for n in 0..60 {
        store.commit(&mut [frame(n, vec![attempt("10.0.0.7", Outcome::Failure, "alice", n)])]).unwrap();
    }
    drop(store);
    for (turn, entry) in std::fs::read_dir(dir.path().join("journal")).unwrap().enumerate() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "idx") {
            if turn % 2 == 0 { std::fs::remove_file(path).unwrap() } else { flip(&path, 1000) }
        }
    }
    let mut store = open_with(dir.path(), settings);
    assert_eq!(store.evidence("10.0.0.7".parse().unwrap()).unwrap().failures, 60);
}

#[test]
fn questions_see_what_was_handed_in_before_them_and_stopping_keeps_all() {
    let dir = tempfile::tempdir().unwrap();
    let handle = Handle::start(Box::new(open(dir.path())), &Limits::default(), |_| {}).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    for n in 0..200u32 {
        handle.submit(frame(i64::from(n), vec![ban(n, None)]));
    }
    handle.query(|store| bans(store).len(), move |count| send.send(count).unwrap());
    assert_eq!(receive.recv().unwrap(), 200);
    let (send, receive) = std::sync::mpsc::channel();
    handle.submit_then(frame(300, vec![unban(0, 300)]), move |result| send.send(result.is_ok()).unwrap());
    assert!(receive.recv().unwrap());
    handle
        .submit(frame(301, vec![Change::Window { jail: jail(), key: net(1).into(), window: Some(vec![1]) }]));
    handle.stop();
    let mut store = open(dir.path());
    assert_eq!(bans(&mut store), nets(1..200));
    assert_eq!(state(&mut store).len(), 200);
}

/// A file system of its own, of a few MiB; gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "portero-test"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_survived_and_caught_up_with() {
    let Some(disk) = SmallDisk::mount(6 * 1024) else {
        println!("skipped: a_full_disk_is_survived_and_caught_up_with (needs root, to mount a tmpfs)");
        return;
    };
    let dir = disk.0.path().join("state");
    let (send, events) = std::sync::mpsc::channel();
    let store = Box::new(open(&dir));
    let handle = Handle::start(store, &Limits::default(), move |event| drop(send.send(event))).unwrap();
    handle.submit(frame(0, vec![ban(0, None)]));
    let (sent, done) = std::sync::mpsc::channel();
    handle.submit_then(frame(1, vec![ban(1, None)]), move |result| sent.send(result).unwrap());
    done.recv().unwrap().unwrap();
    let ballast = disk.0.path().join("ballast");
    // Fills the file system to the last byte.
    let _ = std::fs::write(&ballast, vec![1u8; 8 << 20]);
    for n in 2..100u32 {
        let lines = (0..20).map(|turn| attempt("10.0.0.7", Outcome::Failure, "alice", turn)).collect();
        handle.submit(frame(2, lines));
        handle.submit(frame(2, vec![ban(n, None)]));
    }
    let trouble = events.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(&trouble, Event::Trouble(text) if text.contains("no space")), "{trouble:?}");
    assert!(handle.health().trouble.is_some());
    let (sent, done) = std::sync::mpsc::channel();
    handle.submit_then(frame(3, vec![unban(0, 3)]), move |result| sent.send(result).unwrap());
    // What must be durable is answered with an error, and not done later.
    assert!(matches!(done.recv().unwrap(), Err(StoreError::Full { .. })));
    std::fs::remove_file(&ballast).unwrap();
    let recovered = events.iter().find(|event| *event == Event::Recovered);
    assert!(recovered.is_some());
    assert_eq!(handle.health().trouble, None);
    handle.stop();
    assert_eq!(bans(&mut open(&dir)), nets(0..100));
}

#[test]
fn a_start_on_a_full_disk_has_all_bans() {
    let Some(disk) = SmallDisk::mount(6 * 1024) else {
        println!("skipped: a_start_on_a_full_disk_has_all_bans (needs root, to mount a tmpfs)");
        return;
    };
    let dir = disk.0.path().join("state");
    for settled in [false, true] {
        filled(&dir, 100, settled);
        let ballast = disk.0.path().join("ballast");
        let _ = std::fs::write(&ballast, vec![1u8; 8 << 20]);
        let mut store = open(&dir);
        assert_eq!(bans(&mut store), nets(0..100));
        let full = store.commit(&mut [frame(9, (0..5000).map(|n| ban(n, None)).collect())]);
        assert!(full.is_err());
        std::fs::remove_file(&ballast).unwrap();
        store.commit(&mut [frame(9, vec![ban(100, None)])]).unwrap();
        settle(&mut store);
        drop(store);
        let mut store = open(&dir);
        assert_eq!(bans(&mut store), nets(0..101));
        store.commit(&mut [frame(10, vec![unban(100, 10)])]).unwrap();
        settle(&mut store);
    }
}

/// Resident memory now, and the most it was. KiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let secs = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    };
    secs(usage.user_time()) + secs(usage.system_time())
}

/// Figures, not assertions: `cargo test --release --test tests -- --ignored --nocapture store::figures`.
/// `PORTERO_FIGURES` names a directory that outlives a run: the second run opens what the first wrote.
#[test]
#[ignore = "prints figures; takes a while"]
fn figures_of_many_bans() {
    use portero::time::{Clock, SystemClock};
    let clock = SystemClock::new();
    let count: u32 = std::env::var("PORTERO_FIGURES_BANS").map_or(100_000, |text| text.parse().unwrap());
    let kept = std::env::var_os("PORTERO_FIGURES").map(PathBuf::from);
    let fresh = tempfile::tempdir().unwrap();
    let dir = kept.unwrap_or_else(|| fresh.path().to_owned());
    println!("at start: RSS {} KiB", memory().0);
    let before = clock.monotonic();
    let mut store = open(&dir);
    println!("open: {:?}, RSS {:?} KiB, cpu {:?}", clock.monotonic() - before, memory(), cpu());
    let mut found = 0u32;
    let before = clock.monotonic();
    store.load(&mut |change| found += u32::from(matches!(change, Change::Ban(_)))).unwrap();
    println!("load of {found} bans: {:?}, RSS {:?} KiB", clock.monotonic() - before, memory());
    println!("{:?}", store.take_notices());
    if found < count {
        let before = (clock.monotonic(), cpu());
        for start in (found..count).step_by(1000) {
            let changes =
                (start..start + 1000).map(|n| ban(n.wrapping_mul(2_654_435_761) >> 8, Some(3600))).collect();
            store.commit(&mut [frame(0, changes)]).unwrap();
        }
        println!("commit: {:?}, cpu {:?}", clock.monotonic() - before.0, cpu() - before.1);
        let before = (clock.monotonic(), cpu());
        settle(&mut store);
        println!(
            "rest settled: {:?}, cpu {:?}, RSS {:?}",
            clock.monotonic() - before.0,
            cpu() - before.1,
            memory()
        );
    }
}

#[test]
#[ignore = "prints figures; takes a while"]
fn figures_of_a_burst() {
    use portero::store::{Note, Recorder};
    let dir = tempfile::tempdir().unwrap();
    for (name, failures) in [("one failure in ten", 20_000u32), ("all failures", 200_000)] {
        let handle =
            Handle::start(Box::new(open(&dir.path().join(name))), &Limits::default(), |_| {}).unwrap();
        let limits = Limits::default();
        let mut recorder = Recorder::new(&limits);
        let before = cpu();
        let line = [b'x'; 130];
        let jail = jail();
        for n in 0..failures {
            let host = net(n.wrapping_mul(2_654_435_761) % 2000).base();
            let account = format!("user{}@example.org", n.wrapping_mul(40_503) % 7000);
            let note = Note {
                host,
                jail: Some(&jail),
                outcome: Outcome::Failure,
                time: at(0),
                times: 1,
                account: Some(account.as_bytes()),
                pwhash: None,
                line: &line,
                log: None,
            };
            recorder.attempt(at(0), note);
            if n % (failures / 100) == 0 {
                for host in 0..20 {
                    let target = net(n / (failures / 100) * 20 + host);
                    recorder.push(ban(target.base().to_string().len() as u32 + n + host, Some(3600)));
                    let history = Some(portero::store::History::default());
                    recorder.push(Change::History { jail: None, target, history });
                    recorder.push(Change::Window { jail: jail.clone(), key: target.into(), window: None });
                }
                handle.submit(recorder.take(at(0), false).unwrap());
            }
        }
        if let Some(frame) = recorder.take(at(0), true) {
            handle.submit(frame);
        }
        let engine = cpu() - before;
        let (send, receive) = std::sync::mpsc::channel();
        handle.query(|_| (), move |()| send.send(()).unwrap());
        receive.recv().unwrap();
        let durable = cpu() - before;
        handle.stop();
        println!("{name}: cpu {engine:?} when handed in, {durable:?} durable, {:?} settled", cpu() - before);
    }
    println!("RSS {:?} KiB", memory());
}
