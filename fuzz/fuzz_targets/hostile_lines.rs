//! Hostile text in what services write: the address found is the true one or none.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use portero_fuzz::lines::Case;
use portero_fuzz::{Bytes, judge};

fuzz_target!(|data: &[u8]| {
    let case = Case::hostile(&mut Bytes(Unstructured::new(data)));
    if let Err(wrong) = judge().judge(&case) {
        panic!("{wrong}");
    }
});
