//! Which filters and jails read which log. One set of filters a log, however many jails are on it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::bench::{self, Bench, Seat, State};
use super::load::{self, Filters, Reading};
use crate::config::Config;
use crate::filter::Context;

use crate::jail::{JailId, Jails};
use crate::source::LogId;

/// One jail's wish: these logs, through this filter, in this zone.
#[derive(Clone)]
struct Reader {
    patterns: Vec<String>,
    jail: JailId,
    filter: Reading,
    context: Context,
}

/// What reads one log. Nearly always one bench; one more for each other zone or encoding that a jail gives it.
pub struct Desk {
    path: Arc<Path>,
    pub benches: Vec<(Arc<Bench>, State)>,
}

impl Desk {
    /// What the filters remember, to be stored beside the position; `None` where there is nothing.
    pub fn state(&mut self) -> Option<Vec<u8>> {
        bench::store(&mut self.benches)
    }
}

/// Every desk.
pub struct Desks {
    readers: Vec<Reader>,
    /// Logs that are read by the same readers share their filters: by the readers' indices.
    benches: HashMap<Vec<usize>, Vec<Arc<Bench>>>,
    desks: BTreeMap<LogId, Desk>,
    stored: HashMap<Arc<Path>, Vec<u8>>,
}

impl Desks {
    pub fn new() -> Desks {
        Desks { readers: Vec::new(), benches: HashMap::new(), desks: BTreeMap::new(), stored: HashMap::new() }
    }

    /// Takes over the jails of `config` with their loaded filters; open sessions of logs go on.
    pub fn configure(&mut self, config: &Config, jails: &Jails, filters: &Filters) {
        let reader = |jail: &crate::config::JailConfig| {
            Some(Reader {
                patterns: jail.logpath.clone(),
                jail: jails.id(jail.settings.name.as_str())?,
                filter: filters.get(&load::filter_key(jail))?.filter.clone(),
                context: load::context(jail.timezone, config),
            })
        };
        self.readers = config.enabled().filter_map(reader).collect();
        self.benches.clear();
        // Each desk is made anew when it is asked for; the open sessions wait for it.
        for mut desk in std::mem::take(&mut self.desks).into_values() {
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

    /// What went wrong in filters of fail2ban since the configuration was read, as notes: how each begins, which tells
    /// it from others, and how it goes on.
    pub fn troubles(&self, jails: &Jails) -> BTreeMap<String, String> {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for (ids, trouble, count) in self.benches.values().flatten().flat_map(|bench| bench.troubles()) {
            for id in ids {
                *counts.entry((*id, trouble)).or_default() += count;
            }
        }
        let told = counts.into_iter().map(|((id, trouble), count)| {
            let (what, how) = bench::words(trouble, count);
            (format!("jail {}: {what}", jails.settings(id).name), how)
        });
        told.collect()
    }

    /// What reads the log at `path`.
    pub fn of(&mut self, log: LogId, path: &Arc<Path>) -> &mut Desk {
        let Desks { readers, benches, desks, stored } = self;
        desks.entry(log).or_insert_with(|| {
            let fits = |reader: &Reader| reader.patterns.iter().any(|pattern| matches(pattern, path));
            let on: Vec<usize> = (0..readers.len()).filter(|at| fits(&readers[*at])).collect();
            let shared = benches.entry(on).or_insert_with_key(|on| make_benches(readers, on));
            let benches = shared.iter().map(|bench| (bench.clone(), bench.begin())).collect();
            let mut desk = Desk { path: path.clone(), benches };
            if let Some(state) = stored.remove(path) {
                bench::restore(&mut desk.benches, &state);
            }
            desk
        })
    }
}

/// The benches of the readers at `on`.
fn make_benches(readers: &[Reader], on: &[usize]) -> Vec<Arc<Bench>> {
    let seat = |at: &usize| {
        let Reader { jail, filter, context, .. } = &readers[*at];
        Seat { jail: *jail, reading: filter, context }
    };
    bench::benches(&on.iter().map(seat).collect::<Vec<_>>())
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
