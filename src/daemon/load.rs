//! The configuration and its filters, loaded as the daemon runs them: what reads lines for each jail.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use crate::config::filters::FilterLibrary;
use crate::config::{Config, Fatal, JailConfig, Loaded, Problem, ReportedError, Setup, SourceText};
use crate::fail2ban::dialect;
use crate::fail2ban::jail::Jail;
use crate::fail2ban::matcher::Program;
use crate::fail2ban::note::{Kind, Note};
use crate::fail2ban::weakness;
use crate::filter::peer::TrustedProxies;
use crate::filter::{Context, Filter, FilterSpec, FilterSpecError};
use crate::time::{Clock, SystemClock};

/// Compiled filters by [`filter_key`].
pub type Filters = BTreeMap<String, LoadedFilter>;

/// A compiled filter and the files that it was made from; a jail of fail2ban holds itself what it was made from.
#[derive(Debug, Clone)]
pub struct LoadedFilter {
    pub filter: Reading,
    pub sources: Vec<SourceText>,
    /// What is to be known of one of fail2ban's: how a client fools it.
    pub warning: Option<String>,
}

impl LoadedFilter {
    fn of_fail2ban(program: Arc<Program>, sources: Vec<SourceText>) -> LoadedFilter {
        let warning = weakness::warning(program.rules());
        LoadedFilter { filter: Reading::Fail2ban(program), sources, warning }
    }
}

/// What reads lines for a jail.
#[derive(Debug, Clone)]
pub enum Reading {
    Native(Arc<Filter>),
    Fail2ban(Arc<Program>),
}

/// What a jail's filter is found under: its spec (`sshd[mode=aggressive]`), or for a jail of fail2ban, each of which may
/// change its filter, the jail's own name.
pub fn filter_key(jail: &JailConfig) -> String {
    match &jail.fail2ban {
        Some(imported) => format!("jail {}", imported.name),
        None => jail.filter.clone(),
    }
}

/// Loads the configuration and compiles the filters of its jails.
///
/// # Errors
/// A bad portero.toml, or files with which fail2ban would not start.
pub fn load(setup: &Setup) -> Result<(Loaded, Filters), Fatal> {
    let mut loaded = setup.load()?;
    let filters = compile(&mut loaded);
    Ok((loaded, filters))
}

/// Compiles the filters of all jails that are on. A jail whose filter is bad is switched off and named.
pub fn compile(loaded: &mut Loaded) -> Filters {
    let mut filters = Filters::new();
    let library = loaded.config.filters.clone();
    let reads = |jail: &&mut JailConfig| jail.enabled && jail.settings.recidive.is_none();
    for jail in loaded.config.jails.iter_mut().filter(reads) {
        let key = filter_key(jail);
        if filters.contains_key(&key) {
            continue;
        }
        let made = match &jail.fail2ban {
            Some(imported) => load_imported(imported, jail.timezone, &filters, &mut loaded.notes),
            None => load_filter(&jail.filter, &library, jail.timezone),
        };
        match made {
            Ok(filter) => {
                filters.insert(key, filter);
            }
            Err(error) => {
                jail.enabled = false;
                let name = jail.settings.name.to_string();
                loaded.problems.push(Problem { jail: name, error });
            }
        }
    }
    filters
}

/// Finds and compiles the filter that a jail names.
///
/// `zone`: the jail's; a filter in fail2ban's dialect goes by that of the first jail that names it.
fn load_filter(spec: &str, library: &FilterLibrary, zone: Tz) -> Result<LoadedFilter, ReportedError> {
    let named = |why: String| ReportedError::of_file(spec, why);
    let spec: FilterSpec = spec.parse().map_err(|why: FilterSpecError| named(why.to_string()))?;
    let files =
        library.find(&spec.name)?.ok_or_else(|| named(format!("there is no filter {:?}", spec.name)))?;
    let sources = files.sources();
    if dialect::is_meant(&files.base) {
        let program = dialect::load(&spec, &sources, zone, SystemClock::new().now())?;
        return Ok(LoadedFilter::of_fail2ban(Arc::new(program), sources));
    }
    let filter = Reading::Native(Arc::new(files.load(&spec)?));
    Ok(LoadedFilter { filter, sources, warning: None })
}

/// Compiles the filter of a jail of fail2ban; what its patterns were read as goes to `notes`. Jails that say the same
/// share one.
fn load_imported(
    jail: &Jail,
    zone: Tz,
    known: &Filters,
    notes: &mut Vec<Note>,
) -> Result<LoadedFilter, ReportedError> {
    let rules = jail.rules();
    let same = known.values().find(|loaded| match &loaded.filter {
        Reading::Fail2ban(program) => *program.rules() == rules,
        Reading::Native(_) => false,
    });
    let loaded = match same {
        Some(loaded) => loaded.clone(),
        None => {
            let made = Program::new(&rules, zone, SystemClock::new().now());
            let program = made.map_err(|error| jail.error(error.option(), error.to_string()))?;
            LoadedFilter::of_fail2ban(Arc::new(program), Vec::new())
        }
    };
    let Reading::Fail2ban(program) = &loaded.filter else { unreachable!("it was made or found as such") };
    for (part, said) in program.notes() {
        let error = jail.error(part.option(), format!("{part}: {said}"));
        notes.push(Note { kind: Kind::Approximation, jail: Some(jail.name.clone()), error });
    }
    if let Some(warning) = &loaded.warning {
        let error = jail.error("failregex", warning);
        notes.push(Note { kind: Kind::Hint, jail: Some(jail.name.clone()), error });
    }
    Ok(loaded)
}

/// What reading a log takes beside its filters.
pub fn context(timezone: chrono_tz::Tz, config: &Config) -> Context {
    Context {
        timezone,
        year: None,
        trusted_proxies: TrustedProxies::with_loopback(&config.trusted_proxies),
        sessions_max: config.limits.sessions_max,
    }
}
