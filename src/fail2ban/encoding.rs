//! `logencoding`: how the bytes of a log become text.

use std::borrow::Cow;

/// An encoding whose lines end at the byte `\n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Encoding {
    /// Also ASCII and `auto`; bytes that are none are read as U+FFFD, as fail2ban does.
    #[default]
    Utf8,
    /// Byte n is character n.
    Latin1,
    /// Latin-1 with the euro sign and seven other characters in it.
    Latin9,
    /// Latin-1 with printable characters from 0x80 to 0x9f.
    Windows1252,
}

/// Of 0x80 to 0x9f in windows-1252; five are none. Source: the Unicode consortium's table CP1252.TXT.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{fffd}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{fffd}', '\u{17d}', '\u{fffd}', '\u{fffd}', '\u{2018}',
    '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}',
    '\u{203a}', '\u{153}', '\u{fffd}', '\u{17e}', '\u{178}',
];

impl Encoding {
    /// By the name that a `logencoding` gives; `None`: one that is not read here.
    pub fn by_name(name: &str) -> Option<Encoding> {
        let plain = name.trim().to_ascii_lowercase().replace(['_', ' '], "-");
        Some(match plain.as_str() {
            "" | "auto" | "utf-8" | "utf8" | "utf-8-sig" | "u8" | "ascii" | "us-ascii" | "646" => {
                Encoding::Utf8
            }
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "8859" | "cp819" | "l1" | "latin" => {
                Encoding::Latin1
            }
            "latin-9" | "latin9" | "iso-8859-15" | "iso8859-15" | "l9" => Encoding::Latin9,
            "cp1252" | "windows-1252" | "1252" => Encoding::Windows1252,
            _ => return None,
        })
    }

    /// The text of a line. Nothing is copied where the bytes are the text already.
    pub fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        if self == Encoding::Utf8 || bytes.is_ascii() {
            return String::from_utf8_lossy(bytes);
        }
        let char_of = |byte: &u8| match (self, *byte) {
            (Encoding::Windows1252, 0x80..=0x9f) => WINDOWS_1252[usize::from(*byte - 0x80)],
            (Encoding::Latin9, 0xa4) => '\u{20ac}',
            (Encoding::Latin9, 0xa6) => '\u{160}',
            (Encoding::Latin9, 0xa8) => '\u{161}',
            (Encoding::Latin9, 0xb4) => '\u{17d}',
            (Encoding::Latin9, 0xb8) => '\u{17e}',
            (Encoding::Latin9, 0xbc) => '\u{152}',
            (Encoding::Latin9, 0xbd) => '\u{153}',
            (Encoding::Latin9, 0xbe) => '\u{178}',
            (_, byte) => char::from(byte),
        };
        Cow::Owned(bytes.iter().map(char_of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_characters_of_their_encoding() {
        let read =
            |name: &str, bytes: &[u8]| Encoding::by_name(name).expect("known").text(bytes).into_owned();
        assert_eq!(read("auto", b"gr\xc3\xbc\xc3\x9fe"), "grüße");
        assert_eq!(read("UTF-8", b"gr\xfc"), "gr\u{fffd}");
        assert_eq!(read("latin-1", b"gr\xfc\xdfe \xa4"), "grüße ¤");
        assert_eq!(read("iso8859_15", b"5 \xa4"), "5 €");
        assert_eq!(read("cp1252", b"\x805 \x93x\x94"), "€5 “x”");
        assert_eq!(Encoding::by_name("utf-16"), None);
        assert!(matches!(Encoding::Latin1.text(b"plain"), Cow::Borrowed("plain")));
    }
}
