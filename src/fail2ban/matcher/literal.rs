//! What must stand in a line for a regex to match it, so that most lines need not be searched.
//!
//! A linear regex says it by itself. One that looks around or refers back is first widened to a plain one that matches
//! at least the same: assertions but `^` fall away, a reference may be anything. What every match of the wider regex holds,
//! every match of the narrower one does.

use fancy_regex::{Assertion, Expr};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Dot, Hir, HirKind, Look, Repetition};

use crate::filter::literal::{self, Literal};

/// Sets of texts: one of each set stands in every line that a regex matches, the date cut out of it. Empty: none is known.
pub type Required = Vec<Vec<Literal>>;

/// Shorter texts stand in nearly every line. Bytes.
const TELLING_MIN: usize = 3;

/// More texts than this in one set tell nothing; longer ones tell no more. Bytes.
const SET_MAX: usize = 24;
const TEXT_BYTES_MAX: usize = 24;
/// Sets asked of one regex.
pub const SETS_MAX: usize = 2;

/// What stands in every line that the linear regex with this tree matches: of each set, one text. The most telling set
/// first.
pub fn of_linear(tree: &Hir) -> Required {
    sets(tree)
}

/// The same of a regex in the backtracking engine's syntax.
pub fn of_backtracking(regex: &str) -> Required {
    let tree = Expr::parse_tree(regex).ok().and_then(|tree| widened(&tree.expr));
    tree.map_or(Vec::new(), |tree| sets(&tree))
}

/// A match of parts in a row holds a match of each part, and of the rest from each part on.
fn sets(hir: &Hir) -> Required {
    let mut parts = Vec::new();
    flatten(hir, &mut parts);
    let mut sets: Vec<(usize, usize, Vec<Literal>)> = Vec::new();
    let mut offer = |at: usize, literals: Vec<Literal>| {
        // The line is searched as it is in the log, without the newline that the regex sees at its end.
        let Some(mut set) = literals.into_iter().map(without_newline).collect::<Option<Vec<Literal>>>()
        else {
            return;
        };
        set.sort();
        set.dedup();
        if let Some(shortest) = set.iter().map(|literal| literal.bytes.len()).min() {
            sets.push((shortest, at, set));
        }
    };
    let mut rest = Hir::empty();
    for at in (0..parts.len()).rev() {
        let mut extractor = Extractor::new();
        extractor.limit_class(4).limit_repeat(4).limit_literal_len(TEXT_BYTES_MAX).limit_total(SET_MAX);
        rest = Hir::concat(vec![parts[at].clone(), rest]);
        let begins = extractor.extract(&rest);
        if let Some(literals) = begins.literals() {
            let plain = |bytes: &[u8]| Literal { bytes: bytes.to_vec(), folded: false };
            offer(at, literals.iter().map(|literal| plain(literal.as_bytes())).collect());
        }
        if let Some(set) = literal::required(parts[at]) {
            offer(at, set.literals);
        }
    }
    // Letters of either case in a row are parts of their own.
    if let Some(set) = literal::required(hir) {
        offer(parts.len(), set.literals);
    }
    // The longest texts first; of equally long ones the smaller set. What begins in the next part says much the same.
    sets.sort_by_key(|(shortest, at, set)| (std::cmp::Reverse(*shortest), set.len(), *at));
    let mut chosen: Vec<(usize, Vec<Literal>)> = Vec::new();
    for (_, at, set) in sets {
        let apart = |(known, texts): &(usize, Vec<Literal>)| known.abs_diff(at) > 1 && !overlap(texts, &set);
        if chosen.len() < SETS_MAX && chosen.iter().all(apart) {
            chosen.push((at, set));
        }
    }
    chosen.into_iter().map(|(_, set)| set).collect()
}

/// Whether a text of one set holds one of the other.
fn overlap(one: &[Literal], other: &[Literal]) -> bool {
    let within = |a: &Literal, b: &Literal| memchr::memmem::find(&a.bytes, &b.bytes).is_some();
    one.iter().any(|a| other.iter().any(|b| within(a, b) || within(b, a)))
}

/// The children of nested concatenations and captures, in order.
fn flatten<'h>(hir: &'h Hir, out: &mut Vec<&'h Hir>) {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().for_each(|part| flatten(part, out)),
        HirKind::Capture(capture) => flatten(&capture.sub, out),
        _ => out.push(hir),
    }
}

