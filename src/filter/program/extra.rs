//! Parts of a pattern that backtracking engines know and a linear one does not.

use regex_syntax::hir::Hir;

/// A group of the pattern's tree with this number or a greater one stands for an [`Extra`], counted from here. What it
/// holds is nothing, or at least all that the extra can begin with.
pub const EXTRA: u32 = 1 << 24;

/// What a tree cannot hold.
#[derive(Debug, Clone)]
pub enum Extra {
    /// `(?=…)` and its kin. No group inside is asked for; one that looks back is of one length.
    Look { hir: Hir, behind: bool, negated: bool },
    /// `(?(group)yes|no)`; the group is one of those that are asked for.
    IfGroup { group: usize, yes: Hir, no: Hir },
}
