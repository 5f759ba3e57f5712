//! A matcher for anchored patterns with captures, made for lines that mostly match.
//!
//! The general engines find captures at 5 to 10 ns a byte. Patterns of log lines are mostly literals and runs
//! of classes, which this program passes over whole: a run whose class holds no byte that could follow it is
//! never given back, a `.*` before a literal jumps to the literal's last place. It tries alternatives in the
//! order that the regex gives them, as the general engines do (leftmost-first), so the match is the same.
//!
//! Where it would have to go back too often, it gives up ([`Outcome::Costly`]) and the linear engine takes the
//! line: no line can make matching slow.

mod address;
mod ahead;
mod compiler;
mod extra;
mod set;

use std::num::NonZeroU16;
use std::ops::Range;

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::Hir;

use self::compiler::Compiler;
pub use self::extra::{EXTRA, Extra};
use self::set::Set;
use super::literal::ByteSet;
use super::word;
use crate::addr::Host;

/// A compiled pattern.
#[derive(Debug)]
pub struct Program {
    code: Vec<Instruction>,
    sets: Vec<Set>,
    /// Of literals of more than sixteen bytes what is neither the first eight nor the last.
    middles: Vec<Box<[u8]>>,
    start: u16,
    /// Two for each group up to the last one that is asked for.
    slots: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Match,
    NoMatch,
    /// Ask another engine.
    Costly,
}

/// Where to go back to.
#[derive(Debug, Clone, Copy)]
enum Frame {
    /// Try the branches of an alternation that are left, as bits.
    Branch {
        pc: u16,
        left: u32,
        at: u32,
    },
    /// A greedy run: try it shorter, from `high` down to `low`.
    Shorter {
        pc: u16,
        low: u32,
        high: u32,
    },
    /// A lazy run: try it longer, `at` up to `high`.
    Longer {
        pc: u16,
        at: u32,
        high: u32,
    },
    Slot {
        slot: u16,
        old: Option<NonMaxUsize>,
    },
}

/// Reused from line to line.
#[derive(Debug, Default)]
pub struct ProgramCache {
    stack: Vec<Frame>,
    /// The last `<HOST>` that was passed over: where, and what it is.
    address: Option<(Range<usize>, Host)>,
}

impl ProgramCache {
    /// The address at `range` of the text that was matched last, where it was read for the match. `None` says nothing.
    #[inline]
    pub fn address(&self, range: &Range<usize>) -> Option<Host> {
        self.address.as_ref().filter(|(known, _)| known == range).map(|(_, host)| *host)
    }

    /// Puts `place` into a slot. `keep`: there is a way back, on which what was there comes back too.
    #[inline]
    fn put(&mut self, keep: bool, slots: &mut [Option<NonMaxUsize>], slot: u16, place: usize) {
        let value = &mut slots[usize::from(slot)];
        if keep {
            self.stack.push(Frame::Slot { slot, old: *value });
        }
        *value = NonMaxUsize::new(place);
    }

    /// Before another text.
    pub fn clear(&mut self) {
        self.stack.clear();
        self.address = None;
    }
}

/// Two in a cache line.
#[derive(Debug)]
#[repr(align(32))]
enum Instruction {
    /// `head`: the first eight bytes, or all, which leave `spare` bits of a word; `tail`: the last eight, where there are
    /// more; `middle`: which of [`Program::middles`] is left, from 1 on.
    Literal {
        head: u64,
        tail: u64,
        len: u32,
        spare: u8,
        middle: Option<NonZeroU16>,
        next: u16,
    },
    /// Eight bytes at most, some of them letters of either case: those are 0x20 in `fold`.
    Folded {
        head: u64,
        fold: u64,
        spare: u8,
        next: u16,
    },
    One {
        set: u16,
        next: u16,
    },
    /// `group`: the slot of the beginning of the group that holds it and nothing else, if that is asked for.
    Run {
        set: u16,
        group: Option<NonZeroU16>,
        min: u32,
        max: u32,
        mode: RunMode,
        hint: Hint,
        /// What of `next` is the first to look at the text.
        ahead: u16,
        next: u16,
    },
    Branches {
        table: Box<BranchTable<u8, 8>>,
    },
    /// More than eight branches.
    Many {
        table: Box<BranchTable<u32, MANY>>,
    },
    /// The whole of `<HOST>`, of which there is one reading only; its group, if asked for, is the slot and the next.
    Address {
        slot: Option<u16>,
        next: u16,
    },
    Save {
        slot: u16,
        next: u16,
    },
    Start {
        next: u16,
    },
    End {
        next: u16,
    },
    LineEnd {
        next: u16,
    },
    /// The program at `start` matches `back` bytes before here, or does not if `negated`.
    Look {
        start: u16,
        back: u32,
        negated: bool,
        next: u16,
    },
    /// Whether the group at `slot` took part.
    IfGroup {
        slot: u16,
        yes: u16,
        no: u16,
    },
    WordBoundary {
        next: u16,
        negated: bool,
    },
    Match,
}

