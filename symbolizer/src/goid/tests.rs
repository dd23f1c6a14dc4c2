use super::*;

const ENTRY: VirtualAddress = VirtualAddress(0x40_0000);

fn find(architecture: Architecture, bytes: &[u8], goidcache: u64) -> Option<u64> {
    goidgen(Code { architecture, entry: ENTRY, bytes }, goidcache).map(|found| found.0)
}

/// `mov $amount,%r9d; lea 0x1000(%rip),%r10; lock xadd %r9,(%r10); lea 1(%r9),%r10; mov %r10,0x178(%rdi)`, as Go 1.24 has
/// it.
fn addition(amount: u8) -> Vec<u8> {
    let mut code = vec![0x41, 0xb9, amount, 0, 0, 0, 0x4c, 0x8d, 0x15, 0, 0x10, 0, 0];
    code.extend([0xf0, 0x4d, 0x0f, 0xc1, 0x0a, 0x4d, 0x8d, 0x51, 0x01]);
    code.extend([0x4c, 0x89, 0x97, 0x78, 0x01, 0, 0]);
    code
}

#[test]
fn x86_64_adds_with_lock_xadd() {
    let code = addition(16);
    assert_eq!(find(Architecture::X86_64, &code, 0x178), Some(0x40_100d));
    assert_eq!(find(Architecture::X86_64, &code, 0x180), None, "another field is set");
    assert_eq!(find(Architecture::X86_64, &addition(1), 0x178), None, "another amount is added");
    let twice = [addition(16), addition(16)].concat();
    assert_eq!(find(Architecture::X86_64, &twice, 0x178), None, "two different counters");
    // `xor %r10d,%r10d` before the addition.
    let overwritten = [&code[..13], &[0x45, 0x31, 0xd2], &code[13..]].concat();
    assert_eq!(find(Architecture::X86_64, &overwritten, 0x178), None, "the address is another one");
    // The same without the lock prefix.
    let unlocked = [&code[..13], &code[14..]].concat();
    assert_eq!(find(Architecture::X86_64, &unlocked, 0x178), None, "no atomic addition");
    let far = [&code[..22], &[0x90; DISTANCE], &code[22..]].concat();
    assert_eq!(find(Architecture::X86_64, &far, 0x178), None, "the field is set for another reason");
}

#[test]
fn x86_64_without_optimisation_calls_a_function() {
    // `lea 0x1000(%rip),%rax; mov $16,%ebx; call +0; lea -15(%rax),%rcx; mov %rcx,0x180(%rdx)`.
    let mut code = vec![0x48, 0x8d, 0x05, 0, 0x10, 0, 0, 0xbb, 0x10, 0, 0, 0, 0xe8, 0, 0, 0, 0];
    code.extend([0x48, 0x8d, 0x48, 0xf1, 0x48, 0x89, 0x8a, 0x80, 0x01, 0, 0]);
    assert_eq!(find(Architecture::X86_64, &code, 0x180), Some(0x40_1007));
}

#[test]
fn arm64_adds_with_ldaddal() {
    const CODE: [u32; 8] = [
        0xb27c_03e8, // orr x8, xzr, #16
        0x9000_3209, // adrp x9, 0x640000 pages on
        0x9103_8129, // add x9, x9, #224
        0xf8e8_012a, // ldaddal x8, x10, [x9]
        0x8b08_014a, // add x10, x10, x8
        0xd100_3d48, // sub x8, x10, #15
        0x9100_0549, // add x9, x10, #1
        0xa918_2428, // stp x8, x9, [x1, #384]
    ];
    let bytes = |code: &[u32]| code.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    assert_eq!(find(Architecture::Aarch64, &bytes(&CODE), 384), Some(0x40_0000 + 0x64_0000 + 224));
    assert_eq!(find(Architecture::Aarch64, &bytes(&CODE), 392), None, "another field is set");
    let mut other = CODE;
    other[0] = 0xb240_03e8; // orr x8, xzr, #1
    assert_eq!(find(Architecture::Aarch64, &bytes(&other), 384), None, "another amount is added");
    // Three quarters of an instruction, and no code at all.
    assert_eq!(find(Architecture::Aarch64, &bytes(&CODE)[..31], 384), None);
    assert_eq!(find(Architecture::Aarch64, &[], 384), None);
}
