//! From a pattern's tree to its program.

use std::num::NonZeroU16;

use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

use super::{BranchTable, EXTRA, Extra, Hint, Info, Instruction, MANY, Program, RunMode, Set, address};
use crate::filter::literal::{ByteSet, class_bytes, first_bytes, folded_letter};
use crate::filter::tree;
use crate::filter::word::word;

/// Larger programs are left to the general engine. Instructions.
const INSTRUCTIONS_MAX: usize = 4000;
/// Longer texts are compared in parts. Bytes.
const LITERAL_BYTES_MAX: usize = 256;

/// Builds from the end to the start, so that what follows is known.
pub(super) struct Compiler<'e> {
    code: Vec<Instruction>,
    info: Vec<Info>,
    sets: Vec<Set>,
    middles: Vec<Box<[u8]>>,
    groups: Vec<usize>,
    extras: &'e [Extra],
}

/// How often something comes. `max`: without end if there is none.
#[derive(Clone, Copy)]
struct Times {
    min: u32,
    max: Option<u32>,
    greedy: bool,
}

impl Times {
    fn of(repetition: &Repetition) -> Times {
        let Repetition { min, max, greedy, .. } = *repetition;
        Times { min, max, greedy }
    }
}

impl Compiler<'_> {
    /// See [`Program::with_extras`].
    pub fn program(hir: &Hir, extras: &[Extra], groups: &[usize]) -> Option<Program> {
        let (code, info, sets, middles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut compiler = Compiler { code, info, sets, middles, groups: groups.to_vec(), extras };
        let end = compiler.matched()?;
        let start = compiler.compile(hir, end)?;
        let slots = groups.iter().max().map_or(0, |last| last * 2 + 2);
        let Compiler { code, sets, middles, .. } = compiler;
        Some(Program { code, sets, middles, start, slots })
    }

    fn matched(&mut self) -> Option<u16> {
        self.push(Instruction::Match, Info { first: ByteSet::default(), empty: true, end: true })
    }

    fn push(&mut self, instruction: Instruction, info: Info) -> Option<u16> {
        if self.code.len() >= INSTRUCTIONS_MAX {
            return None;
        }
        self.code.push(instruction);
        self.info.push(info);
        Some(self.code.len() as u16 - 1)
    }

    fn set(&mut self, bytes: ByteSet) -> Option<u16> {
        if let Some(known) = self.sets.iter().position(|set| set.bytes == bytes) {
            return Some(known as u16);
        }
        self.sets.push(Set::new(bytes));
        (self.sets.len() <= INSTRUCTIONS_MAX).then_some(self.sets.len() as u16 - 1)
    }

    fn info(&self, pc: u16) -> Info {
        self.info[usize::from(pc)]
    }

    fn compile(&mut self, hir: &Hir, next: u16) -> Option<u16> {
        match hir.kind() {
            HirKind::Empty => Some(next),
            HirKind::Literal(literal) => self.literal(&literal.0, next),
            HirKind::Class(class) => {
                let first = class_bytes(class)?;
                let set = self.set(first)?;
                self.push(Instruction::One { set, next }, Info { first, empty: false, end: false })
            }
            HirKind::Look(look) => {
                let after = self.info(next);
                match look {
                    Look::Start => self.push(Instruction::Start { next }, after),
                    Look::End => {
                        let info =
                            Info { first: ByteSet::default(), empty: false, end: after.empty || after.end };
                        self.push(Instruction::End { next }, info)
                    }
                    Look::EndLF => {
                        let mut first = ByteSet::default();
                        if after.empty || after.first.contains(b'\n') {
                            first.insert(b'\n');
                        }
                        let info = Info { first, empty: false, end: after.empty || after.end };
                        self.push(Instruction::LineEnd { next }, info)
                    }
                    Look::WordAscii => self.push(Instruction::WordBoundary { next, negated: false }, after),
                    Look::WordAsciiNegate => {
                        self.push(Instruction::WordBoundary { next, negated: true }, after)
                    }
                    _ => None,
                }
            }
            HirKind::Capture(capture) => {
                if let Some(extra) = capture.index.checked_sub(EXTRA) {
                    return self.extra(self.extras.get(extra as usize)?, next);
                }
                let group = capture.index as usize;
                if let Some(address) = self.address(capture, next) {
                    return Some(address);
                }
                if !self.groups.contains(&group) {
                    return self.compile(&capture.sub, next);
                }
                if let HirKind::Repetition(repetition) = capture.sub.kind()
                    && let Some(bytes) = single(&repetition.sub)
                {
                    return self.run(bytes, Times::of(repetition), NonZeroU16::new(group as u16 * 2), next);
                }
                let after = self.info(next);
                let close = self.push(Instruction::Save { slot: (group * 2 + 1) as u16, next }, after)?;
                let inside = self.compile(&capture.sub, close)?;
                let info = self.info(inside);
                self.push(Instruction::Save { slot: (group * 2) as u16, next: inside }, info)
            }
            HirKind::Concat(parts) => {
                parts.iter().rev().try_fold(next, |next, part| match folded_letter(part) {
                    Some(letter) => self.folded(letter, next),
                    None => self.compile(part, next),
                })
            }
            HirKind::Alternation(parts) => {
                let mut branches = Vec::new();
                for part in parts {
                    branches.push(self.compile(part, next)?);
                }
                self.branches(&branches)
            }
            HirKind::Repetition(repetition) => match single(&repetition.sub) {
                Some(bytes) => self.run(bytes, Times::of(repetition), None, next),
                None => self.repeat(&repetition.sub, Times::of(repetition), next),
            },
        }
    }

    /// `bytes`, together with those that come right after them.
    fn literal(&mut self, bytes: &[u8], next: u16) -> Option<u16> {
        let mut bytes = bytes.to_vec();
        if let Some((after, fold, next)) = self.written(next)
            && let together = bytes.len() + after.len()
            && (together <= 8 || (fold == 0 && together <= LITERAL_BYTES_MAX))
        {
            let fold = if fold == 0 { 0 } else { fold << (bytes.len() * 8) };
            bytes.extend(after);
            return self.push_literal(&bytes, fold, next);
        }
        self.push_literal(&bytes, 0, next)
    }

    /// A letter of either case, together with what comes right after it.
    fn folded(&mut self, letter: u8, next: u16) -> Option<u16> {
        if let Some((after, fold, next)) = self.written(next)
            && after.len() < 8
        {
            return self.push_literal(&[&[letter], &after[..]].concat(), fold << 8 | 0x20, next);
        }
        self.push_literal(&[letter], 0x20, next)
    }

    /// The text at `pc`, which of its bytes are letters of either case, and what comes after it.
    fn written(&self, pc: u16) -> Option<(Vec<u8>, u64, u16)> {
        match &self.code[usize::from(pc)] {
            Instruction::Literal { head, tail, len, middle, next, .. } => {
                let len = *len as usize;
                let mut bytes = head.to_le_bytes()[..len.min(8)].to_vec();
                if let Some(middle) = middle {
                    bytes.extend_from_slice(&self.middles[usize::from(middle.get()) - 1]);
                }
                bytes.extend_from_slice(&tail.to_le_bytes()[8 - len.saturating_sub(bytes.len()).min(8)..]);
                Some((bytes, 0, *next))
            }
            Instruction::Folded { head, fold, spare, next } => {
                Some((head.to_le_bytes()[..8 - usize::from(spare / 8)].to_vec(), *fold, *next))
            }
            _ => None,
        }
    }

    /// `fold`: see [`Instruction::Folded`]; then there are eight bytes at most.
    fn push_literal(&mut self, bytes: &[u8], fold: u64, next: u16) -> Option<u16> {
        let mut first = ByteSet::default();
        first.insert(*bytes.first()?);
        first.insert(bytes[0] & !(fold as u8));
        let (head, len) = (word(bytes), bytes.len());
        let spare = (64 - 8 * len.min(8)) as u8;
        let literal = if fold == 0 {
            let tail = if len > 8 { word(&bytes[len - 8..]) } else { 0 };
            let middle = match bytes.get(8..len.saturating_sub(8)) {
                Some(middle) if !middle.is_empty() => {
                    self.middles.push(middle.into());
                    NonZeroU16::new(u16::try_from(self.middles.len()).ok()?)
                }
                _ => None,
            };
            Instruction::Literal { head, tail, len: u32::try_from(len).ok()?, spare, middle, next }
        } else {
            Instruction::Folded { head, fold, spare, next }
        };
        self.push(literal, Info { first, empty: false, end: false })
    }

    fn extra(&mut self, extra: &Extra, next: u16) -> Option<u16> {
        match extra {
            Extra::Look { hir, behind, negated } => {
                let back = match behind {
                    true => hir
                        .properties()
                        .maximum_len()
                        .filter(|max| hir.properties().minimum_len() == Some(*max))?,
                    false => 0,
                };
                let after = self.info(next);
                let end = self.matched()?;
                let start = self.compile(hir, end)?;
                let back = u32::try_from(back).ok()?;
                self.push(Instruction::Look { start, back, negated: *negated, next }, after)
            }
            Extra::IfGroup { group, yes, no } => {
                let (yes, no) = (self.compile(yes, next)?, self.compile(no, next)?);
                let (mut info, other) = (self.info(yes), self.info(no));
                info.first.union(&other.first);
                (info.empty, info.end) = (info.empty || other.empty, info.end || other.end);
                if !self.groups.contains(group) {
                    return None;
                }
                self.push(Instruction::IfGroup { slot: u16::try_from(group * 2).ok()?, yes, no }, info)
            }
        }
    }

    /// `<HOST>` as one instruction, where what follows cannot begin with anything that an address could go on with:
    /// then the text has one reading as an address at most.
    fn address(&mut self, capture: &regex_syntax::hir::Capture, next: u16) -> Option<u16> {
        if *capture.sub != *tree::host() {
            return None;
        }
        let after = self.info(next);
        if after.empty || (0..=255).any(|byte| after.first.contains(byte) && address::goes_on(byte)) {
            return None;
        }
        let (first, _) = first_bytes(&capture.sub);
        let group = capture.index as usize;
        let slot = self.groups.contains(&group).then_some((group * 2) as u16);
        self.push(Instruction::Address { slot, next }, Info { first, empty: false, end: false })
    }

    fn branches(&mut self, pcs: &[u16]) -> Option<u16> {
        // Too many for a table: the last of them are an alternation of their own.
        if let Some((first, rest)) = pcs.split_at_checked(MANY - 1)
            && rest.len() > 1
        {
            let rest = self.branches(rest)?;
            return self.branches(&[first, &[rest]].concat());
        }
        let mut all = Info { first: ByteSet::default(), empty: false, end: false };
        for pc in pcs {
            let info = self.info(*pc);
            all.first.union(&info.first);
            all.empty |= info.empty;
            all.end |= info.end;
        }
        let infos: Vec<(u16, Info)> = pcs.iter().map(|pc| (*pc, self.info(*pc))).collect();
        let branches = match infos.len() {
            ..=8 => Instruction::Branches { table: BranchTable::new(&infos) },
            _ => Instruction::Many { table: BranchTable::new(&infos) },
        };
        self.push(branches, all)
    }

    /// A run of `bytes`. `group`: see [`Instruction::Run`].
    fn run(&mut self, bytes: ByteSet, times: Times, group: Option<NonZeroU16>, next: u16) -> Option<u16> {
        let Times { min, max, greedy } = times;
        let after = self.info(next);
        let whole = !after.empty && !after.first.intersects(&bytes);
        // Also where the run's own maximum cuts it: given back, the next byte would still be of the class.
        let mode = match (whole, greedy) {
            (true, _) => RunMode::Whole,
            (_, true) => RunMode::Greedy,
            (_, false) => RunMode::Lazy,
        };
        let hint = match (after.empty, after.end, after.first.len()) {
            (true, _, _) => Hint::Anything,
            (_, true, 0) => Hint::End,
            (_, true, _) => Hint::SetOrEnd(self.set(after.first)?),
            (_, false, 1) => Hint::Byte((0..=255u8).find(|byte| after.first.contains(*byte))?),
            (_, false, _) => Hint::Set(self.set(after.first)?),
        };
        let set = self.set(bytes)?;
        let mut info = Info { first: bytes, empty: false, end: false };
        if min == 0 {
            info.first.union(&after.first);
            info.empty = after.empty;
            info.end = after.end;
        }
        let max = max.unwrap_or(u32::MAX);
        let ahead = self.ahead(next);
        self.push(Instruction::Run { set, group, min, max, mode, hint, ahead, next }, info)
    }

    /// The first instruction from `pc` on that looks at the text.
    fn ahead(&self, mut pc: u16) -> u16 {
        while let Instruction::Save { next, .. } = &self.code[usize::from(pc)] {
            pc = *next;
        }
        pc
    }

    fn repeat(&mut self, sub: &Hir, times: Times, next: u16) -> Option<u16> {
        let Times { min, max, greedy } = times;
        let (first, empty) = first_bytes(sub);
        // An empty round would go on for ever.
        if empty && max != Some(1) {
            return None;
        }
        let mut pc = next;
        match max {
            None => {
                // The loop's head comes before its body is known; its branches are put in after.
                let after = self.info(next);
                let mut info = Info { first, ..after };
                info.first.union(&after.first);
                let head = self.push(Instruction::Match, info)?;
                // `(?:[class]|other)*` is `[class]*(?:other[class]*)*`: the class is run through whole.
                let (through, others) = if greedy { class_first(sub) } else { (None, Vec::new()) };
                pc = match through {
                    Some(bytes) => {
                        let mut branches = Vec::new();
                        for other in others {
                            branches.push(self.compile(other, head)?);
                        }
                        branches.push(next);
                        let on = self.branches(&branches)?;
                        let run = self.run(bytes, Times { min: 0, max: None, greedy: true }, None, on)?;
                        // The head is the run; the code before it names the head.
                        self.code.swap(usize::from(head), usize::from(run));
                        head
                    }
                    None => {
                        let body = self.compile(sub, head)?;
                        let body = (body, Info { first, empty: false, end: false });
                        let on = (next, after);
                        let branches = if greedy { [body, on] } else { [on, body] };
                        self.code[usize::from(head)] =
                            Instruction::Branches { table: BranchTable::new(&branches) };
                        head
                    }
                };
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.compile(sub, pc)?;
                    pc = self.branches(&if greedy { [body, next] } else { [next, body] })?;
                }
            }
        }
        (0..min).try_fold(pc, |pc, _| self.compile(sub, pc))
    }
}

/// The class at the head of an alternation, and the other branches.
fn class_first(hir: &Hir) -> (Option<ByteSet>, Vec<&Hir>) {
    let HirKind::Alternation(parts) = hir.kind() else { return (None, Vec::new()) };
    let Some((first, rest)) = parts.split_first() else { return (None, Vec::new()) };
    // Only more than one byte is worth a run; one that others begin with too is still tried first.
    match single(first) {
        Some(bytes) => (Some(bytes), rest.iter().collect()),
        None => (None, Vec::new()),
    }
}

/// The bytes of something that takes exactly one.
fn single(hir: &Hir) -> Option<ByteSet> {
    match hir.kind() {
        HirKind::Class(class) => class_bytes(class),
        HirKind::Literal(literal) if literal.0.len() == 1 => {
            let mut set = ByteSet::default();
            set.insert(literal.0[0]);
            Some(set)
        }
        _ => None,
    }
}
