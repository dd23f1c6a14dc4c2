//! Answers over a socket, on a thread of its own: whoever asks slowly, too often or nonsense keeps nobody waiting but others who ask.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::socket::Socket;
use crate::capabilities::keep_in_thread;

/// At most so many connections are served at once; the next ones wait.
pub const MAX_CONNECTIONS: usize = 8;
/// A connection is closed after so long, whatever became of it. It has one request.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// Bytes of a request's head, the least that hyper permits.
pub const MAX_HEAD: usize = 8_192;
/// Bytes of a request's body.
pub const MAX_BODY: usize = 64;
/// So long nobody is served when the system gives no connection, as for want of open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who knows the answers.
pub trait Respond: Send + Sync + 'static {
    /// The answer to a GET of `path`; `None` if there is nothing there.
    fn get(&self, path: &str) -> impl Future<Output = Option<Answer>> + Send;

    /// The answer to a PUT of `body`; `None` if nothing can be changed there.
    fn put(&self, path: &str, body: &str) -> Option<Answer>;
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Whether all is well.
    pub status: StatusCode,
    /// What the body is, as in the header `content-type`.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A sentence.
    pub fn text(status: StatusCode, text: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{text}\n") }
    }
}

/// A server that runs; dropping it ends it, and removes the socket.
#[derive(Debug)]
pub struct Server {
    socket: Arc<Socket>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers from now on.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(socket: Socket, respond: impl Respond) -> io::Result<Self> {
        let socket = Arc::new(socket);
        let listener = socket.listener.try_clone()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            // It reads nothing that takes any.
            keep_in_thread(0);
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, Arc::new(respond)) => {}
                }
            });
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("status".to_owned()).spawn(serve)?;
        Ok(Self { socket, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn path(&self) -> &std::path::Path {
        self.socket.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        // It fails if it has panicked, and then it has ended, too.
        self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: std::os::unix::net::UnixListener, respond: Arc<impl Respond>) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return debug!(%error, "the socket to ask at cannot be used"),
    };
    let turns = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "somebody who asks how it goes cannot be heard");
                sleep(PAUSE).await;
                continue;
            }
        };
        let respond = Arc::clone(&respond);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &*respond));
            let connection = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // Nonsense has its answer by then, where there is one.
            let _ = timeout(MAX_TIME, connection).await;
            drop(turn);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    respond: &impl Respond,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let answer = match head.method {
        Method::GET | Method::HEAD => {
            let nothing = || Answer::text(StatusCode::NOT_FOUND, "there is nothing here");
            respond.get(path).await.unwrap_or_else(nothing)
        }
        Method::PUT => {
            let body = Limited::new(body, MAX_BODY).collect().await.map(Collected::to_bytes);
            match body.as_deref().map(str::from_utf8) {
                Ok(Ok(body)) => respond.put(path, body.trim()).unwrap_or_else(cannot_be_changed),
                _ => Answer::text(StatusCode::BAD_REQUEST, "the body is too long, or no text"),
            }
        }
        _ => cannot_be_changed(),
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(answer.kind));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

fn cannot_be_changed() -> Answer {
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here")
}
