//! The numbers that BPF programs read by, against DWARF and symbols.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lightfoot::inspect::{self, Program as Facts};
use lightfoot::plan::holders::{Holder, holders};
use lightfoot::plan::layouts;
use lightfoot_probes_abi::Layout;
use lightfoot_probes_abi::layout::{Http2, Http2Connection, ITAB_TYPE, NONE};
use lightfoot_symbolizer::{Binary, VirtualAddress};
use lightfoot_tests::each::each_build;
use lightfoot_tests::go::{Build, GoToolchain, Mode, Program, matrix};
use lightfoot_tests::oracle::{self, StructLayout};

/// Structs by name as DWARF has them.
struct Oracle(HashMap<String, StructLayout>);

impl Oracle {
    fn of(path: &Path) -> Self {
        let bytes = fs::read(path).expect("the binary is there");
        let layouts = oracle::struct_layouts(&bytes).expect("DWARF is read");
        Self(layouts.into_iter().map(|layout| (layout.name.clone(), layout)).collect())
    }

    /// Offset and size of a field; `NONE` and 0 if the struct or the field does not exist.
    fn field(&self, structure: &str, field: &str) -> (u64, u64) {
        let found = self.0.get(structure).and_then(|layout| layout.fields.iter().find(|f| f.name == field));
        found.map_or((NONE, 0), |field| (field.offset, field.size))
    }

    fn offset(&self, structure: &str, field: &str) -> u64 {
        self.field(structure, field).0
    }

    /// Asserts that the offsets are those of the fields and that `size` bytes from `first` on hold them all.
    fn check(&self, structure: &str, (first, size): (u64, u64), fields: &[(&str, u64)]) {
        for (name, offset) in fields {
            let (expected, length) = self.field(structure, name);
            let found = if *offset == NONE { NONE } else { first + offset };
            assert_eq!(found, expected, "{structure}.{name}");
            assert!(expected == NONE || offset + length <= size, "{structure}.{name} lies past {size} bytes");
        }
    }
}

fn check(build: &Build, path: &Path) {
    let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
    let dwarf = Oracle::of(path);
    let Layout { g, m, p, request, url, client_response: response, .. } = layout;
    dwarf.check("runtime.g", (0, g.size), &[("_panic", g.panic), ("goid", g.goid), ("m", g.m)]);
    assert_eq!(g.parent_goid, dwarf.offset("runtime.g", "parentGoid"));
    assert_ne!(g.parent_goid, NONE);
    assert_eq!(g.stack_hi, dwarf.offset("runtime.g", "stack") + dwarf.offset("runtime.stack", "hi"));
    assert_eq!(m.p, dwarf.offset("runtime.m", "p"));
    assert_eq!(p.goidcache, dwarf.offset("runtime.p", "goidcache"));
    // One read fetches both.
    assert_eq!(
        (p.goidcacheend, p.goidcacheend - p.goidcache),
        (dwarf.offset("runtime.p", "goidcacheend"), 8)
    );
    dwarf.check(
        "net/http.Request",
        (0, request.size),
        &[
            ("Method", request.method),
            ("URL", request.url),
            ("ProtoMajor", request.proto_major),
            ("ProtoMinor", request.proto_minor),
            ("Header", request.header),
            ("Host", request.host),
            ("RemoteAddr", request.remote_addr),
            ("RequestURI", request.request_uri),
            ("TLS", request.tls),
            ("Response", request.response),
            ("ctx", request.ctx),
        ],
    );
    dwarf.check(
        "net/url.URL",
        (0, url.size),
        &[
            ("Scheme", url.scheme),
            ("Opaque", url.opaque),
            ("User", url.user),
            ("Host", url.host),
            ("Path", url.path),
            ("RawPath", url.raw_path),
            ("RawQuery", url.raw_query),
            ("Fragment", url.fragment),
            ("RawFragment", url.raw_fragment),
            ("ForceQuery", url.force_query),
            ("OmitHost", url.omit_host),
        ],
    );
    dwarf.check(
        "net/http.Response",
        (0, response.size),
        &[
            ("StatusCode", response.status_code),
            ("ProtoMajor", response.proto_major),
            ("ProtoMinor", response.proto_minor),
            ("ContentLength", response.content_length),
            ("Request", response.request),
        ],
    );
    let package = if build.version.minor < 27 { "net/http.http2" } else { "net/http/internal/http2." };
    check_http2(&dwarf, package, layout.http2);
    let sent =
        if build.version.minor < 27 { "net/http.Request" } else { "net/http/internal/http2.ClientRequest" };
    check_http2_connection(&dwarf, package, sent, layout.http2_connection);
    assert_eq!(layout.x_http2, Http2::UNKNOWN, "it is not linked in");
    assert_eq!(layout.x_http2_connection, Http2Connection::UNKNOWN);
}

