//! Finding a log's older files: after a rotation that nobody watched, or a copy made before a truncation.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::checkpoint::{FilePosition, HEAD_BYTES_MAX, HEAD_BYTES_TELLING, Position};
use super::lookback::read_at;
use super::packed::{self, Packing};
use super::tail::Tail;
use crate::limits::Limits;

/// Older files of one log that are read at most; the newest ones. Files.
pub const OLD_FILES_MAX: usize = 64;

/// What rotating put into a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Age {
    /// `.1`, `.2`: the higher the older.
    Number(u32),
    /// `-20261121`, `.2026-11-21`, `-1795300000`: its digits; the higher the newer.
    Date(Vec<u8>),
}

/// What makes `name` a rotated form of `base`: `mail.log.1`, `mail.log-20261121.gz`, `mail-20261121.log`.
pub fn age(base: &[u8], name: &[u8]) -> Option<Age> {
    let name = packed::strip_packed(name);
    if let Some(suffix) = name.strip_prefix(base) {
        return suffix_age(suffix);
    }
    // logrotate's `extension`.
    let dot = base.iter().rposition(|byte| *byte == b'.')?;
    let suffix = name.strip_prefix(&base[..dot])?.strip_suffix(&base[dot..])?;
    match suffix_age(suffix) {
        // `node-1.log` beside `node.log` is another node.
        Some(Age::Number(_)) if suffix[0] != b'.' => None,
        age => age,
    }
}

fn suffix_age(suffix: &[u8]) -> Option<Age> {
    let (first, rest) = suffix.split_first()?;
    if !matches!(first, b'.' | b'-' | b'_') {
        return None;
    }
    if rest == b"old" {
        return Some(Age::Number(1));
    }
    if !rest.iter().all(|byte| byte.is_ascii_digit() || b"-._:T".contains(byte)) {
        return None;
    }
    let digits: Vec<u8> = rest.iter().copied().filter(u8::is_ascii_digit).collect();
    match digits.len() {
        1..=4 if digits.len() == rest.len() => {
            Some(Age::Number(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))))
        }
        6..=20 => Some(Age::Date(digits)),
        _ => None,
    }
}

/// The names that `name` may be a rotated form of. For a glob that matches a log and its old files alike.
pub fn bases(name: &[u8]) -> Vec<Vec<u8>> {
    let name = packed::strip_packed(name);
    let ending = name.iter().rposition(|byte| *byte == b'.').map_or(&b""[..], |dot| &name[dot..]);
    let splits = name.iter().enumerate().filter(|(_, byte)| b".-_".contains(byte)).map(|(at, _)| at);
    splits
        .flat_map(|at| [name[..at].to_vec(), [&name[..at], ending].concat()])
        .filter(|base| !base.is_empty() && base != name && age(base, name).is_some())
        .collect()
}

/// A file beside the log: what a rotation may have left.
pub struct Sibling {
    pub path: PathBuf,
    /// `None`: its name says nothing; it may be the log's file all the same, by its inode.
    pub age: Option<Age>,
    inode: u64,
}

/// An opened sibling, and its first bytes, decompressed.
struct Opened {
    file: File,
    meta: Metadata,
    head: Vec<u8>,
    packing: Packing,
}

impl Opened {
    fn new(path: &Path) -> io::Result<Opened> {
        let file = open(path)?;
        let meta = file.metadata()?;
        let mut head = vec![0; HEAD_BYTES_MAX];
        let len = read_at(&file, &mut head, 0)?;
        head.truncate(len);
        let packing = packed::detect(&head);
        if packing != Packing::Plain {
            head.clear();
            packed::unpack(Box::new(file.try_clone()?))?
                .take(HEAD_BYTES_MAX as u64)
                .read_to_end(&mut head)?;
            // The clone shares the place in the file.
            io::Seek::rewind(&mut &file)?;
        }
        Ok(Opened { file, meta, head, packing })
    }

    fn tail(self, offset: u64, limits: &Limits) -> io::Result<Tail> {
        let mut tail = match self.packing {
            Packing::Plain => Tail::new(self.file, &self.meta, limits)?,
            _ => Tail::packed(self.file, &self.meta, &self.head, limits)?,
        };
        tail.resume_at(offset);
        Ok(tail)
    }
}

