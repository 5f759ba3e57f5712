//! One compiled pattern: what it is for, how it is matched, what its groups mean.

use std::sync::OnceLock;

use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

use super::compile::{Expanded, Tag};
use super::literal::Traits;
use super::program::{Outcome, Program, ProgramCache};
use super::tree;
use crate::addr::Host;

/// What a match means. In the order in which the patterns of a filter are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Kind {
    Fail,
    Success,
    /// Remembers address and account of a session.
    Note,
    /// The session ended.
    Forget,
    /// A line that matched is nothing after all.
    Ignore,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Fail, Kind::Success, Kind::Note, Kind::Forget, Kind::Ignore];

    /// The key in the filter's TOML.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Fail => "failregex",
            Kind::Success => "successregex",
            Kind::Note => "noteregex",
            Kind::Forget => "forgetregex",
            Kind::Ignore => "ignoreregex",
        }
    }
}

/// A pattern, anchored at the start of the message. The automaton is built when a line first needs it.
#[derive(Debug)]
pub struct Pattern {
    pub kind: Kind,
    /// As written in the file.
    pub text: String,
    /// With prefix and names put in, tags made groups.
    pub regex: String,
    /// Capture groups that mean something: (group, tag), in order of groups.
    pub groups: Vec<(usize, Tag)>,
    /// Where it stands, `filters/x.toml:12:5`.
    pub place: String,
    /// Taken from the tree once, so that a set of filters needs no tree of a pattern that no line meets.
    pub traits: Traits,
    matcher: OnceLock<Matcher>,
}

/// NFA size beyond which a pattern is refused. Bytes.
const NFA_BYTES_MAX: usize = 2 << 20;
/// One-pass automaton size beyond which the backtracker serves. Bytes.
const ONE_PASS_BYTES_MAX: usize = 256 << 10;
/// Visited bits of the backtracker; longer lines go to the PikeVM. Bytes.
const BACKTRACK_BYTES_MAX: usize = 256 << 10;

/// How a pattern is matched: by its program, and where that has none or gives up, by a linear engine.
#[derive(Debug)]
struct Matcher {
    program: Option<Program>,
    linear: OnceLock<Option<Linear>>,
}

#[derive(Debug)]
enum Linear {
    /// One path only: captures at automaton speed.
    OnePass(Box<onepass::DFA>),
    Backtrack(Box<(BoundedBacktracker, PikeVM)>),
}

/// Reusable memory of all patterns' searches.
#[derive(Debug, Default)]
pub struct MatchCache {
    program: ProgramCache,
    one_pass: Option<onepass::Cache>,
    backtrack: Option<backtrack::Cache>,
    pike: Option<pikevm::Cache>,
    slots: Vec<Option<NonMaxUsize>>,
}

impl MatchCache {
    /// What group `index` took, after a match.
    #[inline]
    pub fn group(&self, index: usize) -> Option<std::ops::Range<usize>> {
        let start = (*self.slots.get(index * 2)?)?.get();
        let end = (*self.slots.get(index * 2 + 1)?)?.get();
        Some(start..end)
    }

    /// The address at `range` of the message, where the match read it already. `None` says nothing.
    #[inline]
    pub fn address(&self, range: &std::ops::Range<usize>) -> Option<Host> {
        self.program.address(range)
    }
}

impl Pattern {
    pub fn new(kind: Kind, text: String, place: String, expanded: &Expanded) -> Pattern {
        Pattern {
            kind,
            text,
            regex: expanded.regex.clone(),
            groups: expanded.groups.clone(),
            place,
            traits: Traits::of(&expanded.hir),
            matcher: OnceLock::new(),
        }
    }

    /// The pattern as a tree, for matching and lint.
    pub fn hir(&self) -> Option<Hir> {
        tree::parse(&self.regex).ok()
    }

    pub fn has(&self, tag: &Tag) -> bool {
        self.groups.iter().any(|(_, known)| known == tag)
    }

    /// Builds the automata now.
    ///
    /// # Errors
    /// The pattern is too big.
    pub fn build(&self) -> Result<(), String> {
        match self.linear() {
            Some(_) => Ok(()),
            None => {
                Err("the pattern is too big when compiled (2 MiB); counted repetitions multiply".to_owned())
            }
        }
    }

