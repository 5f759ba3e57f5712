//! Patterns as written -> regular expressions: `<HOST>`, `<F-...>` tags and the filter's own `<name>`s.

use std::collections::BTreeMap;
use std::ops::Range;

use regex_syntax::hir::Hir;

use super::tree;

/// What `<HOST>` stands for: anything that may be an address. What was captured is then read by
/// [`Host::from_bytes`](crate::addr::Host::from_bytes), which decides. IPv4 first, so that `<HOST>:\d+` and
/// `<HOST>(?::\d+)?` leave the port out.
pub const HOST: &str = concat!(
    r"(?:",
    r"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}(?:%[0-9A-Za-z_.-]{1,16})?\]",
    r"|(?:IPv6:)?(?:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
    r"|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,44}(?:%[0-9A-Za-z_.-]{1,16})?)",
    r")",
);

/// How deep `<name>`s may nest in one another.
const DEFINE_DEPTH_MAX: usize = 16;
/// A pattern's text with everything put in. Bytes.
const EXPANDED_MAX: usize = 64 * 1024;

/// What a capture group holds.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Tag {
    Host,
    User,
    Domain,
    Pwhash,
    Forwarded,
    Session,
    /// A session id as [`Tag::Session`], on a line that only repeats a failure of its session, if one was counted.
    Companion,
    /// A session id, on a line about an attempt that an earlier line of its session may have been counted for:
    /// reported, but counted as nothing then ([`Attempt::times`](super::Attempt::times) 0).
    Same,
    Time,
    /// `<F-NAME>`: kept for `filter test` and `why`; the name without `F-`, in lower case.
    Other(Box<str>),
}

impl Tag {
    fn from_name(name: &str) -> Tag {
        match name {
            "USER" => Tag::User,
            "DOMAIN" => Tag::Domain,
            "PWHASH" => Tag::Pwhash,
            "FORWARDED" => Tag::Forwarded,
            "SESSION" => Tag::Session,
            "COMPANION" => Tag::Companion,
            "SAME" => Tag::Same,
            "TIME" => Tag::Time,
            other => Tag::Other(other.to_ascii_lowercase().into()),
        }
    }

    /// The field's name in JSON.
    pub fn field(&self) -> &str {
        match self {
            Tag::Host => "host",
            Tag::User => "user",
            Tag::Domain => "domain",
            Tag::Pwhash => "pwhash",
            Tag::Forwarded => "forwarded",
            Tag::Session => "session",
            Tag::Companion => "companion",
            Tag::Same => "same",
            Tag::Time => "time",
            Tag::Other(name) => name,
        }
    }
}

/// A pattern's text, all tags replaced, and which capture group is what.
#[derive(Clone, Debug)]
pub struct Expanded {
    pub regex: String,
    pub hir: Hir,
    /// (group index, tag), in order of groups. A tag may stand in several branches of an alternation.
    pub groups: Vec<(usize, Tag)>,
}

/// What is wrong with a pattern, and where in its own text. The range is of the text as written, if the fault
/// lies in it and not in something put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pub message: String,
    pub help: Option<String>,
    pub at: Option<Range<usize>>,
}

impl PatternError {
    fn new(message: impl Into<String>, at: Option<Range<usize>>) -> PatternError {
        PatternError { message: message.into(), help: None, at }
    }

    fn help(mut self, help: impl Into<String>) -> PatternError {
        self.help = Some(help.into());
        self
    }
}

/// Text being put together, with the way back to where each piece came from.
struct Builder<'a> {
    defines: &'a BTreeMap<String, String>,
    out: String,
    /// (start in `out`, start in the pattern as written); pieces from elsewhere have `None`.
    pieces: Vec<(usize, Option<usize>)>,
    tags: Vec<(String, Tag)>,
    open: Vec<(String, usize)>,
}

/// Puts `prefix` and `text` together, replaces tags and defined names, and parses the result (bytes, no
/// Unicode, `.` is any byte).
///
/// # Errors
/// Unknown or unbalanced tags, more than one `<HOST>`, names that nest without end, and what `regex` refuses.
pub fn expand(
    prefix: &str,
    text: &str,
    defines: &BTreeMap<String, String>,
) -> Result<Expanded, PatternError> {
    let builder = put_together(prefix, text, defines)?;
    let Builder { out, pieces, tags, .. } = builder;
    let hir = tree::parse(&out).map_err(|error| syntax_error(&error, &pieces, text.len()))?;
    let names = group_names(&hir);
    let groups = names
        .into_iter()
        .filter_map(|(index, name)| {
            let tag = tags.iter().find(|(known, _)| *known == name)?;
            Some((index, tag.1.clone()))
        })
        .collect::<Vec<_>>();
    if groups.iter().filter(|(_, tag)| *tag == Tag::Host).count() > 1 {
        return Err(PatternError::new("more than one <HOST> in one pattern", None)
            .help("an address is read in one place; write two patterns, or <F-FORWARDED> for the second"));
    }
    Ok(Expanded { regex: out, hir, groups })
}

