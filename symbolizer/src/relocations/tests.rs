use super::*;
use crate::forged::Forged;

const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;

/// With these entries of the dynamic section.
fn parse(mut program: Forged, dynamic: &[u64]) -> Result<usize, String> {
    let at = program.put_words(dynamic);
    let file = program.file(&[(PT_DYNAMIC, at, 8 * dynamic.len() as u64)]);
    let image = Image::parse(file.as_slice()).map_err(|error| match error {
        ImageError::Relocations(error) => error.to_string(),
        other => panic!("{other}"),
    })?;
    Ok(dynamic_entries(&image).unwrap().len())
}

#[test]
fn so_many_entries_of_the_dynamic_section_are_read_and_no_more() {
    let entries = |count: usize| parse(Forged::new(), &[DT_NEEDED, 1].repeat(count));
    assert_eq!(entries(MAX_DYNAMIC), Ok(MAX_DYNAMIC));
    assert_eq!(entries(MAX_DYNAMIC + 1), Ok(MAX_DYNAMIC));
}

#[test]
fn a_table_of_so_many_relocations_is_looked_for_and_a_longer_one_is_not() {
    let claimed =
        |count: u64| parse(Forged::new(), &[DT_RELA, 1, DT_RELASZ, count * ENTRY as u64]).unwrap_err();
    assert_eq!(claimed(MAX_RELOCATIONS), "the relocation table at 0x1 is not readable");
    let refused = "the relocation table claims 16777217 entries, more than 16777216";
    assert_eq!(claimed(MAX_RELOCATIONS + 1), refused);
}

#[test]
fn so_many_words_differ_from_the_file_and_no_more() {
    let differing = |count: usize| {
        let mut program = Forged::new();
        let word = program.put_words(&[0]);
        let relative = u64::from(elf::R_X86_64_RELATIVE.0);
        let table = program.put_words(&[word.0, relative, 1].repeat(count));
        parse(program, &[DT_RELA, table.0, DT_RELASZ, (count * ENTRY) as u64])
    };
    assert_eq!(differing(MAX_DIFFERING), Ok(2));
    let refused = "more than 1048576 relocated words differ from the file";
    assert_eq!(differing(MAX_DIFFERING + 1), Err(refused.to_owned()));
}
