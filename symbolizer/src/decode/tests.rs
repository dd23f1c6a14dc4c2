use super::*;

fn one(architecture: Architecture, bytes: &[u8]) -> Instruction<'_> {
    let address = VirtualAddress(0x40_1000);
    let mut all = instructions(architecture, address, bytes);
    let instruction = all.next().unwrap().unwrap();
    assert!(all.next().is_none(), "{bytes:x?} is one instruction");
    assert_eq!(instruction.bytes, bytes);
    assert_eq!(instruction.end().0, address.0 + bytes.len() as u64);
    instruction
}

#[test]
fn x86_64_step_flow_and_text() {
    use Flow::{Branch, Call, Jump, Next, Return, Stop};
    use Step::{Emulated, Refused, Stepped};
    let at = VirtualAddress;
    let table: &[(&[u8], Step, Flow, &str)] = &[
        (&[0x55], Emulated, Next, "push %rbp"),
        (&[0x41, 0x57], Emulated, Next, "push %r15"),
        (&[0x48, 0x55], Stepped, Next, "push %rbp"),
        (&[0x66, 0x55], Stepped, Next, "push %bp"),
        (&[0xff, 0x30], Stepped, Next, "pushq (%rax)"),
        (&[0x90], Emulated, Next, "nop"),
        (&[0x66, 0x90], Refused(Refusal::MultiByteNop), Next, "xchg %ax,%ax"),
        (&[0x0f, 0x1f, 0x44, 0, 0], Refused(Refusal::MultiByteNop), Next, "nopl (%rax,%rax)"),
        (
            &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            Refused(Refusal::MultiByteNop),
            Next,
            "nopw (%rax,%rax)",
        ),
        (&[0x41, 0x90], Refused(Refusal::DisguisedNop), Next, "xchg %eax,%r8d"),
        (&[0xf3, 0x90], Stepped, Next, "pause"),
        (&[0x48, 0x93], Stepped, Next, "xchg %rax,%rbx"),
        (&[0xe8, 0xfb, 0, 0, 0], Emulated, Call(Some(at(0x40_1100))), "call 0x401100"),
        (&[0xe9, 0xfb, 0xff, 0xff, 0xff], Emulated, Jump(Some(at(0x40_1000))), "jmp 0x401000"),
        (&[0xeb, 0x10], Emulated, Jump(Some(at(0x40_1012))), "jmp 0x401012"),
        (&[0xeb, 0x08], Refused(Refusal::OptimisedProbeJump), Jump(Some(at(0x40_100a))), "jmp 0x40100a"),
        (&[0x76, 0xfe], Emulated, Branch(at(0x40_1000)), "jbe 0x401000"),
        (&[0x0f, 0x86, 0xfa, 0, 0, 0], Emulated, Branch(at(0x40_1100)), "jbe 0x401100"),
        (&[0x66, 0xe8, 0xfa, 0, 0, 0], Refused(Refusal::PrefixedBranch), Call(Some(at(0x40_1100))), ""),
        (&[0xf2, 0x74, 0x00], Refused(Refusal::PrefixedBranch), Branch(at(0x40_1003)), ""),
        (&[0x2e, 0x74, 0x00], Refused(Refusal::Prefix), Branch(at(0x40_1003)), ""),
        (&[0xe3, 0x00], Stepped, Branch(at(0x40_1002)), "jrcxz 0x401002"),
        (&[0xff, 0xd0], Stepped, Call(None), "call *%rax"),
        (&[0xff, 0xe2], Stepped, Jump(None), "jmp *%rdx"),
        (&[0xc3], Stepped, Return, "ret"),
        (&[0x49, 0x3b, 0x66, 0x10], Stepped, Next, "cmp 0x10(%r14),%rsp"),
        (&[0x48, 0x8b, 0x05, 0xf9, 0, 0, 0], Stepped, Next, "mov 0x401100,%rax"),
        (&[0xf0, 0x48, 0x0f, 0xb1, 0x11], Refused(Refusal::Prefix), Next, "lock cmpxchg %rdx,(%rcx)"),
        (&[0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff], Stepped, Next, ""),
        (&[0xcc], Refused(Refusal::Exception), Stop, "int3"),
        (&[0x0f, 0x0b], Refused(Refusal::Exception), Stop, "ud2"),
        (&[0x0f, 0x05], Refused(Refusal::Exception), Next, "syscall"),
        (&[0xf4], Refused(Refusal::Opcode), Next, "hlt"),
        (&[0x8e, 0xd0], Refused(Refusal::Opcode), Next, "mov %eax,%ss"),
        (&[0x0f, 0xae, 0xe8], Refused(Refusal::Opcode), Next, "lfence"),
        (&[0x0f, 0x01, 0xf9], Refused(Refusal::Opcode), Next, "rdtscp"),
        (&[0xf3, 0x48, 0xab], Refused(Refusal::Repeated), Next, "rep stos %rax,(%rdi)"),
        (&[0x48, 0xab], Stepped, Next, "stos %rax,(%rdi)"),
        // vpshufd and vzeroupper: opcodes 0x70 and 0x77, which the kernel would take for conditional jumps.
        (&[0xc5, 0xf9, 0x70, 0xc0, 0], Refused(Refusal::VectorEncoding), Next, "vpshufd $0,%xmm0,%xmm0"),
        (&[0xc5, 0xf8, 0x77], Refused(Refusal::VectorEncoding), Next, "vzeroupper"),
        (&[0x0f, 0x57, 0xc0], Stepped, Next, "xorps %xmm0,%xmm0"),
        (&[0xc7, 0xf8, 0, 0, 0, 0], Refused(Refusal::Opcode), Branch(at(0x40_1006)), ""),
    ];
    for &(bytes, step, flow, text) in table {
        let instruction = one(Architecture::X86_64, bytes);
        assert_eq!(instruction.step, step, "{bytes:x?}");
        assert_eq!(instruction.flow, flow, "{bytes:x?}");
        if !text.is_empty() {
            assert_eq!(instruction.text(), text, "{bytes:x?}");
        }
    }
}

