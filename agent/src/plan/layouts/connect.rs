//! What tells calls of connect, and their protocol.

use lightfoot_probes_abi::layout::{Connect, NONE};

use crate::catalog::connect;
use crate::inspect::Program;

/// Whether the headers of served requests tell the protocol of calls.
pub(super) fn serves(program: &Program) -> bool {
    connect::SERVERS.iter().any(|name| entry(program, name) != NONE)
}

/// What tells the requests of clients whose protocol can be known.
pub(super) fn clients(program: &Program) -> Connect {
    if entry(program, connect::OTHER_PROTOCOL) != NONE {
        return Connect { of_message: NONE, of_nothing: NONE };
    }
    Connect {
        of_message: entry(program, connect::OF_MESSAGE),
        of_nothing: entry(program, connect::OF_NOTHING),
    }
}

fn entry(program: &Program, name: &str) -> u64 {
    program.functions.get(name).map_or(NONE, |function| function.entry.0)
}
