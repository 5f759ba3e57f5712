//! What must stand in a line for a regex to match it, so that most lines need not be searched.
//!
//! A linear regex says it by itself. One that looks around or refers back is first widened to a plain one that matches
//! at least the same: assertions fall away, a reference may be anything. What every match of the wider regex holds,
//! every match of the narrower one does.

use fancy_regex::Expr;
use regex_syntax::hir::{Dot, Hir, Repetition};

use super::pattern::{Engine, Pattern};
use super::program::Required;
use crate::filter::literal::{self, Literal};

/// Shorter texts stand in nearly every line. Bytes.
const TELLING_MIN: usize = 3;

/// Texts of which one stands in every line that `pattern` matches.
pub fn required(pattern: &Pattern) -> Required {
    let hir = match pattern.engine() {
        Engine::Linear(regex) => parse(regex.as_str(), false)?,
        Engine::Backtracking(regex) => widened(&Expr::parse_tree(regex.as_str()).ok()?.expr)?,
    };
    // The line is searched as it is in the log, without the newline that the regex sees at its end.
    let set = literal::required(&hir)?;
    set.literals.into_iter().map(without_newline).collect()
}

fn without_newline(literal: Literal) -> Option<Literal> {
    let longest = literal.bytes.split(|byte| *byte == b'\n').max_by_key(|part| part.len())?;
    (longest.len() >= TELLING_MIN).then(|| Literal { bytes: longest.to_vec(), folded: literal.folded })
}

fn parse(regex: &str, casei: bool) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().case_insensitive(casei).build().parse(regex).ok()
}

fn anything() -> Hir {
    let sub = Box::new(Hir::dot(Dot::AnyChar));
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub })
}

/// `None`: a part that cannot be read.
fn widened(expr: &Expr) -> Option<Hir> {
    let all = |parts: &[Expr]| parts.iter().map(widened).collect::<Option<Vec<Hir>>>();
    Some(match expr {
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
    use crate::fail2ban::matcher::python::Lines;

    fn texts(pattern: &str) -> Option<Vec<String>> {
        let (pattern, _) = Pattern::new(pattern, Lines::One, true).expect("compiles");
        let found = required(&pattern)?;
        Some(found.into_iter().map(|literal| String::from_utf8(literal.bytes).expect("text")).collect())
    }

    #[test]
    fn a_regex_of_either_engine_tells_what_its_lines_hold() {
        let one = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(texts("^a [a-z]+ failed from <HOST>$"), one(" failed from "));
        assert_eq!(texts(r"^(?!x)a [a-z]+ failed from <HOST>(?= port)$"), one(" failed from "));
        let quoted = r#"^(?P<q>['"]?)<F-USER>\S+</F-USER>(?P=q) was refused for <HOST>$"#;
        assert_eq!(texts(quoted), one(" was refused for "));
        assert_eq!(texts(r"^<HOST> (?=nothing to hold)\d+$"), None);
        assert_eq!(texts(r"^(?:login failed|bad password)(?!x) <HOST>").map(|texts| texts.len()), Some(2));
    }

    #[test]
    fn the_newline_at_the_end_is_not_asked_of_the_line() {
        assert_eq!(texts(r"from <HOST> failed\n"), Some(vec![" failed".to_owned()]));
    }
}
