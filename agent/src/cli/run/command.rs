//! `run -- COMMAND`: a program that is started under watch.
//!
//! A process of our own waits until the probes stand and becomes the command then, so that its first request is seen.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, kill_process};
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::info;

use crate::cli::report;
use crate::sys;

mod user;

/// The exit code of shells for a command that cannot be executed.
const CANNOT_EXECUTE: u8 = 126;
/// The exit code of shells for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// The signal after so many requests to end is one that cannot be ignored.
const PATIENCE: u32 = 3;

/// A command that cannot be started.
#[derive(Debug, Error)]
#[error("cannot start {}: {source}", command.display())]
pub(in crate::cli) struct StartError {
    command: OsString,
    source: io::Error,
}

/// Says why, and returns the exit code for it.
pub(in crate::cli) fn complain(error: &StartError) -> u8 {
    report::fail(&error.to_string());
    if error.source.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE }
}

/// What is to be started.
pub(in crate::cli) struct Program {
    /// Its file.
    pub(super) path: PathBuf,
    words: Vec<OsString>,
}

/// The command, running or about to.
pub(super) struct Running {
    pub(super) pid: u32,
    child: Child,
    gate: Option<PipeWriter>,
}

impl Program {
    /// Finds the command as shells do; `None` if there is none.
    pub(in crate::cli) fn find(words: &[OsString]) -> Result<Option<Self>, StartError> {
        let Some(name) = words.first() else { return Ok(None) };
        let path = find(name, env::var_os("PATH").as_deref());
        let path = path.map_err(|source| StartError { command: name.clone(), source })?;
        Ok(Some(Self { path, words: words.to_vec() }))
    }

    /// Starts the process that waits. It needs a tokio runtime.
    pub(super) fn start(&self) -> io::Result<Running> {
        let (gate, opener) = io::pipe()?;
        fcntl_setfd(&gate, FdFlags::empty())?;
        let child = Command::new("/proc/self/exe")
            .arg("exec")
            .arg(gate.as_raw_fd().to_string())
            .arg(&self.path)
            .arg("--")
            .args(&self.words)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Running { pid, child, gate: Some(opener) })
    }
}

impl Running {
    /// Lets it become the command when `ready` is answered, in whatever way.
    pub(super) fn go_when(&mut self, ready: oneshot::Receiver<()>) {
        if let Some(mut gate) = self.gate.take() {
            tokio::spawn(async move {
                let _ = ready.await;
                // It fails if the process was killed, and then somebody waits for it already.
                let _ = gate.write_all(b"!");
            });
        }
    }

    fn kill(&self, number: i32) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some((pid, signal)) = pid.zip(rustix::process::Signal::from_named_raw(number)) {
            // It may have ended just now, and then whoever waits for it learns it.
            let _ = kill_process(pid, signal);
        }
    }
}

fn find(name: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    let is_executable = |candidate: &Path| {
        let metadata = fs::metadata(candidate)?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "not an executable file"))
    };
    if name.as_encoded_bytes().contains(&b'/') {
        return is_executable(Path::new(name)).map(|()| name.into());
    }
    let mut denied = None;
    for folder in env::split_paths(path.unwrap_or(OsStr::new("/usr/bin:/bin"))) {
        // An empty entry is the current folder.
        let candidate = Path::new(".").join(folder).join(name);
        match is_executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "command not found")))
}

#[derive(clap::Args)]
pub(in crate::cli) struct ExecArguments {
    gate: RawFd,
    path: PathBuf,
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// What the process does that is to become the command: wait, and become it, as the user who called sudo.
pub(in crate::cli) fn exec(arguments: &ExecArguments) -> u8 {
    let mut gate = File::from(sys::inherited(arguments.gate));
    if !matches!(gate.read(&mut [0]), Ok(1)) {
        // Whoever was to watch has ended.
        return super::super::FAILURE;
    }
    drop(gate);
    let Some((name, words)) = arguments.words.split_first() else { return super::super::FAILURE };
    let mut command = process::Command::new(&arguments.path);
    command.arg0(name).args(words);
    let source = match user::return_to_caller(&mut command) {
        Ok(()) => command.exec(),
        Err(error) => error,
    };
    complain(&StartError { command: name.clone(), source })
}

/// The signals that end us or go to the command.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    user_defined2: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            user_defined2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Ready when it is time to stop: the command has ended, or a signal came where there is none; not a hangup if that
    /// `reloads` the configuration.
    pub(super) async fn wait(
        mut self,
        running: Option<&mut Running>,
        reloads: bool,
        ended: &mut Option<ExitStatus>,
    ) {
        let is_to_go_on =
            |kind| kind == SignalKind::user_defined2() || reloads && kind == SignalKind::hangup();
        let Some(running) = running else {
            while is_to_go_on(self.next().await) {}
            return;
        };
        let mut requests = 0;
        loop {
            let kind = tokio::select! {
                status = running.child.wait() => {
                    *ended = status.ok();
                    return;
                }
                kind = self.next() => kind,
            };
            let asks_to_end = kind == SignalKind::interrupt() || kind == SignalKind::terminate();
            requests += u32::from(asks_to_end);
            if asks_to_end && requests >= PATIENCE {
                running.kill(SignalKind::from_raw(9).as_raw_value());
                continue;
            }
            if asks_to_end && requests > 1 {
                info!("waiting for the command to end; once more kills it");
            }
            // Ctrl-C reaches the command without us, and a second signal means "at once" to many programs.
            let came_from_terminal = requests <= 1
                && kind != SignalKind::terminate()
                && kind != SignalKind::user_defined2()
                && is_in_foreground();
            if !came_from_terminal {
                running.kill(kind.as_raw_value());
            }
        }
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.user_defined2.recv() => SignalKind::user_defined2(),
        }
    }
}

/// Whether the terminal sends its signals to our process group, and so to the command too.
pub(super) fn is_in_foreground() -> bool {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| foreground(&stat)).unwrap_or(false)
}

/// Whether the process group (field 5 of proc_pid_stat(5)) is the terminal's foreground group (field 8).
fn foreground(stat: &str) -> Option<bool> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(2);
    let (group, foreground) = (fields.next()?, fields.nth(2)?);
    Some(group == foreground)
}

/// The command's exit code, or 128 and the number of the signal that ended it, as shells have it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_shells_find_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let program = file("program", 0o755);
        file("data", 0o644);
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        let find = |name: &OsStr| find(name, Some(&path)).map_err(|error| error.kind());
        assert_eq!(find("program".as_ref()), Ok(program.clone()));
        assert_eq!(find(program.as_os_str()), Ok(program));
        assert_eq!(find("data".as_ref()), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(find("nothing".as_ref()), Err(io::ErrorKind::NotFound));
        assert_eq!(find("./nothing".as_ref()), Err(io::ErrorKind::NotFound));
        assert_eq!(find(folder.path().as_os_str()), Err(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_process_in_the_foreground_is_told_from_others() {
        assert_eq!(foreground("42 (a) b) S 1 40 39 34816 40 4194304"), Some(true));
        assert_eq!(foreground("42 (a) S 1 40 39 34816 41 4194304"), Some(false));
        assert_eq!(foreground("42 (a) S 1 40 39 0 -1 4194304"), Some(false));
        assert_eq!(foreground("42"), None);
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 128 + 15);
    }
}
