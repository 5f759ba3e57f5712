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

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::Hir;

use self::compiler::Compiler;
pub use self::extra::{EXTRA, Extra};
use self::set::Set;
use super::literal::ByteSet;
use super::word;

/// A compiled pattern.
#[derive(Debug)]
pub struct Program {
    code: Vec<Instruction>,
    sets: Vec<Set>,
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
        left: u8,
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
}

/// Each in a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
enum Instruction {
    /// `head`: the first eight bytes, or all; `tail`: the last eight, where there are more; `middle`: what is left.
    Literal {
        head: Head,
        tail: u64,
        len: u32,
        middle: Option<Box<[u8]>>,
        next: u16,
    },
    One {
        set: u16,
        next: u16,
    },
    Run {
        set: u16,
        min: u32,
        max: u32,
        mode: RunMode,
        hint: Hint,
        /// What of `next` is the first to look at the text.
        ahead: u16,
        next: u16,
    },
    Branches {
        table: Box<BranchTable>,
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

/// The first bytes of a text, eight at most. Little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: u64,
    /// Which of them there are.
    mask: u64,
    /// 0x20 for small letters that stand for the capital ones too.
    fold: u64,
}

/// At most eight branches in order of preference, and for each byte those that can begin with it, as bits.
#[derive(Debug, Clone)]
struct BranchTable {
    fits: [u8; 256],
    fits_at_end: u8,
    pcs: [u16; 8],
}

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
        slots.resize(self.slots, None);
        slots.fill(None);
        if text.len() > u32::MAX as usize / 2 {
            return Outcome::Costly;
        }
        let stack = &mut cache.stack;
        stack.clear();
        let mut budget = 64 + text.len() * 4;
        self.run_from(stack, self.start, 0, text, slots, &mut budget)
    }

    /// Runs the code at `pc` on `text` from `at` on; frames that are on the stack already stay there.
    fn run_from(
        &self,
        stack: &mut Vec<Frame>,
        mut pc: u16,
        mut at: usize,
        text: &[u8],
        slots: &mut [Option<NonMaxUsize>],
        budget: &mut usize,
    ) -> Outcome {
        let bottom = stack.len();
        'run: loop {
            let advanced = 'step: {
                match &self.code[usize::from(pc)] {
                    Instruction::Literal { head, tail, len, middle, next } => {
                        let here = &text[at..];
                        let len = *len as usize;
                        let fits = match here.first_chunk::<8>() {
                            Some(chunk) => {
                                head.fits(u64::from_le_bytes(*chunk))
                                    && (len <= 8 || ends(here, len, *tail, middle.as_deref()))
                            }
                            // Near the end of the text, where eight bytes cannot be read.
                            None => here.len() >= len && head.fits(word::word(here)),
                        };
                        if !fits {
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
                    Instruction::Run { set, min, max, mode, next, .. } => {
                        let rest = &text[at..];
                        let rest = &rest[..rest.len().min(*max as usize)];
                        let taken = self.sets[usize::from(*set)].count(rest);
                        if taken < *min as usize {
                            break 'step false;
                        }
                        match mode {
                            RunMode::Whole => {
                                at += taken;
                                pc = *next;
                            }
                            RunMode::Greedy => {
                                let (low, high) = (at + *min as usize, at + taken);
                                match self.shorter(stack, pc, low, high, text) {
                                    Some(found) => (at, pc) = (found, *next),
                                    None => break 'step false,
                                }
                            }
                            RunMode::Lazy => {
                                let (low, high) = (at + *min as usize, at + taken);
                                match self.longer(stack, pc, low, high, text) {
                                    Some(found) => (at, pc) = (found, *next),
                                    None => break 'step false,
                                }
                            }
                        }
                    }
                    Instruction::Branches { table } => {
                        let mut fits = table.fits(text, at);
                        if fits & fits.wrapping_sub(1) != 0 {
                            fits = self.narrowed(table, fits, text, at);
                        }
                        if fits == 0 {
                            break 'step false;
                        }
                        let left = fits & (fits - 1);
                        if left != 0 {
                            stack.push(Frame::Branch { pc, left, at: at as u32 });
                        }
                        pc = table.pcs[fits.trailing_zeros() as usize];
                    }
                    Instruction::Save { slot, next } => {
                        let slot_value = &mut slots[usize::from(*slot)];
                        if stack.len() > bottom {
                            stack.push(Frame::Slot { slot: *slot, old: *slot_value });
                        }
                        *slot_value = NonMaxUsize::new(at);
                        pc = *next;
                    }
                    Instruction::Address { slot, next } => {
                        let Some(end) = address::end(text, at) else { break 'step false };
                        if let Some(slot) = slot {
                            let slot = usize::from(*slot);
                            for (slot, place) in [(slot, at), (slot + 1, end)] {
                                if stack.len() > bottom {
                                    stack.push(Frame::Slot { slot: slot as u16, old: slots[slot] });
                                }
                                slots[slot] = NonMaxUsize::new(place);
                            }
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
                        let depth = stack.len();
                        let outcome = self.run_from(stack, *start, from, text, slots, budget);
                        stack.truncate(depth);
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
                if stack.len() == bottom {
                    return Outcome::NoMatch;
                }
                let Some(frame) = stack.pop() else { return Outcome::NoMatch };
                match frame {
                    Frame::Slot { slot, old } => {
                        slots[usize::from(slot)] = old;
                        continue;
                    }
                    Frame::Branch { pc: of, left, at: back } => {
                        let Instruction::Branches { table } = &self.code[usize::from(of)] else {
                            unreachable!()
                        };
                        let later = left & (left - 1);
                        if later != 0 {
                            stack.push(Frame::Branch { pc: of, left: later, at: back });
                        }
                        (pc, at) = (table.pcs[left.trailing_zeros() as usize], back as usize);
                        break;
                    }
                    Frame::Shorter { pc: of, low, high } => {
                        let Instruction::Run { next, .. } = &self.code[usize::from(of)] else {
                            unreachable!()
                        };
                        if let Some(found) = self.shorter(stack, of, low as usize, high as usize, text) {
                            (pc, at) = (*next, found);
                            break;
                        }
                    }
                    Frame::Longer { pc: of, at: low, high } => {
                        let Instruction::Run { next, .. } = &self.code[usize::from(of)] else {
                            unreachable!()
                        };
                        if let Some(found) = self.longer(stack, of, low as usize, high as usize, text) {
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
}

/// Whether a literal of `len` bytes, more than eight, stands at the start of `text`, its first eight bytes aside. Eight
/// bytes at a time: these are too short for a call to pay.
#[inline]
fn ends(text: &[u8], len: usize, tail: u64, middle: Option<&[u8]>) -> bool {
    let Some(last) = text.get(len - 8..len).and_then(|last| last.first_chunk()) else { return false };
    u64::from_le_bytes(*last) == tail && middle.is_none_or(|middle| text[8..].starts_with(middle))
}

impl Head {
    /// Whether a text that begins with these eight bytes begins so.
    #[inline]
    fn fits(self, text: u64) -> bool {
        (text | self.fold) & self.mask == self.bytes
    }
}

impl BranchTable {
    fn new(branches: &[(u16, Info)]) -> Box<BranchTable> {
        let mut table = Box::new(BranchTable { fits: [0; 256], fits_at_end: 0, pcs: [0; 8] });
        for (at, (pc, info)) in branches.iter().enumerate() {
            table.pcs[at] = *pc;
            for byte in 0..=255u8 {
                table.fits[usize::from(byte)] |= u8::from(info.empty || info.first.contains(byte)) << at;
            }
            table.fits_at_end |= u8::from(info.empty || info.end) << at;
        }
        table
    }

    /// The branches that can begin with what stands at `at`, as bits.
    #[inline]
    fn fits(&self, text: &[u8], at: usize) -> u8 {
        text.get(at).map_or(self.fits_at_end, |byte| self.fits[usize::from(*byte)])
    }
}

#[cfg(test)]
mod tests;
