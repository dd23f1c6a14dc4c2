//! `RELATIVE` relocations of position-independent programs.
//!
//! Go's own linker and GNU ld leave the addend in place as well, so that the word in the file is right without
//! any relocation; `RELR` demands it. Other linkers may leave zero. So the table is walked once and only the words
//! that differ are kept: none, for nearly every program.

use object::LittleEndian as LE;
use object::elf;
use object::pod;
use thiserror::Error;

use crate::address::VirtualAddress;
use crate::architecture::Architecture;
use crate::image::{Image, ImageError};
use crate::source::Source;

/// At most so many entries in the dynamic section.
const MAX_DYNAMIC: usize = 4096;
/// At most so many relocations are walked; a 100 MB program has about a million.
pub const MAX_RELOCATIONS: u64 = 16 << 20;
/// At most so many words may differ from what the file holds (16 MiB of memory).
pub const MAX_DIFFERING: usize = 1 << 20;

const ENTRY: usize = size_of::<elf::Rela64<LE>>();

/// Why the relocations cannot be told.
#[derive(Debug, Error)]
pub enum RelocationError {
    /// The table is longer than any real one.
    #[error("the relocation table claims {0} entries, more than {MAX_RELOCATIONS}")]
    TooMany(u64),
    /// More words differ than we keep.
    #[error("more than {MAX_DIFFERING} relocated words differ from the file")]
    TooManyDiffering,
    /// The table is not where the dynamic section says.
    #[error("the relocation table at {address} is not readable")]
    Unreadable {
        /// Where the dynamic section says that it lies.
        address: VirtualAddress,
        /// Why it is not readable.
        source: ImageError,
    },
    /// The dynamic section is not readable.
    #[error("the dynamic section is not readable")]
    Dynamic(#[source] ImageError),
}

/// The relocated words that differ from the file's bytes, by address.
#[derive(Default)]
pub(crate) struct Relocations {
    differing: Vec<(VirtualAddress, u64)>,
}

impl Relocations {
    pub(crate) fn read<S: Source>(image: &Image<S>) -> Result<Self, RelocationError> {
        let Some((table, size)) = rela_table(image)? else { return Ok(Self::default()) };
        let count = size / ENTRY as u64;
        if count > MAX_RELOCATIONS {
            return Err(RelocationError::TooMany(count));
        }
        let relative = match image.architecture {
            Architecture::X86_64 => elf::R_X86_64_RELATIVE,
            Architecture::Aarch64 => elf::R_AARCH64_RELATIVE,
        };
        let unreadable = |source| RelocationError::Unreadable { address: table, source };
        let mut differing = Vec::new();
        let mut chunk = [0; 128 * ENTRY];
        let mut done = 0;
        while done < count {
            let now = usize::try_from(count - done).unwrap_or(usize::MAX).min(chunk.len() / ENTRY);
            let bytes = chunk.get_mut(..now * ENTRY).unwrap_or_default();
            let at = VirtualAddress(table.0.saturating_add(done * ENTRY as u64));
            image.read(at, bytes).map_err(unreadable)?;
            let (entries, _) = pod::slice_from_bytes::<elf::Rela64<LE>>(bytes, now).unwrap_or_default();
            for entry in entries {
                if entry.r_info.get(LE) != u64::from(relative.0) {
                    continue;
                }
                let target = VirtualAddress(entry.r_offset.get(LE));
                let value = entry.r_addend.get(LE).cast_unsigned();
                // A target without bytes in the file lies in .bss; nothing that we read does.
                let Ok(in_file) = image.array(target).map(u64::from_le_bytes) else { continue };
                if in_file != value {
                    if differing.len() == MAX_DIFFERING {
                        return Err(RelocationError::TooManyDiffering);
                    }
                    differing.push((target, value));
                }
            }
            done += now as u64;
        }
        differing.sort_unstable();
        Ok(Self { differing })
    }

    pub(crate) fn value_at(&self, address: VirtualAddress) -> Option<u64> {
        let index = self.differing.binary_search_by_key(&address, |(at, _)| *at).ok()?;
        self.differing.get(index).map(|(_, value)| *value)
    }

    pub(crate) fn addresses_of(&self, wanted: u64) -> impl Iterator<Item = VirtualAddress> {
        self.differing.iter().filter(move |(_, value)| *value == wanted).map(|(at, _)| *at)
    }
}

/// Address and size in bytes of the `DT_RELA` table.
fn rela_table<S: Source>(image: &Image<S>) -> Result<Option<(VirtualAddress, u64)>, RelocationError> {
    let (mut address, mut size) = (None, None);
    for (tag, value) in dynamic_entries(image).map_err(RelocationError::Dynamic)? {
        match tag {
            elf::DT_RELA => address = Some(VirtualAddress(value)),
            elf::DT_RELASZ => size = Some(value),
            _ => {}
        }
    }
    Ok(address.zip(size))
}

/// The entries of the dynamic section as (tag, value), up to `DT_NULL`; none for a program without one.
pub(crate) fn dynamic_entries<S: Source>(
    image: &Image<S>,
) -> Result<Vec<(elf::DynamicTag, u64)>, ImageError> {
    let entry = size_of::<elf::Dyn64<LE>>();
    let Some((offset, size)) = image.dynamic else { return Ok(Vec::new()) };
    let count = usize::try_from(size).unwrap_or(usize::MAX).checked_div(entry).unwrap_or(0).min(MAX_DYNAMIC);
    let mut bytes = vec![0; count * entry];
    image.read_file(offset, &mut bytes)?;
    let (entries, _) = pod::slice_from_bytes::<elf::Dyn64<LE>>(&bytes, count).unwrap_or_default();
    Ok(entries
        .iter()
        .map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE)))
        .take_while(|(tag, _)| *tag != elf::DT_NULL)
        .collect())
}

#[cfg(test)]
mod tests;
