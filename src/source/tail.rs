//! One file that grows.
//!
//! A block is read with `pread` at the offset where the next line begins, and ends with the last whole line
//! in it. The unfinished rest is not kept: the next read finds it again. So there is no state but the offset,
//! the position is exact at any moment, and one buffer serves all files.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

use memchr::{memchr, memrchr};

use super::checkpoint::{FilePosition, HEAD_BYTES_MAX, fingerprint};
use super::lines::{LineReader, cut_long_lines, mark_cut};
use super::packed;
use crate::limits::Limits;

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Whole lines: so many bytes of the buffer, or, `None`, those in [`Tail::unpacked_lines`]. Perhaps no byte.
    Lines(Option<usize>),
    /// No further whole line for now.
    End,
    /// The file was emptied, and perhaps filled again: what was read so far is no longer in it.
    Truncated,
}

enum Input {
    Plain(File),
    /// A compressed file, and how much of what it holds was read before.
    Packed {
        lines: Box<LineReader<Box<dyn Read + Send>>>,
        skip: u64,
    },
}

pub struct Tail {
    input: Input,
    at: FilePosition,
    /// Bytes known to belong to the line at the offset, none of them its end; 0 while it is not too long.
    long: u64,
    /// Up to here the file was looked at.
    seen: u64,
    mtime: (i64, i64),
    /// Whether there may be unread lines.
    dirty: bool,
    /// Whether the end was reached at least once.
    reached_end: bool,
    lines_cut: u64,
    line_bytes_max: usize,
}

impl Tail {
    /// An open file, to be read from its first byte.
    pub fn new(file: File, meta: &Metadata, limits: &Limits) -> io::Result<Tail> {
        let at = FilePosition { device: meta.dev(), inode: meta.ino(), ..FilePosition::default() };
        let mut tail = Tail {
            input: Input::Plain(file),
            at: FilePosition { head: fingerprint(b""), ..at },
            long: 0,
            seen: 0,
            mtime: (meta.mtime(), meta.mtime_nsec()),
            dirty: true,
            reached_end: false,
            lines_cut: 0,
            line_bytes_max: limits.line_bytes_max,
        };
        tail.head_is_the_same()?;
        Ok(tail)
    }

    /// A compressed file. `head`: the first bytes of what it holds.
    pub fn packed(file: File, meta: &Metadata, head: &[u8], limits: &Limits) -> io::Result<Tail> {
        let input = packed::unpack_file(file.try_clone()?)?;
        let lines = Box::new(LineReader::new(input, limits.block_bytes, limits.line_bytes_max));
        let mut tail = Tail::new(file, meta, limits)?;
        tail.input = Input::Packed { lines, skip: 0 };
        tail.at.head = fingerprint(head);
        tail.at.head_len = head.len() as u8;
        Ok(tail)
    }

    /// Goes on where it was left.
    pub fn resume_at(&mut self, offset: u64) {
        self.at.offset = offset;
        self.seen = offset;
        if let Input::Packed { skip, .. } = &mut self.input {
            *skip = offset;
        }
    }

    /// Begins again: the file was emptied.
    pub fn restart(&mut self) -> io::Result<()> {
        self.at = FilePosition { head: fingerprint(b""), head_len: 0, offset: 0, ..self.at };
        (self.long, self.seen) = (0, 0);
        (self.dirty, self.reached_end) = (true, false);
        self.head_is_the_same().map(|_| ())
    }

    /// Takes what was written since into the fingerprint: the file may have to be found under another name. False:
    /// it begins otherwise, since it was emptied.
    pub fn learn_head(&mut self) -> bool {
        // A file that cannot be read is the next read's business.
        self.is_packed() || self.head_is_the_same().unwrap_or(true)
    }

    pub fn position(&self) -> &FilePosition {
        &self.at
    }

    pub fn is(&self, meta: &Metadata) -> bool {
        self.at.device == meta.dev() && self.at.inode == meta.ino()
    }

    /// Whether it is the file that a position names.
    pub fn is_at(&self, at: &FilePosition) -> bool {
        (self.at.device, self.at.inode) == (at.device, at.inode)
    }

    pub fn is_packed(&self) -> bool {
        matches!(self.input, Input::Packed { .. })
    }

    pub fn file(&self) -> Option<&File> {
        match &self.input {
            Input::Plain(file) => Some(file),
            Input::Packed { .. } => None,
        }
    }

