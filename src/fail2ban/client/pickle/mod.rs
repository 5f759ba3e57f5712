//! Python pickles, as far as fail2ban's protocol needs them: [`read()`] takes the commands of clients, [`write()`]
//! makes the answers.
//!
//! A pickle is a program for a small stack machine, some of whose instructions call what they name. Here only the
//! instructions that build plain values are known; every other one ends the reading, before anything was done.
//! The reader is written out here instead of taken from a crate: serde-pickle 1.2 gives a nested value no bound,
//! and 10,000 nested lists (a message of 20 kB) overflow its stack and end the process; the answers need an
//! exception's instructions, which it cannot write. It serves as the judge in the tests.

mod read;
mod write;

pub use read::{Unreadable, read};
pub use write::write;

/// Lists in lists in lists: no command nests deeper than a few. Levels.
pub const DEPTH_MAX: usize = 16;

/// The values of one message; the largest are the streams that go with `reload`. Values.
pub const VALUES_MAX: usize = 200_000;

/// The texts of one message together, those counted that are put in twice. Bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
