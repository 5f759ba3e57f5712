//! Asking the processor for memory before it is needed. Other processors than x86-64 find it when they need it.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "hints about addresses"))]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as ALL_CACHES, _MM_HINT_T1 as ALL_BUT_FIRST, _mm_prefetch};

#[cfg(not(target_arch = "x86_64"))]
const ALL_CACHES: i32 = 0;
#[cfg(not(target_arch = "x86_64"))]
const ALL_BUT_FIRST: i32 = 1;

/// What one hint fetches. Source: the cache line of every x86-64 processor.
pub const LINE_BYTES: usize = 64;

/// Asks for the first line of `value`, soon to be read or written.
#[inline]
pub fn value<T>(value: &T) {
    ask::<ALL_CACHES>(std::ptr::from_ref(value).cast());
}

/// Asks for the line at `address`, to be near but not in the first cache, where there is less room.
#[inline]
pub fn address(address: usize) {
    ask::<ALL_BUT_FIRST>(address as *const i8);
}

#[inline]
fn ask<const HINT: i32>(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint reads nothing that the program could see, whatever the address.
    unsafe {
        _mm_prefetch::<HINT>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
