//! What a firewall is to enforce: the [`Plan`], free of any backend's words.

use serde::{Deserialize, Serialize};

use crate::addr::Net;
use crate::jail::JailName;

/// The whole layout: which jails there are and what none of them can hit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each name once; `manual` too, if bans by hand are to work.
    pub jails: Vec<JailRules>,
    /// Never dropped, whatever ban covers it. Overlaps are fine.
    pub allow: Vec<Net>,
    pub table_owner: TableOwner,
}

/// What one jail's bans do to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailRules {
    pub name: JailName,
    pub ports: Ports,
    /// With a list of ports: these protocols (empty: tcp). With [`Ports::All`]: these, or any protocol if empty.
    pub protocols: Vec<Protocol>,
    pub verdict: Verdict,
    pub hook: Hook,
    /// The prefix this jail bans IPv4 by, 1 to 32. Nets of other lengths work too, only less cheaply.
    pub ipv4_prefix: u8,
    /// The prefix this jail bans IPv6 by, 1 to 128.
    pub ipv6_prefix: u8,
}

impl JailRules {
    /// All ports, all protocols, drop, prerouting, single addresses: the shape of jail `manual`.
    pub fn all_ports(name: JailName) -> JailRules {
        JailRules {
            name,
            ports: Ports::All,
            protocols: Vec::new(),
            verdict: Verdict::Drop,
            hook: Hook::Prerouting,
            ipv4_prefix: 32,
            ipv6_prefix: 128,
        }
    }
}

/// Destination ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Whatever the port; replies to connections that this host opened itself pass.
    All,
    /// These; sorted and merged where it is used. Empty matches nothing.
    List(Vec<PortRange>),
}

/// From `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl From<u16> for PortRange {
    fn from(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }
}

impl Ports {
    /// A list of single ports.
    pub fn of(ports: &[u16]) -> Ports {
        Ports::List(ports.iter().map(|port| PortRange::from(*port)).collect())
    }

    pub fn contain(&self, port: u16) -> bool {
        match self {
            Ports::All => true,
            Ports::List(ranges) => ranges.iter().any(|r| r.first <= port && port <= r.last),
        }
    }
}

/// The ranges sorted, empty ones (`first > last`) left out and overlapping ones merged. Neighbours such as 143 and 144
/// stay apart, so that they are listed as typed.
pub(crate) fn merged(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut ranges: Vec<PortRange> = ranges.iter().copied().filter(|r| r.first <= r.last).collect();
    ranges.sort_unstable();
    let mut out: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.first <= last.last => last.last = last.last.max(range.last),
            _ => out.push(range),
        }
    }
    out
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
    Dccp,
}

impl Protocol {
    /// IANA's number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Dccp => 33,
            Protocol::Sctp => 132,
        }
    }
}

/// What a banned peer notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing at all.
    #[default]
    Drop,
    /// A tcp reset; for other protocols icmp port unreachable.
    Reject,
}

/// Where packets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// Before any DNAT: local services and forwarded ports by the number that the client sees.
    #[default]
    Prerouting,
    /// Only forwarded packets, after DNAT: ports are those of the container or host behind.
    Forward,
}

/// Whether the kernel is asked to keep other programs off our table (flags owner and persist, kernel >= 6.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableOwner {
    /// On where the kernel can.
    #[default]
    Auto,
    On,
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_port_ranges_become_one_and_single_ports_stay() {
        let range = |first, last| PortRange { first, last };
        let ports =
            [range(465, 465), range(25, 25), range(20, 30), range(25, 25), range(9, 3), range(31, 31)];
        assert_eq!(merged(&ports), [range(20, 30), range(31, 31), range(465, 465)]);
        assert!(Ports::of(&[25, 465]).contain(465) && !Ports::of(&[25]).contain(26) && Ports::All.contain(1));
    }
}