/// Where a client's stream leads to its connection.
fn check_http2_connection(dwarf: &Oracle, package: &str, request: &str, found: Http2Connection) {
    let (stream, connection) = (format!("{package}clientStream"), format!("{package}ClientConn"));
    let expected = Http2Connection {
        stream: dwarf.offset(&stream, "ID"),
        connection: dwarf.offset(&stream, "cc"),
        held: dwarf.offset(&connection, "tconn"),
        header: dwarf.offset(request, "Header"),
        url: dwarf.offset(request, "URL"),
    };
    assert!(found == expected && found.is_known(), "{found:?} {expected:?}");
}

fn check_http2(dwarf: &Oracle, package: &str, found: Http2) {
    let state = format!("{package}responseWriterState");
    let fields =
        [("status", found.status), ("wroteHeader", found.wrote_header), ("wroteBytes", found.wrote_bytes)];
    dwarf.check(&state, (found.state, found.state_size), &fields);
    assert_eq!(found.rws, dwarf.offset(&format!("{package}responseWriter"), "rws"));
    let of_stream = [dwarf.offset(&state, "stream"), dwarf.offset(&format!("{package}stream"), "id")];
    assert_eq!([found.stream, found.id], of_stream);
    assert_ne!(found.id, NONE);
    assert_eq!((found.state_size, found.rws), (32, 0), "as the documentation says");
    assert_ne!(found.response_writer_type, NONE);
}

#[test]
fn what_bpf_reads_by_is_what_dwarf_says() {
    let with_dwarf = |build: &Build| matches!(build.mode, Mode::Plain | Mode::Pie);
    each_build(matrix::general(Program::Http).filter(with_dwarf), check);
}

#[test]
fn the_http2_of_x_net_has_a_layout_of_its_own() {
    each_build(matrix::versions(Program::XNet, Mode::Plain), |build, path| {
        let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
        let dwarf = Oracle::of(path);
        if build.version.minor < 27 {
            check_http2(&dwarf, "net/http.http2", layout.http2);
            let package = "golang.org/x/net/http2.";
            check_http2(&dwarf, package, layout.x_http2);
            check_http2_connection(&dwarf, package, "net/http.Request", layout.x_http2_connection);
            let toolchain = GoToolchain::find(build.version).expect("it built the program");
            let symbols = oracle::tools::symbols(&toolchain, path).expect("go tool nm reads it");
            let bytes = fs::read(path).expect("the binary is there");
            let binary = Binary::open(&bytes[..]).expect("it is a Go program");
            for (writer, found) in [
                ("net/http.http2responseWriter", layout.http2),
                ("golang.org/x/net/http2.responseWriter", layout.x_http2),
            ] {
                let itab = symbols.get(&format!("go:itab.*{writer},net/http.ResponseWriter"));
                let itab = VirtualAddress(itab.expect("the symbol is there").address);
                let expected = binary.image.word(itab.past(ITAB_TYPE)).expect("it is in the file");
                assert_eq!(found.response_writer_type, expected, "{writer}");
            }
        } else {
            check_http2(&dwarf, "net/http/internal/http2.", layout.http2);
            assert_eq!(layout.x_http2, Http2::UNKNOWN, "it leaves all to net/http");
        }
    });
}

