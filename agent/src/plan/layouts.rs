//! From found layouts to the numbers that BPF programs read by.

use lightfoot_probes_abi::layout::{self, Map, MapKind, NONE};
use lightfoot_probes_abi::{Layout, limits};
use lightfoot_symbolizer::types;

use crate::catalog::{MapField, go_runtime, net_http};
use crate::inspect::Program;

/// The layout of everything that BPF reads in a program. What was not found is [`NONE`], and the programs leave out what
/// depends on it.
pub fn layout(program: &Program) -> Layout {
    let g = Struct::of(program, go_runtime::G.name);
    let stack = Struct::of(program, go_runtime::STACK.name);
    let response = Struct::of(program, net_http::RESPONSE.name);
    let request = Struct::of(program, net_http::REQUEST.name);
    let goroutine = layout::G {
        size: 0,
        stack_hi: sum(g.offset("stack"), stack.offset("hi")),
        panic: g.offset("_panic"),
        goid: g.offset("goid"),
    };
    Layout {
        g: layout::G {
            size: end_of([goroutine.stack_hi, goroutine.panic, goroutine.goid], 8, limits::SMALL_STRUCT),
            ..goroutine
        },
        response: layout::Response {
            size: response.size(&["conn", "wroteHeader", "status", "written"], limits::SMALL_STRUCT),
            connection: response.offset("conn"),
            wrote_header: response.offset("wroteHeader"),
            status: response.offset("status"),
            written: response.offset("written"),
        },
        connection: layout::Connection {
            hijacked: Struct::of(program, net_http::CONN.name).offset("hijackedv"),
        },
        request: layout::Request {
            size: request.size(
                &["Method", "ProtoMajor", "ProtoMinor", "Header", "Host", "RemoteAddr", "RequestURI", "TLS"],
                limits::LARGE_STRUCT,
            ),
            method: request.offset("Method"),
            proto_major: request.offset("ProtoMajor"),
            proto_minor: request.offset("ProtoMinor"),
            header: request.offset("Header"),
            host: request.offset("Host"),
            remote_addr: request.offset("RemoteAddr"),
            request_uri: request.offset("RequestURI"),
            tls: request.offset("TLS"),
            pattern: request.offset("Pattern"),
            pat: request.offset("pat"),
            pattern_str: Struct::of(program, net_http::PATTERN.name).offset("str"),
        },
        header: map(program, net_http::HEADER).unwrap_or(UNKNOWN_MAP),
    }
}

const UNKNOWN_MAP: Map = Map {
    kind: MapKind::Unknown as u64,
    size: NONE,
    groups: NONE,
    old_groups: NONE,
    length: NONE,
    table_size: NONE,
    table_groups: NONE,
    table_mask: NONE,
    group_size: NONE,
    keys: NONE,
    key_stride: NONE,
    values: NONE,
    value_stride: NONE,
    overflow: NONE,
    first_in_use: 0,
    last_in_use: 0,
};

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
struct Struct<'a>(Option<&'a types::StructLayout>);

impl<'a> Struct<'a> {
    fn of(program: &'a Program, name: &str) -> Self {
        Self(program.types.layout(name))
    }

    fn field(&self, name: &str) -> Option<&'a types::Field> {
        self.0?.field(name)
    }

    fn offset(&self, name: &str) -> u64 {
        self.field(name).map_or(NONE, |field| field.offset)
    }

    /// How many bytes hold these fields, at most `limit`; a field that lies beyond it cannot be read.
    fn size(&self, fields: &[&str], limit: usize) -> u64 {
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
