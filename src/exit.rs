//! Exit codes of both programs: sysexits(3), as far as they are used.

/// Done.
pub const OK: u8 = 0;
/// The answer is no: not banned, nothing to lift, refused.
pub const NO: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// No daemon answers.
pub const UNAVAILABLE: u8 = 69;
/// Not permitted.
pub const NOT_PERMITTED: u8 = 77;
/// The configuration is bad.
pub const CONFIG: u8 = 78;
