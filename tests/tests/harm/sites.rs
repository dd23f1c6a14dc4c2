//! Probes at every site that the planner ever chooses, all at once, while the program works.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lightfoot::catalog::Role;
use lightfoot_symbolizer::Architecture;
use lightfoot_tests::each::each_build;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::mode::host;
use lightfoot_tests::go::{Build, GoVersion, Mode, Program, matrix};
use lightfoot_tests::live::code::{BREAKPOINT, code_at};
use lightfoot_tests::live::hits::{Hits, Probed, bytes_of, sites};
use lightfoot_tests::live::{Agent, is_privileged, wait_within};

use crate::DETACHED;
use crate::programs::{Moment, answers};

/// What is planned for programs and not hit in them.
struct NotHit {
    programs: &'static [Program],
    title: &'static str,
    roles: &'static [Role],
    #[expect(dead_code, reason = "for whoever reads it")]
    why: &'static str,
}

const NOT_HIT: &[NotHit] = &[
    NotHit {
        programs: &[Program::Truth, Program::Gin],
        title: "HTTP client request",
        roles: &[Role::Start, Role::End, Role::StandIn],
        why: "they call nobody",
    },
    NotHit {
        programs: &[Program::Truth, Program::Gin, Program::XNet, Program::Grpc],
        title: "HTTP/1 client propagation",
        roles: &[Role::Written],
        why: "they call nobody, or over HTTP/2",
    },
    NotHit {
        programs: &[Program::Truth, Program::Gin, Program::XNet],
        title: "HTTP/1 client connection",
        roles: &[Role::Connected],
        why: "they call nobody, or over HTTP/2",
    },
    NotHit {
        programs: &[Program::Truth, Program::Gin, Program::Cgo, Program::XNet, Program::Rpc, Program::OldRpc],
        title: "HTTP/2 client propagation",
        roles: &[Role::Written],
        why: "they call nobody, or over HTTP/1, or by golang.org/x/net up to Go 1.26",
    },
    NotHit {
        programs: &[Program::Truth, Program::Gin, Program::Cgo, Program::XNet, Program::Rpc, Program::OldRpc],
        title: "HTTP/2 client connection",
        roles: &[Role::Connected],
        why: "as above",
    },
    NotHit {
        programs: &[
            Program::Truth,
            Program::Gin,
            Program::Chi,
            Program::Echo,
            Program::Gorilla,
            Program::Cgo,
            Program::XNet,
        ],
        title: "HTTP/2 server request",
        roles: &[Role::End],
        why: "they are asked over HTTP/1, or serve by golang.org/x/net up to Go 1.26",
    },
    NotHit {
        programs: &[Program::Bundled, Program::XNet],
        title: "HTTP/1 server request",
        roles: &[Role::End],
        why: "they are asked over HTTP/2",
    },
    NotHit {
        programs: &[
            Program::Gin,
            Program::Chi,
            Program::Echo,
            Program::Gorilla,
            Program::Clients,
            Program::Rpc,
            Program::OldRpc,
        ],
        title: "HTTP/1 server request",
        roles: &[Role::Route],
        why: "no ServeMux serves in them",
    },
    NotHit {
        programs: &[Program::Cgo],
        title: "HTTP/1 server request",
        roles: &[Role::ConnectionEnd],
        why: "it exits while its one connection is open",
    },
    NotHit {
        programs: &[Program::Grpc],
        title: "gRPC server call",
        roles: &[Role::ErrorEnd],
        why: "no connection ends before a reply; those of `Rpc` do",
    },
    NotHit {
        programs: &[Program::Grpc],
        title: "gRPC client connection",
        roles: &[Role::ErrorEnd],
        why: "its messages can all be sent; not all of `Rpc` can",
    },
    NotHit {
        programs: &[Program::Grpc],
        title: "gRPC server call over net/http",
        roles: &[Role::Status],
        why: "it serves by grpc-go's own transport; `Rpc` by both",
    },
];

