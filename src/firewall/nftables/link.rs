//! The sockets: a batch goes out and its fate comes back; a dump is read to its end; notices are sifted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::batch::{Closed, NFT_MSG_NEWGEN, kind};
use crate::firewall::wire::{self, Answer, Message, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR};
use crate::firewall::{Errno, ForeignChange};
use crate::sys::netlink::{Instruction, Protocol, Socket};

/// Largest batch: 256 MB, as much as the kernel was seen to take. Memory is used only as a batch needs it.
const SEND_BYTES: usize = 256 << 20;
/// Room for the answers to a batch of which every message fails.
const RECEIVE_BYTES: usize = 4 << 20;
/// The kernel packs a dump into datagrams of at most 32 KiB.
const BUFFER_BYTES: usize = 64 << 10;
/// A dump that a change interrupts is read again this often; then what was read must do.
const DUMP_TRIES: usize = 5;

/// What became of a batch.
#[derive(Debug)]
pub enum CommitError {
    /// Nothing is in force. What was refused and why, at least one.
    Refused(Vec<Answer>),
    /// The answer was lost (ENOBUFS): it may be in force or not.
    Unknown,
    /// It was not sent.
    Io(Errno),
}

/// Why a dump has no result.
#[derive(Debug)]
pub enum DumpError {
    Errno(Errno),
    /// More than asked for; the socket was given up half read.
    TooMany,
}

/// A socket to nf_tables or sock_diag, with the numbering of its messages.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    protocol: Protocol,
    buffer: Vec<u8>,
    seq: u32,
    /// Something may wait that an earlier exchange did not read.
    unread: bool,
}

impl Link {
    pub fn open(protocol: Protocol) -> io::Result<Link> {
        let socket = Socket::open(protocol)?;
        socket.ask_for_error_details();
        socket.set_buffers(SEND_BYTES, RECEIVE_BYTES);
        Ok(Link { socket, protocol, buffer: vec![0; BUFFER_BYTES], seq: 1, unread: false })
    }

    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The number for the next message or batch.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// Sends a batch and reads its fate: the kernel works inside the call, so every answer waits when it returns.
    pub fn commit(&mut self, batch: &Closed) -> Result<(), CommitError> {
        self.begin();
        let first = self.seq;
        self.seq = batch.next_seq();
        self.socket.send(&batch.bytes).map_err(|error| CommitError::Io(errno(&error)))?;
        let (mut done, mut lost, mut refused) = (false, false, Vec::new());
        loop {
            match self.socket.receive(&mut self.buffer) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    for message in wire::messages(&self.buffer[..length]).filter(|m| m.kind == NLMSG_ERROR) {
                        let Some(answer) = wire::answer(&message) else { continue };
                        if answer.seq.wrapping_sub(first) >= self.seq.wrapping_sub(first) {
                            continue;
                        }
                        match answer.errno {
                            0 => done |= answer.seq == batch.acknowledged,
                            _ => refused.push(answer),
                        }
                    }
                }
                Err(error) if errno(&error).0 == libc::ENOBUFS => lost = true,
                Err(error) => return Err(CommitError::Io(errno(&error))),
            }
        }
        self.unread = false;
        match (refused.is_empty(), done && !lost) {
            (false, _) => Err(CommitError::Refused(refused)),
            (true, true) => Ok(()),
            (true, false) => Err(CommitError::Unknown),
        }
    }

    /// Sends a request and collects what `read` makes of each answer, at most `limit`.
    pub fn dump<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        limit: usize,
        mut read: impl FnMut(&Message<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, DumpError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.begin();
            let seq = self.seq;
            self.seq = self.seq.wrapping_add(1);
            let failed = |error: io::Error| DumpError::Errno(errno(&error));
            self.socket.send(&request(seq)).map_err(failed)?;
            let mut out = Vec::new();
            let mut interrupted = false;
            let mut ended = false;
            while !ended {
                let Some(length) = self.socket.receive(&mut self.buffer).map_err(failed)? else { break };
                for message in wire::messages(&self.buffer[..length]).filter(|m| m.seq == seq) {
                    interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                    match message.kind {
                        NLMSG_DONE => ended = true,
                        NLMSG_ERROR => match wire::answer(&message).map_or(libc::EBADMSG, |a| a.errno) {
                            0 => ended = true,
                            code => return Err(DumpError::Errno(Errno(code))),
                        },
                        _ => read(&message, &mut out),
                    }
                }
                if out.len() > limit {
                    // The rest of the dump would come all the same: leave it behind with its socket.
                    *self = Link::open(self.protocol).map_err(failed)?;
                    return Err(DumpError::TooMany);
                }
            }
            if !interrupted || tries == DUMP_TRIES {
                return Ok(out);
            }
        }
    }

    /// Sends a message that asks for an acknowledgement, and reads it.
    pub fn ask(&mut self, request: impl FnOnce(u32) -> Vec<u8>) -> Result<(), Errno> {
        self.begin();
        let seq = self.seq;
        self.seq = self.seq.wrapping_add(1);
        self.socket.send(&request(seq)).map_err(|error| errno(&error))?;
        while let Some(length) = self.socket.receive(&mut self.buffer).map_err(|error| errno(&error))? {
            let mut messages = wire::messages(&self.buffer[..length]);
            if let Some(message) = messages.find(|m| m.kind == NLMSG_ERROR && m.seq == seq) {
                return match wire::answer(&message).map_or(libc::EBADMSG, |a| a.errno) {
                    0 => Ok(()),
                    code => Err(Errno(code)),
                };
            }
        }
        Err(Errno(libc::EBADMSG))
    }

    /// Begins an exchange: leftovers of an earlier one mean nothing to it. Who reads to the end says so by `unread`.
    fn begin(&mut self) {
        while self.unread {
            self.unread = !matches!(self.socket.receive(&mut self.buffer), Ok(None));
        }
        self.unread = true;
    }
}

