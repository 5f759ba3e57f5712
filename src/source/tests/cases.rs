//! One case each: what may happen to a log while it is read.

use super::*;

#[test]
fn lines_are_read_once_in_order_as_they_are_written() {
    let mut rig = Rig::new();
    rig.append("log", "@1000000 a\n");
    rig.follow("log");
    rig.pump();
    assert_eq!(rig.lines(), ["@1000000 a"]);
    for text in ["b\n", "c\nd\n", "\n"] {
        rig.append("log", text);
        rig.pump();
    }
    assert_eq!(rig.lines(), ["@1000000 a", "b", "c", "d", ""]);
    assert_eq!(rig.live, [false, true, true, true, true]);
    rig.pump();
    rig.sweep();
    assert_eq!(rig.got.len(), 5);
}

#[test]
fn an_unfinished_line_waits_for_its_end() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "one\ntw");
    rig.pump();
    assert_eq!(rig.take(), ["one"]);
    rig.append("log", "o, and th");
    rig.pump();
    rig.sweep();
    assert!(rig.take().is_empty());
    rig.append("log", "ree\n");
    rig.pump();
    assert_eq!(rig.take(), ["two, and three"]);
}

#[test]
fn hostile_bytes_pass_as_they_are_and_long_lines_are_cut_and_counted() {
    let mut rig = Rig::new();
    rig.append("log", "");
    let id = rig.follow("log")[0];
    append(&rig.path("log"), b"a\0b\xff\xfe\n\r\n");
    append(&rig.path("log"), &[&b"x".repeat(4097)[..], b"\n", &b"y".repeat(4096), b"\nz\n"].concat());
    rig.pump();
    let want = [
        "a\0b\u{fffd}\u{fffd}".to_owned(),
        "\r".to_owned(),
        "x".repeat(4090) + " <cut>",
        "y".repeat(4096),
        "z".to_owned(),
    ];
    assert_eq!(rig.take(), want);
    assert_eq!(rig.tailer.status_of(id).unwrap().lines_cut, 1);
}

#[test]
fn ten_megabytes_without_a_line_end_are_one_cut_line() {
    let mut rig = Rig::new();
    rig.append("log", "");
    let id = rig.follow("log")[0];
    for _ in 0..10 {
        append(&rig.path("log"), &vec![b'a'; 1 << 20]);
        rig.pump();
    }
    assert!(rig.take().is_empty());
    rig.append("log", "tail of it\nnext\n");
    rig.pump();
    assert_eq!(rig.take(), ["a".repeat(4090) + " <cut>", "next".to_owned()]);
    assert_eq!(
        rig.tailer.status_of(id).unwrap(),
        LogStatus {
            path: rig.path("log").display().to_string(),
            state: LogState::Open,
            lag_bytes: 0,
            lines_cut: 1,
        }
    );
}

#[test]
fn after_a_rename_the_old_file_is_drained_and_then_the_new_one_is_read() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "old\n");
    rig.rename("log", "log.1");
    rig.append("log", "new\n");
    rig.pump();
    assert_eq!(rig.take(), ["old", "new"]);
    rig.append("log.1", "late\n");
    rig.pump();
    assert_eq!(rig.take(), ["late"]);
    rig.append("log.1", "la");
    rig.pass(20);
    rig.append("log.1", "ter\n");
    rig.pass(20);
    assert_eq!(rig.take(), ["later"]);
    rig.append("log.1", "unfinished");
    rig.pass(1);
    assert!(rig.take().is_empty());
    rig.pass(31);
    assert_eq!(rig.take(), ["unfinished"]);
    rig.append("log.1", "too late\n");
    rig.pass(1);
    assert!(rig.take().is_empty());
}

#[test]
fn a_log_without_successor_is_read_on_however_long_it_takes() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.rename("log", "log.1");
    rig.pass(100);
    assert_eq!(rig.state("log"), LogState::Missing);
    rig.append("log.1", "still here\n");
    rig.pump();
    assert_eq!(rig.take(), ["still here"]);
    rig.append("log", "new\n");
    rig.pump();
    assert_eq!(rig.take(), ["new"]);
    assert_eq!(rig.state("log"), LogState::Open);
}

#[test]
fn rotations_faster_than_we_look_lose_nothing() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    for text in ["a\n", "b\n", "c\n"] {
        rig.append("log", text);
        for number in (1..5).rev().filter(|number| rig.path(&format!("log.{number}")).exists()) {
            rig.rename(&format!("log.{number}"), &format!("log.{}", number + 1));
        }
        rig.rename("log", "log.1");
    }
    rig.append("log", "d\n");
    rig.pump();
    assert_eq!(rig.take(), ["a", "b", "c", "d"]);
}

