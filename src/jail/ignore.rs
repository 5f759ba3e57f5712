//! Whom no jail bans: `ignoreip` with its addresses, networks, names and files, and what is around this host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::nets::NetSet;
use crate::addr::{Host, Net, ParseError};

/// One entry of `ignoreip`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IgnoreEntry {
    Net(Net),
    /// A name asked in the background; its last good answer is set from outside.
    Name(String),
    /// `file:PATH`, one or more entries a line; its content is set from outside.
    File(PathBuf),
}

/// Why something is never banned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Never {
    /// One of this host's addresses.
    Own,
    Loopback,
    Gateway,
    Resolver,
    TrustedProxy,
    /// An administrator is logged in from there right now.
    AdminSession,
}

impl std::fmt::Display for Never {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Never::Own => "this host's own address",
            Never::Loopback => "loopback",
            Never::Gateway => "the default gateway",
            Never::Resolver => "a resolver of this host",
            Never::TrustedProxy => "a trusted proxy",
            Never::AdminSession => "where an administrator is logged in from",
        })
    }
}

impl std::fmt::Display for IgnoreEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IgnoreEntry::Net(net) => net.fmt(f),
            IgnoreEntry::Name(name) => f.write_str(name),
            IgnoreEntry::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl std::str::FromStr for IgnoreEntry {
    type Err = ParseError;

    /// An address, a network, a host name, or `file:/path`.
    ///
    /// # Errors
    /// What is none of these.
    fn from_str(text: &str) -> Result<IgnoreEntry, Self::Err> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() {
                Err(ParseError(text.to_owned()))
            } else {
                Ok(IgnoreEntry::File(path.into()))
            };
        }
        match text.parse() {
            Ok(net) => Ok(IgnoreEntry::Net(net)),
            Err(_) if is_host_name(text) => Ok(IgnoreEntry::Name(text.to_ascii_lowercase())),
            Err(error) => Err(error),
        }
    }
}

/// Letters, digits, `-`, `_` and dots, with a letter in the last label: `192.0.2` and `10` are typing errors
/// and no names.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        && text.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}

/// Reads a `file:` list: entries apart by blanks or commas, `#` and `;` start a comment. The second list
/// holds what is no entry, with its line from 1.
pub fn read_list(text: &str) -> (Vec<IgnoreEntry>, Vec<(usize, String)>) {
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        for word in line.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()) {
            match word.parse() {
                // A list does not name further lists: they could go in circles.
                Ok(IgnoreEntry::File(_)) | Err(_) => wrong.push((index + 1, word.to_owned())),
                Ok(entry) => entries.push(entry),
            }
        }
    }
    (entries, wrong)
}

/// What names and files say now, and what is around this host: everything that is set from outside.
#[derive(Debug, Default)]
pub(super) struct Known {
    never: BTreeMap<Never, Vec<Net>>,
    names: BTreeMap<String, Vec<Host>>,
    files: BTreeMap<PathBuf, Vec<IgnoreEntry>>,
}

impl Known {
    pub fn set_never(&mut self, kind: Never, nets: Vec<Net>) {
        self.never.insert(kind, nets);
    }

    pub fn set_name(&mut self, name: &str, hosts: &[Host]) {
        self.names.insert(name.to_ascii_lowercase(), hosts.to_vec());
    }

    pub fn set_file(&mut self, path: &Path, entries: Vec<IgnoreEntry>) {
        self.files.insert(path.to_owned(), entries);
    }

    /// The networks that `entries` stand for. An unknown name or file stands for nothing yet.
    pub fn resolve(&self, entries: &[IgnoreEntry]) -> Vec<Net> {
        let mut nets = Vec::new();
        let (plain, _) = self.flat(entries);
        for entry in plain {
            match entry {
                IgnoreEntry::Net(net) => nets.push(*net),
                IgnoreEntry::Name(name) => {
                    nets.extend(self.names.get(name).into_iter().flatten().map(|host| Net::host(*host)));
                }
                IgnoreEntry::File(_) => {}
            }
        }
        nets
    }

    /// Names to be asked and files to be read, for `entries` and for what their files name.
    pub fn wanted(&self, entries: &[IgnoreEntry]) -> (Vec<String>, Vec<PathBuf>) {
        let (plain, files) = self.flat(entries);
        let names = plain.into_iter().filter_map(|entry| match entry {
            IgnoreEntry::Name(name) => Some(name.clone()),
            _ => None,
        });
        (names.collect(), files)
    }

