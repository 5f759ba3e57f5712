//! fail2ban's database (`dbfile`, an SQLite file): active bans, how often each target was banned, and how far each
//! log was read. Read once, wholly, under SQLite's own lock, so that a fail2ban that still runs is not disturbed and
//! never seen half way through a change. Nothing is written.
//!
//! Source: the tables as fail2ban 0.10 to 1.1 make them (version 4), looked at in databases it wrote.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use crate::text::io_reason;
use crate::time::{Span, Timestamp};

/// The version of the tables that is understood.
const VERSION: i64 = 4;

/// How long a fail2ban that is just writing is waited for.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Logs read; each jail has its own entry for each log. Rows.
const LOGS_MAX: usize = 20_000;

/// Lines kept of one ban, the latest. fail2ban keeps ten (`dbmaxmatches`).
const LINES_OF_BAN_MAX: usize = 10;

/// Lines kept over all bans, those of the latest bans first. Bytes.
const LINES_BYTES_MAX: usize = 16 << 20;

/// A row's `data` beyond this is not looked into. Bytes.
const DATA_BYTES_MAX: usize = 1 << 20;

/// What was in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub path: PathBuf,
    /// Bans that were active at the time asked about, the latest first.
    pub bans: Vec<DatabaseBan>,
    /// How often each target was banned in each jail, active or not.
    pub pasts: Vec<DatabasePast>,
    pub logs: Vec<DatabaseLog>,
    /// Active bans beyond the number asked for.
    pub bans_left_out: u64,
}

/// One active ban (a row of `bips`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseBan {
    pub jail: String,
    /// What was banned: an address, a network, or any text (`<F-ID>`).
    pub id: String,
    pub since: Timestamp,
    /// `None`: not known, as for bans that an older fail2ban wrote; fail2ban gives them the jail's bantime.
    pub length: Option<Span>,
    /// The how-manieth ban it is, from 1.
    pub count: u32,
    pub failures: u32,
    /// The lines that led to it, as far as fail2ban kept them.
    pub lines: Vec<String>,
}

/// A target's bans so far in one jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePast {
    pub jail: String,
    pub id: String,
    pub count: u32,
    /// When the last one ended or will; `None`: never.
    pub last_end: Option<Timestamp>,
}

/// How far a jail has read a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLog {
    pub jail: String,
    pub path: PathBuf,
    /// Hexadecimal digest of the file's first line with its line end: MD5, or SHA-1 where Python had that only.
    pub first_line: String,
    pub offset: u64,
}

/// Why a database cannot be taken over. Each says the way out.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(
        "cannot read fail2ban's database {}: {why}; dbfile in fail2ban.conf names it; without --fail2ban-db portero \
         starts with no bans of fail2ban's", path.display()
    )]
    Unreadable { path: PathBuf, why: String },
    #[error(
        "fail2ban's database {} stays locked by another program; stop fail2ban (its bans are kept in there), then \
         start portero again", path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "{} is no fail2ban database, or damaged: {why}; fail2ban mends it when it starts, or name an earlier copy \
         ({}.DATE)", path.display(), path.display()
    )]
    Damaged { path: PathBuf, why: String },
    #[error(
        "fail2ban's database {} is of version {found}, and portero reads version {VERSION} (fail2ban 0.10 and later); \
         {}", path.display(), version_help(*found)
    )]
    Version { path: PathBuf, found: i64 },
}

fn version_help(found: i64) -> &'static str {
    if found < VERSION {
        "start a present fail2ban with it once, which brings it up to date"
    } else {
        "this portero is too old for it; without --fail2ban-db it starts with no bans of fail2ban's"
    }
}

