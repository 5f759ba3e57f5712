//! Hostile log lines, and what must hold for them. Used by `tests/hostile.rs` with a seed and by the fuzz
//! targets in `fuzz/` with the fuzzer's bytes.
//!
//! A line is one of [`templates::TEMPLATES`], which is what a service writes, with hostile text in the places
//! that a client controls, after what the service itself does to it ([`text::Field`]). The address found must
//! be the true one or none, at most one filter reads a line, and a failure is never taken for a good login.
//!
//! Not made: a whole record of a log's own after a line break, in those logs that pass line breaks (Roundcube,
//! SOGo). Line by line it cannot be told from a true one.

pub mod split;
pub mod templates;
pub mod text;

use std::fmt::Write;
use std::sync::Arc;

use portero::addr::Host;
use portero::filter::peer::TrustedProxies;
use portero::filter::{Context, Filter, FilterSet, FilterSpec, FilterState, Outcome, load};
use portero::shipped;
use portero::source::cut_long_lines;
use portero::text::escape;
use portero::time::Timestamp;

use templates::{Reads, TEMPLATES, Template};

/// Where choices come from. An exhausted source answers 0 for ever; nothing here loops on that.
pub trait Dice {
    /// A number from 0 up to and without `n`, which is at least 1.
    fn below(&mut self, n: usize) -> usize;

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// Choices from a seed (splitmix64).
pub struct Seeded(pub u64);

impl Dice for Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Lines of one connection, and whose they are.
pub struct Case {
    pub template: &'static Template,
    /// Each line ends with `\n`.
    pub lines: Vec<u8>,
    /// The true address, `None` where the lines name none.
    pub host: Option<Host>,
}

/// The true peers; no hostile text holds one of them.
const PEERS: [&str; 2] = ["203.0.113.9", "2001:db8:1::9"];

impl Case {
    /// A template with plain words in the client's places.
    pub fn plain(template: &'static Template, dice: &mut dyn Dice) -> Case {
        Case::fill(template, dice, &mut |field, _| field.plain().to_vec())
    }

    /// Any template with hostile text in the client's places.
    pub fn hostile(dice: &mut dyn Dice) -> Case {
        let template = &TEMPLATES[dice.below(TEMPLATES.len())];
        let mut case = Case::fill(template, dice, &mut |field, dice| field.hostile(template, dice));
        if dice.one_in(6) {
            case.cut(dice);
        }
        case
    }

    /// A name long enough makes the line too long, and so chooses where it is cut.
    fn cut(&mut self, dice: &mut dyn Dice) {
        let longest = self.lines.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        let max = (longest / 2 + dice.below(longest / 2 + 1)).max(64);
        let len = self.lines.len();
        let (len, _) = cut_long_lines(&mut self.lines, len, max);
        self.lines.truncate(len);
    }

    fn fill(template: &'static Template, dice: &mut dyn Dice, client: &mut text::Client<'_>) -> Case {
        let peer = PEERS[dice.below(PEERS.len())];
        let mut lines = text::render(template.text, peer, dice, client);
        lines.push(b'\n');
        let host = template.names_peer().then(|| peer.parse().expect("an address"));
        Case { template, lines, host }
    }
}

/// All shipped filters, in each of their modes.
pub struct Judge {
    /// Mode and the filters in it; a filter that lacks the mode is there in its normal one.
    sets: Vec<(String, FilterSet)>,
}

/// One attempt as it is compared and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub filter: String,
    pub outcome: Outcome,
    pub host: Option<Host>,
    pub user: Option<Vec<u8>>,
    pub time: Option<Timestamp>,
    pub times: u32,
    pub line: Vec<u8>,
    /// Line of the block, from 0.
    pub index: usize,
}

impl Judge {
    #[allow(clippy::new_without_default, reason = "loads and compiles every filter")]
    pub fn new() -> Judge {
        let mut modes = vec![load::NORMAL.to_owned()];
        for mode in shipped::FILTERS.iter().flat_map(|(_, text)| load::modes(text)) {
            if !modes.contains(&mode) {
                modes.push(mode);
            }
        }
        let set = |mode: &str| {
            let filters = shipped::FILTERS.iter().map(|(name, text)| {
                let mut spec = FilterSpec::normal(name);
                if load::modes(text).iter().any(|of_filter| of_filter == mode) {
                    spec.options.push(("mode".to_owned(), mode.to_owned()));
                }
                Arc::new(Filter::shipped(&spec).expect("a shipped filter loads"))
            });
            FilterSet::new(filters.collect(), Judge::context())
        };
        Judge { sets: modes.iter().map(|mode| (mode.clone(), set(mode))).collect() }
    }

