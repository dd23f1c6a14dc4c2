use super::*;
use crate::forged::Forged;

#[test]
fn code_of_so_many_bytes_is_read_and_that_of_a_longer_function_is_refused() {
    let mut program = Forged::new();
    let entry = program.put(&vec![0x90; usize::try_from(MAX_CODE).unwrap() + 1]);
    let file = program.file(&[]);
    let image = Image::parse(file.as_slice()).unwrap();
    let code = |size: u64| {
        Function { name: String::new(), entry, end: entry.past(size), inlined: Vec::new() }.code(&image)
    };
    assert_eq!(code(MAX_CODE).unwrap().len() as u64, MAX_CODE);
    let refused = code(MAX_CODE + 1).unwrap_err();
    assert!(matches!(refused, FunctionError::Malformed("a function is longer than 4 MiB")), "{refused}");
}

#[test]
fn names_are_looked_for_and_shown_up_to_a_length() {
    for (length, is_found) in [(MAX_NAME - 1, true), (MAX_NAME, false), (MAX_NAME + 9, false)] {
        let mut program = Forged::new();
        let name = "x".repeat(length);
        let bytes = [b"\0", name.as_bytes(), b"\0other\0end"].concat();
        let names = Region { address: program.put(&bytes), length: bytes.len() as u64 };
        let file = program.file(&[]);
        let image = Image::parse(file.as_slice()).unwrap();
        let found = name_offsets(&image, names, &[&name, "other"]).unwrap();
        let other = u32::try_from(length + 2).unwrap();
        assert_eq!((found.contains_key(&1), found.get(&other)), (is_found, Some(&"other")), "{length}");
        assert_eq!(read_name(&image, names, 1).unwrap(), name[..length.min(MAX_NAME)]);
        let refused = read_name(&image, names, other + 6).unwrap_err();
        assert!(matches!(refused, FunctionError::Malformed("a name has no end")), "{refused}");
    }
}
