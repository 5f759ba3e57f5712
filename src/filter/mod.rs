//! Filters: `(&mut FilterState, now, Block) -> Attempts`. Pure: no I/O, no clock, no logging.
//!
//! Matching is staged. One aho-corasick automaton of required literals over all filters of a log runs over a
//! whole block and picks candidate lines; a candidate meets only the patterns whose literal was seen in it;
//! only a match gets its date parsed.

use serde::{Deserialize, Serialize};

use crate::addr::Host;
use crate::time::Timestamp;

/// What a line says of a login attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Failure,
    Success,
}

/// One login attempt, found in one line. Borrows from the block.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    pub outcome: Outcome,
    /// The peer that tried: the original address where a trusted proxy stands between. `None` where neither
    /// the line nor its session names one; such an attempt bans nobody.
    pub host: Option<Host>,
    /// The account tried, as the line spells it. Bytes: a client chose them.
    pub user: Option<&'a [u8]>,
    /// A hash of the password tried, as the line spells it (`auth_verbose_passwords`). Never stored as it is.
    pub pwhash: Option<&'a [u8]>,
    /// The line's own time; `None` where it has no date.
    pub time: Option<Timestamp>,
    /// How often it happened: 1, or N of `message repeated N times`.
    pub times: u32,
    /// The whole line, without its line end.
    pub line: &'a [u8],
    /// Line in the block, from 0.
    pub line_index: usize,
    /// Index of the filter in the [`FilterSet`](crate::filter) that found it.
    pub filter: usize,
    /// Index of the pattern in its filter, failregexes first.
    pub pattern: usize,
}
