//! A netlink socket: opened, filtered, written to and read from. What the bytes mean is the caller's business.
#![expect(unsafe_code, reason = "netlink's socket options have no safe wrapper")]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, sendmsg,
    setsockopt, socket, sockopt,
};

/// One of the kernel's netlink protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// nftables.
    Netfilter,
    /// Listing and closing sockets.
    SockDiag,
}

/// A bound netlink socket. Reading never blocks: the kernel answers inside `send`.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
}

/// One instruction of classic BPF, as `struct sock_filter` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub operand: u32,
}

impl Socket {
    /// Opens a socket under a port id of the kernel's choice.
    ///
    /// # Errors
    /// Of `socket` and `bind`; the kernel checks capabilities only on the first message.
    pub fn open(protocol: Protocol) -> io::Result<Socket> {
        let protocol = match protocol {
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
            Protocol::SockDiag => SockProtocol::NetlinkSockDiag,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Socket { fd, port })
    }

    /// The id under which the kernel knows this socket, and which stands in notices of what it changed.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Asks for short errors with the offset of the attribute that was refused. Older kernels do without.
    pub fn ask_for_error_details(&self) {
        const NETLINK_CAP_ACK: i32 = 10;
        const NETLINK_EXT_ACK: i32 = 11;
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            let _ = self.set_option(libc::SOL_NETLINK, option, &1i32);
        }
    }

    /// Sets how much may be sent in one message and how much may wait to be read, in bytes, beyond the system's
    /// limits where CAP_NET_ADMIN allows it, else up to them.
    pub fn set_buffers(&self, send_bytes: usize, receive_bytes: usize) {
        if setsockopt(&self.fd, sockopt::SndBufForce, &send_bytes).is_err() {
            let _ = setsockopt(&self.fd, sockopt::SndBuf, &send_bytes);
        }
        if setsockopt(&self.fd, sockopt::RcvBufForce, &receive_bytes).is_err() {
            let _ = setsockopt(&self.fd, sockopt::RcvBuf, &receive_bytes);
        }
    }

    /// Joins a multicast group by its number (NFNLGRP_...).
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN for groups that need it.
    pub fn join(&self, group: u32) -> io::Result<()> {
        const NETLINK_ADD_MEMBERSHIP: i32 = 1;
        self.set_option(libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group)
    }

    /// Leaves a multicast group; what it sent before can still be read.
    ///
    /// # Errors
    /// Of `setsockopt`.
    pub fn leave(&self, group: u32) -> io::Result<()> {
        const NETLINK_DROP_MEMBERSHIP: i32 = 2;
        self.set_option(libc::SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group)
    }

    /// Lets only those messages in which `program` accepts.
    ///
    /// # Errors
    /// EINVAL if the kernel's verifier refuses the program.
    pub fn attach_filter(&self, program: &[Instruction]) -> io::Result<()> {
        let mut program: Vec<libc::sock_filter> = program
            .iter()
            .map(|i| libc::sock_filter { code: i.code, jt: i.if_true, jf: i.if_false, k: i.operand })
            .collect();
        let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        self.set_option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn set_option<T>(&self, level: i32, name: i32, value: &T) -> io::Result<()> {
        let size = size_of::<T>() as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `self`, and the kernel reads `size` bytes of a live `T` (and, for
        // a filter program, the instructions that the caller keeps alive over the call) and keeps no pointer.
        let done = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends `message` to the kernel as one datagram, whatever its length; a batch cut in two would be refused.
    ///
    /// # Errors
    /// EMSGSIZE over the send buffer. What the kernel thinks of the content comes as an answer.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(message)];
        let kernel = NetlinkAddr::new(0, 0);
        loop {
            match sendmsg(self.fd.as_raw_fd(), &parts, &[], MsgFlags::empty(), Some(&kernel)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads the next datagram into `buffer`; `None` when nothing waits.
    ///
    /// # Errors
    /// ENOBUFS: messages were lost.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sockets_have_two_ports_and_an_idle_one_has_nothing_to_read() {
        let one = Socket::open(Protocol::Netfilter).unwrap();
        let other = Socket::open(Protocol::Netfilter).unwrap();
        assert_ne!(one.port(), other.port());
        assert_eq!(one.receive(&mut [0; 64]).unwrap(), None);
    }
}