const _: () = assert!(size_of::<Instruction>() == 32);

/// At most `N` branches in order of preference, and for each byte those that can begin with it, as bits.
///
/// What is looked at lies together: the branches, and before letters what stands between words.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct BranchTable<B, const N: usize> {
    pcs: [u16; N],
    fits: [B; 256],
    fits_at_end: B,
}

/// Branches of one table at most.
const MANY: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunMode {
    /// Nothing that follows can begin with a byte of the class: the longest run, or none.
    Whole,
    Greedy,
    Lazy,
}

/// What must come right after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    Byte(u8),
    End,
    Set(u16),
    /// A byte of the set, or the end.
    SetOrEnd(u16),
    Anything,
}

/// What can come at a place of the program.
#[derive(Debug, Clone, Copy)]
struct Info {
    first: ByteSet,
    /// The match may be complete here, text left or not.
    empty: bool,
    /// The match may be complete here if no text is left.
    end: bool,
}

impl Program {
    /// `None`: the pattern has constructs that only the general engine knows. `groups`: those whose place is
    /// asked for.
    pub fn new(hir: &Hir, groups: &[usize]) -> Option<Program> {
        Compiler::program(hir, &[], groups)
    }

    /// The same of a pattern with parts that a tree cannot hold: see [`Extra`].
    pub fn with_extras(hir: &Hir, extras: &[Extra], groups: &[usize]) -> Option<Program> {
        Compiler::program(hir, extras, groups)
    }

    /// Matches `text` from its start. On [`Outcome::Match`], `slots` hold the groups asked for.
    pub fn run(
        &self,
        cache: &mut ProgramCache,
        text: &[u8],
        slots: &mut Vec<Option<NonMaxUsize>>,
    ) -> Outcome {
        if slots.len() != self.slots {
            slots.resize(self.slots, None);
        }
        slots.fill(None);
        cache.clear();
        if text.len() > u32::MAX as usize / 2 {
            return Outcome::Costly;
        }
        let mut budget = 64 + text.len() * 4;
        self.run_from(cache, self.start, 0, text, slots, &mut budget)
    }