fn without_newline(literal: Literal) -> Option<Literal> {
    let longest = literal.bytes.split(|byte| *byte == b'\n').max_by_key(|part| part.len())?;
    (longest.len() >= TELLING_MIN).then(|| Literal { bytes: longest.to_vec(), folded: literal.folded })
}

/// The tree of a regex in the linear engine's syntax.
pub(super) fn parse(regex: &str, casei: bool) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().case_insensitive(casei).build().parse(regex).ok()
}

fn anything() -> Hir {
    let sub = Box::new(Hir::dot(Dot::AnyChar));
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub })
}

/// A plain regex that matches at least what `expr` does. `None`: a part that cannot be read.
pub(super) fn widened(expr: &Expr) -> Option<Hir> {
    let all = |parts: &[Expr]| parts.iter().map(widened).collect::<Option<Vec<Hir>>>();
    Some(match expr {
        Expr::Assertion(Assertion::StartText) => Hir::look(Look::Start),
        Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..) => Hir::empty(),
        Expr::Any { .. } => Hir::dot(Dot::AnyChar),
        Expr::Literal { val, casei: false } => Hir::literal(val.as_bytes()),
        Expr::Literal { val, casei: true } => parse(&regex::escape(val), true)?,
        Expr::Delegate { inner, casei } => parse(inner, *casei)?,
        Expr::Concat(parts) => Hir::concat(all(parts)?),
        Expr::Alt(parts) => Hir::alternation(all(parts)?),
        Expr::Group(inner) => widened(inner)?,
        Expr::AtomicGroup(inner) => widened(inner)?,
        Expr::Repeat { child, lo, hi, greedy } => {
            let max = if *hi == usize::MAX { None } else { Some(u32::try_from(*hi).ok()?) };
            let (min, sub) = (u32::try_from(*lo).ok()?, Box::new(widened(child)?));
            Hir::repetition(Repetition { min, max, greedy: *greedy, sub })
        }
        Expr::Conditional { true_branch, false_branch, .. } => {
            // What the condition itself takes is not told apart from nothing.
            let branches = Hir::alternation(vec![widened(true_branch)?, widened(false_branch)?]);
            Hir::concat(vec![anything(), branches])
        }
        _ => anything(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail2ban::matcher::pattern::Pattern;
    use crate::fail2ban::matcher::python::Lines;

    fn texts(pattern: &str) -> Vec<Vec<String>> {
        let (pattern, _) = Pattern::new(pattern, Lines::One, true).expect("compiles");
        let text = |literal: Literal| String::from_utf8(literal.bytes).expect("text");
        pattern.required().iter().map(|set| set.iter().cloned().map(text).collect()).collect()
    }

    #[test]
    fn a_regex_of_either_engine_tells_what_its_lines_hold() {
        let one = |text: &str| vec![vec![text.to_owned()]];
        assert_eq!(texts("^a [a-z]+ failed from <HOST>$"), one(" failed from "));
        assert_eq!(texts(r"^(?!x)a [a-z]+ failed from <HOST>(?= port)$"), one(" failed from "));
        let quoted = r#"^(?P<q>['"]?)<F-USER>\S+</F-USER>(?P=q) was refused for <HOST>$"#;
        assert_eq!(texts(quoted), one(" was refused for "));
        assert_eq!(texts(r"^<HOST> (?=nothing to hold)\d+$"), Vec::<Vec<String>>::new());
        assert_eq!(texts(r"^(?:login failed|bad password)(?!x) <HOST>")[0].len(), 2);
    }

    #[test]
    fn texts_that_stand_apart_are_all_asked_for() {
        let found =
            texts(r"^(?:Aborted login|Disconnected): \S+ \((?:auth failed|no auth) in \d+\): rip=<HOST>$");
        assert_eq!(
            found,
            [vec!["Aborted login: ", "Disconnected: "], vec![" (auth failed in ", " (no auth in "]]
        );
        assert_eq!(
            texts(r"^(Closed|Gone) (?:by|from) <HOST>$"),
            [["Closed by ", "Closed from ", "Gone by ", "Gone from "]]
        );
    }

    #[test]
    fn the_newline_at_the_end_is_not_asked_of_the_line() {
        assert_eq!(texts(r"from <HOST> failed\n"), [[" failed"], ["from "]]);
    }
}
