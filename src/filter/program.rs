//! A matcher for anchored patterns with captures, made for lines that mostly match.
//!
//! The general engines find captures at 5 to 10 ns a byte. Patterns of log lines are mostly literals and runs
//! of classes, which this program passes over whole: a run whose class holds no byte that could follow it is
//! never given back, a `.*` before a literal jumps to the literal's last place. It tries alternatives in the
//! order that the regex gives them, as the general engines do (leftmost-first), so the match is the same.
//!
//! Where it would have to go back too often, it gives up ([`Outcome::Costly`]) and the linear engine takes the
//! line: no line can make matching slow.

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::{Hir, HirKind, Look};

use super::literal::{ByteSet, class_bytes};

/// Larger programs are left to the general engine. Instructions.
const INSTRUCTIONS_MAX: usize = 4000;

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

#[derive(Debug)]
enum Instruction {
    /// `head`: the first eight bytes, or fewer and `mask` tells how many; `rest`: those after.
    Literal {
        head: u64,
        mask: u64,
        len: u32,
        rest: Box<[u8]>,
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
        next: u16,
    },
    Branches {
        table: Box<BranchTable>,
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
    WordBoundary {
        next: u16,
        negated: bool,
    },
    Match,
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

#[derive(Debug)]
struct Set {
    bytes: ByteSet,
    table: Box<[bool; 256]>,
    /// The one byte that is not in it.
    all_but: Option<u8>,
    all: bool,
}

impl Program {
    /// `None`: the pattern has constructs that only the general engine knows. `groups`: those whose place is
    /// asked for.
    pub fn new(hir: &Hir, groups: &[usize]) -> Option<Program> {
        let mut compiler =
            Compiler { code: Vec::new(), info: Vec::new(), sets: Vec::new(), groups: groups.to_vec() };
        let end =
            compiler.push(Instruction::Match, Info { first: ByteSet::default(), empty: true, end: true })?;
        let start = compiler.compile(hir, end)?;
        let slots = groups.iter().max().map_or(0, |last| last * 2 + 2);
        Some(Program { code: compiler.code, sets: compiler.sets, start, slots })
    }

    /// Matches `text` from its start. On [`Outcome::Match`], `slots` hold the groups asked for.
    pub fn run(
        &self,
        cache: &mut ProgramCache,
        text: &[u8],
        slots: &mut Vec<Option<NonMaxUsize>>,
    ) -> Outcome {
        slots.clear();
        slots.resize(self.slots, None);
        if text.len() > u32::MAX as usize / 2 {
            return Outcome::Costly;
        }
        let stack = &mut cache.stack;
        stack.clear();
        let mut budget = 64 + text.len() * 4;
        let mut pc = self.start;
        let mut at = 0usize;
        'run: loop {
            let advanced = 'step: {
                match &self.code[usize::from(pc)] {
                    Instruction::Literal { head, mask, len, rest, next } => {
                        let here = &text[at..];
                        let fits = match here.first_chunk::<8>() {
                            Some(chunk) => {
                                u64::from_le_bytes(*chunk) & mask == *head
                                    && (rest.is_empty() || here[8..].starts_with(rest))
                            }
                            // Near the end of the text, where eight bytes cannot be read.
                            None => here.len() >= *len as usize && starts_with_short(here, *head, *len),
                        };
                        if !fits {
                            break 'step false;
                        }
                        at += *len as usize;
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
                        let fits =
                            text.get(at).map_or(table.fits_at_end, |byte| table.fits[usize::from(*byte)]);
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
                        if !stack.is_empty() {
                            stack.push(Frame::Slot { slot: *slot, old: *slot_value });
                        }
                        *slot_value = NonMaxUsize::new(at);
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
            if budget == 0 {
                break 'run;
            }
            budget -= 1;
        }
        Outcome::Costly
    }

    /// The greatest end in `low..=high` after which the rest may match; leaves a frame for smaller ones.
    #[inline]
    fn shorter(
        &self,
        stack: &mut Vec<Frame>,
        pc: u16,
        low: usize,
        high: usize,
        text: &[u8],
    ) -> Option<usize> {
        let Instruction::Run { hint, .. } = &self.code[usize::from(pc)] else { unreachable!() };
        let found = match hint {
            Hint::Byte(byte) => low + memchr::memrchr(*byte, &text[low..text.len().min(high + 1)])?,
            Hint::End => return (high == text.len()).then_some(high),
            Hint::Set(set) => {
                let table = &self.sets[usize::from(*set)].table;
                let window = &text[low..text.len().min(high + 1)];
                low + window.iter().rposition(|byte| table[usize::from(*byte)])?
            }
            Hint::Anything => high,
        };
        if found > low {
            stack.push(Frame::Shorter { pc, low: low as u32, high: found as u32 - 1 });
        }
        Some(found)
    }

    /// The least end in `low..=high` after which the rest may match; leaves a frame for greater ones.
    #[inline]
    fn longer(&self, stack: &mut Vec<Frame>, pc: u16, low: usize, high: usize, text: &[u8]) -> Option<usize> {
        let Instruction::Run { hint, .. } = &self.code[usize::from(pc)] else { unreachable!() };
        let found = match hint {
            Hint::Byte(byte) => low + memchr::memchr(*byte, &text[low..text.len().min(high + 1)])?,
            Hint::End => return (high == text.len()).then_some(high),
            Hint::Set(set) => {
                let table = &self.sets[usize::from(*set)].table;
                let window = &text[low..text.len().min(high + 1)];
                low + window.iter().position(|byte| table[usize::from(*byte)])?
            }
            Hint::Anything => low,
        };
        if found < high {
            stack.push(Frame::Longer { pc, at: found as u32 + 1, high: high as u32 });
        }
        Some(found)
    }
}

/// [`Instruction::Literal`] where fewer than eight bytes are left; `len` are, and so `head` holds all of it.
fn starts_with_short(text: &[u8], head: u64, len: u32) -> bool {
    text[..len as usize] == head.to_le_bytes()[..len as usize]
}

impl Set {
    fn new(bytes: ByteSet) -> Set {
        let mut table = Box::new([false; 256]);
        (0..=255u8).for_each(|byte| table[usize::from(byte)] = bytes.contains(byte));
        let missing = || (0..=255u8).find(|byte| !bytes.contains(*byte));
        Set { bytes, table, all_but: (bytes.len() == 255).then(missing).flatten(), all: bytes.len() == 256 }
    }

    /// How many bytes at the start of `text` are in the set.
    #[inline]
    fn count(&self, text: &[u8]) -> usize {
        if self.all {
            return text.len();
        }
        if let Some(stop) = self.all_but {
            return memchr::memchr(stop, text).unwrap_or(text.len());
        }
        text.iter().position(|byte| !self.table[usize::from(*byte)]).unwrap_or(text.len())
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
}

/// Builds from the end to the start, so that what follows is known.
struct Compiler {
    code: Vec<Instruction>,
    info: Vec<Info>,
    sets: Vec<Set>,
    groups: Vec<usize>,
}

impl Compiler {
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
            HirKind::Literal(literal) => {
                let mut first = ByteSet::default();
                first.insert(literal.0[0]);
                let info = Info { first, empty: false, end: false };
                let bytes = &literal.0;
                let mut head = [0; 8];
                let in_head = bytes.len().min(8);
                head[..in_head].copy_from_slice(&bytes[..in_head]);
                let mask = if in_head == 8 { u64::MAX } else { (1 << (in_head * 8)) - 1 };
                let literal = Instruction::Literal {
                    head: u64::from_le_bytes(head),
                    mask,
                    len: u32::try_from(bytes.len()).ok()?,
                    rest: bytes[in_head..].into(),
                    next,
                };
                self.push(literal, info)
            }
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
                    Look::WordAscii => self.push(Instruction::WordBoundary { next, negated: false }, after),
                    Look::WordAsciiNegate => {
                        self.push(Instruction::WordBoundary { next, negated: true }, after)
                    }
                    _ => None,
                }
            }
            HirKind::Capture(capture) => {
                let group = capture.index as usize;
                if !self.groups.contains(&group) {
                    return self.compile(&capture.sub, next);
                }
                let after = self.info(next);
                let close = self.push(Instruction::Save { slot: (group * 2 + 1) as u16, next }, after)?;
                let inside = self.compile(&capture.sub, close)?;
                let info = self.info(inside);
                self.push(Instruction::Save { slot: (group * 2) as u16, next: inside }, info)
            }
            HirKind::Concat(parts) => {
                parts.iter().rev().try_fold(next, |next, part| self.compile(part, next))
            }
            HirKind::Alternation(parts) => {
                let mut branches = Vec::new();
                for part in parts {
                    branches.push(self.compile(part, next)?);
                }
                self.branches(&branches)
            }
            HirKind::Repetition(repetition) => {
                let (min, max) = (repetition.min, repetition.max);
                match single(&repetition.sub) {
                    Some(bytes) => self.repeat_class(bytes, min, max, repetition.greedy, next),
                    None => self.repeat(&repetition.sub, min, max, repetition.greedy, next),
                }
            }
        }
    }

