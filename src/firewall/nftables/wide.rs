//! Networks of any length in an interval set, which takes no overlaps: the bans are kept here, and written to the
//! kernel as intervals that do not touch, each with the time of the ban that lasts longest there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::addr::{Host, Net};
use crate::time::Span;

/// The networks banned in one set, one family.
#[derive(Debug, Clone, Default)]
pub struct WideSet {
    /// When each ends, by the monotonic clock. Sorted: by first address, the wider net before those inside it.
    nets: BTreeMap<Net, End>,
}

/// When a ban ends; `Never` is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    At(Duration),
    Never,
}

/// One interval as the kernel gets it; no two overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    pub first: IpAddr,
    /// The address after the last; `None`: it goes to the end of the address space.
    pub after: Option<IpAddr>,
    pub left: Span,
    /// The ban that lasts longest here. It is written beside the interval, so that a restart finds it again.
    pub source: Net,
}

impl WideSet {
    /// Bans, or changes the length of a ban.
    pub fn ban(&mut self, net: Net, left: Span, now: Duration) {
        let end = match left {
            Span::For(left) => End::At(now.saturating_add(left)),
            Span::Forever => End::Never,
        };
        self.nets.insert(net, end);
    }

    /// Whether it was banned.
    pub fn unban(&mut self, net: Net) -> bool {
        self.nets.remove(&net).is_some()
    }

    /// Forgets what the kernel has let go by now.
    pub fn expire(&mut self, now: Duration) {
        self.nets.retain(|_, end| *end > End::At(now));
    }

    /// The bans as disjoint intervals in ascending order.
    ///
    /// Two CIDR networks are apart or one holds the other, so a stack of those that hold the current address is
    /// enough. A net that ends no later than one around it adds nothing.
    pub fn intervals(&self, now: Duration) -> Vec<Interval> {
        let mut out = Sweep { now, out: Vec::new(), cursor: None };
        let mut around: Vec<(Net, End)> = Vec::new();
        for (&net, &end) in self.nets.iter().filter(|(_, end)| **end > End::At(now)) {
            while let Some(&(outer, outer_end)) = around.last() {
                if outer.covers(net) {
                    break;
                }
                out.until(Some(last(outer)), outer, outer_end);
                around.pop();
            }
            match around.last() {
                Some(&(_, outer_end)) if outer_end >= end => continue,
                Some(&(outer, outer_end)) => out.until(before(net), outer, outer_end),
                None => {}
            }
            out.cursor = Some(number(net.base()));
            around.push((net, end));
        }
        while let Some((net, end)) = around.pop() {
            out.until(Some(last(net)), net, end);
        }
        out.out
    }
}

/// Builds intervals from left to right.
struct Sweep {
    now: Duration,
    out: Vec<Interval>,
    /// The first address not yet given out; `None`: the address space is used up.
    cursor: Option<u128>,
}

impl Sweep {
    /// Gives out all from the cursor up to `last`, if anything.
    fn until(&mut self, last: Option<u128>, source: Net, end: End) {
        let (Some(first), Some(last)) = (self.cursor, last) else { return };
        if first > last {
            return;
        }
        let ipv4 = source.is_ipv4();
        let max = if ipv4 { u128::from(u32::MAX) } else { u128::MAX };
        let after = (last < max).then(|| last + 1);
        let left = match end {
            End::At(end) => Span::For(end - self.now),
            End::Never => Span::Forever,
        };
        self.out.push(Interval {
            first: address(first, ipv4),
            after: after.map(|n| address(n, ipv4)),
            left,
            source,
        });
        self.cursor = after;
    }
}

/// The networks that together are `first` up to, not including, `after`: fewest possible.
pub fn cidrs(first: IpAddr, after: Option<IpAddr>) -> Vec<Net> {
    let ipv4 = first.is_ipv4();
    let bits: u32 = if ipv4 { 32 } else { 128 };
    let max = if ipv4 { u128::from(u32::MAX) } else { u128::MAX };
    let last = match after {
        Some(after) => match ip_number(after).checked_sub(1) {
            Some(last) => last,
            None => return Vec::new(),
        },
        None => max,
    };
    let mut from = ip_number(first);
    let mut out = Vec::new();
    while from <= last {
        let mut size = from.trailing_zeros().min(bits);
        // The whole space has no size in 128 bits, hence the comparison by last address.
        while size > 0 && (size == 128 || from | ((1 << size) - 1) > last) && !(size == bits && last == max) {
            size -= 1;
        }
        out.push(Net::of(Host::new(address(from, ipv4)), (bits - size) as u8));
        let end = if size == 128 { u128::MAX } else { from | ((1 << size) - 1) };
        if end >= last {
            break;
        }
        from = end + 1;
    }
    out
}

fn number(host: Host) -> u128 {
    ip_number(host.ip())
}

fn ip_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 { IpAddr::V4((number as u32).into()) } else { IpAddr::V6(number.into()) }
}

fn last(net: Net) -> u128 {
    let host_bits = u32::from(net.base().prefix_max() - net.prefix());
    let hosts = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
    number(net.base()) | hosts
}

