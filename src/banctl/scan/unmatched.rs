//! The drift alarm: lines that look like failed logins and that no filter reads, by shape.
//!
//! Services reword their lines, and a filter that no longer reads them is silent. So the words of such lines
//! are looked for in everything; what a filter reads in any of its modes, be it a failure, a success, a note
//! or a line to ignore, is known. What remains is told by shape, with an example and a pattern to try.

use std::fmt::Write;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;

use hashbrown::HashMap;
use memchr::memchr_iter;
use siphasher::sip::SipHasher13;

use super::Output;
use super::json::string;
use super::shape::{Kind, Piece, pieces};
use super::suggest::{Suggestion, suggestion};
use super::words::{self, Words};
use crate::banctl::table::{Look, Tone};
use crate::filter::frame::Framed;
use crate::filter::{Attempt, Filter, FilterSet, FrameKind};
use crate::text::{self, escape};

/// Shapes told apart; the lines of later ones are counted together. Shapes.
const SHAPES_MAX: usize = 4096;
/// As many shapes that differ in one word only become one. Shapes.
const MERGE_MIN: usize = 3;
/// Words of one shape that may be masked so.
const ROUNDS: usize = 4;
/// Shapes shown to people; `--json` shows all.
const SHOWN: usize = 20;

/// Collects what is not read.
pub(super) struct Unmatched {
    /// Filters in all their modes: what they read in any way is known.
    known: FilterSet,
    words: Words,
    file: Vec<u8>,
    /// Lines of the present block that a filter told of, from 1, in order.
    told: Vec<u64>,
    groups: HashMap<Box<[u8]>, Group>,
    /// Lines of shapes beyond the cap.
    beyond: u64,
    /// There are too many shapes, and merging does not help.
    full: bool,
    /// Reused from line to line.
    pieces: Vec<Piece>,
    shape: Vec<u8>,
}

/// Lines of one shape.
#[derive(Debug)]
pub(super) struct Group {
    pub count: u64,
    /// The first of them, and where it stands.
    pub example: Box<[u8]>,
    pub file: Box<[u8]>,
    pub line: u64,
    /// Of the example's message.
    pieces: Vec<Piece>,
}

impl Unmatched {
    pub fn new(known: FilterSet) -> Unmatched {
        Unmatched {
            known,
            words: Words::new(),
            file: Vec::new(),
            told: Vec::new(),
            groups: HashMap::new(),
            beyond: 0,
            full: false,
            pieces: Vec::new(),
            shape: Vec::new(),
        }
    }

    /// Whether `line` only accompanies one by which a service that is read tells of the failure itself.
    fn accompanies(&self, line: &[u8]) -> bool {
        let framed = framed(line);
        let Some(ident) = framed.ident else { return false };
        let claims = |filter: &Arc<Filter>| !filter.ident.is_empty() && filter.frame(line).is_some();
        words::accompanies(framed.message)
            && (words::only_checks(ident) || self.known.filters().iter().any(claims))
    }

    fn line(&mut self, number: u64, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !self.words.suspicious(line) || self.known.knows(line) || self.accompanies(line) {
            return;
        }
        let framed = framed(line);
        pieces(framed.message, &mut self.pieces);
        self.shape.clear();
        write_shape(&mut self.shape, &framed, &self.pieces);
        if let Some(group) = self.groups.get_mut(&self.shape[..]) {
            group.count += 1;
            return;
        }
        if self.groups.len() >= SHAPES_MAX && !self.full {
            self.merge();
            // If little came of it, it is not tried again for each line.
            self.full = self.groups.len() > SHAPES_MAX / 2;
        }
        if self.groups.len() >= SHAPES_MAX {
            self.beyond += 1;
            return;
        }
        let group = Group {
            count: 1,
            example: line.into(),
            file: self.file[..].into(),
            line: number,
            pieces: self.pieces.clone(),
        };
        self.groups.insert(self.shape[..].into(), group);
    }

