//! Where clients keep what a header is added to.

use lightfoot_probes_abi::layout::{Http2Propagation, NONE, Propagation};
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::{Architecture, site};

use super::{Struct, grpc, sum};
use crate::catalog::{self, Layout, go_runtime, http2, net_http};
use crate::inspect::Program;

/// All of it.
pub(super) fn propagation(program: &Program) -> Propagation {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (writer, encoded) = (of(&net_http::WRITER), of(&catalog::grpc::BUFFER));
    // A program has maps of one kind.
    let headers = [(go_runtime::CLASSIC_MAP, "count"), (go_runtime::SWISS_MAP, "used")]
        .map(|(map, field)| of(&map).offset(field));
    Propagation {
        writer_type: writer.pointer_type(),
        buffer: writer.offset("buf"),
        used: writer.offset("n"),
        headers: headers.into_iter().min().unwrap_or(NONE),
        bytes: encoded.offset("buf"),
        taken: encoded.offset("off"),
        grpc: grpc::propagation(program),
        http2: [http2::BUNDLED_SENDER, http2::INTERNAL_SENDER]
            .iter()
            .find_map(|sender| http2(program, sender))
            .unwrap_or(Http2Propagation::UNKNOWN),
        x_http2: http2(program, &http2::X_SENDER).unwrap_or(Http2Propagation::UNKNOWN),
    }
}

/// Nothing unless one function calls the other once, and has its request on the stack then.
fn http2(program: &Program, sender: &http2::Sender) -> Option<Http2Propagation> {
    // Beside the receiver, at the place that Go's ABI has for it.
    const REQUEST: (Place, u64) = (Place::IntegerRegister(1), 16);
    if program.architecture != Architecture::X86_64 {
        return None; // nothing is written there
    }
    let callee = program.functions.get(sender.function).ok()?.entry;
    let caller = grpc::code(program, sender.caller)?;
    let [call] = <[_; 1]>::try_from(site::calls_to(caller, callee).ok()?).ok()?;
    if !site::keeps_argument(caller, call.address, REQUEST.0, REQUEST.1) {
        return None;
    }
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (connection, request) = (of(sender.connection), of(sender.request));
    Some(Http2Propagation {
        return_address: call.address.0.checked_add(call.bytes.len() as u64)?,
        // The place of the callee's receiver is where the caller's stack pointer is before the call.
        request: u64::try_from(call.stack_delta?.checked_neg()?).ok()?.checked_add(REQUEST.1)?,
        header: request.offset("Header"),
        url: request.offset("URL"),
        buffer: connection.offset("hbuf"),
        writer: connection.offset("bw"),
        list_size: connection.offset("peerMaxHeaderListSize"),
        encoder: connection.offset("henc"),
        table_size: sum(of(sender.encoder).offset("dynTab"), of(sender.table).offset("maxSize")),
    })
}
