//! Batches: the bytes of one transaction. Pure; the tests compare them byte by byte.
//!
//! Sets and elements are written here, by hand, because nftnl's safe interface has no timeouts and no intervals;
//! chains and rules come from [`super::ruleset`] as finished messages.
//!
//! Source: linux/netfilter/nf_tables.h, nfnetlink.h.

use std::net::IpAddr;
use std::time::Duration;

use super::TABLE;
use super::layout::SetDef;
use crate::firewall::wire::{self, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, Writer};
use crate::time::Span;

const NFPROTO_INET: u8 = 1;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

pub const NFT_MSG_NEWTABLE: u8 = 0;
pub const NFT_MSG_GETTABLE: u8 = 1;
pub const NFT_MSG_DELTABLE: u8 = 2;
#[cfg(test)]
pub const NFT_MSG_NEWCHAIN: u8 = 3;
pub const NFT_MSG_GETCHAIN: u8 = 4;
pub const NFT_MSG_DELCHAIN: u8 = 5;
pub const NFT_MSG_NEWRULE: u8 = 6;
pub const NFT_MSG_GETRULE: u8 = 7;
pub const NFT_MSG_DELRULE: u8 = 8;
pub const NFT_MSG_NEWSET: u8 = 9;
pub const NFT_MSG_GETSET: u8 = 10;
pub const NFT_MSG_DELSET: u8 = 11;
pub const NFT_MSG_NEWSETELEM: u8 = 12;
pub const NFT_MSG_GETSETELEM: u8 = 13;
pub const NFT_MSG_DELSETELEM: u8 = 14;
pub const NFT_MSG_NEWGEN: u8 = 15;
/// Deletes what may be absent; kernel 6.3.
pub const NFT_MSG_DESTROYSETELEM: u8 = 30;

/// An attribute's nest holds at most 65,535 bytes; a message is closed before its elements get there.
const ELEMENT_BYTES_MAX: usize = 60_000;
/// Shorter times are rounded up to this: 0 would mean for ever.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longer times are cut to a hundred years, which every kernel takes.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
/// How often the kernel frees what has run out. Running out itself is exact; the kernel's own choice of one second
/// would walk a million elements each second.
const GC_INTERVAL: Duration = Duration::from_secs(30);

/// The message type as it stands in the header.
pub fn kind(message: u8) -> u16 {
    u16::from_be_bytes([NFNL_SUBSYS_NFTABLES, message])
}

/// Writes the `struct nfgenmsg` of our family.
fn generic_header(out: &mut Writer) {
    out.bytes.extend_from_slice(&[NFPROTO_INET, 0, 0, 0]);
}

/// A request to read, outside of any batch. With no `set`: all objects of that kind in our table (chains: in the family).
pub fn request(message: u8, flags: u16, seq: u32, set: Option<&str>) -> Vec<u8> {
    let mut out = Writer::default();
    let open = out.message(kind(message), NLM_F_REQUEST | flags, seq);
    generic_header(&mut out);
    // The table's name is attribute 1 of tables, chains, rules, sets and elements alike.
    out.text(1, TABLE);
    if let Some(set) = set {
        out.text(2, set);
    }
    out.end_message(open);
    out.bytes
}

/// The element of one address, asked for by itself.
pub fn request_element(seq: u32, set: &str, key: IpAddr) -> Vec<u8> {
    let mut out = Writer::default();
    let open = out.message(kind(NFT_MSG_GETSETELEM), NLM_F_REQUEST, seq);
    generic_header(&mut out);
    out.text(1, TABLE);
    out.text(2, set);
    let list = out.nest(3);
    write_element(&mut out, &Element::remove(key));
    out.end_nest(list);
    out.end_message(open);
    out.bytes
}

/// What a batch does with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Add,
    /// An absent element fails the batch.
    Delete,
    /// An absent element is fine; kernel 6.3.
    Destroy,
}

/// One element of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    pub key: IpAddr,
    /// What is left; `None` writes no time: for ever, or where time has no meaning.
    pub left: Option<Duration>,
    /// Marks the address after an interval's last.
    pub interval_end: bool,
    pub comment: Option<&'a str>,
}

impl Element<'_> {
    /// A ban of one key.
    pub fn ban(key: IpAddr, left: Span) -> Element<'static> {
        let left = match left {
            Span::For(left) => Some(left),
            Span::Forever => None,
        };
        Element { key, left, interval_end: false, comment: None }
    }

    /// A key alone.
    pub fn remove(key: IpAddr) -> Element<'static> {
        Element { key, left: None, interval_end: false, comment: None }
    }

    /// The end of an interval whose last address lies before `key`.
    pub fn end(key: IpAddr) -> Element<'static> {
        Element { key, left: None, interval_end: true, comment: None }
    }

    /// Bytes it takes in a message.
    fn bytes(&self) -> usize {
        let key = if self.key.is_ipv4() { 4 } else { 16 };
        let left = if self.left.is_some() { 12 } else { 0 };
        let end = if self.interval_end { 8 } else { 0 };
        // Userdata: attribute header, then type, length, text and NUL.
        let comment = self.comment.map_or(0, |text| (4 + 2 + text.len() + 1).next_multiple_of(4));
        4 + 4 + 4 + key + left + end + comment
    }
}

