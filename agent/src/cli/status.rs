//! `lightfoot status`: how running agents are doing.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::StatusCode;

use super::config::ConfigArguments;
use super::{FAILURE, SUCCESS, page, report};
use crate::escape::{json, printable};
use crate::state::{default_folders, is_trustworthy, sockets};
use crate::status::Status;
use crate::status::client::{self, ClientError};

mod table;

/// How often it is looked anew.
const INTERVAL: Duration = Duration::from_secs(1);
/// To the upper left corner, and all that is below it away (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show how running agents are doing: what they watch, what became of spans, and why there are none
///
/// It asks each agent of this user that runs on this host, by its unix socket. Root sees also those whose user is another one
/// and whose sockets are in /run/lightfoot.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 all have answered, 1 nobody is there or somebody does not answer, 2 wrong usage.\n\n\
                        Examples:\n  sudo lightfoot status\n  sudo lightfoot status --watch\n  \
                        sudo lightfoot status --json | jq '.processes[] | select(.spans == 0) | .because'"
)]
pub(super) struct Arguments {
    /// Print everything as JSON, an object a line for each agent
    #[arg(long)]
    json: bool,
    /// Look anew each second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Ask the agent that listens at this socket
    #[arg(long, value_name = "PATH", conflicts_with = "state_dir")]
    socket: Option<PathBuf>,
    /// Ask the agents whose marks are in this folder, as `run --state-dir` names it
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    loop {
        // Agents come and go meanwhile.
        let places = arguments.places()?;
        let mut page = page();
        if arguments.watch && !arguments.json && io::stdout().is_terminal() {
            page.write_all(CLEAR.as_bytes())?;
        }
        let (mut code, mut shown) = (SUCCESS, 0);
        for place in &places {
            match show(place, arguments.json, shown, &mut page) {
                Ok(()) => shown += 1,
                // What a killed agent left is in the folder until the next one starts.
                Err(error) if arguments.socket.is_none() && is_nobody_there(&error) => {}
                Err(error) => {
                    code = FAILURE;
                    report::fail(&printable(&format!("{error:#}")));
                }
            }
        }
        page.flush()?;
        drop(page);
        if shown == 0 && code == SUCCESS {
            bail!("no Lightfoot of this user is running");
        }
        if !arguments.watch || code != SUCCESS {
            return Ok(code);
        }
        thread::sleep(INTERVAL);
    }
}

impl Arguments {
    /// The sockets of those who are asked.
    fn places(&self) -> anyhow::Result<Vec<PathBuf>> {
        let file = self.config.load()?.file;
        let of_file = file.status_socket.filter(|path| self.state_dir.is_none() && path != Path::new("none"));
        if let Some(socket) = self.socket.clone().or(of_file) {
            return Ok(vec![socket]);
        }
        let named = self.state_dir.clone().or(file.state_dir);
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

fn is_nobody_there(error: &anyhow::Error) -> bool {
    let Some(ClientError::Connect { source, .. }) = error.downcast_ref() else { return false };
    matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn show(socket: &Path, is_json: bool, number: usize, page: &mut impl Write) -> anyhow::Result<()> {
    let (code, body) = client::get(socket, "/status")?;
    let text = str::from_utf8(&body).unwrap_or_default();
    if code != StatusCode::OK {
        bail!("{} answers {code}: {}", socket.display(), text.trim_end());
    }
    let status: Status = serde_json::from_slice(&body)
        .with_context(|| format!("{} does not answer as Lightfoot does", socket.display()))?;
    if is_json {
        // As it came: a newer agent may say more than is known here.
        let whole: serde_json::Value = serde_json::from_slice(&body)?;
        return Ok(writeln!(page, "{}", json(whole.to_string()))?);
    }
    if number != 0 {
        writeln!(page)?;
    }
    Ok(table::write(&status, page)?)
}
