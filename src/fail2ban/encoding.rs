//! `logencoding`: how the bytes of a log become text.

use std::borrow::Cow;
use std::cmp::Ordering;

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
    /// Any other that the Encoding Standard of the WHATWG has; bytes that it gives no character are U+FFFD.
    Other(Table),
}

/// A table of characters, by its name in the Encoding Standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table(&'static encoding_rs::Encoding);

impl Ord for Table {
    fn cmp(&self, other: &Table) -> Ordering {
        self.0.name().cmp(other.0.name())
    }
}

impl PartialOrd for Table {
    fn partial_cmp(&self, other: &Table) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Of 0x80 to 0x9f in windows-1252; five are none. Source: the Unicode consortium's table CP1252.TXT.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{fffd}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{fffd}', '\u{17d}', '\u{fffd}', '\u{fffd}', '\u{2018}',
    '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}',
    '\u{203a}', '\u{153}', '\u{fffd}', '\u{17e}', '\u{178}',
];

/// What Python calls otherwise than the Encoding Standard does.
const ALIASES: [(&str, &[&str]); 12] = [
    ("shift_jis", &["cp932", "932", "ms932", "mskanji", "s-jis", "sjis", "shiftjis"]),
    ("euc-jp", &["eucjp", "ujis", "u-jis"]),
    ("euc-kr", &["euckr", "cp949", "949", "ms949", "uhc", "korean", "ks-c-5601", "ks-x-1001"]),
    ("gbk", &["cp936", "936", "ms936", "chinese", "euc-cn", "euccn", "gb2312", "gb2312-80"]),
    ("gb18030", &["gb18030-2000"]),
    ("big5", &["cp950", "950", "ms950", "big5-tw", "big5-hkscs", "big5hkscs", "hkscs"]),
    ("koi8-r", &["cskoi8r", "koi8"]),
    ("ibm866", &["cp866", "866"]),
    ("macintosh", &["mac-roman", "macroman"]),
    ("x-mac-cyrillic", &["mac-cyrillic", "maccyrillic"]),
    ("windows-874", &["cp874", "tis-620", "tis620", "thai", "iso8859-11"]),
    ("iso-8859-8", &["iso8859-8", "hebrew", "iso-8859-8-e"]),
];

/// The table that Python knows by `plain`, in lower case and with dashes. Those whose lines do not end at the byte `\n`
/// are none here, nor are those that the Encoding Standard has only for the sake of refusing them.
fn table(plain: &str) -> Option<Table> {
    let alias = ALIASES.iter().find(|(_, names)| names.contains(&plain)).map(|(label, _)| *label);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let label = match (alias, plain.strip_prefix("iso8859-"), plain.strip_prefix("cp125")) {
        (Some(label), _, _) => label.to_owned(),
        (_, Some(part), _) if digits(part) => format!("iso-8859-{part}"),
        (_, _, Some(last)) if digits(last) => format!("windows-125{last}"),
        _ => plain.to_owned(),
    };
    let found = encoding_rs::Encoding::for_label(label.as_bytes())?;
    let refused =
        [encoding_rs::UTF_16LE, encoding_rs::UTF_16BE, encoding_rs::REPLACEMENT, encoding_rs::X_USER_DEFINED];
    (!refused.contains(&found)).then_some(Table(found))
}

impl Encoding {
    /// By a name or an alias that Python knows; `None`: one that is not read here.
    pub fn by_name(name: &str) -> Option<Encoding> {
        let plain = name.trim().to_ascii_lowercase().replace(['_', ' '], "-");
        Some(match plain.as_str() {
            "" | "auto" | "utf-8" | "utf8" | "utf-8-sig" | "u8" | "utf" | "cp65001" | "ascii"
            | "us-ascii" | "646" => Encoding::Utf8,
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "8859" | "cp819" | "l1" | "latin" => {
                Encoding::Latin1
            }
            "latin-9" | "latin9" | "iso-8859-15" | "iso8859-15" | "l9" => Encoding::Latin9,
            "cp1252" | "windows-1252" | "1252" => Encoding::Windows1252,
            other => Encoding::Other(table(other)?),
        })
    }

    /// The longest piece of `part`, a part of a text in UTF-8, that comes from the same bytes in a row and from nothing else.
    pub fn kept(self, part: &[u8]) -> &[u8] {
        fn longest<'p>(one: &'p [u8], other: &'p [u8]) -> &'p [u8] {
            if other.len() > one.len() { other } else { one }
        }
        match self {
            Encoding::Other(_) => &[],
            // Bytes that are none are read as U+FFFD.
            Encoding::Utf8 => {
                let pieces = part.utf8_chunks().flat_map(|chunk| chunk.valid().split('\u{fffd}'));
                pieces.map(str::as_bytes).fold(&[], longest)
            }
            _ => part.split(|byte| !byte.is_ascii()).fold(&[], longest),
        }
    }

    /// The text of a line. Nothing is copied where the bytes are the text already.
    pub fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        if let Encoding::Other(Table(table)) = self {
            return table.decode_without_bom_handling(bytes).0;
        }
        if self == Encoding::Utf8 || bytes.is_ascii() {
            // Nearly every line is valid, which is told quicker than where it is not.
            return std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
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

    fn read(name: &str, bytes: &[u8]) -> String {
        Encoding::by_name(name).unwrap_or_else(|| panic!("{name} is known")).text(bytes).into_owned()
    }

    #[test]
    fn bytes_become_the_characters_of_their_encoding() {
        assert_eq!(read("auto", b"gr\xc3\xbc\xc3\x9fe"), "grüße");
        assert_eq!(read("UTF-8", b"gr\xfc"), "gr\u{fffd}");
        assert_eq!(read("latin-1", b"gr\xfc\xdfe \xa4"), "grüße ¤");
        assert_eq!(read("iso8859_15", b"5 \xa4"), "5 €");
        assert_eq!(read("cp1252", b"\x805 \x93x\x94"), "€5 “x”");
        assert!(matches!(Encoding::Latin1.text(b"plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn encodings_are_known_by_the_names_that_python_gives_them() {
        for (names, bytes, text) in [
            (["iso8859_2", "latin2", "ISO-8859-2"], b"\xb3".as_slice(), "ł"),
            (["cp1250", "windows-1250", "windows_1250"], b"\x9a", "š"),
            (["cp1251", "windows-1251", "CP1251"], b"\xdf", "Я"),
            (["koi8_r", "koi8-r", "KOI8-R"], b"\xd1", "я"),
            (["cp866", "ibm866", "866"], b"\x9f", "Я"),
            (["gbk", "cp936", "gb2312"], b"\xd6\xd0", "中"),
            (["big5", "cp950", "big5_tw"], b"\xa4\xa4", "中"),
            (["shift_jis", "sjis", "cp932"], b"\x83e", "テ"),
            (["euc_jp", "eucjp", "ujis"], b"\xa5\xc6", "テ"),
            (["euc_kr", "cp949", "uhc"], b"\xb0\xa1", "가"),
        ] {
            for name in names {
                assert_eq!(read(name, bytes), text, "{name}");
                assert_eq!(read(name, b"from 192.0.2.1"), "from 192.0.2.1", "{name}");
            }
        }
        assert_eq!(read("cp1250", b"\xef\xbb\xbf"), "ď»ż", "no mark is looked for");
        for name in ["utf-16", "utf_16_le", "utf-32", "utf-7", "nosuch", "iso8859_99", "x-user-defined", "hz"]
        {
            assert_eq!(Encoding::by_name(name), None, "{name}");
        }
    }
}