/// Opens a log without waiting for anything, as a pipe at its place would have us do.
///
/// # Errors
/// Whatever the file system says, and `InvalidInput` for what is no file: a directory, a pipe.
pub fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Whether the open file is the one that a position was stored for, and still holds what was read.
pub fn same_file(at: &FilePosition, file: &File) -> bool {
    let Ok(meta) = file.metadata() else { return false };
    let mut head = [0; HEAD_BYTES_MAX];
    (at.device, at.inode) == (meta.dev(), meta.ino())
        && meta.len() >= at.offset
        && read_at(file, &mut head, 0).is_ok_and(|len| at.head_fits(&head[..len]))
}

/// Where a log goes on.
#[derive(Default)]
pub struct Resumed {
    /// Older files with what is unread in them, oldest first; `true`: nobody writes to it any more, since it
    /// is a copy or compressed.
    pub old: Vec<(Tail, bool)>,
    /// Positions in the file that stands at the path, and in files that are nowhere: one may come back.
    pub elsewhere: Vec<FilePosition>,
    /// How far the newest file was read that was begun, unless it is the one at the path; it may be nowhere.
    pub newest: Option<FilePosition>,
    /// Device and inode of the file at the path, which is no sibling of itself where the path is a link.
    current: Option<(u64, u64)>,
}

/// Looks for the files of a stored position: at the log's path, among its rotated siblings by inode or by the
/// first bytes, in compressed ones by those they hold. What was rotated after the last one is unread.
pub fn resume(path: &Path, stored: &Position, limits: &Limits) -> Resumed {
    let mut resumed = Resumed::default();
    let current = open(path).ok();
    let meta = current.as_ref().and_then(|file| file.metadata().ok());
    resumed.current = meta.map(|meta| (meta.dev(), meta.ino()));
    let mut siblings: Option<Vec<Sibling>> = None;
    // The newest file that was begun, if it is a sibling now.
    let mut anchor = None;
    // The sibling found last, and the files after it that were not begun and may be any that came after it.
    let mut before: Option<(usize, i64)> = None;
    let mut nameless: Vec<FilePosition> = Vec::new();
    let begun = stored.files.iter().rposition(|at| at.offset > 0);
    for (index, at) in stored.files.iter().enumerate() {
        if begun.is_some_and(|begun| index > begun) && anchor.is_some() {
            // Not begun, perhaps empty when it was seen: it is found as what came after the anchor.
            break;
        }
        if at.head_len == 0 && before.is_some() {
            // Its inode may be another's by now: one that is freed is given to the next file.
            nameless.push(*at);
            anchor = None;
            continue;
        }
        anchor = None;
        if current.as_ref().is_some_and(|file| same_file(at, file)) {
            if let (Some(before), Some(siblings)) = (before.take(), &siblings) {
                resumed.unread(siblings, before, None, &std::mem::take(&mut nameless), limits);
            }
            resumed.newest = None;
            resumed.elsewhere.push(*at);
            continue;
        }
        let siblings = siblings.get_or_insert_with(|| list(path));
        let Some((found, opened)) = find(at, siblings) else {
            resumed.newest = Some(*at).filter(|at| at.offset > 0).or(resumed.newest);
            resumed.elsewhere.push(*at);
            continue;
        };
        anchor = Some((found, opened.meta.mtime()));
        if let Some(before) = std::mem::replace(&mut before, anchor) {
            resumed.unread(siblings, before, anchor, &std::mem::take(&mut nameless), limits);
        }
        if let Some((again, _)) = resumed.old.iter_mut().find(|(tail, _)| tail.is(&opened.meta)) {
            // Two positions that one copy holds.
            again.resume_at(again.position().offset.max(at.offset));
            continue;
        }
        let copy = opened.packing != Packing::Plain || opened.meta.ino() != at.inode;
        resumed.old.extend(opened.tail(at.offset, limits).ok().map(|tail| (tail, copy)));
    }
    if let (Some((found, mtime)), Some(siblings)) = (anchor, &siblings) {
        for sibling in newer(siblings, found, mtime) {
            if let Ok(opened) = Opened::new(&sibling.path) {
                resumed.push_unread(opened, limits);
            }
        }
        resumed.newest = resumed.old.last().map(|(tail, _)| *tail.position());
    }
    if let (Some(before), Some(siblings)) = (before, &siblings) {
        resumed.unread(siblings, before, None, &nameless, limits);
    }
    let surplus = resumed.old.len().saturating_sub(OLD_FILES_MAX);
    resumed.old.drain(..surplus);
    resumed
}