#[test]
fn aarch64_step_flow_and_text() {
    use Flow::{Branch, Call, Jump, Next, Return, Stop};
    use Step::{Emulated, Refused, Stepped};
    let at = VirtualAddress;
    let table: &[(u32, Step, Flow, &str)] = &[
        (0x1400_0040, Emulated, Jump(Some(at(0x40_1100))), "b 0x401100"),
        (0x17ff_ffff, Emulated, Jump(Some(at(0x40_0ffc))), "b 0x400ffc"),
        (0x9400_0040, Emulated, Call(Some(at(0x40_1100))), "bl 0x401100"),
        (0x5400_0809, Emulated, Branch(at(0x40_1100)), "b.ls 0x401100"),
        (0x54ff_ffe0, Emulated, Branch(at(0x40_0ffc)), "b.eq 0x400ffc"),
        (0x5400_0810, Refused(Refusal::System), Branch(at(0x40_1100)), ".word 0x54000810"),
        (0xb400_0803, Emulated, Branch(at(0x40_1100)), "cbz x3, 0x401100"),
        (0x3500_0803, Emulated, Branch(at(0x40_1100)), "cbnz w3, 0x401100"),
        (0x3600_0803, Emulated, Branch(at(0x40_1100)), "tbz w3, #0, 0x401100"),
        (0xb7f8_0803, Emulated, Branch(at(0x40_1100)), "tbnz x3, #63, 0x401100"),
        (0xd61f_0060, Emulated, Jump(None), "br x3"),
        (0xd63f_0060, Emulated, Call(None), "blr x3"),
        (0xd65f_03c0, Emulated, Return, "ret"),
        (0xd65f_0060, Emulated, Return, "ret x3"),
        (0xd503_201f, Stepped, Next, "nop"),
        (0x1000_0800, Emulated, Next, "adr x0, 0x401100"),
        (0x3000_0800, Emulated, Next, "adr x0, 0x401101"),
        (0xb000_0003, Emulated, Next, "adrp x3, 0x402000"),
        (0x5800_0803, Refused(Refusal::Literal), Next, "ldr x3, 0x401100"),
        (0x9800_0803, Refused(Refusal::Literal), Next, "ldrsw x3, 0x401100"),
        (0x9c00_0803, Refused(Refusal::Literal), Next, "ldr q3, 0x401100"),
        (0xc85f_fc20, Refused(Refusal::Exclusive), Next, ".word 0xc85ffc20"),
        (0xc800_fc22, Refused(Refusal::Exclusive), Next, ".word 0xc800fc22"),
        (0xc8df_fc20, Stepped, Next, ".word 0xc8dffc20"),
        (0xf841_0f9d, Stepped, Next, ".word 0xf8410f9d"),
        (0xd400_0001, Refused(Refusal::Exception), Next, ".word 0xd4000001"),
        (0xd420_0000, Refused(Refusal::Exception), Stop, ".word 0xd4200000"),
        (0x0000_0000, Refused(Refusal::Exception), Stop, ".word 0x00000000"),
        (0xd53b_d040, Refused(Refusal::System), Next, ".word 0xd53bd040"),
        (0xd51b_d040, Refused(Refusal::System), Next, ".word 0xd51bd040"),
        (0xd503_233f, Stepped, Next, ".word 0xd503233f"),
        (0xd503_245f, Stepped, Next, ".word 0xd503245f"),
        (0xd503_203f, Refused(Refusal::System), Next, ".word 0xd503203f"),
        (0xd503_23bf, Refused(Refusal::System), Next, ".word 0xd50323bf"),
        (0xd503_3bbf, Stepped, Next, ".word 0xd5033bbf"),
        (0xd71f_0861, Refused(Refusal::AuthenticatedBranch), Jump(None), ".word 0xd71f0861"),
        (0xd65f_0bff, Refused(Refusal::AuthenticatedBranch), Return, ".word 0xd65f0bff"),
        (0x1940_0440, Refused(Refusal::MemoryCopy), Next, ".word 0x19400440"),
        (0x0200_0000, Refused(Refusal::Unallocated), Stop, ".word 0x02000000"),
    ];
    for &(word, step, flow, text) in table {
        let bytes = word.to_le_bytes();
        let instruction = one(Architecture::Aarch64, &bytes);
        assert_eq!(instruction.step, step, "{word:#x}");
        assert_eq!(instruction.flow, flow, "{word:#x}");
        assert_eq!(instruction.text(), text, "{word:#x}");
    }
}

