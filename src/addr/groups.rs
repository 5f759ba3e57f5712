//! IPv6 as it is mostly written: groups of hexadecimal digits. The standard library tries each group as IPv4 too.

use std::net::Ipv6Addr;

/// The address that `text` begins with, and how many bytes it takes. `None` says nothing: one with IPv4 in it is not read
/// here. At most one `::`, which stands for one group at least.
#[inline]
pub(crate) fn first(text: &[u8]) -> Option<(Ipv6Addr, usize)> {
    let mut groups = [0u16; 8];
    let mut known = 0;
    let mut gap = None;
    let mut at = 0;
    if text.starts_with(b"::") {
        gap = Some(0);
        at = 2;
    }
    loop {
        let (group, digits) = group(&text[at..]);
        match digits {
            // The address ends with a gap.
            0 if gap == Some(known) => break,
            1..=4 if known < 8 => {}
            _ => return None,
        }
        groups[known] = group;
        known += 1;
        at += digits;
        match text[at..] {
            [b':', b':', ..] if gap.is_none() => {
                gap = Some(known);
                at += 2;
            }
            [b':', ..] => at += 1,
            _ => break,
        }
    }
    match gap {
        None if known == 8 => {}
        Some(gap) if known < 8 => {
            groups.copy_within(gap..known, gap + 8 - known);
            groups[gap..gap + 8 - known].fill(0);
        }
        _ => return None,
    }
    Some((Ipv6Addr::from(groups), at))
}

/// The number that `text` begins with, and how many digits it has; more than four are one too many.
#[inline]
fn group(text: &[u8]) -> (u16, usize) {
    let mut five = [0; 5];
    match text.first_chunk() {
        Some(chunk) => five = *chunk,
        None => five[..text.len()].copy_from_slice(text),
    }
    let [a, b, c, d, e] = five;
    let hex = |byte: u8| u32::from(HEX[usize::from(byte)]);
    let (a, b, c, d, e) = (hex(a), hex(b), hex(c), hex(d), hex(e));
    // How many digits a group has is not foreseen: no branch asks. The marks of what is no digit, and one where none is.
    let ends = a >> 7 | b >> 7 << 1 | c >> 7 << 2 | d >> 7 << 3 | e >> 7 << 4 | 1 << 5;
    let count = ends.trailing_zeros();
    let four = (a & 15) << 12 | (b & 15) << 8 | (c & 15) << 4 | d & 15;
    ((four >> (4 * 4u32.saturating_sub(count))) as u16, count as usize)
}

/// What a byte is as a hexadecimal digit; the highest bit marks others.
static HEX: [u8; 256] = {
    let mut hex = [u8::MAX; 256];
    let mut byte = 0;
    while byte < 256 {
        if let Some(digit) = (byte as u8 as char).to_digit(16) {
            hex[byte] = digit as u8;
        }
        byte += 1;
    }
    hex
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The whole of `text`.
    fn read(text: &str) -> Option<Ipv6Addr> {
        first(text.as_bytes()).filter(|(_, len)| *len == text.len()).map(|(ip, _)| ip)
    }

    proptest! {
        #[test]
        fn an_address_is_read_as_the_standard_library_reads_it(
            parts in prop::collection::vec(prop::sample::select(&["0", "1", "db8", "2001", "FFfe", "12345", ":", ":", ":", "::", "g", "."][..]), 0..18),
            groups in any::<[u16; 8]>(),
            zeroed in any::<u8>(),
        ) {
            let text = parts.concat();
            if let Some((ip, len)) = first(text.as_bytes()) {
                prop_assert_eq!(text[..len].parse::<Ipv6Addr>(), Ok(ip), "{}", text);
            }
            let ip = Ipv6Addr::from(std::array::from_fn(|at| if zeroed >> at & 1 == 1 { 0 } else { groups[at] }));
            for text in [ip.to_string(), ip.segments().map(|group| format!("{group:x}")).join(":")] {
                // The standard library writes some as IPv4.
                prop_assert_eq!(read(&text), (!text.contains('.')).then_some(ip), "{}", text);
                prop_assert_eq!(first(format!("{text}]: x").as_bytes()).map(|(ip, _)| ip), read(&text));
            }
        }
    }
}
