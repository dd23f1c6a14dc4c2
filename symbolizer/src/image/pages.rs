//! A file read in pages, of which some are kept.

use std::cell::RefCell;

use crate::source::{Source, SourceError};

const PAGE: usize = 32 << 10;
const PAGES: usize = 128;

/// A direct-mapped cache of the file's pages.
pub(super) struct Pages<S> {
    pub(super) source: S,
    slots: RefCell<Vec<Option<Page>>>,
}

struct Page {
    number: u64,
    bytes: Box<[u8]>,
}

impl<S: Source> Pages<S> {
    pub(super) fn of(source: S) -> Self {
        Self { source, slots: RefCell::default() }
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let out_of_bounds =
            || SourceError::OutOfBounds { offset, length: buffer.len(), size: self.source.size() };
        let end = offset.checked_add(buffer.len() as u64).ok_or_else(out_of_bounds)?;
        if end > self.source.size() {
            return Err(out_of_bounds());
        }
        if buffer.len() > PAGE {
            return self.source.read_at(offset, buffer);
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = at / PAGE as u64;
            let within = usize::try_from(at % PAGE as u64).unwrap_or_default();
            let mut slots = self.slots.borrow_mut();
            if slots.is_empty() {
                slots.resize_with(PAGES, || None);
            }
            let index = usize::try_from(number % PAGES as u64).unwrap_or_default();
            let Some(slot) = slots.get_mut(index) else { return Ok(()) };
            if slot.as_ref().is_none_or(|page| page.number != number) {
                let start = number.saturating_mul(PAGE as u64);
                let size = usize::try_from(self.source.size() - start).unwrap_or(PAGE).min(PAGE);
                let mut bytes = slot.take().map(|page| page.bytes).filter(|bytes| bytes.len() == size);
                let mut bytes = bytes.take().unwrap_or_else(|| vec![0; size].into());
                self.source.read_at(start, &mut bytes)?;
                *slot = Some(Page { number, bytes });
            }
            let page = slot.as_ref().and_then(|page| page.bytes.get(within..)).unwrap_or_default();
            let count = page.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(page.get(..count).unwrap_or_default());
            rest = later;
            at = at.saturating_add(count as u64);
            if count == 0 {
                return Err(SourceError::OutOfBounds {
                    offset: at,
                    length: rest.len(),
                    size: self.source.size(),
                });
            }
        }
        Ok(())
    }
}
