//! An alarm for the daemon's loop, and how punctual a thread's timers are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::{get_timerslack, set_timerslack};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::time::Timestamp;

/// Rings once at a time of the wall clock, or at once when somebody sets that clock.
pub struct Alarm {
    timer: TimerFd,
}

impl Alarm {
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)? })
    }

    /// Rings at `at`, and no more at an earlier time it was set to. What has passed rings at once.
    ///
    /// # Errors
    /// Of timerfd_settime.
    pub fn set(&self, at: Timestamp) -> io::Result<()> {
        // Source: timerfd_create(2). A time of zero would switch it off.
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        let set = |micros| {
            self.timer.set(Expiration::OneShot(TimeSpec::from_duration(Duration::from_micros(micros))), flags)
        };
        let mut micros = u64::try_from(at.micros()).unwrap_or(0).max(1);
        loop {
            match set(micros) {
                // The clock was set since the last time: that is told once.
                Err(Errno::ECANCELED) => micros = 1,
                done => return Ok(done?),
            }
        }
    }

    /// Readable from when it rings until it is set again.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Runs `work` so that threads which it starts may wake up to `late` after a time they wait for, whenever something else
/// keeps the processor busy anyway. Being woken by another thread is as prompt as ever.
///
/// For a library whose idle threads look every second whether there is work. Source: PR_SET_TIMERSLACK in prctl(2); a
/// thread has its slack from the one that started it. Where the kernel refuses, all is as it was.
pub fn unhurried<T>(late: Duration, work: impl FnOnce() -> T) -> T {
    /// Puts back what was, also on a panic.
    struct Before(u64);
    impl Drop for Before {
        fn drop(&mut self) {
            let _ = set_timerslack(self.0);
        }
    }
    let before = get_timerslack().ok().and_then(|nanos| u64::try_from(nanos).ok());
    let _before = before.map(Before);
    let _ = set_timerslack(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
    work()
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;
    use crate::time::{Clock, SystemClock};

    #[test]
    fn an_alarm_rings_when_it_is_set_to_and_not_before() {
        let rings = |alarm: &Alarm, within: u16| {
            let mut fds = [PollFd::new(alarm.fd(), PollFlags::POLLIN)];
            poll(&mut fds, within).unwrap() > 0
        };
        let clock = SystemClock::new();
        let alarm = Alarm::new().unwrap();
        alarm.set(clock.now().plus(Duration::from_secs(3600))).unwrap();
        assert!(!rings(&alarm, 50));
        for _ in 0..2 {
            let at = clock.now().plus(Duration::from_millis(30));
            alarm.set(at).unwrap();
            assert!(rings(&alarm, 5000));
            assert!(clock.now() >= at);
        }
        alarm.set(Timestamp::from_secs(-1)).unwrap();
        assert!(rings(&alarm, 5000));
        alarm.set(clock.now().plus(Duration::from_secs(3600))).unwrap();
        assert!(!rings(&alarm, 0));
    }

    #[test]
    fn only_threads_of_the_work_are_late() {
        let before = get_timerslack().unwrap();
        let inherited = unhurried(Duration::from_secs(1), || {
            std::thread::spawn(|| get_timerslack().unwrap()).join().unwrap()
        });
        assert_eq!(inherited, 1_000_000_000);
        assert_eq!(get_timerslack().unwrap(), before);
        let _ = std::panic::catch_unwind(|| unhurried(Duration::from_secs(1), || panic!("as sled may")));
        assert_eq!(get_timerslack().unwrap(), before);
    }
}
