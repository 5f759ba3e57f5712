//! Addresses as portero knows them: a [`Host`], and a [`Net`] that holds hosts.
//!
//! IPv4-mapped IPv6 is IPv4, everywhere and from the moment of parsing, so that one peer has one name.

mod groups;
mod quad;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use self::groups::first as first_ipv6;
pub(crate) use self::quad::Quad;

/// One peer's address. Never IPv4-mapped: `::ffff:203.0.113.7` is `203.0.113.7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(IpAddr);

/// A text that is no address or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address or a network; examples: 203.0.113.7, 2001:db8::1, 192.0.2.0/24")]
pub struct ParseError(pub String);

impl Host {
    /// Folds an IPv4-mapped address into IPv4.
    pub fn new(ip: IpAddr) -> Host {
        Host(ip.to_canonical())
    }

    pub fn ip(self) -> IpAddr {
        self.0
    }

    pub fn is_ipv4(self) -> bool {
        self.0.is_ipv4()
    }

    /// 32 or 128.
    pub fn prefix_max(self) -> u8 {
        if self.0.is_ipv4() { 32 } else { 128 }
    }

    /// Reads an address from log or command-line bytes: IPv4, IPv6, IPv4-mapped, with or without brackets,
    /// a zone index (`fe80::1%eth0`) cut off. Anything else is `None`.
    pub fn from_bytes(text: &[u8]) -> Option<Host> {
        let text = match text {
            [b'[', inner @ .., b']'] => inner.strip_prefix(b"IPv6:").unwrap_or(inner),
            _ => text,
        };
        // Longer than any spelling of an address with its zone index.
        if text.is_empty() || text.len() > 64 {
            return None;
        }
        if let Some(v4) = parse_ipv4(text) {
            return Some(Host(IpAddr::V4(v4)));
        }
        if let Some((v6, _)) = first_ipv6(text).filter(|(_, len)| *len == text.len()) {
            return Some(Host::new(IpAddr::V6(v6)));
        }
        let text = std::str::from_utf8(text).ok()?;
        let text = text.split_once('%').map_or(text, |(address, _)| address);
        text.parse::<Ipv6Addr>().ok().map(|ip| Host::new(IpAddr::V6(ip)))
    }
}

/// Dotted quad, decimal, no leading zeros beyond three digits; faster than going through UTF-8.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let quad = Quad::first(text).filter(|quad| quad.len == text.len())?;
    quad.octets().map(Ipv4Addr::from)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Host {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Host, ParseError> {
        Host::from_bytes(text.trim().as_bytes()).ok_or_else(|| ParseError(text.to_owned()))
    }
}

/// A network, its host bits zero. A single address is a `Net` of full length, printed without `/32`.
///
/// `Net` is what gets banned: an address, a subnet key's prefix, or a network typed by hand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    base: Host,
    prefix: u8,
}

