//! Compares the assignment of registers with what Go's compiler did.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "site/go.rs"]
mod go;
#[path = "site/listing.rs"]
mod listing;
#[path = "go_abi/machine.rs"]
mod machine;
#[path = "go_abi/signatures.rs"]
mod signatures;

use std::collections::HashSet;

use go::Go;
use lightfoot_symbolizer::Architecture;
use lightfoot_symbolizer::go_abi::{GoType, Place, Signature, Value};
use machine::Machine;
use object::{Object, ObjectSymbol};
use signatures::{Parameter, Piece, Program, Subprogram};

#[test]
fn parameters_lie_where_dwarf_says() {
    for go in Go::all() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let path =
                go.build("go_abi", include_str!("site/program.go"), architecture, &["-gcflags=all=-N -l"]);
            let data = std::fs::read(&path).unwrap();
            let file = object::File::parse(&*data).unwrap();
            let mut counts = Counts::default();
            let abi0: HashSet<u64> = file
                .symbols()
                .filter(|symbol| symbol.name().is_ok_and(|name| name.rsplit('.').next() == Some("abi0")))
                .map(|symbol| symbol.address())
                .collect();
            for function in Program::new(architecture, &file).subprograms() {
                if function.name.starts_with("type:.") {
                    // Made by the compiler, and not for Go code to call.
                } else if abi0.contains(&function.entry) {
                    counts.abi0 += 1;
                } else if REASSIGNED.contains(&function.name.as_str()) {
                    println!(
                        "left out, for its source changes a parameter before any code: {}",
                        function.name
                    );
                } else {
                    compare(architecture, &function, &mut counts);
                }
            }
            println!("{} {architecture}: {counts:?}", go.version);
            assert!(counts.functions > 1000);
            assert!(counts.unnamed * 30 < counts.functions);
            assert_eq!(counts.different, 0);
        }
    }
}

/// Always optimised (the runtime and what it imports), and DWARF already has the value that the first statement gives
/// a parameter.
const REASSIGNED: [&str; 2] = ["runtime.(*pallocData).findScavengeCandidate", "internal/strconv.fmtEFG"];

/// Functions, unless said otherwise.
#[derive(Debug, Default)]
struct Counts {
    /// With at least one compared part, and all of them equal.
    functions: u32,
    /// Of values: what one register or stack slot holds.
    parts: u32,
    /// Of these, on the stack.
    on_stack: u32,
    /// Left out: everything on the stack, for assembly.
    abi0: u32,
    /// Equal only if some unnamed parameters, which DWARF leaves out up to Go 1.21, are added.
    unnamed: u32,
    different: u32,
}

fn compare(architecture: Architecture, function: &Subprogram, counts: &mut Counts) {
    let (results, parameters): (Vec<_>, Vec<_>) =
        function.parameters.iter().partition(|parameter| parameter.is_result);
    let types =
        |all: &[&Parameter]| all.iter().map(|parameter| parameter.go_type).collect::<Vec<GoType<'_>>>();
    let (parameter_types, result_types) = (types(&parameters), types(&results));
    // What DWARF leaves out: so many words of parameters before the one with this index.
    let disagreements = |hidden: usize, words: usize| {
        let mut all = parameter_types.clone();
        all.splice(hidden..hidden, std::iter::repeat_n(GoType::Pointer, words));
        let mut assignment =
            Signature { parameters: &all, results: &result_types }.assign(architecture).unwrap();
        assignment.parameters.drain(hidden..hidden + words);
        let pairs = parameters.iter().zip(assignment.parameters);
        let wrong = pairs.filter(|(parameter, value)| {
            let pieces = parameter.pieces.as_deref().unwrap_or_default();
            value.size > 0 && !agrees(value, pieces) && !is_spill_slot(&parameter.name, pieces)
        });
        let describe = |(parameter, value): (&&Parameter, Value)| {
            format!("{}: assigned {:?}, DWARF {:?}", parameter.name, value.words, parameter.pieces)
        };
        wrong.map(describe).collect::<Vec<_>>()
    };
    let dictionary = hidden_dictionary(function).filter(|index| *index <= parameters.len());
    let wrong = dictionary.map_or_else(|| disagreements(0, 0), |index| disagreements(index, 1));
    if !wrong.is_empty() {
        let mut places = (0..=parameters.len()).flat_map(|index| (1..=4).map(move |words| (index, words)));
        if places.any(|(index, words)| disagreements(index, words).is_empty()) {
            counts.unnamed += 1;
        } else {
            counts.different += 1;
            println!("{}: {wrong:?}", function.name);
        }
        return;
    }
    let pieces = parameters.iter().flat_map(|parameter| parameter.pieces.iter().flatten());
    let parts = u32::try_from(pieces.clone().count()).unwrap();
    counts.functions += u32::from(parts > 0);
    counts.parts += parts;
    counts.on_stack +=
        u32::try_from(pieces.filter(|piece| matches!(piece.1, Place::Stack(_))).count()).unwrap();
}

/// Where an instance of a generic function takes its dictionary that optimised DWARF does not mention: first, or behind
/// the receiver.
fn hidden_dictionary(function: &Subprogram) -> Option<usize> {
    let (_, rest) = function.name.split_once("[go.shape.")?;
    let (_, behind) = rest.rsplit_once(']')?;
    let mentioned = function.parameters.iter().any(|parameter| parameter.name == ".dict");
    // Closures find it in their context.
    let closure = behind.contains(".func");
    (!mentioned && !closure).then_some(usize::from(!behind.is_empty()))
}

