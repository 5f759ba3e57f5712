//! Tailing files.
