//! Who is at the other end of a Unix socket.
#![expect(unsafe_code, reason = "a socket option that no safe crate offers")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// The peer's supplementary groups at the moment it connected; empty where the kernel does not say.
///
/// Not asked of the user database: that may hang on a directory server, and a process may hold fewer groups
/// than its user.
///
/// Source: SO_PEERGROUPS in socket(7), Linux >= 4.13.
pub fn peer_groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    // The first try fits nearly everybody; ERANGE tells the size that is needed (at most 65,536 groups).
    let mut groups = vec![0u32; 64];
    for _ in 0..2 {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: `groups` is valid for writes of `bytes` bytes, and the kernel writes no more than that; both
        // pointers live over the call.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return groups;
        }
        if count <= groups.len() {
            break;
        }
        groups.resize(count.min(65_536), 0);
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernel_tells_the_peers_groups() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut groups = peer_groups(socket.as_fd());
        let mut ours: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        ours.sort_unstable();
        assert_eq!(groups, ours);
    }
}
