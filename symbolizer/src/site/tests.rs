use super::*;
use Place::{IntegerRegister, Stack};

const ENTRY: VirtualAddress = VirtualAddress(0x40_1000);
const AT: fn(u64) -> VirtualAddress = |offset| VirtualAddress(ENTRY.0 + offset);

fn amd64(bytes: &[u8]) -> Code<'_> {
    Code { architecture: Architecture::X86_64, entry: ENTRY, bytes }
}

fn arm64(bytes: &[u8]) -> Code<'_> {
    Code { architecture: Architecture::Aarch64, entry: ENTRY, bytes }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `cmp 0x10(%r14),%rsp; jbe growth; push %rbp; mov %rsp,%rbp; sub $0x10,%rsp; call 0x402000; test %rbx,%rbx; jne 2f;
/// add $0x10,%rsp; pop %rbp; ret; 2: mov %rbx,%rax; jmp 1b; growth: call morestack; jmp entry`.
const ORDINARY: &[u8] = &[
    0x49, 0x3b, 0x66, 0x10, // 0
    0x76, 0x20, // 4: jbe 0x26
    0x55, // 6
    0x48, 0x89, 0xe5, // 7
    0x48, 0x83, 0xec, 0x10, // a
    0xe8, 0xed, 0x0f, 0x00, 0x00, // e
    0x48, 0x85, 0xdb, // 13
    0x75, 0x06, // 16: jne 0x1e
    0x48, 0x83, 0xc4, 0x10, // 18
    0x5d, // 1c
    0xc3, // 1d
    0x48, 0x89, 0xd8, // 1e
    0xeb, 0xf5, // 21: jmp 0x18
    0x0f, 0x1f, 0x00, // 23
    0xe8, 0xd5, 0x1f, 0x00, 0x00, // 26
    0xeb, 0xd3, // 2b: jmp 0
    0xcc, 0xcc, 0xcc,
];
const CALLEE: VirtualAddress = VirtualAddress(0x40_2000);

#[test]
fn amd64_entry_is_the_push_after_each_form_of_the_stack_check() {
    let site = entry(amd64(ORDINARY), &[IntegerRegister(0), Place::ClosureContext, Stack(8)]).unwrap();
    assert_eq!(site.address, AT(6));
    assert_eq!((site.bytes.as_slice(), site.text.as_str()), ([0x55].as_slice(), "push %rbp"));
    assert_eq!((site.price, site.reason), (Price::Emulated, Reason::PushAfterStackCheck));
    assert_eq!((site.stack_delta, site.condition), (Some(0), None));

    let checks: &[&[u8]] = &[
        // lea -0x78(%rsp),%r12; cmp 0x10(%r14),%r12
        &[0x4c, 0x8d, 0x64, 0x24, 0x88, 0x4d, 0x3b, 0x66, 0x10],
        // mov %rsp,%r12; sub $0x2000,%r12; jb growth; cmp 0x10(%r14),%r12
        &[0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0, 0x20, 0, 0, 0x72, 8, 0x4d, 0x3b, 0x66, 0x10],
        // mov %fs:-8,%r14; cmp 0x10(%r14),%rsp
        &[0x64, 0x4c, 0x8b, 0x34, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x49, 0x3b, 0x66, 0x10],
        // mov $-8,%r14; mov %fs:(%r14),%r14; cmp 0x10(%r14),%rsp
        &[0x49, 0xc7, 0xc6, 0xf8, 0xff, 0xff, 0xff, 0x64, 0x4d, 0x8b, 0x36, 0x49, 0x3b, 0x66, 0x10],
        // cmp 0x18(%r14),%rsp
        &[0x49, 0x3b, 0x66, 0x18],
    ];
    for check in checks {
        // jbe growth; push %rbp; pop %rbp; ret; int3; growth: jmp entry
        let back = u8::try_from(0x100 - (check.len() + 8)).unwrap();
        let bytes = [check, [0x76, 4, 0x55, 0x5d, 0xc3, 0xcc, 0xeb, back].as_slice()].concat();
        let site = entry(amd64(&bytes), &[]).unwrap();
        assert_eq!(site.address, AT(check.len() as u64 + 2));
        assert_eq!(site.reason, Reason::PushAfterStackCheck);
    }
}

