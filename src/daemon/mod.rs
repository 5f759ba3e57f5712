//! The daemon: start-up told in order, then the loop.

pub mod cli;

mod names;
mod surroundings;
