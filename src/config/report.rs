//! Errors in files, as a person wants them: where, what, why, what helps, and the line with a caret under it.
//!
//! ```text
//! jails/sshd.toml:7:11: bantime "10q" is not a duration; examples: 600, 10m, 1h 30m, -1 (never ends)
//! 7 | bantime = "10q"
//!   |           ^~~~~
//! ```
//! Used by the configuration and by the filter loader.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::text::escape;

/// How much of a source line is shown. Characters.
const SHOWN_CHARS_MAX: usize = 160;

/// A file's text under the name by which errors call it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceText(Arc<(String, String)>);

impl SourceText {
    /// `label`: the path as a person finds it, or `built-in:jails/sshd.toml`.
    pub fn new(label: impl Into<String>, text: impl Into<String>) -> SourceText {
        SourceText(Arc::new((label.into(), text.into())))
    }

    pub fn label(&self) -> &str {
        &self.0.0
    }

    pub fn text(&self) -> &str {
        &self.0.1
    }

    /// An error about `span` (bytes of the text; one beyond the end is taken back to it).
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> ReportedError {
        let text = self.text();
        let start = floor_char(text, span.start);
        let end = floor_char(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let before = text[line_start..start].chars().count();
        let caret = text[start..end.min(line_end).max(start)].chars().count().max(1);
        ReportedError {
            file: self.label().to_owned(),
            place: Some(Box::new(Place {
                line: text[..line_start].matches('\n').count() as u32 + 1,
                column: before as u32 + 1,
                source_line: line.to_owned(),
                caret_chars: caret,
            })),
            message: message.into(),
        }
    }

    /// An error about the file as a whole.
    pub fn error_in_whole(&self, message: impl Into<String>) -> ReportedError {
        ReportedError::of_file(self.label(), message)
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({:?}, {} bytes)", self.label(), self.text().len())
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// One error in one file. `Display` prints all of it, without a line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedError {
    pub file: String,
    /// `None`: the file as a whole, as when it cannot be read.
    pub place: Option<Box<Place>>,
    /// What failed, on what, why, what helps; one line.
    pub message: String,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub source_line: String,
    /// How many characters the caret underlines; at least 1.
    pub caret_chars: usize,
}

impl ReportedError {
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> ReportedError {
        ReportedError { file: file.into(), place: None, message: message.into() }
    }
}

impl std::error::Error for ReportedError {}

impl fmt::Display for ReportedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = escape(self.file.as_bytes());
        let Some(place) = &self.place else {
            return write!(f, "{file}: {}", self.message);
        };
        let Place { line, column, source_line, caret_chars } = place.as_ref();
        let start = *column as usize - 1;
        // A very long line (all the patterns in one array) is shown around the caret only.
        let skipped = if start + 20 > SHOWN_CHARS_MAX { start.saturating_sub(40) } else { 0 };
        let shown = |from: usize, count: usize| -> String {
            let part: String = source_line.chars().skip(from).take(count).collect();
            escape(part.replace('\t', " ").as_bytes())
        };
        let text = shown(skipped, SHOWN_CHARS_MAX);
        // An escape is wider than its character: the caret goes by what is printed.
        let indent = shown(skipped, start - skipped).chars().count();
        let room = SHOWN_CHARS_MAX - (start - skipped);
        let width = shown(start, (*caret_chars).min(room)).chars().count().max(1);
        let number = line.to_string();
        write!(f, "{file}:{line}:{column}: {}", self.message)?;
        write!(f, "\n{number} | {text}")?;
        write!(f, "\n{:blank$} | {:indent$}^{:~<tail$}", "", "", "", blank = number.len(), tail = width - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_what_is_wrong() {
        let source = SourceText::new("jails/sshd.toml", "enabled = true\n\tbantime = \"10q\" # é\n");
        let at = source.text().find("\"10q\"").unwrap();
        assert_eq!(
            source.error(at..at + 5, "bantime \"10q\" is not a duration").to_string(),
            "jails/sshd.toml:2:12: bantime \"10q\" is not a duration\n\
             2 |  bantime = \"10q\" # é\n  |            ^~~~~"
        );
    }

    #[test]
    fn places_at_the_edges_are_shown_too() {
        let source = SourceText::new("f", "a = é");
        assert!(source.error(99..120, "m").to_string().ends_with("1 | a = é\n  |      ^"));
        assert!(source.error(5..6, "m").to_string().ends_with("\n  |     ^"), "inside a character");
        assert_eq!(SourceText::new("f", "").error(0..0, "m").to_string(), "f:1:1: m\n1 | \n  | ^");
        assert_eq!(source.error_in_whole("gone").to_string(), "f: gone");
    }

    #[test]
    fn a_long_line_is_shown_around_its_caret() {
        let text = format!("x = [{}, bad]", "\"0123456789\", ".repeat(100));
        let at = text.find("bad").unwrap();
        let shown = SourceText::new("f", text).error(at..at + 3, "m").to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].chars().count() < 170);
        let caret = lines[2].find('^').unwrap();
        assert_eq!(&lines[1][caret..caret + 3], "bad");
    }

    #[test]
    fn what_a_file_holds_cannot_reach_the_terminal() {
        let source = SourceText::new("f", "a\x1b[2J = 1");
        let shown = source.error(6..7, "m").to_string();
        assert!(shown.contains("a\\x1b[2J = 1") && !shown.contains('\x1b'));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find('='), lines[2].find('^'));
    }
}
