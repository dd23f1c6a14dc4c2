//! Sizes and alignments of Go types on 64-bit machines ("Memory layout" in abi-internal.md).

use super::{AbiError, GoType};

/// Size and alignment in bytes; the alignment is a power of two from 1 to 8.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) size: u64,
    pub(super) align: u64,
}

/// How many more types may be visited, and how deep: types built from shared parts could be visited exponentially
/// often, and nested ones exhaust the stack.
pub(super) struct Budget {
    parts: u32,
    depth: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { parts: AbiError::MOST_PARTS, depth: AbiError::DEEPEST }
    }

    /// Runs a visit to one type.
    pub(super) fn visit<T>(
        &mut self,
        visit: impl FnOnce(&mut Self) -> Result<T, AbiError>,
    ) -> Result<T, AbiError> {
        self.parts = self.parts.checked_sub(1).ok_or(AbiError::TooComplex)?;
        self.depth = self.depth.checked_sub(1).ok_or(AbiError::TooComplex)?;
        let result = visit(self);
        self.depth = self.depth.saturating_add(1);
        result
    }
}

pub(super) fn of(value: &GoType<'_>, budget: &mut Budget) -> Result<Layout, AbiError> {
    budget.visit(|budget| {
        Ok(match *value {
            GoType::Bool => Layout { size: 1, align: 1 },
            GoType::Int(bytes @ (1 | 2 | 4 | 8)) | GoType::Float(bytes @ (4 | 8)) => {
                Layout { size: bytes.into(), align: bytes.into() }
            }
            // A complex number is two floats.
            GoType::Complex(bytes @ (8 | 16)) => Layout { size: bytes.into(), align: u64::from(bytes / 2) },
            GoType::Int(bytes) => return Err(AbiError::Width { kind: "integer", bytes }),
            GoType::Float(bytes) => return Err(AbiError::Width { kind: "float", bytes }),
            GoType::Complex(bytes) => return Err(AbiError::Width { kind: "complex number", bytes }),
            GoType::Uintptr | GoType::Pointer => Layout { size: 8, align: 8 },
            GoType::String | GoType::Interface => Layout { size: 16, align: 8 },
            GoType::Slice => Layout { size: 24, align: 8 },
            GoType::Struct(fields) => of_struct(fields, budget)?,
            GoType::Array(length, element) => {
                let Layout { size, align } = of(element, budget)?;
                Layout { size: size.checked_mul(length).ok_or(AbiError::TooLarge)?, align }
            }
        })
    })
}

pub(super) fn align_up(value: u64, align: u64) -> Result<u64, AbiError> {
    value.checked_next_multiple_of(align).ok_or(AbiError::TooLarge)
}

fn of_struct(fields: &[GoType<'_>], budget: &mut Budget) -> Result<Layout, AbiError> {
    let (mut end, mut align, mut last) = (0_u64, 1, 1);
    for field in fields {
        let field = of(field, budget)?;
        end = align_up(end, field.align)?.checked_add(field.size).ok_or(AbiError::TooLarge)?;
        align = align.max(field.align);
        last = field.size;
    }
    // A final field of size 0 gets a byte, so that its address stays inside.
    if last == 0 && end > 0 {
        end = end.checked_add(1).ok_or(AbiError::TooLarge)?;
    }
    Ok(Layout { size: align_up(end, align)?, align })
}
