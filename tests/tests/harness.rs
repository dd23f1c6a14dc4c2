//! The hostile inputs are what they say, and the harness sees broken promises. One test: it owns the allocator.

use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::hostile::{self, Harness, Input, Landmarks, Limits, Outcome, harness::Memory};
use object::read::elf::ElfFile64;
use object::{Architecture, LittleEndian, Object as _};
use peak_alloc::PeakAlloc;
use std::collections::HashSet;
use std::hint::black_box;
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MEMORY: Memory = Memory {
    reset: || ALLOCATOR.reset_peak_usage(),
    now: || ALLOCATOR.current_usage(),
    peak: || ALLOCATOR.peak_usage(),
};

#[test]
fn the_harness_sees_broken_promises_and_the_inputs_are_varied() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { time: Duration::from_secs(2), memory: 1 << 20 };
    let harness = Harness { limits, memory: Some(MEMORY), folder: folder.path().to_owned() };

    let input = |name: &str, expected| Input { name: name.into(), bytes: vec![1, 2, 3].into(), expected };
    let inputs = ["sound", "panics", "slow", "greedy"].map(|name| input(name, None));
    let inputs = inputs.into_iter().chain([input("mistaken", Some(Outcome::Refused))]);
    let summary = harness
        .examine(inputs, |name, bytes| {
            match name {
                "panics" => assert_eq!(bytes.len(), 4, "three bytes"),
                "slow" => thread::sleep(limits.time + Duration::from_millis(50)),
                "greedy" => drop(black_box(vec![0_u8; 2 << 20])),
                _ => {}
            }
            Outcome::Go
        })
        .unwrap();
    let failures = summary.failures.join("\n");
    assert_eq!(summary.failures.len(), 4, "{failures}");
    for part in [
        "panics: panicked: ",
        "slow: took ",
        "greedy: allocated 2097152",
        "mistaken: taken for Go, is Refused",
    ] {
        assert!(failures.contains(part), "{part}: {failures}");
    }
    assert_eq!(summary.slowest.1, "slow");
    assert_eq!(summary.largest.1, "greedy");
    assert_eq!(std::fs::read(folder.path().join("failure-0")).unwrap(), [1, 2, 3]);

    // A parser that nobody here wrote agrees about the files whose kind is known.
    let object = |bytes: &[u8]| match ElfFile64::<LittleEndian>::parse(bytes) {
        Ok(file) if matches!(file.architecture(), Architecture::X86_64 | Architecture::Aarch64) => {
            if file.section_by_name(".gopclntab").is_some() { Outcome::Go } else { Outcome::NotGo }
        }
        _ => Outcome::Refused,
    };
    let limits = Limits { time: Duration::from_secs(20), memory: 64 << 20 };
    let harness = Harness { limits, ..harness };
    let summary = harness.examine(hostile::forged::all(), |_, bytes| object(bytes)).unwrap();
    assert_eq!(summary.failures, [""; 0]);
    assert!(summary.outcomes.len() == 3, "{:?}", summary.outcomes);

    for (version, mode) in [(OLDEST, Mode::Plain), (NEWEST, Mode::Plain), (NEWEST, Mode::Pie)] {
        let file = Build::here(Program::Layouts, version, mode).bytes().unwrap();
        let landmarks = Landmarks::find(&file).unwrap();
        let mut names = HashSet::new();
        let mut unchanged = 0;
        for input in hostile::all(&file, &landmarks, 1) {
            unchanged += usize::from(*input.bytes == *file);
            assert!(names.insert(input.name.clone()), "two inputs are called {}", input.name);
        }
        // A word that already had the value it is given.
        assert!(unchanged * 6 < names.len(), "{unchanged} of {} inputs are the sound file", names.len());
        for part in [
            "cut to 4095",
            "flips, seed",
            "ELF header",
            "moduledata",
            "main.Level3",
            "inline tree",
            "types: a struct",
        ] {
            assert!(names.iter().any(|name| name.contains(part)), "Go {version}, {mode}: no {part}");
        }
        println!("Go {version}, {mode}: {} inputs", names.len());
        let first = hostile::damage::flipped(&file, &landmarks, 7).next().unwrap();
        assert_eq!(first.bytes, hostile::damage::flipped(&file, &landmarks, 7).next().unwrap().bytes);
    }
}
