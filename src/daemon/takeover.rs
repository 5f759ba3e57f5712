//! The change from fail2ban to portero: what its database holds is taken over before the first line is read.
//!
//! Done once for each ban: what was taken is remembered, so that a second start with `--fail2ban-db` brings nothing
//! back that a person has lifted since. What cannot be taken is reported and left.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};
use sha1::Sha1;
use tracing::{info, warn};

use super::desk::matches;
use crate::addr::{Host, Net};
use crate::config::Config;
use crate::fail2ban::database::{Database, DatabaseBan, DatabaseLog};
use crate::filter::Outcome;
use crate::jail::{Ban, JailId, JailName, Jails, Origin};
use crate::source::{Position, adopt};
use crate::store::record::EVIDENCE_LINE_BYTES_MAX;
use crate::store::{
    AttemptRecord, Audit, Change, Frame, History, PositionRecord, Store, Taken, Unban, UnbanCause,
};
use crate::time::{Span, Timestamp};

/// So many changes go into one frame. Changes.
const FRAME_CHANGES_MAX: usize = 2000;

/// Examples given in a note.
const EXAMPLES_MAX: usize = 3;

/// What the store remembers of earlier takeovers: the latest ban taken of each jail and target.
pub type Before = HashMap<(JailName, Net), Taken>;

/// What came of it.
#[derive(Debug, Default)]
pub struct TakenOver {
    /// Bans that are in force now and were not before.
    pub bans: usize,
    /// Where to begin in logs that portero has not read yet.
    pub positions: HashMap<PathBuf, Position>,
    /// What could not be taken, for a person.
    pub notes: Vec<String>,
    /// To be made durable.
    pub changes: Vec<Change>,
}

/// Takes over what `database` holds: bans and counts into `jails`, positions of logs that are not in `positions`.
/// `ended`: bans that ended here by somebody's word; such a ban does not come back.
pub fn take_over(
    database: Database,
    now: Timestamp,
    config: &Config,
    jails: &mut Jails,
    before: &Before,
    ended: &[Unban],
    positions: &HashMap<PathBuf, Position>,
) -> TakenOver {
    let mut taken = TakenOver::default();
    for ((jail, target), was) in before {
        if was.until.is_some_and(|until| until <= now) {
            taken.changes.push(Change::Taken { jail: jail.clone(), target: *target, taken: None });
        }
    }
    let mut left = LeftOut::default();
    let mut lifted: HashMap<(&JailName, Net), Timestamp> = HashMap::new();
    for end in ended.iter().filter(|end| end.cause != UnbanCause::Expired) {
        let latest = lifted.entry((&end.jail, end.target)).or_insert(end.at);
        *latest = end.at.max(*latest);
    }
    // Before the bans: a ban knows its count from its own row.
    take_pasts(&database, jails, &mut taken);
    for row in database.bans {
        let Some(jail) = jails.id(&row.jail) else {
            left.unknown_jail(&row.jail);
            continue;
        };
        let Ok(target) = row.id.parse::<Net>() else {
            left.no_address(&row.jail, &row.id);
            continue;
        };
        let name = jails.settings(jail).name.clone();
        let ban = ban_of(&row, name, target, jails, jail, now);
        if ban.left(now).is_none()
            || before.get(&(ban.jail.clone(), target)).is_some_and(|was| was.since >= ban.since)
            || lifted.get(&(&ban.jail, target)).is_some_and(|at| *at >= ban.since)
        {
            continue;
        }
        if let Some(refusal) = jails.refusal(now, jail, target, false) {
            left.refused.push(refusal.to_string());
            continue;
        }
        let (jail_name, since, until) = (ban.jail.clone(), ban.since, ban.until);
        let longer = jails.ban_of(&jail_name, target).is_some_and(|held| lasts(held.until) >= lasts(until));
        if !longer {
            if jails.ban_count() >= config.limits.bans_max {
                left.no_room += 1;
                continue;
            }
            taken.bans += usize::from(jails.restore_ban(now, &ban));
            taken.changes.push(Change::Ban(ban));
            taken.changes.extend(evidence(&row, target, &jail_name));
        }
        let was = Taken { since, until };
        taken.changes.push(Change::Taken { jail: jail_name, target, taken: Some(was) });
    }
    left.no_room += database.bans_left_out as usize;
    take_positions(&database.logs, config, positions, &mut taken);
    taken.notes = left.notes();
    let result = format!("{} bans, {} logs", taken.bans, taken.positions.len());
    info!(from = %database.path.display(), "taken over from fail2ban: {result}");
    if taken.bans > 0 || !taken.positions.is_empty() {
        taken.changes.push(Change::Audit(Audit {
            at: now,
            by: "portero --fail2ban-db".to_owned(),
            what: "take over".to_owned(),
            target: Some(database.path.display().to_string()),
            reason: None,
            result,
        }));
    }
    taken
}

