//! What the loop waits for: one epoll instance over every descriptor that can wake it.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Whose descriptor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Events of logs.
    Logs,
    /// Events of the kernel's ruleset.
    Ruleset,
    Alarm,
    Letters,
}

/// Every source that has something, a bit each. A source shows up again and again until it was read empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken(u64);

impl Woken {
    pub fn by(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }
}

impl Source {
    fn bit(self) -> u64 {
        1 << self as u32
    }
}

pub struct Waits {
    epoll: Epoll,
    events: [EpollEvent; 4],
}

impl Waits {
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> io::Result<Waits> {
        Ok(Waits { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, events: [EpollEvent::empty(); 4] })
    }

    /// Wakes for `fd` too, until it is closed.
    ///
    /// # Errors
    /// It cannot be polled, or is there already.
    pub fn add(&self, fd: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, source.bit()))?)
    }

    /// Waits until something is there, or a signal came, or `most` is over.
    ///
    /// # Errors
    /// The kernel gives no events.
    pub fn wait(&mut self, most: Option<Duration>) -> io::Result<Woken> {
        let got = match self.epoll.wait(&mut self.events, timeout(most)) {
            Ok(got) => got,
            Err(Errno::EINTR) => 0,
            Err(why) => return Err(why.into()),
        };
        Ok(Woken(self.events[..got].iter().fold(0, |woken, event| woken | event.data())))
    }
}

/// Whole milliseconds, rounded up: who waits for a time does not find itself just before it.
fn timeout(most: Option<Duration>) -> EpollTimeout {
    let Some(most) = most else { return EpollTimeout::NONE };
    let millis = most.as_micros().div_ceil(1000);
    EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_asked_for() {
        let millis = |most| i32::from(timeout(most));
        assert_eq!(millis(None), -1);
        assert_eq!(millis(Some(Duration::ZERO)), 0);
        assert_eq!(millis(Some(Duration::from_nanos(1_000))), 1);
        assert_eq!(millis(Some(Duration::from_micros(1_001))), 2);
        assert_eq!(millis(Some(Duration::from_secs(u64::MAX))), i32::MAX);
    }
}