/// `push %rbp; mov %rsp,%rbp; sub $0x58,%rsp; call 0x402000; test %rcx,%rcx; jne 2f; mov %rax,0x48(%rsp); mov %rbx,0x50(%rsp);
/// 2: add $0x58,%rsp; pop %rbp; ret`, as `grpc.invoke` begins.
const STORING: &[u8] = &[
    0x55, // 0
    0x48, 0x89, 0xe5, // 1
    0x48, 0x83, 0xec, 0x58, // 4
    0xe8, 0xf3, 0x0f, 0x00, 0x00, // 8
    0x48, 0x85, 0xc9, // d
    0x75, 0x0a, // 10: jne 0x1c
    0x48, 0x89, 0x44, 0x24, 0x48, // 12
    0x48, 0x89, 0x5c, 0x24, 0x50, // 17
    0x48, 0x83, 0xc4, 0x58, // 1c
    0x5d, // 20
    0xc3, // 21
];

#[test]
fn results_that_are_stored_side_by_side_are_found_below_the_entry() {
    let both = [IntegerRegister(0), IntegerRegister(1)];
    assert_eq!(stored(amd64(STORING), AT(8), &both), Some(-0x18));
    assert_eq!(stored(amd64(STORING), AT(8), &both[1..]), Some(-0x10));
    // The other way round they are no interface.
    assert_eq!(stored(amd64(STORING), AT(8), &[both[1], both[0]]), None);
    // The third result is stored nowhere, and there is no call.
    assert_eq!(stored(amd64(STORING), AT(8), &[IntegerRegister(2)]), None);
    assert_eq!(stored(amd64(STORING), AT(4), &both), None);
    // mov %rdi,%rbx in place of the test: one of them is gone before it is stored.
    let mut overwritten = STORING.to_vec();
    overwritten[0xd..0x10].copy_from_slice(&[0x48, 0x89, 0xfb]);
    assert_eq!(stored(amd64(&overwritten), AT(8), &both), None);
    // mov %rbx,0x50(%rbp): not relative to the stack pointer.
    let mut elsewhere = STORING.to_vec();
    elsewhere[0x17..0x1c].copy_from_slice(&[0x48, 0x89, 0x5d, 0x50, 0x90]);
    assert_eq!(stored(amd64(&elsewhere), AT(8), &both), None);
    assert_eq!(stored(arm64(&words(&[0x9400_0000, 0xd65f_03c0])), ENTRY, &both), None);
}

/// `cmp 0x10(%r14),%rsp; jbe 2f; push %rbp; sub $0x10,%rsp; test %rbx,%rbx; je 1f; xor %edx,%edx; 1: mov %rax,0x20(%rsp);
/// call 0x402000; test %rax,%rax; jne 3f; 3: add $0x10,%rsp; pop %rbp; ret; 2: mov %rax,0x8(%rsp); call morestack;
/// mov 0x8(%rsp),%rax; jmp entry`.
const RECEIVING: &[u8] = &[
    0x49, 0x3b, 0x66, 0x10, // 0
    0x76, 0x25, // 4: jbe 0x2b
    0x55, // 6
    0x48, 0x83, 0xec, 0x10, // 7
    0x48, 0x85, 0xdb, // b
    0x74, 0x02, // e: je 0x12
    0x31, 0xd2, // 10
    0x48, 0x89, 0x44, 0x24, 0x20, // 12
    0xe8, 0xe4, 0x0f, 0x00, 0x00, // 17
    0x48, 0x85, 0xc0, // 1c
    0x75, 0x00, // 1f: jne 0x21
    0x48, 0x83, 0xc4, 0x10, // 21
    0x5d, // 25
    0xc3, // 26
    0x0f, 0x1f, 0x40, 0x00, // 27
    0x48, 0x89, 0x44, 0x24, 0x08, // 2b
    0xe8, 0xcb, 0x1f, 0x00, 0x00, // 30
    0x48, 0x8b, 0x44, 0x24, 0x08, // 35
    0xeb, 0xc4, // 3a: jmp 0
];