#[test]
fn rotations_faster_than_we_look_lose_nothing_if_the_first_file_is_compressed_already() {
    let mut rig = Rig::new();
    rig.append("log", "a first line that tells one file from another\n");
    rig.follow("log");
    rig.pump();
    rig.rename("log", "log.2");
    rig.append("log.1", "b\n");
    rig.gzip("log.2");
    rig.append("log", "c\n");
    rig.pump();
    assert_eq!(rig.take(), ["b", "c"]);
}

#[test]
fn a_file_that_comes_back_is_read_on() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "a\n");
    rig.rename("log", "log.1");
    rig.append("log", "b\n");
    rig.pump();
    rig.rename("log", "other");
    rig.rename("log.1", "log");
    rig.append("log", "c\n");
    rig.pump();
    assert_eq!(rig.take(), ["a", "b", "c"]);
    rig.rename("log", "log.1");
    rig.rename("other", "log");
    rig.pass(40);
    rig.pass(40);
    rig.rename("log", "other");
    rig.rename("log.1", "log");
    rig.append("log", "d\n");
    rig.pump();
    assert_eq!(rig.take(), ["d"]);
}

#[test]
fn an_emptied_log_is_read_from_its_beginning() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "first line, and it is a long one\n");
    rig.pump();
    rig.copytruncate("log", "log.1");
    rig.pump();
    rig.append("log", "second\n");
    rig.pump();
    assert_eq!(rig.take(), ["first line, and it is a long one", "second"]);
}

#[test]
fn an_emptied_log_that_was_refilled_beyond_the_old_place_is_noticed() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "first\n");
    rig.pump();
    rig.copytruncate("log", "copy");
    rig.append("log", "second\nthird\n");
    rig.pump();
    assert_eq!(rig.take(), ["first", "second", "third"]);
}

#[test]
fn lines_that_copytruncate_took_away_unread_are_found_in_the_copy() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", "a first line that tells one file from another\n");
    rig.pump();
    rig.append("log", "unread\n");
    rig.copytruncate("log", "log.1");
    rig.append("log", "new\n");
    rig.pump();
    assert_eq!(rig.take()[1..], ["unread", "new"]);
    rig.restart();
    rig.pump();
    assert!(rig.take().is_empty());
}

#[test]
fn a_link_that_is_switched_leads_to_the_new_file() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("data")).unwrap();
    rig.append("data/one", "");
    rig.link("data/one", "log");
    rig.follow("log");
    rig.append("data/one", "a\n");
    rig.pump();
    rig.append("data/two", "b\n");
    rig.append("data/one", "late\n");
    rig.link("data/two", "log");
    rig.pump();
    assert_eq!(rig.take(), ["a", "late", "b"]);
    // And its target is rotated.
    rig.rename("data/two", "data/two.1");
    rig.append("data/two", "c\n");
    rig.pump();
    assert_eq!(rig.take(), ["c"]);
}

#[test]
fn the_kernel_tells_all_of_a_quiet_log_but_not_of_a_path_through_a_link() {
    let mut rig = Rig::new();
    rig.append("log", "one\n");
    rig.follow("log");
    rig.follow("missing");
    assert!(!rig.tailer.is_told_all(), "there are lines to read");
    rig.pump();
    assert!(rig.tailer.is_told_all());
    rig.rename("log", "log.1");
    rig.append("log", "two\n");
    rig.pump();
    assert!(!rig.tailer.is_told_all(), "the old file may get late lines");
    rig.pass(60);
    rig.pump();
    assert!(rig.tailer.is_told_all());
    fs::create_dir(rig.path("real")).unwrap();
    rig.link("real", "link");
    rig.append("real/log", "");
    rig.follow("link/log");
    rig.pump();
    assert!(!rig.tailer.is_told_all(), "nobody watches where the link stands");
}

#[test]
fn a_link_to_nothing_waits_for_its_file() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("data")).unwrap();
    rig.link("data/one", "log");
    rig.follow("log");
    assert_eq!(rig.state("log"), LogState::Missing);
    rig.append("data/one", "a\n");
    rig.pump();
    assert_eq!(rig.take(), ["a"]);
}

#[test]
fn a_late_file_in_a_late_directory_is_read_from_its_beginning() {
    let mut rig = Rig::new();
    let ids = rig.follow("a/b/log");
    assert_eq!((ids.len(), rig.state("a/b/log")), (1, LogState::Missing));
    fs::create_dir_all(rig.path("a/b")).unwrap();
    rig.pump();
    rig.append("a/b/log", "@1 an old date does not matter\n");
    rig.pump();
    assert_eq!(rig.take(), ["@1 an old date does not matter"]);
    assert_eq!(rig.state("a/b/log"), LogState::Open);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_let_go() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    let mut writer = OpenOptions::new().append(true).open(rig.path("log")).unwrap();
    rig.append("log", "a\n");
    fs::remove_file(rig.path("log")).unwrap();
    writer.write_all(b"b\n").unwrap();
    rig.pump();
    assert_eq!(rig.take(), ["a", "b"]);
    assert_eq!(rig.state("log"), LogState::Missing);
    rig.sweep();
    rig.pass(31);
    let open = |rig: &Rig| {
        let dir = rig.dir.path().to_owned();
        let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
        fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&dir))).count()
    };
    assert_eq!(open(&rig), 1, "only the writer's own");
    // The same inode number, as like as not.
    drop(writer);
    rig.append("log", "c\n");
    rig.pump();
    assert_eq!(rig.take(), ["c"]);
}

