//! A regex as the program of native filters runs it, for texts of ASCII alone.
//!
//! In such a text a class is the ASCII characters in it, a literal of other characters is nowhere, and a word boundary is
//! the plain one: what is left of the regex then knows only bytes, and finds what the whole of it would. The program tries
//! alternatives in order as Python does, so it also looks around and asks whether a group took part.

use std::ops::Range;

use fancy_regex::{Assertion, Expr, LookAround};
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

use super::engine::Engine;
use super::literal::parse;
use crate::filter::program::{EXTRA, Extra, Program};

/// The program of what `engine` searches for, with the places of `groups` and of the whole match. `None`: it may begin
/// elsewhere than at the text's begin, or has parts that the program does not know.
pub fn program(engine: &Engine, groups: impl Iterator<Item = usize>) -> Option<Program> {
    let mut parts = Parts::default();
    let hir = match engine {
        Engine::Linear(regex) => tree(&parse(regex.as_str(), false)?),
        Engine::Backtracking(regex) => {
            let hir = parts.tree(&Expr::parse_tree(regex.as_str()).ok()?.expr)?;
            (parts.groups + 1 == regex.captures_len()).then_some(hir)?
        }
    };
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return None;
    }
    let groups: Vec<usize> = groups.chain([0]).chain(parts.asked).collect();
    if parts.within_looks.iter().flat_map(Clone::clone).any(|group| groups.contains(&group)) {
        return None;
    }
    let whole = Hir::capture(Capture { index: 0, name: None, sub: Box::new(hir) });
    Program::with_extras(&whole, &parts.extras, &groups)
}

/// What is met on the way through a tree of fancy-regex.
#[derive(Default)]
struct Parts {
    extras: Vec<Extra>,
    /// Groups so far, counted in the order of their beginnings.
    groups: usize,
    /// Groups whose part in the match is asked for.
    asked: Vec<usize>,
    /// Groups that stand in something that looks around.
    within_looks: Vec<Range<usize>>,
}

impl Parts {
    /// `None`: a part that the program does not know.
    fn tree(&mut self, expr: &Expr) -> Option<Hir> {
        let mut all = |parts: &[Expr]| parts.iter().map(|part| self.tree(part)).collect::<Option<Vec<Hir>>>();
        Some(match expr {
            Expr::Empty => Hir::empty(),
            Expr::Any { newline, crlf: false } => {
                let all = [(0, b'\n' - 1), (b'\n' + 1, 0x7f), (b'\n', b'\n')];
                bytes(all.into_iter().take(if *newline { 3 } else { 2 }))
            }
            Expr::Assertion(assertion) => Hir::look(match assertion {
                Assertion::StartText => Look::Start,
                Assertion::EndText => Look::End,
                Assertion::EndLine { crlf: false } => Look::EndLF,
                Assertion::WordBoundary => Look::WordAscii,
                Assertion::NotWordBoundary => Look::WordAsciiNegate,
                _ => return None,
            }),
            Expr::Literal { val, casei: false } => literal(val.as_bytes()),
            Expr::Literal { val, casei: true } => tree(&parse(&regex::escape(val), true)?),
            Expr::Delegate { inner, casei } => tree(&parse(inner, *casei)?),
            Expr::Concat(parts) => Hir::concat(all(parts)?),
            Expr::Alt(parts) => Hir::alternation(all(parts)?),
            Expr::Group(inner) => {
                self.groups += 1;
                let index = u32::try_from(self.groups).ok().filter(|index| *index < EXTRA)?;
                Hir::capture(Capture { index, name: None, sub: Box::new(self.tree(inner)?) })
            }
            Expr::Repeat { child, lo, hi, greedy } => {
                let max = if *hi == usize::MAX { None } else { Some(u32::try_from(*hi).ok()?) };
                let (min, sub) = (u32::try_from(*lo).ok()?, Box::new(self.tree(child)?));
                // Rounds that take nothing are counted in as many ways as there are engines.
                if sub.properties().minimum_len().is_none_or(|min| min == 0) {
                    return None;
                }
                Hir::repetition(Repetition { min, max, greedy: *greedy, sub })
            }
            Expr::LookAround(inner, look) => {
                let first = self.groups + 1;
                let hir = self.tree(inner)?;
                self.within_looks.push(first..self.groups + 1);
                let behind = matches!(look, LookAround::LookBehind | LookAround::LookBehindNeg);
                let negated = matches!(look, LookAround::LookAheadNeg | LookAround::LookBehindNeg);
                self.extra(Extra::Look { hir, behind, negated }, Hir::empty())
            }
            Expr::Conditional { condition, true_branch, false_branch } => {
                let Expr::BackrefExistsCondition { group, relative_recursion_level: None } = **condition
                else {
                    return None;
                };
                let (yes, no) = (self.tree(true_branch)?, self.tree(false_branch)?);
                self.asked.push(group);
                let either = Hir::alternation(vec![yes.clone(), no.clone()]);
                self.extra(Extra::IfGroup { group, yes, no }, either)
            }
            _ => return None,
        })
    }

    /// The place of `extra` in the tree. `holds`: see [`EXTRA`].
    fn extra(&mut self, extra: Extra, holds: Hir) -> Hir {
        self.extras.push(extra);
        let index = EXTRA + self.extras.len() as u32 - 1;
        Hir::capture(Capture { index, name: None, sub: Box::new(holds) })
    }
}

fn bytes(ranges: impl Iterator<Item = (u8, u8)>) -> Hir {
    let ranges = ranges.map(|(start, end)| ClassBytesRange::new(start, end));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}

fn literal(text: &[u8]) -> Hir {
    if text.is_ascii() { Hir::literal(text) } else { Hir::fail() }
}

