#!/usr/bin/env bash
# bill.sh MACHINE FOLDER: writes of what the static build for that machine is made `bill.cdx.json` (CycloneDX 1.5), and `licences.txt`
# with the text of each licence, into the folder. The same commit gives the same bytes.
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
{
    cargo metadata --quiet --format-version 1 --locked --manifest-path "$copy/Cargo.toml"
    cargo metadata --quiet --format-version 1 --locked --manifest-path "$copy/probes/ebpf/Cargo.toml"
} | python3 scripts/bill.py "$copy" "$2"
