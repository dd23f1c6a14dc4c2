use super::*;
use crate::forged::{self, Forged};
use crate::moduledata::Region;

/// Where the wanted name stands in the table of names.
const WANTED: u32 = 0x1234;
/// A run in a table: the next call of the tree, for the next byte of code.
const RUN: [u8; 2] = [2, 1];

/// What so many functions that share a tree have inlined. The first of its calls are of the wanted function, and each stands within the
/// one before it.
fn inlined(functions: u32, wanted: u32, calls: u32, runs: &[u8]) -> Result<usize, FunctionError> {
    let mut program = Forged::new();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let tree: Vec<_> = (0..calls)
        .flat_map(|call| [0, if call < wanted { WANTED } else { 0 }, call.saturating_sub(1), 0])
        .collect();
    let funcdata = program.put(&words(&tree));
    let mut record = vec![0; usize::try_from(RECORD).unwrap()];
    record[usize::try_from(PCDATA_COUNT).unwrap()] = 3;
    record[usize::try_from(FUNCDATA_COUNT).unwrap()] = 4;
    // At an offset of 0 there would be no table.
    record.extend(words(&[0, 0, 1, NO_FUNCDATA, NO_FUNCDATA, NO_FUNCDATA, 0]));
    let records = program.put(&record);
    let functions_and_end: Vec<_> = (0..=functions).flat_map(|index| [index, 0]).collect();
    let function_table = program.put(&words(&functions_and_end));
    let values = [&[0], runs].concat();
    let region = |address, length| Region { address, length };
    let module = ModuleData {
        pc_values: region(program.put(&values), values.len() as u64),
        function_records: region(records, record.len() as u64),
        function_table,
        function_count: functions.into(),
        text: region(VirtualAddress(0x1000), functions.into()),
        funcdata,
        ..forged::module()
    };
    let file = program.file(&[]);
    let image = Image::parse(file.as_slice()).unwrap();
    let names = NameOffsets::from_iter([(WANTED, "wanted")]);
    let trees = (0..functions).map(|function| (0, function)).collect();
    Ok(find(&Table { image: &image, module: &module }, &names, trees)?.len())
}

#[test]
fn so_many_functions_have_a_wanted_one_inlined_and_no_more() {
    let hosts = u32::try_from(MAX_HOSTS).unwrap();
    let runs = [&RUN[..], &[0]].concat();
    assert_eq!(inlined(hosts, 1, 1, &runs).unwrap(), MAX_HOSTS);
    inlined(hosts + 1, 1, 1, &runs).unwrap_err();
    // Memory is not for what comes to nothing, either.
    assert_eq!(inlined(hosts, 16, 16, &[0, 1, 0]).unwrap(), 0);
    inlined(hosts, 17, 17, &[0, 1, 0]).unwrap_err();
    inlined(16 * hosts + 1, 1, 1, &[0, 1, 0]).unwrap_err();
}

#[test]
fn a_table_of_so_many_bytes_is_read_and_a_longer_one_refused() {
    let most = usize::try_from(MAX_TABLE).unwrap();
    // Into the call, and out of it, and into it … One of the numbers has two bytes.
    let turns = [RUN, [1, 1]].concat().repeat(most / 4);
    let whole = [&[2, 0x81, 0], &turns[2..most - 2], &[0]].concat();
    let longer = [&turns[..], &[0]].concat();
    assert_eq!((whole.len(), longer.len()), (most, most + 1));
    assert_eq!(inlined(1, 1, 1, &whole).map_err(|error| error.to_string()), Ok(1));
    let refused = inlined(1, 1, 1, &longer).unwrap_err();
    assert!(matches!(refused, FunctionError::Malformed("a table has no end")), "{refused}");
}

#[test]
fn so_many_steps_are_taken_for_a_program_and_no_more() {
    // Each function reads a table, and goes through it, for nothing: no call has a number below 0.
    let runs = 4096_u32;
    let table = [&[1, 1, 2, 1].repeat(usize::try_from(runs / 2).unwrap())[..], &[0]].concat();
    let functions = u32::try_from(MAX_STEPS).unwrap() / (2 * runs);
    assert_eq!(inlined(functions, 1, 1, &table).map_err(|error| error.to_string()), Ok(0));
    let refused = inlined(functions + 1, 1, 1, &table).unwrap_err();
    let expected = format!("inline trees take more than {MAX_STEPS} steps");
    assert!(matches!(refused, FunctionError::Malformed(why) if why == expected), "{refused}");
}

#[test]
fn calls_within_each_other_are_followed_up_to_a_depth() {
    let within = |depth: usize| {
        let runs = [&RUN.repeat(depth + 1)[..], &[0]].concat();
        inlined(1, 1, u32::try_from(depth + 1).unwrap(), &runs)
    };
    assert_eq!(within(MAX_DEPTH).unwrap(), 1);
    let refused = within(MAX_DEPTH + 1).unwrap_err();
    assert!(matches!(refused, FunctionError::Malformed("an inline tree is a cycle")), "{refused}");
}
