//! Closing the TCP sockets of banned peers (SOCK_DESTROY): the packet filter alone would let a server's process wait
//! for the peer, and let what it had in flight out.
//!
//! Source: linux/inet_diag.h, linux/sock_diag.h, net/tcp_states.h.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nftables::link::{DumpError, Link};
use super::wire::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Writer};
use super::{Errno, FirewallError, Ports};
use crate::addr::{Host, Net};
use crate::sys::netlink::Protocol;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const LISTEN: u32 = 10;
const TIME_WAIT: u32 = 6;
const CLOSE: u32 = 7;
/// Every state with a peer that may still get bytes, or a process that may wait for it.
const ALIVE: u32 = 0x1fff & !(1 << LISTEN | 1 << TIME_WAIT | 1 << CLOSE | 1);
/// Bytes of `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;

/// Finds and closes sockets. The netlink socket is opened at the first use.
#[derive(Debug, Default)]
pub struct Sockets {
    link: Option<Link>,
    /// The kernel was built without CONFIG_INET_DIAG_DESTROY.
    unable: bool,
}

/// One socket of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    family: u8,
    local_port: u16,
    peer: Host,
    /// `struct inet_diag_sockid` as the kernel gave it, cookie included: it names this socket and no later one.
    id: [u8; ID_BYTES],
}

impl Sockets {
    /// Closes what talks to one of the nets at one of its ports; how many that were.
    ///
    /// # Errors
    /// `NotPermitted` without CAP_NET_ADMIN; `Rejected` if the sockets cannot be listed.
    pub fn cut(&mut self, targets: &[(Net, Ports)]) -> Result<usize, FirewallError> {
        if targets.is_empty() || self.unable {
            return Ok(0);
        }
        let failed = |errno: Errno| {
            let action = "close the sockets of banned peers".to_owned();
            match errno.0 {
                libc::EPERM | libc::EACCES => FirewallError::NotPermitted { action, errno },
                _ => FirewallError::Rejected { action, errno },
            }
        };
        let link = match &mut self.link {
            Some(link) => link,
            none => {
                let link = Link::open(Protocol::SockDiag);
                none.insert(link.map_err(|error| failed(super::nftables::link::errno(&error)))?)
            }
        };
        let targets = Targets::new(targets);
        let mut wanted: Vec<Found> = Vec::new();
        // Sockets that speak IPv4 over IPv6 are listed as IPv6.
        for family in [libc::AF_INET, libc::AF_INET6] {
            let peers = (family == libc::AF_INET).then(|| targets.narrow()).flatten();
            wanted.extend(
                list(link, family as u8, ALIVE, peers)
                    .map_err(failed)?
                    .into_iter()
                    .filter(|s| targets.hit(s)),
            );
        }
        if wanted.iter().any(|socket| !targets.hit_by_port(socket)) {
            // All ports: only what came in to a service, not what this host opened itself.
            let mut served = HashSet::new();
            for family in [libc::AF_INET, libc::AF_INET6] {
                let listening = list(link, family as u8, 1 << LISTEN, None).map_err(failed)?;
                served.extend(listening.into_iter().map(|socket| socket.local_port));
            }
            wanted.retain(|socket| targets.hit_by_port(socket) || served.contains(&socket.local_port));
        }
        let mut closed = 0;
        for socket in wanted {
            match link.ask(|seq| destroy(seq, &socket)) {
                Ok(()) => closed += 1,
                Err(Errno(libc::EOPNOTSUPP | libc::EINVAL)) => {
                    self.unable = true;
                    return Ok(closed);
                }
                Err(errno @ Errno(libc::EPERM | libc::EACCES)) => return Err(failed(errno)),
                // It ended by itself meanwhile.
                Err(_) => {}
            }
        }
        Ok(closed)
    }
}

/// The nets, single addresses found by hash: a batch may hold thousands.
struct Targets<'t> {
    hosts: std::collections::HashMap<Host, Vec<&'t Ports>>,
    nets: Vec<(Net, &'t Ports)>,
}