/// The text of a pattern with everything put in, unparsed: for engines of another syntax.
///
/// # Errors
/// As [`expand`], but for what the parser refuses.
pub fn expand_text(text: &str, defines: &BTreeMap<String, String>) -> Result<String, PatternError> {
    put_together("", text, defines).map(|builder| builder.out)
}

fn put_together<'a>(
    prefix: &str,
    text: &str,
    defines: &'a BTreeMap<String, String>,
) -> Result<Builder<'a>, PatternError> {
    let mut builder =
        Builder { defines, out: String::new(), pieces: Vec::new(), tags: Vec::new(), open: Vec::new() };
    if !prefix.is_empty() {
        builder.put(prefix, None, 0)?;
    }
    // The implied anchor stays out of the text: patterns are run anchored. A written '^' is harmless.
    let own_start = builder.out.len();
    builder.put(text, Some(0), 0)?;
    if let Some((tag, at)) = builder.open.last() {
        let at = (*at != usize::MAX).then(|| *at..*at + tag.len() + 2);
        return Err(PatternError::new(format!("<{tag}> is not closed"), at).help(format!("write </{tag}>")));
    }
    // An alternation at the top must not let the prefix belong to its first branch only.
    if own_start > 0 {
        builder.out.insert_str(own_start, "(?:");
        builder.out.push(')');
        for piece in &mut builder.pieces {
            if piece.0 >= own_start {
                piece.0 += 3;
            }
        }
    }
    Ok(builder)
}