/// With grpc-go 1.40, 1.53, 1.75 and 1.85.
const BY_GRPC: [(Program, u32); 4] =
    [(Program::OldRpc, 21), (Program::OldRpc, 22), (Program::Rpc, 23), (Program::Rpc, 27)];

/// The builds whose sites are probed: all that others than this test build anyway, or more of the versions.
fn builds() -> impl Iterator<Item = Build> {
    let extent = Extent::of_environment();
    let routers =
        [Program::Gin, Program::Chi, Program::Echo, Program::Gorilla].into_iter().flat_map(|program| {
            let minors = [21, 26].into_iter().filter_map(GoVersion::of_minor);
            minors.map(move |version| Build::here(program, version, Mode::Plain))
        });
    let by_grpc = [Program::OldRpc, Program::Rpc]
        .into_iter()
        .flat_map(|program| matrix::versions(program, Mode::Stripped));
    let by_grpc = by_grpc.filter(move |build| {
        extent == Extent::All || BY_GRPC.contains(&(build.program, build.version.minor))
    });
    let here = |build: &Build| build.architecture == host();
    matrix::general(Program::Http)
        .chain(matrix::special())
        .filter(here)
        .chain(matrix::versions(Program::Grpc, Mode::Stripped))
        .chain(matrix::versions(Program::XNet, Mode::Stripped))
        .chain(matrix::versions(Program::Bundled, Mode::Plain))
        .chain(matrix::watched(Program::Clients, extent))
        .chain(matrix::watched(Program::Truth, extent))
        .chain(routers)
        .chain(by_grpc)
}

/// Whether code begins with a nop of more than one byte, by the bytes that the manuals give: prefixes, then `nopw` or `nopl` (0f 1f),
/// or `xchg %ax,%ax`.
fn is_long_nop(code: &[u8]) -> bool {
    let prefixes = code.iter().take_while(|byte| [0x66, 0x2e, 0x3e, 0x40, 0x48].contains(*byte)).count();
    let rest = code.get(prefixes..).unwrap_or_default();
    rest.starts_with(&[0x0f, 0x1f]) || prefixes > 0 && rest.starts_with(&[0x90])
}

/// Linux 6.18 makes a probe on one of five bytes a call, which overwrites what the program keeps below its stack pointer.
#[test]
fn no_site_is_a_nop_of_more_than_one_byte() {
    assert!(is_long_nop(&[0x0f, 0x1f, 0x44, 0, 0]) && is_long_nop(&[0x66, 0x0f, 0x1f, 0, 0]));
    assert!(
        is_long_nop(&[0x66, 0x90, 0]) && !is_long_nop(&[0x90, 0x0f, 0x1f]) && !is_long_nop(&[0x55, 0x90])
    );
    let seen = AtomicUsize::new(0);
    let amd64 = builds().filter(|build| build.architecture == Architecture::X86_64);
    each_build(amd64, |build, path| {
        let sites = sites(path).unwrap();
        let first: Vec<_> = sites.iter().flat_map(|site| site.offset..site.offset + 5).collect();
        for (site, code) in sites.iter().zip(bytes_of(path, &first).unwrap().chunks(5)) {
            assert!(!is_long_nop(code), "{build}: {site:?}: {code:x?}");
        }
        seen.fetch_add(sites.len(), Ordering::Relaxed);
    });
    println!("{seen:?} sites");
    assert!(seen.into_inner() > 500);
}

/// How often each site was hit, with the title, the role and the function of each.
type Counted = Vec<((&'static str, Role, &'static str), u64)>;

#[test]
fn programs_answer_the_same_with_probes_at_every_site_at_once() {
    if !is_privileged("probes at every site") {
        return;
    }
    assert_eq!(host(), Architecture::X86_64, "sites of arm64 are planned here, and not run");
    let all = Mutex::new(Vec::new());
    each_build(builds(), |build, path| {
        let before = answers(build, path, &mut |_, _, _| {});
        let (with, counted) = with_probes(build, path);
        assert_eq!(rest(&with, &before), rest(&before, &with), "with probes alone, and without alone");
        let hit = counted.iter().filter(|(_, count)| *count > 0).count();
        println!("{build}: {} sites, {hit} of them hit", counted.len());
        all.lock().unwrap().push((*build, counted));
    });
    judge(&all.into_inner().unwrap());
}

