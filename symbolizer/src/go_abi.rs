//! Where Go's compiler puts the arguments and results of a function: registers or stack.
//!
//! The rules are those of `src/cmd/compile/abi-internal.md` (ABIInternal, unchanged from Go 1.17 on amd64 and 1.18 on
//! arm64 up to 1.27) for a compiler with registers enabled. Functions written in assembly use ABI0, which has
//! everything on the stack; their Go-callable wrappers use ABIInternal.

mod layout;
mod registers;

use thiserror::Error;

use crate::Architecture;
use layout::{Budget, Layout};

pub use registers::{Register, Registers};

/// A Go type, as far as passing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoType<'a> {
    /// `bool`.
    Bool,
    /// A signed or unsigned integer of 1, 2, 4 or 8 bytes.
    Int(u8),
    /// `uintptr`.
    Uintptr,
    /// One pointer word: pointers, maps, channels, functions, `unsafe.Pointer`.
    Pointer,
    /// `float32` (4) or `float64` (8).
    Float(u8),
    /// `complex64` (8) or `complex128` (16).
    Complex(u8),
    /// `string`: data pointer, length.
    String,
    /// A slice: data pointer, length, capacity.
    Slice,
    /// An interface: type or itab pointer, data pointer.
    Interface,
    /// A struct: the types of its fields, blank ones and embedded ones included.
    Struct(&'a [Self]),
    /// An array: length and element type.
    Array(u64, &'a Self),
}

/// The types that a call passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The receiver, if there is one, then the parameters. An instance of generic code that several types share
    /// (`[go.shape.` in its name) takes a pointer to its dictionary as well: behind the receiver, else first.
    pub parameters: &'a [GoType<'a>],
    /// The results.
    pub results: &'a [GoType<'a>],
}

/// Where all values of a signature lie, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// At the entry of the function.
    pub parameters: Vec<Value>,
    /// When the function has returned.
    pub results: Vec<Value>,
}

/// Where one value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// In bytes.
    pub size: u64,
    /// In registers: its parts in the order of their offsets. On the stack: one part, the whole value. A value of
    /// size 0 has none.
    pub words: Vec<Word>,
}

/// A part of a value and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Within the value, in bytes.
    pub offset: u64,
    /// In bytes; at most 8 in a register, whose upper bytes are undefined.
    pub size: u64,
    /// Where.
    pub place: Place,
}

/// A place that holds a value at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The integer register of this index in the ABI's sequence (see [`Registers::integers`]).
    IntegerRegister(u8),
    /// The floating-point register of this index in the ABI's sequence.
    FloatRegister(u8),
    /// The register that points to the closure object, at the entry of a closure.
    ClosureContext,
    /// This many bytes above the stack pointer as it is at the entry of the function, results included. On amd64 the
    /// return address lies at 0.
    Stack(u64),
}

/// Why a signature has no assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AbiError {
    /// No Go number has this width.
    #[error("assigning registers to a Go signature: no {kind} of {bytes} bytes exists")]
    Width {
        /// Integer, float or complex.
        kind: &'static str,
        /// The width asked for.
        bytes: u8,
    },
    /// The size does not fit an address space.
    #[error("assigning registers to a Go signature: a type is larger than any address space")]
    TooLarge,
    /// More than [`AbiError::MOST_PARTS`] parts were visited, or nested more than [`AbiError::DEEPEST`] deep.
    #[error("assigning registers to a Go signature: its types are too large or too deeply nested")]
    TooComplex,
}

impl AbiError {
    /// The bound on work: types counted each time they are met. Real signatures need some dozens.
    pub const MOST_PARTS: u32 = 100_000;
    /// The bound on nesting.
    pub const DEEPEST: u32 = 200;
}

impl Signature<'_> {
    /// Assigns every parameter and result its place.
    pub fn assign(&self, architecture: Architecture) -> Result<Assignment, AbiError> {
        let registers = Registers::of(architecture);
        let mut budget = Budget::new();
        // On amd64 the return address, on arm64 the slot where the callee may save its link register.
        let mut stack = 8;
        let parameters = assign_all(self.parameters, registers, &mut stack, &mut budget)?;
        stack = layout::align_up(stack, 8)?;
        let results = assign_all(self.results, registers, &mut stack, &mut budget)?;
        Ok(Assignment { parameters, results })
    }
}

