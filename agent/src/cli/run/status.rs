//! Saying how it goes to whoever asks over a socket (`lightfoot status`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::Arguments;
use crate::config::Config;
use crate::escape;
use crate::state::Mark;
use crate::status::Status;
use crate::status::openmetrics;
use crate::status::server::{Answer, MAX_CONNECTIONS, Respond, Server};
use crate::status::socket::Socket;
use crate::watch::Report;

mod asking;
mod because;
mod board;

use asking::Asker;
pub(super) use board::Board;

/// What turns it off.
const NONE: &str = "none";

/// What it takes to answer.
pub(super) struct Bound {
    socket: Socket,
    board: Arc<Board>,
}

/// A socket, unless that is switched off: the one that was asked for, or one beside the mark.
pub(super) fn bind(
    arguments: &Arguments,
    config: &Config,
    mark: Option<&Mark>,
    board: &Arc<Board>,
) -> anyhow::Result<Option<Bound>> {
    let flag = arguments.status_socket.as_ref().map(|path| ("--status-socket", path));
    let asked = flag.or(config.file.status_socket.as_ref().map(|path| ("status_socket", path)));
    let bound = |socket| Some(Bound { socket, board: Arc::clone(board) });
    if let Some((name, path)) = asked {
        return if path == Path::new(NONE) { Ok(None) } else { Ok(bound(Socket::bind(path).context(name)?)) };
    }
    let Some(path) = mark.map(Mark::socket) else { return Ok(None) };
    match Socket::bind(&path) {
        Ok(socket) => Ok(bound(socket)),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            warn!(error, "nobody can ask this agent how it goes");
            Ok(None)
        }
    }
}

impl Bound {
    /// Answers from now on; to be called within the runtime of the thread that reads the ring. `None` if that cannot be.
    pub(super) fn serve(self, ask: mpsc::Sender<oneshot::Sender<Report>>) -> Option<Server> {
        let (signs, mut asked) = mpsc::channel::<oneshot::Sender<()>>(MAX_CONNECTIONS);
        // This thread has others to do; that it comes to this is a sign of life.
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                let _ = answer.send(());
            }
        });
        let answers =
            Answers { board: self.board, asker: Asker::new(ask, signs), is_ready: AtomicBool::new(false) };
        match Server::start(self.socket, answers) {
            Ok(server) => {
                debug!(socket = %server.path().display(), "whoever asks is told how it goes");
                Some(server)
            }
            Err(error) => {
                warn!(%error, "nobody can ask this agent how it goes");
                None
            }
        }
    }
}

struct Answers {
    board: Arc<Board>,
    asker: Asker,
    /// Once it was, it stays.
    is_ready: AtomicBool,
}

impl Respond for Answers {
    async fn get(&self, path: &str) -> Option<Answer> {
        Some(match path {
            "/status" => answer(&self.status().await),
            "/metrics" => match openmetrics::text(self.status().await) {
                Ok(body) => Answer { status: StatusCode::OK, kind: openmetrics::KIND, body },
                Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            "/health/live" => match self.asker.lives().await {
                Ok(()) => Answer::text(StatusCode::OK, "ok"),
                Err(why) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            "/health/ready" if self.is_ready().await => Answer::text(StatusCode::OK, "ok"),
            "/health/ready" => Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the processes that were there at the start are still looked at",
            ),
            _ => return None,
        })
    }
}

impl Answers {
    async fn is_ready(&self) -> bool {
        if !self.is_ready.load(Ordering::Relaxed) {
            let has_looked = self.asker.report().await.is_some_and(|(_, report)| report.has_looked);
            self.is_ready.fetch_or(has_looked, Ordering::Relaxed);
        }
        self.is_ready.load(Ordering::Relaxed)
    }

    async fn status(&self) -> Status {
        let report = self.asker.report().await;
        let age = report.as_ref().map(|(age, _)| *age);
        self.board.status(age, report.as_ref().map(|(_, report)| &**report))
    }
}

fn answer(status: &Status) -> Answer {
    match serde_json::to_string(status) {
        Ok(text) => {
            let body = escape::json(text) + "\n";
            Answer { status: StatusCode::OK, kind: "application/json", body }
        }
        Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Where the flag and the file say that it is to listen.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err(format!("it must be a path, or {NONE}")) } else { Ok(PathBuf::from(text)) }
}