    fn matcher(&self) -> &Matcher {
        self.matcher.get_or_init(|| {
            let groups: Vec<usize> = self.groups.iter().map(|(group, _)| *group).collect();
            let program = self.hir().and_then(|hir| Program::new(&hir, &groups));
            Matcher { program, linear: OnceLock::new() }
        })
    }

    fn linear(&self) -> Option<&Linear> {
        self.matcher().linear.get_or_init(|| self.hir().and_then(|hir| Linear::new(&hir))).as_ref()
    }

    /// Whether the pattern fits `message` from its start; groups are then in `cache`.
    #[inline]
    pub fn matches(&self, cache: &mut MatchCache, message: &[u8]) -> bool {
        if let Some(program) = &self.matcher().program {
            match program.run(&mut cache.program, message, &mut cache.slots) {
                Outcome::Match => return true,
                Outcome::NoMatch => return false,
                Outcome::Costly => {}
            }
        }
        self.matches_linear(cache, message)
    }

    /// The same by the linear engine alone.
    pub fn matches_linear(&self, cache: &mut MatchCache, message: &[u8]) -> bool {
        cache.program.clear();
        self.linear().is_some_and(|linear| linear.matches(cache, message))
    }

    /// Ranges of all tagged groups that took part, after [`Pattern::matches`] said yes.
    pub fn captured(&self, cache: &MatchCache) -> Vec<(Tag, std::ops::Range<usize>)> {
        self.groups.iter().filter_map(|(group, tag)| Some((tag.clone(), cache.group(*group)?))).collect()
    }
}

impl Linear {
    fn new(hir: &Hir) -> Option<Linear> {
        let config = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(NFA_BYTES_MAX))
            .which_captures(WhichCaptures::All);
        let nfa: NFA = thompson::Compiler::new().configure(config).build_from_hir(hir).ok()?;
        let one_pass = onepass::Builder::new()
            .configure(onepass::Config::new().size_limit(Some(ONE_PASS_BYTES_MAX)))
            .build_from_nfa(nfa.clone());
        if let Ok(dfa) = one_pass {
            return Some(Linear::OnePass(Box::new(dfa)));
        }
        let backtracker = BoundedBacktracker::builder()
            .configure(backtrack::Config::new().visited_capacity(BACKTRACK_BYTES_MAX))
            .build_from_nfa(nfa.clone())
            .ok()?;
        let pike = PikeVM::builder().build_from_nfa(nfa).ok()?;
        Some(Linear::Backtrack(Box::new((backtracker, pike))))
    }

    fn matches(&self, cache: &mut MatchCache, message: &[u8]) -> bool {
        let input = Input::new(message).anchored(Anchored::Yes);
        let slots = &mut cache.slots;
        match self {
            Linear::OnePass(dfa) => {
                slots.clear();
                slots.resize(dfa.get_nfa().group_info().slot_len(), None);
                let cache = match &mut cache.one_pass {
                    Some(cache) => {
                        cache.reset(dfa);
                        cache
                    }
                    none => none.insert(dfa.create_cache()),
                };
                matches!(dfa.try_search_slots(cache, &input, slots), Ok(Some(_)))
            }
            Linear::Backtrack(engines) => {
                let (backtracker, pike) = &**engines;
                slots.clear();
                slots.resize(backtracker.get_nfa().group_info().slot_len(), None);
                if message.len() <= backtracker.max_haystack_len() {
                    let cache = match &mut cache.backtrack {
                        Some(cache) => {
                            cache.reset(backtracker);
                            cache
                        }
                        none => none.insert(backtracker.create_cache()),
                    };
                    return matches!(backtracker.try_search_slots(cache, &input, slots), Ok(Some(_)));
                }
                let cache = match &mut cache.pike {
                    Some(cache) => {
                        cache.reset(pike);
                        cache
                    }
                    none => none.insert(pike.create_cache()),
                };
                pike.search_slots(cache, &input, slots).is_some()
            }
        }
    }
}
