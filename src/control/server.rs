//! Takes connections, checks who asks, hands requests to the engine.

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
