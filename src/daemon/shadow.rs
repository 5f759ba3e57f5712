//! Shadow mode, running: portero's bans and those that fail2ban's log tells of, gathered for `banctl shadow`. They are
//! kept in a file of their own beside the store, since fail2ban's bans are no business of the store.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::addr::Net;
use crate::fail2ban::log::{Said, date_of, read_line};
use crate::fail2ban::shadow::{Comparison, ShadowBan, Side, compare};
use crate::jail::{Ban, JailName, Origin};
use crate::source::{LineDate, Start, Tailer};
use crate::text::{escape, io_reason};
use crate::time::{Timestamp, system_zone};

/// The file in the state directory.
const FILE: &str = "shadow.jsonl";

/// Bans of both sides that are kept; the oldest quarter goes when there are more. Bans.
const BANS_MAX: usize = 20_000;

/// Targets of which fail2ban's words are kept. Targets.
const TARGETS_MAX: usize = 10_000;

/// Words kept of one target, the latest. Lines.
const SAID_MAX: usize = 10;

/// A line of fail2ban's is cut here. Characters.
const LINE_CHARS_MAX: usize = 300;

/// How far back fail2ban's log is read at the first start: bans of then may stand now.
const LOOK_BACK: Duration = Duration::from_secs(86_400);

/// See the module.
pub struct Shadow {
    pub log: PathBuf,
    zone: Tz,
    /// When shadow mode began, over all starts.
    pub began: Timestamp,
    pub bans: Vec<ShadowBan>,
    /// What fail2ban said of a target, and when.
    said: HashMap<Net, VecDeque<(Timestamp, String)>>,
    /// The targets of `said` in the order they came.
    order: VecDeque<Net>,
    file: PathBuf,
    unsaved: String,
    failed: bool,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    Began(Timestamp),
    Ban(ShadowBan),
    End { side: Side, jail: String, target: Net, at: Timestamp },
}

