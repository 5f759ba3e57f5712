//! Giving memory back to the system.
#![expect(unsafe_code, reason = "neither the allocator's trim nor madvise has a safe wrapper")]

/// Returns freed memory to the system after something large was let go: glibc keeps it otherwise. Elsewhere
/// it does nothing.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, may be called at any time from any thread, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has every allocation from 256 KiB on made as a mapping of its own, which goes back to the system when it
/// is freed. Left alone, glibc raises that bound with the largest block freed so far.
pub fn map_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number of the allocator; may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 * 1024);
    }
}

/// Lets go of those pages of the program and its libraries that only starting needed, more than half of what is
/// resident then. What is needed later is mapped again from the files, which the system keeps in its cache.
pub fn give_back_code() {
    // SAFETY: the callback keeps to what the loader hands it, and keeps nothing.
    unsafe { libc::dl_iterate_phdr(Some(give_back_segments), std::ptr::null_mut()) };
}

/// Lets go of the pages of one loaded object that cannot have been written to.
///
/// # Safety
/// `info` is what `dl_iterate_phdr` gives.
unsafe extern "C" fn give_back_segments(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader's description of a loaded object, valid during the call.
    let info = unsafe { &*info };
    // SAFETY: as many headers as it says, and as long valid.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    // What is relocated stands in segments that are writable at first.
    for segment in headers.iter().filter(|one| one.p_type == libc::PT_LOAD && one.p_flags & libc::PF_W == 0) {
        let Some(page) = page_bytes() else { return 1 };
        let start = (info.dlpi_addr + segment.p_vaddr) as usize;
        let (from, end) = (start & !(page - 1), start + segment.p_memsz as usize);
        // SAFETY: whole pages of a private mapping of a file that nobody wrote to; they read the same when they are
        // mapped again. Where the kernel does not do that (the vdso), it refuses.
        unsafe { libc::madvise(from as *mut _, end - from, libc::MADV_DONTNEED) };
    }
    0
}

/// Gives back the tables of sled's statistics: 41 of 512 KiB each, which sled fills with zeros when it is
/// first opened, never uses (`no_metrics`) and never frees. That is twice what all of portero may take idle.
///
/// Answers how many were found. They are recognised by what glibc writes before an allocation of that size,
/// and given back only if they hold zeros alone; they then read as zeros still, and take no memory until
/// somebody writes to them. To be called with sled closed, and while no other thread but sled's own runs;
/// otherwise it does nothing.
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
pub fn give_back_sled_tables() -> usize {
    const PAGE: usize = 4096;
    const TABLE: usize = 512 * 1024;
    /// With the allocator's head, and rounded up to pages.
    const CHUNK: usize = TABLE + PAGE;
    /// glibc's mark of an allocation that has its own mapping.
    const MAPPED: usize = 2;

    if !only_sled_beside_us() || page_bytes() != Some(PAGE) {
        return 0;
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return 0 };
    let mut given = 0;
    for (start, end) in maps.lines().filter_map(anonymous) {
        let mut at = start;
        while at + CHUNK <= end {
            // SAFETY: `at` lies in a mapping that is readable and writable, is aligned to a page, and no
            // thread runs that could unmap it.
            let head = unsafe { *((at + size_of::<usize>()) as *const usize) };
            if head != CHUNK | MAPPED {
                at += PAGE;
                continue;
            }
            let inner = at + PAGE;
            // SAFETY: the range ends at or before `end`, so it is mapped, and nothing writes to it meanwhile.
            let words = unsafe { std::slice::from_raw_parts(inner as *const u64, TABLE / 8) };
            if words.iter().all(|word| *word == 0) {
                // SAFETY: whole pages of private anonymous memory that hold zeros, which is what they read as
                // afterwards; so nothing changes for whoever owns them.
                given +=
                    usize::from(unsafe { libc::madvise(inner as *mut _, TABLE, libc::MADV_DONTNEED) } == 0);
            }
            at += CHUNK;
        }
    }
    given
}

#[cfg(not(all(target_env = "gnu", target_pointer_width = "64")))]
pub fn give_back_sled_tables() -> usize {
    0
}

/// `None`: the system does not say.
pub(super) fn page_bytes() -> Option<usize> {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

/// Whether all threads but the calling one are sled's, which have nothing to do while it is closed.
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
fn only_sled_beside_us() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return false };
    let mut others = 0;
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        others += usize::from(!name.starts_with("sled"));
    }
    others == 1
}

/// A mapping of private memory without a file, from a line of /proc/PID/maps.
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
fn anonymous(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let private = fields.next()? == "rw-p";
    let inode = fields.nth(2)?;
    let plain = private && inode == "0" && fields.next().is_none();
    let number = |hex| usize::from_str_radix(hex, 16).ok();
    plain.then_some((number(start)?, number(end)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_that_was_let_go_runs_on() {
        let text = |n: u32| format!("{n} {}", "5.25".parse::<f64>().unwrap() + f64::from(n));
        let before = text(1);
        super::give_back_code();
        super::give_back_code();
        assert_eq!(text(1), before);
    }
}
