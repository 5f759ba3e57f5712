//! One file of the journal: a header (twice, since a lost nonce would lose the file), then frames.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::codec::{ITEM_HEAD, RawFrame, frame_at, next_magic, read_item};
use super::record::{Change, EVIDENCE_LINE_BYTES_MAX};
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"PORTEROJ";
const VERSION: u16 = 1;
const THINNED: u16 = 1;
const COPY: usize = 48;
/// Frames begin here.
pub(super) const HEADER_BYTES: usize = 2 * COPY;

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Checksums start from here.
    pub nonce: u32,
    /// Sequence number of the first frame.
    pub first: u64,
    pub created: Timestamp,
    /// Evidence has been taken out: frames may be missing.
    pub thinned: bool,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut copy = [0u8; COPY];
        copy[..8].copy_from_slice(MAGIC);
        copy[8..10].copy_from_slice(&VERSION.to_le_bytes());
        copy[10..12].copy_from_slice(&(if self.thinned { THINNED } else { 0 }).to_le_bytes());
        copy[12..16].copy_from_slice(&self.nonce.to_le_bytes());
        copy[16..24].copy_from_slice(&self.first.to_le_bytes());
        copy[24..32].copy_from_slice(&self.created.micros().to_le_bytes());
        let sum = crc32fast::hash(&copy[..COPY - 4]);
        copy[COPY - 4..].copy_from_slice(&sum.to_le_bytes());
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[..COPY].copy_from_slice(&copy);
        bytes[COPY..].copy_from_slice(&copy);
        bytes
    }

    /// `None`: both copies are damaged, cut short, or of another version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Header> {
        bytes.get(..HEADER_BYTES)?.chunks_exact(COPY).find_map(|copy| {
            let two = |at: usize| u16::from_le_bytes([copy[at], copy[at + 1]]);
            let eight = |at: usize| u64::from_le_bytes(copy[at..at + 8].try_into().expect("8 bytes of 48"));
            let sum = crc32fast::hash(&copy[..COPY - 4]).to_le_bytes();
            (&copy[..8] == MAGIC && copy[COPY - 4..] == sum && two(8) == VERSION).then(|| Header {
                nonce: u32::from_le_bytes(copy[12..16].try_into().expect("4 bytes of 48")),
                first: eight(16),
                created: Timestamp::from_micros(eight(24) as i64),
                thinned: two(10) & THINNED != 0,
            })
        })
    }

    pub(super) fn read(path: &Path) -> io::Result<Option<Header>> {
        let mut bytes = [0u8; HEADER_BYTES];
        match File::open(path)?.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Header::from_bytes(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Makes a new segment, its header and its name in the directory durable.
pub(super) fn create(path: &Path, header: Header) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let made = file
        .write_all_at(&header.to_bytes(), 0)
        .and_then(|()| file.sync_data())
        .and_then(|()| sync_dir(path.parent().unwrap_or(Path::new("."))));
    if let Err(error) = made {
        // An empty shell would look like a torn segment at the next start.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What reading a segment found beside its frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where the last good frame ends: what follows is a torn write, or nothing.
    pub end: usize,
    /// Pieces in between that are no good frames.
    pub damaged: Vec<Range<usize>>,
    /// Highest sequence number seen.
    pub last: Option<u64>,
    pub last_at: Option<Timestamp>,
}

/// Calls `sink` with each good frame of a whole segment, in order. Past a damaged piece it goes on at the
/// next good frame.
pub(super) fn scan<'a>(bytes: &'a [u8], header: Header, mut sink: impl FnMut(RawFrame<'a>)) -> Scan {
    let mut report = Scan { end: HEADER_BYTES.min(bytes.len()), ..Scan::default() };
    let mut at = report.end;
    while at < bytes.len() {
        // A frame out of order is a left-over of a failed write, not a part of the journal.
        let fits =
            |frame: &RawFrame<'_>| frame.sequence >= header.first && report.last < Some(frame.sequence);
        match frame_at(bytes, at, header.nonce).filter(fits) {
            Some(frame) => {
                if at > report.end {
                    report.damaged.push(report.end..at);
                }
                at = frame.payload_at + frame.payload.len();
                report.end = at;
                report.last = Some(frame.sequence);
                report.last_at = Some(frame.at);
                sink(frame);
            }
            None => match next_magic(bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    report
}

/// Reads the item at `offset`.
///
/// # Errors
/// The file cannot be read. A damaged item is `Ok(None)`.
pub(super) fn item_at(file: &File, offset: u64, nonce: u32) -> io::Result<Option<Change>> {
    // Holds an attempt with its longest line, so that one read is enough for nearly all.
    let mut bytes = vec![0u8; EVIDENCE_LINE_BYTES_MAX + 512];
    let mut have = read_up_to(file, &mut bytes, offset)?;
    if have < ITEM_HEAD {
        return Ok(None);
    }
    let length = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes")) as usize;
    if ITEM_HEAD + length > have {
        if length as u64 > file.metadata()?.len() {
            return Ok(None);
        }
        bytes.resize(ITEM_HEAD + length, 0);
        have = read_up_to(file, &mut bytes, offset)?;
    }
    Ok(read_item(&bytes[..have], nonce))
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::push_frame;
    use crate::store::record::{Frame, Subject};

    fn segment(frames: u64) -> (Header, Vec<u8>, Vec<usize>) {
        let header = Header { nonce: 77, first: 5, created: Timestamp::from_secs(1), thinned: false };
        let mut bytes = header.to_bytes().to_vec();
        let mut ends = Vec::new();
        for n in 0..frames {
            let name = "x".repeat(n as usize + 1);
            let grace = Change::Grace { subject: Subject::Account(name), grace: None };
            let frame = Frame { at: Timestamp::from_secs(n as i64), changes: vec![grace] };
            push_frame(&mut bytes, 77, 5 + n, &frame, |_, _| {});
            ends.push(bytes.len());
        }
        (header, bytes, ends)
    }

    fn sequences(bytes: &[u8], header: Header) -> (Vec<u64>, Scan) {
        let mut seen = Vec::new();
        let scan = scan(bytes, header, |frame| seen.push(frame.sequence));
        (seen, scan)
    }

    #[test]
    fn a_last_frame_torn_at_any_byte_is_cut_off_and_the_others_stay() {
        let (header, bytes, ends) = segment(3);
        for cut in ends[1]..ends[2] {
            let (seen, scan) = sequences(&bytes[..cut], header);
            assert_eq!((seen, scan.end), (vec![5, 6], ends[1]), "cut at {cut}");
            assert!(scan.damaged.is_empty());
        }
        // A torn write may also leave zeros where the file had grown already.
        let mut zeros = bytes[..ends[1] + 9].to_vec();
        zeros.resize(ends[2] + 4096, 0);
        assert_eq!(sequences(&zeros, header).1.end, ends[1]);
    }

    #[test]
    fn every_flipped_bit_costs_one_frame_at_most_and_is_reported() {
        let (header, bytes, ends) = segment(3);
        for bit in HEADER_BYTES * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (seen, scan) = sequences(&flipped, header);
            let hit = ends.iter().position(|end| bit / 8 < *end).unwrap() as u64;
            let want: Vec<u64> = (5..8).filter(|sequence| *sequence != 5 + hit).collect();
            assert_eq!(seen, want, "bit {bit}");
            assert!(!scan.damaged.is_empty() || scan.end < bytes.len(), "bit {bit} is not reported");
        }
    }

    #[test]
    fn one_damaged_header_is_mended_by_the_other() {
        let (header, bytes, _) = segment(1);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::from_bytes(&flipped), Some(header), "bit {bit}");
        }
    }

    #[test]
    fn a_forged_frame_in_a_log_line_is_not_taken_when_the_file_is_damaged() {
        let (header, mut bytes, ends) = segment(1);
        let mut forged = Vec::new();
        let grace = Change::Grace { subject: Subject::Account("mallory".into()), grace: None };
        push_frame(
            &mut forged,
            0,
            6,
            &Frame { at: Timestamp::from_secs(1), changes: vec![grace] },
            |_, _| {},
        );
        bytes.truncate(ends[0] - 1);
        bytes.extend_from_slice(&forged);
        assert_eq!(sequences(&bytes, header).0, Vec::<u64>::new());
    }
}
