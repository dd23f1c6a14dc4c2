//! Why processes are not watched.

use std::io;
use std::sync::Arc;

use lightfoot_symbolizer::Refusal;
use lightfoot_symbolizer::build_info::BuildInfo;
use thiserror::Error;

use super::LoadedError;
use crate::attach::AttachError;
use crate::discover::selection::Rule;
use crate::inspect::InspectError;

/// Why a process cannot be watched.
#[derive(Clone, Debug, Error)]
pub enum WatchError {
    /// It is no Go program that can be watched.
    #[error(transparent)]
    Refused(Arc<Refusal>),
    /// Its file cannot be inspected.
    #[error(transparent)]
    Inspect(#[from] Arc<InspectError>),
    /// Its file cannot be opened.
    #[error("its file cannot be opened")]
    Open(#[source] Arc<io::Error>),
    /// It was asked for, but a rule forbids it.
    #[error("{0}")]
    Forbidden(Rule),
    /// A rule may be about it, and more of its pod must be known to tell.
    #[error("a rule asks for what is not known of its pod: {because}")]
    PodUnknown {
        /// Why not.
        because: &'static str,
    },
    /// Nothing in it can be watched.
    #[error("nothing in it can be watched: {0}")]
    Nothing(String),
    /// The kernel's programs cannot tell its number.
    #[error("it is in a PID namespace below Lightfoot's own; run Lightfoot in the host's")]
    PidNamespace,
    /// Its own instrumentation makes the spans that could be had.
    #[error("left to its own instrumentation: {covered} (--sdk both watches it all the same)")]
    Covered {
        /// What it does, and by which instrumentation.
        covered: String,
        /// What it was built from.
        build_info: Arc<BuildInfo>,
        /// Whether it serves HTTP or gRPC.
        is_server: bool,
    },
    /// That is a bug; the file may be a hostile one.
    #[error("the analysis of its file has failed, which is a bug of Lightfoot")]
    Analysis,
    /// Who else runs its file is not known.
    #[error("processes cannot be listed")]
    Processes(#[source] Arc<io::Error>),
    /// What its clients send cannot be added to.
    #[error("{0}")]
    Unproven(String),
    /// What it has loaded is not what its file says.
    #[error(transparent)]
    Loaded(#[from] Arc<LoadedError>),
    /// A process of its program died soon after probes were placed.
    #[error("a process of its program died soon after probes were placed")]
    Suspended,
    /// Another agent watches it.
    #[error(
        "Lightfoot watches it already, as process {agent}; this one takes over within a second of that one's end"
    )]
    Claimed {
        /// The number of its process.
        agent: u32,
    },
    /// The kernel refuses.
    #[error(transparent)]
    Attach(#[from] Arc<AttachError>),
}
