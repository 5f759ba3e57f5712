//! Everything that needs `unsafe`, each piece small enough to be read at one sitting.

pub mod hot;
pub mod memory;
pub mod netlink;
pub mod nft;
pub mod peer;
pub mod prefetch;
pub mod resolver;
pub mod rest;
pub mod simd;
pub mod timer;

/// Gives up every capability of the calling thread, and of no other, for tests of what happens without.
#[cfg(test)]
#[expect(unsafe_code, reason = "the library's setuid changes every thread, the system call only its own")]
pub fn drop_to_nobody_for_this_thread() {
    // SAFETY: a system call with three integers.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    assert_eq!(done, 0);
}
