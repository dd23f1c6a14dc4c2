//! Views of a binary that share no code with the symbolizer, to compare it with.
//!
//! - [`dwarf`]: struct layouts as the compiler's debugging information tells them.
//! - [`tools`]: symbols, instructions and build information as Go's own tools print them.

pub mod dwarf;
pub mod tools;

pub use dwarf::{Field, StructLayout, struct_layouts};
pub use tools::{Instruction, Symbol};