    /// Runs the code at `pc` on `text` from `at` on; frames that are on the stack already stay there.
    fn run_from(
        &self,
        cache: &mut ProgramCache,
        mut pc: u16,
        mut at: usize,
        text: &[u8],
        slots: &mut [Option<NonMaxUsize>],
        budget: &mut usize,
    ) -> Outcome {
        let bottom = cache.stack.len();
        'run: loop {
            let advanced = 'step: {
                match &self.code[usize::from(pc)] {
                    Instruction::Literal { head, tail, len, spare, middle, next } => {
                        let here = &text[at..];
                        let len = *len as usize;
                        let fits = match here.first_chunk::<8>() {
                            Some(chunk) => {
                                u64::from_le_bytes(*chunk) & first_of(*spare) == *head
                                    && (len <= 8 || self.ends(here, len, *tail, *middle))
                            }
                            // Near the end of the text, where eight bytes cannot be read.
                            None => here.len() >= len && word::word_at(text, at) & first_of(*spare) == *head,
                        };
                        if !fits {
                            break 'step false;
                        }
                        at += len;
                        pc = *next;
                    }
                    Instruction::Folded { head, fold, spare, next } => {
                        let len = 8 - usize::from(spare / 8);
                        let here = word::word_at(text, at) | fold;
                        if text.len() - at < len || here & first_of(*spare) != *head {
                            break 'step false;
                        }
                        at += len;
                        pc = *next;
                    }
                    Instruction::One { set, next } => {
                        match text.get(at) {
                            Some(byte) if self.sets[usize::from(*set)].table[usize::from(*byte)] => at += 1,
                            _ => break 'step false,
                        }
                        pc = *next;
                    }
                    Instruction::Run { set, group, min, max, mode, next, .. } => {
                        let rest = &text[at..];
                        let rest = &rest[..rest.len().min(*max as usize)];
                        let taken = self.sets[usize::from(*set)].count(rest);
                        if taken < *min as usize {
                            break 'step false;
                        }
                        if let Some(slot) = group {
                            let keep = cache.stack.len() > bottom;
                            cache.put(keep, slots, slot.get(), at);
                            cache.put(keep, slots, slot.get() + 1, at + taken);
                        }
                        let (low, high) = (at + *min as usize, at + taken);
                        let end = match mode {
                            RunMode::Whole => Some(high),
                            RunMode::Greedy => self.shorter(&mut cache.stack, pc, low, high, text),
                            RunMode::Lazy => self.longer(&mut cache.stack, pc, low, high, text),
                        };
                        let Some(end) = end else { break 'step false };
                        close(slots, *group, end);
                        (at, pc) = (end, *next);
                    }
                    table @ (Instruction::Branches { .. } | Instruction::Many { .. }) => {
                        let (fits, pcs) = table.branches(text, at);
                        match self.branch(&mut cache.stack, (pc, fits, pcs), text, at) {
                            Some(branch) => pc = branch,
                            None => break 'step false,
                        }
                    }
                    Instruction::Save { slot, next } => {
                        cache.put(cache.stack.len() > bottom, slots, *slot, at);
                        pc = *next;
                    }
                    Instruction::Address { slot, next } => {
                        let Some((end, host)) = address::read(text, at) else { break 'step false };
                        if let Some(slot) = slot {
                            cache.address = host.map(|host| (at..end, host));
                            let keep = cache.stack.len() > bottom;
                            cache.put(keep, slots, *slot, at);
                            cache.put(keep, slots, *slot + 1, end);
                        }
                        at = end;
                        pc = *next;
                    }
                    Instruction::Start { next } => {
                        if at != 0 {
                            break 'step false;
                        }
                        pc = *next;
                    }
                    Instruction::End { next } => {
                        if at != text.len() {
                            break 'step false;
                        }
                        pc = *next;
                    }
                    Instruction::LineEnd { next } => {
                        if text.get(at).is_some_and(|byte| *byte != b'\n') {
                            break 'step false;
                        }
                        pc = *next;
                    }
                    Instruction::Look { start, back, negated, next } => {
                        let Some(from) = at.checked_sub(*back as usize) else {
                            if *negated {
                                pc = *next;
                                continue 'run;
                            }
                            break 'step false;
                        };
                        let depth = cache.stack.len();
                        let outcome = self.run_from(cache, *start, from, text, slots, budget);
                        cache.stack.truncate(depth);
                        match outcome {
                            Outcome::Costly => return Outcome::Costly,
                            outcome if (outcome == Outcome::Match) == *negated => break 'step false,
                            _ => pc = *next,
                        }
                    }
                    Instruction::IfGroup { slot, yes, no } => {
                        let slot = usize::from(*slot);
                        let held = slots[slot].is_some() && slots[slot + 1].is_some();
                        pc = if held { *yes } else { *no };
                    }
                    Instruction::WordBoundary { next, negated } => {
                        let word =
                            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
                        let before = at.checked_sub(1).and_then(|before| text.get(before));
                        if (word(before) != word(text.get(at))) == *negated {
                            break 'step false;
                        }
                        pc = *next;
                    }
                    Instruction::Match => return Outcome::Match,
                }
                true
            };
            if advanced {
                continue;
            }
            // Back to the last choice.
            loop {
                if cache.stack.len() == bottom {
                    return Outcome::NoMatch;
                }
                let Some(frame) = cache.stack.pop() else { return Outcome::NoMatch };
                match frame {
                    Frame::Slot { slot, old } => {
                        slots[usize::from(slot)] = old;
                        continue;
                    }
                    Frame::Branch { pc: of, left, at: back } => {
                        let (_, pcs) = self.code[usize::from(of)].branches(text, back as usize);
                        let later = left & (left - 1);
                        if later != 0 {
                            cache.stack.push(Frame::Branch { pc: of, left: later, at: back });
                        }
                        (pc, at) = (pcs[left.trailing_zeros() as usize], back as usize);
                        break;
                    }
                    Frame::Shorter { pc: of, low, high } => {
                        let Instruction::Run { group, next, .. } = &self.code[usize::from(of)] else {
                            unreachable!()
                        };
                        if let Some(found) =
                            self.shorter(&mut cache.stack, of, low as usize, high as usize, text)
                        {
                            close(slots, *group, found);
                            (pc, at) = (*next, found);
                            break;
                        }
                    }
                    Frame::Longer { pc: of, at: low, high } => {
                        let Instruction::Run { group, next, .. } = &self.code[usize::from(of)] else {
                            unreachable!()
                        };
                        if let Some(found) =
                            self.longer(&mut cache.stack, of, low as usize, high as usize, text)
                        {
                            close(slots, *group, found);
                            (pc, at) = (*next, found);
                            break;
                        }
                    }
                }
            }
            if *budget == 0 {
                break 'run;
            }
            *budget -= 1;
        }
        Outcome::Costly
    }

