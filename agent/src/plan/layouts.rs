//! From found layouts to the numbers that BPF programs read by.

use lightfoot_probes_abi::layout::{self, Map, MapKind, NONE};
use lightfoot_probes_abi::{Layout, limits};
use lightfoot_symbolizer::types;

use crate::catalog::{self, MapField, go_runtime, http2, net_http};
use crate::inspect::Program;

mod connect;
mod connection;
mod grpc;
mod propagation;
mod routers;

/// The layout of everything that BPF reads in a program. What was not found is [`NONE`], and the programs leave out what
/// depends on it.
pub fn layout(program: &Program) -> Layout {
    let of = |layout: &catalog::Layout| Struct::of(program, layout.name);
    let (m, p) = (of(&go_runtime::M), of(&go_runtime::P));
    let response = of(&net_http::RESPONSE);
    Layout {
        g: goroutine(program),
        m: layout::M { p: m.offset("p") },
        p: layout::P { goidcache: p.offset("goidcache"), goidcacheend: p.offset("goidcacheend") },
        goidgen: program.goidgen.map_or(NONE, |address| address.0),
        types: layout::Types {
            response: response.pointer_type(),
            error_string: of(&go_runtime::ERROR_STRING).pointer_type(),
        },
        connect: connect::clients(program),
        response: layout::Response {
            size: response.size(&["conn", "wroteHeader", "status", "written"], limits::SMALL_STRUCT),
            connection: response.offset("conn"),
            wrote_header: response.offset("wroteHeader"),
            status: response.offset("status"),
            written: response.offset("written"),
        },
        connection: layout::Connection { hijacked: of(&net_http::CONN).offset("hijackedv") },
        request: request(program, of(&net_http::REQUEST), "ctx"),
        server_request: request(program, of(&http2::SERVER_REQUEST), "Context"),
        url: url(of(&net_http::URL)),
        client_response: client_response(of(&net_http::CLIENT_RESPONSE)),
        http2: [http2::BUNDLED, http2::INTERNAL]
            .iter()
            .map(|writer| http2(program, writer))
            .find(|found| found.response_writer_type != NONE)
            .unwrap_or(layout::Http2::UNKNOWN),
        x_http2: http2(program, &http2::X),
        // Both are the same type.
        header: map(program, net_http::HEADER)
            .or_else(|| map(program, catalog::grpc::METADATA))
            .map_or(UNKNOWN_MAP, |header| Map { rpc: connect::serves(program).into(), ..header }),
        routers: routers::routers(program),
        grpc: grpc::grpc(program),
        propagation: propagation::propagation(program),
        client_connection: connection::of_client(program),
        http2_connection: connection::of_http2(program, &[&http2::BUNDLED_SENDER, &http2::INTERNAL_SENDER]),
        x_http2_connection: connection::of_http2(program, &[&http2::X_SENDER]),
    }
}

fn goroutine(program: &Program) -> layout::G {
    let g = Struct::of(program, go_runtime::G.name);
    let stack_hi = sum(g.offset("stack"), Struct::of(program, go_runtime::STACK.name).offset("hi"));
    let (panic, goid, m) = (g.offset("_panic"), g.offset("goid"), g.offset("m"));
    let size = end_of([stack_hi, panic, goid, m], 8, limits::SMALL_STRUCT);
    layout::G { size, stack_hi, panic, goid, m, parent_goid: g.offset("parentGoid") }
}

fn request(program: &Program, request: Struct<'_>, context: &str) -> layout::Request {
    layout::Request {
        size: request.size(
            &[
                "Method",
                "URL",
                "ProtoMajor",
                "ProtoMinor",
                "Header",
                "Host",
                "RemoteAddr",
                "RequestURI",
                "TLS",
                "Response",
                context,
            ],
            limits::LARGE_STRUCT,
        ),
        method: request.offset("Method"),
        url: request.offset("URL"),
        proto_major: request.offset("ProtoMajor"),
        proto_minor: request.offset("ProtoMinor"),
        header: request.offset("Header"),
        get_body: request.offset("GetBody"),
        host: request.offset("Host"),
        remote_addr: request.offset("RemoteAddr"),
        request_uri: request.offset("RequestURI"),
        tls: request.offset("TLS"),
        response: request.offset("Response"),
        ctx: request.offset(context),
        pattern: request.offset("Pattern"),
        pat: request.offset("pat"),
        pattern_str: Struct::of(program, net_http::PATTERN.name).offset("str"),
    }
}

fn url(url: Struct<'_>) -> layout::Url {
    layout::Url {
        size: url.size(
            &[
                "Scheme",
                "Opaque",
                "User",
                "Host",
                "Path",
                "RawPath",
                "RawQuery",
                "Fragment",
                "RawFragment",
                "ForceQuery",
                "OmitHost",
            ],
            limits::SMALL_STRUCT,
        ),
        scheme: url.offset("Scheme"),
        opaque: url.offset("Opaque"),
        user: url.offset("User"),
        host: url.offset("Host"),
        path: url.offset("Path"),
        raw_path: url.offset("RawPath"),
        raw_query: url.offset("RawQuery"),
        fragment: url.offset("Fragment"),
        raw_fragment: url.offset("RawFragment"),
        force_query: url.offset("ForceQuery"),
        omit_host: url.offset("OmitHost"),
    }
}

fn client_response(response: Struct<'_>) -> layout::ClientResponse {
    layout::ClientResponse {
        size: response.size(
            &["StatusCode", "ProtoMajor", "ProtoMinor", "ContentLength", "Request"],
            limits::SMALL_STRUCT,
        ),
        status_code: response.offset("StatusCode"),
        proto_major: response.offset("ProtoMajor"),
        proto_minor: response.offset("ProtoMinor"),
        content_length: response.offset("ContentLength"),
        request: response.offset("Request"),
    }
}