#[test]
fn a_receiver_is_kept_where_all_ways_have_stored_it() {
    let jne = AT(0x1f);
    assert!(keeps_receiver(amd64(RECEIVING), jne));
    // Before the store, and where no instruction begins.
    assert!(!keeps_receiver(amd64(RECEIVING), AT(0x12)));
    assert!(!keeps_receiver(amd64(RECEIVING), AT(0x20)));
    let with = |at: usize, bytes: &[u8]| {
        let mut code = RECEIVING.to_vec();
        code[at..at + bytes.len()].copy_from_slice(bytes);
        keeps_receiver(amd64(&code), jne)
    };
    // One of the ways skips the store: je 0x17.
    assert!(!with(0xf, &[0x07]));
    // One overwrites the register before it: xor %eax,%eax.
    assert!(!with(0x10, &[0x31, 0xc0]));
    // Another register, and another place.
    assert!(!with(0x12, &[0x48, 0x89, 0x5c, 0x24, 0x20]));
    assert!(!with(0x12, &[0x48, 0x89, 0x44, 0x24, 0x18]));
    assert!(!keeps_receiver(arm64(&words(&[0xf900_07e0, 0xd65f_03c0])), AT(4)));
    // Another argument: %rbx in place of %rax, and %rax no more.
    let mut other = RECEIVING.to_vec();
    other[0x12..0x17].copy_from_slice(&[0x48, 0x89, 0x5c, 0x24, 0x28]);
    assert!(keeps_argument(amd64(&other), jne, IntegerRegister(1), 16));
    assert!(!keeps_argument(amd64(&other), jne, IntegerRegister(1), 8));
    assert!(!keeps_argument(amd64(&other), jne, IntegerRegister(0), 16));
    // What is written over it later: mov %rbx,0x20(%rsp) in place of the test and its branch.
    assert!(!keeps_receiver(
        amd64(&[&RECEIVING[..0x1c], &[0x48, 0x89, 0x5c, 0x24, 0x20], &RECEIVING[0x21..]].concat()),
        AT(0x21)
    ));
}

#[test]
fn amd64_entry_is_refused_when_a_branch_leads_between_symbol_and_push() {
    for (target, displacement) in [(6, 0xd9), (4, 0xd7)] {
        let mut bytes = ORDINARY.to_vec();
        bytes[0x2c] = displacement;
        let refused = entry(amd64(&bytes), &[]).unwrap_err();
        assert_eq!(refused, SiteError::BranchInto { target: AT(target), from: AT(0x2b) });
    }
    // jmp entry+7, behind the push, is no obstacle.
    let mut bytes = ORDINARY.to_vec();
    bytes[0x2c] = 0xda;
    assert_eq!(entry(amd64(&bytes), &[]).unwrap().address, AT(6));
}

#[test]
fn amd64_entry_without_stack_check() {
    // push %rbp; mov %rsp,%rbp; pop %rbp; ret
    let site = entry(amd64(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]), &[]).unwrap();
    assert_eq!((site.address, site.reason), (ENTRY, Reason::PushAtEntry));
    // test %rax,%rax; je +1; nop; ret
    let leaf = [0x48, 0x85, 0xc0, 0x74, 1, 0x90, 0xc3];
    let site = entry(amd64(&leaf), &[IntegerRegister(0)]).unwrap();
    assert_eq!((site.address, site.reason, site.price), (AT(3), Reason::FirstEmulated, Price::Emulated));
    // mov (%rax),%rax; test %rax,%rax; je +1; nop; ret: rax is overwritten, rbx is not.
    let leaf = [0x48, 0x8b, 0, 0x48, 0x85, 0xc0, 0x74, 1, 0x90, 0xc3];
    let site = entry(amd64(&leaf), &[IntegerRegister(0)]).unwrap();
    assert_eq!((site.address, site.reason, site.price), (ENTRY, Reason::FirstInstruction, Price::Stepped));
    assert_eq!(entry(amd64(&leaf), &[IntegerRegister(1)]).unwrap().address, AT(6));
    // sub $8,%rsp; nop; add $8,%rsp; ret
    let site = entry(amd64(&[0x48, 0x83, 0xec, 8, 0x90, 0x48, 0x83, 0xc4, 8, 0xc3]), &[]).unwrap();
    assert_eq!((site.address, site.stack_delta), (AT(4), Some(-8)));
    // mov %rax,0x8(%rsp); nop; ret: only stack arguments mind.
    let spill = [0x48, 0x89, 0x44, 0x24, 8, 0x90, 0xc3];
    assert_eq!(entry(amd64(&spill), &[IntegerRegister(0)]).unwrap().address, AT(5));
    assert_eq!(entry(amd64(&spill), &[Stack(8)]).unwrap().reason, Reason::FirstInstruction);
}

