//! Cutting bytes into whole lines: the one rule for logs that are tailed and logs that are read once.
//!
//! A line ends with `\n` and nothing else; NUL bytes and invalid UTF-8 pass as they are. A line longer than
//! the cap keeps its first bytes and ends in [`CUT`]. However long a line is, memory is one block.

use std::io::{self, Read};

use memchr::memrchr;

/// What a line that was cut ends with, within the cap.
///
/// A client that writes a long name chooses where its line is cut. Right behind `, ip=[192.0.2.1]` of its own, the
/// line would end as a true one does, and a pattern tied to the line's end would read that address. No pattern
/// holds this text to the end of a line, but those that leave the rest of the line open still match.
pub const CUT: &[u8] = b" <cut>";

/// Cuts lines longer than `max` in the first `len` bytes of `buffer`, which are whole lines, each with its
/// `\n`. Returns how many bytes are left and how many lines were cut.
///
/// It goes in strides of `max` bytes: as long as a `\n` stands in the stride, no line that ends in it is too
/// long. So it looks at a few bytes in every 4 KiB, and the common block is not touched at all.
pub fn cut_long_lines(buffer: &mut [u8], len: usize, max: usize) -> (usize, u64) {
    let mut cut = 0;
    // `from`: where the next line begins; `to`: where it has to go, behind what was kept.
    let (mut from, mut to) = (0, 0);
    while from < len {
        let stride = (from + max + 1).min(len);
        let (kept, next) = match memrchr(b'\n', &buffer[from..stride]) {
            Some(end) => (end + 1, from + end + 1),
            None => {
                let rest = memchr::memchr(b'\n', &buffer[stride..len]);
                cut += 1;
                (max, stride + rest.map_or(len - stride, |end| end + 1))
            }
        };
        let whole = next - from == kept;
        if from != to {
            buffer.copy_within(from..from + kept, to);
        }
        to += kept;
        if !whole {
            mark_cut(&mut buffer[to - kept..to]);
            buffer[to] = b'\n';
            to += 1;
        }
        from = next;
    }
    (to, cut)
}

/// Puts [`CUT`] over the end of what was kept of a line.
pub fn mark_cut(kept: &mut [u8]) {
    if let Some(at) = kept.len().checked_sub(CUT.len()) {
        kept[at..].copy_from_slice(CUT);
    }
}

/// Whole lines of a stream that cannot be read twice. The buffer is its own.
pub struct LineReader<R> {
    reader: R,
    /// One byte longer than what is read into it: a last line without `\n` gets one.
    buffer: Vec<u8>,
    /// Lines of the block handed out last: `..ready`.
    ready: usize,
    /// Bytes read beyond the last whole line: `start..end`.
    start: usize,
    end: usize,
    /// Bytes of the unfinished line that were thrown away, since it is too long already.
    dropped: u64,
    line_bytes_max: usize,
    lines_cut: u64,
}

impl<R: Read> LineReader<R> {
    pub fn new(reader: R, block_bytes: usize, line_bytes_max: usize) -> LineReader<R> {
        // Room for a line that is too long and something of the next one.
        let size = block_bytes.max(2 * line_bytes_max + 2);
        LineReader {
            reader,
            buffer: vec![0; size + 1],
            ready: 0,
            start: 0,
            end: 0,
            dropped: 0,
            line_bytes_max,
            lines_cut: 0,
        }
    }

    /// Reads on to the next whole lines, which [`lines`](LineReader::lines) then holds. Returns how many
    /// bytes of the stream they are, before cutting; `None` at the end of the stream.
    pub fn advance(&mut self) -> io::Result<Option<u64>> {
        self.ready = 0;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let size = self.buffer.len() - 1;
        loop {
            if self.end == size {
                // No line ends in the whole buffer: keep of this one what its cut form needs.
                let keep = self.line_bytes_max + 1;
                self.dropped += (self.end - keep) as u64;
                self.end = keep;
            }
            let read = match self.reader.read(&mut self.buffer[self.end..size]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (whole, raw) = if read == 0 {
                if self.end == 0 {
                    return Ok(None);
                }
                self.buffer[self.end] = b'\n';
                let raw = self.end;
                self.start = 0;
                self.end = 0;
                (raw + 1, raw)
            } else {
                let new = self.end..self.end + read;
                self.end += read;
                match memrchr(b'\n', &self.buffer[new.clone()]) {
                    None => continue,
                    Some(at) => {
                        self.start = new.start + at + 1;
                        (self.start, self.start)
                    }
                }
            };
            let (ready, cut) = cut_long_lines(&mut self.buffer, whole, self.line_bytes_max);
            self.ready = ready;
            self.lines_cut += cut;
            return Ok(Some(raw as u64 + std::mem::take(&mut self.dropped)));
        }
    }

    /// The lines that the last [`advance`](LineReader::advance) found.
    pub fn lines(&self) -> &[u8] {
        &self.buffer[..self.ready]
    }

    pub fn lines_cut(&self) -> u64 {
        self.lines_cut
    }

    /// The stream below, to skip a part of it before the first line is read.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule, said slowly.
    fn cut_slowly(bytes: &[u8], max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for line in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n') {
            out.extend_from_slice(&line[..line.len().min(max)]);
            if line.len() > max && max >= CUT.len() {
                out.truncate(out.len() - CUT.len());
                out.extend_from_slice(CUT);
            }
            out.push(b'\n');
        }
        if bytes.is_empty() { Vec::new() } else { out }
    }

    /// Gives a few bytes at a time, as pipes do.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest! {
        #[test]
        fn lines_are_cut_at_the_cap_and_nowhere_else(
            lines in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'x'), Just(0u8), Just(0xff)], 0..40), 0..30),
            max in 1usize..20, step in 1usize..50, ended in any::<bool>(),
        ) {
            let mut bytes = lines.join(&b'\n');
            if ended && !bytes.is_empty() { bytes.push(b'\n') }
            let want = cut_slowly(&bytes, max);

            let mut reader = LineReader::new(Dribble(&bytes, step), 16, max);
            let (mut got, mut raw) = (Vec::new(), 0);
            while let Some(n) = reader.advance().unwrap() {
                got.extend_from_slice(reader.lines());
                raw += n;
            }
            prop_assert_eq!(&got, &want);
            prop_assert_eq!(raw, bytes.len() as u64);

            if bytes.ends_with(b"\n") {
                let mut copy = bytes.clone();
                let (len, _) = cut_long_lines(&mut copy, bytes.len(), max);
                prop_assert_eq!(&copy[..len], &want[..]);
            }
        }
    }

    #[test]
    fn ten_megabytes_without_a_line_end_are_one_cut_line_in_one_block_of_memory() {
        let mut bytes = vec![b'a'; 10 << 20];
        bytes.extend_from_slice(b"\nnext\n");
        let mut reader = LineReader::new(&bytes[..], 256 << 10, 4096);
        let mut got = Vec::new();
        while reader.advance().unwrap().is_some() {
            got.extend_from_slice(reader.lines());
            assert!(reader.buffer.capacity() <= (256 << 10) + 1);
        }
        assert_eq!(got.len(), 4096 + 1 + 5);
        assert!(got.ends_with(b"aa <cut>\nnext\n"));
        assert_eq!(reader.lines_cut(), 1);
    }
}
