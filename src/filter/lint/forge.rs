//! Makes lines that can be read in two ways.
//!
//! Two automata read the same line, byte by byte: one as the server wrote it, the true address in its place and
//! the client's text where the pattern has room for any; the other with another address in that place, all of it
//! the client's text. A breadth-first search over pairs of nodes finds the shortest such lines, or that there are
//! none. Which reading the pattern prefers is then asked of the pattern itself.

use hashbrown::HashSet;

use super::automaton::{Automaton, Part};
use crate::filter::literal::ByteSet;

/// Pairs of nodes looked at for one pattern, at most.
const PAIRS_MAX: usize = 300_000;
/// Lines tried on the pattern, at most.
const LINES_MAX: usize = 40;

/// A line that can be read in two ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forged {
    pub line: Vec<u8>,
    /// The true address stands in the line, before (or after) the other one. `None`: the server wrote none.
    pub order: Option<Order>,
}

/// Which address comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    TrueFirst,
    FakeFirst,
}

const TRUE_SEEN: u8 = 1;
const FAKE_SEEN: u8 = 2;
const TRUE_FIRST: u8 = 4;

/// A pair of nodes, and how it was come to.
struct Step {
    truth: u32,
    other: u32,
    flags: u8,
    byte: u8,
    before: u32,
}

const NOWHERE: u32 = u32::MAX;

/// Hands lines to `fools`, shortest first, until it says yes; that line. `truth` and `other` must hold different
/// addresses.
pub fn search(
    truth: &Automaton,
    other: &Automaton,
    fools: &mut dyn FnMut(&Forged) -> bool,
) -> Option<Forged> {
    let mut steps: Vec<Step> = Vec::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut at = 0;
    let mut tried = 0;
    let mut from = NOWHERE;
    loop {
        let (next_truth, next_other, flags) = match steps.get(from as usize) {
            None => (&truth.start, &other.start, 0),
            Some(step) => {
                (&truth.nodes[step.truth as usize].next, &other.nodes[step.other as usize].next, step.flags)
            }
        };
        for a in next_truth {
            let left = &truth.nodes[*a as usize];
            for b in next_other {
                let right = &other.nodes[*b as usize];
                // The other address is text of the client's.
                if right.part != Part::None && !left.free {
                    continue;
                }
                let both = left.reads.and(&right.reads);
                let Some(byte) = pick(&both) else { continue };
                let mut flags = flags;
                if left.part == Part::AddressEnd {
                    flags |= TRUE_SEEN;
                }
                if right.part == Part::AddressEnd {
                    flags |= FAKE_SEEN | if flags & TRUE_SEEN != 0 { TRUE_FIRST } else { 0 };
                }
                let key = u64::from(flags) << 60 | u64::from(*a) << 30 | u64::from(*b);
                if !seen.insert(key) {
                    continue;
                }
                steps.push(Step { truth: *a, other: *b, flags, byte, before: from });
                if flags & FAKE_SEEN != 0 && left.accepts && right.accepts {
                    let forged = Forged { line: line(&steps), order: order(flags) };
                    if fools(&forged) {
                        return Some(forged);
                    }
                    tried += 1;
                    if tried >= LINES_MAX {
                        return None;
                    }
                }
            }
        }
        if at >= steps.len() || steps.len() > PAIRS_MAX {
            return None;
        }
        from = at as u32;
        at += 1;
    }
}

fn order(flags: u8) -> Option<Order> {
    (flags & TRUE_SEEN != 0).then_some(match flags & TRUE_FIRST {
        0 => Order::FakeFirst,
        _ => Order::TrueFirst,
    })
}

/// The bytes on the way to the last step.
fn line(steps: &[Step]) -> Vec<u8> {
    let mut line = Vec::new();
    let mut at = steps.len() as u32 - 1;
    while at != NOWHERE {
        let step = &steps[at as usize];
        line.push(step.byte);
        at = step.before;
    }
    line.reverse();
    line
}

/// A byte of the set, a readable one if there is any.
fn pick(set: &ByteSet) -> Option<u8> {
    const LIKED: &[u8] = b"x17abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZ02345689 _-./:,";
    LIKED
        .iter()
        .copied()
        .find(|byte| set.contains(*byte))
        .or_else(|| (0x21..=0x7e).find(|byte| set.contains(*byte)))
        .or_else(|| (0..=0xff).find(|byte| set.contains(*byte)))
}