#[test]
fn x86_64_effects() {
    const RAX: u32 = 1;
    const RBX: u32 = 1 << 3;
    const RSP: u32 = 1 << 4;
    let nowhere = MemoryWrite::None;
    let table: &[(&[u8], u32, u32, MemoryWrite, StackChange)] = &[
        (&[0x48, 0x89, 0xd8], RAX, 0, nowhere, StackChange::By(0)),
        (&[0x31, 0xc0], RAX, 0, nowhere, StackChange::By(0)),
        (&[0xb3, 1], RBX, 0, nowhere, StackChange::By(0)),
        (&[0x48, 0x85, 0xdb], 0, 0, nowhere, StackChange::By(0)),
        (&[0x0f, 0x57, 0xc9], 0, 2, nowhere, StackChange::By(0)),
        (
            &[0x48, 0x89, 0x44, 0x24, 0x18],
            0,
            0,
            MemoryWrite::Stack { offset: 0x18, size: 8 },
            StackChange::By(0),
        ),
        (&[0x48, 0x89, 0x41, 0x18], 0, 0, MemoryWrite::Elsewhere, StackChange::By(0)),
        (&[0x55], RSP, 0, MemoryWrite::Stack { offset: -8, size: 8 }, StackChange::By(-8)),
        (&[0x5d], RSP | 1 << 5, 0, nowhere, StackChange::By(8)),
        (&[0x48, 0x83, 0xec, 0x18], RSP, 0, nowhere, StackChange::By(-0x18)),
        (&[0x48, 0x83, 0xc4, 0x80], RSP, 0, nowhere, StackChange::By(-0x80)),
        (&[0x48, 0x81, 0xec, 0, 1, 0, 0], RSP, 0, nowhere, StackChange::By(-0x100)),
        (&[0x48, 0x8d, 0x64, 0x24, 0xf0], RSP, 0, nowhere, StackChange::By(-0x10)),
        (&[0x48, 0x89, 0xec], RSP, 0, nowhere, StackChange::Unknown),
        (&[0x48, 0x83, 0xe4, 0xf0], RSP, 0, nowhere, StackChange::Unknown),
        (&[0x5c], RSP, 0, nowhere, StackChange::Unknown),
        (&[0xc9], RSP | 1 << 5, 0, nowhere, StackChange::Unknown),
    ];
    for &(bytes, integers, vectors, memory, stack) in table {
        let instruction = one(Architecture::X86_64, bytes);
        assert_eq!(instruction.effects(), Effects { integers, vectors, memory }, "{bytes:x?}");
        assert_eq!(instruction.stack_change(), stack, "{bytes:x?}");
    }
    assert_eq!(
        one(Architecture::X86_64, &[0xff, 0xd0]).stack_change(),
        StackChange::By(0),
        "a call is balanced"
    );
}

