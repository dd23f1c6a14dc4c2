//! The symbolizer's facts about real programs against what Go's own tools and DWARF say.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use lightfoot::catalog::grpc;
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::Plan;
use lightfoot::plan::layouts::layout;
use lightfoot_symbolizer::site::{self, Code};
use lightfoot_symbolizer::types::{LayoutSource, StructLayout};
use lightfoot_symbolizer::{Binary, VirtualAddress};
use lightfoot_tests::each::each_build;
use lightfoot_tests::go::{Build, GoToolchain, Mode, Program, VERSIONS, matrix};
use lightfoot_tests::oracle;

/// All layouts that the program's descriptors give, by name. Local types of different functions share a name.
fn from_descriptors(bytes: &[u8]) -> HashMap<String, Vec<StructLayout>> {
    let binary = Binary::open(bytes).expect("it is a Go program");
    let mut layouts: HashMap<String, Vec<_>> = HashMap::new();
    let visit = |layout: StructLayout| layouts.entry(layout.name.clone()).or_default().push(layout);
    binary.descriptors().for_each_struct(&binary.module, visit).expect("descriptors are read");
    layouts
}

#[test]
fn layouts_from_descriptors_are_those_of_dwarf() {
    static COMPARED: AtomicUsize = AtomicUsize::new(0);
    let with_dwarf = |build: &Build| matches!(build.mode, Mode::Plain | Mode::Pie);
    let builds = matrix::general(Program::Http)
        .chain(VERSIONS.into_iter().map(|version| Build::here(Program::Layouts, version, Mode::Plain)))
        .chain(VERSIONS.into_iter().map(|version| Build::here(Program::Grpc, version, Mode::Plain)))
        .filter(with_dwarf);
    each_build(builds, |build, path| {
        let bytes = fs::read(path).expect("the binary is there");
        let found = from_descriptors(&bytes);
        let mut compared = 0;
        for expected in oracle::struct_layouts(&bytes).expect("DWARF is read") {
            let Some(layouts) = found.get(&expected.name) else { continue };
            let shape = |layout: &StructLayout| {
                let fields = layout
                    .fields
                    .iter()
                    .map(|field| (field.name.clone(), field.offset, field.size, field.embedded));
                (layout.size, fields.collect::<Vec<_>>())
            };
            let fields = expected
                .fields
                .iter()
                .map(|field| (field.name.clone(), field.offset, field.size, field.embedded));
            let expected_shape = (expected.size, fields.collect::<Vec<_>>());
            let equal = layouts.iter().any(|layout| shape(layout) == expected_shape);
            assert!(equal, "{}: DWARF {expected_shape:?}, descriptors {layouts:?}", expected.name);
            compared += 1;
        }
        let least = if build.program == Program::Layouts { 150 } else { 500 };
        assert!(compared >= least, "only {compared} compared");
        COMPARED.fetch_add(compared, Ordering::Relaxed);
    });
    println!("{} layouts compared, all equal", COMPARED.load(Ordering::Relaxed));
}

/// All that is read of grpc-go 1.40 to 1.85, and of the runtime on its behalf.
#[test]
fn what_is_read_of_grpc_is_where_dwarf_has_it() {
    static COMPARED: AtomicUsize = AtomicUsize::new(0);
    let builds =
        matrix::versions(Program::OldRpc, Mode::Plain).chain(matrix::versions(Program::Rpc, Mode::Plain));
    each_build(builds, |_, path| {
        let bytes = fs::read(path).expect("the binary is there");
        let structs: HashMap<_, _> = oracle::struct_layouts(&bytes)
            .expect("DWARF is read")
            .into_iter()
            .map(|layout| (layout.name.clone(), layout))
            .collect();
        let field = |structure: &str, field: &str| {
            structs.get(structure)?.fields.iter().find(|found| found.name == field)
        };
        let facts = Facts::inspect(path).expect("it is a Go program");
        let plan = Plan::new(&facts);
        let of_grpc = plan.libraries.iter().find(|planned| planned.library.name == grpc::LIBRARY.name);
        let operations = of_grpc.expect("it is known").operations.as_ref().expect("it is linked");
        assert_eq!(operations.len(), grpc::LIBRARY.operations.len());
        let layouts: BTreeMap<_, _> = operations
            .iter()
            .flat_map(|operation| &operation.layouts)
            .map(|layout| (layout.layout.name, layout))
            .collect();
        let mut compared = 0;
        for (name, layout) in &layouts {
            assert_eq!(layout.source.is_some(), structs.contains_key(*name), "{name}");
            for (of, offset) in &layout.fields {
                assert_eq!(field(name, of).map(|found| found.offset), Some(*offset), "{name}.{of}");
                compared += 1;
            }
            for of in &layout.missing {
                assert!(field(name, of).is_none(), "{name}.{of} is there");
            }
        }
        assert!(compared >= 34, "only {compared} fields");
        COMPARED.fetch_add(compared, Ordering::Relaxed);
        // And what is made of several of them.
        let at = |structure: &str, name: &str| field(structure, name).map(|found| found.offset);
        let layout = layout(&facts).grpc;
        let within = match field(grpc::SERVER_STREAM.name, "Stream") {
            Some(found) if !found.type_name.starts_with('*') => found.offset,
            _ => 0,
        };
        let of_stream = |name| at(grpc::STREAM.name, name).expect("it is there") + within;
        assert_eq!((layout.stream.ctx, layout.stream.method), (of_stream("ctx"), of_stream("method")));
        let peer = at(grpc::HTTP2_SERVER.name, "remoteAddr").or_else(|| {
            Some(at(grpc::HTTP2_SERVER.name, "peer")? + at(grpc::PEER.name, "Addr").expect("it is there"))
        });
        assert_eq!(Some(layout.transport.peer), peer);
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| at(grpc::ATTEMPT.name, name));
        assert_eq!(Some(layout.client.transport), first(["transport", "t"]));
        assert_eq!(Some(layout.client.transport_stream), first(["transportStream", "s"]));
        let message = at(grpc::PROTO_STATUS.name, "Message").zip(at(grpc::PROTO_STATUS.name, "Code"));
        assert_eq!(Some(layout.status.message), message.map(|(message, code)| message - code));
    });
    println!("{} fields compared, all equal", COMPARED.load(Ordering::Relaxed));
}

