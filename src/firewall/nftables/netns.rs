//! For tests: private network namespaces, wires between them, and TCP from a chosen address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// How long a packet that is not dropped may take here.
const PATIENCE: Duration = Duration::from_millis(400);

/// A network namespace of its own, removed at the end.
pub struct Space {
    name: String,
}

impl Space {
    /// `None`, and a printed line, where the test does not run as root.
    pub fn new(test: &str) -> Option<Space> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            println!("skipped {test}: needs root");
            return None;
        }
        let name = format!("pt-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}"));
        let space = Space { name };
        space.run(|| sh("ip link set lo up"));
        Some(space)
    }

    /// Runs `work` inside, on a thread of its own.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn enter(&self) {
        let handle = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        setns(handle, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// An echo server inside, on IPv4 and IPv6, until the test ends.
    pub fn serve(&self, port: u16) {
        let listener = self.run(|| TcpListener::bind(("::", port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// A second wire, `ve1` at both ends.
    pub fn link_to(&self, other: &Space, here: &str, there: &str) {
        sh(&format!("ip link add ve1 netns {} type veth peer name ve1 netns {}", self.name, other.name));
        for (space, address) in [(self, here), (other, there)] {
            space.run(|| {
                sh(&format!("ip addr add {address} dev ve1"));
                sh("ip link set ve1 up");
            });
        }
    }

    /// Sockets inside that are connected to `peer`, as `ss` tells them.
    pub fn sockets_of(&self, peer: &str) -> usize {
        self.run(|| {
            sh(&format!(
                "ss -Htn state connected dst {}",
                if peer.contains(':') { format!("[{peer}]") } else { peer.to_owned() }
            ))
            .lines()
            .count()
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A server and a client on one wire. The server has 192.0.2.1 and 2001:db8::1; the client 192.0.2.7 to .9,
/// 198.51.100.7, 2001:db8::7, 2001:db8::8 and 2001:db8:0:1::7.
pub fn pair(test: &str) -> Option<(Space, Space)> {
    let (server, client) = (Space::new(test)?, Space::new(test)?);
    sh(&format!("ip link add ve0 netns {} type veth peer name ve0 netns {}", server.name, client.name));
    server.run(|| {
        sh("ip addr add 192.0.2.1/24 dev ve0");
        sh("ip addr add 2001:db8::1/64 dev ve0 nodad");
        sh("ip link set ve0 up");
        sh("ip route add 198.51.100.0/24 dev ve0");
        sh("ip route add 2001:db8:0:1::/64 dev ve0");
    });
    client.run(|| {
        for address in ["192.0.2.7/24", "192.0.2.8/24", "192.0.2.9/24", "198.51.100.7/24"] {
            sh(&format!("ip addr add {address} dev ve0"));
        }
        for address in ["2001:db8::7/64", "2001:db8::8/64", "2001:db8:0:1::7/64"] {
            sh(&format!("ip addr add {address} dev ve0 nodad"));
        }
        sh("ip link set ve0 up");
    });
    // The kernel takes up to a second to believe in a new wire; IPv6 has no route before.
    for space in [&server, &client] {
        let ready = || sh("ip -o link show dev ve0").contains("state UP");
        for _ in 0..300 {
            if space.run(ready) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Some((server, client))
}

/// Runs a command line without quotes; its output.
pub fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// As [`sh`], for what may fail.
pub fn try_sh(line: &str) -> bool {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words).output().unwrap().status.success()
}

/// A TCP connection from one of our own addresses.
///
/// # Errors
/// `TimedOut` (or as the kernel calls it) when nothing answers, `ConnectionRefused` after a reset.
pub fn dial(from: &str, to: &str) -> io::Result<TcpStream> {
    let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::new(0, PATIENCE.as_micros() as i64);
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(fd))
}

/// Whether the other side echoes.
pub fn echoes(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"ping"
}

/// Whether a new connection from there is served.
pub fn served(from: &str, to: &str) -> bool {
    dial(from, to).is_ok_and(|mut stream| echoes(&mut stream))
}