#[test]
fn aarch64_effects() {
    let none = Effects::NONE;
    let integers = |integers: u32| Effects { integers, ..none };
    let stack = |offset, size| Effects { memory: MemoryWrite::Stack { offset, size }, ..none };
    let table: &[(u32, Effects, StackChange)] = &[
        (0xf940_0b90, integers(1 << 16), StackChange::By(0)), // ldr x16, [x28, #16]
        (0xeb30_63ff, none, StackChange::By(0)),              // cmp sp, x16
        (0xfa40_1824, none, StackChange::By(0)),              // ccmp x1, #0, #4, ne
        (0xf81e_0ffe, stack(-32, 8), StackChange::By(-32)),   // str x30, [sp, #-32]!
        (0xf842_07fe, integers(1 << 30), StackChange::By(32)), // ldr x30, [sp], #32
        (0xf81f_83fd, stack(-8, 8), StackChange::By(0)),      // stur x29, [sp, #-8]
        (0xd100_23fd, integers(1 << 29), StackChange::By(0)), // sub x29, sp, #8
        (0xd104_43ff, none, StackChange::By(-0x110)),         // sub sp, sp, #0x110
        (0x9144_03ff, none, StackChange::By(0x10_0000)),      // add sp, sp, #0x100, lsl #12
        (0x9100_029f, none, StackChange::Unknown),            // mov sp, x20
        (0x8b3b_63ff, none, StackChange::Unknown),            // add sp, sp, x27
        (0xf900_17e0, stack(40, 8), StackChange::By(0)),      // str x0, [sp, #40]
        (0xb900_2be0, stack(40, 4), StackChange::By(0)),      // str w0, [sp, #40]
        (0xa902_07e0, stack(32, 16), StackChange::By(0)),     // stp x0, x1, [sp, #32]
        (0xa9bf_7bfd, stack(-16, 16), StackChange::By(-16)),  // stp x29, x30, [sp, #-16]!
        (0xa8c1_7bfd, integers(3 << 29), StackChange::By(16)), // ldp x29, x30, [sp], #16
        (0xa942_07e0, integers(3), StackChange::By(0)),       // ldp x0, x1, [sp, #32]
        (0x3d80_0be0, stack(32, 16), StackChange::By(0)),     // str q0, [sp, #32]
        (0xfd40_0be3, Effects { vectors: 8, ..none }, StackChange::By(0)), // ldr d3, [sp, #16]
        (0xf900_0020, Effects { memory: MemoryWrite::Elsewhere, ..none }, StackChange::By(0)), // str x0, [x1]
        (0xf822_6820, Effects { memory: MemoryWrite::Elsewhere, ..none }, StackChange::By(0)), // str x0, [x1, x2]
        (0xf862_6820, integers(1), StackChange::By(0)), // ldr x0, [x1, x2]
        (0xf820_0041, Effects::ALL, StackChange::By(0)), // ldadd x0, x1, [x2]
        (0x9e66_0001, Effects { integers: 2, vectors: 2, ..none }, StackChange::By(0)), // fmov x1, d0
        (0x9400_0040, integers(1 << 30), StackChange::By(0)), // bl
        (0xf240_07ff, none, StackChange::By(0)),        // tst xzr, #3
        (0x4c9f_a3e0, Effects::ALL, StackChange::Unknown), // st1 {v0.16b,v1.16b}, [sp], #32
    ];
    for &(word, effects, stack) in table {
        let bytes = word.to_le_bytes();
        let instruction = one(Architecture::Aarch64, &bytes);
        assert_eq!(instruction.effects(), effects, "{word:#x}");
        assert_eq!(instruction.stack_change(), stack, "{word:#x}");
    }
}