impl Net {
    /// The network of `prefix` bits that holds `host`. A prefix beyond the family's length is cut to it.
    pub fn of(host: Host, prefix: u8) -> Net {
        let prefix = prefix.min(host.prefix_max());
        let base = match host.0 {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(ip) & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(ip) & mask))
            }
        };
        // Not `Host::new`: the base of ::/0 or ::ffff:0:0/96 must stay an IPv6 address.
        Net { base: Host(base), prefix }
    }

    pub fn host(host: Host) -> Net {
        Net { base: host, prefix: host.prefix_max() }
    }

    pub fn base(self) -> Host {
        self.base
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn is_ipv4(self) -> bool {
        self.base.is_ipv4()
    }

    /// The address, if this is exactly one.
    pub fn as_host(self) -> Option<Host> {
        (self.prefix == self.base.prefix_max()).then_some(self.base)
    }

    pub fn contains(self, host: Host) -> bool {
        self.is_ipv4() == host.is_ipv4() && Net::of(host, self.prefix).base == self.base
    }

    /// Whether every address of `other` is in here.
    pub fn covers(self, other: Net) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    pub fn overlaps(self, other: Net) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_host() {
            Some(host) => host.fmt(f),
            None => write!(f, "{}/{}", self.base, self.prefix),
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Net {
    type Err = ParseError;
    /// `203.0.113.7`, `203.0.113.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/48`. Host bits are cleared.
    fn from_str(text: &str) -> Result<Net, ParseError> {
        let wrong = || ParseError(text.to_owned());
        let Some((address, length)) = text.trim().split_once('/') else {
            return Host::from_bytes(text.trim().as_bytes()).map(Net::host).ok_or_else(wrong);
        };
        let mapped = address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_ipv4_mapped().is_some());
        let host = Host::from_bytes(address.as_bytes()).ok_or_else(wrong)?;
        let prefix = match length.parse::<u8>() {
            Ok(prefix) if mapped => prefix.checked_sub(96).ok_or_else(wrong)?,
            Ok(prefix) => prefix,
            Err(_) => {
                let mask = u32::from(parse_ipv4(length.as_bytes()).ok_or_else(wrong)?);
                if mask.leading_ones() != mask.count_ones() {
                    return Err(wrong());
                }
                mask.count_ones() as u8
            }
        };
        if prefix > host.prefix_max() || !length.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        Ok(Net::of(host, prefix))
    }
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.to_binary().serialize(serializer)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    Ok($name::from_binary(Deserialize::deserialize(deserializer)?))
                }
            }
        }
    };
}

impl Host {
    fn to_binary(self) -> IpAddr {
        self.0
    }
    fn from_binary(ip: IpAddr) -> Host {
        Host::new(ip)
    }
}

impl Net {
    fn to_binary(self) -> (IpAddr, u8) {
        (self.base.0, self.prefix)
    }
    fn from_binary((ip, prefix): (IpAddr, u8)) -> Net {
        Net::of(Host(ip), prefix)
    }
}

serde_as_text!(Host);
serde_as_text!(Net);

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn mapped_and_bracketed_forms_are_one_host() {
        for text in ["203.0.113.7", "::ffff:203.0.113.7", "[203.0.113.7]", "[::ffff:cb00:7107]"] {
            assert_eq!(host(text).to_string(), "203.0.113.7", "{text}");
        }
        assert_eq!(host("[IPv6:2001:db8:0:0:0:0:0:1]").to_string(), "2001:db8::1");
        assert_eq!(host("fe80::1%eth0").to_string(), "fe80::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.1234", "2", "example.org", "1.2.3.4x", "[]"]
        {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        for text in ["1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "::/129", "1.2.3.0/255.0.255.0", "1.2.3.4/+8"] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_hosts_and_no_others() {
        let net: Net = "192.0.2.130/25".parse().unwrap();
        assert_eq!(net.to_string(), "192.0.2.128/25");
        assert!(net.contains(host("192.0.2.255")) && !net.contains(host("192.0.2.127")));
        assert!(!net.contains(host("2001:db8::1")));
        assert_eq!("192.0.2.0/255.255.255.0".parse::<Net>().unwrap().prefix(), 24);
        assert_eq!("::ffff:192.0.2.0/120".parse::<Net>().unwrap().to_string(), "192.0.2.0/24");
        assert!("0.0.0.0/0".parse::<Net>().unwrap().contains(host("203.0.113.7")));
        assert!(!"::/0".parse::<Net>().unwrap().contains(host("203.0.113.7")));
        assert!("::/0".parse::<Net>().unwrap().contains(host("2001:db8::1")));
    }

    #[test]
    fn binary_and_text_forms_come_back() {
        for text in ["203.0.113.7", "192.0.2.0/24", "2001:db8::/64", "::/0"] {
            let net: Net = text.parse().unwrap();
            let json = serde_json::to_string(&net).unwrap();
            assert_eq!(serde_json::from_str::<Net>(&json).unwrap(), net);
            let bytes = postcard::to_stdvec(&net).unwrap();
            assert_eq!(postcard::from_bytes::<Net>(&bytes).unwrap(), net);
        }
    }
}