/// The number in an error of the operating system.
pub fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The multicast group of changes to the ruleset.
const NFNLGRP_NFTABLES: u32 = 7;

/// Notices of other programs' changes to the ruleset.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    ours: u32,
    /// Out of the group for now.
    away: bool,
}

impl Events {
    /// Listens for commits by any socket but that of port `ours`.
    ///
    /// Only NEWGEN is let in, one for each commit: it comes in a datagram of its own, while others are packed together,
    /// of which a filter sees the first alone; and a burst of them would overflow the socket.
    pub fn open(ours: u32) -> io::Result<Events> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.attach_filter(&new_generation_by_others(ours))?;
        socket.join(NFNLGRP_NFTABLES)?;
        Ok(Events { socket, ours, away: false })
    }

    /// Stops listening: as long as somebody does, the kernel writes a notice for each single element that is set, which
    /// takes longer than setting it.
    pub fn turn_away(&mut self) {
        // Who stays in the group is only slower.
        self.away |= self.socket.leave(NFNLGRP_NFTABLES).is_ok();
    }

    /// Listens again. True: it had been turned away, and what others did meanwhile is not known.
    ///
    /// # Errors
    /// Of joining the group.
    pub fn turn_back(&mut self) -> io::Result<bool> {
        if !self.away {
            return Ok(false);
        }
        self.socket.join(NFNLGRP_NFTABLES)?;
        self.away = false;
        Ok(true)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads all that waits; the last foreign change, if there was one.
    pub fn drain(&mut self) -> Option<ForeignChange> {
        let mut buffer = [0; 4096];
        let mut seen = None;
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(None) => return seen,
                Ok(Some(length)) => {
                    for message in wire::messages(&buffer[..length]) {
                        if message.kind == kind(NFT_MSG_NEWGEN) && message.port != self.ours {
                            seen = Some(ForeignChange { by: author(&message) });
                        }
                    }
                }
                Err(error) if errno(&error).0 == libc::ENOBUFS => seen = Some(ForeignChange { by: None }),
                Err(_) => return seen,
            }
        }
    }
}

/// `nft (pid 20615)`. The name is whatever that program calls itself, so it is escaped.
fn author(message: &Message<'_>) -> Option<String> {
    const NFTA_GEN_PROC_PID: u16 = 2;
    const NFTA_GEN_PROC_NAME: u16 = 3;
    let attributes = message.payload.get(4..)?;
    let find =
        |wanted| wire::attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let pid = wire::be32(find(NFTA_GEN_PROC_PID)?)?;
    let name = find(NFTA_GEN_PROC_NAME)?.split(|byte| *byte == 0).next()?;
    Some(format!("{} (pid {pid})", name.escape_ascii()))
}

/// Classic BPF: type is NEWGEN and port is not `ours`. Both stand in host order; the machine loads big-endian.
fn new_generation_by_others(ours: u32) -> [Instruction; 6] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, if_true, if_false, operand| Instruction { code, if_true, if_false, operand };
    let generation = u16::from_be_bytes(kind(NFT_MSG_NEWGEN).to_ne_bytes());
    [
        step(LOAD_HALF, 0, 0, 4),
        step(IF_EQUAL, 0, 3, u32::from(generation)),
        step(LOAD_WORD, 0, 0, 12),
        step(IF_EQUAL, 1, 0, u32::from_be_bytes(ours.to_ne_bytes())),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ]
}
