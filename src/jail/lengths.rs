//! [`Lengths`]: which prefix lengths the networks of a set have, so that only those are asked for.

use crate::addr::Net;

const LENGTHS: usize = 129;
/// A bit for each length.
type Bits = [u64; LENGTHS.div_ceil(64)];

/// How many networks there are of each length, IPv4 and IPv6 apart.
#[derive(Debug)]
pub(super) struct Lengths {
    counts: [[u32; LENGTHS]; 2],
    /// The lengths with a count above zero.
    in_use: [Bits; 2],
}

impl Lengths {
    pub fn new() -> Lengths {
        Lengths { counts: [[0; LENGTHS]; 2], in_use: [Bits::default(); 2] }
    }

    pub fn add(&mut self, net: Net) {
        let (family, length) = place(net);
        self.counts[family][length] += 1;
        self.in_use[family][length / 64] |= 1 << (length % 64);
    }

    /// Takes out a network that was added before.
    pub fn remove(&mut self, net: Net) {
        let (family, length) = place(net);
        let count = &mut self.counts[family][length];
        *count -= 1;
        if *count == 0 {
            self.in_use[family][length / 64] &= !(1 << (length % 64));
        }
    }

    /// The lengths in use, the longest first.
    pub fn longest_first(&self, ipv4: bool) -> impl Iterator<Item = u8> {
        let mut bits = self.in_use[usize::from(ipv4)];
        std::iter::from_fn(move || {
            let word = (0..bits.len()).rev().find(|word| bits[*word] != 0)?;
            let bit = bits[word].ilog2();
            bits[word] &= !(1 << bit);
            Some((word as u32 * 64 + bit) as u8)
        })
    }
}

fn place(net: Net) -> (usize, usize) {
    (usize::from(net.is_ipv4()), usize::from(net.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    #[test]
    fn lengths_come_and_go_with_their_networks() {
        let mut lengths = Lengths::new();
        let all = ["::/0", "2001:db8::/32", "2001:db8::/63", "2001:db8::/64", "2001:db8::1", "2001:db8::2"];
        all.iter().for_each(|text| lengths.add(net(text)));
        lengths.add(net("203.0.113.0/24"));
        let found = |lengths: &Lengths, ipv4| lengths.longest_first(ipv4).collect::<Vec<_>>();
        assert_eq!(found(&lengths, false), [128, 64, 63, 32, 0]);
        assert_eq!(found(&lengths, true), [24]);
        lengths.remove(net("2001:db8::1"));
        lengths.remove(net("2001:db8::/64"));
        lengths.remove(net("203.0.113.0/24"));
        assert_eq!(found(&lengths, false), [128, 63, 32, 0]);
        assert_eq!(found(&lengths, true), [0; 0]);
    }
}
