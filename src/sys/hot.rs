//! The code that a ban runs through, asked for before it runs.
//!
//! A guard sleeps most of the time, and the processor's caches are full of other things when it wakes. `src/ban.ld` lays
//! that code out in one piece, and here all of it is asked for at once, instead of waiting for one line of 64 bytes after
//! the other. A ban takes a tenth less with it (packaging/bench/run latency), and lines that lead to nothing cost the same.
#![expect(unsafe_code, reason = "addresses from the loader, and a hint to the kernel about them")]

use std::fs::File;
use std::ops::Range;

use elf::ElfStream;
use elf::endian::AnyEndian;

use super::memory::page_bytes;
use super::prefetch::{self, LINE_BYTES};

/// The section of `src/ban.ld`.
pub const SECTION: &str = ".portero_ban";

/// More than this is not what was meant to be laid out, and would push other things out of the cache. Bytes.
const CODE_BYTES_MAX: usize = 512 << 10;

/// As deep as a ban goes.
const STACK_BYTES: usize = 8 << 10;

/// Where the code of a ban stands in memory. Empty where the linker did not lay it out; then all is as it would be
/// without, a little slower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotCode(Range<usize>);

impl HotCode {
    /// Looks it up in the running program's file, and maps it.
    pub fn find() -> HotCode {
        let found = HotCode(File::open("/proc/self/exe").ok().and_then(section_of).map_or(0..0, |section| {
            let base = load_address();
            base + section.start..base + section.end
        }));
        found.map();
        found
    }

    /// The addresses; none where nothing was laid out.
    pub fn addresses(&self) -> Range<usize> {
        self.0.clone()
    }

    /// So that the first ban after the start does not have to. Where the kernel is too old for that (5.14), that ban does.
    fn map(&self) {
        // Source: MADV_POPULATE_READ in madvise(2); it wants whole pages.
        let Some(page) = page_bytes() else { return };
        let start = self.0.start & !(page - 1);
        // SAFETY: code of this program, which stays mapped; it is read, and mapped as it already was.
        unsafe { libc::madvise(start as *mut _, self.0.end - start, libc::MADV_POPULATE_READ) };
    }

    /// Asks the processor to have all of it near, and what of the stack it will use. Takes some microseconds where it was
    /// far, and hardly any where it is near already.
    pub fn fetch(&self) {
        ask_for(self.addresses());
        let here = 0u8;
        let stack = &raw const here as usize;
        ask_for(stack.saturating_sub(STACK_BYTES)..stack);
    }
}

fn ask_for(addresses: Range<usize>) {
    addresses.step_by(LINE_BYTES).for_each(prefetch::address);
}

/// The addresses of [`SECTION`] in a program's file, as it is before it is loaded somewhere.
fn section_of(program: File) -> Option<Range<usize>> {
    let mut program = ElfStream::<AnyEndian, _>::open_stream(program).ok()?;
    let section = program.section_header_by_name(SECTION).ok()??;
    let (start, length) = (usize::try_from(section.sh_addr).ok()?, usize::try_from(section.sh_size).ok()?);
    (length <= CODE_BYTES_MAX).then_some(start..start.checked_add(length)?)
}

/// By how much the running program stands elsewhere than its file says.
fn load_address() -> usize {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        to: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader's description of an object, and the number that is asked for below.
        unsafe { *to.cast::<usize>() = (*info).dlpi_addr as usize };
        1
    }
    let mut address = 0usize;
    // SAFETY: the callback writes to `address` alone, and ends at the first object, which is the program itself. Source:
    // dl_iterate_phdr(3).
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut address).cast()) };
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_the_section_has_none_and_asking_for_nothing_does_nothing() {
        assert_eq!(File::open("/bin/true").ok().and_then(section_of), None);
        assert_eq!(File::open("/etc/passwd").ok().and_then(section_of), None);
        let none = HotCode(0..0);
        none.map();
        none.fetch();
    }
}
