//! Logs read once from their beginning to their end, compressed or not: for `banctl scan` and `replay`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SourceError;
use super::lines::LineReader;
use super::packed;
use crate::limits::Limits;

/// A log being read from its first byte to its last. Its lines are cut exactly as the daemon cuts them.
pub struct OfflineLog {
    path: PathBuf,
    reader: LineReader<Box<dyn Read + Send>>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl OfflineLog {
    /// Opens a log: plain, .gz, .xz or .zst as its first bytes tell, or standard input for `-`.
    ///
    /// # Errors
    /// `Open`: not there, not to be read, a directory, or packed in a way that is not known here.
    pub fn open(path: &Path, limits: &Limits) -> Result<OfflineLog, SourceError> {
        let read = Arc::new(AtomicU64::new(0));
        let (input, total) =
            open(path, &read).map_err(|source| SourceError::Open { path: path.to_owned(), source })?;
        let reader = LineReader::new(input, limits.block_bytes, limits.line_bytes_max);
        Ok(OfflineLog { path: path.to_owned(), reader, read, total })
    }

    /// The next whole lines, each ended by `\n`, none longer than the cap; `None` at the end.
    ///
    /// # Errors
    /// `Read`: the disk, or a compressed file that is cut short or damaged; what stands before the damage
    /// has come out already.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, SourceError> {
        match self.reader.advance() {
            Ok(Some(_)) => Ok(Some(self.reader.lines())),
            Ok(None) => Ok(None),
            Err(source) => Err(SourceError::Read { path: self.path.clone(), source }),
        }
    }

    /// Lines cut at the cap so far.
    pub fn lines_cut(&self) -> u64 {
        self.reader.lines_cut()
    }

    /// Bytes read from the file as it is on the disk, and how many there are, if that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.read.load(Ordering::Relaxed), self.total)
    }
}

/// The bytes of a log as [`OfflineLog::open`] takes it, not cut into lines.
///
/// # Errors
/// As there.
pub fn unpacked(path: &Path) -> Result<Box<dyn Read + Send>, SourceError> {
    let opened = open(path, &Arc::default());
    opened.map(|(input, _)| input).map_err(|source| SourceError::Open { path: path.to_owned(), source })
}

/// A log's bytes, counted in `read` as they come from the disk, and how many these are, if that is known.
fn open(path: &Path, read: &Arc<AtomicU64>) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((packed::unpack(Box::new(Counted(io::stdin(), read.clone())))?, None));
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let input = packed::unpack(Box::new(Counted(file, read.clone())))?;
    Ok((input, meta.is_file().then_some(meta.len())))
}

/// Counts what is read from the disk, below a decompressor.
struct Counted<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use liblzma::write::XzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| format!("Nov 21 10:00:00 mx1 smtpd[1]: line {n}\n").into_bytes()).collect()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(bytes: &[u8]) -> (Vec<u8>, u64, Option<SourceError>) {
        let dir = tempfile::tempdir().unwrap();
        // The name says nothing on purpose.
        let path = dir.path().join("log");
        std::fs::write(&path, bytes).unwrap();
        let mut log = OfflineLog::open(&path, &Limits::default()).unwrap();
        let mut out = Vec::new();
        loop {
            match log.next_block() {
                Ok(Some(block)) => out.extend_from_slice(block),
                Ok(None) => return (out, log.lines_cut(), None),
                Err(error) => return (out, log.lines_cut(), Some(error)),
            }
        }
    }

    #[test]
    fn a_log_reads_the_same_plain_and_in_every_packing() {
        let plain = lines(20_000);
        let (first, second) = plain.split_at(500_000);
        let mut xz = XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zst = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        for (name, packed) in [
            ("plain", plain.clone()),
            ("gz", gz(&plain)),
            ("gz of two members", [gz(first), gz(second)].concat()),
            ("xz", xz.finish().unwrap()),
            ("zst", zst(&plain)),
            ("zst of several frames", [skippable, zst(first), zst(second)].concat()),
        ] {
            let (got, _, error) = read_all(&packed);
            assert!(error.is_none(), "{name}: {error:?}");
            assert!(got == plain, "{name}: {} bytes", got.len());
        }
    }

    #[test]
    fn a_compressed_log_cut_short_gives_what_is_left_and_then_the_error() {
        let plain = lines(50_000);
        let packed = gz(&plain);
        let (got, _, error) = read_all(&packed[..packed.len() / 2]);
        assert!(plain.starts_with(&got) && got.len() > 100_000, "{}", got.len());
        assert!(matches!(error, Some(SourceError::Read { .. })), "{error:?}");
    }

    #[test]
    fn a_last_line_without_its_end_is_a_line_and_a_long_one_is_cut() {
        let long = [&b"a".repeat(5000)[..], b"\nb\0\xff\nc"].concat();
        let (got, cut, _) = read_all(&long);
        assert_eq!(got, [&b"a".repeat(4090)[..], b" <cut>\nb\0\xff\nc\n"].concat());
        assert_eq!(cut, 1);
        assert_eq!(read_all(b"").0, b"");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        assert!(OfflineLog::open(dir.path(), &limits).is_err());
        assert!(OfflineLog::open(&dir.path().join("none"), &limits).is_err());
        let path = dir.path().join("log.bz2");
        std::fs::write(&path, b"BZh91AY&SY").unwrap();
        let error = OfflineLog::open(&path, &limits).err().unwrap().to_string();
        assert!(error.contains("bzcat"), "{error}");
    }
}
