//! Text for people: hostile bytes made harmless, misspelt words put right.

/// Shows bytes of a log, or anything else that a stranger wrote: control characters, invalid UTF-8 and
/// direction overrides come out as escapes, so that no terminal acts on them. `\` stays as it is: the result
/// is to be read, not to be decoded.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                c if (c as u32) < 0x80 && c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
                c if c.is_control() || reorders(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Characters that change how the text around them is shown, or that are not seen at all.
fn reorders(c: char) -> bool {
    matches!(c as u32,
        0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// `1 ban`, `2 bans`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// An I/O error in a few lower-case words, without the number.
pub fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

/// The word of `known` that `word` most likely was meant to be, if one is near enough.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let folded = fold(word);
    // A third of the word may be wrong, one letter always, three at most.
    let reach = (folded.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    // The first row and column: nothing in common, all of the other to be written.
    let mut rows: Vec<Vec<usize>> = (0..=a.len()).map(|i| (i..=i + b.len()).collect()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        assert_eq!(escape(b"user=\x1b[2J\xff\x00 \xc3\xa9 \\x41"), "user=\\x1b[2J\\xff\\x00 é \\x41");
        assert_eq!(escape("a\u{202e}b\u{9b}c".as_bytes()), "a\\u{202e}b\\u{9b}c");
        assert_eq!(escape(b"one\ntwo\tthree\r"), "one\\ntwo\\tthree\\r");
    }

    #[test]
    fn misspelt_words_find_the_one_that_was_meant() {
        let known = ["bantime", "findtime", "maxretry", "logpath", "ipv4_prefix", "ipv6_prefix"];
        for (word, want) in [
            ("bantme", Some("bantime")),
            ("ban-time", Some("bantime")),
            ("Maxretry", Some("maxretry")),
            ("max_retries", Some("maxretry")),
            ("lgopath", Some("logpath")),
            ("ipv6prefix", Some("ipv6_prefix")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(suggest(word, known), want, "{word}");
        }
    }
}
