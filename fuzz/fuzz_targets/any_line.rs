//! Arbitrary bytes through every shipped filter: no panic, and the same attempts wherever the block is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portero_fuzz::judge;
use portero_fuzz::lines::split;

fuzz_target!(|data: &[u8]| {
    // The first byte says where the block is split.
    let Some((at, block)) = data.split_first() else { return };
    if let Err(wrong) = split::same_attempts(judge(), block, usize::from(*at)) {
        panic!("{wrong}");
    }
});
