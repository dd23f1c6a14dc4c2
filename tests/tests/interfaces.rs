//! What interfaces hold, and where calls through them return to, against programs that print it about themselves.
#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lightfoot::catalog::net_http::ROUND_TRIP_RESULTS;
use lightfoot::catalog::{Role, net_http};
use lightfoot::inspect::{self, FileSource, Program as Facts};
use lightfoot::plan::caller::{CallerError, caller};
use lightfoot::plan::holders::holders;
use lightfoot::plan::{Plan, PlannedSite, layouts};
use lightfoot_symbolizer::site::{Price, Reason, SiteError};
use lightfoot_symbolizer::{Architecture, Binary, VirtualAddress};
use lightfoot_tests::each::each_build;
use lightfoot_tests::go::{Build, Mode, Program, VERSIONS};

/// Every version in the modes in which addresses lie differently; they are run, so for this machine only.
fn builds() -> impl Iterator<Item = Build> {
    VERSIONS
        .into_iter()
        .flat_map(|version| Mode::GENERAL.map(|mode| Build::here(Program::Interfaces, version, mode)))
}

/// What the program prints: kind, address as in its file, name.
struct Printed(Vec<(String, VirtualAddress, String)>);

impl Printed {
    fn of(path: &Path, binary: &Binary<FileSource>) -> Self {
        let output = Command::new(path).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("it prints text");
        let lines = text.lines().map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("three words a line").to_owned();
            let (kind, address, name) = (word(), word(), word());
            let address = address.trim_start_matches("0x");
            (kind, u64::from_str_radix(address, 16).expect("a hexadecimal address"), name)
        });
        let lines: Vec<_> = lines.collect();
        let functions = binary.functions(&["main.main"]).expect("they are read");
        let main = functions.get("main.main").expect("it is there").entry;
        let (_, loaded, _) = lines.iter().find(|(kind, ..)| kind == "main").expect("it is printed");
        let bias = loaded - main.0;
        Self(lines.into_iter().map(|(kind, at, name)| (kind, VirtualAddress(at - bias), name)).collect())
    }

    fn kind<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (VirtualAddress, &'a str)> {
        let all = self.0.iter().filter(move |(kind, ..)| kind == wanted);
        all.map(|(_, address, name)| (*address, name.as_str()))
    }

    /// The one address of that kind and name.
    fn address(&self, kind: &str, name: &str) -> VirtualAddress {
        let found = self.kind(kind).find(|(_, other)| *other == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}")).0
    }
}

#[test]
fn types_have_the_names_that_reflect_gives_them() {
    each_build(builds(), |_, path| {
        let binary = inspect::open(path).expect("it is a Go program");
        let printed = Printed::of(path, &binary);
        let descriptors = binary.descriptors();
        let mut compared = 0;
        for (address, name) in printed.kind("error").chain(printed.kind("context")) {
            assert_eq!(descriptors.type_name(address).expect("it is a type"), name);
            compared += 1;
        }
        assert_eq!(compared, 34);
        // What a process holds in the place of a type may be anything.
        let known = printed.address("error", "*errors.errorString");
        for (anything, what) in [
            (VirtualAddress(0), "nothing"),
            (VirtualAddress(u64::MAX), "the last byte"),
            (VirtualAddress(u64::MAX - 7), "the last word"),
            (VirtualAddress(known.0 + 1), "a byte past a type"),
            (printed.address("main", "main.main"), "code"),
            (binary.module.address, "the module data"),
        ] {
            assert!(descriptors.type_name(anything).is_err(), "{what}");
        }
        let within = (0..4096).filter_map(|word| descriptors.type_name(known.past(word * 8)).ok());
        assert!(within.count() > 1, "the types next to it");
    });
}

