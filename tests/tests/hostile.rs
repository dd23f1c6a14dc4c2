//! The symbolizer and the planner do no harm whatever bytes they are given. One test: it owns the allocator.

use std::time::Duration;

use lightfoot_symbolizer::functions::Functions;
use lightfoot_symbolizer::site::{self, Code};
use lightfoot_symbolizer::{Binary, Refusal, dwarf};
use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::hostile::{self, Harness, Landmarks, Limits, Outcome, harness::Memory};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MEMORY: Memory = Memory {
    reset: || ALLOCATOR.reset_peak_usage(),
    now: || ALLOCATOR.current_usage(),
    peak: || ALLOCATOR.peak_usage(),
};

const FUNCTIONS: &[&str] =
    &["main.main", "main.(*Level3).Done", "fmt.Fprintln", "runtime.newproc1", "runtime.mallocgc"];
const TYPES: &[&str] = &["runtime.g", "main.Level3", "context.valueCtx", "runtime.schedt"];

/// Asks for every fact that there is.
fn examine(bytes: &[u8]) -> Outcome {
    let binary = match Binary::open(bytes) {
        Ok(binary) => binary,
        Err(refusal @ Refusal::Image(_)) => {
            one_sentence(&refusal);
            return Outcome::Refused;
        }
        Err(refusal) => {
            one_sentence(&refusal);
            return Outcome::NotGo;
        }
    };
    if let Ok(functions) = Functions::find(&binary.image, &binary.module, FUNCTIONS) {
        for function in functions.iter() {
            let Ok(bytes) = function.code(&binary.image) else { continue };
            let code = Code { architecture: binary.image.architecture, entry: function.entry, bytes: &bytes };
            let _ = (site::entry(code, &[]), site::returns(code), site::calls_to(code, function.entry));
            for call in site::indirect_calls(code).into_iter().flatten() {
                let _ = site::after_call(code, call.address, &[]);
            }
        }
        let _ = functions.inlined_into("runtime.newproc1").count();
    }
    let _ = binary.types(TYPES);
    let descriptors = binary.descriptors();
    let _ = descriptors.for_each_struct(&binary.module, |layout| {
        for field in &layout.fields {
            let _ = field.descriptor.map(|address| descriptors.map(address));
        }
    });
    let _ = dwarf::for_each_struct(&bytes, |name| TYPES.contains(&name), |_| {});
    Outcome::Go
}

/// An error tells what failed on one line, causes behind colons.
fn one_sentence(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(!text.is_empty() && !text.contains('\n') && text.len() < 400, "{text}");
}

#[test]
fn no_input_makes_the_symbolizer_panic_hang_or_take_memory_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { time: Duration::from_secs(20), memory: 96 << 20 };
    let harness = Harness { limits, memory: Some(MEMORY), folder: folder.path().to_owned() };
    let seed = std::env::var("LIGHTFOOT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for (version, mode) in [(NEWEST, Mode::Pie), (OLDEST, Mode::Plain)] {
        let file = Build::here(Program::Layouts, version, mode).bytes().unwrap();
        let landmarks = Landmarks::find(&file).unwrap();
        assert_eq!(examine(&file), Outcome::Go);
        let summary =
            harness.examine(hostile::all(&file, &landmarks, seed), |_, bytes| examine(bytes)).unwrap();
        println!(
            "Go {version}, {mode}: {:?}, slowest {:?}, largest {:?}",
            summary.outcomes, summary.slowest, summary.largest
        );
        assert!(summary.failures.is_empty(), "seed {seed}:\n{}", summary.failures.join("\n"));
        assert!(summary.outcomes.len() == 3, "{:?}", summary.outcomes);
    }
}