    fn branches(&mut self, pcs: &[u16]) -> Option<u16> {
        // More than eight: the last of them are an alternation of their own.
        if let Some((first, rest)) = pcs.split_at_checked(7)
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
        self.push(Instruction::Branches { table: BranchTable::new(&infos) }, all)
    }

    fn repeat_class(
        &mut self,
        bytes: ByteSet,
        min: u32,
        max: Option<u32>,
        greedy: bool,
        next: u16,
    ) -> Option<u16> {
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
            (_, true, _) => Hint::Anything,
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
        self.push(Instruction::Run { set, min, max, mode, hint, next }, info)
    }

    fn repeat(&mut self, sub: &Hir, min: u32, max: Option<u32>, greedy: bool, next: u16) -> Option<u16> {
        let (first, empty) = super::literal::first_bytes(sub);
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
                        let run = self.repeat_class(bytes, 0, None, true, on)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::nfa::thompson::pikevm::PikeVM;
    use regex_automata::util::syntax;
    use regex_automata::{Anchored, Input};

    use super::*;

    /// Groups as the general engine finds them, or `None` for no match.
    fn wanted(regex: &str, text: &[u8]) -> Option<Vec<Option<usize>>> {
        let config = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
        let thompson = regex_automata::nfa::thompson::Config::new().utf8(false);
        let vm = PikeVM::builder().syntax(config).thompson(thompson).build(regex).unwrap();
        let mut cache = vm.create_cache();
        let mut slots = vec![None; vm.get_nfa().group_info().slot_len()];
        let input = Input::new(text).anchored(Anchored::Yes);
        vm.search_slots(&mut cache, &input, &mut slots)?;
        Some(slots[2..].iter().map(|slot| slot.map(NonMaxUsize::get)).collect())
    }

    fn got(regex: &str, text: &[u8]) -> Result<Option<Vec<Option<usize>>>, Outcome> {
        let hir = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .build()
            .parse(regex)
            .unwrap();
        let groups: Vec<usize> = (1..=hir.properties().explicit_captures_len()).collect();
        let program = Program::new(&hir, &groups).ok_or(Outcome::Costly)?;
        let mut slots = Vec::new();
        match program.run(&mut ProgramCache::default(), text, &mut slots) {
            Outcome::Match => Ok(Some(slots.iter().skip(2).map(|slot| slot.map(NonMaxUsize::get)).collect())),
            Outcome::NoMatch => Ok(None),
            Outcome::Costly => Err(Outcome::Costly),
        }
    }

    #[test]
    fn the_match_is_the_general_engines() {
        let regexes = [
            "(a*)(ab)*(b*)$",
            "user=<(.*)>, rip=([0-9a-f:.]+), (?:TLS, )?session=<(.*)>$",
            "(?:(x)|(xy))(z?)$",
            "([^ ]*?) from ([0-9]{1,3}(?:\\.[0-9]{1,3}){3})(?: port ([0-9]+))?(?: ssh2)?$",
            "((?:[^\"\\\\]|\\\\.)*)\"(.*)$",
            "(a|ab)(c|bcd)(d*)$",
            "(?:a{2,3}?)(a*)$",
            "(a+?)(a+)$",
            "^(a)|b$",
            "(?i:AbC)(.?)$",
            "\\b(a+)\\b (.*)$",
            "(?:(a)|b)*(c)$",
            "[a-c]{0,3}(c)$",
            "(?:ab?){2,3}(b*)$",
            "((?:[a-c]|c?d)*)(c.*)$",
            "(?:a|b|c|d|e|f|g|h|i|jk|(x))(y?)(.*)$",
        ];
        let texts = [
            "",
            "a",
            "ab",
            "abab",
            "aabbb",
            "user=<x>, rip=1.2.3.4, session=<y>",
            "user=<a>, rip=1.1.1.1, session=<b>, rip=2.2.2.2, TLS, session=<c>",
            "xyz",
            "xz",
            "xy",
            "bob from 1.2.3.4 from 5.6.7.8 port 22 ssh2",
            "a\\\"b\"c",
            "abcd",
            "acd",
            "abbcd",
            "aaaa",
            "aaaaa",
            "b",
            "aBcd",
            "ABC",
            "aa b",
            "abac",
            "abc",
            "bbc",
            "cc",
            "ccc",
            "cccc",
            "abaab",
            "ababb",
        ];
        for regex in regexes {
            for text in texts {
                assert_eq!(
                    got(regex, text.as_bytes()),
                    Ok(wanted(regex, text.as_bytes())),
                    "{regex} on {text:?}"
                );
            }
        }
    }

    #[test]
    fn what_would_go_back_for_ever_is_left_to_others() {
        let text = "a".repeat(4000);
        assert_eq!(got("(?:a|aa)+b", text.as_bytes()), Err(Outcome::Costly));
        assert_eq!(got(".*x", text.as_bytes()), Ok(None));
    }

    fn regex_part() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("a".to_owned()),
            Just("b".to_owned()),
            Just("ab".to_owned()),
            Just(".".to_owned()),
            Just("[ab]".to_owned()),
            Just("[^a]".to_owned()),
            Just("c".to_owned()),
            Just("[bc]".to_owned()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                proptest::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                inner.clone().prop_map(|part| format!("({part})")),
                (inner, 0..8usize).prop_map(|(part, how)| {
                    let how = ["*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}"][how];
                    format!("(?:{part}){how}")
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_pattern_matches_as_in_the_general_engine(regex in regex_part(), end in any::<bool>(), text in "[abc]{0,12}") {
            let regex = if end { format!("{regex}$") } else { regex };
            if let Ok(found) = got(&regex, text.as_bytes()) {
                prop_assert_eq!(found, wanted(&regex, text.as_bytes()), "{}", regex);
            }
        }
    }
}
