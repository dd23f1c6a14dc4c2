//! How a map type keeps its entries: 8 together, in a bucket (up to Go 1.23) or in a group (since).
//!
//! Both are structs that the compiler makes up for each map type and describes like any other
//! (cmd/compile/internal/reflectdata/map.go and map_swiss.go).

use super::descriptor::Kind;
use super::{Descriptors, Field, StructLayout, TypeError};
use crate::address::VirtualAddress;
use crate::source::Source;

/// Where `abi.MapType` has the descriptor of its bucket or group: behind `Type`, `Key` and `Elem`.
const GROUP: u64 = 64;

/// The entries of a map type. Offsets and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLayout {
    /// How slots in use are told.
    pub kind: MapKind,
    /// The size of a bucket or group; its first 8 bytes tell which of its 8 slots are in use.
    pub group_size: u64,
    /// Where the first key stands in it.
    pub keys: u64,
    /// From one key to the next.
    pub key_stride: u64,
    /// Where the first value stands in it.
    pub values: u64,
    /// From one value to the next.
    pub value_stride: u64,
}

/// The kinds of maps that Go has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Up to Go 1.23: a bucket ends with a pointer to an overflow bucket, at this offset.
    Classic {
        /// The offset of that pointer in bytes.
        overflow: u64,
    },
    /// Since Go 1.24.
    Swiss,
}

impl<S: Source> Descriptors<'_, S> {
    /// The layout of the map type whose descriptor lies at `address`.
    pub fn map(&self, address: VirtualAddress) -> Result<MapLayout, TypeError> {
        let mismatch = || TypeError::Mismatch { expected: "map", address };
        if self.descriptor(address)?.kind != Kind::Map {
            return Err(mismatch());
        }
        let group = self.structure(VirtualAddress(self.image.word(address.past(GROUP))?))?;
        self.entries(&group)?.ok_or_else(mismatch)
    }

    fn entries(&self, group: &StructLayout) -> Result<Option<MapLayout>, TypeError> {
        let [control, ..] = group.fields.as_slice() else { return Ok(None) };
        if control.offset != 0 || control.size != 8 {
            return Ok(None);
        }
        let layout = |kind, keys, key_stride, values, value_stride| MapLayout {
            kind,
            group_size: group.size,
            keys,
            key_stride,
            values,
            value_stride,
        };
        // Keys and values apart: classic buckets, and the split groups of Go 1.27.
        if let (Some(keys), Some(values)) = (group.field("keys"), group.field("elems")) {
            let kind = match group.field("overflow") {
                Some(overflow) => MapKind::Classic { overflow: overflow.offset },
                None => MapKind::Swiss,
            };
            return Ok(Some(layout(kind, keys.offset, keys.size / 8, values.offset, values.size / 8)));
        }
        let Some(slots) = group.field("slots").filter(|slots| slots.kind == Kind::Array) else {
            return Ok(None);
        };
        let Some(slot) = self.element_of(slots)? else { return Ok(None) };
        let (Some(key), Some(value)) = (slot.field("key"), slot.field("elem")) else { return Ok(None) };
        let at = |field: &Field| slots.offset.saturating_add(field.offset);
        Ok(Some(layout(MapKind::Swiss, at(key), slot.size, at(value), slot.size)))
    }

    /// The struct that an array field is made of.
    fn element_of(&self, array: &Field) -> Result<Option<StructLayout>, TypeError> {
        let Some(address) = array.descriptor else { return Ok(None) };
        let element = self.element(&self.descriptor(address)?)?;
        Ok(Some(self.structure(element.address)?))
    }
}
