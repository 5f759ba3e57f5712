//! Dotted quads, sixteen bytes at a time: how many digits a number has is not foreseen by any processor, so a loop over them
//! costs more than all the rest.

/// Four numbers of one to three decimal digits each, with dots between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quad {
    numbers: [u16; 4],
    /// Bytes that it takes.
    pub len: usize,
}

impl Quad {
    /// The quad that `text` begins with; three digits of the last number at most.
    #[inline]
    pub fn first(text: &[u8]) -> Option<Quad> {
        let sixteen = match text.first_chunk::<16>() {
            Some(chunk) => u128::from_le_bytes(*chunk),
            None => {
                let mut chunk = [0; 16];
                chunk[..text.len()].copy_from_slice(text);
                u128::from_le_bytes(chunk)
            }
        };
        let mut others = not_digits(sixteen);
        let mut numbers = [0; 4];
        let mut start = 0;
        for number in &mut numbers[..3] {
            let end = others.trailing_zeros() / 8;
            if !(1..=3).contains(&end.wrapping_sub(start)) || (sixteen >> (end * 8)) as u8 != b'.' {
                return None;
            }
            *number = number_of(sixteen >> (start * 8), end - start);
            others &= others - 1;
            start = end + 1;
        }
        // There is always one: twelve digits at most lie before.
        let end = (others.trailing_zeros() / 8).min(start + 3);
        if end == start {
            return None;
        }
        numbers[3] = number_of(sixteen >> (start * 8), end - start);
        Some(Quad { numbers, len: end as usize })
    }

    /// The bytes of the address; `None`: a number is none.
    #[inline]
    pub fn octets(self) -> Option<[u8; 4]> {
        let [a, b, c, d] = self.numbers;
        (a | b | c | d <= 255).then(|| self.numbers.map(|number| number as u8))
    }
}

/// The highest bit of each byte that is no digit.
#[inline]
fn not_digits(bytes: u128) -> u128 {
    const ALL: u128 = u128::from_ne_bytes([1; 16]);
    // A digit is 0 to 9 now, and anything else is more.
    let bytes = bytes ^ (ALL * 0x30);
    (((bytes & (ALL * 0x7f)) + ALL * 0x76) | bytes) & (ALL * 0x80)
}

/// The number of the first `len` bytes, one to three digits.
#[inline]
fn number_of(bytes: u128, len: u32) -> u16 {
    // The last digit last; those that are not there are zeros.
    let digits = ((bytes as u32) << (8 * (4 - len))) & 0x0f0f_0f00;
    let digit = |at: u32| (digits >> (8 * at)) as u16 & 0xff;
    digit(1) * 100 + digit(2) * 10 + digit(3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Digit by digit.
    fn plainly(text: &[u8]) -> Option<Quad> {
        let mut numbers = [0; 4];
        let mut at = 0;
        for (place, number) in numbers.iter_mut().enumerate() {
            let digits = text[at..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
            *number = std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()?;
            at += digits;
            if place < 3 {
                at += usize::from(*text.get(at).filter(|byte| **byte == b'.')? == b'.');
            }
        }
        Some(Quad { numbers, len: at })
    }

    proptest! {
        #[test]
        fn it_reads_what_is_read_digit_by_digit(text in "[0-9]{0,4}[.,][0-9]{0,4}[./:\\x80]?[0-9]{0,3}[.][0-9]{0,5}[ \\].0-9]{0,4}") {
            prop_assert_eq!(Quad::first(text.as_bytes()), plainly(text.as_bytes()));
        }

        #[test]
        fn any_address_comes_back(octets: [u8; 4], after in "[^0-9]?.{0,20}") {
            let address = std::net::Ipv4Addr::from(octets).to_string();
            let text = format!("{address}{after}");
            let quad = Quad::first(text.as_bytes()).unwrap();
            if !after.starts_with(|c: char| c.is_ascii_digit()) {
                prop_assert_eq!((quad.octets(), quad.len), (Some(octets), address.len()));
            }
        }
    }

    #[test]
    fn a_number_above_255_makes_no_address() {
        assert_eq!(Quad::first(b"203.0.113.256").unwrap().octets(), None);
        assert_eq!(Quad::first(b"999.0.113.25").unwrap().octets(), None);
        assert_eq!(Quad::first(b"203.000.113.007]").unwrap().octets(), Some([203, 0, 113, 7]));
    }
}
