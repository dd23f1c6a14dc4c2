//! What can go wrong between the agent and the kernel.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use thiserror::Error;

use super::{MAX_BINARIES, MAX_PROCESSES, MAX_SITES};

/// Why the kernel did not take what was asked.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The kernel refused the object or a map in it.
    #[error("the kernel does not load the BPF programs")]
    Load(#[source] Box<EbpfError>),
    /// The object lacks a program or map: it is another build's.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
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
    /// A map could not be read or written.
    #[error("the BPF map {map} cannot be used")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// The agent's PID namespace is unknown.
    #[error("/proc/self/ns/pid cannot be read")]
    PidNamespace(#[source] io::Error),
    /// The number of processors is unknown.
    #[error("the number of processors cannot be told")]
    Processors(#[source] io::Error),
    /// [`MAX_BINARIES`] are watched already.
    #[error("{MAX_BINARIES} binaries are watched already; choose with --exe, --port or --pid")]
    TooManyBinaries,
    /// [`MAX_PROCESSES`] are watched already.
    #[error("{MAX_PROCESSES} processes are watched already; choose with --exe, --port or --pid")]
    TooManyProcesses,
    /// [`MAX_SITES`] are told apart by their addresses already.
    #[error(
        "{MAX_SITES} sites are watched already, more than this kernel tells apart; choose with --exe, --port or --pid"
    )]
    TooManySites,
}

impl AttachError {
    /// Whether it may be otherwise once another process or binary is left.
    pub fn is_for_lack_of_room(&self) -> bool {
        matches!(self, Self::TooManyBinaries | Self::TooManyProcesses | Self::TooManySites)
    }
}
