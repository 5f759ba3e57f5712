//! [`NetSet`]: a set of networks that is asked often and changed seldom.

use std::net::IpAddr;

use crate::addr::{Host, Net};

/// Networks as sorted ranges of addresses that neither overlap nor touch: a question is a binary search,
/// however many entries there are.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct NetSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl NetSet {
    pub fn new(nets: impl IntoIterator<Item = Net>) -> NetSet {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net.base().ip() {
                IpAddr::V4(_) => {
                    let (first, last) = range(net);
                    v4.push((first as u32, last as u32));
                }
                IpAddr::V6(_) => v6.push(range(net)),
            }
        }
        merge(&mut v4, u32::MAX, |last| last + 1);
        merge(&mut v6, u128::MAX, |last| last + 1);
        NetSet { v4, v6 }
    }

    pub fn contains(&self, host: Host) -> bool {
        self.covers(Net::host(host))
    }

    /// Whether every address of `net` is in here.
    pub fn covers(&self, net: Net) -> bool {
        let (first, last) = range(net);
        if net.is_ipv4() {
            covers(&self.v4, first as u32, last as u32)
        } else {
            covers(&self.v6, first, last)
        }
    }
}

/// First and last address of `net`, as numbers; an IPv4 one fits into 32 bits.
fn range(net: Net) -> (u128, u128) {
    match net.base().ip() {
        IpAddr::V4(ip) => {
            let first = u32::from(ip);
            let hosts = u32::MAX.checked_shr(u32::from(net.prefix())).unwrap_or(0);
            (u128::from(first), u128::from(first | hosts))
        }
        IpAddr::V6(ip) => {
            let first = u128::from(ip);
            (first, first | u128::MAX.checked_shr(u32::from(net.prefix())).unwrap_or(0))
        }
    }
}

fn merge<T: Copy + Ord>(ranges: &mut Vec<(T, T)>, max: T, next: impl Fn(T) -> T) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        let touches = kept.1 == max || later.0 <= next(kept.1);
        if touches {
            kept.1 = kept.1.max(later.1);
        }
        touches
    });
    ranges.shrink_to_fit();
}

fn covers<T: Copy + Ord>(ranges: &[(T, T)], first: T, last: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= first);
    after > 0 && ranges[after - 1].1 >= last
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn set(texts: &[&str]) -> NetSet {
        NetSet::new(texts.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn hosts_at_the_borders_are_in_and_their_neighbours_are_not() {
        let set = set(&["192.0.2.0/25", "2001:db8::/64", "203.0.113.7", "255.255.255.255"]);
        for (text, want) in [
            ("192.0.2.0", true),
            ("192.0.2.127", true),
            ("192.0.2.128", false),
            ("192.0.1.255", false),
            ("::ffff:192.0.2.5", true),
            ("203.0.113.7", true),
            ("203.0.113.8", false),
            ("255.255.255.255", true),
            ("2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::", false),
            // The same number as an IPv4 address has, in the other family.
            ("::c000:205", false),
        ] {
            assert_eq!(set.contains(text.parse().unwrap()), want, "{text}");
        }
        assert!(!NetSet::default().contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn neighbours_merge_and_a_whole_network_may_be_covered_by_two() {
        let set = set(&["192.0.2.128/25", "192.0.2.0/25", "192.0.2.9"]);
        assert!(set.covers("192.0.2.0/24".parse().unwrap()));
        assert!(!set.covers("192.0.2.0/23".parse().unwrap()));
        assert_eq!(set.v4.len(), 1);
    }

    #[test]
    fn everything_is_covered_by_the_default_routes() {
        let set = set(&["0.0.0.0/0", "::/0", "203.0.113.0/24"]);
        assert!(set.covers("0.0.0.0/0".parse().unwrap()) && set.covers("::/0".parse().unwrap()));
    }

    #[test]
    fn many_random_networks_agree_with_asking_each() {
        let mut random = Random::new(9);
        let mut host = || Host::new(std::net::Ipv4Addr::from((random.next() as u32) & 0x0000_ffff).into());
        let nets: Vec<Net> = (0..300).map(|n| Net::of(host(), 24 + (n % 9) as u8)).collect();
        let set = NetSet::new(nets.iter().copied());
        for _ in 0..5000 {
            let host = host();
            assert_eq!(set.contains(host), nets.iter().any(|net| net.contains(host)), "{host}");
        }
    }
}
