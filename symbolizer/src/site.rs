//! Where in a function a uprobe goes: proven instruction boundaries, the cheap ones first.
//!
//! All planning is about one function at a time, from the bytes between its symbol and the next one. What cannot be
//! proven from them is refused with the place and the reason.

mod after_call;
mod body;
mod depth;
mod entry;
mod indirect_call;
mod stack_check;
mod stored;

use std::fmt;

use thiserror::Error;

use crate::decode::{DecodeError, Flow, Instruction, Refusal, Step};
use crate::go_abi::Place;
use crate::{Architecture, VirtualAddress};
use body::Body;
use depth::Depths;

/// The machine code of one function.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// What it is for.
    pub architecture: Architecture,
    /// The address of its symbol, which is its first instruction.
    pub entry: VirtualAddress,
    /// All its bytes, up to the next function; padding may follow the last instruction.
    pub bytes: &'a [u8],
}

/// A place for a uprobe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Of the instruction that is probed.
    pub address: VirtualAddress,
    /// The bytes of that instruction, to compare with what a process has loaded.
    pub bytes: Vec<u8>,
    /// The instruction as text (see [`Instruction::text`]).
    pub text: String,
    /// What a hit costs.
    pub price: Price,
    /// Why this instruction.
    pub reason: Reason,
    /// The stack pointer before the instruction runs minus the stack pointer at the function's entry, in bytes (0 or
    /// negative); `None` where it is not provable.
    pub stack_delta: Option<i64>,
    /// A hit counts only where this holds.
    pub condition: Option<Condition>,
    /// arm64: whether Go may run the instruction twice in a row, which takes two hits. Registers that hold arguments or results are the
    /// same in both.
    pub may_run_twice: bool,
}

/// What a hit costs, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Price {
    /// One exception: the kernel emulates the instruction.
    Emulated,
    /// Two exceptions: the kernel single-steps a copy.
    Stepped,
    /// As [`Price::Stepped`], but on a path that only errors take. The planner cannot know this; who asks for the
    /// site does.
    Cold,
}

/// Why a site is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// x86-64: runs once per call, even when the stack grows, with all arguments in their registers.
    PushAfterStackCheck,
    /// x86-64: the first instruction of a function with a frame and without a stack check.
    PushAtEntry,
    /// arm64: the branch of the stack check, see [`Site::condition`].
    StackCheckBranch,
    /// The first emulated instruction; no argument has been overwritten before it.
    FirstEmulated,
    /// The first instruction: nothing emulated comes before arguments are overwritten.
    FirstInstruction,
    /// The function returns here.
    Return,
    /// The function calls the callee here.
    Call,
    /// A call has returned, and its results are still in place.
    AfterCall {
        /// Other paths of the function run through the site as well.
        shared: bool,
    },
}

/// What must hold for a hit to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// arm64: C is 1 and Z is 0 in PSTATE: a `b.ls` on the site is not taken. It is taken to grow the stack, and runs
    /// again after that.
    UnsignedHigher,
}

/// An indirect call, whose callee only a running process tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectCall {
    /// Of the call instruction.
    pub address: VirtualAddress,
    /// Of the instruction that the callee returns to.
    pub return_address: VirtualAddress,
    /// The call as text.
    pub text: String,
    /// Which method of an interface is called: the offset in its itab at which the callee's address is read right before.
    /// Closures show 0 or nothing here.
    pub itab_offset: Option<u64>,
    /// The integer registers of arguments, by index from the lowest bit, that are set right before, the callee's own
    /// left out.
    pub arguments: u16,
}