#[test]
fn amd64_entry_without_stack_check_is_refused_in_doubt() {
    // A loop that begins at the entry: dec %rax; jne entry; ret
    let refused = entry(amd64(&[0x48, 0xff, 0xc8, 0x75, 0xfb, 0xc3]), &[]).unwrap_err();
    assert_eq!(refused, SiteError::BranchInto { target: ENTRY, from: AT(3) });
    // A loop that begins at the emulated instruction: xor %eax,%eax; jne entry+2; ret
    let site = entry(amd64(&[0x31, 0xc0, 0x75, 0xfe, 0xc3]), &[]).unwrap();
    assert_eq!((site.address, site.price), (ENTRY, Price::Stepped));
    // test %rax,%rax; je +2; jmp *%rdx; ret
    let refused = entry(amd64(&[0x48, 0x85, 0xc0, 0x74, 2, 0xff, 0xe2, 0xc3]), &[]).unwrap_err();
    assert_eq!(refused, SiteError::IndirectJump { from: AT(5) });
    // nopl (%rax); mov (%rax),%rax; ret: the fallback itself is refused by `Step`.
    let refused = entry(amd64(&[0x0f, 0x1f, 0, 0x48, 0x8b, 0, 0xc3]), &[IntegerRegister(0)]).unwrap_err();
    assert_eq!(refused, SiteError::Refused { address: ENTRY, refusal: Refusal::MultiByteNop });
    assert_eq!(entry(amd64(&[]), &[]).unwrap_err(), SiteError::Empty { entry: ENTRY });
    assert!(matches!(entry(amd64(&[0x55, 0x06]), &[]), Err(SiteError::Decode(_))));
    // A stack check without a frame: cmp; jbe +1; ret; jmp entry: the instruction behind it, once per call.
    let site = entry(amd64(&[0x49, 0x3b, 0x66, 0x10, 0x76, 1, 0xc3, 0xeb, 0xf7]), &[]).unwrap();
    assert_eq!((site.address, site.price), (AT(6), Price::Stepped));
}

#[test]
fn amd64_returns_calls_and_stack_movement() {
    let all = returns(amd64(ORDINARY)).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].address, all[0].price, all[0].stack_delta), (AT(0x1d), Price::Stepped, Some(0)));
    let all = calls_to(amd64(ORDINARY), CALLEE).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].address, all[0].price, all[0].stack_delta), (AT(0xe), Price::Emulated, Some(-0x18)));
    assert_eq!(calls_to(amd64(ORDINARY), ENTRY).unwrap(), []);
    // A call that never returns stands before the growth code: it must not disturb what is known.
    let mut bytes = ORDINARY.to_vec();
    bytes[0x1e..0x26].copy_from_slice(&[0xe8, 0xdd, 0x0f, 0, 0, 0x0f, 0x1f, 0]);
    let all = calls_to(amd64(&bytes), CALLEE).unwrap();
    assert_eq!(all.iter().map(|site| site.stack_delta).collect::<Vec<_>>(), [Some(-0x18), Some(-0x18)]);
    let growth = calls_to(amd64(&bytes), VirtualAddress(0x40_3000)).unwrap();
    assert_eq!((growth[0].address, growth[0].stack_delta), (AT(0x26), Some(0)));
    // and $-16,%rsp; call callee: not provable.
    let all = calls_to(amd64(&[0x48, 0x83, 0xe4, 0xf0, 0xe8, 0xf7, 0x0f, 0, 0, 0xc3]), CALLEE).unwrap();
    assert_eq!((all[0].address, all[0].stack_delta), (AT(4), None));
    // Paths of different depth meet: test; je +1; push %rax; call; ret
    let all =
        calls_to(amd64(&[0x48, 0x85, 0xc0, 0x74, 1, 0x50, 0xe8, 0xf5, 0x0f, 0, 0, 0xc3]), CALLEE).unwrap();
    assert_eq!(all[0].stack_delta, None);
    // push %rbp; jmp *%rax; call; pop %rbp; ret: a jump table's block has the depth of its jump.
    let all = calls_to(amd64(&[0x55, 0xff, 0xe0, 0xe8, 0xf8, 0x0f, 0, 0, 0x5d, 0xc3]), CALLEE).unwrap();
    assert_eq!(all[0].stack_delta, Some(-8));
    // jmp to another function
    let refused = returns(amd64(&[0x48, 0x85, 0xc0, 0x74, 1, 0xc3, 0xe9, 0, 0, 1, 0])).unwrap_err();
    assert_eq!(refused, SiteError::TailCall { from: AT(6) });
    // push %rbp; jmp *%rax; pop %rbp; ret: a jump table. Without the frame it may be a wrapper's call.
    assert_eq!(returns(amd64(&[0x55, 0xff, 0xe0, 0x5d, 0xc3])).unwrap().len(), 1);
    let refused = returns(amd64(&[0x48, 0x85, 0xc0, 0x74, 2, 0xff, 0xe0, 0xc3])).unwrap_err();
    assert_eq!(refused, SiteError::TailCall { from: AT(5) });
}

