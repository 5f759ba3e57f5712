//! What must stand in a line for a pattern to match it: a set of bytes the message may begin with, and a set
//! of literals of which one is in it.
//!
//! regex-syntax's own extractor knows prefixes and suffixes; most patterns here have their telling word in the
//! middle. So the tree is walked for the best required inner literal: of a concatenation the best child serves,
//! of an alternation every branch must give one, of a repetition the child if it comes at least once. Sound
//! because each step keeps "every match contains one of these".

use regex_syntax::hir::{Class, Hir, HirKind};

/// 256 bits, one for each byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    pub const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
    }

    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub fn union(&mut self, other: &ByteSet) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own |= other;
        }
    }

    /// What both hold.
    pub fn and(&self, other: &ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    pub fn intersects(&self, other: &ByteSet) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// What is known of every message that a pattern matches.
#[derive(Debug, Clone)]
pub struct Traits {
    /// What it begins with; all bytes where it may be empty.
    pub first: ByteSet,
    pub may_be_empty: bool,
    pub prefixes: Vec<Vec<u8>>,
    /// A literal that is near its beginning.
    pub near: Option<Near>,
    /// Sets of which each has a literal in it, the most promising first.
    pub required: Vec<LiteralSet>,
}

impl Traits {
    pub fn of(hir: &Hir) -> Traits {
        let (first, may_be_empty) = first_bytes(hir);
        let first = if may_be_empty { ByteSet::ALL } else { first };
        Traits { first, may_be_empty, prefixes: prefixes(hir), near: near(hir), required: all_required(hir) }
    }
}

/// Bytes of a class; `None` for one that holds more than bytes can say.
pub fn class_bytes(class: &Class) -> Option<ByteSet> {
    let mut set = ByteSet::default();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                (range.start()..=range.end()).for_each(|byte| set.insert(byte));
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                if !range.end().is_ascii() {
                    return None;
                }
                (range.start() as u8..=range.end() as u8).for_each(|byte| set.insert(byte));
            }
        }
    }
    Some(set)
}

/// Bytes that a match can begin with, and whether it can be empty.
pub fn first_bytes(hir: &Hir) -> (ByteSet, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (ByteSet::default(), true),
        HirKind::Literal(literal) => {
            let mut set = ByteSet::default();
            set.insert(literal.0[0]);
            (set, false)
        }
        HirKind::Class(class) => (class_bytes(class).unwrap_or(ByteSet::ALL), false),
        HirKind::Repetition(repetition) => {
            let (set, empty) = first_bytes(&repetition.sub);
            (set, empty || repetition.min == 0)
        }
        HirKind::Capture(capture) => first_bytes(&capture.sub),
        HirKind::Concat(parts) => {
            let mut set = ByteSet::default();
            for part in parts {
                let (first, empty) = first_bytes(part);
                set.union(&first);
                if !empty {
                    return (set, false);
                }
            }
            (set, true)
        }
        HirKind::Alternation(parts) => {
            let mut set = ByteSet::default();
            let mut any_empty = false;
            for part in parts {
                let (first, empty) = first_bytes(part);
                set.union(&first);
                any_empty |= empty;
            }
            (set, any_empty)
        }
    }
}

/// Texts of which one begins every match, each at least [`PREFIX_MIN`] long; empty: no such are known.
pub fn prefixes(hir: &Hir) -> Vec<Vec<u8>> {
    use regex_syntax::hir::literal::{ExtractKind, Extractor};
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_class(4).limit_repeat(4).limit_literal_len(24).limit_total(64);
    let sequence = extractor.extract(hir);
    let Some(literals) = sequence.literals() else { return Vec::new() };
    let mut found: Vec<Vec<u8>> = literals.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    if found.len() > 24 || found.iter().any(|text| text.len() < PREFIX_MIN) {
        return Vec::new();
    }
    found.sort();
    found.dedup();
    found
}

/// Shorter prefixes tell too little. Bytes.
const PREFIX_MIN: usize = 3;

/// Bytes that stand in every message that a pattern matches, not far from its beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Near {
    pub bytes: Vec<u8>,
    /// Where they may begin.
    pub places: std::ops::RangeInclusive<usize>,
}