#[test]
fn errors_name_the_address() {
    let architecture = Architecture::X86_64;
    let bytes = [0x55, 0x06, 0x90];
    let mut all = instructions(architecture, VirtualAddress(0x10), &bytes);
    assert_eq!(all.next().unwrap().unwrap().bytes, [0x55]);
    assert_eq!(
        all.next().unwrap().unwrap_err(),
        DecodeError::Invalid { architecture, address: VirtualAddress(0x11) }
    );
    assert!(all.next().is_none(), "nothing behind an error is decoded");

    let mut all = instructions(architecture, VirtualAddress(0x10), &[0xe8, 0, 0]);
    assert_eq!(
        all.next().unwrap().unwrap_err(),
        DecodeError::Truncated { architecture, address: VirtualAddress(0x10) }
    );

    let mut all = instructions(architecture, VirtualAddress(u64::MAX), &[0x90, 0x90]);
    assert_eq!(
        all.next().unwrap().unwrap_err(),
        DecodeError::Address { architecture, address: VirtualAddress(u64::MAX) }
    );

    let architecture = Architecture::Aarch64;
    let mut all = instructions(architecture, VirtualAddress(0x10), &[0x1f, 0x20, 3]);
    assert_eq!(
        all.next().unwrap().unwrap_err(),
        DecodeError::Truncated { architecture, address: VirtualAddress(0x10) }
    );
    let mut all = instructions(architecture, VirtualAddress(0x12), &[0x1f, 0x20, 3, 0xd5]);
    assert_eq!(
        all.next().unwrap().unwrap_err(),
        DecodeError::Address { architecture, address: VirtualAddress(0x12) }
    );
}

/// Deterministic noise (xorshift), so that a failure repeats.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    })
}

#[test]
fn noise_is_decoded_without_panic_and_always_advances() {
    for seed in 1..2000_u64 {
        let bytes: Vec<u8> = noise(seed).take(64).collect();
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            for start in [0x40_1000, u64::MAX - 31] {
                let mut end = start;
                for instruction in instructions(architecture, VirtualAddress(start), &bytes).flatten() {
                    assert_eq!(instruction.address.0, end);
                    assert!(instruction.end().0 > end);
                    end = instruction.end().0;
                    assert!(!instruction.text().is_empty());
                    _ = (instruction.effects(), instruction.stack_change(), instruction.literal());
                }
            }
        }
    }
}
