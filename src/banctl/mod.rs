//! banctl