fn before(net: Net) -> Option<u128> {
    number(net.base()).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn set(bans: &[(&str, i64)]) -> WideSet {
        let mut set = WideSet::default();
        for (net, secs) in bans {
            let left = u64::try_from(*secs).map_or(Span::Forever, |s| Span::For(Duration::from_secs(s)));
            set.ban(net.parse().unwrap(), left, NOW);
        }
        set
    }

    fn shown(set: &WideSet) -> Vec<String> {
        let show = |i: &Interval| {
            let after = i.after.map_or("end".to_owned(), |ip| ip.to_string());
            let left = match i.left {
                Span::For(left) => left.as_secs().to_string(),
                Span::Forever => "ever".to_owned(),
            };
            format!("{}..{after} {left} {}", i.first, i.source)
        };
        set.intervals(NOW).iter().map(show).collect()
    }

    #[test]
    fn a_net_inside_a_longer_ban_vanishes_and_inside_a_shorter_one_splits_it() {
        let shadowed = set(&[("10.0.0.0/8", 60), ("10.1.0.0/16", 30)]);
        assert_eq!(shown(&shadowed), ["10.0.0.0..11.0.0.0 60 10.0.0.0/8"]);
        let longer = set(&[("10.0.0.0/8", 60), ("10.1.0.0/16", -1), ("10.0.0.0/16", 90)]);
        assert_eq!(
            shown(&longer),
            [
                "10.0.0.0..10.1.0.0 90 10.0.0.0/16",
                "10.1.0.0..10.2.0.0 ever 10.1.0.0/16",
                "10.2.0.0..11.0.0.0 60 10.0.0.0/8"
            ]
        );
    }

    #[test]
    fn the_end_of_the_address_space_has_no_address_after_it() {
        assert_eq!(shown(&set(&[("255.0.0.0/8", 5)])), ["255.0.0.0..end 5 255.0.0.0/8"]);
        assert_eq!(shown(&set(&[("0.0.0.0/0", 5)])), ["0.0.0.0..end 5 0.0.0.0/0"]);
        assert_eq!(shown(&set(&[("::/0", 5)])), ["::..end 5 ::/0"]);
        assert_eq!(
            shown(&set(&[("::/0", 5), ("ffff::/16", 9)])),
            ["::..ffff:: 5 ::/0", "ffff::..end 9 ffff::/16"]
        );
        assert_eq!(shown(&set(&[("::/0", 5), ("::/16", 9)])), ["::..1:: 9 ::/16", "1::..end 5 ::/0"]);
    }

    #[test]
    fn what_has_run_out_is_no_interval() {
        let mut set = set(&[("10.0.0.0/8", 0), ("11.0.0.0/8", 1)]);
        assert_eq!(shown(&set), ["11.0.0.0..12.0.0.0 1 11.0.0.0/8"]);
        set.expire(NOW);
        assert!(set.unban("11.0.0.0/8".parse().unwrap()) && !set.unban("10.0.0.0/8".parse().unwrap()));
    }

    #[test]
    fn an_interval_is_told_as_networks() {
        let nets = |first: &str, after: Option<&str>| {
            let nets = cidrs(first.parse().unwrap(), after.map(|ip| ip.parse().unwrap()));
            nets.iter().map(Net::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(nets("10.0.0.0", Some("11.0.0.0")), "10.0.0.0/8");
        assert_eq!(nets("10.0.0.1", Some("10.0.0.4")), "10.0.0.1 10.0.0.2/31");
        assert_eq!(nets("255.255.255.254", None), "255.255.255.254/31");
        assert_eq!(nets("0.0.0.0", None), "0.0.0.0/0");
        assert_eq!(nets("::", None), "::/0");
        assert_eq!(nets("8000::", None), "8000::/1");
        assert_eq!(nets("::", Some("::1")), "::");
        assert_eq!(nets("::", Some("::")), "");
    }

    fn net() -> impl Strategy<Value = Net> {
        (any::<u8>(), 0u8..=8).prop_map(|(byte, prefix)| {
            Net::of(Host::new(IpAddr::V4(std::net::Ipv4Addr::new(byte, 0, 0, 0))), prefix)
        })
    }

    proptest! {
        #[test]
        fn every_address_has_the_time_of_its_longest_ban(
            bans in prop::collection::vec((net(), 0u64..5), 0..12)
        ) {
            let mut set = WideSet::default();
            for (net, secs) in &bans {
                set.ban(*net, Span::For(Duration::from_secs(*secs)), NOW);
            }
            let intervals = set.intervals(NOW);
            for pair in intervals.windows(2) {
                prop_assert!(pair[0].after.is_some_and(|after| after <= pair[1].first));
            }
            for byte in 0..=255u8 {
                let ip = IpAddr::V4(std::net::Ipv4Addr::new(byte, 1, 2, 3));
                let want = set.nets.iter().filter(|(net, end)| net.contains(Host::new(ip)) && **end > End::At(NOW))
                    .map(|(_, end)| *end).max();
                let got = intervals.iter().find(|i| i.first <= ip && i.after.is_none_or(|after| ip < after));
                let got = got.map(|i| match i.left { Span::For(left) => End::At(NOW + left), Span::Forever => End::Never });
                prop_assert_eq!(got, want);
            }
        }
    }
}