impl Resumed {
    /// Takes the siblings that came after one and before another and may be the `nameless` files that stood there,
    /// empty when they were seen: those with such a file's inode, and others if all of them are as many.
    fn unread(
        &mut self,
        siblings: &[Sibling],
        (found, mtime): (usize, i64),
        next: Option<(usize, i64)>,
        nameless: &[FilePosition],
        limits: &Limits,
    ) {
        if nameless.is_empty() {
            return;
        }
        let later: Vec<&Path> = next.map_or(Vec::new(), |(next, mtime)| {
            let itself = std::iter::once(&siblings[next]);
            newer(siblings, next, mtime)
                .into_iter()
                .chain(itself)
                .map(|sibling| sibling.path.as_path())
                .collect()
        });
        let between =
            newer(siblings, found, mtime).into_iter().filter(|one| !later.contains(&one.path.as_path()));
        let between = between.filter_map(|sibling| Opened::new(&sibling.path).ok());
        let between = between.filter(|opened| !self.is_current(opened));
        let (named, other): (Vec<_>, Vec<_>) =
            between.partition(|opened| nameless.iter().any(|at| at.inode == opened.meta.ino()));
        let other: Vec<_> = other.into_iter().filter(|opened| !opened.head.is_empty()).collect();
        let all = named.len() + other.len() == nameless.len();
        named
            .into_iter()
            .chain(other.into_iter().filter(|_| all))
            .for_each(|opened| self.push_unread(opened, limits));
    }

    fn is_current(&self, opened: &Opened) -> bool {
        self.current == Some((opened.meta.dev(), opened.meta.ino()))
    }

    fn push_unread(&mut self, opened: Opened, limits: &Limits) {
        if !self.is_current(&opened) && !self.old.iter().any(|(tail, _)| tail.is(&opened.meta)) {
            let packed = opened.packing != Packing::Plain;
            self.old.extend(opened.tail(0, limits).ok().map(|tail| (tail, packed)));
        }
    }
}

/// The copy of a file that was emptied, if it holds lines that were not read: `copytruncate` copies first.
pub fn find_copy(path: &Path, at: &FilePosition, limits: &Limits) -> Option<Tail> {
    let siblings = list(path);
    let copies = siblings.iter().filter(|sibling| sibling.age.is_some() && sibling.inode != at.inode);
    copies.filter_map(|copy| Opened::new(&copy.path).ok()).find_map(|copy| {
        let fits = copy.packing == Packing::Plain && holds(at, &copy) && copy.meta.len() > at.offset;
        if fits { copy.tail(at.offset, limits).ok() } else { None }
    })
}

/// What was rotated away after the file of a position, oldest first: rotations that came so fast that their
/// files never stood at the path when we looked.
///
/// `held`: that file is open, so that its inode is its own, whatever it holds by now: it may have been emptied just
/// before it was rotated. `before`: what was read last before it; where it holds too little to be known and its inode is
/// gone, since it was compressed, what came after that one comes after it.
pub fn between(
    path: &Path,
    at: &FilePosition,
    held: bool,
    before: Option<&FilePosition>,
    limits: &Limits,
) -> Vec<Tail> {
    let siblings = list(path);
    let itself = |(index, sibling): (usize, &Sibling)| {
        let opened = Opened::new(&sibling.path).ok()?;
        (opened.meta.dev() == at.device).then_some((index, opened))
    };
    let of_inode = siblings.iter().enumerate().filter(|(_, sibling)| held && sibling.inode == at.inode);
    let found = of_inode.filter_map(itself).next().or_else(|| find(at, &siblings));
    let Some((found, opened)) = found.or_else(|| find(before?, &siblings)) else { return Vec::new() };
    let opened =
        newer(&siblings, found, opened.meta.mtime()).into_iter().filter_map(|s| Opened::new(&s.path).ok());
    opened.filter_map(|opened| opened.tail(0, limits).ok()).collect()
}

/// The files beside a log and beside what it links to.
pub fn list(path: &Path) -> Vec<Sibling> {
    let mut siblings = Vec::new();
    let target = fs::canonicalize(path).ok().filter(|target| target != path);
    for log in std::iter::once(path.to_owned()).chain(target) {
        let (Some(dir), Some(base)) = (log.parent(), log.file_name()) else { continue };
        let dir = if dir == Path::new("") { Path::new(".") } else { dir };
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name: &OsStr = &entry.file_name();
            if name != base {
                let age = age(base.as_bytes(), name.as_bytes());
                siblings.push(Sibling { path: entry.path(), age, inode: entry.ino() });
            }
        }
    }
    siblings
}