    /// Makes one shape of those that differ in one word only, if they are several: an account, most likely,
    /// that nothing else gave away. Two such words in one shape take two rounds.
    fn merge(&mut self) {
        for _ in 0..ROUNDS {
            type Places<'a> = HashMap<u64, (usize, Vec<&'a [u8]>)>;
            let mut places: Places<'_> = HashMap::new();
            for (shape, group) in &self.groups {
                for (index, key) in masked(group) {
                    places.entry(key).or_insert((index, Vec::new())).1.push(shape);
                }
            }
            let mut found: Vec<(usize, Vec<Box<[u8]>>)> = places
                .into_values()
                .filter(|(_, shapes)| shapes.len() >= MERGE_MIN)
                .map(|(index, shapes)| (index, shapes.into_iter().map(Box::from).collect()))
                .collect();
            if found.is_empty() {
                return;
            }
            for (_, shapes) in &mut found {
                shapes.sort();
            }
            // Most shapes first; what is left is only there so that a scan comes out the same each time.
            found.sort_by(|(at, shapes), (other_at, others)| {
                (others.len(), at, &shapes[0]).cmp(&(shapes.len(), other_at, &others[0]))
            });
            for (index, shapes) in found {
                // Some may have gone into another one by now.
                if shapes.iter().all(|shape| self.groups.contains_key(shape)) {
                    self.join(index, &shapes);
                }
            }
        }
    }

    /// Makes one group of several, whose shapes differ in the piece at `index`.
    fn join(&mut self, index: usize, shapes: &[Box<[u8]>]) {
        let groups = shapes.iter().filter_map(|shape| self.groups.remove(shape));
        let Some(mut merged) = groups.reduce(Group::join) else { return };
        merged.pieces[index].kind = Kind::Word;
        let mut shape = Vec::new();
        write_shape(&mut shape, &framed(&merged.example), &merged.pieces);
        let merged = match self.groups.remove(&shape[..]) {
            Some(known) => known.join(merged),
            None => merged,
        };
        self.groups.insert(shape.into(), merged);
    }

    /// All shapes, the most frequent first.
    pub fn groups(mut self) -> Groups {
        self.merge();
        let mut groups: Vec<(Box<[u8]>, Group)> = self.groups.into_iter().collect();
        groups.sort_by(|(shape, group), (other_shape, other)| {
            other.count.cmp(&group.count).then_with(|| shape.cmp(other_shape))
        });
        Groups { groups, beyond: self.beyond }
    }
}

impl Group {
    /// Both as one, with the example that came first.
    fn join(self, other: Group) -> Group {
        let count = self.count + other.count;
        let first = if (&self.file, self.line) <= (&other.file, other.line) { self } else { other };
        Group { count, ..first }
    }
}

impl Output for Unmatched {
    fn begin(&mut self, file: &[u8]) {
        self.file = file.to_vec();
    }

    fn attempt(&mut self, line: u64, _attempt: &Attempt<'_>, again: bool) {
        if !again {
            self.told.push(line);
        }
    }

    fn block(&mut self, first_line: u64, block: &[u8]) -> io::Result<()> {
        let told = std::mem::take(&mut self.told);
        let mut known = told.iter().copied().peekable();
        let (mut at, mut number) = (0, first_line);
        while at < block.len() {
            // The automaton runs over many lines at once; only where it stops is a line looked at.
            let Some(first) = self.words.first(&block[at..]) else { break };
            let hit = at + first;
            number += memchr_iter(b'\n', &block[at..hit]).count() as u64;
            let start = memchr::memrchr(b'\n', &block[at..hit]).map_or(at, |end| at + end + 1);
            let end = memchr::memchr(b'\n', &block[hit..]).map_or(block.len(), |len| hit + len);
            while known.next_if(|line| *line < number).is_some() {}
            if known.peek() != Some(&number) {
                self.line(number, &block[start..end]);
            }
            at = end + 1;
            number += 1;
        }
        self.told = told;
        self.told.clear();
        Ok(())
    }
}

/// What is not read.
pub(super) struct Groups {
    groups: Vec<(Box<[u8]>, Group)>,
    beyond: u64,
}