#[test]
fn new_files_under_a_glob_are_read_and_old_ones_of_a_log_are_not() {
    let mut rig = Rig::new();
    rig.append("a.log", "");
    rig.append("a.log.1", "@1000000 read before\n");
    rig.append("a.log.2.gz", "@1000000 packed\n");
    let ids = rig.follow("*.log*");
    assert_eq!(ids.len(), 1);
    rig.append("b.log", "b\n");
    rig.append("a.log", "a\n");
    rig.append(".c.log", "hidden\n");
    rig.pump();
    let mut got = rig.take();
    got.sort();
    assert_eq!(got, ["a", "b"]);
    rig.rename("a.log", "a.log-20261121");
    rig.append("a.log", "new\n");
    rig.pump();
    rig.pass(31);
    rig.pass(31);
    assert_eq!(rig.take(), ["new"]);
    let pattern = rig.patterns[0].clone();
    assert_eq!(rig.tailer.logs_of(&pattern).len(), 2);
    assert_eq!(rig.tailer.patterns_of(ids[0]), [pattern]);
    fs::remove_file(rig.path("b.log")).unwrap();
    rig.pass(1);
    rig.pass(31);
    rig.pass(1);
    assert_eq!(rig.tailer.logs_of(&rig.patterns[0]).len(), 1);
}

#[test]
fn directories_under_a_glob_may_come_later() {
    let mut rig = Rig::new();
    rig.follow("*/log/mail");
    fs::create_dir(rig.path("x")).unwrap();
    rig.pump();
    fs::create_dir(rig.path("x/log")).unwrap();
    rig.pump();
    rig.append("x/log/mail", "a\n");
    rig.pump();
    assert_eq!(rig.take(), ["a"]);
}

#[test]
fn one_file_with_two_names_under_a_glob_is_read_once() {
    let mut rig = Rig::new();
    rig.append("mail-one", "");
    rig.link("mail-one", "mail");
    rig.follow("mail*");
    rig.append("mail-one", "a\n");
    rig.pump();
    rig.append("mail-two", "b\n");
    rig.link("mail-two", "mail");
    rig.append("mail-two", "c\n");
    rig.pump();
    rig.pass(31);
    rig.pass(31);
    assert_eq!(rig.take(), ["a", "b", "c"]);
}

#[test]
fn more_events_than_the_queue_holds_lose_no_line() {
    let mut rig = Rig::new();
    let names = ["a", "b"];
    let mut files = names.map(|name| File::create(rig.path(name)).unwrap());
    rig.follow("?");
    // Alternating, so that they are not merged.
    for round in 0..10_000 {
        for file in &mut files {
            file.write_all(b"x\n").unwrap();
        }
        if round == 9_990 {
            rig.rename("a", "a.1");
            rig.append("a", "new\n");
        }
    }
    rig.pump();
    assert_eq!(rig.got.len(), 20_001);
}

#[test]
fn sweeping_alone_sees_all_that_events_would_tell() {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.follow("*.log");
    rig.append("log", "a line that is long enough to be known again\n");
    rig.sweep();
    rig.rename("log", "log.1");
    rig.append("log", "b\n");
    rig.append("x.log", "x\n");
    rig.sweep();
    rig.append("log.1", "late\n");
    rig.sweep();
    rig.copytruncate("log", "log.0");
    rig.append("log", "d\n");
    rig.sweep();
    assert_eq!(rig.lines()[1..], ["x", "b", "late", "d"]);
}

#[test]
fn what_cannot_be_read_is_a_state_and_is_tried_again() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("log")).unwrap();
    rig.follow("log");
    assert_eq!(rig.state("log"), LogState::Unreadable);
    rig.sweep();
    fs::remove_dir(rig.path("log")).unwrap();
    nix::unistd::mkfifo(&rig.path("log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    rig.pump();
    assert_eq!(rig.state("log"), LogState::Unreadable);
    fs::remove_file(rig.path("log")).unwrap();
    rig.append("log", "@1000000 a\n");
    rig.pump();
    assert_eq!((rig.state("log"), rig.take()), (LogState::Open, vec!["@1000000 a".to_owned()]));
    assert!(rig.errors.is_empty(), "{:?}", rig.errors);
}

#[test]
fn a_log_that_becomes_readable_is_begun_one_findtime_back() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new();
    rig.append("log", "@1 old\n@999900 young\n");
    fs::set_permissions(rig.path("log"), fs::Permissions::from_mode(0o000)).unwrap();
    rig.follow("log");
    assert_eq!(rig.state("log"), LogState::Unreadable);
    fs::set_permissions(rig.path("log"), fs::Permissions::from_mode(0o600)).unwrap();
    rig.pump();
    assert_eq!(rig.take(), ["@999900 young"]);
}

