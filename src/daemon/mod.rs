//! The daemon: start-up told in order, then the loop.

mod names;
mod surroundings;