impl Shadow {
    /// Goes on with what `state_dir` holds. `log`: fail2ban's.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn open(log: &Path, state_dir: &Path, now: Timestamp) -> io::Result<Shadow> {
        let mut shadow = Shadow {
            log: log.to_owned(),
            zone: system_zone(),
            began: now,
            bans: Vec::new(),
            said: HashMap::new(),
            order: VecDeque::new(),
            file: state_dir.join(FILE),
            unsaved: String::new(),
            failed: false,
        };
        match File::open(&shadow.file) {
            Ok(file) => shadow.load(file)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
        // Written anew at each start: what was dropped does not pile up, and a line torn by a crash is gone.
        let new = shadow.file.with_extension("new");
        let mut text = String::new();
        push(&mut text, &Record::Began(shadow.began));
        for ban in &shadow.bans {
            push(&mut text, &Record::Ban(ban.clone()));
        }
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &shadow.file)?;
        Ok(shadow)
    }

    fn load(&mut self, file: File) -> io::Result<()> {
        for line in BufReader::new(file).lines() {
            match serde_json::from_str(&line?) {
                Ok(Record::Began(at)) => self.began = at,
                Ok(Record::Ban(ban)) => self.keep(ban),
                Ok(Record::End { side, jail, target, at }) => self.end(side, &jail, target, at),
                Err(_) => {}
            }
        }
        self.unsaved.clear();
        Ok(())
    }

    /// Follows fail2ban's log from where it was left.
    pub fn follow(
        &self,
        tailer: &mut Tailer,
        stored: &HashMap<PathBuf, crate::source::Position>,
        now: Timestamp,
    ) {
        let zone = self.zone;
        let line_date: LineDate = Arc::new(move |line: &[u8]| date_of(line, zone));
        let start = Start { now, stored, look_back: LOOK_BACK, line_date };
        // Its name is no pattern, whatever characters are in it.
        tailer.add(&glob::Pattern::escape(&self.log.to_string_lossy()), &start);
    }

    /// Whole lines of the log at `path`, if that is fail2ban's.
    pub fn read(&mut self, path: &Path, bytes: &[u8], now: Timestamp) {
        if path != self.log {
            return;
        }
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(entry) = read_line(line, self.zone) else { continue };
            let at = entry.at.unwrap_or(now);
            let text: String = escape(line).chars().take(LINE_CHARS_MAX).collect();
            self.hear(entry.target, at, text);
            let restored = entry.what == Said::RestoreBan;
            match entry.what {
                Said::Ban | Said::RestoreBan => self.keep(ShadowBan {
                    side: Side::Fail2ban,
                    jail: entry.jail,
                    target: entry.target,
                    since: at,
                    until: None,
                    restored,
                    said: self.said_of(entry.target, at),
                }),
                Said::Unban => self.end(Side::Fail2ban, &entry.jail, entry.target, at),
                Said::Found | Said::Ignored | Said::AlreadyBanned => {}
            }
        }
    }

    /// A ban of portero's.
    pub fn ban(&mut self, ban: &Ban) {
        if ban.origin == Origin::Jail {
            self.keep(ShadowBan {
                side: Side::Portero,
                jail: ban.jail.to_string(),
                target: ban.target,
                since: ban.since,
                until: ban.until,
                restored: false,
                said: self.said_of(ban.target, ban.since),
            });
        }
    }

    /// A ban of portero's ended, before its time perhaps.
    pub fn unban(&mut self, jail: &JailName, target: Net, at: Timestamp) {
        self.end(Side::Portero, jail.as_str(), target, at);
    }

    fn hear(&mut self, target: Net, at: Timestamp, line: String) {
        if !self.said.contains_key(&target) {
            if self.order.len() >= TARGETS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.said.remove(&oldest);
            }
            self.order.push_back(target);
        }
        let said = self.said.entry(target).or_default();
        said.push_back((at, line));
        if said.len() > SAID_MAX {
            said.pop_front();
        }
    }

    /// What fail2ban has said of `target`, or of addresses in it, up to `until`.
    fn said_of(&self, target: Net, until: Timestamp) -> Vec<String> {
        let exact = self.said.get(&target).map(|said| vec![said]);
        let all = exact.unwrap_or_else(|| {
            let inside = |net: &&Net| target.as_host().is_none() && target.covers(**net);
            self.order.iter().filter(inside).filter_map(|net| self.said.get(net)).take(SAID_MAX).collect()
        });
        // A second is how exact fail2ban's dates are.
        let until = until.plus(Duration::from_secs(1));
        let mut lines: Vec<_> = all.into_iter().flatten().filter(|(at, _)| *at <= until).collect();
        lines.sort_by_key(|(at, _)| *at);
        let surplus = lines.len().saturating_sub(SAID_MAX);
        lines.drain(..surplus);
        lines.into_iter().map(|(_, line)| line.clone()).collect()
    }

    /// What fail2ban said of a ban's target about its time, as far as that is known by now.
    pub fn said_about(&self, ban: &ShadowBan, tolerance: Duration) -> Vec<String> {
        let later = self.said_of(ban.target, ban.since.plus(tolerance));
        if later.is_empty() { ban.said.clone() } else { later }
    }

    fn keep(&mut self, ban: ShadowBan) {
        if self.bans.len() >= BANS_MAX {
            self.bans.drain(..BANS_MAX / 4);
        }
        push(&mut self.unsaved, &Record::Ban(ban.clone()));
        self.bans.push(ban);
    }

    fn end(&mut self, side: Side, jail: &str, target: Net, at: Timestamp) {
        let open = |ban: &&mut ShadowBan| ban.side == side && ban.target == target && ban.jail == jail;
        let Some(ban) = self.bans.iter_mut().rev().find(open) else { return };
        if ban.until.is_none_or(|until| at < until) {
            ban.until = Some(at);
            push(&mut self.unsaved, &Record::End { side, jail: jail.to_owned(), target, at });
        }
    }

    pub fn compare(&self, from: Timestamp, now: Timestamp, tolerance: Duration) -> Comparison {
        compare(&self.bans, from, now, tolerance)
    }

    /// Appends what is new to the file. `Some`: why that failed, said once.
    pub fn save(&mut self) -> Option<String> {
        if self.unsaved.is_empty() {
            return None;
        }
        let unsaved = std::mem::take(&mut self.unsaved);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.file);
        match file.and_then(|mut file| file.write_all(unsaved.as_bytes())) {
            Ok(()) => self.failed = false,
            Err(why) => {
                let first = !std::mem::replace(&mut self.failed, true);
                let path = self.file.display();
                return first.then(|| {
                    format!("cannot write {path}: {}; a restart forgets what was compared", io_reason(&why))
                });
            }
        }
        None
    }
}

