//! Idle threads of a library that cannot be told to stop looking for work.
//!
//! sled keeps seven threads that wake once a second for as long as the process lives, also when no database is open:
//! more than all the rest of an idle daemon costs. They are sent a signal, whose handler waits until they are needed
//! again. What makes that safe: a thread is only sent it while it waits for work, where it holds no lock that anybody
//! but that library takes, and it is woken before the library is called.
#![expect(unsafe_code, reason = "signals to single threads and futexes have no safe wrapper")]

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// 1: who is in the handler stays there.
static RESTING: AtomicU32 = AtomicU32::new(0);

/// One that nothing else here uses; nobody gets it who is not sent it by [`rest`].
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 5
}

/// Has the threads rest whose names begin with `named`, until [`wake`]. False: one of them is at work, or it cannot be
/// seen whether it is; then nothing was done, and it may be tried again later. True also where there is no such thread.
///
/// The caller sees to it that nothing asks these threads for work before it calls [`wake`].
pub fn rest(named: &str) -> bool {
    let Some(threads) = threads(named) else { return false };
    if threads.is_empty() {
        return true;
    }
    if !threads.iter().all(|thread| waits_for_work(*thread)) || !handle() {
        return false;
    }
    RESTING.store(1, Ordering::SeqCst);
    for thread in threads {
        // SAFETY: a system call with three numbers; a thread that has ended meanwhile is no error that matters.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
    }
    true
}

/// Ends the rest of all threads.
pub fn wake() {
    if RESTING.swap(0, Ordering::SeqCst) == 1 {
        // SAFETY: the address is that of a static; the kernel only compares it.
        unsafe {
            let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            libc::syscall(libc::SYS_futex, RESTING.as_ptr(), wake, libc::c_int::MAX);
        }
    }
}

/// The ids of threads by the beginning of their names; `None`: /proc cannot be read.
fn threads(named: &str) -> Option<Vec<libc::pid_t>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?;
        if std::fs::read(task.path().join("comm")).is_ok_and(|name| name.starts_with(named.as_bytes())) {
            threads.push(task.file_name().to_str()?.parse().ok()?);
        }
    }
    Some(threads)
}

/// Whether a thread waits for something with a time limit: for a lock one waits without. When its time is over it only
/// looks at its queue and waits again, which does not even allocate.
///
/// Source: /proc/PID/syscall in proc(5): number and arguments of the system call that a thread is blocked in; futex(2):
/// the fourth argument is the time.
fn waits_for_work(thread: libc::pid_t) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")) else { return false };
    let mut fields = text.split_ascii_whitespace();
    let futex = fields.next() == Some(&libc::SYS_futex.to_string());
    futex && fields.nth(3).is_some_and(|time| time != "0x0")
}

/// Installs the handler. False: the kernel refuses.
fn handle() -> bool {
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask. The handler has the form that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = pause;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(signal(), &action, ptr::null_mut()) == 0
    }
}

/// Waits while the rest lasts. Calls nothing that a signal handler may not, and leaves `errno` as it was.
extern "C" fn pause(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands over a valid description of the signal. Sent to the process by somebody else, it would
    // stop whichever thread gets it.
    if unsafe { (*info).si_code } != libc::SI_TKILL {
        return;
    }
    // SAFETY: the address of the calling thread's errno, valid as long as the thread.
    let errno = unsafe { *libc::__errno_location() };
    while RESTING.load(Ordering::SeqCst) == 1 {
        let no_limit: *const libc::timespec = ptr::null();
        // SAFETY: the address is that of a static, and the kernel only reads it.
        unsafe {
            let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            libc::syscall(libc::SYS_futex, RESTING.as_ptr(), wait, 1, no_limit);
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use super::*;

    #[test]
    fn threads_that_wait_for_work_rest_until_they_are_woken() {
        assert!(rest("no such thread"));
        let looks = Arc::new(AtomicU64::new(0));
        let queue = Arc::new((Mutex::new(()), Condvar::new()));
        for n in 0..3 {
            let (looks, queue) = (looks.clone(), queue.clone());
            let look = move || loop {
                let (mutex, work) = &*queue;
                drop(work.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(10)).unwrap());
                looks.fetch_add(1, Ordering::SeqCst);
            };
            std::thread::Builder::new().name(format!("idle-{n}")).spawn(look).unwrap();
        }
        let pause = || std::thread::sleep(Duration::from_millis(100));
        let count = || looks.load(Ordering::SeqCst);
        // A thread takes its name once it runs.
        pause();
        for _ in 0..3 {
            let tries = (0..100).take_while(|_| !rest("idle-")).map(|_| pause()).count();
            assert!(tries < 100, "they always seem to be at work");
            pause();
            let before = count();
            pause();
            queue.1.notify_all();
            pause();
            assert_eq!(count(), before);
            wake();
            pause();
            assert!(count() > before);
        }
    }

    #[test]
    fn a_thread_that_waits_for_a_lock_is_at_work() {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let theirs = lock.clone();
        let waiter = std::thread::Builder::new().name("locked-0".to_owned());
        let waiter = waiter.spawn(move || drop(theirs.lock().unwrap())).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(!rest("locked-"));
        drop(held);
        waiter.join().unwrap();
    }
}