#[test]
fn amd64_after_call() {
    let code = amd64(ORDINARY);
    let keep = [IntegerRegister(0), IntegerRegister(1)];
    let site = after_call(code, AT(0xe), &keep).unwrap();
    assert_eq!((site.address, site.text.as_str()), (AT(0x16), "jne 0x40101e"));
    assert_eq!((site.price, site.reason), (Price::Emulated, Reason::AfterCall { shared: false }));
    assert_eq!(site.stack_delta, Some(-0x18));
    assert_eq!(after_call(code, AT(0xf), &keep).unwrap_err(), SiteError::NotACall { address: AT(0xf) });
    assert_eq!(after_call(code, AT(0x13), &keep).unwrap_err(), SiteError::NotACall { address: AT(0x13) });

    let call = [0xe8, 0xfb, 0x0f, 0, 0];
    let after =
        |rest: &[u8], keep: &[Place]| after_call(amd64(&[call.as_slice(), rest].concat()), ENTRY, keep);
    // nopl; mov %rax,0x20(%rsp); nop
    let passes = [0x0f, 0x1f, 0, 0x48, 0x89, 0x44, 0x24, 0x20, 0x90, 0xc3];
    assert_eq!(after(&passes, &keep).unwrap().address, AT(13));
    // The store lies at the callee's 0x28(%rsp).
    assert_eq!(after(&passes, &[Stack(0x20)]).unwrap().address, AT(13));
    assert_eq!(after(&passes, &[Stack(0x30)]).unwrap().address, AT(13));
    for offset in [0x21, 0x28, 0x2f] {
        let refused = after(&passes, &[Stack(offset)]).unwrap_err();
        assert_eq!(refused, SiteError::Overwritten { address: AT(8), place: Stack(offset) });
    }
    // mov (%rcx),%rbx
    let refused = after(&[0x48, 0x8b, 0x19, 0x90, 0xc3], &keep).unwrap_err();
    assert_eq!(refused, SiteError::Overwritten { address: AT(5), place: IntegerRegister(1) });
    // add $8,%rsp; ret
    let refused = after(&[0x48, 0x83, 0xc4, 8, 0xc3], &keep).unwrap_err();
    assert_eq!(refused, SiteError::PathEnds { address: AT(9) });
    // call *%rax
    assert_eq!(after(&[0xff, 0xd0, 0x90], &keep).unwrap_err(), SiteError::PathEnds { address: AT(5) });
    // call rel32 is emulated itself.
    assert_eq!(after(&[0xe8, 0, 0, 0, 0], &keep).unwrap().address, AT(5));
    // jmp over 8 bytes is refused as a site, and followed; the second jump leads there too.
    let jump = [0xeb, 8, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0x90, 0xc3];
    let site = after(&jump, &keep).unwrap();
    assert_eq!((site.address, site.reason), (AT(15), Reason::AfterCall { shared: false }));
    let site = after(&[jump.as_slice(), &[0xeb, 0xfc]].concat(), &keep).unwrap();
    assert_eq!((site.address, site.reason), (AT(15), Reason::AfterCall { shared: true }));
    // A ring of such jumps ends.
    let ring = [0xeb, 8, 0xe8, 0, 0, 0, 0, 0x66, 0xeb, 0xf5, 0xeb, 8];
    assert!(after(&ring, &keep).is_err());
}

