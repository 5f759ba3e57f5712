//! Bytes on disk: frames of the journal, sealed values of the database.
//!
//! ```text
//! frame    magic u32 · payload length u32 · sequence u64 · time i64 · crc u32 · payload
//! payload  items, each: length u32 · crc u32 · postcard of one Change
//! value    version u8 · crc u32 over key, version and payload · payload
//! ```
//! Numbers are little-endian. Checksums of a segment start from the segment's own random nonce, so that
//! text which a client got into a log line can never pass for a frame, even when a damaged file is searched
//! for the next good one.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::record::{Change, Frame};
use crate::time::Timestamp;

const FRAME_MAGIC: [u8; 4] = *b"\xf7FRM";
pub(super) const FRAME_HEAD: usize = 28;
pub(super) const ITEM_HEAD: usize = 8;
/// No frame is larger; a length beyond it is damage. Bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The form of sealed values. A value of another version counts as damaged, and the database is rebuilt.
const VALUE_VERSION: u8 = 1;
/// Most sealed values are no longer. Bytes.
const SEALED_BYTES: usize = 48;

fn crc(nonce: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(nonce);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// The end of a Vec; postcard's own way of appending goes byte by byte.
struct End<'v>(&'v mut Vec<u8>);

impl Flavor for End<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the postcard form of `value`.
fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    postcard::serialize_with_flavor(value, End(out))
        .expect("every record has a postcard form, and a Vec takes it");
}

/// Appends `frame` to `out` and calls `place` with each change and its item's offset in `out`.
pub(super) fn push_frame(
    out: &mut Vec<u8>,
    nonce: u32,
    sequence: u64,
    frame: &Frame,
    mut place: impl FnMut(&Change, usize),
) {
    let start = out.len();
    out.resize(start + FRAME_HEAD, 0);
    for change in &frame.changes {
        let at = out.len();
        push_item(out, nonce, change);
        place(change, at);
    }
    seal_frame(&mut out[start..], nonce, sequence, frame.at);
}

pub(super) fn push_item(out: &mut Vec<u8>, nonce: u32, change: &Change) {
    let at = out.len();
    out.resize(at + ITEM_HEAD, 0);
    append(out, change);
    let payload = &out[at + ITEM_HEAD..];
    let (length, sum) = (payload.len() as u32, crc(nonce, &[payload]));
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Fills in the head of the frame that begins `bytes` and ends with them.
pub(super) fn seal_frame(bytes: &mut [u8], nonce: u32, sequence: u64, at: Timestamp) {
    let length = (bytes.len() - FRAME_HEAD) as u32;
    bytes[..4].copy_from_slice(&FRAME_MAGIC);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&at.micros().to_le_bytes());
    let sum = crc(nonce, &[&bytes[4..24], &bytes[FRAME_HEAD..]]);
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
}

/// A frame as it stands in a segment.
pub(super) struct RawFrame<'a> {
    pub sequence: u64,
    pub at: Timestamp,
    /// Offset of the payload in the scanned bytes.
    pub payload_at: usize,
    pub payload: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The frame that begins at `at`; `None` if there is none, or it is damaged or cut short.
pub(super) fn frame_at(bytes: &[u8], at: usize, nonce: u32) -> Option<RawFrame<'_>> {
    let head = bytes.get(at..at + FRAME_HEAD)?;
    if head[..4] != FRAME_MAGIC {
        return None;
    }
    let length = u32_at(head, 4)? as usize;
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload_at = at + FRAME_HEAD;
    let payload = bytes.get(payload_at..payload_at.checked_add(length)?)?;
    if crc(nonce, &[&head[4..24], payload]) != u32_at(head, 24)? {
        return None;
    }
    Some(RawFrame {
        sequence: u64_at(head, 8)?,
        at: Timestamp::from_micros(u64_at(head, 16)? as i64),
        payload_at,
        payload,
    })
}

/// Where in `bytes`, from `from` on, something begins that looks like a frame.
pub(super) fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find(rest, &FRAME_MAGIC).map(|found| from + found)
}

/// The items of a frame's payload: offset in the payload, and the item whole with its head.
pub(super) fn items(payload: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32_at(payload, at)? as usize;
        let item = payload.get(at..at + ITEM_HEAD + length)?;
        let found = (at, item);
        at += item.len();
        Some(found)
    })
}

/// Reads one item; `None`: cut short, damaged, or of a form unknown here.
pub(super) fn read_item(item: &[u8], nonce: u32) -> Option<Change> {
    let length = u32_at(item, 0)? as usize;
    let payload = item.get(ITEM_HEAD..ITEM_HEAD + length)?;
    if crc(nonce, &[payload]) != u32_at(item, 4)? {
        return None;
    }
    postcard::from_bytes(payload).ok()
}

/// Postcard's number of [`Change::Attempt`], which stands first in an item: evidence is skipped unread where
/// only state is wanted.
const ATTEMPT_TAG: u8 = 6;

pub(super) fn is_attempt(item: &[u8]) -> bool {
    item.get(ITEM_HEAD) == Some(&ATTEMPT_TAG)
}

/// A database value: `payload` with its version and checksum. The key is in the checksum, so that a value
/// that turns up under another key is noticed.
pub(super) fn seal_value(key: &[u8], payload: &impl Serialize) -> Vec<u8> {
    let mut value = Vec::with_capacity(SEALED_BYTES);
    value.extend_from_slice(&[VALUE_VERSION, 0, 0, 0, 0]);
    append(&mut value, payload);
    let sum = crc(0, &[key, &[VALUE_VERSION], &value[5..]]);
    value[1..5].copy_from_slice(&sum.to_le_bytes());
    value
}

/// The payload of a database value; `None` if it is not what was written.
pub(super) fn open_value<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (&version, rest) = value.split_first()?;
    let payload = rest.get(4..)?;
    (version == VALUE_VERSION && crc(0, &[key, &[version], payload]) == u32_at(rest, 0)?).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Audit, Subject};

    fn frame() -> Frame {
        let audit = Audit {
            at: Timestamp::from_secs(7),
            by: "root".into(),
            what: "unban".into(),
            target: None,
            reason: Some("a customer".into()),
            result: "lifted".into(),
        };
        let grace = Change::Grace { subject: Subject::Account("alice".into()), grace: None };
        Frame { at: Timestamp::from_secs(8), changes: vec![Change::Audit(audit), grace] }
    }

    #[test]
    fn a_frame_comes_back_and_any_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        push_frame(&mut bytes, 9, 3, &frame(), |_, at| places.push(at));
        let raw = frame_at(&bytes, 0, 9).unwrap();
        assert_eq!((raw.sequence, raw.at), (3, Timestamp::from_secs(8)));
        let read: Vec<Change> = items(raw.payload).map(|(_, item)| read_item(item, 9).unwrap()).collect();
        assert_eq!(read, frame().changes);
        assert_eq!(places.len(), 2);
        assert_eq!(read_item(&bytes[places[1]..], 9).unwrap(), frame().changes[1]);
        assert!(frame_at(&bytes, 0, 10).is_none(), "another segment's nonce");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(frame_at(&flipped, 0, 9).is_none(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(frame_at(&bytes[..length], 0, 9).is_none(), "cut to {length}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        let value = seal_value(b"one", &17u32);
        assert_eq!(open_value(b"one", &value), Some(&[17u8][..]));
        assert_eq!(open_value(b"two", &value), None);
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_value(b"one", &flipped), None, "bit {bit}");
        }
    }
}
