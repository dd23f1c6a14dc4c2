//! How many bytes of stack frame a BPF function uses.
//!
//! The kernel counts the lowest address below the frame pointer that a function may touch on any path. Here the same
//! is computed by following, along all paths, which registers hold addresses in the frame and how low they may be.
//! Where that is not possible the function is refused, never passed.

use thiserror::Error;

use crate::instruction::{Class, FRAME_POINTER, Instruction, REGISTERS};

/// The kernel's limit for one frame, in bytes (`MAX_BPF_STACK` in `include/linux/filter.h`).
pub const MAX_FRAME: u32 = 512;

/// Why a frame's size could not be told. The numbers are slots from the start of the function.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// An address in the frame is computed from a value that is only known when the program runs.
    #[error("slot {0} computes an address in the frame from a value unknown at build time")]
    Variable(usize),
    /// An address lies below what the kernel permits.
    #[error("slot {0} reaches more than {MAX_FRAME} bytes below the frame pointer")]
    TooLow(usize),
    /// A jump or the last instruction leads out of the function.
    #[error("slot {0} leads outside the function")]
    LeavesFunction(usize),
    /// A register number that no BPF machine has.
    #[error("slot {0} names a register that does not exist")]
    NoSuchRegister(usize),
}

/// The bytes below the frame pointer that the function uses; not rounded.
///
/// Addresses handed to helpers count with the lowest byte they may point to: helpers touch memory upwards of it.
pub fn frame_size(code: &[Instruction]) -> Result<u32, FrameError> {
    let mut analysis =
        Analysis { code, before: vec![None; code.len()], pending: vec![], lowest: 0, saved: None };
    let mut entry = Registers::default();
    entry.set(FRAME_POINTER, Some(0), 0)?;
    analysis.flow_to(0, 0, entry)?;
    analysis.run()?;
    Ok(analysis.lowest.unsigned_abs())
}

/// For each register the lowest offset from the frame pointer that it may hold, or `None` if it holds no address in
/// the frame.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Registers([Option<i32>; REGISTERS]);

impl Registers {
    fn get(&self, register: u8, slot: usize) -> Result<Option<i32>, FrameError> {
        self.0.get(usize::from(register)).copied().ok_or(FrameError::NoSuchRegister(slot))
    }

    fn set(&mut self, register: u8, value: Option<i32>, slot: usize) -> Result<(), FrameError> {
        *self.0.get_mut(usize::from(register)).ok_or(FrameError::NoSuchRegister(slot))? = value;
        Ok(())
    }

    /// Calls leave nothing of the caller's in r0 to r5.
    fn forget_scratch(&mut self) {
        self.0.iter_mut().take(6).for_each(|register| *register = None);
    }

    fn join(&self, other: &Self) -> Self {
        let mut joined = *self;
        for (mine, theirs) in joined.0.iter_mut().zip(other.0) {
            *mine = lower(*mine, theirs);
        }
        joined
    }
}

fn lower(a: Option<i32>, b: Option<i32>) -> Option<i32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (some, None) | (None, some) => some,
    }
}

struct Analysis<'a> {
    code: &'a [Instruction],
    /// What the registers may hold before each slot; `None` where no path has led yet.
    before: Vec<Option<Registers>>,
    pending: Vec<usize>,
    lowest: i32,
    /// The lowest frame address that was ever saved in the frame: a later load may bring it back.
    saved: Option<i32>,
}