#[test]
fn contexts_lead_to_those_that_they_stem_from() {
    let expected: BTreeMap<&str, Option<(Option<u64>, u64)>> = BTreeMap::from([
        ("context.backgroundCtx", None),
        ("context.todoCtx", None),
        ("*context.cancelCtx", Some((None, 0))),
        ("*context.timerCtx", Some((None, 0))),
        ("*context.valueCtx", Some((None, 0))),
        ("context.withoutCancelCtx", Some((None, 0))),
        ("main.embedding", Some((None, 8))),
        ("*main.embedding", Some((None, 8))),
        ("main.pointing", Some((Some(8), 8))),
        ("*main.pointing", Some((Some(8), 8))),
        ("main.named", Some((None, 0))),
        ("*main.named", Some((None, 0))),
        // Which of the two it stems from is anyone's guess.
        ("*main.merged", None),
    ]);
    each_build(builds(), |_, path| {
        let binary = inspect::open(path).expect("it is a Go program");
        let holders = holders(&Facts::inspect(path).expect("it is a Go program"));
        for (address, name) in Printed::of(path, &binary).kind("context") {
            let found = holders.iter().find(|holder| holder.descriptor == address);
            let found = found.map(|holder| (holder.through, holder.context));
            assert_eq!(Some(&found), expected.get(name), "{name}");
        }
        // A request holds a context and is none, so nothing of it is looked for in a chain.
        let facts = Facts::inspect(path).expect("it is a Go program");
        let request = facts.types.context_holders.iter().find(|holder| holder.name == net_http::REQUEST.name);
        assert_eq!(request.map(|request| request.shown_as.len()), Some(0));
    });
}

#[test]
fn response_writers_are_told_by_their_types() {
    each_build(builds(), |_, path| {
        let binary = inspect::open(path).expect("it is a Go program");
        let printed = Printed::of(path, &binary);
        let layout = layouts::layout(&Facts::inspect(path).expect("it is a Go program"));
        assert_eq!(layout.types.response, printed.address("writer", "HTTP/1").0);
        assert_eq!(layout.http2.response_writer_type, printed.address("writer", "HTTP/2").0);
        assert_eq!(layout.types.error_string, printed.address("error", "*errors.errorString").0);
    });
}

#[test]
fn a_site_is_found_behind_every_call_that_was_seen() {
    each_build(builds(), |build, path| {
        let binary = inspect::open(path).expect("it is a Go program");
        let printed = Printed::of(path, &binary);
        let facts = Facts::inspect(path).expect("it is a Go program");
        let mut learned = BTreeMap::new();
        for (address, name) in printed.kind("caller") {
            let found = caller(&binary, address, ROUND_TRIP_RESULTS);
            let found = found.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(found.function, name);
            let PlannedSite { site, kept, .. } = found.site;
            // It returns at once, and on x86-64 with nothing but stepped instructions.
            if name == "main.(*passing).RoundTrip" && build.architecture == Architecture::X86_64 {
                assert_eq!((site.price, site.reason), (Price::Stepped, Reason::Return));
            } else {
                assert_eq!(site.price, Price::Emulated, "{name}");
            }
            assert!(site.address >= address && site.address.0 < address.0 + 64);
            assert_eq!(kept.len(), 3);
            learned.insert(name, site.address);
            for wrong in [address.past(1), VirtualAddress(address.0 - 1)] {
                let error = caller(&binary, wrong, ROUND_TRIP_RESULTS).expect_err("no call returns there");
                assert!(
                    matches!(error, CallerError::NoSite { source: SiteError::NotAReturnAddress { .. }, .. }),
                    "{error:?}"
                );
            }
        }
        assert_eq!(printed.kind("caller").count(), 4);
        // The site that is planned without having seen anything is the one that is learned.
        let plan = Plan::new(&facts);
        let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
        let client = operations.into_iter().find(|operation| {
            operation.operation.title == net_http::CLIENT.title && operation.can_be_watched()
        });
        let client = client.expect("it has a client");
        let end = client.points.iter().find(|point| point.role == Role::End).expect("it ends");
        let (function, sites) = end.chosen.as_ref().expect("it can be caught");
        if *function == "net/http.send" {
            let planned: Vec<_> = sites.iter().map(|planned| planned.site.address).collect();
            assert_eq!(learned.get("net/http.send"), planned.first());
            assert_eq!(planned.len(), 1);
        }
        for anything in [0, 1, u64::MAX, binary.module.address.0, printed.address("error", "main.number").0] {
            assert!(caller(&binary, VirtualAddress(anything), ROUND_TRIP_RESULTS).is_err(), "{anything:#x}");
        }
    });
}
