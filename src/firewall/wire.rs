//! Netlink messages as bytes: header, attributes, answers. Pure; shared by nftables and the closing of sockets.
//!
//! Source: linux/netlink.h. Headers are in host byte order; what nf_tables puts into attributes is big-endian.

/// Set on attributes that hold attributes.
const NESTED: u16 = 0x8000;
/// Bytes of `struct nlmsghdr`.
pub const HEADER_BYTES: usize = 16;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_DUMP_INTR: u16 = 0x10;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_CREATE: u16 = 0x400;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// Writes messages one after the other into one buffer.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

/// Where a message or nested attribute began; closing it writes its length.
#[derive(Debug)]
#[must_use = "an open message or nest has no length yet"]
pub struct Open(usize);

impl Writer {
    /// Begins a message with its header; the length follows at [`Writer::end_message`].
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32) -> Open {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        Open(start)
    }

    pub fn end_message(&mut self, open: Open) {
        let length = (self.bytes.len() - open.0) as u32;
        self.bytes[open.0..open.0 + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("no attribute of ours is longer than 64 KiB");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A string attribute, closed by a NUL.
    pub fn text(&mut self, kind: u16, value: &str) {
        let length = u16::try_from(value.len() + 5).expect("names are short");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub fn nest(&mut self, kind: u16) -> Open {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        Open(start)
    }

    pub fn end_nest(&mut self, open: Open) {
        let length = u16::try_from(self.bytes.len() - open.0).expect("nests are cut before 64 KiB");
        self.bytes[open.0..open.0 + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// One message out of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    /// Of the socket that caused it; 0: the kernel.
    pub port: u32,
    /// All after the header.
    pub payload: &'a [u8],
}

/// The messages of a datagram; ends early at anything malformed.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        if length < HEADER_BYTES || length > bytes.len() {
            return None;
        }
        let (message, rest) = (&bytes[..length], bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]));
        bytes = rest;
        Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            seq: u32_at(message, 8)?,
            port: u32_at(message, 12)?,
            payload: &message[HEADER_BYTES..],
        })
    })
}

/// The attributes of a payload, type (without its flag bits) and value; ends early at anything malformed.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        if length < 4 || length > bytes.len() {
            return None;
        }
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = &bytes[4..length];
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// What an NLMSG_ERROR message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Of the message that is answered.
    pub seq: u32,
    /// 0: done.
    pub errno: i32,
    /// Byte in that message, counted from its header, that was refused.
    pub offset: Option<usize>,
}

/// Reads an NLMSG_ERROR message; `None` if it is cut short.
pub fn answer(message: &Message<'_>) -> Option<Answer> {
    const ATTR_OFFSET: u16 = 2;
    let errno = -(u32_at(message.payload, 0)? as i32);
    let mut details = message.payload.get(4 + HEADER_BYTES..)?;
    if message.flags & NLM_F_CAPPED == 0 && errno != 0 {
        let echoed = u32_at(message.payload, 4)? as usize;
        details = message.payload.get(4 + echoed.next_multiple_of(4)..).unwrap_or(&[]);
    }
    let offset = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| attributes(details).find(|(kind, _)| *kind == ATTR_OFFSET))
        .flatten()
        .and_then(|(_, value)| u32_at(value, 0));
    Some(Answer { seq: message.seq, errno, offset: offset.map(|at| at as usize) })
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

pub fn be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(..8)?.try_into().ok()?))
}

/// A string attribute without its NUL.
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Writer::default();
        let message = out.message(7, 5, 42);
        out.text(1, "abc");
        let nest = out.nest(2);
        out.be32(3, 9);
        out.end_nest(nest);
        out.end_message(message);
        let read: Vec<Message<'_>> = messages(&out.bytes).collect();
        assert_eq!((read.len(), read[0].kind, read[0].flags, read[0].seq), (1, 7, 5, 42));
        let attrs: Vec<(u16, &[u8])> = attributes(read[0].payload).collect();
        assert_eq!(text(attrs[0].1), Some("abc"));
        assert_eq!(
            attributes(attrs[1].1).map(|(kind, value)| (kind, be32(value))).next(),
            Some((3, Some(9)))
        );
    }

    #[test]
    fn garbage_from_the_wire_ends_the_reading_and_nothing_else() {
        assert_eq!(messages(&[255; 40]).count(), 0);
        assert_eq!(messages(&[3, 0, 0, 0, 1]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 1]).count(), 0);
        let short = Message { kind: NLMSG_ERROR, flags: 0, seq: 1, port: 0, payload: &[1, 2] };
        assert_eq!(answer(&short), None);
    }
}