impl Database {
    /// Reads all that can be taken over: bans that are active at `now`, at most `bans_max`; pasts, at most
    /// `pasts_max`.
    ///
    /// # Errors
    /// See [`DatabaseError`]; the file is then as it was.
    pub fn read(
        path: &Path,
        now: Timestamp,
        bans_max: usize,
        pasts_max: usize,
    ) -> Result<Database, DatabaseError> {
        let unreadable = |why: String| DatabaseError::Unreadable { path: path.to_owned(), why };
        // SQLite itself says no more than "unable to open database file".
        let meta = std::fs::File::open(path).and_then(|file| file.metadata());
        match meta {
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                let help = "permission denied; copy it to where portero's user may read it, as into /var/lib/portero";
                return Err(unreadable(help.to_owned()));
            }
            Err(why) => return Err(unreadable(io_reason(&why))),
            Ok(meta) if !meta.is_file() => return Err(unreadable("not a file".to_owned())),
            Ok(meta) if meta.len() == 0 => return Err(unreadable("it is empty".to_owned())),
            Ok(_) => {}
        }
        read_all(path, now, bans_max, pasts_max).map_err(|failed| match failed {
            Failed::Version(found) => DatabaseError::Version { path: path.to_owned(), found },
            Failed::Sql(why) => match why.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    DatabaseError::Locked { path: path.to_owned() }
                }
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => {
                    unreadable(why.to_string())
                }
                _ => DatabaseError::Damaged { path: path.to_owned(), why: why.to_string() },
            },
        })
    }
}

enum Failed {
    Version(i64),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(why: rusqlite::Error) -> Failed {
        Failed::Sql(why)
    }
}

fn read_all(path: &Path, now: Timestamp, bans_max: usize, pasts_max: usize) -> Result<Database, Failed> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    // A file that somebody prepared runs nothing, and a damaged page is noticed.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // One transaction: one state of all tables.
    let reading = connection.transaction()?;
    let version = reading.query_row("SELECT version FROM fail2banDb LIMIT 1", [], |row| integer(row, 0))?;
    if version != VERSION {
        return Err(Failed::Version(version));
    }
    let (bans, bans_left_out) = bans(&reading, now, bans_max)?;
    let pasts = pasts(&reading, pasts_max)?;
    let logs = logs(&reading)?;
    Ok(Database { path: path.to_owned(), bans, pasts, logs, bans_left_out })
}

fn bans(reading: &Connection, now: Timestamp, max: usize) -> rusqlite::Result<(Vec<DatabaseBan>, u64)> {
    let mut statement = reading.prepare(
        "SELECT jail, ip, timeofban, bantime, bancount, data FROM bips \
         WHERE bantime < 0 OR timeofban + bantime > ?1 ORDER BY timeofban DESC, rowid DESC",
    )?;
    let mut rows = statement.query([now.secs()])?;
    let (mut bans, mut left_out) = (Vec::new(), 0);
    let mut budget = LINES_BYTES_MAX;
    // A table that was tampered with may hold a target twice.
    let mut known = HashSet::new();
    while let Some(row) = rows.next()? {
        let (jail, id) = (text(row, 0)?, text(row, 1)?);
        if !known.insert((jail.clone(), id.clone())) {
            continue;
        }
        if bans.len() >= max {
            left_out += 1;
            continue;
        }
        let length = match integer(row, 3)? {
            -2 => None,
            forever if forever < 0 => Some(Span::Forever),
            secs => Some(Span::For(Duration::from_secs(secs.unsigned_abs()))),
        };
        let (failures, lines) = details(&bytes(row, 5)?, &mut budget);
        bans.push(DatabaseBan {
            jail,
            id,
            since: Timestamp::from_secs(integer(row, 2)?),
            length,
            count: number(integer(row, 4)?).max(1),
            failures,
            lines,
        });
    }
    Ok((bans, left_out))
}

/// Failures and lines out of a ban's `data`: an object with `failures` and `matches`, each match a line or its
/// three parts around the date. What is not so is left out.
fn details(data: &[u8], budget: &mut usize) -> (u32, Vec<String>) {
    if data.len() > DATA_BYTES_MAX {
        return (0, Vec::new());
    }
    let data: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    let failures = number(data["failures"].as_i64().unwrap_or(0));
    let mut lines = Vec::new();
    let matches = data["matches"].as_array().map_or(&[][..], Vec::as_slice);
    for item in &matches[matches.len().saturating_sub(LINES_OF_BAN_MAX)..] {
        let parts = item.as_array().map(|parts| parts.iter().filter_map(|part| part.as_str()).collect());
        let Some(line) = parts.or_else(|| item.as_str().map(str::to_owned)) else { continue };
        let Some(left) = budget.checked_sub(line.len()) else { break };
        *budget = left;
        lines.push(line);
    }
    (failures, lines)
}

