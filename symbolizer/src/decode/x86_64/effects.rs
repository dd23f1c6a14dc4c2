//! What an x86-64 instruction writes, from iced-x86's operand information.

use iced_x86::{Code, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use crate::decode::{Effects, MemoryWrite, StackChange};

pub(in crate::decode) fn effects(instruction: &iced_x86::Instruction) -> Effects {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    let mut effects = Effects::NONE;
    for used in info.used_registers().iter().filter(|used| writes(used.access())) {
        let full = used.register().full_register();
        let number = u32::try_from(full.number()).unwrap_or(u32::MAX);
        // Masks, x87, segment and control registers carry no Go value.
        if full.is_gpr() {
            effects.integers |= 1_u32.checked_shl(number).unwrap_or(!0);
        } else if full.is_vector_register() {
            effects.vectors |= 1_u32.checked_shl(number).unwrap_or(!0);
        }
    }
    let mut stores = info.used_memory().iter().filter(|memory| writes(memory.access()));
    effects.memory = match (stores.next(), stores.next()) {
        (None, _) => MemoryWrite::None,
        (Some(store), None) if store.base() == Register::RSP && store.index() == Register::None => {
            MemoryWrite::Stack {
                offset: store.displacement().cast_signed(),
                size: store.memory_size().size() as u64,
            }
        }
        _ => MemoryWrite::Elsewhere,
    };
    effects
}

pub(in crate::decode) fn stack_change(instruction: &iced_x86::Instruction) -> StackChange {
    let immediate = || i64::from_ne_bytes(instruction.immediate(1).to_ne_bytes());
    match instruction.code() {
        // The callee pops what the call pushed.
        code if is_call(code) => StackChange::By(0),
        Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if instruction.op0_register() == Register::RSP => {
            immediate().checked_neg().map_or(StackChange::Unknown, StackChange::By)
        }
        Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if instruction.op0_register() == Register::RSP => {
            StackChange::By(immediate())
        }
        Code::Lea_r64_m
            if instruction.op0_register() == Register::RSP
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None =>
        {
            StackChange::By(instruction.memory_displacement64().cast_signed())
        }
        Code::Push_r64 | Code::Pop_r64 if instruction.op0_register() != Register::RSP => {
            StackChange::By(i64::from(instruction.stack_pointer_increment()))
        }
        _ if instruction.is_stack_instruction() && !simple_stack_instruction(instruction) => {
            StackChange::Unknown
        }
        _ if instruction.is_stack_instruction() => {
            StackChange::By(i64::from(instruction.stack_pointer_increment()))
        }
        _ if writes_stack_pointer(instruction) => StackChange::Unknown,
        _ => StackChange::By(0),
    }
}

fn is_call(code: Code) -> bool {
    code.is_call_near() || code.is_call_near_indirect() || code.is_call_far() || code.is_call_far_indirect()
}

fn simple_stack_instruction(instruction: &iced_x86::Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Push | Mnemonic::Pop | Mnemonic::Pushfq | Mnemonic::Popfq | Mnemonic::Ret
    ) && instruction.op0_register() != Register::RSP
}

fn writes_stack_pointer(instruction: &iced_x86::Instruction) -> bool {
    let named = (0..instruction.op_count()).any(|operand| {
        instruction.try_op_register(operand).is_ok_and(|register| register.full_register() == Register::RSP)
    });
    // Computing the full information allocates; almost no instruction names the stack pointer as a register.
    named && effects(instruction).integers & (1 << 4) != 0
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}
