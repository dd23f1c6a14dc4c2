use super::*;
use Place::{FloatRegister as F, IntegerRegister as I, Stack};

const EMPTY: GoType<'_> = GoType::Struct(&[]);

fn assign(architecture: Architecture, parameters: &[GoType<'_>], results: &[GoType<'_>]) -> Assignment {
    Signature { parameters, results }.assign(architecture).unwrap()
}

/// Offset, size and place of every word.
fn words(value: &Value) -> Vec<(u64, u64, Place)> {
    value.words.iter().map(|word| (word.offset, word.size, word.place)).collect()
}

fn parameters(types: &[GoType<'_>]) -> Vec<Vec<(u64, u64, Place)>> {
    assign(Architecture::X86_64, types, &[]).parameters.iter().map(words).collect()
}

/// The example of abi-internal.md: `func f(a1 uint8, a2 [2]uintptr, a3 uint8) (r1 struct { x uintptr; y [2]uintptr }, r2 string)`.
#[test]
fn the_example_of_the_specification() {
    let pair = GoType::Array(2, &GoType::Uintptr);
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let all = assign(
            architecture,
            &[GoType::Int(1), pair, GoType::Int(1)],
            &[GoType::Struct(&[GoType::Uintptr, pair]), GoType::String],
        );
        assert_eq!(words(&all.parameters[0]), [(0, 1, I(0))]);
        assert_eq!(words(&all.parameters[1]), [(0, 16, Stack(8))]);
        assert_eq!(words(&all.parameters[2]), [(0, 1, I(1))]);
        assert_eq!(words(&all.results[0]), [(0, 24, Stack(24))]);
        assert_eq!(words(&all.results[1]), [(0, 8, I(0)), (8, 8, I(1))]);
    }
}

#[test]
fn composite_values_take_a_register_for_each_part() {
    assert_eq!(
        parameters(&[
            GoType::Slice,
            GoType::Interface,
            GoType::Struct(&[GoType::Bool, GoType::Int(4), GoType::Complex(8), GoType::Float(8)]),
            GoType::Array(1, &GoType::Pointer),
        ]),
        [
            vec![(0, 8, I(0)), (8, 8, I(1)), (16, 8, I(2))],
            vec![(0, 8, I(3)), (8, 8, I(4))],
            vec![(0, 1, I(5)), (4, 4, I(6)), (8, 4, F(0)), (12, 4, F(1)), (16, 8, F(2))],
            vec![(0, 8, I(7))],
        ]
    );
}

#[test]
fn a_value_that_does_not_fit_goes_to_the_stack_whole_and_gives_its_registers_back() {
    let eight = [GoType::Int(8); 8];
    let types: Vec<_> = eight.iter().copied().chain([GoType::String, GoType::Bool, GoType::Bool]).collect();
    let places = parameters(&types);
    assert_eq!(places[8], [(0, 16, Stack(8))]);
    assert_eq!(places[9], [(0, 1, I(8))]);
    assert_eq!(places[10], [(0, 1, Stack(24))]);
    // Floats run out on their own.
    let floats: Vec<_> =
        [GoType::Float(8); 15].into_iter().chain([GoType::Float(4), GoType::Int(8)]).collect();
    let places = parameters(&floats);
    assert_eq!(places[14], [(0, 8, F(14))]);
    assert_eq!(places[15], [(0, 4, Stack(8))]);
    assert_eq!(places[16], [(0, 8, I(0))]);
    let all = assign(Architecture::Aarch64, &floats, &[]);
    assert_eq!(words(&all.parameters[15]), [(0, 4, F(15))]);
}