    pub fn unpacked_lines(&self) -> &[u8] {
        match &self.input {
            Input::Plain(_) => b"",
            Input::Packed { lines, .. } => lines.lines(),
        }
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Something may have been written.
    pub fn touch(&mut self) {
        self.dirty = true;
    }

    pub fn give_up(&mut self) {
        self.dirty = false;
    }

    pub fn reached_end(&self) -> bool {
        self.reached_end
    }

    pub fn lines_cut(&self) -> u64 {
        self.lines_cut
    }

    /// The file's state as the file system tells it now.
    pub fn metadata(&self) -> Option<Metadata> {
        self.file().and_then(|file| file.metadata().ok())
    }

    /// Compares the file with what was seen of it; marks it when there may be something to read.
    pub fn poll(&mut self, meta: &Metadata) {
        let mtime = (meta.mtime(), meta.mtime_nsec());
        if meta.len() != self.seen || mtime != self.mtime {
            self.dirty = true;
            self.mtime = mtime;
        }
    }

    /// Reads on. `buffer`: one block and one byte more.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        match &mut self.input {
            Input::Packed { .. } => self.read_packed(),
            Input::Plain(_) => self.read_plain(buffer),
        }
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        let block = buffer.len() - 1;
        let from = self.at.offset + self.long;
        let read = self.pread(&mut buffer[..block], from)?;
        // After reading, not before: a head that still fits says that what was read is not from a file that
        // was emptied and filled again in between.
        if !self.head_is_the_same()? || (read == 0 && self.length()? < self.seen.max(from)) {
            return Ok(Step::Truncated);
        }
        self.seen = from + read as u64;
        if read < block {
            self.dirty = false;
            self.reached_end = true;
        }
        if self.long > 0 {
            return self.read_long(buffer, read);
        }
        let Some(end) = memrchr(b'\n', &buffer[..read]) else {
            if read > self.line_bytes_max {
                self.long = read as u64;
            }
            return Ok(if read == block { Step::Lines(Some(0)) } else { Step::End });
        };
        let (len, cut) = cut_long_lines(buffer, end + 1, self.line_bytes_max);
        self.at.offset += end as u64 + 1;
        self.lines_cut += cut;
        Ok(Step::Lines(Some(len)))
    }

    /// Looks for the end of a line that is too long in the `read` bytes that follow what is known of it.
    fn read_long(&mut self, buffer: &mut [u8], read: usize) -> io::Result<Step> {
        let Some(end) = memchr(b'\n', &buffer[..read]) else {
            self.long += read as u64;
            return Ok(if self.dirty { Step::Lines(Some(0)) } else { Step::End });
        };
        let next = self.at.offset + self.long + end as u64 + 1;
        let max = self.line_bytes_max;
        let len = self.pread(&mut buffer[..max], self.at.offset)?;
        mark_cut(&mut buffer[..len]);
        buffer[len] = b'\n';
        (self.at.offset, self.long) = (next, 0);
        self.lines_cut += 1;
        // What follows it in the buffer is overwritten: it is read again.
        self.dirty = true;
        Ok(Step::Lines(Some(len + 1)))
    }

    fn read_packed(&mut self) -> io::Result<Step> {
        let Input::Packed { lines, skip } = &mut self.input else { return Ok(Step::End) };
        if *skip > 0 {
            let some = (*skip).min(4 << 20);
            let skipped = io::copy(&mut lines.get_mut().take(some), &mut io::sink())?;
            *skip = if skipped < some { 0 } else { *skip - some };
            return Ok(Step::Lines(Some(0)));
        }
        match lines.advance()? {
            Some(bytes) => {
                self.at.offset += bytes;
                self.lines_cut = lines.lines_cut();
                Ok(Step::Lines(None))
            }
            None => {
                self.dirty = false;
                self.reached_end = true;
                Ok(Step::End)
            }
        }
    }

    /// The last line of a file that will not grow, if it has no `\n`: returns its length in the buffer, where
    /// it has one.
    pub fn finish(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let len = self.pread(&mut buffer[..self.line_bytes_max + 1], self.at.offset)?;
        let end = self.length()?;
        if len == 0 || end <= self.at.offset || memchr(b'\n', &buffer[..len]).is_some() {
            return Ok(None);
        }
        let kept = len.min(self.line_bytes_max);
        buffer[kept] = b'\n';
        self.lines_cut += u64::from(kept < len);
        self.at.offset = end;
        (self.long, self.seen) = (0, end);
        Ok(Some(kept + 1))
    }

    /// Bytes that are not read yet, a line being written among them.
    pub fn lag_bytes(&self) -> u64 {
        self.length().unwrap_or(0).saturating_sub(self.at.offset)
    }

    fn length(&self) -> io::Result<u64> {
        match &self.input {
            Input::Plain(file) => Ok(file.metadata()?.len()),
            Input::Packed { .. } => Ok(self.at.offset),
        }
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.input {
            Input::Plain(file) => loop {
                match file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Input::Packed { .. } => Ok(0),
        }
    }

    /// Whether the file begins as it did; takes more of the beginning into the fingerprint once there is more.
    fn head_is_the_same(&mut self) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES_MAX];
        let len = self.pread(&mut head, 0)?;
        if !self.at.head_fits(&head[..len]) {
            return Ok(false);
        }
        if len > usize::from(self.at.head_len) {
            self.at.head = fingerprint(&head[..len]);
            self.at.head_len = len as u8;
        }
        Ok(true)
    }
}
