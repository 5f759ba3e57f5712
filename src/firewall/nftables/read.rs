//! What the kernel holds, read back: table, chains, sets, rules, and the elements of a set.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::TABLE;
use super::batch::{
    NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE, request,
};
use super::layout::{Kind, SetDef};
use super::link::{DumpError, Link};
use super::wide::cidrs;
use crate::addr::{Host, Net};
use crate::firewall::Errno;
use crate::firewall::wire::{self, Message, NLM_F_ACK, NLM_F_DUMP, be32, be64, text};
use crate::time::Span;

/// NFT_TABLE_F_DORMANT, _OWNER and _PERSIST.
pub const DORMANT: u32 = 1;
pub const OWNER: u32 = 2;
pub const PERSIST: u32 = 4;

/// The table itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    pub flags: u32,
    /// Port id of the socket that owns it.
    pub owner: Option<u32>,
    pub handle: u64,
}

/// A chain; what of it another program could bend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainInfo {
    pub name: String,
    pub handle: u64,
    /// Hook and priority as the kernel tells them; empty: not a base chain.
    pub hook: Vec<u8>,
    pub policy: u32,
    pub flags: u32,
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetInfo {
    pub name: String,
    pub handle: u64,
    pub flags: u32,
    pub key_bytes: u32,
}

/// All of our table but the elements. Two that are equal mean that nobody touched it: whatever is replaced gets a new
/// handle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Structure {
    pub table: Option<TableInfo>,
    pub chains: Vec<ChainInfo>,
    pub sets: Vec<SetInfo>,
    /// Chain and handle, in the order of evaluation.
    pub rules: Vec<(String, u64)>,
}

/// Reads the structure of our table; an absent table is an empty structure.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub fn structure(link: &mut Link) -> Result<Structure, Errno> {
    let all = usize::MAX;
    let one = |seq| request(NFT_MSG_GETTABLE, NLM_F_ACK, seq, None);
    let tables = link.dump(one, all, |message, out| out.extend(table(message))).or_else(none_if_gone)?;
    let Some(table) = tables.into_iter().next() else {
        return Ok(Structure::default());
    };
    let dump = |kind| move |seq| request(kind, NLM_F_DUMP, seq, None);
    let mut chains = link
        .dump(dump(NFT_MSG_GETCHAIN), all, |message, out| out.extend(chain(message)))
        .or_else(none_if_gone)?;
    let mut sets = link
        .dump(dump(NFT_MSG_GETSET), all, |message, out| out.extend(set(message)))
        .or_else(none_if_gone)?;
    let rules = link
        .dump(dump(NFT_MSG_GETRULE), all, |message, out| out.extend(rule(message)))
        .or_else(none_if_gone)?;
    chains.sort_unstable();
    sets.sort_unstable();
    Ok(Structure { table: Some(table), chains, sets, rules })
}

fn none_if_gone<T>(error: DumpError) -> Result<Vec<T>, Errno> {
    match error {
        DumpError::Errno(Errno(libc::ENOENT)) => Ok(Vec::new()),
        DumpError::Errno(errno) => Err(errno),
        DumpError::TooMany => Err(Errno(libc::EOVERFLOW)),
    }
}

/// The attributes of an nf_tables message.
fn attributes<'a>(message: &Message<'a>) -> impl Iterator<Item = (u16, &'a [u8])> {
    wire::attributes(message.payload.get(4..).unwrap_or(&[]))
}

fn table(message: &Message<'_>) -> Option<TableInfo> {
    let mut info = TableInfo { flags: 0, owner: None, handle: 0 };
    let mut ours = false;
    for (kind, value) in attributes(message) {
        match kind {
            1 => ours = text(value)? == TABLE,
            2 => info.flags = be32(value)?,
            4 => info.handle = be64(value)?,
            7 => info.owner = Some(be32(value)?),
            _ => {}
        }
    }
    ours.then_some(info)
}

fn chain(message: &Message<'_>) -> Option<ChainInfo> {
    let mut info = ChainInfo { name: String::new(), handle: 0, hook: Vec::new(), policy: 1, flags: 0 };
    let mut ours = false;
    for (kind, value) in attributes(message) {
        match kind {
            1 => ours = text(value)? == TABLE,
            2 => info.handle = be64(value)?,
            3 => info.name = text(value)?.to_owned(),
            4 => info.hook = value.to_vec(),
            5 => info.policy = be32(value)?,
            10 => info.flags = be32(value)?,
            _ => {}
        }
    }
    ours.then_some(info)
}

