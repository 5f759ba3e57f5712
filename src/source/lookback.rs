//! Where to begin in a log that was never read: at the lines of the last findtime.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use crate::time::Timestamp;

/// Reads the time of a line; `None` where it has none. Used to look back in a log that was never read.
pub type LineDate = Arc<dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync>;

/// Read at once. Bytes.
const CHUNK: usize = 64 << 10;
/// So far a probe looks for a line with a date, before it takes the place for one without. Bytes.
const PROBE_MAX: u64 = 1 << 20;
/// A stretch so long without any date is the log of a program that writes none. Bytes.
const UNDATED_MAX: u64 = 64 << 20;

/// The offset of the first line whose date is `since` or later, in a log of `size` bytes that is about in
/// order. Where every date is older, or no line has one, it is the end of the last whole line: lines of an
/// unknown age, taken for new, would ban people for what they did last year.
pub fn find(
    file: &impl FileExt,
    size: u64,
    since: Timestamp,
    date: &dyn Fn(&[u8]) -> Option<Timestamp>,
) -> io::Result<u64> {
    // Everything before `low` is older. `high` only guides the search: a place where no date was found
    // counts as late, and the walk at the end goes as far as it must.
    let (mut low, mut high) = (0, size);
    while high - low > 4 * CHUNK as u64 {
        let middle = low + (high - low) / 2;
        let mut found = None;
        walk(file, middle, high.min(middle + PROBE_MAX), |offset, line| {
            found = date(line).map(|time| (offset, time));
            found.is_some()
        })?;
        match found {
            Some((offset, time)) if time < since => low = offset,
            _ => high = middle,
        }
    }
    let mut found = None;
    let mut dated = low;
    walk(file, low, size, |offset, line| {
        match date(line) {
            Some(time) if time >= since => found = Some(offset),
            Some(_) => dated = offset,
            None if offset - dated > UNDATED_MAX => return true,
            None => {}
        }
        found.is_some()
    })?;
    match found {
        Some(offset) => Ok(offset),
        None => last_line_end(file, low, size),
    }
}

/// Shows `stop` every whole line that begins in `from..to`, until it says true. `from` need not be where a
/// line begins. Lines longer than a chunk are passed over.
fn walk(file: &impl FileExt, from: u64, to: u64, mut stop: impl FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    // A line begins at `from` only if the byte before it ends one.
    let (mut at, mut inside) = if from == 0 { (0, false) } else { (from - 1, true) };
    loop {
        let read = read_at(file, &mut chunk, at)?;
        let bytes = &chunk[..read];
        let mut start = 0;
        if inside {
            match memchr(b'\n', bytes) {
                Some(end) => (start, inside) = (end + 1, false),
                None => start = read,
            }
        }
        while !inside && start < read {
            if at + start as u64 >= to {
                return Ok(());
            }
            let Some(len) = memchr(b'\n', &bytes[start..]) else { break };
            if stop(at + start as u64, &bytes[start..start + len]) {
                return Ok(());
            }
            start += len + 1;
        }
        if read < chunk.len() || at + start as u64 >= to {
            return Ok(());
        }
        if start == 0 {
            // One line fills the chunk.
            inside = true;
            start = read;
        }
        at += start as u64;
    }
}

/// Where the last whole line of the first `size` bytes ends; a line begins at `known`.
fn last_line_end(file: &impl FileExt, known: u64, size: u64) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut end = size;
    while end > known {
        let start = end.saturating_sub(CHUNK as u64).max(known);
        let len = (end - start) as usize;
        let read = read_at(file, &mut chunk[..len], start)?;
        if let Some(at) = memrchr(b'\n', &chunk[..read]) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(known)
}

/// Fills the buffer, unless the file ends before.
pub fn read_at(file: &impl FileExt, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    struct Bytes(Vec<u8>, Cell<u64>);

    impl FileExt for Bytes {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = &self.0[self.0.len().min(offset as usize)..];
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            self.1.set(self.1.get() + len as u64);
            Ok(len)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            unreachable!("a log is only read")
        }
    }

    fn date(line: &[u8]) -> Option<Timestamp> {
        let digits = std::str::from_utf8(line.strip_prefix(b"@")?).ok()?;
        digits.split(' ').next()?.parse().ok().map(Timestamp::from_secs)
    }

    fn offset(log: &[u8], since: i64) -> (u64, u64) {
        let file = Bytes(log.to_vec(), Cell::new(0));
        let at = find(&file, log.len() as u64, Timestamp::from_secs(since), &date).unwrap();
        (at, file.1.get())
    }

    #[test]
    fn looking_back_finds_the_first_line_of_the_span_and_reads_little_of_a_big_log() {
        let mut log = Vec::new();
        let mut want = 0;
        for second in 0..400_000 {
            if second == 399_000 {
                want = log.len() as u64;
            }
            log.extend_from_slice(format!("@{second} something happened again\n").as_bytes());
            // Stretches without a date, as stack traces are.
            if second % 50_000 == 49_999 {
                log.extend_from_slice(&b"\tat some.java.Thing\n".repeat(30_000));
            }
        }
        let (at, read) = offset(&log, 399_000);
        assert_eq!(at, want);
        assert!(read < log.len() as u64 / 2, "{read} of {}", log.len());
        assert_eq!(offset(&log, 0).0, 0);
        assert_eq!(offset(&log, 400_000).0, log.len() as u64);
        log.extend_from_slice(b"@500000 unfinis");
        assert_eq!(offset(&log, 400_000).0, log.len() as u64 - 15);
    }

    #[test]
    fn a_log_without_any_date_is_begun_at_its_end() {
        assert_eq!(offset(&b"no date here\n".repeat(100_000), 5).0, 1_300_000);
        assert_eq!(offset(b"", 5).0, 0);
        assert_eq!(offset(b"\n\n\nx", 5).0, 3);
        assert_eq!(offset(&b"x".repeat(1 << 20), 5).0, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn looking_back_is_right_wherever_dates_are_missing(
            lines in prop::collection::vec((0i64..3, any::<bool>(), 0usize..3000), 0..500), since in 0i64..500,
        ) {
            let (mut log, mut now, mut want) = (Vec::new(), 0, None);
            for (step, dated, width) in lines {
                now += step;
                if dated && now >= since && want.is_none() { want = Some(log.len() as u64) }
                if dated { log.extend_from_slice(format!("@{now} ").as_bytes()) }
                log.extend(std::iter::repeat_n(b'x', width));
                log.push(b'\n');
            }
            prop_assert_eq!(offset(&log, since).0, want.unwrap_or(log.len() as u64));
        }
    }
}
