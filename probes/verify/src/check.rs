//! The checks on a whole object.

use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use thiserror::Error;

use crate::depth::{Calls, MAX_FRAMES};
use crate::frame::{FrameError, frame_size};
use crate::instruction::{Instruction, SLOT};

/// The largest frame that keeps a program off the private stack, in bytes.
///
/// Since Linux 6.13 a function whose frame, rounded up to 16 bytes, reaches `BPF_PRIV_STACK_MIN_SIZE` (64) may run on
/// a stack that belongs to the processor, not to the task (`kernel/bpf/verifier.c`). Uprobe programs can be preempted,
/// so two tasks would write to the same one.
pub const FRAME_LIMIT: u32 = 48;

/// Writes to the watched process.
const WRITE_USER: (i32, &str) = (36, "bpf_probe_write_user");

/// The helpers that change or disturb the watched process.
const FORBIDDEN_HELPERS: [(i32, &str); 4] =
    [WRITE_USER, (58, "bpf_override_return"), (109, "bpf_send_signal"), (117, "bpf_send_signal_thread")];

/// The licences for which the kernel offers all helpers (`include/linux/license.h`).
const LICENSES: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// The section of the functions that programs call; each other executable section holds programs.
const SUBPROGRAMS: &str = ".text";

/// A function that may use a larger frame.
#[derive(Clone, Copy, Debug)]
pub struct Exemption {
    /// The name of its symbol.
    pub function: &'static str,
    /// The most that its frame may use, in bytes.
    pub bytes: u32,
    /// Why that does no harm: a program with a tail call gets no private stack, for example.
    pub reason: &'static str,
}

/// What an object is allowed to do beyond the rules.
#[derive(Clone, Copy, Debug)]
pub struct Permissions<'a> {
    /// The functions that may use a larger frame.
    pub frames: &'a [Exemption],
    /// A part of the names, as Rust mangles them, of the functions that may write to the watched process; without it none may.
    pub writer: Option<&'static str>,
}

impl Permissions<'_> {
    /// Nothing beyond the rules.
    pub const NONE: Self = Self { frames: &[], writer: None };
}

/// A function of an object that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name of its symbol.
    pub name: String,
    /// The section that holds it; for programs it names the kind of program.
    pub section: String,
    /// The bytes of stack frame that it uses, not rounded.
    pub frame: u32,
    /// Whether it writes to the watched process.
    pub writes: bool,
    /// How many functions call each other at most, this one among them.
    pub depth: usize,
}

impl Function {
    /// Whether the kernel calls it, as opposed to a program.
    pub fn is_program(&self) -> bool {
        self.section != SUBPROGRAMS
    }
}

/// What is wrong with an object.
#[derive(Debug, Error)]
pub enum Violation {
    /// It can't be read.
    #[error("reading the object")]
    Malformed(#[from] object::Error),
    /// There is nothing to load.
    #[error("the object holds no program")]
    NoPrograms,
    /// Most helpers are only for programs under the GPL.
    #[error("the section `license` says {found:?}, which the kernel does not take for the GPL")]
    License {
        /// The content up to the first zero byte; empty if there is no such section.
        found: String,
    },
    /// Type information is missing.
    #[error("the section `{section}` is missing or holds no BTF")]
    Btf {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
    },
    /// Executable bytes belong to no function, so they would go unchecked.
    #[error(
        "byte {offset:#x} of section `{section}` belongs to no function, or a function does not fit its section"
    )]
    NotAFunction {
        /// The executable section.
        section: String,
        /// From its start.
        offset: u64,
    },
    /// A call that changes or disturbs the watched process.
    #[error("`{function}` calls {helper} in slot {slot}")]
    ForbiddenHelper {
        /// The caller.
        function: String,
        /// The helper's name.
        helper: &'static str,
        /// The call's place in the function.
        slot: usize,
    },
    /// Nothing writes: the permission to is needless.
    #[error("`{function}` may write to the watched process and does not")]
    NeedlessWriter {
        /// The function that the permission names.
        function: &'static str,
    },
    /// A call of an address in a register.
    #[error("`{function}` calls an address in a register in slot {slot}, so what it calls cannot be checked")]
    IndirectCall {
        /// The caller.
        function: String,
        /// The call's place in the function.
        slot: usize,
    },
    /// Before Linux 5.12 the only atomic operation was an addition that does not return the old value.
    #[error("`{function}` uses atomic operation {operation:#x} in slot {slot}, which needs Linux 5.12")]
    Atomic {
        /// The function.
        function: String,
        /// The kernel's number for it.
        operation: i32,
        /// Its place in the function.
        slot: usize,
    },
    /// The frame's size is unknown.
    #[error("measuring the stack frame of `{function}`")]
    Frame {
        /// The function.
        function: String,
        /// Why.
        source: FrameError,
    },
    /// The frame is too large.
    #[error("`{function}` uses {bytes} bytes of stack frame, {limit} are permitted")]
    FrameTooLarge {
        /// The function.
        function: String,
        /// What it uses.
        bytes: u32,
        /// What it may use.
        limit: u32,
    },
    /// The kernel refuses more.
    #[error("{} functions call each other, {MAX_FRAMES} may: {}", .chain.len(), .chain.join(", "))]
    TooDeep {
        /// The program, and what it calls.
        chain: Vec<String>,
    },
    /// An exemption that nothing needs any more would hide the next offender.
    #[error("`{function}` is exempt from the limit on stack frames and does not need it")]
    NeedlessExemption {
        /// The function that the exemption names.
        function: &'static str,
    },
}

