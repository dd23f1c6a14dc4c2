//! From a binary to what the programs must know of it.

use std::fs;
use std::path::Path;

use lightfoot::inspect::Program;
use lightfoot::plan::layouts;
use lightfoot_probes_abi::{Cookie, Layout, SiteKind};
use lightfoot_symbolizer::binary::Binary;
use lightfoot_symbolizer::functions::Functions;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{self, Code, Price};
use lightfoot_tests::probes::PlacedSite;

/// A function, what its entry means, which argument words are read there, and whether it is golang.org/x/net's.
type Entry = (&'static str, SiteKind, &'static [u8], bool);

const ENTRIES: [Entry; 8] = [
    ("net/http.serverHandler.ServeHTTP", SiteKind::HttpServerStart, &[1, 2, 3], false),
    ("net/http.(*response).finishRequest", SiteKind::HttpServerEnd, &[0], false),
    ("net/http.(*conn).serve.func1", SiteKind::HttpConnectionEnd, &[], false),
    ("net/http.(*http2serverConn).runHandler.func1", SiteKind::Http2ServerEnd, &[], false),
    ("net/http/internal/http2.(*serverConn).runHandler.func1", SiteKind::Http2ServerEnd, &[], false),
    ("net/http.http2Handler.ServeHTTP", SiteKind::Http2ServerStart, &[2, 3], false),
    ("golang.org/x/net/http2.(*serverConn).runHandler", SiteKind::Http2ServerStart, &[1, 2], true),
    ("golang.org/x/net/http2.(*serverConn).runHandler.func1", SiteKind::Http2ServerEnd, &[], true),
];

/// What is probed and read of a binary.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    pub(crate) sites: Vec<PlacedSite>,
    /// The return of `serverHandler.ServeHTTP`, which ends HTTP/1 requests in some profile-guided builds.
    pub(crate) returns: PlacedSite,
    /// Whether golang.org/x/net has a server of its own here, and does not leave all to net/http.
    pub(crate) has_x_net: bool,
    /// A virtual address and where it lies in the file.
    anchor: (u64, u64),
}

/// Finds out about a binary; `id` goes into the cookies.
pub(crate) fn inspect(path: &Path, id: u32) -> Facts {
    let bytes = fs::read(path).unwrap();
    let binary = Binary::open(&bytes[..]).unwrap();
    let functions = binary.functions(&ENTRIES.map(|(name, ..)| name)).unwrap();
    let place = |entry| placed(&binary, &functions, id, entry);
    let sites: Vec<_> = ENTRIES.into_iter().filter_map(place).collect();
    Facts {
        layout: layouts::layout(&Program::inspect(path).unwrap()),
        has_x_net: sites.iter().any(|site| site.cookie.0 & Cookie::X_NET != 0),
        returns: returns(&binary, &functions, id),
        anchor: (sites[0].address, sites[0].offset),
        sites,
    }
}

fn placed(binary: &Binary<&[u8]>, functions: &Functions, id: u32, entry: Entry) -> Option<PlacedSite> {
    let (name, kind, words, is_x_net) = entry;
    let function = functions.get(name).ok()?;
    let code = function.code(&binary.image).unwrap();
    let code = Code { architecture: binary.image.architecture, entry: function.entry, bytes: &code };
    let needs: Vec<_> = words.iter().map(|index| Place::IntegerRegister(*index)).collect();
    let site = site::entry(code, &needs).unwrap();
    assert_eq!(site.price, Price::Emulated);
    let cookie = Cookie::new(id, kind);
    let cookie = if site.condition.is_some() { cookie.if_not_taken() } else { cookie };
    Some(PlacedSite {
        offset: binary.image.file_offset(site.address).unwrap().0,
        address: site.address.0,
        cookie: if is_x_net { cookie.of_x_net() } else { cookie },
    })
}

fn returns(binary: &Binary<&[u8]>, functions: &Functions, id: u32) -> PlacedSite {
    let function = functions.get(ENTRIES[0].0).unwrap();
    let code = function.code(&binary.image).unwrap();
    let code = Code { architecture: binary.image.architecture, entry: function.entry, bytes: &code };
    let [site] = &site::returns(code).unwrap()[..] else { panic!("one return") };
    let cookie = Cookie::new(id, SiteKind::HttpServerEndByDepth);
    PlacedSite { offset: binary.image.file_offset(site.address).unwrap().0, address: site.address.0, cookie }
}

impl Facts {
    /// By how much addresses in a process are higher than in its file.
    pub(crate) fn bias(&self, pid: u32, path: &Path) -> u64 {
        let (address, offset) = self.anchor;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let lines = maps.lines().filter(|line| line.ends_with(path.to_str().unwrap()));
        let mut loaded = lines.filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (start, end) = fields[0].split_once('-').unwrap();
            let (start, end, from) = (number(start), number(end), number(fields[2]));
            (from..from + (end - start)).contains(&offset).then(|| start + (offset - from))
        });
        loaded.next().unwrap() - address
    }
}
