//! Asks an agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer: it has at most some thousand processes with texts that are cut.
pub const MAX_ANSWER: usize = 32 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody can be reached there.
    #[error("cannot connect to {}", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The answer does not come.
    #[error("{} does not answer within {} s", .0.display(), LIMIT.as_secs())]
    Late(PathBuf),
    /// It is none of HTTP.
    #[error("{} gives no answer of HTTP", path.display())]
    Http {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        source: hyper::Error,
    },
    /// It is longer than [`MAX_ANSWER`], or breaks off.
    #[error("the answer of {} breaks off, or is too long", .0.display())]
    Cut(PathBuf),
}

/// What the agent at a socket answers to a GET of `uri`. It blocks the thread.
pub fn get(socket: &Path, uri: &str) -> Result<(StatusCode, Bytes), ClientError> {
    exchange(socket, Method::GET, uri, "")
}

/// The same for a PUT.
pub fn put(socket: &Path, uri: &str, body: &'static str) -> Result<(StatusCode, Bytes), ClientError> {
    exchange(socket, Method::PUT, uri, body)
}

fn exchange(
    socket: &Path,
    method: Method,
    uri: &str,
    body: &'static str,
) -> Result<(StatusCode, Bytes), ClientError> {
    let connect = |source| ClientError::Connect { path: socket.to_owned(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(connect)?;
    runtime.block_on(async {
        let answer = timeout(LIMIT, ask(socket, method, uri, body)).await;
        answer.unwrap_or_else(|_| Err(ClientError::Late(socket.to_owned())))
    })
}

async fn ask(
    socket: &Path,
    method: Method,
    uri: &str,
    body: &'static str,
) -> Result<(StatusCode, Bytes), ClientError> {
    let http = |source| ClientError::Http { path: socket.to_owned(), source };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| ClientError::Connect { path: socket.to_owned(), source })?;
    let (mut sender, connection) =
        http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(http)?;
    let connection = tokio::spawn(connection);
    // HTTP/1.1 asks for a host; there is none.
    let request =
        Request::builder().method(method).uri(uri).header("host", "lightfoot").body(Full::from(body));
    let request = request.map_err(|_| ClientError::Cut(socket.to_owned()))?;
    let response = sender.send_request(request).await.map_err(http)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    connection.abort();
    let body = body.map_err(|_| ClientError::Cut(socket.to_owned()))?;
    Ok((status, body.to_bytes()))
}