/// What the first has and the second has less often.
fn rest<'a>(all: &'a [String], without: &[String]) -> BTreeSet<&'a str> {
    let count = |of: &[String], answer: &String| of.iter().filter(|other| *other == answer).count();
    all.iter().filter(|answer| count(all, answer) > count(without, answer)).map(String::as_str).collect()
}

/// Has the program do the same with probes at every site, and with an agent that watches it if it stays that long.
fn with_probes(build: &Build, path: &Path) -> (Vec<String>, Counted) {
    let mut hits = Hits::load().unwrap();
    let mut probed: Option<Probed> = None;
    let mut agent = None;
    let mut counted = Vec::new();
    let answers = answers(build, path, &mut |moment, file, pid| match moment {
        Moment::Ready => {
            probed = Some(hits.place(file, sites(file).unwrap()).unwrap());
            agent = pid.map(|pid| {
                let agent = Agent::start(["--pid", &pid.to_string()], &[]).unwrap();
                agent.watches(pid).unwrap();
                agent
            });
        }
        Moment::Done => {
            let probed = probed.take().unwrap();
            let offsets: Vec<_> = probed.sites.iter().map(|site| site.offset).collect();
            let code = pid.map(|pid| code_at(pid, &offsets).unwrap());
            assert!(code.is_none_or(|code| code.iter().all(|byte| *byte == BREAKPOINT)), "all stand");
            if let Some(agent) = agent.take() {
                let outcome = agent.stop().unwrap();
                assert!(!outcome.spans.is_empty(), "{}", outcome.messages);
            }
            let counts = hits.counts(&probed).unwrap();
            let keys = probed.sites.iter().map(|site| (site.title, site.role, site.function));
            counted.extend(keys.zip(counts));
            drop(probed);
            let original = bytes_of(file, &offsets).unwrap();
            if let Some(pid) = pid {
                let is_original = || (code_at(pid, &offsets).unwrap() == original).then_some(());
                wait_within(DETACHED, "the original code", is_original).unwrap();
            }
        }
    });
    (answers, counted)
}

/// Each program must have come by what was probed, but where the table says why not, and the table says nothing else. Of the
/// returns of a function one is enough: others may be for errors alone.
fn judge(all: &[(Build, Counted)]) {
    let (mut missed, mut explained) = (BTreeSet::new(), BTreeSet::new());
    for (build, counted) in all {
        let mut points: HashMap<_, u64> = HashMap::new();
        for (point, count) in counted {
            *points.entry(point).or_default() += count;
        }
        for ((title, role, function), _) in points.into_iter().filter(|(_, count)| *count == 0) {
            let is_it = |row: &NotHit| {
                row.programs.contains(&build.program) && row.title == *title && row.roles.contains(role)
            };
            match NOT_HIT.iter().position(is_it) {
                Some(row) => explained.insert((row, build.program.name())),
                None => missed.insert((build.to_string(), format!("{title}, {role:?}, {function}"))),
            };
        }
    }
    assert!(missed.is_empty(), "never hit: {missed:#?}");
    let reasons = NOT_HIT.iter().enumerate();
    let reasons: BTreeSet<_> =
        reasons.flat_map(|(row, of)| of.programs.iter().map(move |program| (row, program.name()))).collect();
    assert_eq!(explained, reasons, "each reason is needed");
    let counts = || all.iter().flat_map(|(_, counted)| counted).map(|(_, count)| *count);
    let hit = counts().filter(|count| *count > 0).count();
    println!(
        "{} builds, {} sites, {hit} of them hit, {} hits",
        all.len(),
        counts().count(),
        counts().sum::<u64>()
    );
}