fn pasts(reading: &Connection, max: usize) -> rusqlite::Result<Vec<DatabasePast>> {
    // `bips` counts the bans of one that keeps coming back where bantimes grow; `bans` has a row for each ban.
    let mut statement = reading.prepare(
        "SELECT jail, ip, max(bancount), sum(one), max(ends), max(forever) FROM ( \
           SELECT jail, ip, bancount, 0 AS one, timeofban + bantime AS ends, bantime < 0 AS forever FROM bips \
           UNION ALL SELECT jail, ip, bancount, 1, timeofban + bantime, bantime < 0 FROM bans \
         ) WHERE ip IS NOT NULL GROUP BY jail, ip ORDER BY max(max(bancount), sum(one)) DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(max).unwrap_or(i64::MAX)])?;
    let mut pasts = Vec::new();
    while let Some(row) = rows.next()? {
        let end = Timestamp::from_secs(integer(row, 4)?);
        pasts.push(DatabasePast {
            jail: text(row, 0)?,
            id: text(row, 1)?,
            count: number(integer(row, 2)?.max(integer(row, 3)?)).max(1),
            last_end: (integer(row, 5)? == 0).then_some(end),
        });
    }
    Ok(pasts)
}

fn logs(reading: &Connection) -> rusqlite::Result<Vec<DatabaseLog>> {
    // Not the journal's entries: their position is a time.
    let mut statement = reading
        .prepare("SELECT jail, path, firstlinemd5, lastfilepos FROM logs WHERE path LIKE '/%' LIMIT ?1")?;
    let mut rows = statement.query([LOGS_MAX as i64])?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next()? {
        logs.push(DatabaseLog {
            jail: text(row, 0)?,
            path: path_of(bytes(row, 1)?),
            first_line: text(row, 2)?,
            offset: u64::try_from(integer(row, 3)?).unwrap_or(0),
        });
    }
    Ok(logs)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// A column as bytes; SQLite lets any column hold any type.
fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        ValueRef::Integer(value) => value.to_string().into_bytes(),
        ValueRef::Real(_) | ValueRef::Null => Vec::new(),
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(row, column)?).into_owned())
}

/// A column as a whole number: grown bantimes may have a fraction.
fn integer(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(value) => value,
        ValueRef::Real(value) => value as i64,
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).trim().parse().unwrap_or(0),
        ValueRef::Blob(_) | ValueRef::Null => 0,
    })
}

