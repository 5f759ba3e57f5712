//! One client's connection: requests in, answers out, until either side has enough.

use std::sync::Arc;

use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::protocol::{ErrorBody, ErrorCode, Request, RequestLine, Response, ResponseLine, VERSION};
use super::role::{Role, Roles};
use super::server::{Call, Patience, Peer};

/// What a connection is made of.
pub(super) struct Connection {
    pub role: Role,
    pub roles: Arc<Roles>,
    pub peer: Peer,
    pub calls: mpsc::Sender<Call>,
    pub patience: Patience,
    pub request_bytes_max: usize,
}

/// Why no request came.
enum NoRequest {
    /// The client is gone, or left: nothing to tell it.
    Gone,
    Refused(ErrorBody),
}

impl Connection {
    pub async fn run(self, mut stream: UnixStream) {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::with_capacity(4096, reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            let request = match self.request(&mut reader, &mut line).await {
                Ok(request) => request,
                Err(NoRequest::Gone) => return,
                Err(NoRequest::Refused(error)) => {
                    let bytes = line_of(Response::Error(error));
                    let _ = timeout(self.patience.taking, writer.write_all(&bytes)).await;
                    return;
                }
            };
            let bytes = line_of(self.answer(request).await);
            match timeout(self.patience.taking, writer.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    }

    async fn request(
        &self,
        reader: &mut (impl AsyncBufRead + Unpin),
        line: &mut Vec<u8>,
    ) -> Result<Request, NoRequest> {
        match timeout(self.patience.request, read_line(reader, line, self.request_bytes_max)).await {
            Ok(Ok(true)) => parse(line).map_err(NoRequest::Refused),
            Ok(Ok(false)) => Err(NoRequest::Refused(ErrorBody {
                code: ErrorCode::TooLarge,
                message: format!("the request is longer than {} bytes", self.request_bytes_max),
                help: Some("send the targets in several requests".to_owned()),
            })),
            Ok(Err(_)) => Err(NoRequest::Gone),
            Err(_) => {
                let message = format!("no whole request within {} s", self.patience.request.as_secs_f64());
                Err(NoRequest::Refused(ErrorBody { code: ErrorCode::Timeout, message, help: None }))
            }
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let needed = Role::needed_for(&request);
        if self.role < needed {
            return Response::Error(ErrorBody {
                code: ErrorCode::NotPermitted,
                message: format!("{} may not use {}", self.peer.user, request.command()),
                help: Some(self.roles.help(needed)),
            });
        }
        let (answer, answered) = oneshot::channel();
        let call = Call { request, peer: self.peer.clone(), answer };
        let asked = async {
            if self.calls.send(call).await.is_err() {
                return Response::error(ErrorCode::Unreachable, "the daemon is stopping");
            }
            answered
                .await
                .unwrap_or_else(|_| Response::error(ErrorCode::Internal, "the daemon gave no answer"))
        };
        let late = || Response::error(ErrorCode::Timeout, "the daemon did not answer in time");
        timeout(self.patience.answer, asked).await.unwrap_or_else(|_| late())
    }
}

/// Reads up to and with a line end; `false`: `bytes_max` came without one.
///
/// # Errors
/// The connection ended or broke.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    bytes_max: usize,
) -> std::io::Result<bool> {
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let end = memchr::memchr(b'\n', chunk);
        let used = end.map_or(chunk.len(), |at| at + 1);
        if line.len() + used > bytes_max {
            return Ok(false);
        }
        line.extend_from_slice(&chunk[..used]);
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// The request of a line, or the answer that says what is wrong with it.
fn parse(line: &[u8]) -> Result<Request, ErrorBody> {
    /// Only the version: what else there is depends on it.
    #[derive(Deserialize)]
    struct Envelope {
        v: u32,
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(|_| ErrorBody {
        code: ErrorCode::BadRequest,
        message: "this is no request: expected one line of JSON".to_owned(),
        help: Some(format!(r#"example: {{"v":{VERSION},"command":"ping"}}"#)),
    })?;
    if envelope.v != VERSION {
        return Err(ErrorBody {
            code: ErrorCode::Version,
            message: format!(
                "the request speaks version {} of the protocol, the daemon {VERSION}",
                envelope.v
            ),
            help: Some(
                "use the banctl that came with the daemon; restart the daemon after an upgrade".to_owned(),
            ),
        });
    }
    let line: RequestLine = serde_json::from_slice(line).map_err(|error| ErrorBody {
        code: ErrorCode::BadRequest,
        message: format!("the request is not understood: {error}"),
        help: None,
    })?;
    Ok(line.request)
}

/// `response` as it goes over the wire.
pub(super) fn line_of(response: Response) -> Vec<u8> {
    let line = ResponseLine { v: VERSION, response };
    let mut bytes = serde_json::to_vec(&line).expect("answers have text keys and finite numbers");
    bytes.push(b'\n');
    bytes
}
