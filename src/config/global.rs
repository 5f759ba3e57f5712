//! portero.toml, and from there everything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::jail::{Reader, Surroundings, ignore_list, resolve};
use super::raw::{self, Fields, GLOBAL_KEYS, JAIL_KEYS, Places};
use super::report::{ReportedError, SourceText};
use super::value::{Entries, Key, Value, parse};
use super::{
    Config, DEFAULT_PATH, DEFAULT_SOCKET, Fail2banLog, Fatal, JailConfig, Loaded, Problem, SHIPPED_DIR, zone,
};
use crate::addr::Net;
use crate::control::server::SocketSettings;
use crate::firewall::TableOwner;
use crate::jail::JailName;
use crate::limits::Limits;
use crate::text::suggest;
use crate::time::system_zone;

const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// Loads `path`: portero.toml with `jails/` and `filters/` beside it, or a folder that holds them. A folder
    /// need not hold a portero.toml; a file must exist.
    ///
    /// # Errors
    /// portero.toml is absent or bad. Bad jails are no error: [`Loaded::problems`] names them.
    pub fn load(path: &Path) -> Result<Loaded, Fatal> {
        Config::load_with(path, Path::new(SHIPPED_DIR))
    }

    /// The same, with another folder of shipped jails and filters.
    pub fn load_with(path: &Path, shipped: &Path) -> Result<Loaded, Fatal> {
        let is_folder = path.is_dir();
        let file = if is_folder { path.join("portero.toml") } else { path.to_owned() };
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let source = match raw::read(&file)? {
            Some(source) => source,
            None if is_folder => SourceText::new(file.display().to_string(), ""),
            None => {
                let message = "no such file; packaging/install puts one there, or name another with --config";
                return Err(ReportedError::of_file(file.display().to_string(), message).into());
            }
        };
        load_source(&source, &Places { admin: folder, shipped: shipped.to_owned() })
    }

    /// As an empty portero.toml at `path` would be.
    pub(super) fn without_file(path: &Path) -> Result<Loaded, Fatal> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let source = SourceText::new(path.display().to_string(), "");
        load_source(&source, &Places { admin: folder, shipped: SHIPPED_DIR.into() })
    }
}

impl Loaded {
    /// A daemon needs at least one good jail that is switched on.
    ///
    /// # Errors
    /// There is none: all problems, or what to write where nothing is enabled.
    pub fn require_jails(self) -> Result<Loaded, Fatal> {
        if self.config.enabled().next().is_some() {
            return Ok(self);
        }
        let mut errors: Vec<ReportedError> = self.problems.into_iter().map(|problem| problem.error).collect();
        let names: Vec<&str> = self.config.jails.iter().map(|jail| jail.settings.name.as_str()).collect();
        let message = if errors.is_empty() {
            format!(
                "no jail is switched on; write enable = [\"NAME\", ...] with one or more of: {}",
                names.join(", ")
            )
        } else {
            "no jail is usable, nothing would be guarded".to_owned()
        };
        errors.push(ReportedError::of_file(self.config.file, message));
        Err(Fatal { errors })
    }
}

/// portero.toml where nobody says otherwise: `PORTERO_CONFIG`, the usual place.
pub fn default_file() -> PathBuf {
    env_path("PORTERO_CONFIG").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Where the daemon answers if nobody says otherwise: `PORTERO_SOCKET`, portero.toml, the default.
pub fn control_socket() -> PathBuf {
    env_path("PORTERO_SOCKET")
        .or_else(|| path_in(&default_file(), "socket"))
        .unwrap_or_else(|| DEFAULT_SOCKET.into())
}

/// Where the daemon answers fail2ban's clients, if portero.toml says so.
pub fn fail2ban_socket() -> Option<PathBuf> {
    path_in(&default_file(), "fail2ban_socket")
}

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Only the path `key` of `file`, for clients, which need not understand the rest of it.
fn path_in(file: &Path, key: &str) -> Option<PathBuf> {
    let source = raw::read(file).ok()??;
    let entries = parse(&source).ok()?;
    let (_, value) = entries.into_iter().find(|(known, _)| known.name == key)?;
    Some(value.text(key).ok()?.into())
}

/// Takes keys out of a table, gathering the unknown ones as errors.
fn fields_of(entries: Entries, where_: &str, known: &[&str], errors: &mut Vec<ReportedError>) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in entries {
        if known.contains(&key.name.as_str()) {
            fields.insert(key.name.clone(), (key, value));
        } else {
            errors.push(key.unknown(where_, known));
        }
    }
    fields
}

