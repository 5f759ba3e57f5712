//! fail2ban.conf: what the server itself is told, beside its jails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::Files;
use super::interpolate::Vars;
use super::note::{Kind, Note};
use super::section::Config;
use crate::config::report::ReportedError;

/// The options of fail2ban.conf, with fail2ban's own defaults where a file says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Main {
    /// `INFO`, `NOTICE` or a number, as written.
    pub log_level: String,
    /// A file, `STDOUT`, `STDERR`, `SYSOUT`, `SYSLOG` or `SYSTEMD-JOURNAL`, with its arguments in brackets.
    pub log_target: String,
    /// `auto` or a path.
    pub syslog_socket: String,
    /// Where fail2ban-client reaches the server.
    pub socket: PathBuf,
    pub pid_file: PathBuf,
    /// `auto`, `yes` or `no`.
    pub allow_ipv6: String,
    /// A path, `:memory:` or `None`; as written.
    pub db_file: String,
    /// Bans older than this are forgotten.
    pub db_purge_age: Duration,
    /// The same as written.
    pub db_purge_age_text: String,
    /// Matched lines kept for each ban in the database.
    pub db_max_matches: u32,
}

impl Default for Main {
    fn default() -> Main {
        Main {
            log_level: "INFO".to_owned(),
            log_target: "STDERR".to_owned(),
            syslog_socket: "auto".to_owned(),
            socket: "/var/run/fail2ban/fail2ban.sock".into(),
            pid_file: "/var/run/fail2ban/fail2ban.pid".into(),
            allow_ipv6: "auto".to_owned(),
            db_file: "/var/lib/fail2ban/fail2ban.sqlite3".to_owned(),
            db_purge_age: Duration::from_secs(86_400),
            db_purge_age_text: "1d".to_owned(),
            db_max_matches: 10,
        }
    }
}

impl Main {
    /// Reads `fail2ban.conf`, `fail2ban.d/*.conf`, `fail2ban.local` and `fail2ban.d/*.local` in `folder`. The options
    /// may stand in `[Definition]` or in `[DEFAULT]`. What is no number or duration is told in `notes` and its
    /// default taken.
    ///
    /// # Errors
    /// A file that fail2ban cannot parse.
    pub fn read(folder: &Path, notes: &mut Vec<Note>) -> Result<Main, ReportedError> {
        let label = folder.join("fail2ban.conf").display().to_string();
        let Some(config) = Files::new(folder).read("fail2ban")? else { return Ok(Main::default()) };
        let mut read = Reader { config: &config, label: &label, notes };
        let mut main = Main::default();
        read.text("loglevel", &mut main.log_level);
        read.text("logtarget", &mut main.log_target);
        read.text("syslogsocket", &mut main.syslog_socket);
        read.text("allowipv6", &mut main.allow_ipv6);
        read.text("dbfile", &mut main.db_file);
        for (option, path) in [("socket", &mut main.socket), ("pidfile", &mut main.pid_file)] {
            let mut text = String::new();
            read.text(option, &mut text);
            if !text.is_empty() {
                *path = text.into();
            }
        }
        let age = |text: &str| {
            super::time::seconds(text)
                .filter(|seconds| *seconds >= 0.0)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        };
        let said = |text: &str| age(text).map(|age| (age, text.trim().to_owned()));
        let mut purge = (main.db_purge_age, main.db_purge_age_text);
        read.value("dbpurgeage", "a duration", said, &mut purge);
        (main.db_purge_age, main.db_purge_age_text) = purge;
        let count = |text: &str| text.trim().parse().ok();
        read.value("dbmaxmatches", "a whole number", count, &mut main.db_max_matches);
        Ok(main)
    }

    /// The file that lines are logged to; `None` where they go elsewhere.
    pub fn log_file(&self) -> Option<&Path> {
        let target = self.log_target.trim();
        let path = target.split_once('[').map_or(target, |(path, _)| path.trim_end());
        path.starts_with('/').then(|| Path::new(path))
    }

    /// The database's file; `None` where it is kept nowhere or in memory only.
    pub fn db_path(&self) -> Option<&Path> {
        let file = self.db_file.as_str();
        let nowhere = file.is_empty() || file == ":memory:" || file.eq_ignore_ascii_case("none");
        (!nowhere).then(|| Path::new(file))
    }
}

struct Reader<'a> {
    config: &'a Config,
    label: &'a str,
    notes: &'a mut Vec<Note>,
}

impl Reader<'_> {
    fn note(&mut self, option: &str, message: String) {
        let error = match self.config.raw("Definition", option) {
            Some(value) => value.at.error(message),
            None => ReportedError::of_file(self.label, message),
        };
        self.notes.push(Note { kind: Kind::Loss, jail: None, error });
    }

    fn get(&mut self, option: &str) -> Option<String> {
        match self.config.get("Definition", option, &Vars::new()) {
            Ok(text) => text.filter(|text| !text.trim().is_empty()),
            Err(why) => {
                self.note(option, format!("{option}: {why}"));
                None
            }
        }
    }

    fn text(&mut self, option: &str, into: &mut String) {
        if let Some(text) = self.get(option) {
            text.trim().clone_into(into);
        }
    }

    fn value<T>(&mut self, option: &str, wanted: &str, read: impl Fn(&str) -> Option<T>, into: &mut T) {
        let Some(text) = self.get(option) else { return };
        match read(&text) {
            Some(value) => *into = value,
            None => self.note(option, format!("{option} \"{}\" is not {wanted}", text.trim())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> (Main, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("within the folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let mut notes = Vec::new();
        let main = Main::read(folder.path(), &mut notes).expect("parses");
        (main, notes.iter().map(|note| note.error.message.clone()).collect())
    }

    #[test]
    fn later_files_win_and_the_default_section_counts() {
        let (main, notes) = read(&[
            ("fail2ban.conf", "[DEFAULT]\nloglevel = INFO\ndbpurgeage = 1d\ndbfile = None\n[Definition]\n"),
            ("fail2ban.d/a.conf", "[Definition]\nloglevel = NOTICE\nsocket = /run/x.sock\n"),
            ("fail2ban.local", "[Definition]\nloglevel = DEBUG\ndbpurgeage = 2w\n"),
            ("fail2ban.d/z.local", "[DEFAULT]\nlogtarget = /var/log/%(loglevel)s.log\n"),
        ]);
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(main.log_level, "DEBUG");
        assert_eq!(main.log_target, "/var/log/DEBUG.log");
        assert_eq!(main.socket, PathBuf::from("/run/x.sock"));
        assert_eq!(main.db_purge_age, Duration::from_secs(14 * 86_400));
        assert_eq!((main.db_path(), main.db_max_matches), (None, 10));
    }

    #[test]
    fn what_is_no_number_is_told_and_its_default_holds() {
        let (main, notes) = read(&[("fail2ban.conf", "[Definition]\ndbpurgeage = soon\ndbmaxmatches = x\n")]);
        assert_eq!(main, Main::default());
        assert_eq!(
            notes,
            ["dbpurgeage \"soon\" is not a duration", "dbmaxmatches \"x\" is not a whole number"]
        );
        assert_eq!(read(&[]).0, Main::default());
    }
}
