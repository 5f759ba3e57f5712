//! One inotify instance for all logs: their files, and the directories they and their links stand in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::sys::statfs::fstatfs;
use smallvec::SmallVec;

use super::LogId;

/// One event with the longest name. Source: inotify(7), struct inotify_event.
const EVENT_BYTES_MAX: usize = 16 + 256;

/// Identifies a watched file.
pub type WatchId = i32;

/// What the events said, gathered: thousands of appends are one entry at most for each read of the queue.
#[derive(Default)]
pub struct Happened {
    /// Written to.
    pub written: Vec<(LogId, WatchId)>,
    /// Moved, deleted, its permissions changed.
    pub changed: Vec<LogId>,
    /// Came, went or changed in a watched directory.
    pub names: Vec<PathBuf>,
    /// Events were lost, or directories changed: everything has to be looked at.
    pub everything: bool,
}

impl Happened {
    pub fn clear(&mut self) {
        self.written.clear();
        self.changed.clear();
        self.names.clear();
        self.everything = false;
    }
}

pub struct Watch {
    inotify: Inotify,
    files: BTreeMap<WatchId, (WatchDescriptor, SmallVec<[LogId; 2]>)>,
    dirs: BTreeMap<WatchId, (WatchDescriptor, SmallVec<[PathBuf; 1]>)>,
    buffer: Vec<u8>,
}

impl Watch {
    pub fn new() -> io::Result<Watch> {
        let inotify = Inotify::init()?;
        Ok(Watch { inotify, files: BTreeMap::new(), dirs: BTreeMap::new(), buffer: vec![0; 16 << 10] })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches an open file for `log`: this very file, whatever its path leads to by now.
    ///
    /// # Errors
    /// ENOSPC where fs.inotify.max_user_watches is reached.
    pub fn watch_file(&mut self, file: &File, path: &Path, log: LogId) -> io::Result<WatchId> {
        let mask = WatchMask::MODIFY | WatchMask::ATTRIB | WatchMask::MOVE_SELF | WatchMask::DELETE_SELF;
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = match self.inotify.watches().add(open, mask) {
            // No /proc: the path has to do. Should it lead elsewhere by now, its directory's events say so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.inotify.watches().add(path, mask)?
            }
            result => result?,
        };
        let id = watch.get_watch_descriptor_id();
        self.files.entry(id).or_insert_with(|| (watch, SmallVec::new())).1.push(log);
        Ok(id)
    }

    pub fn unwatch_file(&mut self, id: WatchId, log: LogId) {
        let Some((_, logs)) = self.files.get_mut(&id) else { return };
        if let Some(at) = logs.iter().position(|other| *other == log) {
            logs.swap_remove(at);
        }
        if logs.is_empty()
            && let Some((watch, _)) = self.files.remove(&id)
        {
            // Fails where the file is gone: the kernel took the watch away itself.
            let _ = self.inotify.watches().remove(watch);
        }
    }

    /// Watches exactly these directories. Costs little when nothing changed: to be called again and again,
    /// since a directory may be replaced by another under its name. In the place of one that is missing its
    /// nearest parent is watched.
    ///
    /// # Errors
    /// The first that could not be watched though it is there; the others are.
    pub fn watch_dirs(&mut self, dirs: &BTreeSet<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
        let mask = WatchMask::CREATE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut before = std::mem::take(&mut self.dirs);
        let mut failed = None;
        for dir in dirs {
            for dir in dir.ancestors() {
                let path = if dir == Path::new("") { Path::new(".") } else { dir };
                match self.inotify.watches().add(path, mask) {
                    Ok(watch) => {
                        let id = watch.get_watch_descriptor_id();
                        before.remove(&id);
                        let paths = &mut self.dirs.entry(id).or_insert_with(|| (watch, SmallVec::new())).1;
                        if !paths.iter().any(|path| path == dir) {
                            paths.push(dir.to_owned());
                        }
                        break;
                    }
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                    Err(error) => {
                        failed.get_or_insert((dir.to_owned(), error));
                        break;
                    }
                }
            }
        }
        for (_, (watch, _)) in before {
            let _ = self.inotify.watches().remove(watch);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes all waiting events.
    pub fn drain(&mut self, happened: &mut Happened) {
        loop {
            let events = match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing waits.
                Err(_) => return,
            };
            let mut bytes_most = 0;
            for event in events {
                bytes_most += EVENT_BYTES_MAX;
                let id = event.wd.get_watch_descriptor_id();
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    happened.everything = true;
                } else if let Some((_, logs)) = self.files.get(&id) {
                    if event.mask.contains(EventMask::MODIFY) {
                        happened.written.extend(logs.iter().map(|log| (*log, id)));
                    } else {
                        happened.changed.extend_from_slice(logs);
                    }
                    if event.mask.contains(EventMask::IGNORED) {
                        self.files.remove(&id);
                    }
                } else if let Some((_, paths)) = self.dirs.get(&id) {
                    match event.name {
                        Some(name) if !event.mask.contains(EventMask::ISDIR) => {
                            happened.names.extend(paths.iter().map(|dir| dir.join(name)));
                        }
                        _ => happened.everything = true,
                    }
                    if event.mask.contains(EventMask::IGNORED) {
                        self.dirs.remove(&id);
                    }
                }
            }
            // There was room for one more.
            if bytes_most + EVENT_BYTES_MAX <= self.buffer.len() {
                return;
            }
        }
    }
}

/// Whether others may write to the file without this kernel seeing it: then events are not to be relied on.
///
/// Source: the magic numbers of linux/magic.h and of the file systems that are not in it.
pub fn on_network(file: &File) -> bool {
    const NETWORK: [i64; 15] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x6573_5546, // FUSE: sshfs, glusterfs, s3fs; virtiofs
        0x00c3_6400, // Ceph
        0x0102_1997, // 9p
        0x5346_414f, // OpenAFS
        0x6b41_4653, // kAFS
        0x7375_7245, // Coda
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
        0x7461_636f, // OCFS2
        0x0116_1970, // GFS2
        0x786f_4256, // vboxsf
    ];
    fstatfs(file).is_ok_and(|stat| NETWORK.contains(&(stat.filesystem_type().0 & 0xffff_ffff)))
}

/// Whether events tell of all that happens in a directory: not where others write to it over a network, nor where
/// its path leads over a link, since nobody watches where that stands. A directory that is missing counts as its
/// nearest parent, which is watched in its place.
pub fn tells_all(dir: &Path) -> bool {
    let there = dir.ancestors().find_map(|dir| Some((dir, std::fs::canonicalize(dir).ok()?)));
    there.is_some_and(|(dir, real)| dir == real && File::open(dir).is_ok_and(|dir| !on_network(&dir)))
}