    fn context() -> Context {
        Context {
            timezone: chrono_tz::Tz::UTC,
            year: Some(2026),
            trusted_proxies: TrustedProxies::private(),
            sessions_max: 100,
        }
    }

    pub fn modes(&self) -> impl Iterator<Item = &str> {
        self.sets.iter().map(|(mode, _)| mode.as_str())
    }

    /// What the filters in `mode` find in `blocks`, one after the other.
    pub fn scan(&self, mode: &str, blocks: &[&[u8]]) -> Vec<Found> {
        let (_, set) = self.sets.iter().find(|(name, _)| name == mode).expect("a mode of the judge's");
        let mut state = FilterState::default();
        let mut found = Vec::new();
        let mut lines_before = 0;
        for block in blocks {
            set.scan(&mut state, Timestamp::from_secs(1_798_700_000), block, &mut |attempt| {
                found.push(Found {
                    filter: set.filters()[attempt.filter].name.clone(),
                    outcome: attempt.outcome,
                    host: attempt.host,
                    user: attempt.user.map(<[u8]>::to_vec),
                    time: attempt.time,
                    times: attempt.times,
                    line: attempt.line.to_vec(),
                    index: lines_before + attempt.line_index,
                });
            });
            lines_before += block.iter().filter(|byte| **byte == b'\n').count();
        }
        found
    }

    /// Holds the property for a hostile case.
    ///
    /// # Errors
    /// What was found wrongly, and in which line.
    pub fn judge(&self, case: &Case) -> Result<(), String> {
        // The normal mode, and one of the others: each comes up often enough.
        let other = 1 + case.lines.len() % (self.sets.len() - 1);
        for mode in [0, other].map(|at| self.sets[at].0.as_str()) {
            let mut found = self.scan(mode, &[&case.lines]);
            // A log that passes line breaks is a log of its own, read by its own filter only.
            if case.template.splits() {
                found.retain(|found| found.filter == case.template.filter);
            }
            let mut wrong = None;
            for (number, one) in found.iter().enumerate() {
                if one.host.is_some() && one.host != case.host {
                    wrong = Some("an address that is not the peer's");
                } else if found[..number].iter().any(|other| other.index == one.index) {
                    wrong = Some("two filters read one line");
                } else if !case.template.reads.allows(mode, one.outcome) {
                    wrong = Some("a line that says nothing of the kind");
                }
            }
            if let Some(wrong) = wrong {
                return Err(case.report(mode, wrong, &found));
            }
        }
        Ok(())
    }
}

impl Case {
    /// The case in words, for a failed test.
    pub fn report(&self, mode: &str, wrong: &str, found: &[Found]) -> String {
        let host = self.host.map_or("none".to_owned(), |host| host.to_string());
        let mut text =
            format!("{wrong} (mode {mode}, true address {host})\n  template {}", self.template.text);
        for line in self.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let _ = write!(text, "\n  line {}", escape(line));
        }
        for one in found {
            let host = one.host.map_or("none".to_owned(), |host| host.to_string());
            let user = one.user.as_ref().map_or(String::new(), |user| escape(user).to_string());
            let _ = write!(text, "\n  {} {:?} ip={host} user={user}", one.filter, one.outcome);
        }
        text
    }
}

impl Reads {
    /// Whether a line that reads like this may be reported so.
    fn allows(self, mode: &str, outcome: Outcome) -> bool {
        match (self, outcome) {
            (Reads::Fails, outcome) => outcome == Outcome::Failure,
            (Reads::Succeeds, outcome) => outcome == Outcome::Success,
            // A client that makes its own refusal look worse than it is.
            (Reads::Loud(_), Outcome::Failure) => true,
            (Reads::Nothing, Outcome::Failure) => mode != load::NORMAL,
            (Reads::Loud(_) | Reads::Nothing, Outcome::Success) => false,
        }
    }
}