/// Whether the parts that DWARF places lie there, in this order, by the assignment too. Not all parts of a value need
/// a place. The offsets of parts are not compared: DWARF misplaces the padding of nested structs.
fn agrees(value: &Value, pieces: &[Piece]) -> bool {
    let mut words = value.words.iter();
    pieces.iter().all(|(size, place)| {
        words.clone().next().is_some_and(|word| match (word.place, *place) {
            // A value on the stack may be described part by part.
            (Place::Stack(start), Place::Stack(part)) => {
                let size = size.unwrap_or(word.size);
                (start..=start + word.size - size).contains(&part)
            }
            (..) => words.any(|word| word.place == *place && size.is_none_or(|size| size == word.size)),
        })
    })
}

/// Of a parameter that nothing uses, DWARF may name the place where the callee could spill it.
fn is_spill_slot(name: &str, pieces: &[Piece]) -> bool {
    name.starts_with(['~', '.']) && matches!(pieces, [(None, Place::Stack(_))])
}

const INT: GoType<'_> = GoType::Int(8);
const MIXED: GoType<'_> = GoType::Struct(&[
    GoType::Int(1),
    GoType::Float(8),
    GoType::Array(1, &GoType::Int(2)),
    GoType::Struct(&[]),
]);

/// A function of `results.go`, its signature, and for its results: index, offset in the value, size, bits.
type Expected = (&'static str, Signature<'static>, Vec<(usize, u64, u64, u64)>);

fn expected() -> Vec<Expected> {
    let float = f64::to_bits;
    let ints =
        |all: std::ops::RangeInclusive<u64>| all.enumerate().map(|(index, value)| (index, 0, 8, value));
    vec![
        (
            "small",
            Signature { parameters: &[], results: &[INT, GoType::Int(1), GoType::Int(4), GoType::Bool] },
            vec![(0, 0, 8, 1001), (1, 0, 1, 102), (2, 0, 4, 1003), (3, 0, 1, 1)],
        ),
        (
            "parts",
            Signature { parameters: &[], results: &[MIXED, GoType::Float(4), GoType::String] },
            vec![
                (0, 0, 1, 101),
                (0, 8, 8, float(3.0)),
                (0, 16, 2, 1002),
                (1, 0, 4, 4_f32.to_bits().into()),
                (2, 8, 8, 7),
            ],
        ),
        (
            "arrays",
            Signature {
                parameters: &[],
                results: &[GoType::Array(2, &GoType::Int(4)), INT, GoType::Array(3, &INT)],
            },
            vec![
                (0, 0, 4, 1001),
                (0, 4, 4, 1002),
                (1, 0, 8, 1003),
                (2, 0, 8, 1004),
                (2, 8, 8, 1005),
                (2, 16, 8, 1006),
            ],
        ),
        (
            "behindArguments",
            Signature {
                parameters: &[GoType::Array(3, &INT), GoType::Int(1)],
                results: &[GoType::Array(2, &INT), INT],
            },
            vec![(0, 0, 8, 1001), (0, 8, 8, 1002), (1, 0, 8, 1003)],
        ),
        (
            "tooMany",
            Signature {
                parameters: &[],
                results: &[INT, INT, INT, INT, INT, INT, INT, INT, GoType::Struct(&[INT, INT]), INT],
            },
            ints(1001..=1008).chain([(8, 0, 8, 1009), (8, 8, 8, 1010), (9, 0, 8, 1011)]).collect(),
        ),
        (
            "floats",
            Signature {
                parameters: &[],
                results: &const {
                    let mut all = [GoType::Float(8); 17];
                    all[16] = INT;
                    all
                },
            },
            (3..=18_u32)
                .enumerate()
                .map(|(index, value)| (index, 0, 8, float(value.into())))
                .chain([(16, 0, 8, 1001)])
                .collect(),
        ),
    ]
}

#[test]
fn results_lie_where_compiled_code_puts_them() {
    for go in Go::all() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let path = go.build("results", include_str!("go_abi/results.go"), architecture, &[]);
            let data = std::fs::read(&path).unwrap();
            let functions = listing::functions(&object::File::parse(&*data).unwrap());
            let listing = listing::Listing::new(&go, &path);
            let mut compared = 0;
            for (name, signature, parts) in expected() {
                let name = format!("main.{name}");
                let function = functions.iter().find(|function| function.name == name).unwrap();
                let end = function.address + function.bytes.len() as u64;
                let lines = listing.of(function.address..end);
                let machine = Machine::run(lines.iter().map(|line| line.1.as_str()));
                let assignment = signature.assign(architecture).unwrap();
                for (index, offset, size, bits) in parts {
                    let found = read(architecture, &machine, &assignment.results[index], offset, size);
                    assert_eq!(
                        found,
                        Some(bits),
                        "{name} {architecture}: result {index} at {offset}: {machine:?}"
                    );
                    compared += 1;
                }
            }
            println!("{} {architecture}: {compared} parts of results compared", go.version);
        }
    }
}

/// The part of a result, read from where it is assigned to.
fn read(architecture: Architecture, machine: &Machine, value: &Value, offset: u64, size: u64) -> Option<u64> {
    let word = value.words.iter().find(|word| (word.offset..word.offset + word.size).contains(&offset))?;
    let (integers, float) = match architecture {
        Architecture::X86_64 => (&["AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"][..], "X"),
        Architecture::Aarch64 => {
            (&["R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10"][..], "F")
        }
    };
    match word.place {
        Place::IntegerRegister(index) => machine.registers.get(integers[usize::from(index)]).copied(),
        Place::FloatRegister(index) => machine.registers.get(&format!("{float}{index}")).copied(),
        Place::ClosureContext => None,
        Place::Stack(start) => {
            let bytes = (0..size).map(|byte| machine.stack.get(&(start + offset + byte)).copied());
            bytes.rev().try_fold(0, |bits, byte| Some(bits << 8 | u64::from(byte?)))
        }
    }
}