#[test]
fn stack_values_are_aligned_and_results_start_at_a_word() {
    let bytes3 = GoType::Array(3, &GoType::Int(1));
    let shorts = GoType::Array(2, &GoType::Int(4));
    let all = assign(Architecture::X86_64, &[bytes3, shorts, bytes3], &[bytes3, GoType::Int(8)]);
    assert_eq!(words(&all.parameters[0]), [(0, 3, Stack(8))]);
    assert_eq!(words(&all.parameters[1]), [(0, 8, Stack(12))]);
    assert_eq!(words(&all.parameters[2]), [(0, 3, Stack(20))]);
    assert_eq!(words(&all.results[0]), [(0, 3, Stack(24))]);
    assert_eq!(words(&all.results[1]), [(0, 8, I(0))]);
}

#[test]
fn values_of_size_zero_only_align_the_stack() {
    let aligned_nothing = GoType::Array(0, &GoType::Int(8));
    let bytes3 = GoType::Array(3, &GoType::Int(1));
    assert_eq!(
        parameters(&[EMPTY, bytes3, aligned_nothing, bytes3, GoType::Int(8)]),
        [vec![], vec![(0, 3, Stack(8))], vec![], vec![(0, 3, Stack(16))], vec![(0, 8, I(0))]]
    );
    // Inside a struct they need no register, and two of them make an array that cannot be in registers.
    let with_nothing = GoType::Struct(&[GoType::Int(8), aligned_nothing, GoType::Int(2)]);
    assert_eq!(parameters(&[with_nothing]), [vec![(0, 8, I(0)), (8, 2, I(1))]]);
    let with_two = GoType::Struct(&[GoType::Int(8), GoType::Array(2, &EMPTY), GoType::Int(2)]);
    assert_eq!(parameters(&[with_two]), [vec![(0, 16, Stack(8))]]);
}

#[test]
fn a_final_field_of_size_zero_is_padded_but_takes_no_register() {
    let padded = GoType::Struct(&[GoType::Int(4), EMPTY]);
    let all = assign(Architecture::X86_64, &[padded, GoType::Struct(&[padded, GoType::Int(1)])], &[]);
    assert_eq!(all.parameters[0].size, 8);
    assert_eq!(words(&all.parameters[0]), [(0, 4, I(0))]);
    assert_eq!(words(&all.parameters[1]), [(0, 4, I(1)), (8, 1, I(2))]);
}

#[test]
fn impossible_signatures_are_refused() {
    let assign =
        |value: GoType<'_>| Signature { parameters: &[value], results: &[] }.assign(Architecture::X86_64);
    assert_eq!(assign(GoType::Int(3)), Err(AbiError::Width { kind: "integer", bytes: 3 }));
    assert_eq!(assign(GoType::Complex(2)), Err(AbiError::Width { kind: "complex number", bytes: 2 }));
    assert_eq!(assign(GoType::Array(u64::MAX, &GoType::Int(8))), Err(AbiError::TooLarge));
    // Each level doubles the parts: without a bound this would run for 2^40 steps.
    let mut nested = EMPTY;
    for _ in 0..40 {
        nested = GoType::Struct(Box::leak(Box::new([nested, nested])));
    }
    assert_eq!(assign(nested), Err(AbiError::TooComplex));
    let mut deep = GoType::Bool;
    for _ in 0..100_000 {
        deep = GoType::Struct(Box::leak(Box::new([deep])));
    }
    assert_eq!(assign(deep), Err(AbiError::TooComplex));
}

#[test]
fn registers_are_named() {
    let registers = Registers::of(Architecture::X86_64);
    let names: Vec<_> =
        (0..10).filter_map(|index| registers.at(I(index))).map(|register| register.name).collect();
    assert_eq!(names, ["rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11"]);
    assert_eq!(registers.at(F(14)).unwrap().name, "xmm14");
    assert_eq!(registers.at(Place::ClosureContext).unwrap().name, "rdx");
    let registers = Registers::of(Architecture::Aarch64);
    assert_eq!(registers.at(I(15)).unwrap(), Register { name: "x15", number: 15 });
    assert_eq!(registers.goroutine.name, "x28");
    assert_eq!(registers.link.unwrap().name, "x30");
}
