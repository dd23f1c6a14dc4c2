//! The symbolizer and the planner do no harm whatever bytes they are given. One test: it owns the allocator.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::ops::Range;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use lightfoot::catalog::net_http::ROUND_TRIP_RESULTS;
use lightfoot::plan::caller::caller;
use lightfoot_symbolizer::functions::Functions;
use lightfoot_symbolizer::moduledata::Region;
use lightfoot_symbolizer::site::{self, Code};
use lightfoot_symbolizer::{Binary, Refusal, dwarf, goid};
use lightfoot_tests::go::version::{NEWEST, OLDEST};
use lightfoot_tests::go::{Build, Mode, Program};
use lightfoot_tests::hostile::{self, Harness, Landmarks, Limits, Outcome, harness::Memory};
use object::{Object as _, ObjectSection as _};
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
const TYPES: &[&str] = &["runtime.g", "runtime.p", "main.Level3", "context.valueCtx", "runtime.schedt"];

/// A file that is not damaged.
struct Sound<'a> {
    file: &'a [u8],
    /// Where its first section of debug information begins.
    debug: usize,
}

impl<'a> Sound<'a> {
    /// ELF, program and section headers are among so many bytes.
    const HEADERS: usize = 4096;

    fn new(file: &'a [u8], landmarks: &Landmarks) -> Self {
        let Landmarks { program_headers, section_headers, .. } = landmarks;
        assert!(program_headers.end.max(section_headers.end) <= Self::HEADERS);
        let elf = object::File::parse(file).unwrap();
        let of_debug = elf.sections().filter(|section| section.name().unwrap().contains("debug_"));
        let debug = of_debug.map(|section| section.file_range().unwrap().0).min().unwrap();
        Self { file, debug: usize::try_from(debug).unwrap() }
    }

    /// Whether debug information is in these bytes as in the file, with all that leads there: nothing else of them is looked at for it.
    fn has_debug_of(&self, bytes: &[u8]) -> bool {
        let is_same = |part: Range<usize>| self.file.get(part.clone()) == bytes.get(part);
        let length = self.file.len();
        length == bytes.len() && is_same(0..Self::HEADERS) && is_same(self.debug..length)
    }
}

/// Asks for every fact that there is.
fn examine(bytes: &[u8], sound: &Sound<'_>) -> Outcome {
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
                let _ = caller(&binary, call.return_address, ROUND_TRIP_RESULTS);
            }
            for offset in [0, 376, 384] {
                let _ = goid::goidgen(code, offset);
            }
        }
        let _ = functions.inlined_into("runtime.newproc1").count();
    }
    let types = binary.types(TYPES).unwrap_or_default();
    let descriptors = binary.descriptors();
    for descriptor in types.context_holders.iter().flat_map(|holder| &holder.shown_as) {
        let _ = descriptors.type_name(*descriptor);
    }
    let Region { address, length } = binary.module.types;
    for part in 0..64 {
        let _ = descriptors.type_name(address.past((length / 64 * part) & !7));
        let _ = binary.function_at(binary.module.text.address.past(binary.module.text.length / 64 * part));
    }
    let _ = descriptors.for_each_struct(&binary.module, |layout| {
        for field in &layout.fields {
            let _ = field.descriptor.map(|address| descriptors.map(address));
        }
    });
    // It takes longer than all else together.
    if !sound.has_debug_of(bytes) {
        let _ = dwarf::for_each_struct(&bytes, |name| TYPES.contains(&name), |_| {});
    }
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

/// A share of the inputs: every `of`-th, from number `index`.
#[derive(Clone, Copy)]
struct Share {
    index: usize,
    of: usize,
}

/// Names the share of a process that this test has started, as `0/2`.
const SHARE: &str = "LIGHTFOOT_SHARE";

#[test]
fn no_input_makes_the_symbolizer_panic_hang_or_take_memory_without_bound() {
    if let Ok(share) = env::var(SHARE) {
        let (index, of) = share.split_once('/').unwrap();
        return examine_all(Share { index: index.parse().unwrap(), of: of.parse().unwrap() });
    }
    // What an input takes of memory is told by the whole process, so each processor gets a process of its own.
    let of = thread::available_parallelism().unwrap().get();
    let start = |index| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("--nocapture").env(SHARE, format!("{index}/{of}")).spawn().unwrap()
    };
    let processes: Vec<_> = (0..of).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success(), "see above");
    }
}

fn examine_all(share: Share) {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { time: Duration::from_secs(20), memory: 96 << 20 };
    let harness = Harness { limits, memory: Some(MEMORY), folder: folder.path().to_owned() };
    let seed = env::var("LIGHTFOOT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for (version, mode) in [(NEWEST, Mode::Pie), (OLDEST, Mode::Plain)] {
        let file = Build::here(Program::Layouts, version, mode).bytes().unwrap();
        let landmarks = Landmarks::find(&file).unwrap();
        let sound = Sound::new(&file, &landmarks);
        assert_eq!(examine(&file, &sound), Outcome::Go);
        let inputs = hostile::all(&file, &landmarks, seed).skip(share.index).step_by(share.of);
        let summary = harness.examine(inputs, |_, bytes| examine(bytes, &sound)).unwrap();
        println!(
            "Go {version}, {mode}: {:?}, slowest {:?}, largest {:?}",
            summary.outcomes, summary.slowest, summary.largest
        );
        assert!(summary.failures.is_empty(), "seed {seed}:\n{}", summary.failures.join("\n"));
        assert!(summary.outcomes.len() == 3, "{:?}", summary.outcomes);
    }
}