impl Analysis<'_> {
    /// Works until nothing changes. Offsets only fall and stop at `MAX_FRAME`, so this ends.
    fn run(&mut self) -> Result<(), FrameError> {
        while let Some(slot) = self.pending.pop() {
            let (Some(instruction), Some(Some(registers))) = (self.code.get(slot), self.before.get(slot))
            else {
                continue; // only slots that exist and were reached are ever pending
            };
            let (instruction, mut registers) = (*instruction, *registers);
            let saved = self.saved;
            self.step(slot, instruction, &mut registers)?;
            if self.saved != saved {
                // Loads already passed may bring this address back as well.
                self.pending.extend(
                    (0..self.before.len()).filter(|&at| matches!(self.before.get(at), Some(Some(_)))),
                );
            }
            let next = slot + 1 + usize::from(instruction.is_wide());
            match instruction.jump() {
                _ if instruction.is_exit() => {}
                None => self.flow_to(slot, next, registers)?,
                Some((distance, falls_through)) => {
                    let target = i64::try_from(next).ok().and_then(|next| next.checked_add(distance));
                    let target = target.and_then(|target| usize::try_from(target).ok());
                    self.flow_to(slot, target.ok_or(FrameError::LeavesFunction(slot))?, registers)?;
                    if falls_through {
                        self.flow_to(slot, next, registers)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn flow_to(&mut self, from: usize, to: usize, registers: Registers) -> Result<(), FrameError> {
        let before = self.before.get_mut(to).ok_or(FrameError::LeavesFunction(from))?;
        let joined = before.map_or(registers, |earlier| earlier.join(&registers));
        if *before != Some(joined) {
            *before = Some(joined);
            self.pending.push(to);
        }
        Ok(())
    }

    fn step(&mut self, slot: usize, i: Instruction, registers: &mut Registers) -> Result<(), FrameError> {
        let dst = registers.get(i.dst, slot)?;
        match i.class() {
            Class::Ld if i.is_wide() => registers.set(i.dst, None, slot)?,
            Class::Ld => registers.forget_scratch(), // the old packet loads
            Class::Ldx => {
                let from = registers.get(i.src, slot)?;
                self.touch(slot, from, i.offset.into())?;
                let restored = self.saved.filter(|_| from.is_some() && i.is_eight_bytes_wide());
                registers.set(i.dst, restored, slot)?;
            }
            Class::St => {
                self.touch(slot, dst, i.offset.into())?;
            }
            Class::Stx => {
                self.touch(slot, dst, i.offset.into())?;
                // The kernel lets frame addresses be stored nowhere but in the frame, and by no atomic operation.
                if dst.is_some() {
                    self.saved = lower(self.saved, registers.get(i.src, slot)?);
                }
            }
            Class::Alu => registers.set(i.dst, None, slot)?,
            Class::Alu64 => {
                let result = self.arithmetic(slot, i, dst, registers)?;
                registers.set(i.dst, result, slot)?;
            }
            Class::Jmp if i.is_call() => registers.forget_scratch(),
            Class::Jmp | Class::Jmp32 => {}
        }
        Ok(())
    }

    fn arithmetic(
        &mut self,
        slot: usize,
        i: Instruction,
        dst: Option<i32>,
        registers: &Registers,
    ) -> Result<Option<i32>, FrameError> {
        const ADD: u8 = 0x00;
        const SUB: u8 = 0x10;
        const NEG: u8 = 0x80;
        const MOV: u8 = 0xb0;
        const END: u8 = 0xd0;
        let unary = matches!(i.operation(), NEG | END);
        let src = if i.takes_register() && !unary { registers.get(i.src, slot)? } else { None };
        match (i.operation(), i.takes_register(), dst, src) {
            (MOV, _, _, src) => Ok(src),
            (_, _, None, None) => Ok(None),
            (ADD, false, Some(_), _) => self.touch(slot, dst, i.immediate),
            (SUB, false, Some(_), _) => {
                let change = i.immediate.checked_neg().ok_or(FrameError::TooLow(slot))?;
                self.touch(slot, dst, change)
            }
            _ => Err(FrameError::Variable(slot)),
        }
    }

    /// Notes an address `offset` bytes from `base`, if `base` lies in the frame, and returns it.
    fn touch(&mut self, slot: usize, base: Option<i32>, offset: i32) -> Result<Option<i32>, FrameError> {
        let Some(base) = base else { return Ok(None) };
        let address = base.checked_add(offset).ok_or(FrameError::TooLow(slot))?;
        if address < 0 && address.unsigned_abs() > MAX_FRAME {
            return Err(FrameError::TooLow(slot));
        }
        self.lowest = self.lowest.min(address);
        Ok(Some(address))
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameError, frame_size};
    use crate::instruction::Instruction;
    use crate::testing::{
        add, add_register, call, exit, jump, jump_if_zero, load, load_constant, mov, mov_constant, store,
        store_constant, sub, sub_register,
    };

    fn size(code: &[Instruction]) -> Result<u32, FrameError> {
        frame_size(code)
    }

    #[test]
    fn a_function_without_memory_operands_uses_no_frame() {
        assert_eq!(size(&[mov_constant(0, 0), exit()]), Ok(0));
        assert_eq!(size(&[mov(1, 10), exit()]), Ok(0));
    }

    #[test]
    fn memory_operands_relative_to_the_frame_pointer_count() {
        assert_eq!(size(&[store(10, -8, 1), exit()]), Ok(8));
        assert_eq!(size(&[store_constant(10, -56), exit()]), Ok(56));
        assert_eq!(size(&[store(10, -8, 1), load(0, 10, -24), exit()]), Ok(24));
        assert_eq!(size(&[store(7, -8, 1), load(0, 6, -24), exit()]), Ok(0));
    }

    #[test]
    fn addresses_computed_from_the_frame_pointer_count() {
        assert_eq!(size(&[mov(2, 10), add(2, -64), call(4), exit()]), Ok(64));
        assert_eq!(size(&[mov(2, 10), sub(2, 64), call(4), exit()]), Ok(64));
        assert_eq!(size(&[mov(6, 10), mov(7, 6), add(7, -32), store(7, -16, 1), exit()]), Ok(48));
        assert_eq!(size(&[mov(2, 10), add(2, -64), add(2, 16), store(2, 0, 1), exit()]), Ok(64));
    }

    #[test]
    fn a_register_that_was_overwritten_is_no_longer_an_address() {
        assert_eq!(size(&[mov(2, 10), mov_constant(2, 0), add(2, -64), exit()]), Ok(0));
        assert_eq!(size(&[mov(2, 10), load(2, 1, 0), add(2, -64), exit()]), Ok(0));
        assert_eq!(size(&[mov(2, 10), call(1), add(2, -64), exit()]), Ok(0));
        let [first, second] = load_constant(2);
        assert_eq!(size(&[mov(2, 10), first, second, add(2, -64), exit()]), Ok(0));
    }

    #[test]
    fn every_path_counts_even_one_that_joins_a_harmless_one() {
        // if r1 == 0 { r6 = r10 - 8 } else { r6 = r10 - 40 }; *(r6 - 16) = r1
        let code =
            [mov(6, 10), jump_if_zero(1, 2), add(6, -40), jump(1), add(6, -8), store(6, -16, 1), exit()];
        assert_eq!(size(&code), Ok(56));
    }

    #[test]
    fn a_path_that_only_a_backward_jump_reaches_counts() {
        // jump over the store, then back to it with an address in r6
        let code = [jump(2), store(6, -72, 1), exit(), mov(6, 10), jump(-4)];
        assert_eq!(size(&code), Ok(72));
    }

    #[test]
    fn an_address_that_falls_in_a_loop_ends_in_an_error_not_in_a_loop() {
        assert_eq!(size(&[mov(6, 10), add(6, -8), jump_if_zero(1, -2), exit()]), Err(FrameError::TooLow(1)));
    }

    #[test]
    fn an_address_saved_in_the_frame_is_followed_through_the_load() {
        let code = [mov(2, 10), add(2, -16), store(10, -8, 2), load(3, 10, -8), store(3, -40, 1), exit()];
        assert_eq!(size(&code), Ok(56));
        // The load comes first in the code and second on the path.
        let code = [
            load(3, 10, -8),
            jump_if_zero(3, 4),
            mov(2, 10),
            add(2, -16),
            store(10, -8, 2),
            jump(-6),
            store(3, -40, 1),
            exit(),
        ];
        assert_eq!(size(&code), Ok(56));
    }

    #[test]
    fn an_index_known_only_at_run_time_is_refused() {
        assert_eq!(size(&[mov(2, 10), add_register(2, 3), exit()]), Err(FrameError::Variable(1)));
        assert_eq!(size(&[mov(2, 10), add_register(3, 2), exit()]), Err(FrameError::Variable(1)));
        assert_eq!(size(&[mov(2, 10), sub_register(2, 3), exit()]), Err(FrameError::Variable(1)));
    }

    #[test]
    fn code_that_no_kernel_would_take_is_refused() {
        assert_eq!(size(&[]), Err(FrameError::LeavesFunction(0)));
        assert_eq!(size(&[mov_constant(0, 0)]), Err(FrameError::LeavesFunction(0)));
        assert_eq!(size(&[jump(5), exit()]), Err(FrameError::LeavesFunction(0)));
        assert_eq!(size(&[jump(-5), exit()]), Err(FrameError::LeavesFunction(0)));
        assert_eq!(size(&[store(12, 0, 1), exit()]), Err(FrameError::NoSuchRegister(0)));
        assert_eq!(size(&[store(10, -513, 1), exit()]), Err(FrameError::TooLow(0)));
        assert_eq!(size(&[mov(2, 10), sub(2, i32::MIN), exit()]), Err(FrameError::TooLow(1)));
        assert_eq!(size(&[mov(2, 10), add(2, i32::MIN), exit()]), Err(FrameError::TooLow(1)));
    }

    #[test]
    fn any_bytes_are_answered_without_panic_and_in_finite_time() {
        // A fixed linear congruential generator: the same inputs on each run.
        let mut state = 1u64;
        for _ in 0..2_000 {
            let code: Vec<u8> = (0..256)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            let _: Result<u32, FrameError> = frame_size(&Instruction::decode_all(&code).unwrap());
        }
    }
}
