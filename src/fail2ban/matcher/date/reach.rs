//! How far into a line a template bound to the line's begin has to look.

use std::sync::{Mutex, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

/// The template's regex as an automaton that is stepped by hand. Once it is dead, no further byte changes what was found,
/// nor whether anything was.
#[derive(Debug)]
pub struct Reach {
    dfa: DFA,
    cache: Mutex<Cache>,
}

impl Reach {
    /// `None`: too large for an automaton.
    pub fn new(regex: &str) -> Option<Reach> {
        Reach::of(&syntax::parse(regex).ok()?)
    }

    /// The same of a regex's tree.
    pub fn of(hir: &Hir) -> Option<Reach> {
        let config = DFA::config().unicode_word_boundary(true);
        let nfa = thompson::Compiler::new().build_from_hir(hir).ok()?;
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let cache = Mutex::new(dfa.create_cache());
        Some(Reach { dfa, cache })
    }

    /// The bytes of `line` that were looked at until nothing more could matter; `None`: all of them, with the line's end, or
    /// it cannot be said.
    pub fn examined(&self, line: &[u8]) -> Option<usize> {
        self.look(line).map(|(examined, _)| examined)
    }

    /// The same; `None` also if a match was found.
    pub fn examined_in_vain(&self, line: &[u8]) -> Option<usize> {
        self.look(line).filter(|(_, found)| !found).map(|(examined, _)| examined)
    }

    /// How many bytes were looked at, and whether anything was found.
    fn look(&self, line: &[u8]) -> Option<(usize, bool)> {
        let cache = &mut *self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let input = Input::new(line).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).ok()?;
        let mut found = false;
        for (at, byte) in line.iter().enumerate() {
            state = self.dfa.next_state(cache, state, *byte).ok()?;
            found |= state.is_match();
            if state.is_dead() {
                return Some((at + 1, found));
            }
            if state.is_quit() {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_decides_is_looked_at() {
        let reach = Reach::new(r"^[a-c]+ \d\d(?: 20\d\d)?").expect("an automaton");
        assert_eq!(reach.examined(b"abc 12 more"), Some(8), "m cannot begin a year");
        assert_eq!(reach.examined(b"abc 12 20x more"), Some(10));
        assert_eq!(reach.examined(b"abc 12 2012 more"), Some(13), "a match is told a byte late");
        assert_eq!(reach.examined(b"xabc 12"), Some(1), "what does not match is known early, too");
        assert_eq!(reach.examined(b"abc 12"), None, "more digits could follow");
        assert_eq!(reach.examined_in_vain(b"xabc 12"), Some(1));
        assert_eq!(reach.examined_in_vain(b"abc 12 more"), None, "something was found");
    }
}
