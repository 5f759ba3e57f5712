//! All unsafe code.

pub mod peer;