fn set(message: &Message<'_>) -> Option<SetInfo> {
    const ANONYMOUS: u32 = 1;
    let mut info = SetInfo { name: String::new(), handle: 0, flags: 0, key_bytes: 0 };
    let mut ours = false;
    for (kind, value) in attributes(message) {
        match kind {
            1 => ours = text(value)? == TABLE,
            2 => info.name = text(value)?.to_owned(),
            3 => info.flags = be32(value)?,
            5 => info.key_bytes = be32(value)?,
            16 => info.handle = be64(value)?,
            _ => {}
        }
    }
    // Sets of ports belong to their rule and go with it.
    (ours && info.flags & ANONYMOUS == 0).then_some(info)
}

fn rule(message: &Message<'_>) -> Option<(String, u64)> {
    let (mut ours, mut chain, mut handle) = (false, String::new(), 0);
    for (kind, value) in attributes(message) {
        match kind {
            1 => ours = text(value)? == TABLE,
            2 => chain = text(value)?.to_owned(),
            3 => handle = be64(value)?,
            _ => {}
        }
    }
    ours.then_some((chain, handle))
}

/// One element as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementInfo {
    pub key: IpAddr,
    pub interval_end: bool,
    pub left: Span,
    pub comment: Option<Net>,
}

/// The elements of a set, at most `limit`.
///
/// # Errors
/// `TooMany`: the set holds more. The dump costs the kernel time in the square of the size.
pub fn elements(link: &mut Link, set: &str, limit: usize) -> Result<Vec<ElementInfo>, DumpError> {
    let ask = |seq| request(NFT_MSG_GETSETELEM, NLM_F_DUMP, seq, Some(set));
    link.dump(ask, limit, read_elements)
}

/// Adds the elements of one message to `out`.
pub fn read_elements(message: &Message<'_>, out: &mut Vec<ElementInfo>) {
    for (_, list) in attributes(message).filter(|(kind, _)| *kind == 3) {
        out.extend(wire::attributes(list).filter_map(|(_, item)| element(item)));
    }
}

fn element(item: &[u8]) -> Option<ElementInfo> {
    let mut found = None;
    let (mut interval_end, mut left, mut comment) = (false, Span::Forever, None);
    for (kind, value) in wire::attributes(item) {
        match kind {
            1 => found = wire::attributes(value).next().and_then(|(_, bytes)| key(bytes)),
            3 => interval_end = be32(value)? & 1 != 0,
            // Timeout: the whole length. It says that there is an end; what is left stands in the next one.
            4 if left == Span::Forever && be64(value)? > 0 => {
                left = Span::For(Duration::from_millis(be64(value)?));
            }
            5 => left = Span::For(Duration::from_millis(be64(value)?)),
            6 => comment = net_in(value),
            _ => {}
        }
    }
    Some(ElementInfo { key: found?, interval_end, left, comment })
}

fn key(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The network in a comment: type, length, text with NUL.
fn net_in(userdata: &[u8]) -> Option<Net> {
    text(userdata.get(2..)?)?.parse().ok()
}

/// The bans that a set's elements stand for.
///
/// Of an interval set, each interval names the ban that lasts longest there, so that a ban which another cuts into
/// pieces comes back whole; an interval without such a name is told as networks.
pub fn bans(set: &SetDef, mut elements: Vec<ElementInfo>) -> Vec<(Net, Span)> {
    let host = |element: &ElementInfo| Host::new(element.key);
    match set.kind {
        Kind::Allow => Vec::new(),
        Kind::Hosts => elements.iter().map(|e| (Net::host(host(e)), e.left)).collect(),
        Kind::Prefix(length) => elements.iter().map(|e| (Net::of(host(e), length), e.left)).collect(),
        Kind::Wide => {
            // An end before a start at the same address: they are neighbours.
            elements.sort_by_key(|e| (e.key, !e.interval_end));
            let mut out: BTreeMap<Net, Span> = BTreeMap::new();
            for (at, start) in elements.iter().enumerate().filter(|(_, e)| !e.interval_end) {
                let after = elements.get(at + 1).map(|next| next.key);
                let nets = match start.comment {
                    Some(net) => vec![net],
                    None => cidrs(start.key, after),
                };
                for net in nets {
                    let left = out.entry(net).or_insert(start.left);
                    *left = longer(*left, start.left);
                }
            }
            out.into_iter().collect()
        }
    }
}

fn longer(a: Span, b: Span) -> Span {
    match (a, b) {
        (Span::For(a), Span::For(b)) => Span::For(a.max(b)),
        _ => Span::Forever,
    }
}