/// Takes a line apart in the first form that fits it.
pub(super) fn framed(line: &[u8]) -> Framed<'_> {
    let whole = || FrameKind::Line.split(line).expect("any line is one");
    FrameKind::ALL.iter().find_map(|kind| kind.split(line)).unwrap_or_else(whole)
}

/// Program name and message, masked. Log text stays as it is: it is escaped when shown.
fn write_shape(out: &mut Vec<u8>, framed: &Framed<'_>, pieces: &[Piece]) {
    if let Some(ident) = framed.ident {
        out.extend_from_slice(ident);
        out.extend_from_slice(b": ");
    }
    for piece in pieces {
        match piece.kind.mask() {
            Some(mask) => out.extend_from_slice(mask.as_bytes()),
            None => out.extend_from_slice(&framed.message[piece.range.clone()]),
        }
    }
}

/// The fixed words of a shape, each with a key that is the same for all shapes that differ there only.
fn masked(group: &Group) -> Vec<(usize, u64)> {
    let framed = framed(&group.example);
    let text = |piece: &Piece| match piece.kind.mask() {
        Some(mask) => mask.as_bytes(),
        None => &framed.message[piece.range.clone()],
    };
    let hash = |index: usize, text: &[u8]| {
        let mut hasher = SipHasher13::new_with_keys(index as u64, 0);
        hasher.write(text);
        hasher.finish()
    };
    let ident = hash(usize::MAX, framed.ident.unwrap_or_default());
    let number = hash(usize::MAX - 1, &group.pieces.len().to_le_bytes());
    let hashes: Vec<u64> =
        group.pieces.iter().enumerate().map(|(index, piece)| hash(index, text(piece))).collect();
    let sum = hashes.iter().fold(ident ^ number, |sum, hash| sum.wrapping_add(*hash));
    let word =
        |piece: &Piece| piece.kind == Kind::Text && framed.message[piece.range.start].is_ascii_alphanumeric();
    let words = group.pieces.iter().enumerate().filter(|(_, piece)| word(piece));
    words
        .map(|(index, _)| (index, sum.wrapping_sub(hashes[index]).wrapping_add(hash(index, b"<word>"))))
        .collect()
}

/// One object for each shape.
pub(super) fn json(groups: &Groups) -> Vec<u8> {
    let mut out = Vec::new();
    for (shape, group) in &groups.groups {
        out.extend_from_slice(format!("{{\"count\":{},\"shape\":", group.count).as_bytes());
        string(&mut out, shape);
        out.extend_from_slice(b",\"example\":");
        string(&mut out, &group.example);
        out.extend_from_slice(b",\"file\":");
        string(&mut out, &group.file);
        out.extend_from_slice(format!(",\"line\":{},\"suggestion\":", group.line).as_bytes());
        let suggestion = group.suggestion();
        string_or_null(&mut out, suggestion.as_ref().map(|suggestion| suggestion.text.as_bytes()));
        out.extend_from_slice(b",\"fooled\":");
        let fooled = suggestion.as_ref().and_then(|suggestion| suggestion.fooled.as_deref());
        string_or_null(&mut out, fooled.map(str::as_bytes));
        out.extend_from_slice(b"}\n");
    }
    out
}