/// Why there is no site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SiteError {
    /// The function has no bytes.
    #[error("planning a probe: the function at {entry} has no code")]
    Empty {
        /// The function.
        entry: VirtualAddress,
    },
    /// Not all of the function decodes, so branches may go unseen.
    #[error("planning a probe: not all of the function is code")]
    Decode(#[from] DecodeError),
    /// The only instruction in question also runs when it is jumped to, so a hit is not a call.
    #[error("planning a probe: the branch at {from} leads to {target}, before the first safe site")]
    BranchInto {
        /// Where it leads.
        target: VirtualAddress,
        /// The branch.
        from: VirtualAddress,
    },
    /// Without a prologue to rely on, an indirect jump may lead to the site.
    #[error("planning a probe: the indirect jump at {from} may lead to the first instructions")]
    IndirectJump {
        /// The jump.
        from: VirtualAddress,
    },
    /// The instruction that it would have to be cannot be probed.
    #[error("planning a probe: {address} holds {refusal}")]
    Refused {
        /// The instruction.
        address: VirtualAddress,
        /// Why.
        refusal: Refusal,
    },
    /// The function leaves by a jump, so its returns are not in its own code.
    #[error("planning return probes: the function leaves by the jump at {from}")]
    TailCall {
        /// The jump.
        from: VirtualAddress,
    },
    /// There is no call at the address.
    #[error("planning a probe behind a call: no call instruction begins at {address}")]
    NotACall {
        /// The address asked for.
        address: VirtualAddress,
    },
    /// No call instruction ends at the address.
    #[error("planning a probe behind a call: no call instruction ends at {address}")]
    NotAReturnAddress {
        /// The address asked for.
        address: VirtualAddress,
    },
    /// A result is overwritten before anything emulated.
    #[error("planning a probe behind a call: {address} overwrites {place:?} before any emulated instruction")]
    Overwritten {
        /// The overwriting instruction.
        address: VirtualAddress,
        /// What it overwrites, or may overwrite.
        place: Place,
    },
    /// The straight path from the call ends before anything emulated.
    #[error("planning a probe behind a call: the path ends at {address} before any emulated instruction")]
    PathEnds {
        /// The last instruction on it.
        address: VirtualAddress,
    },
}

/// The site that counts calls of the function, where the registers of `needs` (and on arm64 the link register) still
/// hold what the caller put there.
///
/// A [`Place::Stack`] in `needs` is good as long as nothing but the function's own new frame has been written.
pub fn entry(code: Code<'_>, needs: &[Place]) -> Result<Site, SiteError> {
    entry::plan(&Body::decode(code)?, needs)
}

/// All return instructions of the function: stepped on x86-64, emulated on arm64.
///
/// A panic that passes through the function runs none of them. A function that also leaves by a jump to another one
/// is refused, as method wrappers do (through a register since Go 1.27).
pub fn returns(code: Code<'_>) -> Result<Vec<Site>, SiteError> {
    let body = Body::decode(code)?;
    if let Some(from) = body.leaving_jump() {
        return Err(SiteError::TailCall { from });
    }
    let sites = body.sites(Reason::Return, |instruction| instruction.flow == Flow::Return);
    sites.collect()
}

/// How far below its value at the function's entry the stack pointer is at most, in bytes, wherever that is provable. What
/// callees take is not part of it.
pub fn frame(code: Code<'_>) -> Result<u64, SiteError> {
    let body = Body::decode(code)?;
    let depths = Depths::of(&body);
    let all = (0..body.instructions.len()).filter_map(|index| depths.before(index));
    Ok(all.min().map_or(0, i64::unsigned_abs))
}

/// All direct calls of `callee` in the function: `call rel32` on x86-64, `bl` on arm64.
///
/// At the callee's entry the stack pointer is [`Site::stack_delta`] lower than at this function's entry, and on
/// x86-64 8 bytes lower still.
pub fn calls_to(code: Code<'_>, callee: VirtualAddress) -> Result<Vec<Site>, SiteError> {
    let body = Body::decode(code)?;
    let sites = body.sites(Reason::Call, |instruction| instruction.flow == Flow::Call(Some(callee)));
    sites.collect()
}

/// The first emulated instruction that always runs after the call at `call` has returned, where the places of `keep`
/// still hold the callee's results. One that [may run twice](Site::may_run_twice) is taken only if there is no other.
///
/// A [`Place::Stack`] is relative to the callee's entry, as [`crate::go_abi`] has it, and stands for 8 bytes.
pub fn after_call(code: Code<'_>, call: VirtualAddress, keep: &[Place]) -> Result<Site, SiteError> {
    after_call::plan(&Body::decode(code)?, call, keep)
}

/// As [`after_call()`], or else the return instruction on the way straight behind the call, reached with the places of `keep` intact:
/// the function returns what the callee returned. Its price is that of [`returns`].
pub fn after_call_or_at_return(
    code: Code<'_>,
    call: VirtualAddress,
    keep: &[Place],
) -> Result<Site, SiteError> {
    behind(&Body::decode(code)?, call, keep)
}

