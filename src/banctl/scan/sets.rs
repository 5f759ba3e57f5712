//! Native filters and fail2ban's side by side over one log.

use std::sync::Arc;

use crate::fail2ban::encoding::Encoding;
use crate::fail2ban::matcher::Program;
use crate::fail2ban::set as imported;
use crate::filter::{Attempt, Context, Counts, Filter, FilterSet, FilterState};
use crate::time::Timestamp;

/// All filters of a scan.
pub(super) struct Sets {
    native: FilterSet,
    /// One set for each encoding, and the number its first filter has.
    imported: Vec<(usize, imported::FilterSet)>,
    names: Vec<String>,
}

/// What they remember of one log.
pub(super) struct States {
    native: FilterState,
    imported: Vec<imported::State>,
}

impl Sets {
    /// `imported`: each with the name it goes by.
    pub fn new(native: Vec<Arc<Filter>>, programs: Vec<(String, Arc<Program>)>, context: Context) -> Sets {
        let mut names: Vec<String> = native.iter().map(|filter| filter.name.clone()).collect();
        let mut encodings: Vec<Encoding> = programs.iter().map(|(_, program)| program.encoding()).collect();
        encodings.sort();
        encodings.dedup();
        let mut imported = Vec::new();
        for encoding in encodings {
            let of_this: Vec<&(String, Arc<Program>)> =
                programs.iter().filter(|(_, program)| program.encoding() == encoding).collect();
            let filters = of_this.iter().map(|(_, program)| program.clone()).collect();
            imported.push((names.len(), imported::FilterSet::new(filters, encoding)));
            names.extend(of_this.iter().map(|(name, _)| name.clone()));
        }
        Sets { native: FilterSet::new(native, context), imported, names }
    }

    /// By the number that an attempt gives.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn native(&self) -> &FilterSet {
        &self.native
    }

    pub fn begin(&self) -> States {
        States {
            native: FilterState::default(),
            imported: self.imported.iter().map(|(_, set)| set.begin()).collect(),
        }
    }

    /// Reads a block: native filters first, then fail2ban's.
    pub fn scan(
        &self,
        states: &mut States,
        now: Timestamp,
        block: &[u8],
        sink: &mut dyn FnMut(Attempt<'_>),
    ) -> Counts {
        let mut counts = self.native.scan(&mut states.native, now, block, sink);
        for ((first, set), state) in self.imported.iter().zip(&mut states.imported) {
            let found = set.scan(state, now, block, &mut |attempt| {
                sink(Attempt { filter: first + attempt.filter, ..attempt });
            });
            // The lines are the same.
            counts.add(Counts { lines: 0, ..found });
        }
        counts
    }

    /// The filters on which searches were given up, and how often.
    pub fn overruns(&self) -> Vec<(&str, imported::Trouble, u64)> {
        let of = |(first, set): &(usize, imported::FilterSet)| {
            let told = set.tallies().into_iter();
            let told = told.filter(|((_, trouble), _)| matches!(trouble, imported::Trouble::Overrun(_)));
            let first = *first;
            told.map(move |((filter, trouble), count)| (first + filter, trouble, count)).collect::<Vec<_>>()
        };
        let all = self.imported.iter().flat_map(of);
        all.map(|(filter, trouble, count)| (self.names[filter].as_str(), trouble, count)).collect()
    }
}
