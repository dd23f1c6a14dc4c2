//! From a binary to what the programs must know of it.

use std::path::Path;

use lightfoot_probes_abi::layout::{Connection, G, Layout, Map, MapKind, NONE, Request, Response};
use lightfoot_probes_abi::{Cookie, SiteKind};
use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::binary::Binary;
use lightfoot_symbolizer::decode;
use lightfoot_symbolizer::functions::Function;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{self, Code, Price, Site};
use lightfoot_symbolizer::types::{self, Types};
use lightfoot_tests::probes::PlacedSite;

const FUNCTIONS: [&str; 7] = [
    "net/http.serverHandler.ServeHTTP",
    "net/http.(*response).finishRequest",
    "net/http.(*conn).serve",
    "net/http.(*conn).serve.func1",
    "net/http.(*conn).hijacked",
    "net/http.(*ServeMux).ServeHTTP",
    "net/http.(*ServeMux).findHandler",
];
const TYPES: [&str; 9] = [
    "runtime.g",
    "runtime.stack",
    "net/http.response",
    "net/http.conn",
    "net/http.Request",
    "net/http.pattern",
    "runtime.hmap",
    "internal/runtime/maps.Map",
    "internal/runtime/maps.table",
];

/// Which of the possible ends is probed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    FinishRequest,
    CallOfHijacked,
    ReturnOfServeHttp,
}

/// What is probed and read of a binary.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    /// The sites of every request (start, end) and connection.
    pub(crate) sites: Vec<PlacedSite>,
    /// Behind the match of a route, if the binary has one: an extra site.
    pub(crate) route: Option<PlacedSite>,
}

/// Finds out about a binary; `id` goes into the cookies.
pub(crate) fn inspect(path: &Path, id: u32, end: End) -> Facts {
    let bytes = std::fs::read(path).unwrap();
    let binary = Binary::open(&bytes[..]).unwrap();
    let functions = binary.functions(&FUNCTIONS).unwrap();
    let function = |name| functions.get(name).unwrap();
    let code = |function: &Function| function.code(&binary.image).unwrap();
    let architecture = binary.image.architecture;
    let place = |site: &Site, cookie: Cookie| PlacedSite {
        offset: binary.image.file_offset(site.address).unwrap().0,
        address: site.address.0,
        cookie: if site.condition.is_some() { cookie.if_not_taken() } else { cookie },
    };
    let entry = |name, kind, needs: &[u8]| {
        let function = function(name);
        let needs: Vec<_> = needs.iter().map(|index| Place::IntegerRegister(*index)).collect();
        let site = site::entry(view(architecture, function, &code(function)), &needs).unwrap();
        assert_eq!(site.price, Price::Emulated);
        place(&site, Cookie::new(id, kind))
    };
    let end = match end {
        End::FinishRequest => entry("net/http.(*response).finishRequest", SiteKind::HttpServerEnd, &[0]),
        End::CallOfHijacked => {
            let (caller, callee) =
                (function("net/http.(*conn).serve"), function("net/http.(*conn).hijacked"));
            let bytes = code(caller);
            let [site] = &site::calls_to(view(architecture, caller, &bytes), callee.entry).unwrap()[..]
            else {
                panic!()
            };
            assert_eq!(site.price, Price::Emulated);
            let words = u8::from(cfg!(target_arch = "x86_64"));
            place(site, Cookie::new(id, SiteKind::HttpServerEndByDepth).with_stack_words(words))
        }
        End::ReturnOfServeHttp => {
            let caller = function("net/http.serverHandler.ServeHTTP");
            let bytes = code(caller);
            let [site] = &site::returns(view(architecture, caller, &bytes)).unwrap()[..] else { panic!() };
            place(site, Cookie::new(id, SiteKind::HttpServerEndByDepth))
        }
    };
    let route = functions.get("net/http.(*ServeMux).findHandler").ok().and_then(|callee| {
        let caller = functions.get("net/http.(*ServeMux).ServeHTTP").ok()?;
        let bytes = code(caller);
        let [call] = &site::calls_to(view(architecture, caller, &bytes), callee.entry).ok()?[..] else {
            return None;
        };
        // findHandler returns (Handler, string, …).
        let keep = [Place::IntegerRegister(2), Place::IntegerRegister(3)];
        let site = site::after_call(view(architecture, caller, &bytes), call.address, &keep);
        let site = site.inspect_err(|why| println!("no route site: {why}")).ok()?;
        Some(place(&site, Cookie::new(id, SiteKind::HttpServerRoute).with_registers(2, 3)))
    });
    let types = binary.types(&TYPES).unwrap();
    Facts {
        layout: Layout {
            g: goroutine(&types),
            response: response(&types),
            connection: Connection { hijacked: offset(&types, "net/http.conn", "hijackedv") },
            request: request(&types),
            header: header(&binary, &types),
            ..Layout::UNKNOWN
        },
        sites: vec![
            entry("net/http.serverHandler.ServeHTTP", SiteKind::HttpServerStart, &[2, 3]),
            end,
            entry("net/http.(*conn).serve.func1", SiteKind::HttpConnectionEnd, &[]),
        ],
        route,
    }
}

