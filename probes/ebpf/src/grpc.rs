//! Calls of gRPC, served and made.
//!
//! A served one runs on a goroutine of its own and ends where its status is written. A unary call of a client ends behind
//! the call; a stream goes on when it was opened, belongs to no goroutine and ends with the one that watches over it.

mod client;
mod connection;
mod messages;
mod peer;
mod server;
mod status;
mod stream;
mod unary;

use lightfoot_probes_abi::{Grpc, InFlight};

pub use client::{end as client_end, start as client_start};
pub use connection::note as note_connection;
pub use messages::{RECEIVED, SENT, SERVER, count as message};
pub use server::{end as server_end, gone as server_gone, handler_status, start as server_start};
pub use stream::{end as stream_end, opened as stream_opened};

/// The record of an open span of this library.
#[inline(always)]
fn record(entry: &mut InFlight) -> &mut Grpc {
    // SAFETY: the records of all libraries have the same size (`probes/abi` asserts it) and are integers alone.
    unsafe { &mut *(&raw mut entry.record).cast::<Grpc>() }
}