fn load_source(source: &SourceText, places: &Places) -> Result<Loaded, Fatal> {
    let mut errors = Vec::new();
    let fields = fields_of(parse(source)?, "portero.toml", GLOBAL_KEYS, &mut errors);
    let mut read = Reader::new(&fields);
    let mut config = globals(&mut read, source, places);
    let table = |value: &Value, key: &str| value.table(key).cloned();
    let tables = read.get("jails", |value| table(value, "jails")).unwrap_or_default();
    let defaults = read.get("defaults", |value| table(value, "defaults")).unwrap_or_default();
    let enable = read.get("enable", names).unwrap_or_default();
    errors.append(&mut read.errors);
    let defaults = fields_of(defaults, "[defaults]", JAIL_KEYS, &mut errors);
    let around = Surroundings { timezone: config.timezone };
    errors.extend(defaults_alone(&defaults, source, &around));
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.place.as_ref().map(|place| (place.line, place.column)));
        return Err(Fatal { errors });
    }
    let problems = jails(&mut config, places, &tables, &defaults, &enable, &around);
    Ok(Loaded { config, problems, notes: Vec::new() })
}

/// The keys of portero.toml that are of no jail.
fn globals(read: &mut Reader<'_>, source: &SourceText, places: &Places) -> Config {
    let path = |key: &'static str| {
        move |value: &Value| -> Result<PathBuf, ReportedError> {
            let path = PathBuf::from(value.text(key)?);
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(value.error(format!("{key} must be an absolute path")))
            }
        }
    };
    let text = |key: &'static str| move |value: &Value| value.text(key).map(str::to_owned);
    let length = |key: &'static str| move |value: &Value| value.duration(key);
    let state_dir = read.get("state_dir", path("state_dir"));
    let socket = SocketSettings {
        path: read.get("socket", path("socket")).unwrap_or_else(|| DEFAULT_SOCKET.into()),
        mode: read.get("socket_mode", mode),
        group: read.get("socket_group", text("socket_group")),
        helpdesk_group: read.get("helpdesk_group", text("helpdesk_group")),
    };
    let fail2ban_group = read.get("fail2ban_socket_group", text("fail2ban_socket_group"));
    let fail2ban_socket = read
        .get("fail2ban_socket", path("fail2ban_socket"))
        .map(|path| SocketSettings { group: fail2ban_group, ..SocketSettings::new(path) });
    let backends: Vec<&str> = crate::firewall::backends().iter().map(|(name, _)| *name).collect();
    let firewall = read.get("firewall", |value| value.word("firewall", &backends).map(str::to_owned));
    let owner = read.get("table_owner", |value| match value.word("table_owner", &["auto", "on", "off"])? {
        "on" => Ok(TableOwner::On),
        "off" => Ok(TableOwner::Off),
        _ => Ok(TableOwner::Auto),
    });
    Config {
        file: source.label().to_owned(),
        state_dir: state_dir.unwrap_or_else(|| "/var/lib/portero".into()),
        socket,
        fail2ban_socket,
        firewall: firewall.unwrap_or_else(|| "nftables".to_owned()),
        table_owner: owner.unwrap_or_default(),
        limits: read.get("limits", limits).unwrap_or_default(),
        ignoreip: read.get("ignoreip", ignore_list).unwrap_or_default(),
        trusted_proxies: read.get("trusted_proxies", nets).unwrap_or_default(),
        timezone: read.get("timezone", |value| zone::of_value(value, "timezone")).unwrap_or_else(system_zone),
        history: read.get("history", length("history")).unwrap_or(180 * DAY),
        evidence: read.get("evidence", length("evidence")).unwrap_or(30 * DAY),
        jails: Vec::new(),
        filters: super::FilterLibrary { places: places.clone() },
        fail2ban: None,
        fail2ban_log: read.get("fail2ban_log", fail2ban_log),
        shadow: false,
        shadow_log: read.get("shadow_log", path("shadow_log")),
    }
}

/// `"auto"`, or a file.
fn fail2ban_log(value: &Value) -> Result<Fail2banLog, ReportedError> {
    match value.text("fail2ban_log")? {
        "auto" => Ok(Fail2banLog::Auto),
        path if path.starts_with('/') => Ok(Fail2banLog::File(path.into())),
        _ => Err(value.error("fail2ban_log must be an absolute path, or \"auto\": where fail2ban.conf says")),
    }
}

/// Whether `[defaults]` is good by itself: an error in there is one of portero.toml, not of every jail.
fn defaults_alone(defaults: &Fields, source: &SourceText, around: &Surroundings) -> Vec<ReportedError> {
    let name = JailName::new("defaults").expect("letters are a jail's name");
    match resolve(name, defaults, source, around) {
        Ok(_) => Vec::new(),
        // What a jail would still have to say is no error of the defaults.
        Err(errors) => errors.into_iter().filter(|error| error.place.is_some()).collect(),
    }
}

