//! fail2ban.log, written for the programs that read it. A thread of its own writes: a full or slow disk keeps no ban
//! waiting. What finds no room in the queue is left out and counted.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;

use crate::addr::Net;
use crate::fail2ban::log::{Event, write_line};
use crate::filter::Attempt;
use crate::jail::{Ban, JailName, JailSettings, Origin, Seen};
use crate::text::io_reason;
use crate::time::{Span, Timestamp, system_zone};

/// Pieces that wait for the disk, each what one block of a log led to. Pieces.
const WAITING_MAX: usize = 256;

/// A piece goes to the thread from this size on. Bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How long stopping waits for the disk.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// The log as the engine has it: nothing is written where none is configured.
pub struct Fail2banLog {
    writer: Option<Writer>,
    zone: Tz,
    pid: u32,
    gathered: String,
    /// Bans to come that are no new ones.
    left_out: HashSet<(JailName, Net)>,
}

struct Writer {
    path: PathBuf,
    pieces: SyncSender<String>,
    ended: Receiver<()>,
    trouble: Arc<Mutex<Trouble>>,
}

/// What the thread has to say.
#[derive(Default)]
struct Trouble {
    /// The last failure, until something could be written again.
    now: Option<String>,
    said: bool,
    left_out: u64,
}

impl Fail2banLog {
    /// Writes to `path` from now on; `None`: nowhere.
    pub fn new(path: Option<&Path>) -> Fail2banLog {
        let mut log = Fail2banLog {
            writer: None,
            zone: system_zone(),
            pid: std::process::id(),
            gathered: String::new(),
            left_out: HashSet::new(),
        };
        log.configure(path);
        log
    }

    /// Takes over another path, or none.
    pub fn configure(&mut self, path: Option<&Path>) {
        if self.writer.as_ref().map(|writer| writer.path.as_path()) == path {
            return;
        }
        self.close();
        self.zone = system_zone();
        self.writer = path.map(Writer::start);
    }

    /// An attempt, and what `jail` made of it.
    pub fn attempt(&mut self, now: Timestamp, jail: &JailSettings, attempt: &Attempt<'_>, seen: Seen) {
        let Some(host) = attempt.host else { return };
        let at = attempt.time.unwrap_or(now).min(now);
        match seen {
            Seen::Counted | Seen::Banned | Seen::AlreadyBanned => {
                self.write(now, jail.name.as_str(), Net::host(host), Event::Found { at });
            }
            Seen::Ignored => self.write(now, jail.name.as_str(), Net::host(host), Event::Ignored),
            _ => {}
        }
    }

    /// The ban of `target` that comes next only takes the place of one: no new one, to fail2ban.
    pub fn leave_out(&mut self, jail: JailName, target: Net) {
        self.left_out.insert((jail, target));
    }

    /// A new ban, or one that stood before.
    pub fn ban(&mut self, now: Timestamp, ban: &Ban, jail: Option<&JailSettings>) {
        let name = ban.jail.as_str();
        if !self.left_out.is_empty() && self.left_out.remove(&(ban.jail.clone(), ban.target)) {
            return;
        }
        if matches!(ban.origin, Origin::Import | Origin::Kernel) {
            return self.write(now, name, ban.target, Event::RestoreBan);
        }
        self.write(now, name, ban.target, Event::Ban);
        let Some(jail) = jail.filter(|jail| jail.increment.enabled && ban.count > 1) else { return };
        let length = ban.until.map_or(Span::Forever, |until| Span::For(until.since(ban.since)));
        let longer = match (length, jail.bantime) {
            (Span::For(length), Span::For(bantime)) => length > bantime,
            (Span::Forever, Span::For(_)) => true,
            (_, Span::Forever) => false,
        };
        if longer {
            let event = Event::IncreaseBan { count: ban.count, length, until: ban.until };
            self.write(now, name, ban.target, event);
        }
    }

    /// Any other line.
    pub fn write(&mut self, now: Timestamp, jail: &str, target: Net, event: Event) {
        if self.writer.is_none() {
            return;
        }
        write_line(&mut self.gathered, now, self.zone, self.pid, jail, target, event);
        if self.gathered.len() >= PIECE_BYTES {
            self.send();
        }
    }