/// What of `hir` can match in ASCII.
fn tree(hir: &Hir) -> Hir {
    let all = |parts: &[Hir]| parts.iter().map(tree).collect();
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(text) => literal(&text.0),
        HirKind::Class(Class::Unicode(class)) => {
            let ascii = class.ranges().iter().filter(|range| range.start().is_ascii());
            bytes(ascii.map(|range| (range.start() as u8, (range.end() as u32).min(0x7f) as u8)))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ascii = class.ranges().iter().filter(|range| range.start().is_ascii());
            bytes(ascii.map(|range| (range.start(), range.end().min(0x7f))))
        }
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            look => *look,
        }),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(tree(&repetition.sub)), ..repetition.clone() })
        }
        HirKind::Capture(capture) => {
            Hir::capture(Capture { index: capture.index, name: None, sub: Box::new(tree(&capture.sub)) })
        }
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::{Pattern, Scratch};
    use super::super::python::Lines;
    use super::*;

    fn pattern(regex: &str) -> Option<Pattern> {
        Pattern::new(regex, Lines::One, true).ok().map(|(pattern, _)| pattern)
    }

    fn made(pattern: &Pattern) -> Option<Program> {
        program(pattern.engine(), pattern.engine().names().into_iter().map(|(_, number)| number))
    }

    /// What `search` finds is what the engine alone finds.
    fn agrees(regex: &str, text: &str) -> Result<(), TestCaseError> {
        let Some(pattern) = pattern(regex) else { return Ok(()) };
        let Ok(spans) = pattern.engine().spans(text, 0) else { return Ok(()) };
        let found = pattern.search(&mut Scratch::default(), text).expect("no overrun");
        prop_assert_eq!(found.is_some(), spans.is_some(), "{} on {:?}", regex, text);
        if let (Some(found), Some(spans)) = (found, spans) {
            prop_assert_eq!(Some((found.start, found.end)), spans[0], "{} on {:?}", regex, text);
            for (name, number) in pattern.engine().names() {
                let value = spans[number].map(|(start, end)| &text[start..end]);
                prop_assert_eq!(found.groups.text(&name), value, "{}, group {} on {:?}", regex, name, text);
            }
        }
        Ok(())
    }

    #[test]
    fn patterns_of_log_lines_have_a_program() {
        let lines = [
            "mx smtpd[7]: warning: a.example[192.0.2.1]: LOGIN failed: no\n",
            "mx smtpd[7]: warning: unknown[2001:db8::1]:25: LOGIN failed: lost\n",
            "bad user ana from from 192.0.2.7 port 22 ssh2\n",
            "bad user x y from mx.example\n",
            "bad ana from 192.0.2.7: no",
            "gone\u{1c}192.0.2.7 \n",
            "",
            "\n",
        ];
        for regex in [
            r"^\s*(?:\S+\s+)?(?:\w+(?:\[\d+\])?:?\s+)?warning: <F-CONTENT>.+</F-CONTENT>$",
            r"^(?:\S+ )*[^[]*\[<HOST>\](?::\d+)?: (?i:login) failed:(?! lost| gone)",
            r"^bad (?P<inv>user )?<F-USER>(?P<user_1>\S+)|(?(inv)(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>(?: port \d+)?(?(user_1): |(?:(?! from ).)*$)",
            r"^bad (?:user )?<F-USER>.*?</F-USER> from <HOST>\b(?<!=)(?<=[\w:])",
            r"^gone\s<HOST>\s*$",
            r"^(?:é|gone)\W+<F-ID>[^é]*</F-ID>$",
        ] {
            assert!(pattern(regex).is_some_and(|pattern| made(&pattern).is_some()), "{regex}");
            lines.iter().for_each(|line| agrees(regex, line).unwrap());
        }
        for elsewhere in [r"bad <HOST>", r"(?:^|x)bad <HOST>", r"^(?P<q>['x]?)<HOST>(?P=q)$"] {
            assert!(made(&pattern(elsewhere).expect("compiles")).is_none(), "{elsewhere}");
        }
    }

    /// Rounds within rounds are left out: the engine takes some of them otherwise than Python does.
    fn part() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "a", "b", "ab", ".", r"\w", r"\W", r"\d", r"\s", r"\S", "[^a]", "[aé]", "é", "(?i:B)", "7", " ",
        ]);
        let row = |parts| prop::collection::vec(parts, 1..4).prop_map(|parts| parts.concat()).boxed();
        let either = |parts| {
            prop::collection::vec(parts, 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))).boxed()
        };
        let round = either(row(leaf.prop_map(str::to_owned).boxed()));
        let how = prop::sample::select(vec!["", "*", "+", "?", "*?", "+?", "??", "{1,2}"]);
        let rounds = (round, how).prop_map(|(part, how)| format!("{part}{how}")).boxed();
        let look = prop::sample::select(vec!["?=", "?!", "?<=", "?<!"]);
        let looks = (either(rounds.clone()), look).prop_map(|(part, look)| format!("({look}{part})"));
        let bounds = prop::sample::select(vec![r"\b", r"\B", "$"]).prop_map(str::to_owned);
        either(row(prop_oneof![4 => rounds, 1 => looks, 1 => bounds].boxed()))
    }

    proptest! {
        #[test]
        fn in_ascii_a_program_finds_what_the_engine_does(
            (first, second, third, fourth) in (part(), part(), part(), part()),
            conditional in any::<bool>(),
            text in "[abAB7 .-]{0,12}\n?",
        ) {
            let last = if conditional { format!("(?(x){third}|{fourth})") } else { third };
            agrees(&format!("^(?P<fid>{first})(?P<x>{second})?{last}"), &text)?;
        }
    }
}
