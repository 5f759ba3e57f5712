//! A pattern as a position automaton: one node for each byte it can read, with the nodes that may come next.
//!
//! The place of the address is put in as one fixed address, so that two readings of a line can be told apart by
//! it. What the automaton leaves out makes it accept more than the pattern, never less in what matters: word
//! boundaries hold everywhere, counts beyond a few are unbounded. Whatever is found with it is tried on the
//! pattern itself.

use regex_syntax::hir::{Hir, HirKind, Look};

use crate::filter::literal::{ByteSet, class_bytes};

/// Nodes beyond which a pattern is not looked into.
const NODES_MAX: usize = 30_000;
/// Copies made of a counted repetition's obligatory part, and of its optional one, before it counts as unbounded.
const COPIES_MAX: u32 = 64;
const OPTIONAL_COPIES_MAX: u32 = 6;

/// What a node reads of the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Nothing.
    None,
    Address,
    /// Its last byte.
    AddressEnd,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub reads: ByteSet,
    /// Wide enough for an address and for words: text that a client may have written.
    pub free: bool,
    pub part: Part,
    pub next: Vec<u32>,
    /// The line may end after it.
    pub accepts: bool,
    /// Stands for the line's end, reads nothing.
    end: bool,
}

#[derive(Debug)]
pub struct Automaton {
    pub nodes: Vec<Node>,
    pub start: Vec<u32>,
}

/// How a pattern is put into an automaton.
pub struct Shape<'a> {
    /// Put in place of these groups, as the address that is looked at.
    pub target: &'a dyn Fn(&str) -> bool,
    pub address: &'a [u8],
    /// Put in place of other groups, as fixed text of the server's.
    pub fixed: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The match may begin anywhere in the line.
    pub floating: bool,
}

/// A part of the tree: which nodes it can begin and end with.
struct Fragment {
    empty: bool,
    first: Vec<u32>,
    last: Vec<u32>,
}

impl Automaton {
    /// `None`: too big.
    pub fn new(hir: &Hir, shape: &Shape<'_>) -> Option<Automaton> {
        let mut builder = Builder { nodes: Vec::new(), shape };
        let mut whole = Fragment { empty: true, first: Vec::new(), last: Vec::new() };
        if shape.floating {
            let before = builder.anything();
            whole = builder.join(whole, before);
        }
        let pattern = builder.fragment(hir)?;
        whole = builder.join(whole, pattern);
        // A pattern that does not name the line's end leaves the rest of the line to anybody.
        let after = builder.anything();
        whole = builder.join(whole, after);
        Some(builder.finish(whole))
    }

    /// The pattern alone, without what may follow it in the line. `None`: too big.
    pub fn pattern(hir: &Hir, shape: &Shape<'_>) -> Option<Automaton> {
        let mut builder = Builder { nodes: Vec::new(), shape };
        let pattern = builder.fragment(hir)?;
        Some(builder.finish(pattern))
    }
}

struct Builder<'a> {
    nodes: Vec<Node>,
    shape: &'a Shape<'a>,
}

