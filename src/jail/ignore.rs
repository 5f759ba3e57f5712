//! Whom no jail bans: `ignoreip` with its addresses, networks, names and files, and what is around this host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::addr::Net;

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

impl std::str::FromStr for IgnoreEntry {
    type Err = crate::addr::ParseError;

    /// An address, a network, a host name, or `file:/path`.
    ///
    /// # Errors
    /// What is none of these.
    fn from_str(text: &str) -> Result<IgnoreEntry, Self::Err> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() {
                Err(crate::addr::ParseError(text.to_owned()))
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
