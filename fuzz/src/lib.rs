//! What the fuzz targets share: the generator and the property of `tests/hostile`, fed by the fuzzer.

#[path = "../../tests/hostile/lines/mod.rs"]
pub mod lines;

use std::sync::OnceLock;

use arbitrary::Unstructured;

/// Choices from the fuzzer's bytes.
pub struct Bytes<'a>(pub Unstructured<'a>);

impl lines::Dice for Bytes<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.0.int_in_range(0..=n - 1).unwrap_or(0)
    }
}

/// All shipped filters, compiled once.
pub fn judge() -> &'static lines::Judge {
    static JUDGE: OnceLock<lines::Judge> = OnceLock::new();
    JUDGE.get_or_init(lines::Judge::new)
}
