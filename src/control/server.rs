//! Takes connections, checks who asks, hands requests to the engine.

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::protocol::{Request, Response};

/// Who asks: the kernel's word (SO_PEERCRED), not the peer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    /// `None` from another pid namespace.
    pub pid: Option<i32>,
    /// The uid's name, or the number where it has none. For the audit trail.
    pub user: String,
}

/// One request on its way to the engine, already permitted. The engine answers through `answer`; a dropped
/// `answer` is told to the peer as an internal error.
#[derive(Debug)]
pub struct Call {
    pub request: Request,
    pub peer: Peer,
    pub answer: oneshot::Sender<Response>,
}

/// The control socket as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    pub path: PathBuf,
    /// Permission bits of the socket file. `None`: 0660, and 0666 where both groups are set, since a file has
    /// one group only; who may do what is decided by the peer's credentials in any case.
    pub mode: Option<u32>,
    /// Its members may do everything; beside root and the daemon's own user.
    pub group: Option<String>,
    /// Its members may look, and unban.
    pub helpdesk_group: Option<String>,
}
