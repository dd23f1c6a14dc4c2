use crate::go_abi::Place;
use crate::site::{Code, IndirectCall, SiteError, after_return, indirect_calls};
use crate::{Architecture, VirtualAddress};

const ENTRY: VirtualAddress = VirtualAddress(0x40_1000);
const RESULTS: [Place; 3] = [Place::IntegerRegister(0), Place::IntegerRegister(1), Place::IntegerRegister(2)];

/// `mov 0x18(%rdx),%rdx; mov 0x200(%rsp),%rax; mov 0xe8(%rsp),%rbx; call *%rdx; mov %rax,0x178(%rsp); test %rbx,%rbx;
/// jne 0x401026; ret; ret`: how net/http.send of Go 1.24 calls RoundTrip.
const SEND: &[u8] = &[
    0x48, 0x8b, 0x52, 0x18, // 0
    0x48, 0x8b, 0x84, 0x24, 0, 2, 0, 0, // 4
    0x48, 0x8b, 0x9c, 0x24, 0xe8, 0, 0, 0, // c
    0xff, 0xd2, // 14
    0x48, 0x89, 0x84, 0x24, 0x78, 1, 0, 0, // 16
    0x48, 0x85, 0xdb, // 1e
    0x75, 0x01, // 21
    0xc3, 0xc3, // 23
];

fn amd64(bytes: &[u8]) -> Code<'_> {
    Code { architecture: Architecture::X86_64, entry: ENTRY, bytes }
}

fn only_call(code: Code<'_>) -> IndirectCall {
    let mut calls = indirect_calls(code).unwrap();
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

#[test]
fn the_method_and_its_arguments_show_before_the_call() {
    let call = only_call(amd64(SEND));
    assert_eq!((call.itab_offset, call.arguments), (Some(0x18), 0b11));
    assert_eq!((call.address.0, call.return_address.0), (0x40_1014, 0x40_1016));
    // `call *0x18(%rcx)`.
    assert_eq!(only_call(amd64(&[0xff, 0x51, 0x18, 0xc3])).itab_offset, Some(0x18));
    // A closure: `mov (%rdx),%rcx; call *%rcx`.
    let closure = only_call(amd64(&[0x48, 0x8b, 0x0a, 0xff, 0xd1, 0xc3]));
    assert_eq!((closure.itab_offset, closure.arguments), (Some(0), 0));
    // The callee's own register is no argument: `mov 0x18(%rbx),%rbx; call *%rbx`.
    let close = only_call(amd64(&[0x48, 0x8b, 0x5b, 0x18, 0xff, 0xd3, 0xc3]));
    assert_eq!((close.itab_offset, close.arguments), (Some(0x18), 0));
    // It may come by way of another register: `mov 0x40(%rcx),%rcx; mov %rcx,%rdx; mov (%rsp),%rcx; call *%rdx`.
    let bytes = [0x48, 0x8b, 0x49, 0x40, 0x48, 0x89, 0xca, 0x48, 0x8b, 0x0c, 0x24, 0xff, 0xd2, 0xc3];
    let moved = only_call(amd64(&bytes));
    assert_eq!((moved.itab_offset, moved.arguments), (Some(0x40), 0b100));
    // Indexed, it is a table and no interface: `mov 0x18(%rdx,%rcx,8),%rdx; call *%rdx`.
    assert_eq!(only_call(amd64(&[0x48, 0x8b, 0x54, 0xca, 0x18, 0xff, 0xd2, 0xc3])).itab_offset, None);
}

#[test]
fn what_lies_on_another_way_to_the_call_does_not_count() {
    // `jne` to the move of the second argument: the callee may have been loaded elsewhere.
    let into = [&[0x75, 0x0c], SEND].concat();
    let call = only_call(amd64(&into));
    assert_eq!((call.itab_offset, call.arguments), (None, 0b10));
}

#[test]
fn arm64_calls_look_alike() {
    // ldr x6, [x6, #24]; ldr x0, [sp, #520]; ldr x1, [sp, #240]; blr x6; cbnz x1, +8; ret; ret
    let code =
        [0xf940_0cc6, 0xf941_07e0, 0xf940_7be1, 0xd63f_00c0, 0xb500_0041, 0xd65f_03c0, 0xd65f_03c0_u32];
    let bytes: Vec<_> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let code = Code { architecture: Architecture::Aarch64, entry: ENTRY, bytes: &bytes };
    let call = only_call(code);
    assert_eq!((call.itab_offset, call.arguments), (Some(24), 0b11));
    // By way of another register: ldr x2, [x2, #64]; mov x0, x3; mov x9, x2; ldr x2, [sp, #304]; blr x9; ret.
    // A move of 32 bits, mov w9, w2, or an orr of two registers, orr x9, x1, x2, is none.
    for (moves, offset) in [(0xaa02_03e9, Some(64)), (0x2a02_03e9, None), (0xaa02_0029, None)] {
        let code = [0xf940_2042, 0xaa03_03e0, moves, 0xf940_9be2, 0xd63f_0120, 0xd65f_03c0_u32];
        let bytes: Vec<_> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let moved = only_call(Code { architecture: Architecture::Aarch64, entry: ENTRY, bytes: &bytes });
        assert_eq!((moved.itab_offset, moved.arguments), (offset, 0b101));
    }
    assert_eq!(after_return(code, call.return_address, &RESULTS).unwrap().address.0, 0x40_1010);
}

#[test]
fn a_return_address_tells_the_call() {
    let code = amd64(SEND);
    let site = after_return(code, VirtualAddress(0x40_1016), &RESULTS).unwrap();
    assert_eq!((site.address.0, site.text.as_str()), (0x40_1021, "jne 0x401024"));
    for wrong in [0x40_1000, 0x40_1014, 0x40_1015, 0x40_1017, 0x40_1025, 0, u64::MAX] {
        let error = after_return(code, VirtualAddress(wrong), &RESULTS).unwrap_err();
        assert_eq!(error, SiteError::NotAReturnAddress { address: VirtualAddress(wrong) });
    }
}