/// The sibling that is the file of a position: itself, else a copy, else compressed.
fn find(at: &FilePosition, siblings: &[Sibling]) -> Option<(usize, Opened)> {
    let telling = usize::from(at.head_len) >= HEAD_BYTES_TELLING;
    let itself = siblings.iter().enumerate().find_map(|(index, sibling)| {
        if sibling.inode != at.inode || (sibling.age.is_none() && !telling) {
            return None;
        }
        let opened = Opened::new(&sibling.path).ok()?;
        same_file(at, &opened.file).then_some((index, opened))
    });
    if itself.is_some() || !telling {
        return itself;
    }
    let named = siblings.iter().enumerate().filter(|(_, sibling)| sibling.age.is_some());
    named
        .filter_map(|(index, sibling)| Some((index, Opened::new(&sibling.path).ok()?)))
        .filter(|(_, opened)| holds(at, opened))
        // A copy being compressed is there twice; the plain one needs no decompressing.
        .min_by_key(|(_, opened)| opened.packing != Packing::Plain)
}

/// Whether another file holds what was read of the one that a position was stored for.
fn holds(at: &FilePosition, copy: &Opened) -> bool {
    usize::from(at.head_len) >= HEAD_BYTES_TELLING
        && at.head_fits(&copy.head)
        && (copy.packing != Packing::Plain || copy.meta.len() >= at.offset)
}

/// What was rotated away after sibling `found`, oldest first. Names decide where they can be compared, else
/// the time of the last write, which compressing keeps.
fn newer(siblings: &[Sibling], found: usize, found_mtime: i64) -> Vec<&Sibling> {
    let mtime = |sibling: &Sibling| fs::metadata(&sibling.path).map_or(i64::MIN, |meta| meta.mtime());
    let Some(than) = &siblings[found].age else { return Vec::new() };
    let mut newer: Vec<_> = siblings
        .iter()
        .filter(|sibling| match (than, &sibling.age) {
            (Age::Number(old), Some(Age::Number(number))) => number < old,
            (Age::Date(old), Some(Age::Date(date))) => date > old,
            (_, Some(_)) => mtime(sibling) > found_mtime,
            (_, None) => false,
        })
        .map(|sibling| (mtime(sibling), sibling))
        .collect();
    newer.sort_by(|(left_mtime, left), (right_mtime, right)| match (&left.age, &right.age) {
        (Some(Age::Number(left)), Some(Age::Number(right))) => right.cmp(left),
        (Some(Age::Date(left)), Some(Age::Date(right))) => left.cmp(right),
        _ => left_mtime.cmp(right_mtime),
    });
    newer.into_iter().map(|(_, sibling)| sibling).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_known_by_what_logrotate_and_log4j_add() {
        let date = |digits: &str| Some(Age::Date(digits.into()));
        for (base, name, want) in [
            ("mail.log", "mail.log.1", Some(Age::Number(1))),
            ("mail.log", "mail.log.12.gz", Some(Age::Number(12))),
            ("mail.log", "mail.log-20261121", date("20261121")),
            ("mail.log", "mail.log-20261121.xz", date("20261121")),
            ("mail.log", "mail.log-1795300000", date("1795300000")),
            ("audit.log", "audit.log.2026-11-20.gz", date("20261120")),
            ("mail.log", "mail-20261121.log", date("20261121")),
            ("mail.log", "mail.1.log.zst", Some(Age::Number(1))),
            ("mail.log", "mail.log.old", Some(Age::Number(1))),
            ("node.log", "node-1.log", None),
            ("mail.log", "mail.log", None),
            ("mail.log", "mail.log.gz", None),
            ("mail.log", "mail.login", None),
            ("mail.log", "mail.log.example", None),
            ("mail", "mail.log.1", None),
            ("mail.log", "mail.err.1", None),
        ] {
            assert_eq!(age(base.as_bytes(), name.as_bytes()), want, "{name}");
            if want.is_some() {
                assert!(bases(name.as_bytes()).contains(&base.into()), "{name}");
            }
        }
    }

    #[test]
    fn what_was_rotated_later_comes_in_order() {
        let siblings: Vec<_> = ["m.3.gz", "m.1", "m.10.gz", "m.2.gz", "other"]
            .iter()
            .map(|name| Sibling { path: name.into(), age: age(b"m", name.as_bytes()), inode: 0 })
            .collect();
        let names: Vec<_> = newer(&siblings, 2, 0).iter().map(|sibling| sibling.path.clone()).collect();
        assert_eq!(names, ["m.3.gz", "m.2.gz", "m.1"].map(PathBuf::from));
    }
}
