//! banctl
pub mod scan;
