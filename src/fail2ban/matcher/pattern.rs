//! One regex of a filter, compiled, and what its groups held.

use std::sync::{Arc, OnceLock};

use regex_automata::util::primitives::NonMaxUsize;
use serde::{Deserialize, Serialize};

use super::engine::{Engine, Overrun, PatternError};
use super::literal::Required;
use super::python::{self, Lines, SyntaxError, Target};
use super::{literal, narrow, tags};
use crate::filter::program::{self, Program, ProgramCache};

/// What a group held: a text, or several that `<F-TUPLE_…>` joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    Text(String),
    Tuple(Vec<Option<String>>),
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Tuple(_) => None,
        }
    }

    /// Python's truth: an empty text is false.
    fn is_true(&self) -> bool {
        !matches!(self, Value::Text(text) if text.is_empty())
    }
}

/// Named groups and what they held; a group that took no part in the match is there without a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups(Vec<(Arc<str>, Option<Value>)>);

impl Groups {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.value(name).flatten()
    }

    /// The value of the group, if it is there at all.
    pub fn value(&self, name: &str) -> Option<Option<&Value>> {
        self.0.iter().find(|(n, _)| **n == *name).map(|(_, value)| value.as_ref())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::text)
    }

    /// Whether the group is there and not empty.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_true)
    }

    pub fn set(&mut self, name: &str, value: Option<Value>) {
        match self.0.iter_mut().find(|(n, _)| **n == *name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.into(), value)),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(n, _)| **n == *name)?;
        self.0.remove(at).1
    }

    /// Takes every group of `other` that has a value.
    pub fn update(&mut self, mut other: Groups) {
        other.0.retain(|(_, value)| value.is_some());
        self.take_all(other);
    }

    /// Takes every group of `other`, also those without a value.
    pub fn take_all(&mut self, other: Groups) {
        for (name, value) in other.0 {
            match self.0.iter_mut().find(|(n, _)| *n == name) {
                Some(entry) => entry.1 = value,
                None => self.0.push((name, value)),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About what it takes in memory. Bytes.
    pub fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Tuple(parts) => parts.iter().flatten().map(|part| part.len() + 24).sum(),
        };
        self.0.iter().map(|(name, held)| name.len() + 64 + held.as_ref().map_or(0, value)).sum()
    }

    /// Groups that held something.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter_map(|(name, value)| Some((&**name, value.as_ref()?)))
    }
}

/// A match in a buffer.
#[derive(Debug, Clone)]
pub struct Found {
    pub start: usize,
    pub end: usize,
    pub groups: Groups,
    /// Lines that `<SKIPLINES>` passed over.
    pub skipped: Vec<String>,
}

/// Memory of searches, reused.
#[derive(Debug, Default)]
pub struct Scratch {
    /// What is searched.
    pub text: String,
    program: ProgramCache,
    slots: Vec<Option<NonMaxUsize>>,
}

/// A compiled regex with its tags resolved.
#[derive(Debug)]
pub struct Pattern {
    engine: Engine,
    /// Finds in ASCII what `engine` does; made when a line first needs it.
    program: OnceLock<Option<Program>>,
    required: Required,
    /// Named groups and their numbers.
    names: Vec<(Arc<str>, usize)>,
    /// `<F-ALT_NAME>`: the group, and the one it fills when that is empty.
    alternatives: Vec<(String, String)>,
    /// `<F-TUPLE_NAME>`: the group, and the one it is appended to.
    tuples: Vec<(String, String)>,
}