#[test]
fn a_log_never_read_is_begun_one_findtime_back() {
    let mut rig = Rig::new();
    rig.append("log", "@1 old\nno date\n@999400 first\nno date\n@999999 last\n@9999");
    rig.append("undated", "who knows when\n");
    rig.follow("log");
    rig.follow("undated");
    rig.pump();
    assert_eq!(rig.take(), ["@999400 first", "no date", "@999999 last"]);
    // A second jail looks back further, and nothing was read yet.
    rig.stop();
    rig.stored.clear();
    let pattern = rig.patterns[0].clone();
    rig.add(&pattern);
    let start = Start {
        now: rig.now,
        stored: &rig.stored,
        look_back: Duration::from_secs(10_000_000),
        line_date: Arc::new(line_date),
    };
    rig.tailer.add(&pattern, &start);
    rig.pump();
    assert_eq!(rig.take().len(), 5);
}

#[test]
fn a_flooded_log_does_not_starve_a_quiet_one() {
    let mut rig = Rig::with(Limits { block_bytes: 16 << 10, ..Limits::default() });
    rig.append("flood", "");
    rig.append("quiet", "");
    rig.follow("flood");
    rig.follow("quiet");
    rig.append("flood", &"x\n".repeat(1 << 20));
    rig.append("quiet", "hear me\n");
    rig.tailer.on_events(rig.now);
    assert!(rig.block() && rig.block());
    assert_eq!(rig.lines().last(), Some(&"hear me"));
    assert!(rig.tailer.status()[0].lag_bytes > 2_000_000);
}

#[test]
fn a_removed_pattern_closes_its_logs_unless_another_needs_them() {
    let mut rig = Rig::new();
    rig.append("a.log", "");
    rig.append("b.log", "");
    rig.follow("a.log");
    let ids = rig.follow("*.log");
    assert_eq!(ids.len(), 2);
    let glob = rig.patterns[1].clone();
    rig.tailer.remove(&glob);
    rig.append("a.log", "a\n");
    rig.append("b.log", "b\n");
    rig.pump();
    assert_eq!(rig.take(), ["a"]);
    assert!(rig.tailer.path_of(ids[1]).is_none());
    let path = rig.patterns[0].clone();
    rig.tailer.remove(&path);
    assert!(rig.tailer.status().is_empty());
}

#[test]
fn too_many_logs_are_reported_once_and_the_first_ones_are_read() {
    let mut rig = Rig::with(Limits { logs_max: 2, ..Limits::default() });
    for name in ["1", "2", "3", "4"] {
        rig.append(name, "");
    }
    rig.follow("?");
    rig.follow("nonsense/[");
    rig.append("1", "a\n");
    rig.append("4", "b\n");
    rig.pump();
    assert_eq!(rig.take(), ["a"]);
    assert_eq!(rig.errors.len(), 2, "{:?}", rig.errors);
    assert!(rig.errors[0].contains("logs_max") && rig.errors[1].contains("no glob"), "{:?}", rig.errors);
}

#[test]
fn blocks_that_take_long_are_made_shorter_and_longer_again() {
    let mut rig = Rig::new();
    rig.follow("mail.log");
    let (mut n, mut before) = (0, 0);
    let mut block = |rig: &mut Rig, took: u64| {
        let lines: String =
            (n..n + 8000).map(|n| format!("@1000000 line {n} {}\n", "x".repeat(60))).collect();
        n += 8000;
        rig.append("mail.log", &lines);
        rig.tailer.on_events(rig.now);
        let mut longest = 0;
        while rig.block() {
            rig.tailer.took(Duration::from_millis(took), Duration::from_millis(4));
            let read = rig.got.len();
            longest = longest.max(read - std::mem::replace(&mut before, read));
        }
        longest
    };
    assert!(block(&mut rig, 2) > 2000);
    block(&mut rig, 5);
    let short = block(&mut rig, 2);
    assert!((300..500).contains(&short), "{short}");
    block(&mut rig, 0);
    assert!(block(&mut rig, 2) > 2000);
    let numbers: Vec<u32> =
        rig.got.iter().map(|(_, line)| line.split(' ').nth(2).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..n).collect::<Vec<_>>());
}