impl<'t> Targets<'t> {
    fn new(targets: &'t [(Net, Ports)]) -> Targets<'t> {
        let mut split = Targets { hosts: std::collections::HashMap::new(), nets: Vec::new() };
        for (net, ports) in targets {
            match net.as_host() {
                Some(host) => split.hosts.entry(host).or_default().push(ports),
                None => split.nets.push((*net, ports)),
            }
        }
        split
    }

    fn ports_of(&self, peer: Host) -> impl Iterator<Item = &'t Ports> {
        let nets = self.nets.iter().filter(move |(net, _)| net.contains(peer)).map(|(_, ports)| *ports);
        self.hosts.get(&peer).into_iter().flatten().copied().chain(nets)
    }

    fn hit(&self, socket: &Found) -> bool {
        self.ports_of(socket.peer).any(|ports| ports.contain(socket.local_port))
    }

    /// Hit by a list of ports, which needs no further look.
    fn hit_by_port(&self, socket: &Found) -> bool {
        self.ports_of(socket.peer)
            .any(|ports| matches!(ports, Ports::List(_)) && ports.contain(socket.local_port))
    }

    /// The one IPv4 address that all this is about, if it is one: then the kernel sorts out the rest.
    fn narrow(&self) -> Option<Ipv4Addr> {
        let mut hosts = self.hosts.keys();
        match (hosts.next()?.ip(), hosts.next(), self.nets.is_empty()) {
            (IpAddr::V4(ip), None, true) => Some(ip),
            _ => None,
        }
    }
}

/// The TCP sockets of a family in any of `states` (a bit for each).
fn list(link: &mut Link, family: u8, states: u32, peer: Option<Ipv4Addr>) -> Result<Vec<Found>, Errno> {
    let ask = |seq| request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, seq, family, states, &[0; ID_BYTES], peer);
    let found = link.dump(ask, usize::MAX, |message, out| {
        if message.kind == SOCK_DIAG_BY_FAMILY {
            out.extend(socket(message.payload));
        }
    });
    match found {
        Ok(found) => Ok(found),
        // No such family here: IPv6 switched off.
        Err(DumpError::Errno(Errno(libc::ENOENT))) => Ok(Vec::new()),
        Err(DumpError::Errno(errno)) => Err(errno),
        Err(DumpError::TooMany) => Err(Errno(libc::EOVERFLOW)),
    }
}

fn destroy(seq: u32, socket: &Found) -> Vec<u8> {
    request(SOCK_DESTROY, NLM_F_ACK, seq, socket.family, u32::MAX, &socket.id, None)
}

/// `struct inet_diag_req_v2`, and where a peer is given a filter program for it.
fn request(
    kind: u16,
    flags: u16,
    seq: u32,
    family: u8,
    states: u32,
    id: &[u8; ID_BYTES],
    peer: Option<Ipv4Addr>,
) -> Vec<u8> {
    let mut out = Writer::default();
    let message = out.message(kind, NLM_F_REQUEST | flags, seq);
    out.bytes.extend_from_slice(&[family, libc::IPPROTO_TCP as u8, 0, 0]);
    out.bytes.extend_from_slice(&states.to_ne_bytes());
    out.bytes.extend_from_slice(id);
    if let Some(peer) = peer {
        // One INET_DIAG_BC_D_COND: operation, size when it holds, jump when not (behind the end: refused); then family,
        // prefix, two bytes of padding, any port (-1), the address.
        let mut program = vec![8, 16, 20, 0, libc::AF_INET as u8, 32, 0, 0];
        program.extend_from_slice(&(-1i32).to_ne_bytes());
        program.extend_from_slice(&peer.octets());
        out.attribute(1, &program);
    }
    out.end_message(message);
    out.bytes
}

/// Reads a `struct inet_diag_msg`.
fn socket(payload: &[u8]) -> Option<Found> {
    let family = *payload.first()?;
    let id: [u8; ID_BYTES] = payload.get(4..4 + ID_BYTES)?.try_into().ok()?;
    let address = &id[20..36];
    let peer = if i32::from(family) == libc::AF_INET {
        IpAddr::from(<[u8; 4]>::try_from(&address[..4]).ok()?)
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?))
    };
    Some(Found { family, local_port: u16::from_be_bytes([id[0], id[1]]), peer: Host::new(peer), id })
}
