//! Regexes as trees, by the dialect of all patterns.
//!
//! `<HOST>` is most of the text of most patterns, and reading it is most of what a start of all filters costs. So it is
//! read once, and its tree put in where something shorter was read in its place.

use std::sync::OnceLock;

use regex_syntax::Error;
use regex_syntax::hir::{Hir, HirKind};

use super::compile::HOST;

/// Read in place of [`HOST`]. No pattern is likely to hold it, and every flag under which `<HOST>` would be read
/// otherwise (case, greed, Unicode) has it read otherwise too.
const STAND_IN: &str = r"(?:[\x01I-K]?)";

/// Bytes, and `.` is any of them.
///
/// # Errors
/// What regex-syntax refuses, by its place in `regex`.
pub fn parse(regex: &str) -> Result<Hir, Box<Error>> {
    match with_host_put_in(regex) {
        Some(hir) => Ok(hir),
        None => parse_whole(regex),
    }
}

fn parse_whole(regex: &str) -> Result<Hir, Box<Error>> {
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .nest_limit(100)
        .build()
        .parse(regex)
        .map_err(Box::new)
}

/// The tree of [`HOST`].
pub fn host() -> &'static Hir {
    static TREE: OnceLock<Hir> = OnceLock::new();
    TREE.get_or_init(|| parse_whole(HOST).expect("a regex"))
}

/// `None`: `regex` has no `<HOST>`, or one that is not read as ever, or a fault.
fn with_host_put_in(regex: &str) -> Option<Hir> {
    static TREE: OnceLock<Hir> = OnceLock::new();
    let stand_in = TREE.get_or_init(|| parse_whole(STAND_IN).expect("a regex"));
    let (before, after) = regex.split_once(HOST)?;
    let short = parse_whole(&[before, STAND_IN, after].concat()).ok()?;
    let mut put_in = 0;
    let hir = replaced(short, stand_in, &mut put_in);
    (put_in == 1).then_some(hir)
}

/// `hir` with the tree of [`HOST`] in place of each `stand_in`; `count`: how many there were.
fn replaced(hir: Hir, stand_in: &Hir, count: &mut usize) -> Hir {
    if hir == *stand_in {
        *count += 1;
        return host().clone();
    }
    // What holds none is left as it is: to put it together anew costs as much as reading it did.
    if !holds(&hir, stand_in) {
        return hir;
    }
    match hir.into_kind() {
        HirKind::Repetition(mut repetition) => {
            *repetition.sub = replaced(*repetition.sub, stand_in, count);
            Hir::repetition(repetition)
        }
        HirKind::Capture(mut capture) => {
            *capture.sub = replaced(*capture.sub, stand_in, count);
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => {
            Hir::concat(parts.into_iter().map(|part| replaced(part, stand_in, count)).collect())
        }
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.into_iter().map(|part| replaced(part, stand_in, count)).collect())
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {
            unreachable!("a leaf holds nothing but itself")
        }
    }
}

fn holds(hir: &Hir, stand_in: &Hir) -> bool {
    hir == stand_in || hir.kind().subs().iter().any(|sub| holds(sub, stand_in))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::SourceText;
    use crate::filter::FilterSpec;

    #[test]
    fn a_host_put_in_is_the_host_read() {
        let regexes = [
            "(?P<HOST>@) x",
            "a(?P<HOST>@)?b",
            "(?:a|(?P<HOST>@)|b)+c",
            "(?i)(?P<HOST>@)",
            "(?i:x)(?P<HOST>@)(?i:y)",
            "(?i:x(?P<HOST>@))",
            "(?U)(?P<HOST>@)",
            "(?x) (?P<HOST>@) y",
            "(?s-u:(?P<HOST>@)).",
            "(?u:(?P<HOST>@))",
            "@|x",
            r"\@",
            "[@]",
            "(?:@){0}",
            "@ @",
            r"@ (?:[\x01I-K]?)",
            "nothing",
        ];
        for regex in regexes {
            let regex = regex.replace('@', HOST);
            assert_eq!(parse(&regex).ok(), parse_whole(&regex).ok(), "{regex}");
        }
    }

    #[test]
    fn every_shipped_pattern_is_read_as_it_stands() {
        for &(name, text) in crate::shipped::FILTERS {
            for mode in crate::filter::load::modes_of(&[SourceText::new(name, text)]) {
                let spec: FilterSpec = format!("{name}[mode={mode}]").parse().unwrap();
                let filter = crate::filter::load::load(&spec, &[SourceText::new(name, text)]).unwrap();
                for pattern in &filter.patterns {
                    assert_eq!(
                        parse(&pattern.regex).ok(),
                        parse_whole(&pattern.regex).ok(),
                        "{}",
                        pattern.place
                    );
                }
            }
        }
    }

    #[test]
    fn faults_are_where_they_stand() {
        let regex = format!("(?P<HOST>{HOST}) x[");
        let error = parse(&regex).unwrap_err();
        assert!(matches!(*error, Error::Parse(error) if error.span().start.offset == regex.len() - 1));
    }
}
