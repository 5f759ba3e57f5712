//! Files as typed: which there are, which wins, and that every key is known.
//!
//! A jail is a base (the admin's jails/NAME.toml, else the shipped one; or a table of portero.toml that names
//! a filter) with overlays on top (jails/NAME.d/*.toml, a table of portero.toml that names none).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::report::{ReportedError, SourceText};
use super::value::{Entries, Key, Value, parse};
use crate::shipped;
use crate::text::io_reason;

/// A configuration file beyond this is none. Bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The keys of portero.toml.
pub(super) const GLOBAL_KEYS: &[&str] = &[
    "state_dir",
    "socket",
    "socket_mode",
    "socket_group",
    "helpdesk_group",
    "fail2ban_socket",
    "fail2ban_socket_group",
    "firewall",
    "table_owner",
    "ignoreip",
    "trusted_proxies",
    "timezone",
    "history",
    "evidence",
    "fail2ban_log",
    "shadow_log",
    "enable",
    "limits",
    "defaults",
    "jails",
];

/// The keys of a jail, also of `[defaults]`.
pub(super) const JAIL_KEYS: &[&str] = &[
    "description",
    "enabled",
    "filter",
    "logpath",
    "backend",
    "port",
    "protocol",
    "maxretry",
    "findtime",
    "bantime",
    "bantime_increment",
    "key",
    "ipv4_prefix",
    "ipv6_prefix",
    "timezone",
    "action",
    "hook",
    "run",
    "ignoreip",
    "ignoreself",
    "ignorecommand",
    "ignorecache",
];

/// One jail's keys after all layers, each with the place it was last set at.
pub(super) type Fields = BTreeMap<String, (Key, Value)>;

/// Where files are looked for.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The folder of portero.toml.
    pub admin: PathBuf,
    /// The shipped ones on disk; before the built-in ones, so that they can be updated without the binary.
    pub shipped: PathBuf,
}

/// One jail as its files say it.
pub(super) struct RawJail {
    /// [`Fields`] of the base and all overlays, without `[defaults]`.
    pub fields: Fields,
    /// The base's file.
    pub file: String,
    pub shipped: bool,
    /// `enabled` as the admin says it: in a file or table of their own.
    pub switched: Option<Value>,
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<SourceText>, ReportedError> {
    let label = path.display().to_string();
    let failed = |error: std::io::Error| {
        ReportedError::of_file(&label, format!("cannot be read: {}", io_reason(&error)))
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.is_file() => {
            return Err(ReportedError::of_file(&label, "cannot be read: not a file"));
        }
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(ReportedError::of_file(&label, format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(failed)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(SourceText::new(label, text))),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let message = "not UTF-8; save the file as UTF-8";
            Err(SourceText::new(label, text).error(good..good + 3, message))
        }
    }
}

/// The names `NAME` of `folder`'s files `NAME.toml` and, with `overlays`, of its folders `NAME.d`.
pub(super) fn names_in(folder: &Path, overlays: bool) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            let stem = name.strip_suffix(".toml").or_else(|| name.strip_suffix(".d").filter(|_| overlays))?;
            (!stem.is_empty() && !stem.starts_with('.')).then(|| stem.to_owned())
        })
        .collect()
}

/// The base file of `kind` (`jails`, `filters`) called `name`; the flag says that it is a shipped one.
pub(super) fn base_of(
    places: &Places,
    kind: &str,
    name: &str,
) -> Result<Option<(SourceText, bool)>, ReportedError> {
    let file = format!("{name}.toml");
    if let Some(source) = read(&places.admin.join(kind).join(&file))? {
        return Ok(Some((source, false)));
    }
    if let Some(source) = read(&places.shipped.join(kind).join(&file))? {
        return Ok(Some((source, true)));
    }
    let list = if kind == "jails" { shipped::JAILS } else { shipped::FILTERS };
    let built_in = shipped::text_of(list, name);
    Ok(built_in.map(|text| (SourceText::new(format!("built-in:{kind}/{file}"), text), true)))
}

/// The admin's overlays of `name`: `KIND/NAME.d/*.toml`, by name.
pub(super) fn overlays_of(places: &Places, kind: &str, name: &str) -> Result<Vec<SourceText>, ReportedError> {
    let folder = places.admin.join(kind).join(format!("{name}.d"));
    names_in(&folder, false)
        .into_iter()
        .filter_map(|file| read(&folder.join(format!("{file}.toml"))).transpose())
        .collect()
}

/// Every jail that a file or a table of portero.toml names.
pub(super) fn jail_names(places: &Places, tables: &[(Key, Value)]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = shipped::JAILS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(names_in(&places.shipped.join("jails"), false));
    names.extend(names_in(&places.admin.join("jails"), true));
    names.extend(tables.iter().map(|(key, _)| key.name.clone()));
    names
}

/// Puts one jail's layers on top of each other. `table`: its table in portero.toml.
///
/// # Errors
/// All unknown keys and unreadable files of it.
pub(super) fn jail(
    places: &Places,
    name: &str,
    table: Option<&(Key, Value)>,
) -> Result<RawJail, Vec<ReportedError>> {
    let mut errors = Vec::new();
    let one = |error: ReportedError| vec![error];
    let entries_of = |value: &Value| value.table(&format!("jails.{name}")).cloned();
    let table = table.map(|(key, value)| entries_of(value).map(|entries| (key, entries)));
    let table = table.transpose().map_err(one)?;
    let defines =
        table.as_ref().is_some_and(|(_, entries)| entries.iter().any(|(key, _)| key.name == "filter"));

    let mut raw = RawJail { fields: Fields::new(), file: String::new(), shipped: false, switched: None };
    let mut add = |raw: &mut RawJail, entries: Entries, admins: bool| {
        for (key, value) in entries {
            if !JAIL_KEYS.contains(&key.name.as_str()) {
                errors.push(key.unknown("a jail", JAIL_KEYS));
                continue;
            }
            if admins && key.name == "enabled" {
                raw.switched = Some(value.clone());
            }
            raw.fields.insert(key.name.clone(), (key, value));
        }
    };
    if !defines {
        match base_of(places, "jails", name).map_err(one)? {
            Some((source, shipped)) => {
                raw.file = source.label().to_owned();
                raw.shipped = shipped;
                add(&mut raw, parse(&source).map_err(one)?, !shipped);
            }
            None => raw.file = places.admin.join("jails").join(format!("{name}.toml")).display().to_string(),
        }
    }
    for source in overlays_of(places, "jails", name).map_err(one)? {
        add(&mut raw, parse(&source).map_err(one)?, true);
    }
    if let Some((key, entries)) = table {
        if defines {
            raw.file = key.source.label().to_owned();
        }
        add(&mut raw, entries, true);
    }
    if errors.is_empty() { Ok(raw) } else { Err(errors) }
}
