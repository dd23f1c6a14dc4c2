//! The bytes of one type descriptor.

use super::{Descriptors, MAX_FIELDS, TypeError};
use crate::address::VirtualAddress;
use crate::image::ImageError;
use crate::source::Source;

/// The size of `abi.Type`, which every descriptor starts with.
pub(super) const HEADER: usize = 48;
/// The size of `abi.StructType`; `abi.UncommonType` follows it.
const STRUCT: u64 = 80;
/// The size of `abi.StructField`.
const FIELD: u64 = 24;
/// At most so many bytes of a name.
pub(super) const MAX_NAME: u64 = 4096;

const FLAG_UNCOMMON: u8 = 1 << 0;
const FLAG_EXTRA_STAR: u8 = 1 << 1;
const FLAG_NAMED: u8 = 1 << 2;
const KIND_MASK: u8 = 31;
const NAME_EMBEDDED: u8 = 1 << 3;

/// What kind of type a descriptor describes (internal/abi/type.go, `Kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Go's own")]
pub enum Kind {
    Bool,
    Int(u8),
    Uint(u8),
    Float(u8),
    Complex(u8),
    Array,
    Chan,
    Func,
    Interface,
    Map,
    Pointer,
    Slice,
    String,
    Struct,
    UnsafePointer,
}

impl Kind {
    /// The kind with Go's number for it.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number & KIND_MASK {
            1 => Self::Bool,
            2 | 6 => Self::Int(8),
            3 => Self::Int(1),
            4 => Self::Int(2),
            5 => Self::Int(4),
            7 | 11 | 12 => Self::Uint(8),
            8 => Self::Uint(1),
            9 => Self::Uint(2),
            10 => Self::Uint(4),
            13 => Self::Float(4),
            14 => Self::Float(8),
            15 => Self::Complex(8),
            16 => Self::Complex(16),
            17 => Self::Array,
            18 => Self::Chan,
            19 => Self::Func,
            20 => Self::Interface,
            21 => Self::Map,
            22 => Self::Pointer,
            23 => Self::Slice,
            24 => Self::String,
            25 => Self::Struct,
            26 => Self::UnsafePointer,
            _ => return None,
        })
    }

    /// Whether a search for descriptors looks at this kind: structs, and `context.Context` among the interfaces.
    pub(super) fn is_wanted(number: u8) -> bool {
        matches!(Self::from_number(number), Some(Self::Struct | Self::Interface))
    }
}

/// The head of a type descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// Where it lies.
    pub address: VirtualAddress,
    /// The size in bytes of a value of the type.
    pub size: u64,
    /// What kind of type it is.
    pub kind: Kind,
    flags: u8,
    name: u32,
    pointer: u32,
}

impl Descriptor {
    /// Whether it is a defined type, which alone can have methods of its own.
    pub(super) fn is_named(&self) -> bool {
        self.flags & FLAG_NAMED != 0
    }

    /// Where the descriptor says more of a type that has a name or methods (`abi.UncommonType`): behind the kind's own part.
    /// Not told for maps, whose descriptor changed its size in Go 1.24 and 1.27.
    pub(super) fn uncommon(&self) -> Option<VirtualAddress> {
        let own_part = match self.kind {
            _ if self.flags & FLAG_UNCOMMON == 0 => return None,
            Kind::Map => return None,
            Kind::Struct => STRUCT,
            Kind::Interface => 80,
            Kind::Pointer | Kind::Slice | Kind::Func => 56,
            Kind::Chan => 64,
            Kind::Array => 72,
            _ => HEADER as u64,
        };
        Some(self.address.past(own_part))
    }
}

/// A field as the descriptor has it: addresses of its name and of its type's descriptor.
pub(super) struct RawField {
    pub(super) name: VirtualAddress,
    pub(super) descriptor: VirtualAddress,
    pub(super) offset: u64,
}

