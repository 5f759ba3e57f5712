//! `<HOST>`, read without trying its readings one by one.
//!
//! The forms of [`HOST`](crate::filter::compile::HOST) tell each other apart by their bytes, and inside each a run ends
//! where its class does. So where the pattern goes on with a byte that no address holds ([`goes_on`]), there is one
//! reading or none.

use std::net::IpAddr;

use crate::addr::{Host, Quad, first_ipv6};

/// Whether an address or its zone index could hold `byte`.
pub fn goes_on(byte: u8) -> bool {
    is_zone(byte) || matches!(byte, b':' | b'%')
}

fn is_inside(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

fn is_zone(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Length of the run of bytes that fit, at most `max`.
#[inline]
fn run(text: &[u8], max: usize, fits: impl Fn(u8) -> bool) -> usize {
    let text = &text[..text.len().min(max)];
    text.iter().position(|byte| !fits(*byte)).unwrap_or(text.len())
}

/// Where the address that begins at `at` ends, and the address where that was found out on the way; `None`: there is none.
#[inline]
pub fn read(text: &[u8], at: usize) -> Option<(usize, Option<Host>)> {
    let bracketed = text.get(at) == Some(&b'[');
    let mut at = at + usize::from(bracketed);
    if text[at..].starts_with(b"IPv6:") {
        at += 5;
    }
    if bracketed {
        let inside = run(&text[at..], 45, is_inside);
        if inside < 2 {
            return None;
        }
        at = zone(text, at + inside)?;
        return (text.get(at) == Some(&b']')).then_some((at + 1, None));
    }
    match Quad::first(&text[at..]) {
        Some(quad) => Some((at + quad.len, quad.octets().map(|octets| Host::new(IpAddr::from(octets))))),
        None => ipv6(text, at),
    }
}

fn ipv6(text: &[u8], mut at: usize) -> Option<(usize, Option<Host>)> {
    if let Some((ip, len)) = first_ipv6(&text[at..])
        && !text.get(at + len).is_some_and(|byte| is_inside(*byte) || *byte == b'%')
    {
        return Some((at + len, Some(Host::new(IpAddr::V6(ip)))));
    }
    at += run(&text[at..], 4, |byte| byte.is_ascii_hexdigit());
    if text.get(at) != Some(&b':') {
        return None;
    }
    let rest = run(&text[at + 1..], 44, is_inside);
    if rest == 0 {
        return None;
    }
    Some((zone(text, at + 1 + rest)?, None))
}

/// Passes over `%` and a zone index; `None`: a `%` without one.
fn zone(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'%') {
        return Some(at);
    }
    let len = run(&text[at + 1..], 16, is_zone);
    (len > 0).then_some(at + 1 + len)
}
