//! Restarts at any point neither lose nor repeat a line.

use super::*;

/// Long enough to make a file known by its beginning.
const FIRST: &str = "a first line that tells this file from others\n";

fn rig_with(text: &str) -> Rig {
    let mut rig = Rig::new();
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", text);
    rig.pump();
    rig.take();
    rig
}

#[test]
fn reading_goes_on_where_it_ended() {
    let mut rig = rig_with("a\nunfinis");
    rig.stop();
    rig.append("log", "hed\nb\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["unfinished", "b"]);
}

#[test]
fn a_file_rotated_while_we_were_down_is_read_to_its_end_first() {
    let mut rig = rig_with(FIRST);
    rig.stop();
    rig.append("log", "b\n");
    rig.rename("log", "log.1");
    rig.append("log", "c\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["b", "c"]);
    rig.append("log.1", "late\n");
    rig.pump();
    assert_eq!(rig.take(), ["late"]);
}

#[test]
fn several_rotations_and_compression_while_we_were_down_are_caught_up_in_order() {
    let mut rig = rig_with(FIRST);
    rig.stop();
    rig.append("log", "b\n");
    rig.rename("log", "log.3");
    rig.gzip("log.3");
    rig.append("log.2", "c is in a file of its own\n");
    rig.gzip("log.2");
    rig.append("log.1", "d\n");
    rig.append("log", "e\n");
    rig.append("log.10", "of another age\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["b", "c is in a file of its own", "d", "e"]);
    rig.restart();
    rig.pump();
    assert!(rig.take().is_empty());
}

#[test]
fn dated_names_are_put_in_order() {
    let mut rig = rig_with(FIRST);
    rig.stop();
    rig.append("log", "b\n");
    rig.rename("log", "log-20261119");
    rig.append("log-20261120.gz.tmp", "nonsense\n");
    rig.append("log-20261121", "d\n");
    rig.append("log-20261120", "c\n");
    rig.append("log-20261118", "old\n");
    rig.append("log", "e\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["b", "c", "d", "e"]);
}

#[test]
fn a_crash_amid_the_catching_up_repeats_nothing() {
    let mut rig = Rig::with(Limits { block_bytes: 8194, ..Limits::default() });
    rig.append("log", "");
    rig.follow("log");
    rig.append("log", FIRST);
    rig.pump();
    rig.take();
    rig.stop();
    let text = |name: &str| (0..1000).map(|n| format!("{name} line number {n}\n")).collect::<String>();
    rig.append("log", &text("a"));
    rig.rename("log", "log.2");
    rig.gzip("log.2");
    rig.append("log.1", &text("b"));
    rig.append("log", &text("c"));
    let mut blocks = 0;
    loop {
        rig.restart();
        rig.tailer.on_events(rig.now);
        // A block that is skipped to in a compressed file is empty, so one is not always progress.
        let before = rig.got.len();
        while rig.got.len() == before && rig.block() {}
        if rig.got.len() == before {
            break;
        }
        blocks += 1;
    }
    assert!(blocks > 6, "{blocks}");
    let want = text("a") + &text("b") + &text("c");
    assert_eq!(rig.take(), want.lines().collect::<Vec<_>>());
}

#[test]
fn late_lines_of_the_old_file_and_lines_of_the_new_one_survive_a_restart_between_them() {
    let mut rig = rig_with(FIRST);
    rig.append("log", "a\n");
    rig.rename("log", "log.1");
    rig.append("log", "b\n");
    rig.pump();
    rig.append("log.1", "late\n");
    rig.pump();
    assert_eq!(rig.take(), ["a", "b", "late"]);
    rig.stop();
    rig.append("log.1", "later\n");
    rig.append("log", "c\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["later", "c"]);
    rig.restart();
    rig.pump();
    assert!(rig.take().is_empty());
}

#[test]
fn copytruncate_while_we_were_down_is_caught_up_from_the_copy() {
    let mut rig = rig_with(FIRST);
    rig.stop();
    rig.append("log", "b\n");
    rig.copytruncate("log", "log.1");
    rig.gzip("log.1");
    rig.append("log", "c, and more than the old file had: otherwise its length alone would tell\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take()[0], "b");
    assert_eq!(rig.got.len(), 0);
}

#[test]
fn a_new_file_with_the_old_inode_number_is_read_from_its_beginning() {
    use std::os::unix::fs::MetadataExt;
    let mut rig = rig_with(FIRST);
    rig.stop();
    let inode = fs::metadata(rig.path("log")).unwrap().ino();
    fs::remove_file(rig.path("log")).unwrap();
    rig.append("log", "another first line, and it is longer than the one of before was\n");
    if fs::metadata(rig.path("log")).unwrap().ino() != inode {
        // Not every file system gives the number again; then the store is made to say so.
        let inode = fs::metadata(rig.path("log")).unwrap().ino();
        rig.stored.get_mut(&rig.path("log")).unwrap().files[0].inode = inode;
    }
    rig.start();
    rig.pump();
    assert_eq!(rig.take().len(), 1);
}

#[test]
fn a_link_switched_while_we_were_down_is_caught_up() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("data")).unwrap();
    rig.append("data/log-20261120", FIRST);
    rig.link("data/log-20261120", "log");
    rig.stored.insert(rig.path("log"), Position::default());
    rig.follow("log");
    rig.pump();
    assert_eq!(rig.take().len(), 1);
    rig.stop();
    rig.append("data/log-20261120", "b\n");
    rig.append("data/log-20261121", "c\n");
    rig.link("data/log-20261121", "log");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["b", "c"]);
}

#[test]
fn a_log_that_is_missing_at_the_start_goes_on_when_it_comes_back() {
    let mut rig = rig_with(FIRST);
    rig.stop();
    fs::create_dir(rig.path("away")).unwrap();
    rig.rename("log", "away/log");
    rig.start();
    rig.pump();
    rig.append("away/log", "b\n");
    rig.rename("away/log", "log");
    rig.pump();
    assert_eq!(rig.take(), ["b"]);
}

#[test]
fn logs_under_a_glob_go_on_too_even_if_they_were_rotated_away() {
    let mut rig = Rig::new();
    rig.append("a.log", "");
    rig.follow("*.log");
    rig.append("a.log", FIRST);
    rig.pump();
    rig.take();
    rig.stop();
    rig.append("a.log", "b\n");
    rig.rename("a.log", "a.log.1");
    rig.append("c.log", "@999999 new\n");
    rig.start();
    rig.pump();
    assert_eq!(rig.take(), ["b", "@999999 new"]);
    rig.append("a.log", "c\n");
    rig.pump();
    assert_eq!(rig.take(), ["c"]);
}

#[test]
fn the_position_of_a_log_read_to_its_end_can_be_asked_for() {
    let mut rig = Rig::new();
    let id = rig.follow("log")[0];
    rig.append("log", "a\n");
    rig.pump();
    assert_eq!(rig.tailer.position(id).as_ref(), rig.stored.get(&rig.path("log")));
    let bytes = postcard::to_stdvec(&rig.tailer.position(id).unwrap()).unwrap();
    assert_eq!(postcard::from_bytes::<Position>(&bytes).unwrap().files[0].offset, 2);
}