/// Milliseconds as the kernel gets them.
fn timeout_millis(left: Duration) -> u64 {
    left.clamp(TIMEOUT_MIN, TIMEOUT_MAX).as_millis() as u64
}

fn write_element(out: &mut Writer, element: &Element<'_>) {
    let item = out.nest(1);
    let key = out.nest(1);
    match element.key {
        IpAddr::V4(ip) => out.attribute(1, &ip.octets()),
        IpAddr::V6(ip) => out.attribute(1, &ip.octets()),
    }
    out.end_nest(key);
    if element.interval_end {
        out.be32(3, 1);
    }
    if let Some(left) = element.left {
        out.be64(4, timeout_millis(left));
    }
    if let Some(text) = element.comment {
        // As nft writes comments: type 0, length with the NUL, text.
        let mut data = Vec::with_capacity(text.len() + 3);
        data.extend_from_slice(&[0, (text.len() + 1) as u8]);
        data.extend_from_slice(text.as_bytes());
        data.push(0);
        out.attribute(6, &data);
    }
    out.end_nest(item);
}

/// A message of elements inside a batch, to find out which of them was refused.
#[derive(Debug)]
struct Run {
    seq: u32,
    start: usize,
    /// Range in `tickets`.
    tickets: std::ops::Range<usize>,
}

/// One transaction in the making. The kernel takes all of it or nothing.
#[derive(Debug)]
pub struct Batch {
    out: Writer,
    seq: u32,
    /// Where the last message began.
    last: usize,
    runs: Vec<Run>,
    tickets: Vec<u32>,
    /// Elements for each message at most.
    per_message: usize,
}

/// A closed batch, ready to be sent.
#[derive(Debug)]
pub struct Closed {
    pub bytes: Vec<u8>,
    /// The message whose acknowledgement means that the batch is in force.
    pub acknowledged: u32,
    runs: Vec<Run>,
    tickets: Vec<u32>,
}

impl Batch {
    /// Begins a batch; its messages are numbered from `seq`.
    pub fn new(seq: u32) -> Batch {
        /// A batch with one ban is 148 bytes, or 160.
        const BYTES: usize = 256;
        let out = Writer { bytes: Vec::with_capacity(BYTES) };
        let (runs, tickets) = (Vec::new(), Vec::new());
        let mut batch = Batch { out, seq, last: 0, runs, tickets, per_message: usize::MAX };
        batch.edge(NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// Puts each element into a message of its own, so that an answer names it even without offset.
    pub fn single(mut self) -> Batch {
        self.per_message = 1;
        self
    }

    /// The number that the next message gets.
    pub fn next_seq(&self) -> u32 {
        self.seq
    }

    fn edge(&mut self, kind: u16) {
        let open = self.out.message(kind, NLM_F_REQUEST, self.seq);
        self.out.bytes.extend_from_slice(&[0, 0, 0, NFNL_SUBSYS_NFTABLES]);
        self.out.end_message(open);
        self.seq += 1;
    }

    fn message(&mut self, message: u8, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.last = self.out.bytes.len();
        let open = self.out.message(kind(message), NLM_F_REQUEST | flags, self.seq);
        generic_header(&mut self.out);
        self.out.text(1, TABLE);
        body(&mut self.out);
        self.out.end_message(open);
        self.seq += 1;
    }

    /// Adds the table, or sets the flags of the one that is there.
    pub fn add_table(&mut self, flags: u32) {
        self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, |out| out.be32(2, flags));
    }

    pub fn delete_table(&mut self) {
        self.message(NFT_MSG_DELTABLE, 0, |_| {});
    }

    /// Removes the rules of all chains.
    pub fn delete_rules(&mut self) {
        self.message(NFT_MSG_DELRULE, 0, |_| {});
    }

    pub fn delete_chain(&mut self, name: &str) {
        self.message(NFT_MSG_DELCHAIN, 0, |out| out.text(3, name));
    }

    /// Adds a set; one that is there already with the same shape is kept as it is.
    pub fn add_set(&mut self, set: &SetDef) {
        const TYPE_IPADDR: u32 = 7;
        const TYPE_IP6ADDR: u32 = 8;
        let id = self.seq;
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE, |out| {
            out.text(2, &set.name);
            out.be32(3, set.flags());
            out.be32(4, if set.ipv4 { TYPE_IPADDR } else { TYPE_IP6ADDR });
            out.be32(5, set.key_bytes());
            out.be32(10, id);
            if set.is_hash() {
                out.be32(12, GC_INTERVAL.as_millis() as u32);
            }
        });
    }

    pub fn delete_set(&mut self, name: &str) {
        self.message(NFT_MSG_DELSET, 0, |out| out.text(2, name));
    }

    /// Removes all elements of a set.
    pub fn empty_set(&mut self, name: &str) {
        self.message(NFT_MSG_DELSETELEM, 0, |out| out.text(2, name));
    }

