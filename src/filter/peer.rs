//! Who is the offender: the peer of the line, or the address that a trusted proxy forwarded.

use crate::addr::{Host, Net};

/// The networks whose word on forwarded addresses is taken. Few; searched one by one.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Net>);

impl TrustedProxies {
    pub fn new(nets: Vec<Net>) -> TrustedProxies {
        TrustedProxies(nets)
    }

    /// Loopback, private and link-local networks: what `banctl scan` trusts without a configuration.
    pub fn private() -> TrustedProxies {
        let nets = [
            "127.0.0.0/8",
            "::1",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ];
        TrustedProxies(nets.iter().map(|net| net.parse().expect("a network")).collect())
    }

    /// `nets` and this host's own loopback.
    pub fn with_loopback(nets: &[Net]) -> TrustedProxies {
        let loopback = ["127.0.0.0/8", "::1"].map(|net| net.parse().expect("a network"));
        TrustedProxies(nets.iter().copied().chain(loopback).collect())
    }

    pub fn contains(&self, host: Host) -> bool {
        self.0.iter().any(|net| net.contains(host))
    }
}

/// Reads the text of `<HOST>`.
#[inline]
pub fn host(text: &[u8]) -> Option<Host> {
    Host::from_bytes(text.strip_prefix(b"IPv6:").unwrap_or(text))
}

/// The offender: `peer` unless it is a trusted proxy (or absent), else the right-most address of the
/// `forwarded` list that is none; everything left of that is the client's own word. Where the list yields
/// nothing, `peer` itself.
pub fn offender(peer: Option<Host>, forwarded: Option<&[u8]>, trusted: &TrustedProxies) -> Option<Host> {
    let Some(list) = forwarded else { return peer };
    if peer.is_some_and(|peer| !trusted.contains(peer)) {
        return peer;
    }
    let words = list.rsplit(|b| matches!(b, b',' | b' ' | b'\t')).filter(|word| !word.is_empty());
    for word in words {
        match with_port(word) {
            Some(host) if trusted.contains(host) => {}
            Some(host) => return Some(host),
            // What a proxy wrote for an address it did not know hides who came before it.
            None => break,
        }
    }
    peer
}

/// `203.0.113.7`, `203.0.113.7:443`, `[2001:db8::1]:443`, quoted or not.
fn with_port(word: &[u8]) -> Option<Host> {
    let word = word.strip_prefix(b"\"").unwrap_or(word);
    let word = word.strip_suffix(b"\"").unwrap_or(word);
    if let Some(host) = host(word) {
        return Some(host);
    }
    let colon = memchr::memrchr(b':', word)?;
    let port = &word[colon + 1..];
    let before = &word[..colon];
    if port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A bare IPv6 address with a port is not told from one without; that was read above.
    (before.ends_with(b"]") || !before.contains(&b':')).then(|| host(before)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(peer: &str, list: &str) -> String {
        let trusted = TrustedProxies::private();
        let peer = host(peer.as_bytes());
        offender(peer, Some(list.as_bytes()), &trusted).map_or("-".into(), |host| host.to_string())
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_peer() {
        assert_eq!(pick("203.0.113.9", "192.0.2.1"), "203.0.113.9");
        assert_eq!(pick("10.0.0.1", "192.0.2.1"), "192.0.2.1");
        assert_eq!(pick("", "192.0.2.1"), "192.0.2.1");
        assert_eq!(pick("10.0.0.1", "192.0.2.66, 192.0.2.1, 10.0.0.3"), "192.0.2.1");
        assert_eq!(pick("10.0.0.1", "192.0.2.66, unknown"), "10.0.0.1");
        assert_eq!(pick("10.0.0.1", "10.0.0.2"), "10.0.0.1");
        assert_eq!(pick("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(pick("::1", "192.0.2.66 [2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(pick("::1", "192.0.2.1:443"), "192.0.2.1");
        assert_eq!(pick("::1", "2001:db8::1"), "2001:db8::1");
        assert_eq!(pick("::1", "192.0.2.66,1.2.3.4:x"), "::1");
    }
}
