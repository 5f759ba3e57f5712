//! fail2ban's socket, served by portero: commands come as pickles, each ended by a mark, and so go the answers.
//!
//! Only root, the daemon's own user and the members of one configured group are heard; to them everything is
//! allowed, as it is behind fail2ban's own socket. A peer can do nothing worse than lose its connection.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::answer::{Answer, Answerer, Ask};
use super::pickle;
use super::value::{Refusal, Value};
use crate::control::protocol::{ErrorBody, ErrorCode, Request, Response};
use crate::control::role::{Role, Roles};
use crate::control::server::{Call, ControlError, Peer, SocketSettings, clear_stale, user_name};
use crate::sys::peer::peer_groups;
use crate::time::system_zone;

/// Ends every message.
pub const END: &[u8] = b"<F2B_END_COMMAND>";

/// The message of a client that leaves.
pub const CLOSE: &[u8] = b"<F2B_CLOSE_COMMAND>";

/// One message. The largest are the streams that fail2ban's client sends with `reload`. Bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Connections at once. Clients.
const CLIENTS_MAX: usize = 16;

/// From one message to the end of the next.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// For the engine to answer, and for the client to take the answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The bound socket. Dropping it removes the socket file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    roles: Arc<Roles>,
    path: PathBuf,
    inode: u64,
    zone: Tz,
    /// What is odd and did not keep it from starting.
    pub warnings: Vec<String>,
}

impl Server {
    /// [`Server::bind`] for a daemon that guards with or without it: what went wrong is told in its log.
    pub fn open(settings: &SocketSettings) -> Option<Server> {
        match Server::bind(settings, system_zone()) {
            Ok(server) => {
                for warning in &server.warnings {
                    tracing::warn!("{warning}");
                }
                Some(server)
            }
            Err(ControlError::InUse(path)) => {
                let path = path.display();
                tracing::error!(
                    "{path} is answered already, by fail2ban perhaps: its clients are not served"
                );
                None
            }
            Err(why) => {
                tracing::error!("fail2ban's clients are not served: {why}");
                None
            }
        }
    }