/// The conditional branch of a function's stack check, before the site at its entry.
#[cfg(target_arch = "x86_64")]
pub(crate) fn stack_check(path: &Path, name: &str, cookie: Cookie) -> PlacedSite {
    let bytes = std::fs::read(path).unwrap();
    let binary = Binary::open(&bytes[..]).unwrap();
    let functions = binary.functions(&[name]).unwrap();
    let function = functions.get(name).unwrap();
    let code = function.code(&binary.image).unwrap();
    let entry = site::entry(view(binary.image.architecture, function, &code), &[]).unwrap();
    let before = decode::instructions(binary.image.architecture, function.entry, &code)
        .map(Result::unwrap)
        .take_while(|instruction| instruction.address < entry.address);
    let branch = before.filter(|instruction| instruction.text().starts_with("jbe")).last().unwrap();
    let offset = binary.image.file_offset(branch.address).unwrap().0;
    PlacedSite { offset, address: branch.address.0, cookie }
}

fn view<'a>(architecture: Architecture, function: &Function, bytes: &'a [u8]) -> Code<'a> {
    Code { architecture, entry: function.entry, bytes }
}

fn offset(types: &Types, structure: &str, field: &str) -> u64 {
    let field = types.layout(structure).and_then(|layout| layout.field(field));
    field.map_or(NONE, |field| field.offset)
}

/// How many bytes to read so that words at all of these offsets are among them.
fn size(offsets: &[u64]) -> u64 {
    offsets.iter().filter(|offset| **offset != NONE).max().unwrap() + 16
}

fn goroutine(types: &Types) -> G {
    let at = |field| offset(types, "runtime.g", field);
    let stack_hi = at("stack") + offset(types, "runtime.stack", "hi");
    let (panic, goid) = (at("_panic"), at("goid"));
    G { size: size(&[stack_hi, panic, goid]), stack_hi, panic, goid, ..Layout::UNKNOWN.g }
}

fn response(types: &Types) -> Response {
    let at = |field| offset(types, "net/http.response", field);
    let (wrote_header, status, written) = (at("wroteHeader"), at("status"), at("written"));
    Response {
        size: size(&[wrote_header, status, written]),
        connection: at("conn"),
        wrote_header,
        status,
        written,
    }
}

fn request(types: &Types) -> Request {
    let at = |field| offset(types, "net/http.Request", field);
    let request = Request {
        size: 0,
        method: at("Method"),
        proto_major: at("ProtoMajor"),
        proto_minor: at("ProtoMinor"),
        header: at("Header"),
        host: at("Host"),
        remote_addr: at("RemoteAddr"),
        request_uri: at("RequestURI"),
        tls: at("TLS"),
        pattern: at("Pattern"),
        pat: at("pat"),
        pattern_str: offset(types, "net/http.pattern", "str"),
        ..Layout::UNKNOWN.request
    };
    let Request { header, host, remote_addr, request_uri, tls, .. } = request;
    Request { size: size(&[header, host, remote_addr, request_uri, tls]), ..request }
}

fn header(binary: &Binary<&[u8]>, types: &Types) -> Map {
    let field = types.layout("net/http.Request").and_then(|layout| layout.field("Header")).unwrap();
    let entries = binary.descriptors().map(field.descriptor.unwrap()).unwrap();
    let common = Map {
        kind: MapKind::Unknown as u64,
        size: 0,
        groups: NONE,
        old_groups: NONE,
        length: NONE,
        table_size: 0,
        table_groups: NONE,
        table_mask: NONE,
        rpc: 0,
        group_size: entries.group_size,
        keys: entries.keys,
        key_stride: entries.key_stride,
        values: entries.values,
        value_stride: entries.value_stride,
        overflow: NONE,
        first_in_use: 0,
        last_in_use: 0,
    };
    match entries.kind {
        types::MapKind::Classic { overflow } => {
            let at = |field| offset(types, "runtime.hmap", field);
            let (groups, old_groups, length) = (at("buckets"), at("oldbuckets"), at("B"));
            let size = size(&[groups, old_groups]);
            Map {
                kind: MapKind::Classic as u64,
                size,
                groups,
                old_groups,
                length,
                overflow,
                first_in_use: 5,
                last_in_use: 255,
                ..common
            }
        }
        types::MapKind::Swiss => {
            let at = |field| offset(types, "internal/runtime/maps.Map", field);
            let (groups, length) = (at("dirPtr"), at("dirLen"));
            // groupsReference{data unsafe.Pointer, lengthMask uint64} (internal/runtime/maps/group.go).
            let table_groups = offset(types, "internal/runtime/maps.table", "groups");
            let table_mask = table_groups + 8;
            Map {
                kind: MapKind::Swiss as u64,
                size: size(&[groups, length]),
                groups,
                length,
                table_size: size(&[table_mask]),
                table_groups,
                table_mask,
                last_in_use: 127,
                ..common
            }
        }
    }
}
