//! Where the planner finds what routers have matched, and where those fields are.
#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lightfoot::catalog::Role;
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::{Plan, layouts};
use lightfoot_probes_abi::layout::{NONE, Router};
use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::go_abi::Place;
use lightfoot_symbolizer::site::{Price, Reason};
use lightfoot_tests::each::each_build;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program, matrix};
use lightfoot_tests::oracle;

/// A router's program, its function by Go version, the register with the argument, and the fields that lead to the pattern.
struct Expected {
    program: Program,
    title: &'static str,
    functions: [&'static str; 2],
    register: [u8; 2],
    fields: &'static [(&'static str, &'static str)],
    behind: Option<(&'static str, &'static str)>,
    in_pieces: u64,
}

/// In the order in which BPF knows them.
const EXPECTED: [Expected; 4] = [
    Expected {
        program: Program::Gin,
        title: "gin route",
        functions: [
            "github.com/gin-gonic/gin.(*Engine).ServeHTTP",
            "github.com/gin-gonic/gin.(*Engine).handleHTTPRequest",
        ],
        register: [2, 0],
        fields: &[("github.com/gin-gonic/gin.Context", "fullPath")],
        behind: None,
        in_pieces: 0,
    },
    Expected {
        program: Program::Chi,
        title: "chi route",
        functions: ["github.com/go-chi/chi/v5.(*Mux).ServeHTTP"; 2],
        register: [2; 2],
        fields: &[("github.com/go-chi/chi/v5.Context", "RoutePatterns")],
        behind: None,
        in_pieces: 1,
    },
    Expected {
        program: Program::Echo,
        title: "echo route",
        functions: ["github.com/labstack/echo/v4.(*Echo).ServeHTTP"; 2],
        register: [2; 2],
        fields: &[("github.com/labstack/echo/v4.context", "path")],
        behind: None,
        in_pieces: 0,
    },
    Expected {
        program: Program::Gorilla,
        title: "gorilla/mux route",
        functions: ["github.com/gorilla/mux.(*Router).ServeHTTP"; 2],
        register: [1; 2],
        fields: &[
            ("github.com/gorilla/mux.Route", "routeConf"),
            ("github.com/gorilla/mux.routeConf", "regexp"),
            ("github.com/gorilla/mux.routeRegexpGroup", "path"),
        ],
        behind: Some(("github.com/gorilla/mux.routeRegexp", "template")),
        in_pieces: 0,
    },
];

/// Each in two versions, four modes and for both architectures, as far as they can be built here.
fn builds(program: Program) -> impl Iterator<Item = Build> {
    let modes = [Mode::Plain, Mode::Stripped, Mode::Pie, Mode::PieStripped];
    [21, 26].into_iter().filter_map(GoVersion::of_minor).flat_map(move |version| {
        modes.into_iter().flat_map(move |mode| {
            [Architecture::X86_64, Architecture::Aarch64].into_iter().filter_map(move |architecture| {
                let build = Build { program, version, mode, architecture };
                // One mode is enough to see what another processor makes of it.
                let is_wanted = mode == Mode::Stripped
                    || architecture == Build::here(program, version, mode).architecture;
                is_wanted.then_some(build)
            })
        })
    })
}

#[test]
fn each_router_has_one_emulated_site_in_programs_that_link_it() {
    for expected in &EXPECTED {
        each_build(builds(expected.program), |build, path| {
            let found = routers(path);
            let [(title, function, register)] = &found[..] else { panic!("{found:?}") };
            let version = usize::from(build.version.minor == 26);
            assert_eq!(*title, expected.title);
            assert_eq!(Some(function), expected.functions.get(version));
            assert_eq!(Some(register), expected.register.get(version));
        });
    }
}

#[test]
fn programs_without_routers_have_no_third_site() {
    each_build(matrix::versions(Program::Http, Mode::Stripped), |_, path| {
        assert_eq!(routers(path), []);
        let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
        assert_eq!(layout.routers, [Router::UNKNOWN; 4]);
    });
}

/// The routers that a program has, with the function that is probed and the register that is read.
fn routers(path: &Path) -> Vec<(&'static str, &'static str, u8)> {
    let facts = Facts::inspect(path).expect("it is a Go program");
    let plan = Plan::new(&facts);
    let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
    let is_router = |role| role == Role::Router;
    let routers = operations.filter(|plan| plan.points.iter().any(|point| is_router(point.role)));
    let found = routers.map(|plan| {
        assert!(plan.can_be_watched(), "{:?}", plan.refusals);
        assert_eq!(plan.traps_per_span(), 1);
        let [point] = &plan.points[..] else { panic!("one point") };
        let (function, sites) = point.chosen.as_ref().expect("it is caught");
        let [site] = &sites[..] else { panic!("one site") };
        assert_eq!((site.site.price, &site.site.reason), (Price::Emulated, &Reason::Call));
        let Some(Place::IntegerRegister(register)) = site.kept.last() else { panic!("a register") };
        (plan.operation.title, *function, *register)
    });
    found.collect()
}

#[test]
fn offsets_are_those_of_dwarf() {
    for (number, expected) in EXPECTED.iter().enumerate() {
        let plain = builds(expected.program).filter(|build| build.mode == Mode::Plain);
        each_build(plain, |_, path| {
            let bytes = fs::read(path).expect("the binary is there");
            let all = oracle::struct_layouts(&bytes).expect("DWARF is read");
            let all: HashMap<_, _> = all.iter().map(|layout| (layout.name.as_str(), layout)).collect();
            let offset = |(structure, field): &(&str, &str)| {
                let fields = &all.get(structure).expect("it has the struct").fields;
                fields.iter().find(|found| found.name == *field).expect("it has the field").offset
            };
            let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
            let found = layout.routers.get(number);
            let (at, behind) =
                (expected.fields.iter().map(offset).sum(), expected.behind.as_ref().map(offset));
            let wanted = Router { at, behind: behind.unwrap_or(NONE), in_pieces: expected.in_pieces };
            assert_eq!(found, Some(&wanted));
        });
    }
}
