//! From a binary to what the programs must know of its clients.

use std::collections::HashMap;
use std::path::Path;

use lightfoot_probes_abi::context::{Holder, HolderKind};
use lightfoot_probes_abi::layout::{self, Layout, M, NONE, P, Url};
use lightfoot_probes_abi::{Cookie, SiteKind};
use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::binary::Binary;
use lightfoot_symbolizer::functions::Function;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{self, Code, Price, Site};
use lightfoot_symbolizer::types::{StructLayout, Types};
use lightfoot_tests::probes::PlacedSite;
use object::{Object as _, ObjectSymbol as _};

use crate::layout::{End, inspect};

const START: &str = "net/http.(*Transport).RoundTrip";
const INNER: &str = "main.(*inner).RoundTrip";
/// The functions that call transports.
const CALLERS: [&str; 3] = ["net/http.send", "main.wrapper.RoundTrip", "main.called"];
/// What the method that starts calls is a shell around, and a function that has only the kernel of it.
const KERNEL: &str = "net/http.(*Transport).roundTrip";
const DIRECT: &str = "main.direct";
const TYPES: [&str; 14] = [
    "runtime.g",
    "runtime.m",
    "runtime.p",
    "net/http.Request",
    "net/http.Response",
    "net/url.URL",
    "errors.errorString",
    "net.OpError",
    "context.deadlineExceededError",
    "crypto/tls.RecordHeaderError",
    "main.codeError",
    "main.ginLike",
    "fmt.wrapError",
    "net/http.response",
];

/// What is probed and read of a binary.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    /// The sites of its server.
    pub(crate) server: Vec<PlacedSite>,
    /// Where calls of the transport start.
    pub(crate) start: PlacedSite,
    /// Where they return.
    pub(crate) returns: Vec<PlacedSite>,
    /// The same two of what stands in for a transport within it.
    pub(crate) inner: Vec<PlacedSite>,
    /// Behind calls of transports, by the address that these return to; with the name of the function.
    pub(crate) calls: HashMap<u64, (&'static str, PlacedSite)>,
    /// The call in the function into which the method was inlined, and behind it.
    pub(crate) direct: [PlacedSite; 2],
    /// The types that hold contexts, by the address of their descriptor.
    pub(crate) holders: Vec<(u64, Holder)>,
    types: Types,
}

/// Finds out about a binary; `id` goes into the cookies.
pub(crate) fn examine(path: &Path, id: u32) -> Facts {
    let server = inspect(path, id, End::FinishRequest);
    let bytes = std::fs::read(path).unwrap();
    let binary = Binary::open(&bytes[..]).unwrap();
    let names: Vec<_> = [START, INNER, KERNEL, DIRECT].into_iter().chain(CALLERS).collect();
    let functions = binary.functions(&names).unwrap();
    let function = |name| functions.get(name).unwrap();
    let code = |function: &Function| function.code(&binary.image).unwrap();
    let architecture = binary.image.architecture;
    let place = |site: &Site, cookie: Cookie| PlacedSite {
        offset: binary.image.file_offset(site.address).unwrap().0,
        address: site.address.0,
        cookie: if site.condition.is_some() { cookie.if_not_taken() } else { cookie },
    };
    let start = |name, kind| {
        let function = function(name);
        let site =
            site::entry(view(architecture, function, &code(function)), &[Place::IntegerRegister(1)]).unwrap();
        assert_eq!(site.price, Price::Emulated, "{name}");
        place(&site, Cookie::new(id, kind))
    };
    let returns = |name| -> Vec<_> {
        let sites = site::returns(view(architecture, function(name), &code(function(name)))).unwrap();
        sites.iter().map(|site| place(site, Cookie::new(id, SiteKind::HttpClientEnd))).collect()
    };
    let words = u8::from(cfg!(target_arch = "x86_64"));
    let behind = |code: Code<'_>, call| {
        let site = site::after_call(code, call, &[0, 1, 2].map(Place::IntegerRegister)).ok()?;
        assert_eq!(site.price, Price::Emulated);
        Some(place(&site, Cookie::new(id, SiteKind::HttpClientEnd).with_stack_words(words)))
    };
    let mut calls = HashMap::new();
    for name in CALLERS {
        let bytes = code(function(name));
        let code = view(architecture, function(name), &bytes);
        for call in site::indirect_calls(code).unwrap() {
            if let Some(site) = behind(code, call.address) {
                calls.insert(call.return_address.0, (name, site));
            }
        }
    }
    let direct = code(function(DIRECT));
    let code = view(architecture, function(DIRECT), &direct);
    let [call] = &site::calls_to(code, function(KERNEL).entry).unwrap()[..] else { panic!() };
    let start_here = Cookie::new(id, SiteKind::HttpClientStart).with_stack_words(words);
    let direct = [place(call, start_here), behind(code, call.address).unwrap()];
    let types = binary.types(&TYPES).unwrap();
    let mut inner = returns(INNER);
    inner.push(start(INNER, SiteKind::HttpClientStartInner));
    Facts {
        layout: describe(&server.layout, &types, goidgen(&bytes)),
        server: server.sites,
        start: start(START, SiteKind::HttpClientStart),
        returns: returns(START),
        inner,
        calls,
        direct,
        holders: holders(&binary, &types),
        types,
    }
}

