//! The INI dialect of fail2ban's files, one file at a time, with the place of every value.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::report::{ReportedError, SourceText};

/// Where a value was written.
#[derive(Debug, Clone)]
pub struct At {
    source: SourceText,
    span: Range<usize>,
}

impl At {
    /// The file as a whole: its first line.
    pub(super) fn whole(source: &SourceText) -> At {
        At { source: source.clone(), span: 0..0 }
    }

    /// The file as errors call it.
    pub fn file(&self) -> &str {
        self.source.label()
    }

    /// From 1.
    pub fn line(&self) -> usize {
        self.source.text()[..self.span.start].matches('\n').count() + 1
    }

    /// An error about this place.
    pub fn error(&self, message: impl Into<String>) -> ReportedError {
        self.source.error(self.span.clone(), message)
    }
}

/// An option's value as written: its lines joined, comments gone, nothing replaced yet.
#[derive(Debug, Clone)]
pub struct Value {
    pub text: String,
    pub at: At,
}

/// The options of one section, by lower-case name.
pub type Options = BTreeMap<String, Value>;

/// One file.
#[derive(Debug, Default)]
pub struct Ini {
    /// `[DEFAULT]`.
    pub defaults: Options,
    /// The other sections in the file's order; names keep their case.
    pub sections: Vec<(String, Options)>,
    /// Comments within a list of patterns that look like patterns: one that begins with `;` is none.
    pub lost_patterns: Vec<At>,
}

/// An option while its lines are gathered.
struct Open {
    /// Of `Ini::sections`; `None`: `[DEFAULT]`.
    section: Option<usize>,
    name: String,
    lines: Vec<String>,
    at: At,
}

/// Reads one file.
///
/// A comment is a line that begins with `#` or `;`, or what follows a `;` that stands after a blank; `#` within a
/// line is text. A line indented deeper than its option continues it; an empty line within a value is kept.
///
/// # Errors
/// What fail2ban refuses to start with: a line that is neither section nor option, an option ahead of any section,
/// a section or an option twice in one file.
pub fn parse(source: &SourceText) -> Result<Ini, ReportedError> {
    let mut ini = Ini::default();
    // `Some(None)`: within `[DEFAULT]`.
    let mut section: Option<Option<usize>> = None;
    let mut open: Option<Open> = None;
    let mut indent = 0;
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        let line_start = start;
        start += line.len();
        let (content, commented) = without_comment(line);
        let value = content.trim();
        let deep = line.chars().take_while(|c| c.is_whitespace()).count();
        let goes_on = value.is_empty() || deep > indent;
        let within = goes_on && open.as_ref().is_some_and(|open| open.name.ends_with("regex"));
        let begins = line.split_once('=').is_some_and(|(name, _)| name.trim_end().ends_with("regex"));
        if commented && (within || begins) && is_pattern(&line[content.len()..]) {
            let span = line_start + content.len()..line_start + line.trim_end().len();
            ini.lost_patterns.push(At { source: source.clone(), span });
        }
        if value.is_empty() {
            if !commented && let Some(open) = &mut open {
                open.lines.push(String::new());
            }
            continue;
        }
        if let Some(open) = &mut open
            && deep > indent
        {
            open.lines.push(value.to_owned());
            continue;
        }
        indent = deep;
        let lead = line_start + (content.len() - content.trim_start().len());
        let span = lead..lead + value.len();
        if let Some(name) = header(value) {
            close(&mut ini, open.take());
            section = Some(if name == "DEFAULT" {
                None
            } else if ini.sections.iter().any(|(known, _)| known == name) {
                let message = format!("section [{name}] stands twice in this file; fail2ban refuses that");
                return Err(source.error(span, message));
            } else {
                ini.sections.push((name.to_owned(), Options::new()));
                Some(ini.sections.len() - 1)
            });
            continue;
        }
        let Some(section) = section else {
            return Err(source.error(span, "an option ahead of the first [section]"));
        };
        let split = value.find(['=', ':']).filter(|at| *at > 0);
        let Some(split) = split else {
            return Err(source.error(span, "neither [section] nor option = value"));
        };
        let name = value[..split].trim_end().to_lowercase();
        close(&mut ini, open.take());
        if options(&mut ini, section).contains_key(&name) {
            let message = format!("option {name} stands twice in this section; fail2ban refuses that");
            return Err(source.error(span, message));
        }
        let at = At { source: source.clone(), span };
        open = Some(Open { section, name, lines: vec![value[split + 1..].trim().to_owned()], at });
    }
    close(&mut ini, open);
    Ok(ini)
}

