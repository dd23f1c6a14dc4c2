//! Sets `cfg(bpf_target_arch)`, the architecture of the kernel that will run the programs.

fn main() -> aya_build::Result<()> {
    aya_build::emit_bpf_target_arch_cfg()
}