fn string_or_null(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// For people. `lines`: how many were read in all.
pub(super) fn text(look: Look, groups: &Groups, lines: u64) -> Vec<u8> {
    let mut out = String::new();
    let count: u64 = groups.groups.iter().map(|(_, group)| group.count).sum::<u64>() + groups.beyond;
    if count == 0 {
        let _ = writeln!(out, "{lines} lines: every one that looks like a failed login is read by a filter");
        return out.into_bytes();
    }
    let kinds = groups.groups.len();
    let shapes = text::count(kinds as u64, "shape", "shapes");
    let _ =
        writeln!(out, "{count} of {lines} lines look like failed logins and are read by no filter; {shapes}");
    for (shape, group) in groups.groups.iter().take(SHOWN) {
        let shape = escape(shape);
        let _ = writeln!(out, "\n{} x  {}", group.count, look.paint(Tone::Bold, &shape));
        let place = format!("{}:{}:", escape(&group.file), group.line);
        let _ = writeln!(out, "  {} {}", look.paint(Tone::Dim, &place), escape(&group.example));
        if let Some(suggestion) = group.suggestion() {
            for line in suggestion.text.lines() {
                let _ = writeln!(out, "    {}", look.paint(Tone::Good, line));
            }
            if let Some(fooled) = suggestion.fooled {
                let _ =
                    writeln!(out, "    {}", look.paint(Tone::Bad, &format!("a client fools it: {fooled}")));
            }
        }
    }
    if kinds > SHOWN {
        let _ = writeln!(out, "\nand {} more shapes: --json shows all", kinds - SHOWN);
    }
    if groups.beyond > 0 {
        let _ = writeln!(out, "\n{} lines of further shapes, which are not told apart", groups.beyond);
    }
    let _ = writeln!(
        out,
        "\nA pattern is to be checked before use: put it in filters/NAME.toml, and look at what a client can write."
    );
    out.into_bytes()
}

impl Group {
    /// A filter that reads the example.
    fn suggestion(&self) -> Option<Suggestion> {
        suggestion(&self.example, &framed(&self.example), &self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No filter at all.
    fn nothing() -> FilterSet {
        let context = crate::filter::Context {
            timezone: chrono_tz::Tz::UTC,
            year: None,
            trusted_proxies: Default::default(),
            sessions_max: 10,
        };
        FilterSet::new(Vec::new(), context)
    }

    fn groups_of(lines: &[&str]) -> Vec<(u64, String)> {
        let mut unmatched = Unmatched::new(nothing());
        unmatched.begin(b"log");
        let text: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        unmatched.block(1, &text).unwrap();
        let groups = unmatched.groups();
        groups.groups.iter().map(|(shape, group)| (group.count, escape(shape))).collect()
    }

    #[test]
    fn only_what_looks_like_a_failed_login_is_told_and_by_shape() {
        let groups = groups_of(&[
            "Jun  1 06:27:45 mx1 demo[12]: Login FAILED for bob from 203.0.113.7",
            "Jun  1 06:27:46 mx1 demo[13]: connect from 203.0.113.7",
            "Jun  1 06:27:47 mx1 demo[14]: Login FAILED for eve from 2001:db8::7",
            "Jun  1 06:27:47 mx1 demo[14]: SASL went well",
            "Jun  1 06:27:47 mx1 demo[14]: sasl mechanism X: it failed",
        ]);
        assert_eq!(
            groups,
            [
                (2, "demo: Login FAILED for <user> from <ip>".to_owned()),
                (1, "demo: sasl mechanism X: it failed".to_owned())
            ]
        );
    }

    #[test]
    fn shapes_that_differ_in_one_word_are_one() {
        let lines: Vec<String> = ["anna", "bert", "carl", "dora"]
            .iter()
            .map(|who| format!("Jun  1 06:27:45 mx1 demo[12]: {who} gave a bad password (203.0.113.7)"))
            .chain(["Jun  1 06:27:45 mx1 demo[12]: bad password, but of another kind".to_owned()])
            .collect();
        let groups = groups_of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(groups[0], (4, "demo: <word> gave a bad password (<ip>)".to_owned()));
        assert_eq!(groups.len(), 2);
    }

    #[test]
    fn a_flood_of_shapes_stays_under_the_cap() {
        let lines: Vec<String> = (0..2 * SHAPES_MAX)
            .map(|n| {
                let word = |n: usize| (b'a' + (n % 26) as u8) as char;
                format!(
                    "bad password {}",
                    "x ".repeat(n % 90) + &String::from_iter([word(n / 90), word(n / 2340), word(n)])
                )
            })
            .collect();
        let mut unmatched = Unmatched::new(nothing());
        for (index, line) in lines.iter().enumerate() {
            unmatched.line(index as u64 + 1, line.as_bytes());
            assert!(unmatched.groups.len() <= SHAPES_MAX);
        }
        let groups = unmatched.groups();
        let sum: u64 = groups.groups.iter().map(|(_, group)| group.count).sum();
        assert_eq!(sum + groups.beyond, lines.len() as u64);
    }
}
