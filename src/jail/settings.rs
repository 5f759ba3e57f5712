//! What a jail is told: the numbers of its rule, and whom it leaves alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::JailName;
use super::formula::Formula;
use super::ignore::IgnoreEntry;
use crate::addr::{Host, Net};
use crate::time::Span;

/// No computed bantime is longer, `maxtime` or not; who wants more says `-1`.
pub(super) const BANTIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a jail counts by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// The address; IPv6 cut to `ipv6_prefix`, since one peer holds a whole /64.
    Ip,
    /// The network: cut to `ipv4_prefix` and `ipv6_prefix`.
    Subnet,
}

/// How bans of one target grow. See [`super::bantime`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Increment {
    pub enabled: bool,
    /// Each earlier ban multiplies the bantime by this; at least 1. Unused with `multipliers`.
    pub factor: f64,
    /// A constant factor on every grown bantime: fail2ban's `bantime.factor`. Natively 1.
    pub scale: f64,
    /// Element n is for the target with n earlier bans; the last one repeats. Element 0 is never used:
    /// a first ban lasts `bantime`. Empty: `factor`.
    pub multipliers: Vec<f64>,
    /// Goes before `factor` and instead of `scale`, which it may name; unused with `multipliers`.
    pub formula: Option<Formula>,
    /// No grown bantime exceeds this (but for `rndtime`, and never below `bantime` itself).
    pub maxtime: Option<Duration>,
    /// Up to this much is added at random, so that nobody can time a return.
    pub rndtime: Duration,
    /// Each failure of a target with earlier bans counts more than once, as fail2ban has it: 2, 3, 5, 9 times with 1, 2,
    /// 3, 4 of them. Natively off.
    pub known_bad: bool,
    /// Earlier bans in all jails count, not only this one's.
    pub overalljails: bool,
    /// The number of earlier bans halves with each such span that passes without one. `None`: never.
    pub decay: Option<Duration>,
}

impl Default for Increment {
    fn default() -> Increment {
        Increment {
            enabled: false,
            factor: 2.0,
            scale: 1.0,
            multipliers: Vec::new(),
            formula: None,
            maxtime: None,
            rndtime: Duration::ZERO,
            known_bad: false,
            overalljails: false,
            decay: Some(Duration::from_secs(60 * 86_400)),
        }
    }
}

/// A larger maxretry makes no sense and costs memory: every failure below it is remembered.
pub const MAXRETRY_MAX: u32 = 10_000;

/// One jail's rule: `maxretry` failures of one key whose last and first are at most `findtime` apart ban it
/// for `bantime`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JailSettings {
    pub name: JailName,
    /// Failures, 1 to [`MAXRETRY_MAX`]; 0 counts as 1, more as that many.
    pub maxretry: u32,
    pub findtime: Duration,
    pub bantime: Span,
    pub increment: Increment,
    pub key: KeyKind,
    /// 1 to 32; only for [`KeyKind::Subnet`].
    pub ipv4_prefix: u8,
    /// 1 to 128.
    pub ipv6_prefix: u8,
    /// This jail's own `ignoreip`, beside the global one.
    pub ignoreip: Vec<IgnoreEntry>,
    /// Failures from this host's own addresses are not even counted. They never ban, whatever this says.
    pub ignoreself: bool,
    /// Counts bans of the other jails instead of lines; those of the jail named here do not count. See
    /// [`super::recidive`].
    pub recidive: Option<JailName>,
    /// Somebody outside is asked before a ban by rule: `ignorecommand`. See [`Jails::answer`](super::Jails::answer).
    pub asks: bool,
}

impl JailSettings {
    /// DESIGN's defaults: 5 failures in 10 minutes, an hour's ban, IPv6 by /64.
    pub fn new(name: JailName) -> JailSettings {
        JailSettings {
            name,
            maxretry: 5,
            findtime: Duration::from_secs(600),
            bantime: Span::For(Duration::from_secs(3600)),
            increment: Increment::default(),
            key: KeyKind::Ip,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            ignoreip: Vec::new(),
            ignoreself: true,
            recidive: None,
            asks: false,
        }
    }

    /// What `host` is counted and banned as.
    pub fn key_of(&self, host: Host) -> Net {
        match (host.is_ipv4(), self.key) {
            (true, KeyKind::Ip) => Net::host(host),
            (true, KeyKind::Subnet) => Net::of(host, self.ipv4_prefix.max(1)),
            (false, _) => Net::of(host, self.ipv6_prefix.max(1)),
        }
    }

    /// `maxretry` and `findtime`, within their borders.
    pub(super) fn rule(&self) -> (u32, Duration) {
        (self.maxretry.clamp(1, MAXRETRY_MAX), self.findtime)
    }

    /// No ban by rule is longer.
    pub(super) fn bantime_longest(&self) -> Span {
        match self.bantime {
            Span::For(bantime) if self.increment.enabled => {
                let cap = self.increment.maxtime.unwrap_or(BANTIME_MAX);
                Span::For(bantime.max(cap).saturating_add(self.increment.rndtime))
            }
            bantime => bantime,
        }
    }

    /// Whether both count the same things under the same keys, so that windows of one fit the other.
    pub(super) fn same_keys(&self, other: &JailSettings) -> bool {
        self.key == other.key
            && self.ipv4_prefix == other.ipv4_prefix
            && self.ipv6_prefix == other.ipv6_prefix
    }
}
