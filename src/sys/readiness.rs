//! Waiting for a descriptor from the daemon's loop.
#![expect(unsafe_code, reason = "tokio wants a promise about descriptors")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a copy of `fd` with the running tokio loop, for reading. The copy shares `fd`'s readiness and
/// is closed with the value.
///
/// # Errors
/// No descriptor is to be had, or it cannot be polled.
pub fn readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let copy = fd.try_clone_to_owned()?;
    // SAFETY: an OwnedFd is open as long as it lives, gives always the same descriptor, and the AsyncFd owns
    // it until it has deregistered it.
    Ok(unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) }?)
}
