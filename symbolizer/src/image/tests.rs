use super::*;
use crate::forged::Forged;

#[test]
fn so_many_program_headers_are_read_and_no_more() {
    let with = |count: usize| Forged::new().file(&vec![(4, VirtualAddress(0), 0); count - 1]);
    let file = with(MAX_PROGRAM_HEADERS);
    let image = Image::parse(file.as_slice()).unwrap();
    assert_eq!((image.segments.len(), image.notes.len()), (1, MAX_PROGRAM_HEADERS - 1));
    let refused = Image::parse(with(MAX_PROGRAM_HEADERS + 1).as_slice()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, ImageError::ProgramHeaders("there are more than 256")), "{refused}");
}

#[test]
fn so_many_bytes_are_read_in_one_piece_and_no_more() {
    let mut program = Forged::new();
    let at = program.put(&vec![7; MAX_READ + 1]);
    let file = program.file(&[]);
    let image = Image::parse(file.as_slice()).unwrap();
    assert_eq!(image.bytes(at, MAX_READ as u64, "it").unwrap().len(), MAX_READ);
    let refused = image.bytes(at, MAX_READ as u64 + 1, "it").unwrap_err();
    assert!(matches!(refused, ImageError::TooLong { what: "it", .. }), "{refused}");
}