#[test]
fn indirect_calls_name_their_return_address() {
    // call *%rcx; nop; call *0x18(%rax); ret
    let all = indirect_calls(amd64(&[0xff, 0xd1, 0x90, 0xff, 0x50, 0x18, 0xc3])).unwrap();
    let places: Vec<_> = all.iter().map(|call| (call.address, call.return_address)).collect();
    assert_eq!(places, [(AT(0), AT(2)), (AT(3), AT(6))]);
    let bytes = words(&[0xd63f_0060, 0xd503_201f, 0xd65f_03c0]);
    let all = indirect_calls(arm64(&bytes)).unwrap();
    assert_eq!((all[0].return_address, all[0].text.as_str()), (AT(4), "blr x3"));
}

const GUARD: u32 = 0xf940_0b90; // ldr x16, [x28, #16]
const COMPARE: u32 = 0xeb30_63ff; // cmp sp, x16
const FRAME: u32 = 0xf81e_0ffe; // str x30, [sp, #-32]!
const RET: u32 = 0xd65f_03c0;
const NOP: u32 = 0xd503_201f;

/// `b.ls` over so many words.
fn b_ls(words: u32) -> u32 {
    0x5400_0009 | words << 5
}

/// `b` back over so many words.
fn b_back(words: u32) -> u32 {
    0x1400_0000 | (words.wrapping_neg() & 0x03ff_ffff)
}

#[test]
fn arm64_entry_is_the_branch_of_each_form_of_the_stack_check() {
    let checks: &[&[u32]] = &[
        &[GUARD, COMPARE],
        // sub x17, sp, #0x100; cmp x17, x16
        &[GUARD, 0xd104_03f1, 0xeb10_023f],
        // mov x27, #0x4000; subs x17, sp, x27; b.lo +4; cmp x17, x16
        &[GUARD, 0xd288_001b, 0xeb3b_63f1, 0x5400_0083, 0xeb10_023f],
    ];
    for check in checks {
        let back = b_back(u32::try_from(check.len()).unwrap() + 3);
        let bytes = words(&[*check, &[b_ls(3), FRAME, RET, back]].concat());
        let site = entry(arm64(&bytes), &[IntegerRegister(0), Place::ClosureContext]).unwrap();
        assert_eq!(site.address, AT(4 * check.len() as u64));
        assert_eq!((site.price, site.reason), (Price::Emulated, Reason::StackCheckBranch));
        assert_eq!((site.stack_delta, site.condition), (Some(0), Some(Condition::UnsignedHigher)));
        assert!(site.text.starts_with("b.ls "));
    }
    // The growth must be ahead, and nothing may lead into the check.
    let bytes = words(&[GUARD, COMPARE, b_ls(3), FRAME, RET, b_back(4)]);
    let refused = entry(arm64(&bytes), &[]).unwrap_err();
    assert_eq!(refused, SiteError::BranchInto { target: AT(4), from: AT(20) });
}

#[test]
fn the_condition_is_that_of_an_untaken_branch() {
    const CARRY: u64 = 1 << 29;
    const ZERO: u64 = 1 << 30;
    let holds = |state| Condition::UnsignedHigher.holds(state);
    assert!(holds(CARRY) && holds(CARRY | 1 << 31 | 1 << 28 | 0x3c5));
    assert!(!holds(0) && !holds(ZERO) && !holds(CARRY | ZERO));
}

#[test]
fn arm64_entry_without_stack_check() {
    // str x30, [sp, #-32]!; stur x29, [sp, #-8]; sub x29, sp, #8; cbz x0, +2
    let bytes = words(&[FRAME, 0xf81f_83fd, 0xd100_23fd, 0xb400_0040, NOP, RET]);
    let site = entry(arm64(&bytes), &[IntegerRegister(0)]).unwrap();
    assert_eq!((site.address, site.reason, site.stack_delta), (AT(12), Reason::FirstEmulated, Some(-32)));
    // ldr x0, [x0]; ret
    let bytes = words(&[0xf940_0000, RET]);
    let site = entry(arm64(&bytes), &[IntegerRegister(0)]).unwrap();
    assert_eq!((site.address, site.price, site.reason), (ENTRY, Price::Stepped, Reason::FirstInstruction));
    assert_eq!(entry(arm64(&bytes), &[IntegerRegister(1)]).unwrap().address, AT(4));
    // An atomic sequence is never entered: 1: ldaxr x3, [x0]; cbnz x3, 1b; ret
    let bytes = words(&[NOP, 0xc85f_fc03, 0xb5ff_ffe3, RET]);
    assert_eq!(entry(arm64(&bytes), &[]).unwrap().address, ENTRY);
    let bytes = words(&[0xc85f_fc03, 0xb500_0003, RET]);
    let refused = entry(arm64(&bytes), &[]).unwrap_err();
    assert_eq!(refused, SiteError::Refused { address: ENTRY, refusal: Refusal::Exclusive });
    // The link register names the caller: mov x30, x1; ret
    let bytes = words(&[0xaa01_03fe, RET]);
    assert_eq!(entry(arm64(&bytes), &[]).unwrap().address, ENTRY);
}

