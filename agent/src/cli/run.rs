//! `lightfoot run`: spans from running programs.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::Context as _;
use lightfoot_probes_abi::{Sampler, SamplerKind};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::SUCCESS;
use crate::attach::{Kernel, Method};
use crate::discover::{Proc, Selection};
use crate::session::Session;
use crate::watch::Watcher;

mod counts;
mod output;

/// Watch Go services and show or send their spans
///
/// With nothing said, every Go program on this host with an HTTP server is watched, now and when it starts, except
/// telemetry backends and whoever listens where spans are sent to. Spans are printed as trees; with an endpoint they
/// are sent there instead.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sudo lightfoot run\n  sudo lightfoot run -- ./server --port 8080\n  \
                        sudo lightfoot run --exe 'shop-*' --endpoint http://127.0.0.1:4317\n\n\
                        On SIGUSR1 all counts are printed. Ctrl-C or SIGTERM detaches everything and ends.")]
pub(super) struct Arguments {
    /// Watch this process; may be given several times
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Watch programs whose path matches; without a slash, the last part of it
    #[arg(long, value_name = "GLOB")]
    exe: Vec<String>,
    /// Watch processes that listen on this TCP port
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    #[command(flatten)]
    output: output::OutputArguments,
    /// Size of the ring buffer between kernel and agent, in KiB; a power of two
    #[arg(long, value_name = "KIB", default_value_t = 8192, value_parser = ring_size)]
    ring_size: u32,
    /// How probes are placed; found by trying if not given
    #[arg(long, value_name = "METHOD", hide_possible_values = false)]
    attach_method: Option<Method>,
    /// Start this program under watch; it ends with Lightfoot, and Lightfoot with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let object = lightfoot_probes::OBJECT?;
    let settings = arguments.output.settings()?;
    let mut selection = Selection {
        pids: arguments.pid.iter().copied().collect(),
        executables: arguments
            .exe
            .iter()
            .map(|glob| Selection::executable(glob).with_context(|| format!("--exe {glob}")))
            .collect::<Result<_, _>>()?,
        ports: arguments.port.iter().copied().collect(),
        export_port: output::local_export_port(&settings),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (kernel, ring) = Kernel::load(object, arguments.attach_method, arguments.ring_size * 1024)
            .context(
                "cannot watch anything; it takes root, or the capabilities BPF, PERFMON and SYS_PTRACE",
            )?;
        let mut child = start(&arguments.command)?;
        if let Some(pid) = child.as_ref().and_then(Child::id) {
            selection.pids.insert(pid);
        }
        let counts = Arc::new(counts::Counts::default());
        let mut sink = output::Sink::start(&settings, &counts)?;
        let sampler = Sampler { kind: SamplerKind::AlwaysOn as u32, parent_based: 1, threshold: 0 };
        let mut session =
            Session::start(ring, |events| Watcher::new(Proc::default(), selection, sampler, kernel, events))?;
        let (ask, asked) = mpsc::channel(1);
        let reports =
            tokio::spawn(output::report_on_signal(ask, signal(SignalKind::user_defined1())?, counts));
        let mut ended = None;
        session.run(&mut sink, wait(child.as_mut(), &mut ended)?, asked).await;
        reports.abort();
        sink.finish().await;
        Ok(match ended {
            Some(status) => exit_code(status),
            None => SUCCESS,
        })
    })
}

/// Ready when it is time to stop: a signal came, or the command that was started has ended.
fn wait<'a>(
    child: Option<&'a mut Child>,
    ended: &'a mut Option<ExitStatus>,
) -> anyhow::Result<impl Future<Output = ()> + 'a> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut passed_on: HashMap<_, Signal> = HashMap::new();
    for kind in [SignalKind::hangup(), SignalKind::quit(), SignalKind::user_defined2()] {
        passed_on.insert(kind.as_raw_value(), signal(kind)?);
    }
    Ok(async move {
        let Some(child) = child else {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        };
        loop {
            let other = async {
                let waits = passed_on.iter_mut().map(|(number, signal)| {
                    Box::pin(async {
                        signal.recv().await;
                        *number
                    })
                });
                futures_util::future::select_all(waits).await.0
            };
            let number = tokio::select! {
                status = child.wait() => {
                    *ended = status.ok();
                    return;
                }
                // A terminal sends it to the child as well; a second one does no harm.
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                number = other => number,
            };
            let pid = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
            if let Some((pid, signal)) = pid.zip(rustix::process::Signal::from_named_raw(number)) {
                // It may have ended just now, and then the wait above says so.
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    })
}

/// Starts the command, as the user who called sudo.
fn start(command: &[OsString]) -> anyhow::Result<Option<Child>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let id = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if let Some((user, group)) =
        id("SUDO_UID").zip(id("SUDO_GID")).filter(|_| rustix::process::getuid().is_root())
    {
        command.as_std_mut().uid(user).gid(group);
    }
    let child = command.spawn();
    child.map(Some).with_context(|| format!("cannot start {}", PathBuf::from(program).display()))
}

/// The child's exit code, or 128 and the number of the signal that ended it, as shells have it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn ring_size(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if kib.is_power_of_two() && (4..=1 << 20).contains(&kib) {
        Ok(kib)
    } else {
        Err("it must be a power of two from 4 to 1048576".to_owned())
    }
}
