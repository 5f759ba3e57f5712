//! What is seen of a line at a glance that lets a template not match it.

use memchr::memmem::Finder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::filter::literal::{self, ByteSet};

/// What a line must have for a linear regex to match in it.
#[derive(Debug, Default)]
pub struct Outline {
    /// The regex is bound to the line's begin, and every match begins with one of these bytes.
    first: Option<ByteSet>,
    /// A text that stands in every match.
    needs: Option<Finder<'static>>,
    bound: bool,
}

impl Outline {
    pub fn new(regex: &str) -> Outline {
        let Ok(hir) = regex_syntax::parse(regex) else { return Outline::default() };
        let bound = hir.properties().look_set_prefix().contains(Look::Start);
        let (first, may_be_empty) = first_bytes(&hir);
        let needs = match literal::required(&hir).map(|set| set.literals).as_deref() {
            Some([one]) if !one.folded => Some(Finder::new(&one.bytes).into_owned()),
            _ => None,
        };
        Outline { first: (bound && !may_be_empty).then_some(first), needs, bound }
    }

    /// Whether a match can only begin where the line does.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether no match is in `line`.
    pub fn is_missing(&self, line: &[u8]) -> bool {
        let begins = match (&self.first, line.first()) {
            (Some(first), Some(byte)) => first.contains(*byte),
            (Some(_), None) => false,
            (None, _) => true,
        };
        !begins || self.needs.as_ref().is_some_and(|text| text.find(line).is_none())
    }
}

/// Bytes that a match in a text in UTF-8 can begin with, and whether it can be empty.
fn first_bytes(hir: &Hir) -> (ByteSet, bool) {
    let all = |parts: &[Hir], in_row: bool| {
        let mut set = ByteSet::default();
        let mut empty = in_row;
        for part in parts {
            let (first, may_be_empty) = first_bytes(part);
            set.union(&first);
            if in_row && !may_be_empty {
                return (set, false);
            }
            empty |= may_be_empty;
        }
        (set, empty)
    };
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let mut set = ByteSet::default();
            for range in class.ranges() {
                let last = u32::from(range.end()).min(0x7f);
                (u32::from(range.start())..=last).for_each(|byte| set.insert(byte as u8));
                if !range.end().is_ascii() {
                    (0x80..=0xff).for_each(|byte| set.insert(byte));
                }
            }
            (set, false)
        }
        HirKind::Repetition(repetition) => {
            let (set, empty) = first_bytes(&repetition.sub);
            (set, empty || repetition.min == 0)
        }
        HirKind::Capture(capture) => first_bytes(&capture.sub),
        HirKind::Concat(parts) => all(parts, true),
        HirKind::Alternation(parts) => all(parts, false),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(Class::Bytes(_)) => {
            literal::first_bytes(hir)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_the_first_sign_or_the_text_is_no_match() {
        let outline = Outline::new(r"^(?:\W{0,2})?(?P<H>\d\d):");
        assert!(outline.is_bound());
        assert!(outline.is_missing(b"Nov 12") && outline.is_missing(b""));
        assert!(
            !outline.is_missing(b"12:") && !outline.is_missing(b"[1") && !outline.is_missing("–1".as_bytes())
        );
        let outline = Outline::new(r"[^-]+ -- (\d\d)?");
        assert!(!outline.is_bound());
        assert!(outline.is_missing(b"a - b") && !outline.is_missing(b"a -- b"));
        assert!(!Outline::new("^(?:a|b)?").is_missing(b"x"), "it may be empty");
    }
}