#[test]
fn arm64_returns_calls_and_after_call() {
    // A large frame: sub x20, sp, #0x110; stp x29, x30, [x20, #-8]; mov sp, x20; sub x29, sp, #8; bl callee;
    // str x0, [sp, #8]; cbnz x1, +2; nop; ldr x30, [sp]; add sp, sp, #0x110; ret
    let bytes = words(&[
        0xd104_43f4,
        0xa93f_fa9d,
        0x9100_029f,
        0xd100_23fd,
        0x9400_03fc,
        0xf900_07e0,
        0xb500_0041,
        NOP,
        0xf940_03fe,
        0x9104_43ff,
        RET,
    ]);
    let code = arm64(&bytes);
    let all = calls_to(code, CALLEE).unwrap();
    assert_eq!((all[0].address, all[0].stack_delta), (AT(16), Some(-0x110)));
    let all = returns(code).unwrap();
    assert_eq!((all[0].address, all[0].price, all[0].stack_delta), (AT(40), Price::Emulated, Some(0)));
    let site = after_call(code, AT(16), &[IntegerRegister(0), IntegerRegister(1), Stack(16)]).unwrap();
    assert_eq!((site.address, site.stack_delta), (AT(24), Some(-0x110)));
    let refused = after_call(code, AT(16), &[Stack(8)]).unwrap_err();
    assert_eq!(refused, SiteError::Overwritten { address: AT(20), place: Stack(8) });
    // bl; ldaxr
    let bytes = words(&[0x9400_0400, 0xc85f_fc03, 0xb500_0003, RET]);
    let refused = after_call(arm64(&bytes), ENTRY, &[]).unwrap_err();
    assert_eq!(refused, SiteError::Refused { address: AT(4), refusal: Refusal::Exclusive });
}

/// ldr x0, +8; ret; then 8 bytes that look like `bl callee; ret`.
#[test]
fn arm64_constants_are_no_code() {
    let bytes = words(&[0x5800_0040, RET, 0x9400_03fe, RET]);
    assert_eq!(calls_to(arm64(&bytes), CALLEE).unwrap(), []);
    assert_eq!(returns(arm64(&bytes)).unwrap().len(), 1);
    let bytes = words(&[NOP, RET, 0x9400_03fe, RET]);
    assert_eq!(calls_to(arm64(&bytes), CALLEE).unwrap().len(), 1, "without the load it would be code");
}

#[test]
fn damaged_code_never_panics() {
    let arm =
        words(&[GUARD, COMPARE, b_ls(6), FRAME, 0x9400_03fc, 0xb500_0041, NOP, 0xf842_07fe, RET, b_back(9)]);
    for (code, calls) in [(amd64(ORDINARY), 0xe), (arm64(&arm), 16)] {
        let plan = |bytes: &[u8]| {
            let code = Code { bytes, ..code };
            let sites = [
                entry(code, &[IntegerRegister(0)]),
                after_call(code, AT(calls), &[IntegerRegister(0), Stack(8)]),
            ];
            let lists = [returns(code), calls_to(code, CALLEE)];
            _ = indirect_calls(code);
            for site in sites.into_iter().flatten().chain(lists.into_iter().flatten().flatten()) {
                let offset = usize::try_from(site.address.0 - ENTRY.0).unwrap();
                assert_eq!(bytes[offset..offset + site.bytes.len()], site.bytes);
            }
        };
        for length in 0..=code.bytes.len() {
            plan(&code.bytes[..length]);
        }
        for position in 0..code.bytes.len() {
            for value in 0..=255 {
                let mut bytes = code.bytes.to_vec();
                bytes[position] = value;
                plan(&bytes);
            }
        }
    }
}