impl Builder<'_> {
    fn fragment(&mut self, hir: &Hir) -> Option<Fragment> {
        if self.nodes.len() > NODES_MAX {
            return None;
        }
        Some(match hir.kind() {
            HirKind::Empty => empty(),
            HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => {
                let at = self.node(ByteSet::default(), Part::None, true);
                Fragment { empty: false, first: vec![at], last: vec![at] }
            }
            HirKind::Look(_) => empty(),
            HirKind::Literal(literal) => self.text(&literal.0, false),
            HirKind::Class(class) => {
                let at = self.node(class_bytes(class).unwrap_or(ByteSet::ALL), Part::None, false);
                Fragment { empty: false, first: vec![at], last: vec![at] }
            }
            HirKind::Capture(capture) => {
                let name = capture.name.as_deref().unwrap_or_default();
                if (self.shape.target)(name) {
                    self.text(self.shape.address, true)
                } else if let Some(text) = (self.shape.fixed)(name) {
                    self.text(&text, false)
                } else {
                    self.fragment(&capture.sub)?
                }
            }
            HirKind::Concat(parts) => {
                let mut whole = empty();
                for part in parts {
                    let next = self.fragment(part)?;
                    whole = self.join(whole, next);
                }
                whole
            }
            HirKind::Alternation(parts) => {
                let mut whole = Fragment { empty: false, first: Vec::new(), last: Vec::new() };
                for part in parts {
                    let branch = self.fragment(part)?;
                    whole.empty |= branch.empty;
                    whole.first.extend(branch.first);
                    whole.last.extend(branch.last);
                }
                whole
            }
            HirKind::Repetition(repetition) => {
                let min = repetition.min.min(COPIES_MAX);
                let optional = repetition.max.map(|max| max.saturating_sub(repetition.min));
                let mut whole = empty();
                let looped = optional.is_none_or(|optional| optional > OPTIONAL_COPIES_MAX);
                let plain = if looped { min.saturating_sub(1) } else { min };
                for _ in 0..plain {
                    let copy = self.fragment(&repetition.sub)?;
                    whole = self.join(whole, copy);
                }
                if looped {
                    let mut copy = self.fragment(&repetition.sub)?;
                    self.connect(&copy.last, &copy.first);
                    copy.empty |= min == 0;
                    whole = self.join(whole, copy);
                } else {
                    for _ in 0..optional.unwrap_or(0) {
                        let mut copy = self.fragment(&repetition.sub)?;
                        copy.empty = true;
                        whole = self.join(whole, copy);
                    }
                }
                whole
            }
        })
    }

    fn node(&mut self, mut reads: ByteSet, part: Part, end: bool) -> u32 {
        reads.remove(b'\n');
        let free = part == Part::None
            && reads.contains(b'.')
            && (b'0'..=b'9').all(|digit| reads.contains(digit))
            && (b'g'..=b'z').chain(b'G'..=b'Z').any(|letter| reads.contains(letter));
        self.nodes.push(Node { reads, free, part, next: Vec::new(), accepts: false, end });
        (self.nodes.len() - 1) as u32
    }

    fn text(&mut self, text: &[u8], address: bool) -> Fragment {
        let mut whole = empty();
        for (index, byte) in text.iter().enumerate() {
            let part = match (address, index + 1 == text.len()) {
                (false, _) => Part::None,
                (true, false) => Part::Address,
                (true, true) => Part::AddressEnd,
            };
            let mut set = ByteSet::default();
            set.insert(*byte);
            let at = self.node(set, part, false);
            whole = self.join(whole, Fragment { empty: false, first: vec![at], last: vec![at] });
        }
        whole
    }

    fn anything(&mut self) -> Fragment {
        let at = self.node(ByteSet::ALL, Part::None, false);
        self.connect(&[at], &[at]);
        Fragment { empty: true, first: vec![at], last: vec![at] }
    }

    fn connect(&mut self, from: &[u32], to: &[u32]) {
        for at in from {
            self.nodes[*at as usize].next.extend_from_slice(to);
        }
    }

    fn join(&mut self, mut left: Fragment, right: Fragment) -> Fragment {
        self.connect(&left.last, &right.first);
        if left.empty {
            left.first.extend(&right.first);
        }
        if right.empty {
            left.last.extend(right.last);
        } else {
            left.last = right.last;
        }
        left.empty &= right.empty;
        left
    }

    /// Marks where a line may end, and takes the nodes that stand for its end out of the ways of bytes.
    fn finish(mut self, whole: Fragment) -> Automaton {
        for at in &whole.last {
            self.nodes[*at as usize].accepts = true;
        }
        // Through any number of line ends to one that may be the last.
        loop {
            let mut changed = false;
            for at in 0..self.nodes.len() {
                let accepts = !self.nodes[at].accepts
                    && self.nodes[at].next.iter().any(|next| {
                        let next = &self.nodes[*next as usize];
                        next.end && next.accepts
                    });
                if accepts {
                    self.nodes[at].accepts = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let ends: Vec<bool> = self.nodes.iter().map(|node| node.end).collect();
        let clean = |list: &mut Vec<u32>| {
            list.sort_unstable();
            list.dedup();
            list.retain(|at| !ends[*at as usize]);
        };
        for node in &mut self.nodes {
            clean(&mut node.next);
        }
        let mut start = whole.first;
        clean(&mut start);
        Automaton { nodes: self.nodes, start }
    }
}

fn empty() -> Fragment {
    Fragment { empty: true, first: Vec::new(), last: Vec::new() }
}
