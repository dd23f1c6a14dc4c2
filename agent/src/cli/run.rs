//! `lightfoot run`: spans from running programs.

use std::net::SocketAddr;
use std::path::PathBuf;

use lightfoot_probes_abi::Sampler;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::SUCCESS;
use super::config::{ConfigArguments, variables};
use super::counts::Counts;
use super::logging::LogArguments;
use crate::config::Config;
use crate::config::file::Export;
use crate::config::peers::{self, Peers};
use crate::deliver;
use crate::describe;
use crate::discover::Selection;
use crate::kubernetes::Directory;
use crate::logs::{self, Level};
use crate::sampler;
use crate::variables::{SettingsError, Variables};
use crate::watch::Coexistence;

mod capabilities;
mod command;
mod output;
pub(super) mod pausing;
mod pods;
mod reload;
mod state;
mod status;
mod supervisor;
mod watching;

pub(super) use output::local_endpoint;
use output::{OutputArguments, Sink};
use pods::{InPods, KubernetesArguments};

pub(super) use command::ExecArguments;
pub(super) use command::{Program, complain, exec};
pub(super) use watching::{Appearance, Delivering, Output, WatchingArguments, watch};

/// Watch Go services and show or send their spans
///
/// With nothing said, every Go program on this host with an HTTP server is watched, now and when it starts, except
/// telemetry backends and whoever listens where spans are sent to. Spans are printed as trees; with an endpoint they
/// are sent there instead.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  sudo lightfoot run\n  sudo lightfoot run -- ./server --port 8080\n  \
                        sudo lightfoot run --exe 'shop-*' --endpoint http://127.0.0.1:4317\n\n\
                        On SIGUSR1 all counts are printed. SIGTSTP pauses, SIGCONT goes on. Ctrl-C or SIGTERM detaches everything and ends.\n\n\
                        Exit codes: 0 ended as it was told, 1 failure, 2 wrong usage. With a COMMAND that of the command, 128 and \
                        the number of the signal that ended it, 126 if it cannot be executed, 127 if it is not there.")]
pub(super) struct Arguments {
    #[command(flatten)]
    watching: WatchingArguments,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    kubernetes: KubernetesArguments,
    #[command(flatten)]
    logs: LogArguments,
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Where to leave a mark while running, by which the next Lightfoot tells that this one was killed, and since when spans
    /// may be missing. Without it the first that can be written of /run/lightfoot, $XDG_RUNTIME_DIR/lightfoot,
    /// /dev/shm/lightfoot-UID and /tmp/lightfoot-UID
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// The unix socket at which `lightfoot status` asks how it goes, or none; beside the mark if nothing else is said
    #[arg(long, value_name = "PATH", value_parser = status::path)]
    status_socket: Option<PathBuf>,
    /// Say how it goes at this TCP port, too, as 127.0.0.1:4390: health to anybody, the rest to whoever knows the token
    #[arg(long, value_name = "ADDRESS")]
    status_listen: Option<SocketAddr>,
    /// The file with that token, which others cannot read; needed where the address is not on loopback
    #[arg(long, value_name = "FILE")]
    status_token: Option<PathBuf>,
}

/// What flags, environment and file come to.
pub(super) struct Read {
    pub(super) settings: deliver::Settings,
    describing: describe::Settings,
    sampler: Sampler,
    level: Level,
    pub(super) peers: Peers,
}

/// Says which variables of other agents are set, and what says the same here.
pub(super) fn hint(peers: &Peers) {
    for (variable, here, is_followed) in &peers.hints {
        if *is_followed {
            info!(variable, here, "a variable of another agent is followed");
        } else {
            warn!(variable, here, "a variable of another agent is not followed");
        }
    }
}

impl Arguments {
    /// What is watched; whoever listens at the endpoint is not.
    pub(super) fn selection(&self, config: &Config, peers: &Peers, endpoint: Vec<SocketAddr>) -> Selection {
        self.watching.selection(config, peers, endpoint)
    }

    /// What Kubernetes says of pods now, if it is asked.
    pub(super) fn pods(&self, config: &Config) -> anyhow::Result<Option<Directory>> {
        pods::now(self.kubernetes.node(&config.file.kubernetes))
    }

    /// What is done about programs that trace themselves.
    pub(super) fn coexistence(&self, config: &Config) -> Coexistence {
        self.watching.coexistence(&config.file.watching)
    }

    /// Whether trace contexts are added to what processes send about which no rule says anything.
    pub(super) fn propagates(&self, config: &Config) -> bool {
        self.watching.propagates(&config.file.watching)
    }

    /// What flags, environment and file come to.
    pub(super) fn read(&self, config: &Config) -> Result<Read, SettingsError> {
        let mut variables = variables(config);
        let peers = peers::read(&mut variables);
        let export = &config.file.export;
        let export = &Export { format: peers.format.or(export.format), ..export.clone() };
        let settings = self.output.settings(export, &mut variables);
        let sampler = sampler::read(&mut variables);
        let level = self.logs.level(&mut variables);
        let mut describing = describe::Settings::from_env(|name| variables.value(name));
        describing.http.query = self.watching.queries(&config.file.watching);
        variables.finish(Read { settings, describing, sampler, level, peers })
    }
}

/// Whether a file alone can be followed.
pub(super) fn check(config: &Config) -> Result<(), SettingsError> {
    let mut variables = Variables::new(|_| None).with_file(config.in_place_of_variables());
    OutputArguments::default().settings(&config.file.export, &mut variables);
    sampler::read(&mut variables);
    logs::level(&mut variables);
    variables.finish(())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let config = arguments.config.load()?;
    let Read { settings, describing, sampler, level, peers } = arguments.read(&config)?;
    let program = match Program::find(&arguments.watching.command) {
        Ok(program) => program,
        Err(error) => return Ok(complain(&error)),
    };
    arguments.logs.start(&config.file.log, level)?;
    hint(&peers);
    if settings.is_disabled {
        return without_watching(program.as_ref());
    }
    let queue_bytes = if settings.otlp.is_some() { settings.queue_bytes } else { 0 };
    let delivering = Delivering { endpoint: local_endpoint(&settings), queue_bytes };
    let appear = |counts: &Counts, sink: &Sink| {
        let mark = state::leave(arguments, &config, counts)?;
        let status = status::bind(arguments, &config, &settings, mark.as_ref(), sink.board())?;
        Ok(Appearance { mark, status: Some(status), delivery: Some(sink.monitor()) })
    };
    watch(&arguments.watching, (&config, &peers), program.as_ref(), sampler, delivering, appear, |counts| {
        let in_pods = InPods::start(arguments.kubernetes.node(&config.file.kubernetes), counts);
        let joins = arguments.watching.joins(&config.file.watching);
        Sink::start(&settings, describing, (in_pods, joins), counts, program.is_none())
    })
}

/// Loads and attaches nothing; a command runs all the same.
fn without_watching(program: Option<&Program>) -> anyhow::Result<u8> {
    info!(variable = "OTEL_SDK_DISABLED", "watching is switched off");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = command::Signals::new()?;
        let mut child = program.map(Program::start).transpose()?;
        if let Some(child) = &mut child {
            // That nobody answers is an answer.
            child.go_when(oneshot::channel().1);
        }
        let mut ended = None;
        signals.wait(child.as_mut(), false, &mut ended).await;
        Ok(ended.map_or(SUCCESS, command::exit_code))
    })
}