impl Facts {
    /// The site behind the call of a transport in the named function. Where that has several calls, the one with this
    /// return address.
    pub(crate) fn call(&self, caller: &str, return_addresses: &[u64]) -> PlacedSite {
        let mut found = return_addresses.iter().filter_map(|address| self.calls.get(address));
        found.find(|(name, _)| *name == caller).expect("a call that was seen").1
    }

    /// The descriptor of a type; the type of pointers to it begins with a star.
    pub(crate) fn descriptor(&self, name: &str) -> u64 {
        let layout = |name| self.types.layout(name).unwrap();
        match name.strip_prefix('*') {
            Some(name) => layout(name).pointer_descriptor.unwrap().0,
            None => layout(name).descriptor.unwrap().0,
        }
    }
}

fn view<'a>(architecture: Architecture, function: &Function, bytes: &'a [u8]) -> Code<'a> {
    Code { architecture, entry: function.entry, bytes }
}

/// `runtime.sched.goidgen`: the first field in all versions.
fn goidgen(bytes: &[u8]) -> u64 {
    let file = object::File::parse(bytes).unwrap();
    file.symbols().find(|symbol| symbol.name() == Ok("runtime.sched")).unwrap().address()
}

fn holders(binary: &Binary<&[u8]>, types: &Types) -> Vec<(u64, Holder)> {
    let both = |layout: &StructLayout, offset: u64, kind: HolderKind| {
        let holder = Holder { offset: u32::try_from(offset).unwrap(), kind: kind as u32 };
        let descriptors = [layout.descriptor, layout.pointer_descriptor].into_iter().flatten();
        descriptors.map(|descriptor| (descriptor.0, holder)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = types
        .context_holders
        .iter()
        .flat_map(|holder| {
            let layout = binary.descriptors().structure(holder.descriptor).unwrap();
            both(&layout, holder.offset, HolderKind::Field)
        })
        .collect();
    let gin = types.layout("main.ginLike").unwrap();
    all.extend(both(gin, gin.field("Request").unwrap().offset, HolderKind::Request));
    all
}

/// Adds what clients need to what servers do.
fn describe(server: &Layout, types: &Types, goidgen: u64) -> Layout {
    let at = |structure: &str, field: &str| {
        let field = types.layout(structure).and_then(|layout| layout.field(field));
        field.map_or(NONE, |field| field.offset)
    };
    let request = |field| at("net/http.Request", field);
    let url = |field| at("net/url.URL", field);
    let response = |field| at("net/http.Response", field);
    Layout {
        g: layout::G { m: at("runtime.g", "m"), parent_goid: at("runtime.g", "parentGoid"), ..server.g },
        m: M { p: at("runtime.m", "p") },
        p: P { goidcache: at("runtime.p", "goidcache"), goidcacheend: at("runtime.p", "goidcacheend") },
        goidgen,
        types: layout::Types {
            error_string: types.layout("errors.errorString").unwrap().pointer_descriptor.unwrap().0,
            ..server.types
        },
        request: layout::Request {
            size: request("ctx") + 16,
            url: request("URL"),
            response: request("Response"),
            ctx: request("ctx"),
            ..server.request
        },
        url: Url {
            size: url("RawPath") + 16,
            scheme: url("Scheme"),
            opaque: url("Opaque"),
            user: url("User"),
            host: url("Host"),
            path: url("Path"),
            raw_path: url("RawPath"),
            raw_query: url("RawQuery"),
            ..server.url
        },
        client_response: layout::ClientResponse {
            size: response("Request") + 8,
            status_code: response("StatusCode"),
            proto_major: response("ProtoMajor"),
            proto_minor: response("ProtoMinor"),
            content_length: response("ContentLength"),
            request: response("Request"),
        },
        ..*server
    }
}
