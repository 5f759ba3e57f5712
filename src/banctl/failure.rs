//! How an offline command ends: scan, replay, filter.

use std::io;
use std::process::ExitCode;

use crate::exit;

/// An exit code and what to say; nothing: whoever read our output has gone.
pub(super) type Failure = (u8, Option<String>);

pub(super) fn fail(code: u8, error: impl std::fmt::Display) -> Failure {
    (code, Some(error.to_string()))
}

/// The answer could not be written. A reader that has seen enough (`banctl scan --json F | head`) is no error.
pub(super) fn lost(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => (exit::OK, None),
        _ => fail(exit::NO, format!("cannot write the answer: {}", crate::text::io_reason(error))),
    }
}

/// Says what there is to say.
pub(super) fn end(done: Result<u8, Failure>) -> ExitCode {
    let (code, message) = done.map_or_else(|failure| failure, |code| (code, None));
    if let Some(message) = message {
        eprintln!("banctl: {message}");
    }
    ExitCode::from(code)
}