    /// Adds or removes elements, in as few messages as they fit in. The ticket is what [`Closed::ticket`] gives back
    /// for an element that the kernel refused.
    pub fn elements<'a>(
        &mut self,
        op: Op,
        set: &str,
        mut elements: impl Iterator<Item = (u32, Element<'a>)>,
    ) {
        self.write_elements(op, set, &mut elements);
    }

    /// One piece of code for all kinds of lists: a ban finds it in the cache.
    fn write_elements<'a>(
        &mut self,
        op: Op,
        set: &str,
        elements: &mut dyn Iterator<Item = (u32, Element<'a>)>,
    ) {
        let (message, flags) = match op {
            Op::Add => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            Op::Delete => (NFT_MSG_DELSETELEM, 0),
            Op::Destroy => (NFT_MSG_DESTROYSETELEM, 0),
        };
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            let start = self.out.bytes.len();
            let first = self.tickets.len();
            let seq = self.seq;
            let (tickets, per_message) = (&mut self.tickets, self.per_message);
            self.last = start;
            let open = self.out.message(kind(message), NLM_F_REQUEST | flags, seq);
            generic_header(&mut self.out);
            self.out.text(1, TABLE);
            self.out.text(2, set);
            let list = self.out.nest(3);
            let body = self.out.bytes.len();
            while let Some((_, next)) = elements.peek() {
                let room = ELEMENT_BYTES_MAX.saturating_sub(self.out.bytes.len() - body);
                // An interval's end stays in the message of its start: a lone start would reach to the next end.
                let must = next.interval_end || tickets.len() == first;
                if !must && (room < next.bytes() || tickets.len() - first >= per_message) {
                    break;
                }
                let Some((ticket, element)) = elements.next() else { break };
                tickets.push(ticket);
                write_element(&mut self.out, &element);
            }
            self.out.end_nest(list);
            self.out.end_message(open);
            self.seq += 1;
            self.runs.push(Run { seq, start, tickets: first..self.tickets.len() });
        }
    }

    /// Takes over finished messages (of another builder), numbering them on and asking for no answer.
    pub fn messages(&mut self, mut bytes: &[u8]) {
        while let Some(length) = wire::u32_at(bytes, 0).map(|n| n as usize) {
            let Some(message) = bytes.get(..length).filter(|m| m.len() >= wire::HEADER_BYTES) else { return };
            self.last = self.out.bytes.len();
            self.out.bytes.extend_from_slice(message);
            let flags = wire::u16_at(message, 6).unwrap_or(0) & !NLM_F_ACK;
            let header = &mut self.out.bytes[self.last..];
            header[6..8].copy_from_slice(&flags.to_ne_bytes());
            header[8..12].copy_from_slice(&self.seq.to_ne_bytes());
            self.seq += 1;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }

    /// Whether anything was put in.
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// Closes the batch. The last message is the one that asks for an acknowledgement: one answer for the whole, on
    /// every kernel (begin and end messages are acknowledged only from 6.10 on, and one for each would overflow the
    /// socket's buffer).
    pub fn close(mut self) -> Closed {
        let acknowledged = self.seq - 1;
        if self.last != 0 {
            let flags = wire::u16_at(&self.out.bytes, self.last + 6).unwrap_or(0) | NLM_F_ACK;
            self.out.bytes[self.last + 6..self.last + 8].copy_from_slice(&flags.to_ne_bytes());
        }
        self.edge(NFNL_MSG_BATCH_END);
        Closed { bytes: self.out.bytes, acknowledged, runs: self.runs, tickets: self.tickets }
    }
}

impl Closed {
    /// The number after the last message's.
    pub fn next_seq(&self) -> u32 {
        self.acknowledged + 2
    }

    /// Which element an answer is about: by the byte offset the kernel names, or because it is alone in its message.
    pub fn ticket(&self, seq: u32, offset: Option<usize>) -> Option<u32> {
        let run = self.runs.iter().find(|run| run.seq == seq)?;
        if run.tickets.len() == 1 {
            return Some(self.tickets[run.tickets.start]);
        }
        let at = run.start + offset?;
        let message = wire::messages(&self.bytes[run.start..]).next()?;
        let (_, list) = wire::attributes(message.payload.get(4..)?).find(|(kind, _)| *kind == 3)?;
        let base = self.bytes.as_ptr() as usize;
        let hit = wire::attributes(list).position(|(_, item)| {
            let start = item.as_ptr() as usize - base - 4;
            (start..start + 4 + item.len()).contains(&at)
        })?;
        self.tickets.get(run.tickets.start + hit).copied()
    }
}

/// The bytes of a batch that bans these addresses in one set: what is sent, for a benchmark or a curious eye.
pub fn encode_bans(set: &str, bans: impl Iterator<Item = (IpAddr, Span)>) -> Vec<u8> {
    let mut batch = Batch::new(1);
    batch.elements(Op::Add, set, bans.map(|(key, left)| (0, Element::ban(key, left))));
    batch.close().bytes
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
