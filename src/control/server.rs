//! Takes connections, checks who asks, hands requests to the engine.
//!
//! Everything a client can do wrong ends its own connection with one clear error and nothing else: garbage,
//! requests without end, silence, another protocol.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Uid, User};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::connection;
use super::protocol::{ErrorBody, ErrorCode, Request, Response};
use super::role::Roles;
use crate::limits::Limits;
use crate::sys::peer::peer_groups;

/// Connections that root has beside `limits.clients_max`, so that nobody can lock the admin out by filling
/// the socket.
const ROOT_CLIENTS_MAX: usize = 8;

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

impl SocketSettings {
    /// `path`, for root and the daemon's user only.
    pub fn new(path: impl Into<PathBuf>) -> SocketSettings {
        SocketSettings { path: path.into(), mode: None, group: None, helpdesk_group: None }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the end of one answer (or the connection) to the end of the next request.
    pub request: Duration,
    /// For the engine to answer.
    pub answer: Duration,
    /// For the client to take the answer.
    pub taking: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            request: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            taking: Duration::from_secs(30),
        }
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Exit code 69: a second daemon on the same socket.
    #[error("another portero answers at {}; stop it first, or name another socket", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and no socket; remove it, or name another socket", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot {action} {}: {why}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        why: String,
        #[source]
        source: io::Error,
    },
}

/// The bound socket. Dropping it removes the socket file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    roles: Arc<Roles>,
    /// What is odd about the settings and does not keep the socket from working.
    pub warnings: Vec<String>,
    path: PathBuf,
    inode: u64,
    /// Held as long as the socket: two daemons that start at once cannot both take a stale socket over.
    _lock: Flock<File>,
}

impl Server {
    /// Binds the socket, inside a tokio runtime. A socket file that nobody answers is replaced.
    ///
    /// # Errors
    /// Another daemon answers there; the folder or file cannot be written.
    pub fn bind(settings: &SocketSettings) -> Result<Server, ControlError> {
        let path = settings.path.clone();
        let io = |action: &'static str| {
            let path = path.clone();
            move |source: io::Error| {
                let why = crate::text::io_reason(&source);
                ControlError::Io { action, path, why, source }
            }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io("make the folder of"))?;
        }
        let lock = lock(&path)?;
        clear_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(io("bind"))?;
        let (roles, mut warnings) = Roles::of(settings);
        if let Some(gid) = roles.socket_gid()
            && let Err(error) = std::os::unix::fs::chown(&path, None, Some(gid))
        {
            let why = crate::text::io_reason(&error);
            warnings.push(format!(
                "cannot give {} to its group: {why}; the daemon's user must be a member of it",
                path.display()
            ));
        }
        let mode = settings.mode.unwrap_or(if roles.needs_two_groups() { 0o666 } else { 0o660 });
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        let inode = fs::symlink_metadata(&path).map_err(io("look at"))?.ino();
        Ok(Server { listener, roles: Arc::new(roles), warnings, path, inode, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Other groups may take effect at a reload; the path and mode do not change while the daemon runs.
    pub fn set_roles(&mut self, settings: &SocketSettings) {
        let (roles, warnings) = Roles::of(settings);
        self.roles = Arc::new(roles);
        self.warnings = warnings;
    }

    /// Takes connections until `calls` has no receiver any more. Dropping the future ends it too, and the
    /// connections end with the runtime.
    pub async fn serve(&self, limits: &Limits, patience: Patience, calls: mpsc::Sender<Call>) {
        let everybody = Arc::new(Semaphore::new(limits.clients_max));
        let root = Arc::new(Semaphore::new(ROOT_CLIENTS_MAX));
        let request_bytes_max = limits.request_bytes_max;
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of descriptors or memory: others need a moment to give some back.
                        tracing::warn!(%error, "control socket: cannot take a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = calls.closed() => return,
            };
            let Ok(credentials) = stream.peer_cred() else { continue };
            let (uid, gid) = (credentials.uid(), credentials.gid());
            let mut slot = everybody.clone().try_acquire_owned();
            if slot.is_err() && uid == 0 {
                slot = root.clone().try_acquire_owned();
            }
            let Ok(slot) = slot else {
                refuse(&stream, limits.clients_max);
                continue;
            };
            let role = self.roles.role(uid, gid, &peer_groups(stream.as_fd()));
            let (roles, calls) = (self.roles.clone(), calls.clone());
            tokio::spawn(async move {
                let peer = Peer { uid, gid, pid: credentials.pid(), user: user_name(uid).await };
                connection::Connection { role, roles, peer, calls, patience, request_bytes_max }
                    .run(stream)
                    .await;
                drop(slot);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Somebody may have put another socket in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes `PATH.lock`, or says that another daemon has it.
fn lock(path: &Path) -> Result<Flock<File>, ControlError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = file.map_err(|source| ControlError::Io {
        action: "make",
        path: PathBuf::from(&name),
        why: crate::text::io_reason(&source),
        source,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| ControlError::InUse(path.to_owned()))
}

/// Removes a socket file that nobody answers.
pub(crate) fn clear_stale(path: &Path) -> Result<(), ControlError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(ControlError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // It answers, or it is there and will not have us.
        _ => return Err(ControlError::InUse(path.to_owned())),
    }
    fs::remove_file(path).map_err(|source| ControlError::Io {
        action: "remove the stale socket",
        path: path.to_owned(),
        why: crate::text::io_reason(&source),
        source,
    })
}

/// Tells a client that there is no room, as far as the socket takes it at once.
fn refuse(stream: &UnixStream, clients_max: usize) {
    let response = Response::Error(ErrorBody {
        code: ErrorCode::Busy,
        message: format!("{clients_max} clients are connected already"),
        help: Some("try again in a moment; limits.clients_max allows more".to_owned()),
    });
    let _ = stream.try_write(&connection::line_of(response));
}

/// The name of `uid`. The user database may ask a directory server: not on the engine's thread.
pub(crate) async fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let name = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid)).ok().flatten()).await;
    name.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