impl<S: Source> Descriptors<'_, S> {
    /// Reads the head of the descriptor at `address`.
    pub fn descriptor(&self, address: VirtualAddress) -> Result<Descriptor, TypeError> {
        let mismatch = || TypeError::Mismatch { expected: "type", address };
        let header: [u8; HEADER] = self.image.array(address)?;
        let (words, _) = header.as_chunks::<8>();
        let [size, _, meta, _, _, names] = words else { return Err(mismatch()) };
        let [.., flags, align, field_align, kind] = *meta;
        if align != field_align || !align.is_power_of_two() {
            return Err(mismatch());
        }
        let ([name, pointer], _) = names.as_chunks::<4>() else { return Err(mismatch()) };
        Ok(Descriptor {
            address,
            size: u64::from_le_bytes(*size),
            kind: Kind::from_number(kind).ok_or_else(mismatch)?,
            flags,
            name: u32::from_le_bytes(*name),
            pointer: u32::from_le_bytes(*pointer),
        })
    }

    /// The name as `reflect` prints it: the package's name, not its path.
    pub fn short_name(&self, descriptor: &Descriptor) -> Result<String, TypeError> {
        let (mut name, _) = self.name(self.types.past(u64::from(descriptor.name)))?;
        if descriptor.flags & FLAG_EXTRA_STAR != 0 && name.starts_with('*') {
            name.remove(0);
        }
        Ok(name)
    }

    /// The name with the import path in place of the package's name, for named types other than maps.
    pub fn full_name(&self, descriptor: &Descriptor) -> Result<String, TypeError> {
        let short = self.short_name(descriptor)?;
        match descriptor.uncommon() {
            Some(uncommon) if descriptor.is_named() => self.with_package(short, uncommon),
            _ => Ok(short),
        }
    }

    fn with_package(&self, short: String, uncommon: VirtualAddress) -> Result<String, TypeError> {
        let offset = self.image.word32(uncommon)?;
        if offset == 0 {
            return Ok(short);
        }
        let (path, _) = self.name(self.types.past(u64::from(offset)))?;
        Ok(match short.split_once('.') {
            Some((_, rest)) => format!("{path}.{rest}"),
            None => short,
        })
    }

    /// A name and whether it is marked as an embedded field's: a byte of flags, a varint length, the bytes.
    pub(super) fn name(&self, address: VirtualAddress) -> Result<(String, bool), TypeError> {
        let mismatch = || TypeError::Mismatch { expected: "name", address };
        let [flags, low] = self.image.array(address)?;
        let (length, start) = if low & 0x80 == 0 {
            (u64::from(low), 2)
        } else {
            let [high] = self.image.array(address.past(2))?;
            (u64::from(low & 0x7f) | u64::from(high) << 7, 3)
        };
        if length > MAX_NAME {
            return Err(mismatch());
        }
        let bytes = self.image.bytes(address.past(start), length, "a name")?;
        Ok((String::from_utf8(bytes).map_err(|_| mismatch())?, flags & NAME_EMBEDDED != 0))
    }

    /// The fields of a struct, with no name read.
    pub(super) fn raw_fields(&self, descriptor: &Descriptor) -> Result<Vec<RawField>, TypeError> {
        let mismatch = || TypeError::Mismatch { expected: "struct", address: descriptor.address };
        if descriptor.kind != Kind::Struct {
            return Err(mismatch());
        }
        let [fields, count, capacity] = self.image.words(descriptor.address.past(HEADER as u64 + 8))?;
        if count != capacity || count > MAX_FIELDS {
            return Err(mismatch());
        }
        (0..count)
            .map(|index| {
                let at = VirtualAddress(fields).past(index * FIELD);
                let [name, descriptor, offset] = self.image.words(at)?;
                Ok(RawField { name: VirtualAddress(name), descriptor: VirtualAddress(descriptor), offset })
            })
            .collect::<Result<_, ImageError>>()
            .map_err(TypeError::from)
    }

    /// The descriptor of the type of pointers to this one, if the program has it (`abi.Type.PtrToThis`).
    pub(super) fn pointer_to(&self, descriptor: &Descriptor) -> Option<VirtualAddress> {
        let pointer = self.descriptor(self.types.past(u64::from(descriptor.pointer))).ok()?;
        let leads_back = pointer.kind == Kind::Pointer
            && self.image.word(pointer.address.past(HEADER as u64)).ok() == Some(descriptor.address.0);
        leads_back.then_some(pointer.address)
    }

    /// The element type of a pointer, slice, array or channel: `Elem` follows the head in all of them.
    pub fn element(&self, descriptor: &Descriptor) -> Result<Descriptor, TypeError> {
        match descriptor.kind {
            Kind::Pointer | Kind::Slice | Kind::Array | Kind::Chan => {
                let element = self.image.word(descriptor.address.past(HEADER as u64))?;
                self.descriptor(VirtualAddress(element))
            }
            _ => Err(TypeError::Mismatch { expected: "pointer or sequence", address: descriptor.address }),
        }
    }
}