impl Pattern {
    /// Compiles `text` as written in a filter.
    ///
    /// `names`: see [`tags::replace`]. The second part of the result says what was read otherwise.
    pub fn new(text: &str, lines: Lines, names: bool) -> Result<(Pattern, Vec<&'static str>), PatternError> {
        let text = tags::replace(text, names);
        if text.trim_start().is_empty() {
            return Err(PatternError::Empty);
        }
        let text = localize_flags(&text);
        let (engine, required, notes) = compile(&text, lines)?;
        let names = engine.names();
        let (mut alternatives, mut tuples) = (Vec::new(), Vec::new());
        for (name, _) in &names {
            for (prefix, list) in [("alt_", &mut alternatives), ("tuple_", &mut tuples)] {
                let Some(target) = name.strip_prefix(prefix).filter(|rest| !rest.is_empty()) else {
                    continue;
                };
                let numbered = target
                    .rsplit_once('_')
                    .filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
                list.push((name.clone(), tags::group_of(numbered.map_or(target, |(target, _)| target))));
            }
        }
        alternatives.sort();
        tuples.sort();
        let program = OnceLock::new();
        if lines != Lines::One {
            let _ = program.set(None);
        }
        let names = names.into_iter().map(|(name, number)| (name.into(), number)).collect();
        Ok((Pattern { engine, program, required, names, alternatives, tuples }, notes))
    }

    pub fn has_group(&self, name: &str) -> bool {
        self.names.iter().any(|(n, _)| **n == *name)
    }

    /// What must stand in a line that it matches.
    pub fn required(&self) -> &Required {
        &self.required
    }

    /// Whether it runs in time linear in the line.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Linear(_))
    }

    /// The leftmost match in `text`.
    pub fn search(&self, scratch: &mut Scratch, text: &str) -> Result<Option<Found>, Overrun> {
        if text.is_ascii()
            && let Some(program) = self.program()
        {
            let Scratch { program: cache, slots, .. } = scratch;
            match program.run(cache, text.as_bytes(), slots) {
                program::Outcome::NoMatch => return Ok(None),
                program::Outcome::Match => {
                    let slot = |at: usize| slots.get(at).copied().flatten().map(NonMaxUsize::get);
                    let span = |group: usize| Some((slot(group * 2)?, slot(group * 2 + 1)?));
                    return Ok(Some(self.found(text, span)));
                }
                program::Outcome::Costly => {}
            }
        }
        let spans = self.engine.spans(text, 0)?;
        Ok(spans.map(|spans| self.found(text, |group| spans[group])))
    }

    #[cfg(test)]
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn program(&self) -> Option<&Program> {
        let made = || narrow::program(&self.engine, self.names.iter().map(|(_, number)| *number));
        self.program.get_or_init(made).as_ref()
    }

    fn found(&self, text: &str, span: impl Fn(usize) -> Option<(usize, usize)>) -> Found {
        let (start, end) = span(0).expect("group 0 is the match");
        let mut groups = Groups(Vec::with_capacity(self.names.len()));
        let mut skipped = String::new();
        for (name, number) in &self.names {
            let value = span(*number).map(|(start, end)| &text[start..end]);
            if name.strip_prefix("skiplines").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
                skipped.push_str(value.unwrap_or_default());
            }
            groups.0.push((name.clone(), value.map(|text| Value::Text(text.to_owned()))));
        }
        self.merge(&mut groups);
        let skipped = skipped.lines().map(str::to_owned).collect();
        Found { start, end, groups, skipped }
    }

    fn merge(&self, groups: &mut Groups) {
        for (from, to) in &self.alternatives {
            if groups.is_true(from) && !groups.is_true(to) {
                let value = groups.get(from).cloned();
                groups.set(to, value);
            }
        }
        for (from, to) in &self.tuples {
            let more = groups.text(from).map(str::to_owned);
            let tuple = match groups.remove(to) {
                Some(Value::Tuple(mut parts)) => {
                    parts.push(more);
                    parts
                }
                Some(Value::Text(first)) => vec![Some(first), more],
                None => vec![None, more],
            };
            groups.set(to, Some(Value::Tuple(tuple)));
        }
    }
}