    /// Listens at `settings.path`, whose folder is made if there is none. Its helpdesk group is not used: behind
    /// this socket no command has a right of its own.
    ///
    /// # Errors
    /// fail2ban or somebody else answers there, or the file cannot be made.
    pub fn bind(settings: &SocketSettings, zone: Tz) -> Result<Server, ControlError> {
        let path = settings.path.clone();
        let io = |action: &'static str| {
            let path = path.clone();
            move |source: std::io::Error| ControlError::Io {
                action,
                path,
                why: crate::text::io_reason(&source),
                source,
            }
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir(folder).map_err(io("make the folder of"))?;
        }
        clear_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(io("bind"))?;
        let (roles, mut warnings) = Roles::of(settings);
        let mut mode = 0o600;
        if let Some(gid) = roles.socket_gid() {
            mode = 0o660;
            if let Err(error) = std::os::unix::fs::chown(&path, None, Some(gid)) {
                let why = crate::text::io_reason(&error);
                warnings.push(format!(
                    "cannot give {} to its group: {why}; the daemon's user must be a member of it",
                    path.display()
                ));
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        let inode = fs::symlink_metadata(&path).map_err(io("look at"))?.ino();
        Ok(Server { listener, roles: Arc::new(roles), path, inode, zone, warnings })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes connections until `calls` has no receiver any more.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "fail2ban's socket: cannot take a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = calls.closed() => return,
            };
            let Ok(credentials) = stream.peer_cred() else { continue };
            // Beyond the last place the connection is simply closed: the peer was promised nothing.
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (uid, gid) = (credentials.uid(), credentials.gid());
            let admitted = self.roles.role(uid, gid, &peer_groups(stream.as_fd())) == Role::Admin;
            let (calls, zone) = (calls.clone(), self.zone);
            tokio::spawn(async move {
                let peer = Peer { uid, gid, pid: credentials.pid(), user: user_name(uid).await };
                Connection { stream, calls, peer, zone, admitted }.run().await;
                drop(place);
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

/// One client.
struct Connection {
    stream: UnixStream,
    calls: mpsc::Sender<Call>,
    peer: Peer,
    zone: Tz,
    admitted: bool,
}

impl Connection {
    async fn run(mut self) {
        let mut buffer = Vec::new();
        loop {
            let message = match timeout(SILENCE_MAX, next_message(&mut self.stream, &mut buffer)).await {
                Ok(Some(message)) => message,
                Ok(None) | Err(_) => return,
            };
            if message == CLOSE {
                return;
            }
            let (answer, last) = if !self.admitted {
                let why = format!("{} may not use this socket; run it as root", self.peer.user);
                (Err(Refusal::Other(why)), true)
            } else {
                match pickle::read(&message).map_err(|why| Refusal::Bad(why.to_string())) {
                    Ok(value) => (self.answer(value).await, false),
                    // What follows a message that is none has no known beginning.
                    Err(refusal) => (Err(refusal), true),
                }
            };
            let mut bytes = pickle::write(&answer);
            bytes.extend_from_slice(END);
            let sent = timeout(ANSWER_MAX, self.stream.write_all(&bytes)).await;
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Answers on a thread of its own, since a command may take several requests to the engine.
    async fn answer(&self, command: Value) -> Answer {
        let words = words_of(&command)?;
        let (calls, peer, zone) = (self.calls.clone(), self.peer.clone(), self.zone);
        let work = tokio::task::spawn_blocking(move || {
            let mut inside = Inside { calls, peer };
            Answerer { ask: &mut inside, zone }.answer(&words)
        });
        match timeout(ANSWER_MAX, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::Other("the daemon gave no answer".to_owned())),
            Err(_) => Err(Refusal::Other("the daemon did not answer in time".to_owned())),
        }
    }
}

/// The next message without its mark; `None`: the connection is over, or the message is too long.
async fn next_message(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut searched = 0;
    loop {
        if let Some(at) = memchr::memmem::find(&buffer[searched..], END) {
            let end = searched + at;
            let rest = buffer.split_off(end + END.len());
            let mut message = std::mem::replace(buffer, rest);
            message.truncate(end);
            return Some(message);
        }
        if buffer.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        // The mark may begin in what is here and end in what comes.
        searched = buffer.len().saturating_sub(END.len());
        let got = stream.read_buf(buffer).await.ok()?;
        if got == 0 {
            return None;
        }
    }
}

/// The words of a command. `reload` comes with its options in a list and with the commands that fail2ban's client
/// read from its files, which are not used: portero reads its configuration itself.
fn words_of(command: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::Bad("a command is a list of texts and numbers".to_owned());
    let entries = command.entries().ok_or_else(wrong)?;
    let plain = |value: &Value| match value {
        Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(wrong()),
    };
    match entries {
        [name, jail, Value::List(options), Value::List(_)] if name.as_text() == Some("reload") => {
            [name].into_iter().chain(options).chain([jail]).map(plain).collect()
        }
        entries => entries.iter().map(plain).collect(),
    }
}

/// Asks the engine from within, as the control socket does for its peers.
struct Inside {
    calls: mpsc::Sender<Call>,
    peer: Peer,
}

impl Ask for Inside {
    fn ask(&mut self, request: Request) -> Result<Response, ErrorBody> {
        let gone = || ErrorBody {
            code: ErrorCode::Unreachable,
            message: "the daemon is stopping".to_owned(),
            help: None,
        };
        let (answer, answered) = oneshot::channel();
        let call = Call { request, peer: self.peer.clone(), answer };
        self.calls.blocking_send(call).map_err(|_| gone())?;
        match answered.blocking_recv().map_err(|_| gone())? {
            Response::Error(error) => Err(error),
            response => Ok(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_brings_its_options_and_no_commands() {
        let command = Value::List(vec![
            Value::text("reload"),
            Value::text("--all"),
            Value::texts(["--unban"]),
            Value::List(vec![Value::texts(["set", "x", "bantime", "1"])]),
        ]);
        assert_eq!(words_of(&command).unwrap(), ["reload", "--unban", "--all"]);
        let ping = Value::Tuple(vec![Value::text("ping"), Value::Float(0.1)]);
        assert_eq!(words_of(&ping).unwrap(), ["ping", "0.1"]);
        assert!(words_of(&Value::text("ping")).is_err());
        assert!(words_of(&Value::List(vec![Value::text("set"), Value::List(vec![])])).is_err());
    }
}