#[test]
fn the_fallback_reads_the_same_layouts_from_dwarf() {
    each_build(matrix::versions(Program::Http, Mode::Plain), |_, path| {
        let bytes = fs::read(path).expect("the binary is there");
        let expected: BTreeMap<_, _> = oracle::struct_layouts(&bytes)
            .expect("DWARF is read")
            .into_iter()
            .map(|layout| {
                let fields = layout.fields.iter().map(|field| (field.name.clone(), field.offset, field.size));
                (layout.name, (layout.size, fields.collect::<Vec<_>>()))
            })
            .collect();
        let mut found = 0;
        let visit = |layout: StructLayout| {
            assert_eq!(layout.source, LayoutSource::Dwarf);
            let fields = layout.fields.iter().map(|field| (field.name.clone(), field.offset, field.size));
            let shape = (layout.size, fields.collect::<Vec<_>>());
            assert_eq!(Some(&shape), expected.get(&layout.name), "{}", layout.name);
            found += 1;
        };
        let wanted = |name: &str| name.starts_with("net/http.") || name == "runtime.schedt";
        lightfoot_symbolizer::dwarf::for_each_struct(&&bytes[..], wanted, visit).expect("DWARF is read");
        assert!(found > 50, "only {found}");
    });
}

#[test]
fn build_information_is_what_go_version_prints() {
    let builds =
        matrix::versions(Program::Grpc, Mode::Stripped).chain(matrix::versions(Program::Http, Mode::Pie));
    each_build(builds, |build, path| {
        let toolchain = GoToolchain::find(build.version).expect("it built the program");
        let printed = oracle::tools::build_info(&toolchain, path).expect("go version -m reads it");
        let facts = Facts::inspect(path).expect("it is a Go program");
        let mut ours = Vec::new();
        let info = &facts.build_info;
        ours.extend(info.path.iter().map(|path| vec!["path".to_owned(), path.clone()]));
        let named = |keyword: &str, module: &lightfoot_symbolizer::build_info::Module| {
            vec![keyword.to_owned(), module.path.clone(), module.version.clone()]
        };
        ours.extend(info.main.iter().map(|module| named("mod", module)));
        for module in &info.dependencies {
            ours.push(named("dep", module));
            ours.extend(module.replaced_by.iter().map(|module| named("=>", module)));
        }
        ours.extend(
            info.settings.iter().map(|(key, value)| vec!["build".to_owned(), format!("{key}={value}")]),
        );
        let printed: Vec<_> = printed
            .into_iter()
            .map(|line| line.iter().take(3).map(|word| word.replace('"', "")).collect::<Vec<_>>())
            .collect();
        for line in &ours {
            let line: Vec<_> = line.iter().filter(|word| !word.is_empty()).cloned().collect();
            assert!(printed.iter().any(|other| other.starts_with(&line)), "{line:?} is not in {printed:?}");
        }
        let (major, minor, patch) =
            (1, info.version().expect("a release").minor, info.version().expect("a release").patch);
        assert!(
            toolchain.exact.contains(&format!("{major}.{minor}.{patch}")),
            "{} {}",
            toolchain.exact,
            info.go_version
        );
    });
}

