//! What the tests of commands share: a record that no kernel wrote, and a look at printed counts.

use std::mem::offset_of;

use lightfoot_probes_abi::record::{Http, RecordHeader, RecordKind, VERSION};

/// Where the length and the kind stand in a record.
pub(super) const LENGTH: usize = offset_of!(RecordHeader, length);
pub(super) const KIND: usize = offset_of!(RecordHeader, kind);

/// The bytes of a request without texts, of process 0.
pub(super) fn record() -> Vec<u8> {
    let mut bytes = vec![0; size_of::<Http>()];
    bytes[LENGTH] = u8::try_from(bytes.len()).unwrap();
    bytes[KIND] = RecordKind::HttpServer as u8;
    bytes[offset_of!(RecordHeader, version)] = VERSION;
    bytes
}

pub(super) fn is_counted(counts: &str, name: &str, count: u64) -> bool {
    let words = |line: &str| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    counts.lines().any(|line| words(line) == [name.to_owned(), count.to_string()])
}
