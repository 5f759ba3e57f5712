//! Compressed logs, told by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Read from the disk at once. Bytes.
const INPUT_BYTES: usize = 64 << 10;
/// What an .xz file may ask of our memory; `xz -9` needs 65 MiB. Bytes.
const XZ_MEMORY_MAX: u64 = 256 << 20;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
    /// Known, so that it is not read as text, but not decompressed here.
    Bzip2,
}

/// Tells the packing from a file's first bytes (6 are enough).
///
/// Source: RFC 1952 2.3.1, the xz file format 2.1.1.1, RFC 8878 3.1, the bzip2 header `BZh1` to `BZh9`.
pub fn detect(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Packing::Bzip2,
        _ => Packing::Plain,
    }
}

/// Whether a file's name says that it is compressed: such a file is no log that grows.
pub fn named_packed(name: &[u8]) -> bool {
    strip_packed(name).len() != name.len()
}

/// A name without the ending that compressing gave it.
pub fn strip_packed(name: &[u8]) -> &[u8] {
    [&b".gz"[..], b".xz", b".zst", b".bz2", b".Z", b".lz4", b".zip"]
        .iter()
        .find_map(|ending| name.strip_suffix(*ending))
        .unwrap_or(name)
}

/// Any log as plain bytes, from a reader at its first byte.
///
/// # Errors
/// The first bytes cannot be read, or they are bzip2's.
pub fn unpack(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = [0; 6];
    let mut len = 0;
    while len < head.len() {
        match reader.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = Cursor::new(head).take(len as u64).chain(reader);
    Ok(match detect(&head[..len]) {
        Packing::Plain => Box::new(whole),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(INPUT_BYTES, whole))),
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED)?;
            Box::new(XzDecoder::new_stream(BufReader::with_capacity(INPUT_BYTES, whole), stream))
        }
        Packing::Zstd => Box::new(ZstdFrames {
            input: BufReader::with_capacity(INPUT_BYTES, whole),
            decoder: FrameDecoder::new(),
            inside: false,
        }),
        Packing::Bzip2 => {
            let help = "bzip2 is not read here; pipe it in: bzcat FILE | banctl scan -";
            return Err(io::Error::new(io::ErrorKind::Unsupported, help));
        }
    })
}

/// A file from its first byte as plain bytes; without a detour if it is plain.
pub fn unpack_file(file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut head = [0; 6];
    // What cannot be read at a place (a pipe, a terminal) is looked at while it streams.
    match file.read_at(&mut head, 0) {
        Ok(len) if detect(&head[..len]) == Packing::Plain => Ok(Box::new(file)),
        _ => unpack(Box::new(file)),
    }
}

/// All frames of a zstd file, one after the other: the decoder knows single frames only, and appending to a
/// compressed log makes another.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        loop {
            if !self.inside {
                if self.input.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                match self.decoder.reset(&mut self.input) {
                    Ok(()) => self.inside = true,
                    Err(Header(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                        io::copy(&mut (&mut self.input).take(length.into()), &mut io::sink())?;
                        continue;
                    }
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.inside = false;
        }
    }
}
