//! Go's calling convention (`ABIInternal`, `src/cmd/compile/abi-internal.md`): which register holds what at a function's
//! entry.

use aya_ebpf::bindings::pt_regs;
use lightfoot_probes_abi::Cookie;

/// The registers as they were at the site.
pub type Registers = *const pt_regs;

/// How many integer argument registers can be told at run time.
const SELECTABLE: u64 = Cookie::REGISTERS as u64;

macro_rules! register {
    ($registers:ident, $($field:tt)+) => {
        // SAFETY: the kernel gave the program this context; the verifier proves that the field lies in it.
        unsafe { (*$registers).$($field)+ }
    };
    (volatile $registers:ident, $($field:tt)+) => {
        // SAFETY: as above. Volatile, lest LLVM load all registers before a call of `argument_at` and pass them to it.
        unsafe { (&raw const (*$registers).$($field)+).read_volatile() }
    };
}

/// The integer argument or result at a position, below 9, that is known at compile time.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub fn argument(registers: Registers, position: u64) -> u64 {
    match position {
        0 => register!(volatile registers, rax),
        1 => register!(volatile registers, rbx),
        2 => register!(volatile registers, rcx),
        3 => register!(volatile registers, rdi),
        4 => register!(volatile registers, rsi),
        5 => register!(volatile registers, r8),
        6 => register!(volatile registers, r9),
        7 => register!(volatile registers, r10),
        _ => register!(volatile registers, r11),
    }
}

/// The integer argument or result at a position, below 9, that is known at compile time.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn argument(registers: Registers, position: u64) -> u64 {
    register!(volatile registers, regs[(position % SELECTABLE) as usize])
}

/// The same, at a position that is known only when the program runs; 0 for later ones. All are read, for the
/// context takes constant offsets alone.
#[inline(never)]
pub fn argument_at(registers: Registers, position: u64) -> u64 {
    let mut value = 0;
    let mut candidate = 0;
    while candidate < SELECTABLE {
        let mask = u64::from(candidate == position).wrapping_neg();
        value |= argument(registers, candidate) & mask;
        candidate += 1;
    }
    value
}

/// The address of the current goroutine's `runtime.g`.
#[inline(always)]
pub fn g(registers: Registers) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    return register!(registers, r14);
    #[cfg(bpf_target_arch = "aarch64")]
    return register!(registers, regs[28]);
}

/// The stack pointer.
#[inline(always)]
pub fn stack_pointer(registers: Registers) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    return register!(registers, rsp);
    #[cfg(bpf_target_arch = "aarch64")]
    return register!(registers, sp);
}

/// Where a function that was just entered finds the address that it returns to, if that lies on the stack.
#[inline(always)]
pub fn return_address(registers: Registers, stack_words: u64) -> Option<u64> {
    (cfg!(bpf_target_arch = "x86_64") && stack_words == 0).then(|| stack_pointer(registers))
}

/// The address of the probed instruction.
#[inline(always)]
pub fn instruction(registers: Registers) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    return register!(registers, rip);
    #[cfg(bpf_target_arch = "aarch64")]
    return register!(registers, pc);
}

/// Whether a branch "if unsigned lower or same" at the site is taken, as the stack check's is when the stack must grow:
/// `jbe` on x86-64, `b.ls` on arm64.
#[inline(always)]
pub fn lower_or_same(registers: Registers) -> bool {
    #[cfg(bpf_target_arch = "x86_64")]
    return register!(registers, eflags) & (1 | 1 << 6) != 0; // carry or zero
    #[cfg(bpf_target_arch = "aarch64")]
    return register!(registers, pstate) >> 29 & 3 != 1; // not (carry and not zero)
}