/// Checks a BPF object and returns its functions, or everything that is wrong with it.
pub fn check(object: &[u8], permissions: Permissions<'_>) -> Result<Vec<Function>, Vec<Violation>> {
    let mut violations = vec![];
    let functions = functions(object, permissions, &mut violations).unwrap_or_else(|error| {
        violations.push(error.into());
        vec![]
    });
    if violations.is_empty() { Ok(functions) } else { Err(violations) }
}

fn functions(
    object: &[u8],
    permissions: Permissions<'_>,
    violations: &mut Vec<Violation>,
) -> Result<Vec<Function>, object::Error> {
    let object = object::File::parse(object)?;
    check_license(&object, violations)?;
    for section in [".BTF", ".BTF.ext"] {
        let data = object.section_by_name(section).map(|section| section.data()).transpose()?;
        // include/uapi/linux/btf.h: BTF_MAGIC, little-endian.
        if !data.is_some_and(|data| data.starts_with(&[0x9f, 0xeb])) {
            violations.push(Violation::Btf { section });
        }
    }
    let mut functions = vec![];
    for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (name, data) = (section.name()?, section.data()?);
        let mut symbols: Vec<_> = object
            .symbols()
            .filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            })
            .collect();
        symbols.sort_by_key(ObjectSymbol::address);
        let mut end = 0;
        for symbol in symbols {
            let code = code(data, symbol.address(), symbol.size());
            let (true, Some(code)) = (symbol.address() == end, code) else { break };
            end += symbol.size();
            functions.extend(check_function(symbol.name()?, name, &code, permissions, violations));
        }
        if end != section.size() {
            violations.push(Violation::NotAFunction { section: name.to_owned(), offset: end });
        }
    }
    let calls = Calls::of(&object)?;
    for function in &mut functions {
        let chain = calls.deepest(&function.name);
        function.depth = chain.len();
        if function.is_program() && chain.len() > MAX_FRAMES {
            violations.push(Violation::TooDeep { chain: chain.into_iter().map(str::to_owned).collect() });
        }
    }
    if let Some(writer) = permissions.writer
        && !functions.iter().any(|function| function.writes)
    {
        violations.push(Violation::NeedlessWriter { function: writer });
    }
    for exemption in permissions.frames {
        let needed =
            |function: &Function| function.name == exemption.function && function.frame > FRAME_LIMIT;
        if !functions.iter().any(needed) {
            violations.push(Violation::NeedlessExemption { function: exemption.function });
        }
    }
    if !functions.iter().any(Function::is_program) {
        violations.push(Violation::NoPrograms);
    }
    Ok(functions)
}

fn check_license(object: &object::File, violations: &mut Vec<Violation>) -> Result<(), object::Error> {
    let data =
        object.section_by_name("license").map(|section| section.data()).transpose()?.unwrap_or_default();
    let found = data.split(|&byte| byte == 0).next().unwrap_or_default();
    if !LICENSES.iter().any(|license| license.as_bytes() == found) {
        violations.push(Violation::License { found: String::from_utf8_lossy(found).into_owned() });
    }
    Ok(())
}

fn code(section: &[u8], address: u64, size: u64) -> Option<Vec<Instruction>> {
    let start = usize::try_from(address).ok()?;
    let size = usize::try_from(size).ok().filter(|&size| size >= SLOT)?;
    Instruction::decode_all(section.get(start..start.checked_add(size)?)?)
}

fn check_function(
    name: &str,
    section: &str,
    code: &[Instruction],
    permissions: Permissions<'_>,
    violations: &mut Vec<Violation>,
) -> Option<Function> {
    let function = || name.to_owned();
    let writes = code.iter().any(|call| call.helper() == Some(WRITE_USER.0));
    let may_write = permissions.writer.is_some_and(|writer| name.contains(writer));
    for (slot, instruction) in code.iter().enumerate() {
        let forbidden = FORBIDDEN_HELPERS.iter().find(|(number, _)| instruction.helper() == Some(*number));
        let forbidden = forbidden.filter(|helper| !(may_write && **helper == WRITE_USER));
        if let Some(&(_, helper)) = forbidden {
            violations.push(Violation::ForbiddenHelper { function: function(), helper, slot });
        }
        if instruction.is_indirect_call() {
            violations.push(Violation::IndirectCall { function: function(), slot });
        }
        if instruction.is_atomic() && instruction.immediate != 0 {
            violations.push(Violation::Atomic {
                function: function(),
                operation: instruction.immediate,
                slot,
            });
        }
    }
    let frame = match frame_size(code) {
        Ok(frame) => frame,
        Err(source) => {
            violations.push(Violation::Frame { function: function(), source });
            return None;
        }
    };
    let exemption = permissions.frames.iter().find(|exemption| exemption.function == name);
    let limit = exemption.map_or(FRAME_LIMIT, |exemption| exemption.bytes);
    if frame > limit {
        violations.push(Violation::FrameTooLarge { function: function(), bytes: frame, limit });
    }
    Some(Function { name: function(), section: section.to_owned(), frame, writes, depth: 1 })
}

#[cfg(test)]
mod tests;
