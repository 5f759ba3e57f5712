//! The configuration: files as typed, resolved into what the stages take.

pub mod report;