/// As [`after_call_or_at_return()`], for the call that returns to `return_address`.
pub fn after_return(
    code: Code<'_>,
    return_address: VirtualAddress,
    keep: &[Place],
) -> Result<Site, SiteError> {
    let body = Body::decode(code)?;
    let calls = |call: &&Instruction<'_>| call.end() == return_address && matches!(call.flow, Flow::Call(_));
    let call = body.instructions.iter().find(calls).map(|call| call.address);
    behind(&body, call.ok_or(SiteError::NotAReturnAddress { address: return_address })?, keep)
}

/// Where the function stores the registers of `results`, one beside the other, on its way straight on from the call at `call`: how far
/// from the stack pointer at its own entry, in bytes (negative). `None` where no such stores are found.
pub fn stored(code: Code<'_>, call: VirtualAddress, results: &[Place]) -> Option<i64> {
    stored::find(&Body::decode(code).ok()?, call, results)
}

/// Whether the function has stored its first argument where Go's ABI has room for it, 8 bytes above the stack pointer at the entry, on
/// all ways to the instruction at `at`, and has stored nothing else there.
pub fn keeps_receiver(code: Code<'_>, at: VirtualAddress) -> bool {
    const BESIDE_THE_RETURN_ADDRESS: u64 = 8;
    keeps_argument(code, at, Place::IntegerRegister(0), BESIDE_THE_RETURN_ADDRESS)
}

/// The same of an argument of 8 bytes that came in a register, and of the room for it that is so many bytes above the stack pointer at
/// the function's entry.
pub fn keeps_argument(code: Code<'_>, at: VirtualAddress, argument: Place, home: u64) -> bool {
    Body::decode(code).is_ok_and(|body| stored::keeps_argument(&body, at, argument, home))
}

fn behind(body: &Body<'_>, call: VirtualAddress, keep: &[Place]) -> Result<Site, SiteError> {
    match after_call::plan(body, call, keep) {
        Err(SiteError::PathEnds { address }) => {
            let index = body.index_of(address);
            let found = index.and_then(|index| Some((index, body.instructions.get(index)?)));
            let found = found.filter(|(_, found)| found.flow == Flow::Return);
            let (index, found) = found.ok_or(SiteError::PathEnds { address })?;
            Site::new(found, Reason::Return, Depths::of(body).before(index))
        }
        other => other,
    }
}

/// All calls through a register or memory.
pub fn indirect_calls(code: Code<'_>) -> Result<Vec<IndirectCall>, SiteError> {
    Ok(indirect_call::all(&Body::decode(code)?))
}

impl Site {
    fn new(
        instruction: &Instruction<'_>,
        reason: Reason,
        stack_delta: Option<i64>,
    ) -> Result<Self, SiteError> {
        let price = match instruction.step {
            Step::Emulated => Price::Emulated,
            Step::Stepped => Price::Stepped,
            Step::Refused(refusal) => {
                return Err(SiteError::Refused { address: instruction.address, refusal });
            }
        };
        Ok(Self {
            address: instruction.address,
            bytes: instruction.bytes.to_vec(),
            text: instruction.text(),
            price,
            reason,
            stack_delta,
            condition: None,
            may_run_twice: instruction.may_run_twice(),
        })
    }
}

impl Condition {
    /// Whether it holds for the processor state that the kernel reports: PSTATE on arm64.
    pub fn holds(self, state: u64) -> bool {
        const ZERO: u64 = 1 << 30;
        const CARRY: u64 = 1 << 29;
        match self {
            Self::UnsignedHigher => state & (CARRY | ZERO) == CARRY,
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulated => "emulated",
            Self::Stepped => "stepped",
            Self::Cold => "cold",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PushAfterStackCheck => "the push after the stack check",
            Self::PushAtEntry => "the push at the entry",
            Self::StackCheckBranch => "the branch of the stack check",
            Self::FirstEmulated => "the first emulated instruction",
            Self::FirstInstruction => "the first instruction, nothing emulated keeps the arguments",
            Self::Return => "a return",
            Self::Call => "a call",
            Self::AfterCall { shared: false } => "behind a call",
            Self::AfterCall { shared: true } => "behind a call, where other paths also come by",
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnsignedHigher => "counts when C is 1 and Z is 0",
        })
    }
}

#[cfg(test)]
mod tests;
