//! Which filters and jails read which log. One set of filters a log, however many jails are on it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::reload::{self, Filters};
use crate::config::Config;
use crate::filter::{Context, Filter, FilterSet, FilterState};

use crate::jail::{JailId, Jails};
use crate::source::LogId;

/// One jail's wish: these logs, through this filter, in this zone.
#[derive(Clone)]
struct Reader {
    patterns: Vec<String>,
    jail: JailId,
    filter: Arc<Filter>,
    context: Context,
}

/// A set of filters in one zone, and the jails behind each filter.
pub struct Bench {
    pub set: FilterSet,
    /// By the filter's index in `set`.
    pub jails: Vec<Vec<JailId>>,
}

/// What reads one log. Nearly always one bench; one more for each other zone that a jail gives it.
pub struct Desk {
    path: Arc<Path>,
    pub benches: Vec<(Arc<Bench>, FilterState)>,
}

impl Desk {
    /// The filters' open sessions, to be stored beside the position; `None` where there are none.
    pub fn state(&self) -> Option<Vec<u8>> {
        let states: Vec<&FilterState> = self.benches.iter().map(|(_, state)| state).collect();
        if states.iter().all(|state| state.is_empty()) {
            return None;
        }
        postcard::to_stdvec(&states).ok()
    }

    /// Puts back what [`Desk::state`] gave. What does not fit any more is left out.
    fn restore(&mut self, bytes: &[u8]) {
        let states: Vec<FilterState> = postcard::from_bytes(bytes).unwrap_or_default();
        for ((_, state), stored) in self.benches.iter_mut().zip(states) {
            *state = stored;
        }
    }
}

/// Every desk.
pub struct Desks {
    readers: Vec<Reader>,
    /// Logs that are read by the same readers share their filters: by the readers' indices.
    benches: HashMap<Vec<usize>, Vec<Arc<Bench>>>,
    desks: HashMap<LogId, Desk>,
    stored: HashMap<Arc<Path>, Vec<u8>>,
}

impl Desks {
    pub fn new() -> Desks {
        Desks { readers: Vec::new(), benches: HashMap::new(), desks: HashMap::new(), stored: HashMap::new() }
    }

    /// Takes over the jails of `config` with their loaded filters; open sessions of logs go on.
    pub fn configure(&mut self, config: &Config, jails: &Jails, filters: &Filters) {
        let reader = |jail: &crate::config::JailConfig| {
            Some(Reader {
                patterns: jail.logpath.clone(),
                jail: jails.id(jail.settings.name.as_str())?,
                filter: filters.get(&jail.filter)?.filter.clone(),
                context: reload::context(jail.timezone, config),
            })
        };
        self.readers = config.enabled().filter_map(reader).collect();
        self.benches.clear();
        // Each desk is made anew at its log's next block; the open sessions wait for it.
        for desk in std::mem::take(&mut self.desks).into_values() {
            if let Some(state) = desk.state() {
                self.stored.insert(desk.path, state);
            }
        }
    }

    /// The stored sessions of the log at `path`, for when it is met.
    pub fn store_state(&mut self, path: Arc<Path>, state: Vec<u8>) {
        self.stored.insert(path, state);
    }

    /// Every pattern that some jail reads.
    pub fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<String> =
            self.readers.iter().flat_map(|reader| reader.patterns.iter().cloned()).collect();
        patterns.sort();
        patterns.dedup();
        patterns
    }

    /// What reads the log at `path`.
    pub fn of(&mut self, log: LogId, path: &Arc<Path>) -> &mut Desk {
        let Desks { readers, benches, desks, stored } = self;
        desks.entry(log).or_insert_with(|| {
            let fits = |reader: &Reader| reader.patterns.iter().any(|pattern| matches(pattern, path));
            let on: Vec<usize> = (0..readers.len()).filter(|at| fits(&readers[*at])).collect();
            let shared = benches.entry(on).or_insert_with_key(|on| make_benches(readers, on));
            let benches = shared.iter().map(|bench| (bench.clone(), FilterState::default())).collect();
            let mut desk = Desk { path: path.clone(), benches };
            if let Some(state) = stored.remove(path) {
                desk.restore(&state);
            }
            desk
        })
    }
}

/// One bench for each zone that the readers at `on` ask for, each filter in it once.
fn make_benches(readers: &[Reader], on: &[usize]) -> Vec<Arc<Bench>> {
    struct Draft {
        context: Context,
        filters: Vec<Arc<Filter>>,
        jails: Vec<Vec<JailId>>,
    }
    let mut drafts: BTreeMap<&'static str, Draft> = BTreeMap::new();
    for reader in on.iter().map(|at| &readers[*at]) {
        let draft = drafts.entry(reader.context.timezone.name()).or_insert_with(|| Draft {
            context: reader.context.clone(),
            filters: Vec::new(),
            jails: Vec::new(),
        });
        let known = draft.filters.iter().position(|filter| Arc::ptr_eq(filter, &reader.filter));
        let index = known.unwrap_or_else(|| {
            draft.filters.push(reader.filter.clone());
            draft.jails.push(Vec::new());
            draft.filters.len() - 1
        });
        draft.jails[index].push(reader.jail);
    }
    let bench =
        |Draft { context, filters, jails }| Arc::new(Bench { set: FilterSet::new(filters, context), jails });
    drafts.into_values().map(bench).collect()
}

/// Whether `path` is what `pattern`, a path or a glob, stands for.
pub(super) fn matches(pattern: &str, path: &Path) -> bool {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    Path::new(pattern) == path
        || glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(path, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_stands_for_the_files_of_its_folder_only() {
        let fits = |pattern: &str, path: &str| matches(pattern, Path::new(path));
        assert!(fits("/var/log/mail.log", "/var/log/mail.log"));
        assert!(fits("/var/log/mail.d/*.log", "/var/log/mail.d/a.log"));
        assert!(!fits("/var/log/mail.d/*.log", "/var/log/mail.d/b/a.log"));
        assert!(!fits("/var/log/mail.log", "/var/log/mail.log.1"));
    }
}
