//! What can go wrong between the agent and the kernel.

use std::error::Error;
use std::sync::Arc;
use std::{fs, io, iter};

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::programs::uprobe::UProbeError;
use lightfoot_probes::NotElf;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{MAX_BINARIES, MAX_SITES, TracefsError};

/// From this level on Debian's kernels, and those of others that took it over, refuse perf events to whoever lacks CAP_SYS_ADMIN
/// (Debian's patch `security-perf-allow-further-restriction-of-perf_event_open`). Linux itself has no such level.
const PARANOID: u32 = 3;

/// Why the kernel did not take what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel refused the object or a map in it.
    #[error("the kernel does not load the BPF programs")]
    Load(#[source] Box<EbpfError>),
    /// The object is none: it is another build's.
    #[error("the BPF programs cannot be read")]
    Object(#[source] NotElf),
    /// Lockdown leaves no way to place probes.
    #[error(
        "the kernel is locked down for confidentiality, which leaves only uprobe_multi (Linux 6.6) to place probes; start it \
         with lockdown=integrity or none"
    )]
    LockedDown,
    /// The object lacks a program or map: it is another build's.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    /// On this kernel a program with such a frame could write to another's.
    #[error(
        "the BPF programs use {0} bytes of a stack frame, which is not safe on this kernel: use another build"
    )]
    Frame(u32),
    /// The kernel refused a program.
    #[error("the kernel does not accept the BPF program {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// The kernel refused to place the probes.
    #[error("the kernel does not place probes in it")]
    Place(#[source] Box<ProgramError>),
    /// Events of tracefs cannot be had.
    #[error(transparent)]
    Tracefs(#[from] TracefsError),
    /// Debian's kernels give nobody a perf event, of whatever kind, at this level.
    #[error(
        "kernel.perf_event_paranoid is {0}, which leaves perf events, and so tracefs, to CAP_SYS_ADMIN; give Lightfoot that \
         capability, or set it to 2 (sysctl kernel.perf_event_paranoid=2)"
    )]
    Paranoid(u32),
    /// A map could not be read or written.
    #[error("the BPF map {map} cannot be used")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A map could not be opened a second time.
    #[error("a BPF map cannot be opened twice")]
    SharedMap(#[source] io::Error),
    /// The agent's PID namespace is unknown.
    #[error("/proc/self/ns/pid cannot be read")]
    PidNamespace(#[source] io::Error),
    /// The number of processors is unknown.
    #[error("the number of processors cannot be told")]
    Processors(#[source] io::Error),
    /// There is no thread to close probes.
    #[error("no thread can be started")]
    Closer(#[source] io::Error),
    /// [`super::MAX_BINARIES`] are watched already.
    #[error(
        "{MAX_BINARIES} binaries are watched already; choose with --exe, --port or --pid, or wait for one to end"
    )]
    TooManyBinaries,
    /// As many processes as may be ([`super::MAX_PROCESSES`]) are watched already.
    #[error("{0} processes are watched already; choose with --exe, --port or --pid, or wait for one to end")]
    TooManyProcesses(u32),
    /// [`MAX_SITES`] are told apart by their addresses already.
    #[error(
        "{MAX_SITES} sites are watched already, more than this kernel tells apart; choose with --exe, --port or --pid, \
         or wait for a process to end"
    )]
    TooManySites,
    /// The agent may open no more files, or all but the [`super::RESERVED_FILES`]. Perf events and events of tracefs take one for each site, `uprobe_multi` one or two for each binary.
    #[error(
        "Lightfoot may open no more than {limit} files, and probes take some; raise the limit (`ulimit -n`, LimitNOFILE=)"
    )]
    TooManyFiles {
        /// How many it may open.
        limit: u64,
    },
}

impl AttachError {
    /// That the agent may open no more files, or no perf events, if that is why a probe was refused.
    pub(super) fn of_refusal(error: &(dyn Error + 'static)) -> Option<Self> {
        Self::of_open_files(error).or_else(|| {
            let level =
                fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()?;
            (level >= PARANOID && is_caused_by(error, Errno::ACCESS)).then_some(Self::Paranoid(level))
        })
    }

    /// That the agent may open no more files, if that is why something failed.
    pub fn of_open_files(error: &(dyn Error + 'static)) -> Option<Self> {
        let limit = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        is_caused_by(error, Errno::MFILE).then(|| Self::TooManyFiles { limit: limit() })
    }

    /// Whether the kernel does not know the kind of program, a helper that it calls, or the kind of link: for the first two it has
    /// but one word.
    pub(super) fn is_of_old_kernel(&self) -> bool {
        match self {
            Self::Program { source, .. } => is_caused_by(source, Errno::INVAL),
            Self::Place(source) => {
                matches!(**source, ProgramError::UProbeError(UProbeError::MultiLinkNotSupported))
            }
            _ => false,
        }
    }

    /// Whether it may be otherwise once another process is left.
    pub fn is_for_lack_of_room(&self) -> bool {
        matches!(
            self,
            Self::TooManyBinaries
                | Self::TooManyProcesses(_)
                | Self::TooManySites
                | Self::TooManyFiles { .. }
        )
    }
}

/// Whether what the operating system said is at the bottom of an error.
fn is_caused_by(error: &(dyn Error + 'static), number: Errno) -> bool {
    let mut causes = iter::successors(Some(error), |cause: &&(dyn Error + 'static)| (*cause).source());
    causes.any(|cause| {
        let shared = cause.downcast_ref::<Arc<io::Error>>().map(AsRef::as_ref);
        let cause = cause.downcast_ref::<io::Error>().or(shared);
        cause.is_some_and(|cause| cause.raw_os_error() == Some(number.raw_os_error()))
    })
}