fn number(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_313_000;

    /// A database as fail2ban makes it, with `rows` in it.
    fn written(rows: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fail2ban.sqlite3");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE fail2banDb(version INTEGER); INSERT INTO fail2banDb VALUES(4);
                 CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL DEFAULT 1);
                 CREATE TABLE logs(jail TEXT NOT NULL, path TEXT, firstlinemd5 TEXT, lastfilepos INTEGER DEFAULT 0);
                 CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER NOT NULL,
                   bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON);
                 CREATE TABLE bips(ip TEXT NOT NULL, jail TEXT NOT NULL, timeofban INTEGER NOT NULL,
                   bantime INTEGER NOT NULL, bancount INTEGER NOT NULL default 1, data JSON, PRIMARY KEY(ip, jail));",
            )
            .unwrap();
        connection.execute_batch(rows).unwrap();
        (folder, path)
    }

    fn read(rows: &str) -> Database {
        let (_folder, path) = written(rows);
        Database::read(&path, Timestamp::from_secs(NOW), 3, 100).unwrap()
    }

    fn ids(database: &Database) -> Vec<&str> {
        database.bans.iter().map(|ban| ban.id.as_str()).collect()
    }

    #[test]
    fn active_bans_come_with_their_length_count_and_lines() {
        let database = read(&format!(
            r#"INSERT INTO bips VALUES
            ('203.0.113.1', 'a', {NOW} - 599, 600, 1, '{{"matches": [["", "Nov 22", " one"], "two"], "failures": 3}}'),
            ('203.0.113.2', 'a', {NOW} - 600, 600, 1, '{{}}'),
            ('2001:db8::7', 'a', {NOW} - 9999, -1, 4, 'nonsense'),
            ('203.0.113.3', 'b', {NOW} - 9999, -2, 0, NULL)"#
        ));
        assert_eq!(ids(&database), ["203.0.113.1", "203.0.113.3", "2001:db8::7"]);
        let [first, unknown, forever] = &database.bans[..] else { panic!() };
        assert_eq!((first.failures, &first.lines[..]), (3, &["Nov 22 one".to_owned(), "two".to_owned()][..]));
        assert_eq!(first.length, Some(Span::For(Duration::from_secs(600))));
        assert_eq!((unknown.length, unknown.count), (None, 1));
        assert_eq!((forever.length, forever.count), (Some(Span::Forever), 4));
    }

    #[test]
    fn the_latest_bans_come_first_and_those_beyond_the_cap_are_counted() {
        let rows: Vec<String> =
            (0..5).map(|n| format!("('203.0.113.{n}', 'a', {NOW} - {n}, 600, 1, '')")).collect();
        let database = read(&format!("INSERT INTO bips VALUES {}", rows.join(",")));
        assert_eq!(ids(&database), ["203.0.113.0", "203.0.113.1", "203.0.113.2"]);
        assert_eq!(database.bans_left_out, 2);
    }

    #[test]
    fn earlier_bans_count_by_their_rows_or_by_the_highest_count() {
        let mut pasts = read(&format!(
            "INSERT INTO bans VALUES ('a', '203.0.113.1', {NOW} - 900, 60, 1, ''),
               ('a', '203.0.113.1', {NOW} - 800, 60, 1, ''), ('a', '203.0.113.2', {NOW} - 700, -1, 1, '');
             INSERT INTO bips VALUES ('203.0.113.1', 'a', {NOW} - 800, 60, 1, ''),
               ('203.0.113.3', 'a', {NOW} - 50, 60, 7, '')"
        ))
        .pasts;
        pasts.sort_by(|a, b| a.id.cmp(&b.id));
        let seen: Vec<_> =
            pasts.iter().map(|past| (past.count, past.last_end.map(|end| end.secs() - NOW))).collect();
        assert_eq!(seen, [(2, Some(-740)), (1, None), (7, Some(10))]);
    }

    #[test]
    fn logs_are_files_and_no_journals() {
        let database = read(
            "INSERT INTO logs VALUES ('a', '/var/log/mail.log', 'abc', 42),
               ('a', 'systemd-journal', '2026-11-22', 1795313000.5)",
        );
        assert_eq!(database.logs.len(), 1);
        assert_eq!((database.logs[0].offset, database.logs[0].first_line.as_str()), (42, "abc"));
    }

    #[test]
    fn what_is_no_database_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| {
            Database::read(path, Timestamp::from_secs(NOW), 9, 9).expect_err("refused").to_string()
        };
        let missing = folder.path().join("none");
        assert!(refused(&missing).contains("no such file; dbfile in fail2ban.conf"), "{}", refused(&missing));
        assert!(refused(folder.path()).contains("not a file"));
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, "no database at all, but long enough to be looked at".repeat(40)).unwrap();
        assert!(refused(&garbage).contains("damaged"), "{}", refused(&garbage));

        let (_folder, path) = written("UPDATE fail2banDb SET version = 2");
        assert!(refused(&path).contains("version 2"), "{}", refused(&path));
        let (_folder, path) = written("DROP TABLE bips");
        assert!(refused(&path).contains("no such table"), "{}", refused(&path));
        let (_folder, path) = written("");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(5000);
        std::fs::write(&path, bytes).unwrap();
        assert!(refused(&path).contains("damaged"), "{}", refused(&path));
    }

    #[test]
    fn a_locked_database_is_named_and_not_read_half() {
        let (_folder, path) = written("");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let refused = Database::read(&path, Timestamp::from_secs(NOW), 9, 9).expect_err("locked");
        assert!(matches!(refused, DatabaseError::Locked { .. }), "{refused}");
        writer.execute_batch("COMMIT").unwrap();
        assert!(Database::read(&path, Timestamp::from_secs(NOW), 9, 9).is_ok());
    }
}