    /// `entries` with the content of their files in place; a file inside a file is left out.
    fn flat<'a>(&'a self, entries: &'a [IgnoreEntry]) -> (Vec<&'a IgnoreEntry>, Vec<PathBuf>) {
        let (mut plain, mut files) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                IgnoreEntry::File(path) => {
                    files.push(path.clone());
                    plain.extend(self.files.get(path).into_iter().flatten());
                }
                entry => plain.push(entry),
            }
        }
        (plain, files)
    }

    /// Everything of `set_never`.
    pub fn never_nets(&self) -> impl Iterator<Item = Net> + '_ {
        self.never.values().flatten().copied()
    }

    /// Why all of `target` is never banned; loopback needs no telling.
    pub fn why_never(&self, target: Net) -> Option<Never> {
        if loopback().iter().any(|net| net.covers(target)) {
            return Some(Never::Loopback);
        }
        self.never.iter().find(|(_, nets)| nets.iter().any(|net| net.covers(target))).map(|(kind, _)| *kind)
    }

    /// Whether `host` is one of this host's own addresses.
    pub fn is_own(&self, host: Host) -> bool {
        loopback().iter().any(|net| net.contains(host))
            || self.never.get(&Never::Own).is_some_and(|nets| nets.iter().any(|net| net.contains(host)))
    }

    /// Loopback and everything of `set_never`, for a quick answer.
    pub fn never_set(&self) -> NetSet {
        NetSet::new(self.never_nets().chain(loopback()))
    }
}

/// 127.0.0.0/8 and ::1.
pub(super) fn loopback() -> [Net; 2] {
    let v4 = Host::new(std::net::Ipv4Addr::LOCALHOST.into());
    let v6 = Host::new(std::net::Ipv6Addr::LOCALHOST.into());
    [Net::of(v4, 8), Net::host(v6)]
}

/// Whether no peer can have an address of `net`: unspecified, multicast, broadcast.
pub(super) fn is_no_peer(net: Net) -> bool {
    let ip = net.base().ip();
    // A wide network (by force) may begin with 0.0.0.0 or hold multicast; only a target wholly inside counts.
    match ip {
        std::net::IpAddr::V4(v4) => {
            net.prefix() >= 4 && (v4.is_multicast() || v4.is_broadcast())
                || net.prefix() >= 8 && v4.octets()[0] == 0
        }
        std::net::IpAddr::V6(v6) => {
            net.prefix() >= 8 && v6.is_multicast() || net.prefix() == 128 && v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(texts: &[&str]) -> Vec<IgnoreEntry> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn entries_are_addresses_networks_names_and_files() {
        assert_eq!(
            entries(&["192.0.2.7", "2001:db8::/48", "Office.Example.org", "file:/etc/portero/allow.txt"]),
            [
                IgnoreEntry::Net("192.0.2.7".parse().unwrap()),
                IgnoreEntry::Net("2001:db8::/48".parse().unwrap()),
                IgnoreEntry::Name("office.example.org".into()),
                IgnoreEntry::File("/etc/portero/allow.txt".into()),
            ]
        );
        for text in ["", "192.0.2", "2", "192.0.2.256", "192.0.2.0/33", "a b", "file:", "-.", "exa mple.org"]
        {
            assert!(text.parse::<IgnoreEntry>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_list_has_comments_and_names_what_is_wrong() {
        let (good, wrong) =
            read_list("# office\n192.0.2.1, 192.0.2.2\t# both\r\n\nhome.example.org ; me\n10\nfile:/x\n");
        assert_eq!(good, entries(&["192.0.2.1", "192.0.2.2", "home.example.org"]));
        assert_eq!(wrong, [(5, "10".to_owned()), (6, "file:/x".to_owned())]);
    }

    #[test]
    fn names_and_files_stand_for_what_was_set_last() {
        let mut known = Known::default();
        let list = entries(&["192.0.2.7", "office.example.org", "file:/allow"]);
        assert_eq!(known.resolve(&list).len(), 1);
        known.set_name("Office.example.org", &["203.0.113.9".parse().unwrap()]);
        known.set_file(Path::new("/allow"), entries(&["198.51.100.0/24", "home.example.org"]));
        assert_eq!(known.resolve(&list).len(), 3);
        let (names, files) = known.wanted(&list);
        assert_eq!(names, ["office.example.org", "home.example.org"]);
        assert_eq!(files, [PathBuf::from("/allow")]);
        known.set_name("home.example.org", &["203.0.113.10".parse().unwrap()]);
        assert_eq!(known.resolve(&list).len(), 4);
    }

    #[test]
    fn what_is_never_banned_has_its_reason() {
        let mut known = Known::default();
        known.set_never(Never::Gateway, vec!["192.0.2.1".parse().unwrap()]);
        let why = |text: &str| known.why_never(text.parse().unwrap());
        assert_eq!(why("127.9.9.9"), Some(Never::Loopback));
        assert_eq!(why("::1"), Some(Never::Loopback));
        assert_eq!(why("192.0.2.1"), Some(Never::Gateway));
        assert_eq!(why("192.0.2.0/24"), None);
        assert_eq!(why("192.0.2.2"), None);
    }

    #[test]
    fn what_no_peer_can_have_is_known() {
        for (text, want) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("224.0.0.1", true),
            ("239.0.0.0/8", true),
            ("255.255.255.255", true),
            ("::", true),
            ("ff02::1", true),
            ("0.0.0.0/0", false),
            ("::/0", false),
            ("203.0.113.7", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_no_peer(text.parse().unwrap()), want, "{text}");
        }
    }
}
