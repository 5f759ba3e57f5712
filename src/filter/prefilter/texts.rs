//! [`Texts`]: which of some texts stand in a line.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use memchr::memmem;

use super::search::{Sample, Search};
use crate::filter::literal::Literal;

/// More texts than these are looked for by one automaton, without regard to case. Texts.
const MANY: usize = 200;

/// Texts to be looked for in one line after the other, by their numbers.
#[derive(Debug)]
pub struct Texts {
    exact: Option<(Exact, Vec<u32>)>,
    /// Those of which letters of either case fit.
    folded: Option<(AhoCorasick, Vec<u32>)>,
}

#[derive(Debug)]
enum Exact {
    One(Box<memmem::Finder<'static>>),
    More(Search),
}

impl Texts {
    /// For `literals`, none of them empty, numbered as they come; `None`: they are too many for an automaton.
    pub fn new<'l>(literals: impl IntoIterator<Item = &'l Literal>) -> Option<Texts> {
        let literals: Vec<&Literal> = literals.into_iter().collect();
        // Of many texts the windows stand nearly everywhere, and one automaton serves all.
        let many = literals.len() > MANY;
        let (mut exact, mut folded) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (number, literal) in (0..).zip(literals) {
            let (texts, numbers) = if literal.folded || many { &mut folded } else { &mut exact };
            texts.push(&literal.bytes[..]);
            numbers.push(number);
        }
        let exact = match exact.0[..] {
            [] => None,
            [one] => Some(Exact::One(Box::new(memmem::Finder::new(one).into_owned()))),
            _ => Some(Exact::More(Search::new(&exact.0, &Sample::new(b""))?)),
        }
        .zip(Some(exact.1));
        let automaton = || {
            let mut builder = AhoCorasick::builder();
            builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(&folded.0)
        };
        let folded = if folded.0.is_empty() { None } else { Some((automaton().ok()?, folded.1)) };
        Some(Texts { exact, folded })
    }

    /// Tells `met` the number of each text that is in `line`, of some more than once, and perhaps of a long one that only
    /// begins and ends so, or of one in letters of another case.
    #[inline]
    pub fn all(&self, line: &[u8], mut met: impl FnMut(usize)) {
        match &self.exact {
            Some((Exact::One(finder), numbers)) if finder.find(line).is_some() => met(numbers[0] as usize),
            Some((Exact::One(_), _)) | None => {}
            Some((Exact::More(search), numbers)) => search.all(line, |at| met(numbers[at] as usize)),
        }
        if let Some((automaton, numbers)) = &self.folded {
            let found = automaton.find_overlapping_iter(line);
            found.for_each(|found| met(numbers[found.pattern().as_usize()] as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 7] = ["login", "Login", "LOGIN", "fail", "failed", "il", "no"];

    proptest! {
        #[test]
        fn those_that_stand_there_are_met(
            line in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..8),
            literals in prop::collection::btree_set((prop::sample::select(&WORDS[..]), any::<bool>()), 0..6),
        ) {
            let line = line.join(" ");
            let literal = |&(text, folded): &(&str, bool)| {
                let text = if folded { text.to_lowercase() } else { text.to_owned() };
                Literal { bytes: text.into_bytes(), folded }
            };
            let literals: Vec<Literal> = literals.iter().map(literal).collect();
            let mut met = vec![false; literals.len()];
            Texts::new(&literals).unwrap().all(line.as_bytes(), |number| met[number] = true);
            for (Literal { bytes, folded }, met) in literals.iter().zip(met) {
                let line = if *folded { line.to_lowercase() } else { line.clone() };
                prop_assert_eq!(met, memmem::find(line.as_bytes(), bytes).is_some(), "{:?}", bytes);
            }
        }
    }
}