/// For comparing ends; a ban without one lasts longest.
fn lasts(until: Option<Timestamp>) -> Timestamp {
    until.unwrap_or(Timestamp::from_micros(i64::MAX))
}

fn ban_of(
    row: &DatabaseBan,
    name: JailName,
    target: Net,
    jails: &Jails,
    jail: JailId,
    now: Timestamp,
) -> Ban {
    // A clock that was set back since does not make it longer.
    let since = row.since.min(now);
    let length: Span = row.length.unwrap_or(jails.settings(jail).bantime);
    Ban {
        jail: name,
        target,
        since,
        until: length.end(since),
        failures: row.failures,
        count: row.count,
        origin: Origin::Import,
        reason: None,
        effective: true,
    }
}

/// How often each target was banned, so that growing bantimes go on. What is known here already is only raised.
fn take_pasts(database: &Database, jails: &mut Jails, taken: &mut TakenOver) {
    for past in &database.pasts {
        let (Some(jail), Ok(target)) = (jails.id(&past.jail), past.id.parse::<Net>()) else { continue };
        // Under the key that the jail's next ban of it will have: an IPv6 address counts as its network.
        let key = match target.as_host() {
            Some(host) => jails.settings(jail).key_of(host),
            None => target,
        };
        let name = jails.settings(jail).name.clone();
        let (count, last_end) = match jails.history_of(jail, key) {
            Some((count, _)) if count >= past.count => continue,
            Some((_, last_end)) => (past.count, lasts(past.last_end).max(lasts(last_end))),
            None => (past.count, lasts(past.last_end)),
        };
        let last_until = (last_end != lasts(None)).then_some(last_end);
        jails.restore_history(&name, key, count, last_until);
        let history = History { count, last_since: Timestamp::default(), last_until };
        taken.changes.push(Change::History { jail: Some(name), target: key, history: Some(history) });
    }
}

/// The lines that fail2ban kept, for `banctl why`.
fn evidence(row: &DatabaseBan, target: Net, jail: &JailName) -> Vec<Change> {
    let Some(host): Option<Host> = target.as_host() else { return Vec::new() };
    let attempt = |line: &String| {
        let line = line.trim_end_matches(['\r', '\n']);
        Change::Attempt(AttemptRecord {
            host,
            jail: Some(jail.clone()),
            outcome: Outcome::Failure,
            time: row.since,
            times: 1,
            account: None,
            pwhash: None,
            line: Some(line.as_bytes()[..line.len().min(EVIDENCE_LINE_BYTES_MAX)].to_vec()),
            log: None::<Arc<Path>>,
        })
    };
    row.lines.iter().map(attempt).collect()
}

