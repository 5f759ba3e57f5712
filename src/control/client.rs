//! The asking end, blocking: for `banctl`, and for `portero --flush`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{ErrorBody, ErrorCode, Request, RequestLine, Response, ResponseLine, VERSION};

/// How long an answer may take; longer than the daemon's own patience, so that it is the daemon who explains.
const ANSWER: Duration = Duration::from_secs(90);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// # Errors
    /// [`ErrorCode::Unreachable`], or [`ErrorCode::NotPermitted`] where the socket file does not let us in.
    pub fn connect(path: &Path) -> Result<Client, ErrorBody> {
        let stream = UnixStream::connect(path).map_err(|error| unreachable(path, &error))?;
        stream.set_read_timeout(Some(ANSWER)).map_err(|error| unreachable(path, &error))?;
        stream.set_write_timeout(Some(ANSWER)).map_err(|error| unreachable(path, &error))?;
        Ok(Client { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the daemon answered as an error; or it broke off.
    pub fn call(&mut self, request: Request) -> Result<Response, ErrorBody> {
        let mut line =
            serde_json::to_vec(&RequestLine { v: VERSION, request }).expect("requests are plain data");
        line.push(b'\n');
        // A daemon that refuses says why and closes: its answer is there even if writing failed.
        let written = self.stream.get_mut().write_all(&line);
        let mut answer = Vec::new();
        match self.stream.read_until(b'\n', &mut answer) {
            Ok(_) if answer.ends_with(b"\n") => {}
            Ok(_) => {
                let error = written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Err(broke_off(&self.path, &error));
            }
            Err(error) => return Err(broke_off(&self.path, &error)),
        }
        let line: ResponseLine = serde_json::from_slice(&answer).map_err(|error| ErrorBody {
            code: ErrorCode::Version,
            message: format!("the daemon's answer is not understood: {error}"),
            help: Some(
                "use the banctl that came with the daemon; restart the daemon after an upgrade".to_owned(),
            ),
        })?;
        match line.response {
            Response::Error(error) => Err(error),
            response => Ok(response),
        }
    }
}

fn unreachable(path: &Path, error: &io::Error) -> ErrorBody {
    let shown = path.display();
    let why = crate::text::io_reason(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorBody {
            code: ErrorCode::NotPermitted,
            message: format!("cannot reach the daemon at {shown}: {why}"),
            help: Some("run it as root, or be a member of the socket's group".to_owned()),
        },
        _ => ErrorBody {
            code: ErrorCode::Unreachable,
            message: format!("cannot reach the daemon at {shown}: {why}"),
            help: Some("is portero.service up?".to_owned()),
        },
    }
}

fn broke_off(path: &Path, error: &io::Error) -> ErrorBody {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "it closed the connection".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer within {} s", ANSWER.as_secs())
        }
        _ => crate::text::io_reason(error),
    };
    ErrorBody {
        code: ErrorCode::Unreachable,
        message: format!("the daemon at {} did not answer: {why}", path.display()),
        help: Some("see journalctl -u portero".to_owned()),
    }
}