/// `((?i)…)` and `(?:(?i)…)` become `(?i:…)`, as fail2ban rewrites them before compiling.
fn localize_flags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('(') {
        let escaped = rest[..at].ends_with('\\') || (at == 0 && out.ends_with('\\'));
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let inner = rest.strip_prefix("(?:").unwrap_or(&rest[1..]);
        let flags = inner.strip_prefix("(?").and_then(|inner| {
            let (flags, after) = inner.split_once(')')?;
            (!flags.is_empty() && flags.bytes().all(|b| b.is_ascii_lowercase())).then_some((flags, after))
        });
        match flags {
            Some((flags, after)) if !escaped => {
                out.push_str(&format!("(?{flags}:"));
                rest = after;
            }
            _ => {
                out.push('(');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn compile(text: &str, lines: Lines) -> Result<(Engine, Required, Vec<&'static str>), PatternError> {
    let multi = if lines == Lines::Each { "(?m)" } else { "" };
    match python::translate(text, lines, Target::Linear) {
        Ok(read) => {
            let (engine, tree) = Engine::with_tree(&format!("{multi}{}", read.text))?;
            return Ok((engine, literal::of_linear(&tree), read.notes));
        }
        Err(SyntaxError::NeedsBacktracking) => {}
        Err(error) => return Err(PatternError::Syntax(error)),
    }
    let read = python::translate(text, lines, Target::Backtracking).map_err(PatternError::Syntax)?;
    let text = format!("{multi}{}", read.text);
    Ok((Engine::backtracking(&text)?, literal::of_backtracking(&text), read.notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(pattern: &str, text: &str) -> Groups {
        let (pattern, _) = Pattern::new(pattern, Lines::One, true).expect("compiles");
        pattern.search(&mut Scratch::default(), text).expect("no overrun").expect("matches").groups
    }

    #[test]
    fn an_alternative_fills_its_group_only_when_that_is_empty() {
        let pattern = r"^(?:u=<F-USER>\S*</F-USER> )?(?:a=<F-ALT_USER_1>\S+</F-ALT_USER_1> )?<ADDR>$";
        assert_eq!(groups(pattern, "u=ana a=bob 192.0.2.1\n").text("user"), Some("ana"));
        assert_eq!(groups(pattern, "u= a=bob 192.0.2.1\n").text("user"), Some("bob"));
        assert_eq!(groups(pattern, "a=bob 192.0.2.1\n").text("user"), Some("bob"));
    }

    #[test]
    fn a_tuple_joins_its_parts_in_order() {
        let found =
            groups("^<F-ID>a</F-ID> <F-TUPLE_ID>b</F-TUPLE_ID> <F-TUPLE_ID_2>c</F-TUPLE_ID_2>$", "a b c\n");
        let parts = ["a", "b", "c"].map(|part| Some(part.to_owned()));
        assert_eq!(found.get("fid"), Some(&Value::Tuple(parts.to_vec())));
    }

    #[test]
    fn flags_inside_a_group_hold_for_that_group() {
        let (pattern, notes) = Pattern::new("^A(?:(?i)b)C <HOST>", Lines::One, true).expect("compiles");
        assert!(pattern.search(&mut Scratch::default(), "ABC 192.0.2.1\n").expect("no overrun").is_some());
        assert!(pattern.search(&mut Scratch::default(), "AbC 192.0.2.1\n").expect("no overrun").is_some());
        assert!(pattern.search(&mut Scratch::default(), "abC 192.0.2.1\n").expect("no overrun").is_none());
        assert!(notes.is_empty());
    }

    #[test]
    fn a_search_without_end_is_an_overrun_and_not_a_no() {
        let (pattern, _) = Pattern::new(r"^(?:(?:x+x+)+y|(?!z)(?:x+x+)+z)(?P<fid>q)\1?$", Lines::One, true)
            .expect("compiles");
        assert!(!pattern.is_linear());
        assert_eq!(
            pattern
                .search(&mut Scratch::default(), &format!("{}\n", "x".repeat(200)))
                .map(|found| found.is_some()),
            Err(Overrun)
        );
    }
}