fn http2(program: &Program, writer: &http2::ResponseWriter) -> layout::Http2 {
    let held = Struct::of(program, writer.held.name);
    let state = Struct::of(program, writer.state.name);
    let (status, wrote_header, wrote_bytes) =
        (state.offset("status"), state.offset("wroteHeader"), state.offset("wroteBytes"));
    let first = status.min(wrote_header).min(wrote_bytes);
    // From there on; what is not known stays so.
    let from_first = |offset: u64| if offset == NONE { NONE } else { offset.saturating_sub(first) };
    let (status, wrote_header, wrote_bytes) =
        (from_first(status), from_first(wrote_header), from_first(wrote_bytes));
    layout::Http2 {
        response_writer_type: if writer.by_pointer { held.pointer_type() } else { held.type_itself() },
        rws: Struct::of(program, writer.writer.name).offset("rws"),
        state: first,
        state_size: end_of([status, wrote_header, wrote_bytes], 8, limits::HTTP2_STATE),
        status,
        wrote_header,
        wrote_bytes,
        stream: state.offset("stream"),
        id: Struct::of(program, writer.stream.name).offset("id"),
    }
}

const UNKNOWN_MAP: Map = Layout::UNKNOWN.header;

/// The layout of a map, if all of it is known: half a map is of no use.
fn map(program: &Program, field: MapField) -> Option<Map> {
    let entries = program.maps.get(&field)?;
    let entry = Map {
        group_size: entries.group_size,
        keys: entries.keys,
        key_stride: entries.key_stride,
        values: entries.values,
        value_stride: entries.value_stride,
        ..UNKNOWN_MAP
    };
    if !is_within(entry.group_size, limits::LARGE_STRUCT / 2) {
        return None;
    }
    let known = |offset: u64| (offset != NONE).then_some(offset);
    match entries.kind {
        types::MapKind::Classic { overflow } => {
            let head = Struct::of(program, go_runtime::CLASSIC_MAP.name);
            Some(Map {
                kind: MapKind::Classic as u64,
                size: known(head.size(&["B", "buckets", "oldbuckets"], limits::MAP_HEADER))?,
                groups: known(head.offset("buckets"))?,
                old_groups: known(head.offset("oldbuckets"))?,
                length: known(head.offset("B"))?,
                overflow,
                // runtime/map.go: below minTopHash a slot is empty or was moved.
                first_in_use: 5,
                last_in_use: 255,
                ..entry
            })
        }
        types::MapKind::Swiss => {
            let head = Struct::of(program, go_runtime::SWISS_MAP.name);
            let table = Struct::of(program, go_runtime::SWISS_TABLE.name);
            let groups = Struct::of(program, go_runtime::SWISS_GROUPS.name);
            let data = known(sum(table.offset("groups"), groups.offset("data")))?;
            let mask = known(sum(table.offset("groups"), groups.offset("lengthMask")))?;
            Some(Map {
                kind: MapKind::Swiss as u64,
                size: known(head.size(&["dirPtr", "dirLen"], limits::MAP_HEADER))?,
                groups: known(head.offset("dirPtr"))?,
                length: known(head.offset("dirLen"))?,
                table_size: known(end_of([data, mask], 8, limits::MAP_HEADER))?,
                table_groups: data,
                table_mask: mask,
                // internal/runtime/maps/group.go: empty and deleted slots have the top bit set.
                last_in_use: 127,
                ..entry
            })
        }
    }
}

/// A struct that may not have been found.
#[derive(Clone, Copy)]
struct Struct<'a>(Option<&'a types::StructLayout>);

impl<'a> Struct<'a> {
    fn of(program: &'a Program, name: &str) -> Self {
        Self(program.types.layout(name))
    }

    fn field(self, name: &str) -> Option<&'a types::Field> {
        self.0?.field(name)
    }

    fn offset(self, name: &str) -> u64 {
        self.field(name).map_or(NONE, |field| field.offset)
    }

    /// The descriptor of the struct's type.
    fn type_itself(self) -> u64 {
        self.0.and_then(|found| found.descriptor).map_or(NONE, |address| address.0)
    }

    /// The descriptor of the type of pointers to it.
    fn pointer_type(self) -> u64 {
        self.0.and_then(|found| found.pointer_descriptor).map_or(NONE, |address| address.0)
    }

    /// How many bytes hold these fields, at most `limit`; a field that lies beyond it cannot be read.
    fn size(self, fields: &[&str], limit: usize) -> u64 {
        let ends = fields
            .iter()
            .filter_map(|name| self.field(name))
            .map(|field| field.offset.saturating_add(field.size));
        ends.filter(|end| is_within(*end, limit)).max().unwrap_or(NONE)
    }
}

fn is_within(end: u64, limit: usize) -> bool {
    usize::try_from(end).is_ok_and(|end| end <= limit)
}

/// The offset of a field of a field; [`NONE`] is the largest number, so it stays.
fn sum(outer: u64, inner: u64) -> u64 {
    outer.saturating_add(inner)
}

/// The end of the last of some fields of `size` bytes each that lie within `limit`.
fn end_of<const N: usize>(offsets: [u64; N], size: u64, limit: usize) -> u64 {
    let ends = offsets.into_iter().filter(|offset| *offset != NONE).map(|offset| offset.saturating_add(size));
    ends.filter(|end| is_within(*end, limit)).max().unwrap_or(NONE)
}
