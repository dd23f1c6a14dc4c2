//! The object for kernels that are locked down for confidentiality.

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, read};
use thiserror::Error;

/// `call bpf_probe_read_user`, and `call bpf_copy_from_user`, which takes the same arguments (include/uapi/linux/bpf.h).
const PROBE_READ_USER: [u8; 8] = [0x85, 0, 0, 0, 112, 0, 0, 0];
const COPY_FROM_USER: [u8; 8] = [0x85, 0, 0, 0, 148, 0, 0, 0];
/// `r0 = 0`: as if zeros had been read, which are the type of no value.
const READ_NOTHING: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// Reads memory and is followed once by the verifier, which from Linux 6.18 on lets such functions wait for nothing.
const MAY_NOT_WAIT: &str = "own_span";

/// These bytes are no BPF object.
#[derive(Debug, Error)]
#[error("the BPF object is no ELF file")]
pub struct NotElf(#[from] read::Error);

/// An object in memory of its own, aligned to 8 bytes as [`OBJECT`](crate::OBJECT) is.
pub struct Copying {
    bytes: Vec<u8>,
    start: usize,
}

impl Copying {
    /// The same object, but all its programs read the memory of processes by `bpf_copy_from_user`: only those for
    /// `uprobe_multi` can be loaded, as that may wait for a page. Spans of a program's own SDK are not found.
    ///
    /// # Errors
    /// The object is none.
    pub fn of(object: &[u8]) -> Result<Self, NotElf> {
        let mut bytes = vec![0; object.len() + 8];
        let start = bytes.as_ptr().align_offset(8);
        let copy = bytes.get_mut(start..).and_then(|bytes| bytes.get_mut(..object.len())).unwrap_or_default();
        copy.copy_from_slice(object);
        let file = ElfFile64::<LittleEndian>::parse(object)?;
        if let Some(function) = file.symbol_by_name(MAY_NOT_WAIT)
            && let Some(section) =
                function.section_index().and_then(|index| file.section_by_index(index).ok())
        {
            let place =
                |(offset, _): (u64, u64)| (offset.saturating_add(function.address()), function.size());
            replace(copy, section.file_range().map(place), READ_NOTHING);
        }
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            replace(copy, section.file_range(), COPY_FROM_USER);
        }
        Ok(Self { bytes, start })
    }

    /// An ELF file.
    pub fn object(&self) -> &[u8] {
        self.bytes.get(self.start..self.bytes.len() - (8 - self.start)).unwrap_or_default()
    }
}

/// Has other instructions in a part of an object, by its offset and length, in place of calls that read memory.
fn replace(object: &mut [u8], part: Option<(u64, u64)>, by: [u8; 8]) {
    let Some((offset, length)) = part else { return };
    let ends = (usize::try_from(offset), usize::try_from(offset.saturating_add(length)));
    let (Ok(start), Ok(end)) = ends else { return };
    for instruction in object.get_mut(start..end).unwrap_or_default().as_chunks_mut().0 {
        if *instruction == PROBE_READ_USER {
            *instruction = by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COPY_FROM_USER, Copying, PROBE_READ_USER, READ_NOTHING};
    use crate::OBJECT;

    #[test]
    fn the_helper_is_another_and_all_else_the_same() {
        let Ok(object) = OBJECT else {
            println!("nothing to check: there are no programs");
            return;
        };
        let copying = Copying::of(object).unwrap();
        assert_eq!(copying.object().as_ptr().align_offset(8), 0);
        assert_eq!(copying.object().len(), object.len());
        let count =
            |bytes: &[u8], wanted| bytes.as_chunks().0.iter().filter(|found| **found == wanted).count();
        assert!(count(object, PROBE_READ_USER) > 0);
        let (mut others, mut without) = (0, 0);
        for (before, after) in object.as_chunks().0.iter().zip(copying.object().as_chunks().0) {
            if before != after {
                assert_eq!(*before, PROBE_READ_USER);
                others += usize::from(*after == COPY_FROM_USER);
                without += usize::from(*after == READ_NOTHING);
            }
        }
        assert_eq!((others, without), (count(object, PROBE_READ_USER) - 1, 1));
        assert_eq!(count(copying.object(), PROBE_READ_USER), 0);
        lightfoot_probes_verify::check(copying.object(), lightfoot_probes_verify::Permissions::NONE).unwrap();
    }

    #[test]
    fn what_is_cut_anywhere_is_refused_or_copied() {
        let Ok(object) = OBJECT else {
            println!("nothing to check: there are no programs");
            return;
        };
        for length in (0..object.len()).step_by(997).chain(0..256) {
            if let Ok(copying) = Copying::of(&object[..length]) {
                assert_eq!(copying.object().len(), length);
            }
        }
        Copying::of(b"\x7fELF").err().unwrap();
    }
}