fn push(text: &mut String, record: &Record) {
    text.push_str(&serde_json::to_string(record).expect("it holds nothing that JSON does not"));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "/var/log/fail2ban.log";

    fn now() -> Timestamp {
        Timestamp::from_secs(1_795_313_000)
    }

    fn read(shadow: &mut Shadow, lines: &str) {
        shadow.read(Path::new(LOG), lines.as_bytes(), now());
    }

    fn line(component: &str, level: &str, message: &str) -> String {
        format!("2026-11-22 02:02:37,161 fail2ban.{component:<15}[1]: {level:<7} [postfix] {message}\n")
    }

    #[test]
    fn bans_their_ends_and_what_led_to_them_are_back_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut shadow = Shadow::open(Path::new(LOG), folder.path(), now()).unwrap();
        read(&mut shadow, &line("filter", "INFO", "Found 203.0.113.7 - 2026-11-22 02:02:36"));
        read(&mut shadow, &line("actions", "NOTICE", "Ban 203.0.113.7"));
        read(&mut shadow, &line("actions", "NOTICE", "Restore Ban 203.0.113.8"));
        read(&mut shadow, &line("actions", "NOTICE", "Unban 203.0.113.7"));
        shadow.read(
            Path::new("/var/log/mail.log"),
            line("actions", "NOTICE", "Ban 192.0.2.1").as_bytes(),
            now(),
        );
        assert_eq!(shadow.save(), None);
        // A crash tore the last line.
        let torn = OpenOptions::new().append(true).open(folder.path().join(FILE));
        torn.unwrap().write_all(b"{\"ban\":{\"side\":").unwrap();
        let later = now().plus(Duration::from_secs(99));
        let again = Shadow::open(Path::new(LOG), folder.path(), later).unwrap();
        assert_eq!((again.began, &again.bans), (now(), &shadow.bans));
        let [first, second] = &again.bans[..] else { panic!("{:?}", again.bans) };
        assert!(first.until.is_some() && first.said.len() == 2 && !first.restored, "{first:?}");
        assert!(second.until.is_none() && second.restored, "{second:?}");
    }

    #[test]
    fn a_flood_of_bans_and_targets_stays_within_the_caps() {
        let folder = tempfile::tempdir().unwrap();
        let mut shadow = Shadow::open(Path::new(LOG), folder.path(), now()).unwrap();
        for number in 0..BANS_MAX + 5000 {
            let target = std::net::Ipv4Addr::from(0x0b00_0000 + number as u32);
            read(&mut shadow, &line("actions", "NOTICE", &format!("Ban {target}")));
        }
        assert!(shadow.bans.len() <= BANS_MAX && shadow.said.len() <= TARGETS_MAX);
        assert_eq!(shadow.said.len(), shadow.order.len());
        assert!(
            shadow.bans.last().unwrap().target.to_string().ends_with("11.0.97.167"),
            "{:?}",
            shadow.bans.last()
        );
    }
}