#[test]
fn what_a_call_by_grpc_goes_over_is_where_dwarf_says() {
    let builds = [Program::OldRpc, Program::Rpc].into_iter().flat_map(|of| matrix::versions(of, Mode::Plain));
    each_build(builds, |build, path| {
        let grpc = layouts::layout(&Facts::inspect(path).expect("it is a Go program")).grpc;
        let dwarf = Oracle::of(path);
        let of = |structure: &str, field: &str| {
            dwarf.offset(&format!("google.golang.org/grpc/internal/transport.{structure}"), field)
        };
        let ends = [of("http2Client", "localAddr"), of("http2Client", "remoteAddr")];
        assert_eq!([grpc.transport.client, grpc.transport.server], ends, "{build}");
        // Where it is embedded by a pointer the offset begins anew; the two sides have been alike in all releases.
        let [id, client, server] =
            [of("Stream", "id"), of("ClientStream", "Stream"), of("ServerStream", "Stream")];
        let is_by_pointer = grpc.client.embedded != NONE;
        let within = |embedded: u64| if is_by_pointer || embedded == NONE { 0 } else { embedded };
        assert_eq!([grpc.client.id, grpc.stream.id], [id + within(client), id + within(server)], "{build}");
        assert_eq!(is_by_pointer, grpc.stream.by_pointer == 1, "{build}");
        assert!(!is_by_pointer || grpc.client.embedded == client, "{build}");
        assert!(grpc.stream.id + 8 <= grpc.stream.size, "{build}: {grpc:?}");
    });
}

#[test]
fn a_context_of_gin_leads_to_that_of_its_request() {
    let plain = matrix::versions(Program::Gin, Mode::Plain);
    each_build(plain.filter(|build| [21, 25, 27].contains(&build.version.minor)), |_, path| {
        let facts = Facts::inspect(path).expect("it is a Go program");
        let dwarf = Oracle::of(path);
        let through = dwarf.offset("github.com/gin-gonic/gin.Context", "Request");
        let context = dwarf.offset("net/http.Request", "ctx");
        let wanted = |holder: &&Holder| (holder.through, holder.context) == (Some(through), context);
        let holders = holders(&facts);
        let found: Vec<_> = holders.iter().filter(wanted).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        let binary = inspect::open(path).expect("it is a Go program");
        for holder in found {
            assert_eq!(binary.descriptors().type_name(holder.descriptor).expect("a type"), "*gin.Context");
        }
    });
}

#[test]
fn the_counter_of_goroutine_ids_is_found_in_the_code() {
    let special = matrix::special().filter(|build| build.program == Program::Http);
    each_build(matrix::general(Program::Http).chain(special), |build, path| {
        let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
        assert_ne!(layout.goidgen, NONE, "{build}");
        let is_bare = [
            Mode::Stripped,
            Mode::PieStripped,
            Mode::BinutilsStripped,
            Mode::NoSections,
            Mode::NoSectionsPie,
        ];
        if is_bare.contains(&build.mode) {
            return;
        }
        let toolchain = GoToolchain::find(build.version).expect("it built the program");
        let symbols = oracle::tools::symbols(&toolchain, path).expect("go tool nm reads it");
        let sched = symbols.get("runtime.sched").expect("the symbol is there").address;
        let goidgen = Oracle::of(path).offset("runtime.schedt", "goidgen");
        assert_eq!(layout.goidgen, sched + goidgen, "{build}");
    });
}

#[test]
fn stripping_changes_nothing_that_bpf_reads_by() {
    let stripped = matrix::versions(Program::Http, Mode::Stripped);
    each_build(stripped, |build, path| {
        let twin = Build { mode: Mode::Plain, ..*build }.path().expect("its twin builds");
        let of = |path: &Path| {
            let mut layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
            // Data lies elsewhere.
            for address in [&mut layout.goidgen, &mut layout.types.response, &mut layout.types.error_string] {
                assert_ne!(*address, NONE);
                *address = 0;
            }
            assert_ne!(layout.http2.response_writer_type, NONE);
            layout.http2.response_writer_type = 0;
            layout
        };
        assert_eq!(of(path), of(&twin));
    });
}
