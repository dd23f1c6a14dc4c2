#!/usr/bin/env bash
# bill.sh MACHINE FOLDER: writes of what the static build for that machine is made `lightfoot-MACHINE.cdx.json` (CycloneDX 1.5), and
# `lightfoot-MACHINE.licences.txt` with the text of each licence, into the folder. The same commit gives the same bytes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 2 ] || fail "usage: scripts/bill.sh MACHINE FOLDER"
cd "$root"

# The tool writes beside each Cargo.toml, and tells where that lies.
copy=$(mktemp -d)
trap 'rm -r "$copy"' EXIT
git ls-files --cached --others --exclude-standard -z -- '*.rs' '*Cargo.toml' '*Cargo.lock' |
    tar --create --null --files-from - | tar --extract --directory "$copy"
SOURCE_DATE_EPOCH=$(built)
export SOURCE_DATE_EPOCH RUSTUP_TOOLCHAIN=$toolchain
list() {
    quietly "$cache/tools/cargo-cyclonedx-$CARGO_CYCLONEDX_VERSION/bin/cargo-cyclonedx" cyclonedx --manifest-path "$copy/$1/Cargo.toml" \
        --target "$2" --format json --spec-version 1.5 --no-build-deps --override-filename bill
}
list agent "$1-unknown-linux-musl"
list probes/ebpf bpfel-unknown-none
# Rust's library, with the features that it has in toolchains; its own settings of Cargo say where its crates lie.
sysroot=$(rustc --print sysroot)
metadata() {
    cargo metadata --quiet --format-version 1 --locked --manifest-path "$@"
}
{
    metadata "$copy/Cargo.toml"
    metadata "$copy/probes/ebpf/Cargo.toml"
    cd "$sysroot/lib/rustlib/src/rust/library"
    RUSTC_BOOTSTRAP=1 metadata std/Cargo.toml --offline --features backtrace,panic-unwind --filter-platform "$1-unknown-linux-musl"
} | python3 -B scripts/bill.py "$copy" "$sysroot" "$cache/tools/ziglang-$ZIG_VERSION/ziglang/lib/libc/musl/COPYRIGHT" "$1" "$2"
