use super::*;
use crate::forged::{self, Forged};
use crate::moduledata::Region;

/// The numbers of kinds, and the flags of a type that has a name, and of one that has methods.
const INTERFACE: u8 = 20;
const STRUCT: u8 = 25;
const NAMED: u8 = 1 << 2;
const WITH_METHODS: u8 = 1 << 0 | NAMED;

/// The head of a descriptor, of a type whose values have 64 KiB.
fn head(kind: u8, flags: u8, name: u64) -> [u64; 6] {
    [1 << 16, 0, u64::from_le_bytes([0, 0, 0, 0, flags, 8, 8, kind]), 0, 0, name]
}

fn of_struct(flags: u8, name: u64, fields: VirtualAddress, count: u64) -> Vec<u64> {
    [&head(STRUCT, flags, name)[..], &[0, fields.0, count, count]].concat()
}

fn name(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&[0, (length & 0x7f) as u8 | 0x80, u8::try_from(length >> 7).unwrap()], text.as_bytes()].concat()
}

#[test]
fn a_struct_has_so_many_fields_and_no_more() {
    let layout = |count: u64| {
        let mut program = Forged::new();
        let types = program.next();
        program.put(&[0; 16]);
        let field_name = program.put(&name("a"));
        let of_field = program.put_words(&[&[8], &head(6, 0, field_name.0 - types.0)[1..]].concat());
        let fields: Vec<_> = (0..count).flat_map(|index| [field_name.0, of_field.0, 8 * index]).collect();
        let fields = program.put_words(&fields);
        let descriptor = program.put_words(&of_struct(0, field_name.0 - types.0, fields, count));
        let module = ModuleData { types: Region { address: types, length: 1 << 20 }, ..forged::module() };
        let file = program.file(&[]);
        Descriptors::new(&Image::parse(file.as_slice()).unwrap(), &module).structure(descriptor)
    };
    assert_eq!(layout(MAX_FIELDS).unwrap().fields.len() as u64, MAX_FIELDS);
    let refused = layout(MAX_FIELDS + 1).unwrap_err();
    assert!(matches!(refused, TypeError::Mismatch { expected: "struct", .. }), "{refused}");
}

#[test]
fn a_name_has_so_many_bytes_and_no_more() {
    let read = |length: u64| {
        let mut program = Forged::new();
        let at = program.put(&name(&"x".repeat(usize::try_from(length).unwrap())));
        let file = program.file(&[]);
        let image = Image::parse(file.as_slice()).unwrap();
        Descriptors::new(&image, &forged::module()).name(at).map(|(name, _)| name.len() as u64)
    };
    assert_eq!(read(descriptor::MAX_NAME).unwrap(), descriptor::MAX_NAME);
    let refused = read(descriptor::MAX_NAME + 1).unwrap_err();
    assert!(matches!(refused, TypeError::Mismatch { expected: "name", .. }), "{refused}");
}

/// So many structs that hold a context, and the last one is a context itself.
fn with_holders(count: usize) -> Types {
    let mut program = Forged::new();
    let types = program.next();
    program.put(&[0; 16]);
    let offset = |of: VirtualAddress| of.0 - types.0;
    let [of_context, of_struct_, of_field] =
        ["context.Context", "main.Holder", "held"].map(|text| program.put(&name(text)));
    let methods = ["Deadline", "Done", "Err", "Value"].map(|text| offset(program.put(&name(text))));
    let context = program.put_words(&head(INTERFACE, 0, offset(of_context)));
    let fields = program.put_words(&[of_field.0, context.0, 0]);
    for _ in 1..count {
        program.put_words(&of_struct(NAMED, offset(of_struct_), fields, 1));
    }
    let first_method = 16;
    let uncommon = [4 << 32 | 4 << 48, first_method];
    let methods: Vec<_> = methods.iter().flat_map(|name| [*name, 0]).collect();
    let last = of_struct(WITH_METHODS, offset(of_struct_), fields, 1);
    program.put_words(&[&last[..], &uncommon, &methods].concat());
    let types = Region { address: types, length: offset(program.next()) };
    let file = program.file(&[]);
    let image = Image::parse(file.as_slice()).unwrap();
    Types::find(&image, &ModuleData { types, ..forged::module() }, &[]).unwrap()
}

#[test]
fn so_many_holders_of_contexts_are_kept_and_of_more_those_that_are_contexts() {
    for count in [MAX_CONTEXT_HOLDERS, MAX_CONTEXT_HOLDERS + 1] {
        let found = with_holders(count);
        assert_eq!((found.struct_count, found.context_holders.len()), (count, MAX_CONTEXT_HOLDERS));
        let contexts: Vec<_> = found.context_holders.iter().map(|one| !one.shown_as.is_empty()).collect();
        assert_eq!(contexts, [vec![true], vec![false; MAX_CONTEXT_HOLDERS - 1]].concat());
    }
}

#[test]
fn structs_within_each_other_are_looked_into_up_to_a_depth_whichever_comes_first() {
    const LEVELS: usize = contexts::MAX_DEPTH + 3;
    let mut program = Forged::new();
    let types = program.next();
    program.put(&[0; 16]);
    let [of_context, of_struct_, of_field] =
        ["context.Context", "main.Holder", "held"].map(|text| program.put(&name(text)));
    let context = program.put_words(&head(INTERFACE, 0, of_context.0 - types.0));
    // Each holds the one behind it, and the last one the context.
    let first = program.next();
    let struct_and_field = 128;
    for level in 1..=LEVELS as u64 {
        let next = first.past(level * struct_and_field);
        let held = if level == LEVELS as u64 { context } else { next };
        let at = program.next();
        let one = of_struct(NAMED, of_struct_.0 - types.0, at.past(80), 1);
        program.put_words(&[&one[..], &[of_field.0, held.0, 0, 0, 0, 0]].concat());
        assert_eq!(program.next(), next);
    }
    let types = Region { address: types, length: program.next().0 - types.0 };
    let file = program.file(&[]);
    let image = Image::parse(file.as_slice()).unwrap();
    let found = Types::find(&image, &ModuleData { types, ..forged::module() }, &[]).unwrap();
    let holders: Vec<_> = found.context_holders.iter().map(|holder| holder.descriptor).collect();
    // The innermost one holds it at a depth of 0.
    let within = (LEVELS - 1 - contexts::MAX_DEPTH) as u64;
    let expected: Vec<_> =
        (within..LEVELS as u64).map(|level| first.past(level * struct_and_field)).collect();
    assert_eq!(holders, expected);
}

#[test]
fn so_many_descriptors_are_looked_at_and_no_more() {
    let found = |count: usize| {
        let mut program = Forged::new();
        // Each word ends a head; the last five begin heads that would reach out of the types.
        let words = vec![head(STRUCT, 0, 0)[2]; count + 5];
        let types = Region { address: program.put_words(&words), length: 8 * words.len() as u64 };
        let file = program.file(&[]);
        let image = Image::parse(file.as_slice()).unwrap();
        candidates(&image, &ModuleData { types, ..forged::module() }).map(|found| found.len())
    };
    assert_eq!(found(MAX_DESCRIPTORS).unwrap(), MAX_DESCRIPTORS);
    assert!(matches!(found(MAX_DESCRIPTORS + 1), Err(TypeError::TooMany)));
}
