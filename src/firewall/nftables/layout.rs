//! What stands in table `inet portero`: the names of its sets and chains, and which set a ban belongs to. Pure.
//!
//! ```text
//! set allow/4, allow/6        never dropped
//! set JAIL4, JAIL6            single addresses
//! set JAIL4-24, JAIL6-64      prefixes of the jail's own length, kept as their base address
//! set JAIL4-net, JAIL6-net    networks of any other length, as intervals
//! chain prerouting, forward   allow list first, then one jump for each jail whose ports fit
//! chain jail/JAIL             one rule for each set of the jail
//! chain refuse                tcp reset or port unreachable
//! ```
//! A jail's name has no slash, so names with one are ours.

use crate::addr::Net;
use crate::firewall::{JailRules, Plan};
use crate::jail::JailName;

/// The chain that answers with a reset.
pub const REFUSE: &str = "refuse";

/// How a set holds its bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Single addresses, hashed.
    Hosts,
    /// Prefixes of this one length, hashed; the packet's address is masked before it is looked up.
    Prefix(u8),
    /// Networks of any length, as intervals. Every change costs time in the size of the set.
    Wide,
    /// As `Wide`, but without timeouts: the allow list.
    Allow,
}

/// One set of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetDef {
    pub name: String,
    pub ipv4: bool,
    pub kind: Kind,
}

impl SetDef {
    /// NFT_SET_INTERVAL and NFT_SET_TIMEOUT.
    pub fn flags(&self) -> u32 {
        match self.kind {
            Kind::Hosts | Kind::Prefix(_) => 0x10,
            Kind::Wide => 0x14,
            Kind::Allow => 0x4,
        }
    }

    /// Bytes of an address.
    pub fn key_bytes(&self) -> u32 {
        if self.ipv4 { 4 } else { 16 }
    }

    /// Whether elements are added one by one, rather than the whole set written anew.
    pub fn is_hash(&self) -> bool {
        matches!(self.kind, Kind::Hosts | Kind::Prefix(_))
    }
}

/// The allow list's set of a family.
pub fn allow_set(ipv4: bool) -> SetDef {
    SetDef { name: format!("allow/{}", family(ipv4)), ipv4, kind: Kind::Allow }
}

/// The chain with a jail's rules.
pub fn jail_chain(jail: &JailName) -> String {
    format!("jail/{jail}")
}

/// The sets of one jail: for each family addresses, its prefix length if that is not a single address, and the rest.
pub fn jail_sets(jail: &JailRules) -> Vec<SetDef> {
    let mut sets = Vec::with_capacity(6);
    for (ipv4, prefix, whole) in [(true, jail.ipv4_prefix, 32), (false, jail.ipv6_prefix, 128)] {
        sets.push(set(&jail.name, ipv4, Kind::Hosts));
        if prefix < whole {
            sets.push(set(&jail.name, ipv4, Kind::Prefix(prefix)));
        }
        sets.push(set(&jail.name, ipv4, Kind::Wide));
    }
    sets
}

/// All sets of a plan.
pub fn all_sets(plan: &Plan) -> Vec<SetDef> {
    let allow = [allow_set(true), allow_set(false)];
    allow.into_iter().chain(plan.jails.iter().flat_map(jail_sets)).collect()
}

/// Which of a jail's sets holds a ban of `net`.
pub fn place(jail: &JailRules, net: Net) -> Kind {
    let own = if net.is_ipv4() { jail.ipv4_prefix } else { jail.ipv6_prefix };
    if net.as_host().is_some() {
        Kind::Hosts
    } else if net.prefix() == own {
        Kind::Prefix(own)
    } else {
        Kind::Wide
    }
}