/// Numbers and names of the groups that have one, in order.
pub fn group_names(hir: &Hir) -> Vec<(usize, String)> {
    use regex_syntax::hir::HirKind;
    let mut found = Vec::new();
    let mut todo = vec![hir];
    while let Some(hir) = todo.pop() {
        match hir.kind() {
            HirKind::Capture(capture) => {
                if let Some(name) = &capture.name {
                    found.push((capture.index as usize, name.to_string()));
                }
                todo.push(&capture.sub);
            }
            HirKind::Repetition(repetition) => todo.push(&repetition.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => todo.extend(parts),
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

impl Builder<'_> {
    fn put(&mut self, text: &str, written_at: Option<usize>, depth: usize) -> Result<(), PatternError> {
        if depth > DEFINE_DEPTH_MAX {
            return Err(PatternError::new("names in [define] nest too deep, or in themselves", None));
        }
        let mut at = 0;
        while let Some(found) = text[at..].find('<') {
            let start = at + found;
            let escaped = text[..start].bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
            let name_len = text[start + 1..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/')))
                .unwrap_or(text.len() - start - 1);
            let closed = text[start + 1 + name_len..].starts_with('>');
            let name = &text[start + 1..start + 1 + name_len];
            // `(?P<name>` and `(?<name>` are the regex's own.
            let group = text[..start].ends_with("(?P") || text[..start].ends_with("(?");
            let written = written_at.map(|base| base + start..base + start + name_len + 2);
            if escaped || !closed || name_len == 0 || group {
                self.piece(&text[at..=start], written_at.map(|base| base + at));
                at = start + 1;
                continue;
            }
            let known = name == "HOST"
                || name.trim_start_matches('/').starts_with("F-")
                || self.defines.contains_key(name);
            if !known {
                self.piece(&text[at..=start], written_at.map(|base| base + at));
                at = start + 1;
                continue;
            }
            self.piece(&text[at..start], written_at.map(|base| base + at));
            self.tag(name, written, depth)?;
            at = start + name_len + 2;
            if self.out.len() > EXPANDED_MAX {
                return Err(PatternError::new(
                    "the pattern grows beyond 64 KiB when its names are put in",
                    None,
                ));
            }
        }
        self.piece(&text[at..], written_at.map(|base| base + at));
        Ok(())
    }

    fn tag(&mut self, name: &str, written: Option<Range<usize>>, depth: usize) -> Result<(), PatternError> {
        if name == "HOST" {
            let group = self.name_group("HOST", Tag::Host);
            self.piece(&format!("(?P<{group}>{HOST})"), None);
        } else if let Some(closing) = name.strip_prefix("/") {
            match self.open.pop() {
                Some((open, _)) if open == closing => self.piece(")", None),
                Some((open, _)) => {
                    return Err(PatternError::new(format!("</{closing}> closes <{open}>"), written));
                }
                None => return Err(PatternError::new(format!("</{closing}> without <{closing}>"), written)),
            }
        } else if let Some(tag) = name.strip_prefix("F-") {
            let valid = tag.starts_with(|c: char| c.is_ascii_uppercase())
                && tag.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            if !valid {
                let message = format!("<{name}> is no tag: F- is followed by capitals, digits and _");
                return Err(PatternError::new(message, written));
            }
            let group = self.name_group(&format!("F_{tag}"), Tag::from_name(tag));
            self.piece(&format!("(?P<{group}>"), None);
            self.open.push((name.to_owned(), written.map_or(usize::MAX, |range| range.start)));
        } else if let Some(define) = self.defines.get(name) {
            self.piece("(?:", None);
            self.put(&define.clone(), None, depth + 1)?;
            self.piece(")", None);
        }
        Ok(())
    }

    fn name_group(&mut self, base: &str, tag: Tag) -> String {
        let same = self.tags.iter().filter(|(_, known)| *known == tag).count();
        let name = if same == 0 { base.to_owned() } else { format!("{base}__{}", same + 1) };
        self.tags.push((name.clone(), tag));
        name
    }

    fn piece(&mut self, text: &str, written_at: Option<usize>) {
        if !text.is_empty() {
            self.pieces.push((self.out.len(), written_at));
            self.out.push_str(text);
        }
    }
}

fn syntax_error(
    error: &regex_syntax::Error,
    pieces: &[(usize, Option<usize>)],
    written_len: usize,
) -> PatternError {
    let (message, span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), *error.span()),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), *error.span()),
        _ => return PatternError::new(error.to_string(), None),
    };
    let (start, end) = (span.start.offset, span.end.offset);
    let piece = pieces.iter().rev().find(|(out, _)| *out <= start);
    let at = piece.and_then(|(out, written)| {
        let start = (*written)? + (start - out);
        (start <= written_len)
            .then(|| start..(start + (end - span.start.offset).max(1)).min(written_len.max(start + 1)))
    });
    let help = message.contains("look-around").then_some(
        "portero's own filters are linear in the line's length: no look-around, no backreferences",
    );
    PatternError { message, help: help.map(str::to_owned), at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn tags_become_groups_and_names_nest() {
        let defines = names(&[("mech", "[A-Z]+"), ("sasl", "SASL <mech>")]);
        let got =
            expand("x: ", "<sasl> <HOST> user=<<F-USER>.*</F-USER>>|<F-USER>y</F-USER>$", &defines).unwrap();
        let tags: Vec<&Tag> = got.groups.iter().map(|(_, tag)| tag).collect();
        assert_eq!(tags, [&Tag::Host, &Tag::User, &Tag::User]);
        assert!(got.regex.starts_with("x: (?:(?:SASL (?:[A-Z]+)) (?P<HOST>"), "{}", got.regex);
        assert!(got.regex.contains("user=<(?P<F_USER>.*)>|"));
    }

    #[test]
    fn angle_brackets_that_are_no_tags_stay() {
        let got = expand("", "helo=<[^>]*> <unknown> \\<HOST> (?<n>x)", &names(&[])).unwrap();
        assert!(got.regex.contains("<unknown> \\<HOST>"));
        assert!(got.groups.is_empty());
    }

    #[test]
    fn faults_point_into_the_pattern_as_written() {
        let fault = |text: &str| expand("pre <HOST>", text, &names(&[("d", "x")])).unwrap_err();
        assert_eq!(fault("a<d>b[z").at.unwrap().start, 5);
        assert_eq!(fault("ab <F-USER>x").at, Some(3..11));
        assert!(fault("x </F-USER>").message.contains("without"));
        assert!(fault("<HOST>").message.contains("more than one"));
        assert!(fault("<F-user>x</F-user>").message.contains("no tag"));
        assert!(fault("x(?=y)").message.contains("look"));
        let endless = expand("", "<a>", &names(&[("a", "<b>"), ("b", "<a>")])).unwrap_err();
        assert!(endless.message.contains("nest"));
    }
}