/// So far from the beginning a look is cheaper than a search. Bytes.
const NEAR: usize = 24;
/// Shorter literals tell too little. Bytes.
const NEAR_MIN: usize = 4;

/// The first literal that tells something, if it is near; letters of both cases end it.
fn near(hir: &Hir) -> Option<Near> {
    let mut parts = Vec::new();
    flatten(hir, &mut parts);
    let (mut first, mut last) = (0, 0);
    for part in parts {
        if let HirKind::Literal(literal) = part.kind()
            && literal.0.len() >= NEAR_MIN
        {
            return Some(Near { bytes: literal.0.to_vec(), places: first..=last });
        }
        first += part.properties().minimum_len()?;
        last += part.properties().maximum_len()?;
        if last > NEAR {
            return None;
        }
    }
    None
}

/// Bytes that must stand somewhere in the line.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Literal {
    pub bytes: Vec<u8>,
    /// Letters of either case fit; `bytes` are in lower case.
    pub folded: bool,
}

/// A pattern's required literals: one of them is in every line that it matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiteralSet {
    pub literals: Vec<Literal>,
    score: i32,
}

/// More branches than this make a set worthless.
const LITERALS_MAX: usize = 24;
/// A longer literal is no rarer. Bytes.
const TELLING_LEN_MAX: usize = 24;

/// The best set of required literals, if there is any.
pub fn required(hir: &Hir) -> Option<LiteralSet> {
    best(all_required(hir))
}

/// Every set of required literals that was found, the most promising first.
pub fn all_required(hir: &Hir) -> Vec<LiteralSet> {
    let mut found = Vec::new();
    walk(hir, &mut found);
    found.sort_by_key(|set| std::cmp::Reverse(set.score));
    found
}

/// Of equally good ones the first.
fn best(sets: Vec<LiteralSet>) -> Option<LiteralSet> {
    sets.into_iter().reduce(|best, set| if set.score > best.score { set } else { best })
}

fn walk(hir: &Hir, found: &mut Vec<LiteralSet>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(_) | HirKind::Class(_) => run(std::slice::from_ref(&hir), found),
        HirKind::Repetition(repetition) => {
            if repetition.min > 0 {
                walk(&repetition.sub, found);
            }
        }
        HirKind::Capture(capture) => walk(&capture.sub, found),
        HirKind::Concat(_) => {
            let mut parts = Vec::new();
            flatten(hir, &mut parts);
            for run_of_atoms in parts.split(|part| !is_atom(part)) {
                run(run_of_atoms, found);
            }
            for part in parts.iter().filter(|part| !is_atom(part)) {
                walk(part, found);
            }
        }
        HirKind::Alternation(branches) => {
            let mut literals = Vec::new();
            let mut score = i32::MAX;
            for branch in branches {
                let Some(set) = required(branch) else { return };
                score = score.min(set.score);
                literals.extend(set.literals);
            }
            literals.sort();
            literals.dedup();
            if literals.len() <= LITERALS_MAX {
                let score = score - literals.len() as i32;
                found.push(LiteralSet { literals, score });
            }
        }
    }
}

/// The children of nested concatenations and captures, in order.
fn flatten<'h>(hir: &'h Hir, out: &mut Vec<&'h Hir>) {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().for_each(|part| flatten(part, out)),
        HirKind::Capture(capture) => flatten(&capture.sub, out),
        HirKind::Empty => {}
        _ => out.push(hir),
    }
}

fn is_atom(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Literal(_)) || folded_letter(hir).is_some()
}

/// The letter of a class like `[Aa]`, in lower case.
pub fn folded_letter(hir: &Hir) -> Option<u8> {
    let HirKind::Class(class) = hir.kind() else { return None };
    let set = class_bytes(class)?;
    let letter = (b'a'..=b'z').find(|letter| set.contains(*letter))?;
    (set.len() == 2 && set.contains(letter.to_ascii_uppercase())).then_some(letter)
}

