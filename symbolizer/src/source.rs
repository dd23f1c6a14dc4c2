//! Where bytes come from: a file read in windows, or a slice in memory.

use thiserror::Error;

/// Random access to the bytes of one file.
///
/// Files of running programs are read, not mapped: a file truncated in place would otherwise kill the reader with
/// SIGBUS. Implementations may read more than asked and cache it.
pub trait Source {
    /// The size in bytes when it was opened.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes at `offset`; a range that is not wholly there is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError>;
}

/// Why bytes could not be had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file does not hold the range.
    #[error("bytes {offset:#x}..+{length:#x} lie outside the file of {size:#x} bytes")]
    OutOfBounds {
        /// First byte asked for.
        offset: u64,
        /// How many bytes.
        length: usize,
        /// The size of the file.
        size: u64,
    },
    /// The operating system refused or failed the read.
    #[error("reading {length:#x} bytes at {offset:#x}")]
    Io {
        /// First byte asked for.
        offset: u64,
        /// How many bytes.
        length: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buffer.len())?))
            .ok_or(SourceError::OutOfBounds { offset, length: buffer.len(), size: self.size() })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        (**self).read_at(offset, buffer)
    }
}