    /// Hands what was gathered to the thread.
    pub fn send(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let piece = std::mem::take(&mut self.gathered);
        let Some(writer) = &self.writer else { return };
        if let Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) =
            writer.pieces.try_send(piece)
        {
            let lines = piece.bytes().filter(|byte| *byte == b'\n').count() as u64;
            lock(&writer.trouble).left_out += lines;
        }
    }

    /// What a person should know, once for each trouble.
    pub fn take_trouble(&mut self) -> Option<String> {
        let writer = self.writer.as_ref()?;
        let mut trouble = lock(&writer.trouble);
        if trouble.said || (trouble.now.is_none() && trouble.left_out == 0) {
            return None;
        }
        trouble.said = true;
        let path = writer.path.display();
        Some(match &trouble.now {
            Some(why) => {
                format!("cannot write fail2ban_log {path}: {why}; its lines are lost until that is mended")
            }
            None => format!("the disk is too slow for fail2ban_log {path}: lines are left out"),
        })
    }

    /// Writes what is left, and waits for it a moment.
    pub fn close(&mut self) {
        self.send();
        if let Some(Writer { pieces, ended, .. }) = self.writer.take() {
            drop(pieces);
            let _ = ended.recv_timeout(STOP_WAIT);
        }
    }
}

fn lock(trouble: &Mutex<Trouble>) -> std::sync::MutexGuard<'_, Trouble> {
    // No call under the lock can leave it half changed.
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    fn start(path: &Path) -> Writer {
        let (pieces, waiting) = sync_channel::<String>(WAITING_MAX);
        let (end, ended) = sync_channel(1);
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        let (theirs, to) = (trouble.clone(), path.to_owned());
        let started = std::thread::Builder::new().name("fail2ban-log".to_owned()).spawn(move || {
            let mut output = Output { path: to, file: None, torn: false };
            for piece in waiting {
                let done = output.append(&piece);
                let mut trouble = lock(&theirs);
                match done {
                    Ok(()) => (trouble.now, trouble.said) = (None, trouble.said && trouble.left_out > 0),
                    Err(why) => trouble.now = Some(io_reason(&why)),
                }
            }
            let _ = end.send(());
        });
        if let Err(why) = started {
            lock(&trouble).now = Some(io_reason(&why));
        }
        Writer { path: path.to_owned(), pieces, ended, trouble }
    }
}

/// The file, opened anew when it was rotated away.
struct Output {
    path: PathBuf,
    file: Option<File>,
    /// The last write ended inside a line.
    torn: bool,
}

impl Output {
    fn append(&mut self, piece: &str) -> io::Result<()> {
        let here = |file: &File| -> io::Result<bool> {
            let (open, named) = (file.metadata()?, std::fs::metadata(&self.path)?);
            Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
        };
        if !self.file.as_ref().is_some_and(|file| here(file).unwrap_or(false)) {
            // A pipe at its place that nobody reads must not hold us.
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(&self.path)?;
            self.file = Some(file);
            self.torn = false;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut rest = piece.as_bytes();
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban_line(log: &mut Fail2banLog, target: &str) {
        log.write(Timestamp::from_secs(1_795_312_957), "postfix", target.parse().unwrap(), Event::Ban);
        log.send();
    }

    #[test]
    fn a_rotated_log_is_begun_anew_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("fail2ban.log"), folder.path().join("fail2ban.log.1"));
        let mut log = Fail2banLog::new(Some(&path));
        ban_line(&mut log, "203.0.113.1");
        log.configure(None);
        std::fs::rename(&path, &old).unwrap();
        log.configure(Some(&path));
        ban_line(&mut log, "203.0.113.2");
        log.close();
        assert!(std::fs::read_to_string(&old).unwrap().ends_with("Ban 203.0.113.1\n"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("Ban 203.0.113.2\n"));
    }

    #[test]
    fn the_file_is_opened_anew_under_the_writer_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fail2ban.log");
        let mut output = Output { path: path.clone(), file: None, torn: false };
        output.append("one\n").unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        output.append("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        std::fs::remove_file(&path).unwrap();
        output.append("three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_full_disk_is_said_once_and_ends_nothing() {
        let mut log = Fail2banLog::new(Some(Path::new("/dev/full")));
        let mut said = None;
        while said.is_none() {
            ban_line(&mut log, "203.0.113.1");
            said = log.take_trouble();
        }
        assert!(said.unwrap().contains("/dev/full"));
        ban_line(&mut log, "203.0.113.1");
        log.close();
        let mut log = Fail2banLog::new(Some(Path::new("/nonexistent/fail2ban.log")));
        while log.take_trouble().is_none() {
            ban_line(&mut log, "203.0.113.1");
        }
        assert_eq!(log.take_trouble(), None);
    }

    #[test]
    fn nothing_is_written_where_nothing_is_configured() {
        let mut log = Fail2banLog::new(None);
        ban_line(&mut log, "203.0.113.1");
        assert!(log.gathered.is_empty() && log.take_trouble().is_none());
    }
}
