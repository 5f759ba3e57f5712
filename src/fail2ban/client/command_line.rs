//! The command line of `fail2ban-client`: options in getopt's manner, then the words of a command.

use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for, options apart from the command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommandLine {
    /// `-c`; fail2ban's folder.
    pub conf: Option<PathBuf>,
    /// `-s`.
    pub socket: Option<PathBuf>,
    /// `-d`, and `--dp`.
    pub dump: bool,
    pub dump_pretty: bool,
    /// `-t`.
    pub test: bool,
    /// `-i`.
    pub interactive: bool,
    /// `-f`.
    pub foreground: bool,
    /// `--timeout`, in seconds.
    pub timeout: Option<f64>,
    /// The first of those that answer at once.
    pub at_once: Option<AtOnce>,
    pub words: Vec<String>,
}

/// Options that are a command of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtOnce {
    Help,
    /// `-V`: the number alone.
    VersionNumber,
    /// `--version`.
    Version,
    /// `--str2sec`.
    Seconds(String),
}

/// Long options with a value.
const VALUED: &[&str] =
    &["loglevel", "logtarget", "syslogsocket", "conf", "pidfile", "pname", "socket", "timeout", "str2sec"];
/// Long options without one.
const PLAIN: &[&str] = &["test", "async", "help", "version", "dp", "dump-pretty"];

/// Reads the arguments after the program's name. `None`: they make no sense, and the usage is due.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Option<CommandLine> {
    let mut line = CommandLine::default();
    let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        if arg == "--" {
            line.words.extend(args);
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (full_name(name)?, Some(value.to_owned())),
                None => (full_name(long)?, None),
            };
            match (VALUED.contains(&name), value) {
                (true, None) => line.take(name, args.next()?)?,
                (true, Some(value)) => line.take(name, value)?,
                (false, None) => line.take(name, String::new())?,
                (false, Some(_)) => return None,
            }
        } else if arg.len() > 1 && arg.starts_with('-') {
            for (at, letter) in arg.char_indices().skip(1) {
                if let 'c' | 's' | 'p' = letter {
                    let rest = &arg[at + 1..];
                    let value = if rest.is_empty() { args.next()? } else { rest.to_owned() };
                    line.take(
                        match letter {
                            'c' => "conf",
                            's' => "socket",
                            _ => "pidfile",
                        },
                        value,
                    )?;
                    break;
                }
                line.letter(letter)?;
            }
        } else {
            // The first word ends the options: a command may have some of its own.
            line.words.push(arg);
            line.words.extend(args);
            break;
        }
    }
    Some(line)
}

/// A long option may be cut as long as it stays the only one.
fn full_name(name: &str) -> Option<&'static str> {
    let all = || VALUED.iter().chain(PLAIN).copied();
    if let Some(exact) = all().find(|known| *known == name) {
        return Some(exact);
    }
    let mut fitting = all().filter(|known| known.starts_with(name));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

impl CommandLine {
    fn letter(&mut self, letter: char) -> Option<()> {
        match letter {
            'h' => self.now(AtOnce::Help),
            'V' => self.now(AtOnce::VersionNumber),
            'd' => self.dump = true,
            't' => self.test = true,
            'i' => self.interactive = true,
            'f' => self.foreground = true,
            'b' => self.foreground = false,
            // How much the client says beside the answer, and starting over a leftover socket: portero looks
            // whether somebody answers there.
            'v' | 'q' | 'x' => {}
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, name: &str, value: String) -> Option<()> {
        match name {
            "conf" => self.conf = Some(value.into()),
            "socket" => self.socket = Some(value.into()),
            "test" => self.test = true,
            "dp" | "dump-pretty" => self.dump_pretty = true,
            "help" => self.now(AtOnce::Help),
            "version" => self.now(AtOnce::Version),
            "str2sec" => self.now(AtOnce::Seconds(value)),
            "timeout" => self.timeout = Some(crate::fail2ban::time::seconds(&value)?),
            // Where portero logs, and as whom it runs, is the service's to say.
            _ => {}
        }
        Some(())
    }

    fn now(&mut self, what: AtOnce) {
        self.at_once.get_or_insert(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<CommandLine> {
        read(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_stand_before_the_command_in_every_spelling() {
        let line = of("-vvc /etc/f2b --socket=/run/s -s/run/t -q --loglevel DEBUG status sshd").unwrap();
        assert_eq!(line.conf, Some("/etc/f2b".into()));
        assert_eq!(line.socket, Some("/run/t".into()));
        assert_eq!(line.words, ["status", "sshd"]);
        let line = of("set sshd unbanip --report-absent 192.0.2.7 -v").unwrap();
        assert_eq!(line.words.len(), 6);
        assert_eq!(of("-V").unwrap().at_once, Some(AtOnce::VersionNumber));
        assert_eq!(of("--vers").unwrap().at_once, Some(AtOnce::Version));
        assert_eq!(of("--str2sec 1h").unwrap().at_once, Some(AtOnce::Seconds("1h".into())));
        assert!(of("-d").unwrap().dump);
        assert!(of("--dp").unwrap().dump_pretty);
    }

    #[test]
    fn what_getopt_refuses_is_refused() {
        for wrong in ["-z", "--nonsense", "-c", "--socket", "--test=1", "--sy=", "--lo x", "--timeout soon"] {
            assert!(of(wrong).is_none() || wrong == "--sy=", "{wrong}");
        }
    }
}
