//! Filters of one kind that read one log in one pass, with the jails behind them; and what they remember of that log.
//! Beside those of fail2ban stands a [`Witness`], whose good logins go to the first of the jails.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::Reading;
use super::witness::{self, Witness};
use crate::fail2ban::encoding::Encoding;
use crate::fail2ban::matcher::{BACKTRACK_STEPS_MAX, Program};
use crate::fail2ban::set as imported;
use crate::fail2ban::set::Trouble;
use crate::filter::{Attempt, Context, Filter, FilterSet, FilterState};
use crate::jail::JailId;
use crate::time::Timestamp;

/// A set of filters, and the jails behind each.
pub struct Bench {
    set: Set,
    /// By the filter's index in `set`; behind them the one that is told of a witness's good logins.
    pub jails: Vec<Vec<JailId>>,
}

enum Set {
    Native(Box<FilterSet>),
    Fail2ban(Box<imported::FilterSet>, Box<Witness>),
}

/// What a [`Bench`] remembers of one log.
pub enum State {
    Native(FilterState),
    Fail2ban(imported::State, witness::Memory),
}

/// One jail's wish to be on a bench.
pub struct Seat<'a> {
    pub jail: JailId,
    pub reading: &'a Reading,
    pub context: &'a Context,
}

/// Benches for all of `seats`: one for each zone of native filters and for each encoding of fail2ban's, each filter in
/// it once. In an order that depends on nothing else, so that stored states find their bench again.
pub fn benches(seats: &[Seat<'_>]) -> Vec<Arc<Bench>> {
    struct Draft<F> {
        context: Context,
        filters: Vec<Arc<F>>,
        jails: Vec<Vec<JailId>>,
    }
    impl<F> Draft<F> {
        fn add(&mut self, filter: &Arc<F>, jail: JailId) {
            let known = self.filters.iter().position(|known| Arc::ptr_eq(known, filter));
            let index = known.unwrap_or_else(|| {
                self.filters.push(filter.clone());
                self.jails.push(Vec::new());
                self.filters.len() - 1
            });
            self.jails[index].push(jail);
        }
    }
    fn draft<F>(context: &Context) -> Draft<F> {
        Draft { context: context.clone(), filters: Vec::new(), jails: Vec::new() }
    }
    let mut native: BTreeMap<&'static str, Draft<Filter>> = BTreeMap::new();
    let mut imported: BTreeMap<Encoding, Draft<Program>> = BTreeMap::new();
    for Seat { jail, reading, context } in seats {
        match reading {
            Reading::Native(filter) => {
                native.entry(context.timezone.name()).or_insert_with(|| draft(context)).add(filter, *jail)
            }
            Reading::Fail2ban(program) => {
                imported.entry(program.encoding()).or_insert_with(|| draft(context)).add(program, *jail)
            }
        }
    }
    let read: Vec<String> =
        native.values().flat_map(|draft| &draft.filters).map(|filter| filter.name.clone()).collect();
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    let native = native.into_values().map(|Draft { context, filters, jails }| Bench {
        set: Set::Native(Box::new(FilterSet::new(filters, context))),
        jails,
    });
    let imported = imported.into_iter().map(|(encoding, Draft { context, filters, mut jails })| {
        jails.push(vec![jails[0][0]]);
        let set = Box::new(imported::FilterSet::new(filters, encoding));
        Bench { set: Set::Fail2ban(set, Box::new(Witness::new(context, &read))), jails }
    });
    native.chain(imported).map(Arc::new).collect()
}

impl Bench {
    /// What is known of a log that was never read.
    pub fn begin(&self) -> State {
        match &self.set {
            Set::Native(_) => State::Native(FilterState::default()),
            Set::Fail2ban(set, _) => State::Fail2ban(set.begin(), witness::Memory::default()),
        }
    }

    /// Reads a block and hands every attempt to `sink`; see [`FilterSet::scan`].
    pub fn scan(&self, state: &mut State, now: Timestamp, block: &[u8], sink: &mut dyn FnMut(Attempt<'_>)) {
        match (&self.set, state) {
            (Set::Native(set), State::Native(state)) => {
                set.scan(state, now, block, sink);
            }
            (Set::Fail2ban(set, witness), State::Fail2ban(state, memory)) => {
                let filter = self.jails.len() - 1;
                let accounts = witness.scan(memory, now, block, &mut |good| sink(Attempt { filter, ..good }));
                set.scan(state, now, block, &mut |attempt| sink(accounts.lend(attempt)));
            }
            _ => unreachable!("a state is made by its own bench"),
        }
    }

    /// What went wrong in filters of fail2ban so far, how often, and in whose.
    pub fn troubles(&self) -> impl Iterator<Item = (&[JailId], Trouble, u64)> {
        let tallies = match &self.set {
            Set::Fail2ban(set, _) => set.tallies(),
            Set::Native(_) => imported::Tallies::new(),
        };
        let told = tallies.into_iter();
        told.map(|((filter, trouble), count)| (self.jails[filter].as_slice(), trouble, count))
    }
}

/// A note about `count` troubles: how it begins, always the same, and how it goes on.
pub fn words(trouble: Trouble, count: u64) -> (String, String) {
    let (what, how) = match trouble {
        Trouble::Overrun(part) => (
            format!("{part} was given up after {BACKTRACK_STEPS_MAX} steps"),
            format!("on {count} lines; who wrote them may go unnoticed: the pattern backtracks without end"),
        ),
        Trouble::NoAddress => (
            "matches whose <F-ID> is no address ban nobody in the firewall".to_owned(),
            format!("({count} so far)"),
        ),
        Trouble::Name => (
            "names in place of addresses are not looked up: usedns = warn acts as no".to_owned(),
            format!("({count} lines so far did not count)"),
        ),
        Trouble::TooWide => (
            "a network that the log names is too wide to be banned; its first address counts alone"
                .to_owned(),
            format!("({count} so far)"),
        ),
    };
    (what, how)
}

/// The states of one log, to be stored beside its position; `None` where there is nothing to remember.
///
/// Those of native filters come first, in the form they always had; each of fail2ban's follows as bytes.
pub fn store(benches: &mut [(Arc<Bench>, State)]) -> Option<Vec<u8>> {
    let mut native: Vec<&FilterState> = Vec::new();
    let mut others: Vec<Vec<u8>> = Vec::new();
    for (bench, state) in benches {
        match (&bench.set, state) {
            (Set::Fail2ban(set, _), State::Fail2ban(state, _)) => {
                others.push(set.store(state).unwrap_or_default())
            }
            (_, State::Native(state)) => native.push(state),
            _ => {}
        }
    }
    if native.iter().all(|state| state.is_empty()) && others.is_empty() {
        return None;
    }
    let mut bytes = postcard::to_stdvec(&native).ok()?;
    if !others.is_empty() {
        bytes.extend(postcard::to_stdvec(&others).ok()?);
    }
    Some(bytes)
}

/// Puts back what [`store`] gave. What does not fit any more is left out.
pub fn restore(benches: &mut [(Arc<Bench>, State)], bytes: &[u8]) {
    let Ok((native, rest)) = postcard::take_from_bytes::<Vec<FilterState>>(bytes) else { return };
    let others: Vec<Vec<u8>> = postcard::from_bytes(rest).unwrap_or_default();
    let (mut native, mut others) = (native.into_iter(), others.into_iter());
    for (bench, state) in benches {
        match (&bench.set, state) {
            (Set::Fail2ban(set, _), State::Fail2ban(state, _)) => {
                if let Some(stored) = others.next() {
                    set.restore(state, &stored);
                }
            }
            (_, State::Native(state)) => {
                if let Some(stored) = native.next() {
                    *state = stored;
                }
            }
            _ => {}
        }
    }
}
