#!/usr/bin/env bash
# dist.sh [MACHINE…]: builds the agent for each machine (x86_64 and aarch64 if none is named) as one static file,
# `dist/lightfoot-MACHINE`, and writes beside it what scripts/bill.sh says of that.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# Panics name source files; where they lie on the building machine is nobody's business, and makes no difference.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustup run "$toolchain" rustc --print sysroot)
flags="--remap-path-prefix=$root=/lightfoot --remap-path-prefix=$cargo_home/registry/src=/registry \
--remap-path-prefix=$sysroot=/rust"

[ $# -gt 0 ] || read -ra machines <<<"$MACHINES"
[ $# = 0 ] || machines=("$@")
mkdir -p dist
settings=()
targets=()
for machine in "${machines[@]}"; do
    target=$machine-unknown-linux-musl
    # Rust brings musl and a linker; only C takes a compiler for that machine.
    variable=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")
    settings+=("CC_$target=$root/scripts/zig-cc.sh" "${variable}_LINKER=rust-lld" "${variable}_RUSTFLAGS=$flags")
    targets+=(--target "$target")
    say "building dist/lightfoot-$machine"
done
# At once: what is optimized as a whole takes one processor each, for minutes.
env "${settings[@]}" cargo build --quiet --locked --profile dist --package lightfoot "${targets[@]}"
for machine in "${machines[@]}"; do
    install "target/$machine-unknown-linux-musl/dist/lightfoot" "dist/lightfoot-$machine"
    scripts/bill.sh "$machine" dist
done
