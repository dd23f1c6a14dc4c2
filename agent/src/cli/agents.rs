//! Which running agents a command is about, and how they are asked.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use hyper::StatusCode;
use serde_json::Value;

use super::config::ConfigArguments;
use super::{FAILURE, SUCCESS, report};
use crate::config::{Config, ConfigError, File};
use crate::state::{default_folders, is_trustworthy, sockets};
use crate::status::Status;
use crate::status::client::{self, ClientError};

/// The flags that say which.
#[derive(clap::Args)]
pub(super) struct AgentsArguments {
    /// Only the agent that listens at this socket
    #[arg(long, value_name = "PATH", conflicts_with = "state_dir")]
    socket: Option<PathBuf>,
    /// Only the agents whose marks are in this folder, as `run --state-dir` names it
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArguments,
}

impl AgentsArguments {
    /// Calls `ask` with the socket of each. The exit code: a failure that is one's own is told, and keeps nobody else from being asked.
    pub(super) fn each(&self, mut ask: impl FnMut(&Path) -> anyhow::Result<()>) -> anyhow::Result<u8> {
        let (mut code, mut asked) = (SUCCESS, 0);
        for place in &self.places()? {
            match ask(place) {
                Ok(()) => asked += 1,
                // What a killed agent left is in the folder until the next one starts.
                Err(error) if self.socket.is_none() && is_nobody_there(&error) => {}
                Err(error) => {
                    code = FAILURE;
                    report::fail(&format!("{error:#}"));
                }
            }
        }
        if asked == 0 && code == SUCCESS {
            bail!("no Lightfoot of this user is running");
        }
        Ok(code)
    }

    /// What the file says. An agent goes on by what it has read where its file has mistakes by now: these must not keep anybody, health checks
    /// among them, from asking it.
    fn config_file(&self) -> anyhow::Result<File> {
        match self.config.load() {
            Ok(config) => Ok(config.file),
            Err(error) if self.config.is_named() => Err(error.into()),
            Err(error) => {
                let places = "agents that run are looked for by its state_dir and status_socket alone";
                report::fail(&format!("{error}\n{places}"));
                Ok(match &error {
                    ConfigError::Mistakes { path, .. } => Config::places_alone(path),
                    _ => File::default(),
                })
            }
        }
    }

    /// The sockets of those who are asked.
    fn places(&self) -> anyhow::Result<Vec<PathBuf>> {
        if let Some(socket) = &self.socket {
            return Ok(vec![socket.clone()]);
        }
        let mut named = self.state_dir.clone();
        if named.is_none() {
            let file = self.config_file()?;
            if let Some(socket) = file.status_socket.filter(|path| path != Path::new("none")) {
                return Ok(vec![socket]);
            }
            named = file.state_dir;
        }
        let folders = match &named {
            Some(folder) => vec![folder.clone()],
            None => default_folders().into_iter().filter(|folder| is_trustworthy(folder)).collect(),
        };
        let mut found = Vec::new();
        for folder in &folders {
            match sockets(folder) {
                Ok(sockets) => found.extend(sockets),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let folder = folder.display();
                    return Err(error)
                        .with_context(|| format!("cannot look into {folder}, which is its user's"));
                }
            }
        }
        if found.is_empty() {
            let all: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            bail!("no Lightfoot of this user is running: there is no socket in {}", all.join(", "));
        }
        found.sort();
        Ok(found)
    }
}

/// How the agent at a socket says that it goes, also as it said it.
pub(super) fn status_of(socket: &Path) -> anyhow::Result<(Status, Value)> {
    let body = checked(socket, client::get(socket, "/status")?)?;
    let context = || format!("{} does not answer as Lightfoot does", socket.display());
    let whole: Value = serde_json::from_str(&body).with_context(context)?;
    Ok((serde_json::from_value(whole.clone()).with_context(context)?, whole))
}

/// The text of an answer that is none of failure.
pub(super) fn checked(socket: &Path, (code, body): (StatusCode, impl AsRef<[u8]>)) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(body.as_ref()).into_owned();
    if code != StatusCode::OK {
        bail!("{} answers {code}: {}", socket.display(), text.trim_end());
    }
    Ok(text)
}

fn is_nobody_there(error: &anyhow::Error) -> bool {
    let Some(ClientError::Connect { source, .. }) = error.downcast_ref() else { return false };
    matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}