/// The positions of logs that portero reads and has none of. Each jail had its own; the least is taken, since
/// portero reads a log once for all jails on it.
fn take_positions(
    logs: &[DatabaseLog],
    config: &Config,
    known: &HashMap<PathBuf, Position>,
    taken: &mut TakenOver,
) {
    let mut by_path: BTreeMap<&Path, Vec<&DatabaseLog>> = BTreeMap::new();
    for log in logs.iter().filter(|log| !known.contains_key(&log.path)) {
        let reads = |pattern: &String| matches(pattern, &log.path);
        if config.jail(&log.jail).is_some_and(|jail| jail.enabled && jail.logpath.iter().any(reads)) {
            by_path.entry(&log.path).or_default().push(log);
        }
    }
    for (path, logs) in by_path {
        let found = logs.iter().filter_map(|log| {
            let position = adopt(path, log.offset, &|line| digest_fits(&log.first_line, line))?;
            let inode = position.files.first()?.inode;
            Some((inode, log.offset, position))
        });
        let mut found: Vec<(u64, u64, Position)> = found.collect();
        // A jail that was off for long may stand in an old file: the one at the path goes before.
        let current = std::fs::metadata(path).map(|meta| std::os::unix::fs::MetadataExt::ino(&meta)).ok();
        found.sort_by_key(|(inode, offset, _)| (Some(*inode) != current, *offset));
        let Some((_, _, position)) = found.into_iter().next() else { continue };
        let record = PositionRecord::of(position.clone());
        taken.changes.push(Change::Position { path: path.to_owned(), record: Some(record) });
        taken.positions.insert(path.to_owned(), position);
    }
}

/// Whether `line` has this digest. Python's `hashlib` gives fail2ban MD5, or SHA-1 where its test of MD5 fails, as
/// it does under Python 3: the length tells.
fn digest_fits(digest: &str, line: &[u8]) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match digest.len() {
        32 => hex(&Md5::digest(line)) == digest,
        40 => hex(&Sha1::digest(line)) == digest,
        _ => false,
    }
}

/// What was not taken, counted.
#[derive(Default)]
struct LeftOut {
    unknown_jails: BTreeMap<String, usize>,
    /// By jail: how many, and some of them.
    no_address: BTreeMap<String, (usize, Vec<String>)>,
    refused: Vec<String>,
    no_room: usize,
}

impl LeftOut {
    fn unknown_jail(&mut self, jail: &str) {
        *self.unknown_jails.entry(jail.to_owned()).or_default() += 1;
    }

    fn no_address(&mut self, jail: &str, id: &str) {
        let (count, examples) = self.no_address.entry(jail.to_owned()).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(format!("{:?}", id.chars().take(60).collect::<String>()));
        }
    }

    fn notes(self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.unknown_jails.is_empty() {
            let bans: usize = self.unknown_jails.values().sum();
            let jails: Vec<String> =
                self.unknown_jails.iter().map(|(jail, count)| format!("{jail:?} ({count})")).collect();
            notes.push(format!(
                "{bans} of fail2ban's bans were not taken over: there is no jail {} here; switch such a jail on and \
                 start with --fail2ban-db again",
                jails.join(", ")
            ));
        }
        for (jail, (count, examples)) in self.no_address {
            let examples = examples.join(", ");
            notes.push(format!(
                "jail {jail}: {count} of fail2ban's bans were not taken over, since they are of no address: {examples}"
            ));
        }
        if let Some(first) = self.refused.first() {
            let more = match self.refused.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            notes.push(format!("not taken over from fail2ban: {first}{more}"));
        }
        if self.no_room > 0 {
            notes.push(format!(
                "{} of fail2ban's bans were not taken over: limits.bans_max is reached",
                self.no_room
            ));
        }
        notes
    }
}

/// Makes what was taken over durable. The frames that could not be are given back, for the store's queue.
pub fn commit(changes: Vec<Change>, store: &mut dyn Store, now: Timestamp) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut rest = changes.into_iter().peekable();
    while rest.peek().is_some() {
        frames.push(Frame { at: now, changes: rest.by_ref().take(FRAME_CHANGES_MAX).collect() });
    }
    let mut done = 0;
    for frame in &mut frames {
        if let Err(why) = store.commit(std::slice::from_mut(frame)) {
            warn!("what was taken over from fail2ban is in force and not yet remembered: {why}");
            break;
        }
        done += 1;
    }
    frames.split_off(done)
}
