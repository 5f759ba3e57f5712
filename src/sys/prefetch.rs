//! Asking the processor for memory before it is needed. Other processors than x86-64 find it when they need it.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "hints about addresses"))]

/// What one hint fetches. Source: the cache line of every x86-64 processor.
pub const LINE_BYTES: usize = 64;

/// Asks for the first line of `value`, soon to be read or written.
#[inline]
pub fn value<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint reads nothing that the program could see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks for the line at `address`, to be near but not in the first cache, where there is less room.
#[inline]
pub fn address(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address as *const i8) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
