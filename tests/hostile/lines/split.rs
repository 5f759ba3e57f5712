//! A log read in blocks: where one ends must not matter.

use std::fmt::Write;

use portero::filter::load;
use portero::text::escape;

use super::{Found, Judge};

/// Reads `text` as one block and as two, split after some line that `at` chooses, in every mode.
///
/// # Errors
/// The attempts differ.
pub fn same_attempts(judge: &Judge, text: &[u8], at: usize) -> Result<(), String> {
    let mut whole = text.to_vec();
    // A block's lines all end.
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    let ends: Vec<usize> = (0..whole.len()).filter(|index| whole[*index] == b'\n').collect();
    let (first, second) = whole.split_at(ends[at % ends.len()] + 1);
    for mode in judge.modes() {
        let together = judge.scan(mode, &[&whole]);
        let apart = judge.scan(mode, &[first, second]);
        if together != apart {
            let mut wrong = format!("a split block reads differently (mode {mode}): {}", escape(&whole));
            for (name, found) in [("together", &together), ("apart", &apart)] {
                for one in found {
                    let _ = write!(wrong, "\n  {name}: {one:?}");
                }
            }
            return Err(wrong);
        }
        if mode == load::NORMAL {
            line_by_line(judge, &whole, &together)?;
        }
    }
    Ok(())
}

/// Every line in a block of its own finds the same, too.
fn line_by_line(judge: &Judge, whole: &[u8], together: &[Found]) -> Result<(), String> {
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    match judge.scan(load::NORMAL, &lines) == together {
        true => Ok(()),
        false => Err(format!("read line by line it reads differently: {}", escape(whole))),
    }
}
