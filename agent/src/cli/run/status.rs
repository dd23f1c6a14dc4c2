//! Saying how it goes to whoever asks over a socket (`lightfoot status`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::Arguments;
use crate::config::Config;
use crate::deliver::{self, MetricsSettings};
use crate::escape;
use crate::logs::{self, Level};
use crate::session::RingFill;
use crate::state::Mark;
use crate::status::Status;
use crate::status::openmetrics;
use crate::status::server::{Answer, MAX_CONNECTIONS, Respond, Server};
use crate::status::socket::Socket;
use crate::status::tcp::Tcp;
use crate::watch::Question;

mod asking;
mod because;
mod board;
mod cost;
mod exporting;
mod memory;

use asking::Asker;
pub(super) use board::Board;
use exporting::Exporter;

/// What turns it off.
const NONE: &str = "none";

/// What it takes to tell of an agent.
pub(super) struct Bound {
    socket: Option<Socket>,
    tcp: Option<Tcp>,
    metrics: Option<MetricsSettings>,
    flush_timeout: Duration,
    board: Arc<Board>,
}

/// What tells of an agent that runs. It ends when it is dropped.
pub(super) struct Telling {
    _server: Option<Server>,
    exporter: Option<(Arc<Exporter>, JoinHandle<()>)>,
    flush_timeout: Duration,
}

/// A socket, unless that is switched off: the one that was asked for, or one beside the mark.
pub(super) fn bind(
    arguments: &Arguments,
    config: &Config,
    settings: &deliver::Settings,
    mark: Option<&Mark>,
    board: &Arc<Board>,
) -> anyhow::Result<Bound> {
    let flag = arguments.status_socket.as_ref().map(|path| ("--status-socket", path));
    let asked = flag.or(config.file.status_socket.as_ref().map(|path| ("status_socket", path)));
    let socket = match (asked, mark.map(Mark::socket)) {
        (Some((_, path)), _) if path == Path::new(NONE) => None,
        (Some((name, path)), _) => Some(Socket::bind(path).context(name)?),
        (None, None) => None,
        (None, Some(path)) => Socket::bind(&path).map_err(|error| cannot_be_asked(&error.into())).ok(),
    };
    let flag = arguments.status_listen.map(|address| ("--status-listen", address));
    let asked = flag.or(config.file.status_listen.map(|address| ("status_listen", address)));
    let token = arguments.status_token.as_ref().or(config.file.status_token.as_ref());
    let listen = |(name, address)| Tcp::bind(address, token.map(PathBuf::as_path)).context(name);
    let tcp = asked.map(listen).transpose()?;
    let (metrics, flush_timeout) = (settings.metrics.clone(), settings.flush_timeout);
    Ok(Bound { socket, tcp, metrics, flush_timeout, board: Arc::clone(board) })
}

fn cannot_be_asked(error: &anyhow::Error) {
    let error = format!("{error:#}");
    warn!(error, "nobody can ask this agent how it goes");
}

impl Bound {
    /// Tells from now on; to be called within the runtime of the thread that reads the ring.
    pub(super) fn tell(
        self,
        ask: mpsc::Sender<Question>,
        pause_file: Option<PathBuf>,
        ring: &Arc<RingFill>,
    ) -> Telling {
        if let Some(socket) = &self.socket {
            debug!(socket = %socket.path().display(), "whoever asks is told how it goes");
        }
        self.board.reads(ring);
        // Whoever asks may be in another folder.
        self.board.is_paused_by(pause_file.and_then(|file| std::path::absolute(file).ok()));
        let (signs, mut asked) = mpsc::channel::<oneshot::Sender<()>>(MAX_CONNECTIONS);
        // This thread has others to do; that it comes to this is a sign of life.
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                let _ = answer.send(());
            }
        });
        let asker = Asker::new(ask, signs);
        let answers = Arc::new(Answers { board: self.board, asker, is_ready: AtomicBool::new(false) });
        let is_asked = self.socket.is_some() || self.tcp.is_some();
        let started = is_asked.then(|| Server::start(self.socket, self.tcp, Arc::clone(&answers)));
        let server = started.and_then(|started| started.map_err(|error| cannot_be_asked(&error.into())).ok());
        let exporter = self.metrics.map(|settings| {
            let exporter = Arc::new(Exporter::new(answers, settings));
            let following = tokio::spawn(Arc::clone(&exporter).follow());
            (exporter, following)
        });
        Telling { _server: server, exporter, flush_timeout: self.flush_timeout }
    }
}

impl Telling {
    /// Sends the last metrics, where they are sent.
    pub(super) async fn finish(self) {
        let Some((exporter, following)) = self.exporter else { return };
        following.abort();
        if let Err(error) = exporter.send(self.flush_timeout).await {
            debug!(error, "the endpoint did not take the last metrics");
        }
    }
}

struct Answers {
    board: Arc<Board>,
    asker: Asker,
    /// Once it was, it stays.
    is_ready: AtomicBool,
}

impl Respond for Arc<Answers> {
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
            "/log-level" => Answer::text(StatusCode::OK, logs::current().unwrap_or_default().name()),
            _ => return None,
        })
    }

    fn put(&self, path: &str, body: &str) -> Option<Answer> {
        if path != "/log-level" {
            return None;
        }
        let Ok(level) = <Level as clap::ValueEnum>::from_str(body, true) else {
            let reason = "it is none of error, warn, info, debug, trace";
            return Some(Answer::text(StatusCode::BAD_REQUEST, reason));
        };
        logs::change(level);
        Some(Answer::text(StatusCode::OK, level.name()))
    }
}

impl Answers {
    async fn is_ready(&self) -> bool {
        if !self.is_ready.load(Ordering::Relaxed) {
            let has_looked = self.asker.report(false).await.is_some_and(|(_, report)| report.has_looked);
            self.is_ready.fetch_or(has_looked, Ordering::Relaxed);
        }
        self.is_ready.load(Ordering::Relaxed)
    }

    async fn status(&self) -> Status {
        let report = self.asker.report(true).await;
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
