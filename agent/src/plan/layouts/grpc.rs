//! Where grpc-go keeps what is read of its calls.

use lightfoot_probes_abi::layout::{
    Grpc, GrpcClient, GrpcInvoke, GrpcMetadata, GrpcPropagation, GrpcStatus, GrpcStream, GrpcTransport, NONE,
};
use lightfoot_probes_abi::limits;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::types::{Field, Kind};
use lightfoot_symbolizer::{Architecture, site};

use super::{Struct, sum};
use crate::catalog::{Layout, grpc};
use crate::inspect::Program;

/// What functions between that which handles a call and that which writes its status may take of the stack, their own frames
/// aside: return addresses, and a `(*ServerStream).WriteStatus` that was not inlined. An earlier status is written from below
/// the frames of `SendMsg` and of the handler, which take more.
const BETWEEN: u64 = 256;

/// All of it.
pub(super) fn grpc(program: &Program) -> Grpc {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (status, proto, error) = (of(&grpc::STATUS), of(&grpc::PROTO_STATUS), of(&grpc::STATUS_ERROR));
    let code = proto.offset("Code");
    Grpc {
        stream: stream(program),
        transport: transport(program),
        metadata: GrpcMetadata {
            key_type: of(&grpc::INCOMING_KEY).type_itself(),
            key: of(&grpc::VALUE_CONTEXT).offset("key"),
            val: of(&grpc::VALUE_CONTEXT).offset("val"),
        },
        status: GrpcStatus {
            proto: status.offset("s"),
            code,
            message: proto.offset("Message").checked_sub(code).unwrap_or(NONE),
            error: error.pointer_type(),
            of_error: error.offset("s"),
            connection_error: of(&grpc::CONNECTION_ERROR).type_itself(),
            wrap_error: of(&grpc::WRAP_ERROR).pointer_type(),
            wrapped: of(&grpc::WRAP_ERROR).offset("err"),
        },
        client: client(program),
    }
}

/// What the headers of clients' calls are encoded into.
pub(super) fn propagation(program: &Program) -> GrpcPropagation {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let field = of(&grpc::HEADER_FIELD);
    if [("Name", 0), ("Value", 16), ("Sensitive", 32)].iter().any(|(name, at)| field.offset(name) != *at) {
        return GrpcPropagation::UNKNOWN;
    }
    let [buffer, handle] = ["buf", "bufHandle"].map(|name| of(&grpc::BUF_WRITER).offset(name));
    GrpcPropagation {
        side: of(&grpc::LOOPY_WRITER).offset("side"),
        buffer: of(&grpc::LOOPY_WRITER).offset("hBuf"),
        list_size: of(&grpc::HTTP2_CLIENT_LIMIT).offset("maxSendHeaderListSize"),
        framer: of(&grpc::LOOPY_WRITER).offset("framer"),
        writer: of(&grpc::FRAMER).offset("writer"),
        write_buffer: buffer.min(handle),
        by_pointer: (buffer == NONE).into(),
        used: of(&grpc::BUF_WRITER).offset("offset"),
        frames: of(&grpc::FRAMER).offset("fr"),
        frame: of(&grpc::HTTP2_FRAMER).offset("wbuf"),
    }
}

fn stream(program: &Program) -> GrpcStream {
    let stream = Struct::of(program, grpc::STREAM.name);
    let within = Struct::of(program, grpc::SERVER_STREAM.name).field("Stream");
    let by_pointer = within.is_some_and(|field| field.kind == Kind::Pointer);
    let start = match within {
        Some(Field { offset, .. }) if !by_pointer => *offset,
        // The programs look for the pointer at the start.
        Some(Field { offset: 1.., .. }) => NONE,
        _ => 0,
    };
    let (ctx, method) = (sum(start, stream.offset("ctx")), sum(start, stream.offset("method")));
    // The programs read whole words.
    let id = sum(start, stream.offset("id"));
    let ends = [
        super::end_of([ctx, method], 16, limits::SMALL_STRUCT),
        super::end_of([id], 8, limits::SMALL_STRUCT),
    ];
    GrpcStream {
        by_pointer: by_pointer.into(),
        size: ends.into_iter().filter(|end| *end != NONE).max().unwrap_or(NONE),
        ctx,
        method,
        id,
        status_depth: status_depth(program).unwrap_or(NONE),
        of_server: Struct::of(program, grpc::STREAM_OF_SERVER.name).offset("s"),
    }
}

/// See [`GrpcStream::status_depth`].
fn status_depth(program: &Program) -> Option<u64> {
    let frame = |name: &str| site::frame(code(program, name)?).ok();
    let processing = grpc::PROCESS_CALL.iter().filter_map(|name| frame(name)).max();
    frame(grpc::HANDLE_STREAM)?.checked_add(processing?)?.checked_add(BETWEEN)
}