#[test]
fn functions_and_sites_are_where_gos_disassembler_has_instructions() {
    let builds = matrix::general(Program::Http).filter(|build| build.mode == Mode::Plain);
    each_build(builds, |build, path| {
        let toolchain = GoToolchain::find(build.version).expect("it built the program");
        let symbols = oracle::tools::symbols(&toolchain, path).expect("go tool nm reads it");
        let facts = Facts::inspect(path).expect("it is a Go program");
        let mut checked = 0;
        for function in facts.functions.iter() {
            let symbol = symbols.get(&function.name).unwrap_or_else(|| panic!("nm lacks {}", function.name));
            assert_eq!(symbol.address, function.entry.0, "{}", function.name);
        }
        let plan = Plan::new(&facts);
        let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
        let points = operations.flat_map(|operation| &operation.points);
        for (function, sites) in points.filter_map(|point| point.chosen.as_ref()) {
            let exactly: String = function
                .chars()
                .flat_map(|c| ['\\', c].into_iter().skip(usize::from(c.is_alphanumeric())))
                .collect();
            let listing = oracle::tools::instructions(&toolchain, path, &format!("^{exactly}$"))
                .expect("go tool objdump reads it");
            for planned in sites {
                let found = listing
                    .values()
                    .flatten()
                    .find(|instruction| instruction.address == planned.site.address.0);
                let found = found
                    .unwrap_or_else(|| panic!("no instruction at {} in {function}", planned.site.address));
                assert_eq!(found.size, planned.site.bytes.len() as u64, "{function}: {}", found.text);
                checked += 1;
            }
        }
        assert!(checked >= 6, "only {checked} sites");
    });
}

#[test]
fn a_function_inlined_away_is_told_from_one_that_is_called() {
    const FINISH: &str = "net/http.(*response).finishRequest";
    const SERVE: &str = "net/http.(*conn).serve";
    let guided = |build: &Build| build.mode == Mode::ProfileGuided;
    let plain = VERSIONS.into_iter().map(|version| Build::here(Program::Http, version, Mode::Stripped));
    each_build(matrix::special().filter(guided).chain(plain), |build, path| {
        let facts = Facts::inspect(path).expect("it is a Go program");
        let serve = facts.functions.get(SERVE).expect("it serves");
        let host = facts.functions.inlined_into(FINISH).find(|host| host.name == SERVE);
        assert_eq!(host.is_some(), guided(build), "{host:?}");
        let finish = facts.functions.get(FINISH).expect("its symbol stays");
        let code = facts.code.get(&serve.entry).expect("its code is in the file");
        let code = Code { architecture: facts.architecture, entry: serve.entry, bytes: &code.bytes };
        assert_eq!(site::calls_to(code, finish.entry).expect("it decodes").is_empty(), guided(build));
        for call in host.into_iter().flat_map(|host| &host.inlined).filter(|call| call.name == FINISH) {
            assert!(!call.ranges.is_empty());
            assert!(
                call.ranges
                    .iter()
                    .all(|(start, end)| serve.entry < *start && start < end && *end <= serve.end)
            );
        }
    });
}

#[test]
fn a_function_is_found_by_any_address_in_it() {
    let builds =
        matrix::versions(Program::Http, Mode::Plain).chain(matrix::versions(Program::Http, Mode::Pie));
    each_build(builds, |build, path| {
        let bytes = fs::read(path).expect("the binary is there");
        let binary = Binary::open(&bytes[..]).expect("it is a Go program");
        let toolchain = GoToolchain::find(build.version).expect("it built the program");
        let symbols = oracle::tools::symbols(&toolchain, path).expect("go tool nm reads it");
        let code: Vec<_> = symbols
            .iter()
            .filter(|(name, symbol)| name.starts_with("net/http.") && symbol.kind == 'T' && symbol.size > 1)
            .collect();
        assert!(code.len() > 400, "{}", code.len());
        for (name, symbol) in code {
            for address in
                [symbol.address, symbol.address + symbol.size / 2, symbol.address + symbol.size - 1]
            {
                let found = binary.function_at(VirtualAddress(address)).expect("it is there");
                assert_eq!((&found.name, found.entry.0), (name, symbol.address));
            }
        }
        let text = binary.module.text;
        for outside in [0, text.address.0 - 1, text.address.0 + text.length, u64::MAX] {
            assert!(binary.function_at(VirtualAddress(outside)).is_err(), "{outside:#x}");
        }
    });
}

#[test]
fn every_holder_of_a_context_is_found() {
    each_build(matrix::versions(Program::Layouts, Mode::Stripped), |_, path| {
        let facts = Facts::inspect(path).expect("it is a Go program");
        let holders = &facts.types.context_holders;
        let holder = |name: &str| {
            let found = holders.iter().find(|holder| holder.name == name);
            found.map(|holder| (holder.offset, holder.embedded))
        };
        let expected = [
            ("main.Direct", 8, true),
            ("main.Level1", 8, true),
            ("main.Level2", 24, true),
            ("main.Level3", 32, true),
            ("main.Named", 8, false),
            ("main.Several", 16, true),
            ("context.valueCtx", 0, true),
            ("context.cancelCtx", 0, true),
            ("context.timerCtx", 0, true),
        ];
        for (name, offset, embedded) in expected {
            assert_eq!(holder(name), Some((offset, embedded)), "{name} of {holders:?}");
        }
        assert!(holders.iter().any(|holder| holder.name.starts_with("main.Generic[")), "{holders:?}");
        let pointing =
            holders.iter().find(|holder| holder.name == "main.Pointing").expect("it points to a holder");
        assert_eq!((pointing.through, pointing.offset, pointing.embedded), (Some(8), 32, true));
    });
}