/// Literals and folded letters in a row.
fn run(atoms: &[&Hir], found: &mut Vec<LiteralSet>) {
    let mut folded = Vec::new();
    let mut any_folded = false;
    let mut as_written = Vec::new();
    for atom in atoms {
        match atom.kind() {
            HirKind::Literal(literal) => {
                folded.extend(literal.0.iter().map(u8::to_ascii_lowercase));
                as_written.extend_from_slice(&literal.0);
            }
            _ => match folded_letter(atom) {
                Some(letter) => {
                    folded.push(letter);
                    any_folded = true;
                    exact(&std::mem::take(&mut as_written), found);
                }
                None => return,
            },
        }
    }
    exact(&as_written, found);
    if any_folded && folded.len() >= 3 {
        // A case-folding search costs more than an exact one.
        let score = rarity(&folded) * 2 / 3;
        found.push(LiteralSet { literals: vec![Literal { bytes: folded, folded: true }], score });
    }
}

fn exact(bytes: &[u8], found: &mut Vec<LiteralSet>) {
    if bytes.len() >= 2 {
        let literal = Literal { bytes: bytes.to_vec(), folded: false };
        found.push(LiteralSet { literals: vec![literal], score: rarity(bytes) });
    }
}

/// Words that stand in many lines of mail logs.
const COMMON: [&str; 25] = [
    " from ",
    "from",
    "user=",
    "user",
    "client=",
    "client",
    "connect",
    "port",
    "login",
    "relay",
    "status=",
    "to=",
    "from=",
    "session",
    "]: ",
    ": ",
    ", ",
    "method=",
    "address",
    "mail",
    "auth",
    "warning: ",
    "reject",
    "rip=",
    "ip=",
];

/// A guess at how seldom a literal stands in a log: its length, less where it is a common word.
fn rarity(bytes: &[u8]) -> i32 {
    let len = bytes.len().min(TELLING_LEN_MAX) as i32;
    let odd =
        bytes.iter().take(TELLING_LEN_MAX).filter(|b| b.is_ascii_uppercase() || **b == b'_').count() as i32;
    let text = bytes.to_ascii_lowercase();
    let text = text.trim_ascii();
    let common = COMMON.iter().any(|word| word.trim().as_bytes() == text);
    let score = len * 2 + odd;
    if common { score / 3 } else { score }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hir(regex: &str) -> Hir {
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(regex).unwrap()
    }

    fn literals(regex: &str) -> Vec<String> {
        let set = required(&hir(regex)).map_or(Vec::new(), |set| set.literals);
        set.into_iter()
            .map(|l| format!("{}{}", if l.folded { "~" } else { "" }, String::from_utf8(l.bytes).unwrap()))
            .collect()
    }

    #[test]
    fn the_rarest_required_literal_is_taken() {
        assert_eq!(
            literals(r"warning: .*\[x\]: SASL [A-Z]+ authentication failed: .*$"),
            [" authentication failed: "]
        );
        assert_eq!(literals(r"(?:Invalid|Illegal) user .* from [0-9]"), ["Illegal", "Invalid"]);
        assert_eq!(literals(r"(?i:authentication failure)[ ]for"), ["~authentication failure for"]);
        assert_eq!(literals(r"(?:abcdef)?gh"), ["gh"]);
        assert_eq!(literals(r"(?:abcdef)+gh"), ["abcdef"]);
        assert_eq!(literals(r"[a-z]+|x"), Vec::<String>::new());
        assert_eq!(literals(r"x?(?P<a>abc)def[0-9]"), ["abcdef"]);
    }

    #[test]
    fn a_near_literal_is_one_that_cannot_be_far() {
        let near =
            |regex: &str| near(&hir(regex)).map(|near| (String::from_utf8(near.bytes).unwrap(), near.places));
        assert_eq!(near("(?:NONE|[0-9A-Z]{5,20}): client=.*"), Some((": client=".to_owned(), 4..=20)));
        assert_eq!(near("x?(y)abcd|z"), None);
        assert_eq!(near("[a-z]*: client="), None);
        assert_eq!(near("[a-z]{1,25}: client="), None);
        assert_eq!(near("^(?:ab)?(?P<a>warning: )x"), Some(("warning: ".to_owned(), 0..=2)));
    }

    #[test]
    fn first_bytes_go_through_what_may_be_absent() {
        let (set, empty) = first_bytes(&hir(r"(?:a|b)?[0-9]*c"));
        assert!(!empty && "abc059".bytes().all(|b| set.contains(b)) && !set.contains(b'd'));
        assert!(first_bytes(&hir("a*")).1);
        assert!(first_bytes(&hir("^(?:)$")).1);
    }
}