/// Which jail of the plan a set of that name belongs to; finds sets of a former prefix length too.
pub fn owner_of<'p>(plan: &'p Plan, name: &str) -> Option<(&'p JailRules, SetDef)> {
    plan.jails.iter().find_map(|jail| {
        let rest = name.strip_prefix(&stem(&jail.name))?;
        let (digit, rest) = rest.split_at_checked(1)?;
        let ipv4 = match digit {
            "4" => true,
            "6" => false,
            _ => return None,
        };
        let kind = match rest.strip_prefix('-') {
            None if rest.is_empty() => Kind::Hosts,
            Some("net") => Kind::Wide,
            Some(length) => Kind::Prefix(length.parse().ok()?),
            None => return None,
        };
        let found = set(&jail.name, ipv4, kind);
        (found.name == name).then_some((jail, found))
    })
}

fn set(jail: &JailName, ipv4: bool, kind: Kind) -> SetDef {
    let (stem, family) = (stem(jail), family(ipv4));
    let name = match kind {
        Kind::Hosts | Kind::Allow => format!("{stem}{family}"),
        Kind::Prefix(length) => format!("{stem}{family}-{length}"),
        Kind::Wide => format!("{stem}{family}-net"),
    };
    SetDef { name, ipv4, kind }
}

fn family(ipv4: bool) -> char {
    if ipv4 { '4' } else { '6' }
}

/// The jail's name, with a slash after it where it would otherwise run into another jail's sets: `a6-6` and `4`
/// would make `a6-64`, which is jail `a`'s.
fn stem(jail: &JailName) -> String {
    let name = jail.as_str();
    let front = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let clash = front.ends_with("4-") || front.ends_with("6-");
    if clash { format!("{name}/") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jail(name: &str, ipv4_prefix: u8, ipv6_prefix: u8) -> JailRules {
        JailRules { ipv4_prefix, ipv6_prefix, ..JailRules::all_ports(JailName::new(name).unwrap()) }
    }

    fn names(jail: &JailRules) -> Vec<String> {
        jail_sets(jail).into_iter().map(|set| set.name).collect()
    }

    #[test]
    fn a_jail_has_the_sets_its_prefixes_need() {
        assert_eq!(names(&jail("sshd", 32, 128)), ["sshd4", "sshd4-net", "sshd6", "sshd6-net"]);
        assert_eq!(
            names(&jail("sshd", 24, 64)),
            ["sshd4", "sshd4-24", "sshd4-net", "sshd6", "sshd6-64", "sshd6-net"]
        );
    }

    #[test]
    fn a_ban_goes_to_the_set_of_its_length() {
        let jail = jail("sshd", 32, 64);
        for (net, kind) in [
            ("192.0.2.1", Kind::Hosts),
            ("192.0.2.0/24", Kind::Wide),
            ("2001:db8::/64", Kind::Prefix(64)),
            ("2001:db8::1", Kind::Hosts),
            ("2001:db8::/48", Kind::Wide),
            ("::/0", Kind::Wide),
        ] {
            assert_eq!(place(&jail, net.parse().unwrap()), kind, "{net}");
        }
    }

    #[test]
    fn no_two_jails_share_a_set_and_each_set_is_found_again() {
        let jails: Vec<JailRules> =
            ["a", "a4", "a6", "a6-6", "a4-2", "a6-", "a-net", "a4-net", "a6-64", "3proxy", "a."]
                .iter()
                .flat_map(|name| [jail(name, 24, 64)])
                .collect();
        let plan = Plan { jails, ..Plan::default() };
        let sets = all_sets(&plan);
        let distinct: std::collections::HashSet<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(distinct.len(), sets.len());
        for jail in &plan.jails {
            for set in jail_sets(jail) {
                let (owner, found) = owner_of(&plan, &set.name).expect(&set.name);
                assert_eq!((&owner.name, found), (&jail.name, set));
            }
        }
        assert_eq!(owner_of(&plan, "a6-56").unwrap().1.kind, Kind::Prefix(56));
        for foreign in ["allow/4", "b4", "a5", "a4-x", "a4-024", ""] {
            assert_eq!(owner_of(&plan, foreign), None, "{foreign}");
        }
    }
}
