//! The independent views see what is known to be there.

use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, GoToolchain, Mode, Program, matrix};
use lightfoot_tests::oracle::{StructLayout, dwarf, struct_layouts, tools};
use object::LittleEndian;
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSegment as _};
use std::collections::HashMap;

#[test]
fn layouts_of_known_structs_in_every_version() {
    for build in matrix::versions(Program::Layouts, Mode::Plain) {
        let layouts: HashMap<String, StructLayout> = struct_layouts(&build.bytes().unwrap())
            .unwrap()
            .into_iter()
            .map(|layout| (layout.name.clone(), layout))
            .collect();
        let level3: Vec<_> = layouts["main.Level3"]
            .fields
            .iter()
            .map(|field| (&*field.name, field.offset, &*field.type_name, field.size, field.embedded))
            .collect();
        assert_eq!(
            level3,
            [
                ("Flag", 0, "uint8", 1, false),
                ("Level2", 8, "main.Level2", 40, true),
                ("After", 48, "error", 16, false)
            ],
            "{build}"
        );
        let padded = &layouts["main.ZeroSizeLast"];
        assert_eq!((padded.size, padded.fields[1].size), (8, 0), "{build}");
        assert_eq!(layouts["main.Arrays"].size, 3 + 5 + 48 + 16 + 16 + 8, "{build}: padded behind Empty");
        assert_eq!(layouts["main.Pointing"].fields[1].type_name, "*main.Level3");
        let pair = &layouts["main.Pair[context.Context,map[string]main.Arrays]"];
        assert_eq!(pair.fields[1].offset, 16, "{build}");
        let locals = [1, 2].map(|number| layouts[&format!("main.local·{number}")].size);
        assert_eq!(locals, [32, 20], "{build}");
        for layout in layouts.values() {
            assert!(layout.fields.is_sorted_by_key(|field| field.offset), "{build}: {layout:?}");
        }
    }
}

#[test]
fn descriptors_lie_where_the_layouts_say() {
    for version in [OLDEST, NEWEST] {
        let build = Build::here(Program::Layouts, version, Mode::Plain);
        let path = build.path().unwrap();
        let bytes = build.bytes().unwrap();
        let types =
            tools::symbols(&GoToolchain::find(version).unwrap(), &path).unwrap()["runtime.types"].address;
        let file = ElfFile64::<LittleEndian>::parse(&*bytes).unwrap();
        let mut compared = 0;
        for layout in struct_layouts(&bytes).unwrap() {
            let Some(offset) = layout.descriptor else { continue };
            // A descriptor starts with the type's size (internal/abi/type.go).
            let size =
                file.segments().find_map(|segment| segment.data_range(types + offset, 8).unwrap()).unwrap();
            assert_eq!(u64::from_le_bytes(size.try_into().unwrap()), layout.size, "{build}: {}", layout.name);
            compared += 1;
        }
        assert!(compared > 100, "{build}: {compared} descriptors");
    }
}

#[test]
fn a_stripped_binary_has_no_layouts() {
    let stripped = Build::here(Program::Layouts, NEWEST, Mode::Stripped).bytes().unwrap();
    assert!(matches!(struct_layouts(&stripped), Err(dwarf::DwarfError::NoStructs)));
}

#[test]
fn symbols_and_instructions_agree() {
    for version in [OLDEST, NEWEST] {
        let toolchain = GoToolchain::find(version).unwrap();
        for build in matrix::general(Program::Http)
            .filter(|build| build.version == version && matches!(build.mode, Mode::Plain | Mode::Pie))
        {
            let path = build.path().unwrap();
            let symbols = tools::symbols(&toolchain, &path).unwrap();
            let functions = tools::instructions(&toolchain, &path, r"^net/http\.\(\*conn\)\.serve$").unwrap();
            let serve = &functions["net/http.(*conn).serve"];
            let symbol = symbols["net/http.(*conn).serve"];
            assert_eq!(functions.len(), 1, "{build}");
            assert_eq!(symbol.kind.to_ascii_lowercase(), 't', "{build}");
            assert_eq!(serve[0].address, symbol.address, "{build}");
            for pair in serve.windows(2) {
                assert_eq!(pair[0].address + pair[0].size, pair[1].address, "{build}: {:?}", pair[0]);
            }
            let call = serve.iter().find(|i| i.text.contains("net/http.serverHandler.ServeHTTP(SB)"));
            assert!(call.is_some_and(|i| i.text.starts_with("CALL ")), "{build}");
        }
    }
}

#[test]
fn build_information_names_the_mode() {
    let build = Build::here(Program::Http, NEWEST, Mode::PieStripped);
    let toolchain = GoToolchain::find(NEWEST).unwrap();
    let lines = tools::build_info(&toolchain, &build.path().unwrap()).unwrap();
    assert_eq!(lines[0], [format!("go{NEWEST}")]);
    assert!(lines.contains(&vec!["path".into(), "lightfoot.example/http".into()]));
    assert!(lines.contains(&vec!["build".into(), "-buildmode=pie".into()]));
}
