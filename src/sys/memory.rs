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

#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
fn page_bytes() -> Option<usize> {
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
