//! Looking ahead: it is cheaper to see that a way leads nowhere than to come back from it.

use super::{Frame, Hint, Instruction, Program, first_of};
use crate::filter::word;

impl Program {
    /// The first branch of `pcs` that can begin at `at`, of those that `fits` says as bits; leaves a frame for the others.
    #[inline]
    pub(super) fn branch(
        &self,
        stack: &mut Vec<Frame>,
        (pc, mut fits, pcs): (u16, u32, &[u16]),
        text: &[u8],
        at: usize,
    ) -> Option<u16> {
        if fits & fits.wrapping_sub(1) != 0 {
            fits = self.narrowed(pcs, fits, text, at);
        }
        if fits == 0 {
            return None;
        }
        let left = fits & (fits - 1);
        if left != 0 {
            stack.push(Frame::Branch { pc, left, at: at as u32 });
        }
        Some(pcs[fits.trailing_zeros() as usize])
    }

    /// Of the branches `fits` those that do not begin with another text than stands at `at`: it is cheaper to see that
    /// here than to come back from them.
    #[inline]
    fn narrowed(&self, pcs: &[u16], fits: u32, text: &[u8], at: usize) -> u32 {
        let here = word::word_at(text, at);
        let (mut left, mut narrowed) = (fits, 0);
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let other = self.refuses(pcs[bit.trailing_zeros() as usize], here);
            narrowed |= if other { 0 } else { bit };
        }
        narrowed
    }

    /// Whether the text at `pc` is another one than `here`, what the text in hand goes on with.
    #[inline]
    fn refuses(&self, pc: u16, here: u64) -> bool {
        match &self.code[usize::from(pc)] {
            Instruction::Literal { head, spare, .. } => here & first_of(*spare) != *head,
            Instruction::Folded { head, fold, spare, .. } => (here | fold) & first_of(*spare) != *head,
            _ => false,
        }
    }

    /// Whether what follows may begin at `at`, seen without going there.
    #[inline]
    fn may(&self, ahead: u16, text: &[u8], at: usize) -> bool {
        match &self.code[usize::from(ahead)] {
            table @ (Instruction::Branches { .. } | Instruction::Many { .. }) => {
                let (fits, pcs) = table.branches(text, at);
                self.narrowed(pcs, fits, text, at) != 0
            }
            _ => !self.refuses(ahead, word::word_at(text, at)),
        }
    }

    /// The greatest end in `low..=high` after which the rest may match; leaves a frame for smaller ones.
    #[inline]
    pub(super) fn shorter(
        &self,
        stack: &mut Vec<Frame>,
        pc: u16,
        low: usize,
        mut high: usize,
        text: &[u8],
    ) -> Option<usize> {
        let Instruction::Run { hint, ahead, .. } = &self.code[usize::from(pc)] else { unreachable!() };
        loop {
            let found = match hint {
                Hint::Byte(byte) => low + memchr::memrchr(*byte, &text[low..text.len().min(high + 1)])?,
                Hint::End => return (high == text.len()).then_some(high),
                Hint::Set(set) => {
                    let table = &self.sets[usize::from(*set)].table;
                    let window = &text[low..text.len().min(high + 1)];
                    low + window.iter().rposition(|byte| table[usize::from(*byte)])?
                }
                Hint::SetOrEnd(_) if high == text.len() => high,
                Hint::SetOrEnd(set) => {
                    let table = &self.sets[usize::from(*set)].table;
                    low + text[low..=high].iter().rposition(|byte| table[usize::from(*byte)])?
                }
                Hint::Anything => high,
            };
            if self.may(*ahead, text, found) {
                if found > low {
                    stack.push(Frame::Shorter { pc, low: low as u32, high: found as u32 - 1 });
                }
                return Some(found);
            }
            if found == low {
                return None;
            }
            high = found - 1;
        }
    }

    /// The least end in `low..=high` after which the rest may match; leaves a frame for greater ones.
    #[inline]
    pub(super) fn longer(
        &self,
        stack: &mut Vec<Frame>,
        pc: u16,
        mut low: usize,
        high: usize,
        text: &[u8],
    ) -> Option<usize> {
        let Instruction::Run { hint, ahead, .. } = &self.code[usize::from(pc)] else { unreachable!() };
        loop {
            let found = match hint {
                Hint::Byte(byte) => low + memchr::memchr(*byte, &text[low..text.len().min(high + 1)])?,
                Hint::End => return (high == text.len()).then_some(high),
                Hint::Set(set) => {
                    let table = &self.sets[usize::from(*set)].table;
                    let window = &text[low..text.len().min(high + 1)];
                    low + window.iter().position(|byte| table[usize::from(*byte)])?
                }
                Hint::SetOrEnd(set) => {
                    let table = &self.sets[usize::from(*set)].table;
                    let window = &text[low..text.len().min(high + 1)];
                    match window.iter().position(|byte| table[usize::from(*byte)]) {
                        Some(found) => low + found,
                        None if high == text.len() => high,
                        None => return None,
                    }
                }
                Hint::Anything => low,
            };
            if self.may(*ahead, text, found) {
                if found < high {
                    stack.push(Frame::Longer { pc, at: found as u32 + 1, high: high as u32 });
                }
                return Some(found);
            }
            if found == high {
                return None;
            }
            low = found + 1;
        }
    }
}
