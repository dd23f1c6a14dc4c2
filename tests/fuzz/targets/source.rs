//! Reads from a slice: in bounds exactly what is there, out of bounds an error and an untouched buffer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot_symbolizer::Source;

// The first ten bytes are the offset and the length to read, the rest is the file.
fuzz_target!(|input: (u64, u16, Vec<u8>)| {
    let (offset, length, file) = input;
    let mut buffer = vec![0xa5; usize::from(length)];
    let expected = usize::try_from(offset)
        .ok()
        .filter(|start| start.checked_add(buffer.len()).is_some_and(|end| end <= file.len()));
    match (file.read_at(offset, &mut buffer), expected) {
        (Ok(()), Some(start)) => assert_eq!(buffer, file[start..start + buffer.len()]),
        (Err(_), None) => assert!(buffer.iter().all(|byte| *byte == 0xa5)),
        (result, _) => panic!("{length} bytes at {offset} of {}: {result:?}", file.len()),
    }
});