    /// Whether a literal of `len` bytes, more than eight, stands at the start of `text`, its first eight bytes aside. Eight
    /// bytes at a time: these are too short for a call to pay.
    #[inline]
    fn ends(&self, text: &[u8], len: usize, tail: u64, middle: Option<NonZeroU16>) -> bool {
        let Some(last) = text.get(len - 8..len).and_then(|last| last.first_chunk()) else { return false };
        u64::from_le_bytes(*last) == tail
            && middle.is_none_or(|middle| text[8..].starts_with(&self.middles[usize::from(middle.get()) - 1]))
    }
}

/// A run that `group` holds ends at `end`, this time.
#[inline]
fn close(slots: &mut [Option<NonMaxUsize>], group: Option<NonZeroU16>, end: usize) {
    if let Some(slot) = group {
        slots[usize::from(slot.get()) + 1] = NonMaxUsize::new(end);
    }
}

impl Instruction {
    /// Of one that branches: which branches can begin with what stands at `at`, as bits, and where they are.
    #[inline]
    fn branches(&self, text: &[u8], at: usize) -> (u32, &[u16]) {
        match self {
            Instruction::Branches { table } => (table.fits(text, at), &table.pcs),
            Instruction::Many { table } => (table.fits(text, at), &table.pcs),
            _ => unreachable!("only branches are gone back to"),
        }
    }
}

/// The bits of a word but for the last `spare`, of which it has more.
#[inline]
fn first_of(spare: u8) -> u64 {
    u64::MAX >> (spare & 63)
}

impl<B: Copy + Default + TryFrom<u32> + Into<u32>, const N: usize> BranchTable<B, N> {
    /// At most `N`, and at most as many as `B` has bits.
    fn new(branches: &[(u16, Info)]) -> Box<BranchTable<B, N>> {
        let mut table = BranchTable { fits: [B::default(); 256], fits_at_end: B::default(), pcs: [0; N] };
        let mut at_end = 0;
        let mut fits = [0u32; 256];
        for (at, (pc, info)) in branches.iter().enumerate() {
            table.pcs[at] = *pc;
            for (byte, fits) in (0..=255).zip(&mut fits) {
                *fits |= u32::from(info.empty || info.first.contains(byte)) << at;
            }
            at_end |= u32::from(info.empty || info.end) << at;
        }
        let as_bits = |bits: u32| B::try_from(bits).unwrap_or_default();
        table.fits.iter_mut().zip(fits).for_each(|(own, fits)| *own = as_bits(fits));
        table.fits_at_end = as_bits(at_end);
        Box::new(table)
    }

    /// The branches that can begin with what stands at `at`, as bits.
    #[inline]
    fn fits(&self, text: &[u8], at: usize) -> u32 {
        text.get(at).map_or(self.fits_at_end, |byte| self.fits[usize::from(*byte)]).into()
    }
}

#[cfg(test)]
mod tests;
