//! Answers over a socket, on a thread of its own: whoever asks slowly, too often or nonsense keeps nobody waiting but others who ask.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::socket::Socket;
use super::tcp::{Tcp, Token};
use crate::capabilities::keep_in_thread;

/// At most so many connections are served at once at the socket, and as many at the TCP port; the next ones wait.
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
    _socket: Option<Socket>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where somebody may ask, and what.
struct Door {
    listener: Listener,
    access: Access,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

#[derive(Clone)]
enum Access {
    /// Who can come here may do everything.
    Everything,
    /// Anybody may ask for health, and who knows the token for what can be read; nobody changes anything.
    Reading(Option<Token>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Server {
    /// Answers from now on.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(socket: Option<Socket>, tcp: Option<Tcp>, respond: impl Respond) -> io::Result<Self> {
        let listener = socket.as_ref().map(|socket| socket.listener.try_clone()).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let doors: Vec<Door> = {
            let _within = runtime.enter();
            let unix = listener.map(|listener| {
                Ok(Door {
                    listener: Listener::Unix(UnixListener::from_std(listener)?),
                    access: Access::Everything,
                })
            });
            let tcp = tcp.map(|Tcp { listener, token }| {
                let access = Access::Reading(token);
                Ok(Door { listener: Listener::Tcp(TcpListener::from_std(listener)?), access })
            });
            unix.into_iter().chain(tcp).collect::<io::Result<_>>()?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            // It reads nothing that takes any.
            keep_in_thread(0);
            let respond = Arc::new(respond);
            runtime.block_on(async {
                for door in doors {
                    tokio::spawn(accept(door, Arc::clone(&respond)));
                }
                // Whoever drops the server says nothing more.
                let _ = stopped.await;
            });
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("status".to_owned()).spawn(serve)?;
        Ok(Self { _socket: socket, stop: Some(stop), thread: Some(thread) })
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        // It fails if it has panicked, and then it has ended, too.
        self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(door: Door, respond: Arc<impl Respond>) {
    let turns = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let stream = match door.listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "somebody who asks how it goes cannot be heard");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (respond, access) = (Arc::clone(&respond), door.access.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &access, &*respond));
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
    access: &Access,
    respond: &impl Respond,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let answer = match head.method {
        _ if access.is_without_token(path, &head.headers) => {
            Answer::text(StatusCode::UNAUTHORIZED, "it takes the token, as authorization: Bearer TOKEN")
        }
        Method::PUT if matches!(access, Access::Reading(_)) => cannot_be_changed(),
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
    if answer.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    }
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

impl Access {
    /// Whether somebody asks for what is not told to everybody, and does not know the token. Without one nobody does.
    fn is_without_token(&self, path: &str, headers: &HeaderMap) -> bool {
        let Self::Reading(token) = self else { return false };
        let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let is_known = given.zip(token.as_ref()).is_some_and(|(given, token)| token.is_in(given));
        !is_known && !path.starts_with("/health/")
    }
}

fn cannot_be_changed() -> Answer {
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here")
}