/// A function's code.
pub(super) fn code<'a>(program: &'a Program, function: &str) -> Option<site::Code<'a>> {
    let entry = program.functions.get(function).ok()?.entry;
    let code = program.code.get(&entry)?;
    Some(site::Code { architecture: program.architecture, entry, bytes: &code.bytes })
}

/// See [`GrpcInvoke`]. Each function calls the next one once, and the last one's first result is stored where it is looked for.
fn invoke(program: &Program) -> Option<GrpcInvoke> {
    let [outer, inner, new_stream] = grpc::UNARY.map(|function| code(program, function));
    let (outer, inner, new_stream) = (outer?, inner?, new_stream?);
    let [call] = <[_; 1]>::try_from(site::calls_to(outer, inner.entry).ok()?).ok()?;
    let [of_stream] = <[_; 1]>::try_from(site::calls_to(inner, new_stream.entry).ok()?).ok()?;
    let stream = [Place::IntegerRegister(0), Place::IntegerRegister(1)];
    // Both from the stack pointer at the entry of `grpc.invoke`.
    let stored = site::stored(inner, of_stream.address, &stream)?;
    let (entered, returned) = match program.architecture {
        // The call puts the address that it returns to between the two frames;
        Architecture::X86_64 => (call.stack_delta?.checked_sub(8)?, 0),
        // who is called keeps it at the lower end of its own.
        Architecture::Aarch64 => {
            (call.stack_delta?, i64::try_from(site::frame(inner).ok()?).ok()?.checked_neg()?)
        }
    };
    let (first, end) = (stored.min(returned), stored.checked_add(16)?.max(returned.checked_add(8)?));
    let from_first = |place: i64| u64::try_from(place.checked_sub(first)?).ok();
    let size = from_first(end)?;
    super::is_within(size, limits::SMALL_STRUCT).then_some(GrpcInvoke {
        below: u64::try_from(entered.checked_add(first)?.checked_neg()?).ok()?,
        size,
        stream: from_first(stored)?,
        returned: from_first(returned)?,
        return_address: call.address.0.checked_add(call.bytes.len() as u64)?,
    })
}

fn transport(program: &Program) -> GrpcTransport {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (server, tcp, unix) = (of(&grpc::HTTP2_SERVER), of(&grpc::TCP_ADDR), of(&grpc::UNIX_ADDR));
    let peer = match server.offset("remoteAddr") {
        NONE => sum(server.offset("peer"), of(&grpc::PEER).offset("Addr")),
        address => address,
    };
    GrpcTransport {
        http2_server: server.pointer_type(),
        peer,
        server: of(&grpc::HTTP2_CLIENT).offset("remoteAddr"),
        client: of(&grpc::HTTP2_CLIENT).offset("localAddr"),
        unix_addr: unix.pointer_type(),
        name: unix.offset("Name"),
        tcp_addr: tcp.pointer_type(),
        ip: tcp.offset("IP"),
        port: tcp.offset("Port"),
    }
}

fn client(program: &Program) -> GrpcClient {
    let of = |layout: &Layout| Struct::of(program, layout.name);
    let (stream, attempt) = (of(&grpc::CLIENT_STREAM), of(&grpc::ATTEMPT));
    let of_either = |new: &str, old: &str| match attempt.offset(new) {
        NONE => attempt.offset(old),
        offset => offset,
    };
    let status = match of(&grpc::TRANSPORT_STREAM).offset("status") {
        NONE => of(&grpc::STREAM).offset("status"),
        offset => offset,
    };
    // Embedded since grpc-go 1.69, at first by a pointer.
    let embedded = of(&grpc::TRANSPORT_STREAM).field("Stream");
    let pointer = embedded.filter(|field| field.kind == Kind::Pointer);
    let start = embedded.filter(|_| pointer.is_none()).map_or(0, |field| field.offset);
    let kind = of(&grpc::STREAM_DESC);
    let streams = kind.offset("ServerStreams");
    let are_side_by_side = kind.offset("ClientStreams") == sum(streams, 1);
    GrpcClient {
        target: of(&grpc::CLIENT_CONN).offset("target"),
        stream: stream.pointer_type(),
        finished: stream.offset("finished"),
        kind: stream.offset("desc"),
        streams: if are_side_by_side { streams } else { NONE },
        attempt: stream.offset("attempt"),
        transport: of_either("transport", "t"),
        transport_stream: of_either("transportStream", "s"),
        status,
        embedded: pointer.map_or(NONE, |field| field.offset),
        id: sum(start, of(&grpc::STREAM).offset("id")),
        invoke: invoke(program).unwrap_or(GrpcInvoke::UNKNOWN),
    }
}