/// Resolves every jail there is; what is wrong with those that are switched on comes back.
fn jails(
    config: &mut Config,
    places: &Places,
    tables: &Entries,
    defaults: &Fields,
    enable: &[Value],
    around: &Surroundings,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let tables: BTreeMap<&str, &(Key, Value)> =
        tables.iter().map(|table| (table.0.name.as_str(), table)).collect();
    let all: Vec<(Key, Value)> = tables.values().map(|table| (*table).clone()).collect();
    let known = raw::jail_names(places, &all);
    let wanted: Vec<(&str, &Value)> =
        enable.iter().filter_map(|value| Some((value.text("enable").ok()?, value))).collect();
    for (name, value) in &wanted {
        if !known.contains(*name) {
            let help = match suggest(name, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("there are: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            let error = value.error(format!("enable names {name:?}, and there is no such jail; {help}"));
            problems.push(Problem { jail: (*name).to_owned(), error });
        }
    }
    for name in &known {
        let is_wanted = wanted.iter().any(|(wanted, _)| wanted == name);
        match one_jail(config, places, name, tables.get(name.as_str()).copied(), defaults, is_wanted, around)
        {
            Ok(jail) => config.jails.push(jail),
            Err(Faults { errors, matter: true }) => {
                problems.extend(errors.into_iter().map(|error| Problem { jail: name.clone(), error }));
            }
            Err(Faults { matter: false, .. }) => {}
        }
    }
    problems
}

/// What is wrong with a jail.
struct Faults {
    errors: Vec<ReportedError>,
    /// False for a jail that is plainly switched off: it guards nothing either way.
    matter: bool,
}

fn one_jail(
    config: &Config,
    places: &Places,
    name: &str,
    table: Option<&(Key, Value)>,
    defaults: &Fields,
    wanted: bool,
    around: &Surroundings,
) -> Result<JailConfig, Faults> {
    let always = |errors| Faults { errors, matter: true };
    let Some(jail_name) = JailName::new(name).filter(|name| *name != JailName::manual()) else {
        let message =
            "is not a name for a jail: letters, digits, \"-\", \"_\", \".\"; at most 64; \"manual\" is taken";
        let error = match table {
            Some((key, _)) => key.error(format!("{name:?} {message}")),
            None => ReportedError::of_file(format!("jails/{name}.toml"), format!("{name:?} {message}")),
        };
        return Err(always(vec![error]));
    };
    let raw = raw::jail(places, name, table).map_err(always)?;
    let mut fields = defaults.clone();
    fields.extend(raw.fields);
    // Who says what: the admin's own word on this jail, then `enable`, then the shipped file. The admin's own
    // jails are on unless they say otherwise.
    let switched = match &raw.switched {
        Some(value) => value.flag("enabled").unwrap_or(true),
        None if wanted => true,
        None => match fields.get("enabled") {
            Some((_, value)) => value.flag("enabled").unwrap_or(true),
            None => !raw.shipped,
        },
    };
    let whole = SourceText::new(raw.file, "");
    let faults = |errors| Faults { errors, matter: switched };
    let mut jail = resolve(jail_name, &fields, &whole, around).map_err(faults)?;
    jail.enabled = switched;
    jail.shipped = raw.shipped;
    if switched && let Some((_, value)) = fields.get("run") {
        jail.run = super::action::of_value(value, places, &jail.settings.name)
            .map_err(|error| faults(vec![error]))?;
    }
    let counts_lines = jail.settings.recidive.is_none();
    if switched
        && counts_lines
        && let Some((_, value)) = fields.get("filter")
    {
        config.filters.check(&jail.filter, value).map_err(|error| faults(vec![error]))?;
    }
    Ok(jail)
}

/// A list of names, kept as values: errors about one point at it.
fn names(value: &Value) -> Result<Vec<Value>, ReportedError> {
    value.texts("enable")?;
    Ok(value.list().to_vec())
}

fn nets(value: &Value) -> Result<Vec<Net>, ReportedError> {
    value.texts("trusted_proxies")?;
    let net = |item: &Value| {
        let text = item.text("trusted_proxies")?;
        let wrong = |error: crate::addr::ParseError| item.error(format!("trusted_proxies {error}"));
        text.trim().parse().map_err(wrong)
    };
    value.list().iter().map(net).collect()
}

/// `"0660"` or `0o660`.
fn mode(value: &Value) -> Result<u32, ReportedError> {
    let wrong = || value.error("socket_mode must be the permission bits; examples: \"0660\", 0o660");
    let bits = match value.text("socket_mode") {
        Ok(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).map_err(|_| wrong())?,
        Err(_) => value.number("socket_mode", 0..=0o777).map_err(|_| wrong())? as u32,
    };
    if bits <= 0o777 { Ok(bits) } else { Err(wrong()) }
}

/// `[limits]`: every cap of [`Limits`], by its name.
fn limits(value: &Value) -> Result<Limits, ReportedError> {
    let defaults = serde_json::to_value(Limits::default()).expect("numbers are JSON");
    let mut limits = defaults.as_object().expect("a struct is an object").clone();
    let known: Vec<String> = limits.keys().cloned().collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (key, value) in value.table("limits")? {
        if !known.contains(&key.name.as_str()) {
            return Err(key.unknown("[limits]", &known));
        }
        let number = value.number(&key.name, floor(&key.name)..=1 << 40)?;
        limits.insert(key.name.clone(), number.into());
    }
    Ok(serde_json::from_value(limits.into()).expect("every cap is a number in range"))
}

/// Below this a cap makes portero useless.
fn floor(name: &str) -> i64 {
    match name {
        "line_bytes_max" => 256,
        "block_bytes" | "request_bytes_max" => 4096,
        _ => 1,
    }
}
