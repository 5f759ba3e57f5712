//! Shadow mode: the bans of portero, which enforces none, held against those of a fail2ban that runs.
//!
//! Compared is who is shut out and when, whatever the jails are called: a ban agrees if the other side bans the same
//! address (or one network around both) about then, or has it banned at that time already.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::addr::Net;
use crate::time::Timestamp;

/// Who bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Portero,
    Fail2ban,
}

/// A ban of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowBan {
    pub side: Side,
    pub jail: String,
    pub target: Net,
    pub since: Timestamp,
    /// `None`: it stands, or never ends.
    pub until: Option<Timestamp>,
    /// It stood before, and was only put back: it agrees with others and is not asked itself.
    pub restored: bool,
    /// What fail2ban said of the target until then: `Found`, `Ignore` and `Ban` lines.
    pub said: Vec<String>,
}

/// What comparing yields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Bans that both made about the same time. Pairs.
    pub both: u64,
    /// Bans of a target that the other side had banned already, or still had. Bans.
    pub covered: u64,
    /// Bans so young that the other side may still make its own. Bans.
    pub undecided: u64,
    /// Indices of the bans that one side made and the other did not, in their order.
    pub alone: Vec<usize>,
}

/// Compares the bans since the second in which `from` lies: log lines have no part of it, so that a ban made just after
/// `from` bears the second's beginning. Times may differ by `tolerance`.
pub fn compare(bans: &[ShadowBan], from: Timestamp, now: Timestamp, tolerance: Duration) -> Comparison {
    let from = Timestamp::from_secs(from.secs());
    let mut near: HashMap<Net, Vec<usize>> = HashMap::new();
    let mut wide = Vec::new();
    for (index, ban) in bans.iter().enumerate() {
        match peer_of(ban.target) {
            Some(peer) => near.entry(peer).or_default().push(index),
            None => wide.push(index),
        }
    }
    let everything: Vec<usize> = (0..bans.len()).collect();
    let mut comparison = Comparison::default();
    for (index, ban) in bans.iter().enumerate().filter(|(_, ban)| !ban.restored && ban.since >= from) {
        // A network may hold any of the others.
        let (same, around): (&[usize], &[usize]) = match peer_of(ban.target) {
            Some(peer) => (near.get(&peer).map_or(&[], Vec::as_slice), &wide),
            None => (&everything, &[]),
        };
        let others = || {
            let all = same.iter().chain(around).map(|at| &bans[*at]);
            all.filter(|other| other.side != ban.side && other.target.overlaps(ban.target))
        };
        let apart = |other: &ShadowBan| ban.since.since(other.since).max(other.since.since(ban.since));
        if others().any(|other| !other.restored && apart(other) <= tolerance) {
            // Each pair is met from both of its sides.
            comparison.both += u64::from(ban.side == Side::Portero);
        } else if others().any(|other| {
            other.since <= ban.since.plus(tolerance)
                && other.until.is_none_or(|until| until.plus(tolerance) >= ban.since)
        }) {
            comparison.covered += 1;
        } else if now.since(ban.since) < tolerance {
            comparison.undecided += 1;
        } else {
            comparison.alone.push(index);
        }
    }
    comparison
}

/// What counts as one peer: an IPv4 address, the /64 of an IPv6 one. `None`: the target is wider.
fn peer_of(target: Net) -> Option<Net> {
    let length = if target.is_ipv4() { 32 } else { 64 };
    (target.prefix() >= length).then(|| Net::of(target.base(), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ban(side: Side, target: &str, since: i64, until: Option<i64>) -> ShadowBan {
        ShadowBan {
            side,
            jail: "postfix".to_owned(),
            target: target.parse().unwrap(),
            since: Timestamp::from_secs(since),
            until: until.map(Timestamp::from_secs),
            restored: false,
            said: Vec::new(),
        }
    }

    fn compared(bans: &[ShadowBan]) -> Comparison {
        compare(bans, Timestamp::from_secs(1000), Timestamp::from_secs(100_000), MINUTE)
    }

    #[test]
    fn bans_of_the_same_peer_about_the_same_time_agree() {
        let bans = [
            ban(Side::Portero, "203.0.113.7", 2000, Some(5600)),
            ban(Side::Fail2ban, "203.0.113.7", 2059, Some(2659)),
            ban(Side::Portero, "2001:db8::/64", 2000, Some(5600)),
            ban(Side::Fail2ban, "2001:db8::7", 1990, Some(2600)),
            ban(Side::Fail2ban, "192.0.2.9", 2000, None),
            ban(Side::Portero, "192.0.2.0/24", 2010, None),
        ];
        assert_eq!(compared(&bans), Comparison { both: 3, ..Comparison::default() });
    }

    #[test]
    fn a_ban_of_one_side_alone_is_named_and_the_other_client_does_not_excuse_it() {
        let bans = [
            ban(Side::Portero, "203.0.113.7", 2000, Some(5600)),
            ban(Side::Fail2ban, "203.0.113.8", 2000, Some(2600)),
            ban(Side::Portero, "2001:db8:0:1::/64", 2000, Some(5600)),
            ban(Side::Fail2ban, "2001:db8:0:2::1", 2000, Some(2600)),
        ];
        assert_eq!(compared(&bans).alone, [0, 1, 2, 3]);
    }

    #[test]
    fn who_is_banned_there_already_makes_no_difference() {
        let mut restored = ban(Side::Fail2ban, "203.0.113.9", 500, None);
        restored.restored = true;
        let bans = [
            ban(Side::Portero, "203.0.113.7", 2000, Some(5600)),
            ban(Side::Fail2ban, "203.0.113.7", 2000, Some(2600)),
            // fail2ban's was shorter, and it bans again while ours stands.
            ban(Side::Fail2ban, "203.0.113.7", 4000, Some(4600)),
            // Ours is over by then.
            ban(Side::Fail2ban, "203.0.113.7", 9000, Some(9600)),
            restored,
            ban(Side::Portero, "203.0.113.9", 3000, Some(6600)),
        ];
        assert_eq!(compared(&bans), Comparison { both: 1, covered: 2, undecided: 0, alone: vec![3] });
    }

    #[test]
    fn a_ban_of_the_second_in_which_comparing_began_is_asked() {
        let bans = [
            ban(Side::Portero, "203.0.113.7", 2000, None),
            ban(Side::Fail2ban, "203.0.113.7", 2000, None),
            ban(Side::Portero, "203.0.113.8", 2000, None),
            ban(Side::Portero, "203.0.113.9", 1999, None),
        ];
        let began = Timestamp::from_secs_f64(2000.443);
        let compared = compare(&bans, began, Timestamp::from_secs(100_000), MINUTE);
        assert_eq!(compared, Comparison { both: 1, alone: vec![2], ..Comparison::default() });
    }

    #[test]
    fn what_is_young_is_undecided_and_what_is_old_is_not_asked() {
        let bans =
            [ban(Side::Portero, "203.0.113.7", 99_990, None), ban(Side::Portero, "203.0.113.8", 999, None)];
        assert_eq!(compared(&bans), Comparison { undecided: 1, ..Comparison::default() });
    }
}
