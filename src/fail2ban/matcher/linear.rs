//! A regex of the linear engine, compiled when a line first needs it.
//!
//! Most lines are settled by the literals and the program of a regex, and compiling it takes longer than all the rest of
//! loading it. What is wrong with a regex its tree tells, but for its size: one that may be too large is compiled at once.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, Hir, HirKind};

use super::literal::parse;
use crate::filter::compile::group_names;

/// Memory one compiled regex may take. Bytes.
pub const REGEX_BYTES_MAX: usize = 64 << 20;
/// What a state of the automaton takes at most, its way to the next included. Bytes.
const STATE_BYTES: usize = 64;

/// A regex that has a tree and is not too large.
#[derive(Debug)]
pub struct Linear {
    text: String,
    /// Named groups and their numbers, in order.
    names: Vec<(String, usize)>,
    /// `None`: it is too large after all.
    made: OnceLock<Option<regex::Regex>>,
}

impl Linear {
    /// Also its tree, which takes too much memory to be kept.
    ///
    /// # Errors
    /// The text is no regex, or too large a one.
    pub fn new(text: &str) -> Result<(Linear, Hir), regex::Error> {
        let made = OnceLock::new();
        let tree = parse(text, false);
        if tree.as_ref().is_none_or(|tree| states(tree) > REGEX_BYTES_MAX / STATE_BYTES) {
            let _ = made.set(Some(compile(text)?));
        }
        let tree = tree.ok_or_else(|| regex::Error::Syntax("the regex has no tree".to_owned()))?;
        let names = group_names(&tree).into_iter().map(|(number, name)| (name, number)).collect();
        Ok((Linear { text: text.to_owned(), names, made }, tree))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn regex(&self) -> Option<&regex::Regex> {
        self.made.get_or_init(|| compile(&self.text).ok()).as_ref()
    }

    /// Named groups and their numbers, in order.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }
}

fn compile(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build()
}

/// No fewer states than the automaton has.
fn states(hir: &Hir) -> usize {
    let all = |parts: &[Hir]| parts.iter().map(states).fold(2 + parts.len(), usize::saturating_add);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 2,
        HirKind::Literal(literal) => literal.0.len() + 1,
        HirKind::Class(Class::Bytes(_)) => 2,
        HirKind::Class(Class::Unicode(class)) => {
            // Characters of so many bytes in a row take up to twice as many sequences of byte ranges less one.
            let lengths = |start: char, end: char| start.len_utf8()..=end.len_utf8();
            let of = |(start, end)| lengths(start, end).map(|len| len * (len * 2)).sum::<usize>();
            2 + class.ranges().iter().map(|range| of((range.start(), range.end()))).sum::<usize>()
        }
        HirKind::Repetition(repetition) => {
            let rounds = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1) as usize;
            states(&repetition.sub).saturating_add(3).saturating_mul(rounds)
        }
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_too_large_is_compiled_at_once() {
        let made = |text: &str| Linear::new(text).map(|(linear, _)| linear.made.get().is_some());
        assert_eq!(made(r"^(?P<a>\w+)[^\s]{0,20} from \S+$").ok(), Some(false));
        assert_eq!(
            made(r"^\w{40}\w{40}$").ok(),
            Some(true),
            "small enough, but that takes compiling it to see"
        );
        assert!(made(r"^\w{2000}$").is_err() && made("(").is_err());
    }

    #[test]
    fn names_are_as_in_the_compiled_regex() {
        for text in [r"(a)(?P<b>c(?P<d>e))|(?P<f>g)?", r"(?:(?P<x>a)|b){3}(?P<y>z)", "^a$"] {
            let (linear, _) = Linear::new(text).expect("compiles");
            let regex = linear.regex().expect("is small");
            let numbered = regex.capture_names().enumerate();
            let names: Vec<(String, usize)> =
                numbered.filter_map(|(number, name)| Some((name?.to_owned(), number))).collect();
            assert_eq!(linear.names(), names);
        }
    }
}
