//! Programs that tests make: one segment with what they put into it.

use crate::address::VirtualAddress;
use crate::moduledata::{ModuleData, Region};

/// Where the segment begins, and the file with it.
const BASE: u64 = 0x40_0000;
/// The size of an ELF header, which stands before all else.
const HEADER: usize = 64;

/// What is put into the segment.
pub(crate) struct Forged(Vec<u8>);

impl Forged {
    pub(crate) fn new() -> Self {
        Self(vec![0; HEADER])
    }

    /// Where the next that is put will be.
    pub(crate) fn next(&self) -> VirtualAddress {
        VirtualAddress(BASE + self.0.len().next_multiple_of(16) as u64)
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> VirtualAddress {
        let at = self.next();
        self.0.resize(self.0.len().next_multiple_of(16), 0);
        self.0.extend(bytes);
        at
    }

    pub(crate) fn put_words(&mut self, words: &[u64]) -> VirtualAddress {
        self.put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    /// The file, with further program headers: their types, and where what they are about begins and how long it is.
    pub(crate) fn file(self, others: &[(u32, VirtualAddress, u64)]) -> Vec<u8> {
        let Self(mut file) = self;
        file.resize(file.len().next_multiple_of(16), 0);
        let size = file.len() as u64;
        let count = u16::try_from(1 + others.len()).unwrap();
        // 64 bits, little-endian, an executable for x86-64 (elf(5)).
        file[..HEADER].copy_from_slice(
            &[
                &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0"[..],
                &[0; 8],
                &size.to_le_bytes(),
                &[0; 12],
                b"\x40\0\x38\0",
                &count.to_le_bytes(),
                b"\x40\0\0\0\0\0",
            ]
            .concat(),
        );
        for (kind, at, length) in [(1, VirtualAddress(BASE), size)].iter().chain(others) {
            // It can be read and written.
            file.extend([kind.to_le_bytes(), 6_u32.to_le_bytes()].concat());
            let words = [at.0.saturating_sub(BASE), at.0, at.0, *length, *length, 4];
            file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
        file
    }
}

/// A module of which nothing is known.
pub(crate) fn module() -> ModuleData {
    let nowhere = VirtualAddress(0);
    let nothing = Region { address: nowhere, length: 0 };
    ModuleData {
        address: nowhere,
        pclntab: nowhere,
        function_names: nothing,
        pc_values: nothing,
        function_records: nothing,
        function_table: nowhere,
        function_count: 0,
        text: nothing,
        types: nothing,
        funcdata: nowhere,
    }
}