fn assign_all(
    types: &[GoType<'_>],
    registers: &Registers,
    stack: &mut u64,
    budget: &mut Budget,
) -> Result<Vec<Value>, AbiError> {
    let mut free = Free { integers: 0, floats: 0, registers };
    types.iter().map(|value| assign_value(value, &mut free, stack, budget)).collect()
}

fn assign_value(
    value: &GoType<'_>,
    free: &mut Free<'_>,
    stack: &mut u64,
    budget: &mut Budget,
) -> Result<Value, AbiError> {
    let Layout { size, align } = layout::of(value, budget)?;
    let before = *free;
    let mut words = Vec::new();
    if size > 0 && free.take(value, 0, &mut words, budget)? {
        return Ok(Value { size, words });
    }
    *free = before;
    let offset = layout::align_up(*stack, align)?;
    *stack = offset.checked_add(size).ok_or(AbiError::TooLarge)?;
    words.clear();
    if size > 0 {
        words.push(Word { offset: 0, size, place: Place::Stack(offset) });
    }
    Ok(Value { size, words })
}

/// The next registers to hand out.
#[derive(Clone, Copy)]
struct Free<'a> {
    integers: u8,
    floats: u8,
    registers: &'a Registers,
}

impl Free<'_> {
    /// Register-assigns a value that lies `offset` bytes within the whole; `false` if it does not fit.
    fn take(
        &mut self,
        value: &GoType<'_>,
        offset: u64,
        words: &mut Vec<Word>,
        budget: &mut Budget,
    ) -> Result<bool, AbiError> {
        budget.visit(|budget| match *value {
            GoType::Bool => Ok(self.integers(offset, 1, 1, words)),
            GoType::Int(bytes) => Ok(self.integers(offset, 1, bytes.into(), words)),
            GoType::Uintptr | GoType::Pointer => Ok(self.integers(offset, 1, 8, words)),
            GoType::String | GoType::Interface => Ok(self.integers(offset, 2, 8, words)),
            GoType::Slice => Ok(self.integers(offset, 3, 8, words)),
            GoType::Float(bytes) => Ok(self.floats(offset, 1, bytes.into(), words)),
            GoType::Complex(bytes) => Ok(self.floats(offset, 2, u64::from(bytes / 2), words)),
            GoType::Struct(fields) => self.take_fields(fields, offset, words, budget),
            GoType::Array(0, _) => Ok(true),
            GoType::Array(1, element) => self.take(element, offset, words, budget),
            GoType::Array(..) => Ok(false),
        })
    }

    fn take_fields(
        &mut self,
        fields: &[GoType<'_>],
        offset: u64,
        words: &mut Vec<Word>,
        budget: &mut Budget,
    ) -> Result<bool, AbiError> {
        let mut end = offset;
        for field in fields {
            let Layout { size, align } = layout::of(field, budget)?;
            // The start of the whole is aligned for every field, so absolute offsets align like relative ones.
            let start = layout::align_up(end, align)?;
            if !self.take(field, start, words, budget)? {
                return Ok(false);
            }
            end = start.checked_add(size).ok_or(AbiError::TooLarge)?;
        }
        Ok(true)
    }

    fn integers(&mut self, offset: u64, count: u8, size: u64, words: &mut Vec<Word>) -> bool {
        let most = self.registers.integers.len();
        hand_out(&mut self.integers, most, Place::IntegerRegister, offset, count, size, words)
    }

    fn floats(&mut self, offset: u64, count: u8, size: u64, words: &mut Vec<Word>) -> bool {
        let most = self.registers.floats.len();
        hand_out(&mut self.floats, most, Place::FloatRegister, offset, count, size, words)
    }
}

fn hand_out(
    next: &mut u8,
    most: usize,
    place: fn(u8) -> Place,
    mut offset: u64,
    count: u8,
    size: u64,
    words: &mut Vec<Word>,
) -> bool {
    for _ in 0..count {
        if usize::from(*next) >= most {
            return false;
        }
        words.push(Word { offset, size, place: place(*next) });
        // Both stay small: register counts, and an offset whose layout was computed before.
        *next = next.saturating_add(1);
        offset = offset.saturating_add(size);
    }
    true
}

#[cfg(test)]
mod tests;