fn options(ini: &mut Ini, section: Option<usize>) -> &mut Options {
    match section {
        Some(at) => &mut ini.sections[at].1,
        None => &mut ini.defaults,
    }
}

fn close(ini: &mut Ini, open: Option<Open>) {
    let Some(Open { section, name, lines, at }) = open else { return };
    let text = lines.join("\n").trim_end().to_owned();
    options(ini, section).insert(name, Value { text, at });
}

/// Whether a comment was hardly meant as one: `;oip=<HOST>;`, without a blank after the sign.
fn is_pattern(comment: &str) -> bool {
    let text = comment.trim_start().strip_prefix(';').unwrap_or_default();
    !text.starts_with(char::is_whitespace)
        && ["<HOST>", "<ADDR>", "<F-ID>"].iter().any(|tag| text.contains(tag))
}

/// `[name]`, whatever follows the last bracket.
fn header(value: &str) -> Option<&str> {
    let inside = value.strip_prefix('[')?;
    inside.rfind(']').filter(|end| *end > 0).map(|end| &inside[..end])
}

/// The line without its comment, and whether there was one.
fn without_comment(line: &str) -> (&str, bool) {
    let trimmed = line.trim_start();
    if trimmed.starts_with(['#', ';']) {
        return ("", true);
    }
    let mut blank = false;
    for (at, c) in line.char_indices() {
        if c == ';' && blank {
            return (&line[..at], true);
        }
        blank = c.is_whitespace();
    }
    (line, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Ini, String> {
        parse(&SourceText::new("jail.local", text)).map_err(|error| error.to_string())
    }

    #[test]
    fn values_span_lines_and_lose_their_comments() {
        let ini = read("[a]\nb = 1\n  c ; x\n  # comment\n\n  d # y\nRE = a;b\ne:\n").unwrap();
        let options = &ini.sections[0].1;
        assert_eq!(options["b"].text, "1\nc\n\nd # y");
        assert_eq!(options["re"].text, "a;b");
        assert_eq!(options["e"].text, "");
        assert_eq!((options["re"].at.line(), options["re"].at.file()), (7, "jail.local"));
    }

    #[test]
    fn a_pattern_that_begins_with_a_semicolon_is_a_comment() {
        let ini = read("[D]\nfailregex = ;oip=<HOST>;\n            ;ip=<HOST>;\nx = 1").unwrap();
        assert_eq!(ini.sections[0].1["failregex"].text, "");
        assert_eq!(ini.lost_patterns.iter().map(At::line).collect::<Vec<_>>(), [2, 3]);
        let ini = read("[D]\nfailregex = a <HOST>\n  # ;b <HOST>\n  ; c <HOST>\n;d\nx = ;<HOST>\n").unwrap();
        assert!(ini.lost_patterns.is_empty(), "these are comments, and meant as such");
    }

    #[test]
    fn what_fail2ban_refuses_is_refused_with_its_place() {
        for (text, want) in [
            ("[a]\nb = 1\nB = 2\n", "jail.local:3:1: option b stands twice"),
            ("[a]\n[b]\n[a]\n", "jail.local:3:1: section [a] stands twice"),
            ("x = 1\n", "jail.local:1:1: an option ahead of"),
            ("[a]\nnonsense\n", "jail.local:2:1: neither [section]"),
            ("[a]\n= 1\n", "jail.local:2:1: neither [section]"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
        assert!(read("[DEFAULT]\na = 1\n[DEFAULT]\nb = 1\n").is_ok(), "DEFAULT may stand twice");
        assert!(read("[DEFAULT]\na = 1\n[DEFAULT]\na = 1\n").is_err(), "but no option of it");
    }
}
