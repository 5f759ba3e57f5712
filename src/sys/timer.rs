//! How punctual a thread's timers are.

use std::time::Duration;

use nix::sys::prctl::{get_timerslack, set_timerslack};

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
    use super::*;

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
