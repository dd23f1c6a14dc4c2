#!/usr/bin/env bash
# check.sh: everything that is checked without running a program of the project. Stops at the first finding.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
tools=$cache/tools

say "formatting"
cargo fmt --all --check
(cd probes/ebpf && cargo fmt --check)
"$tools/taplo-$TAPLO_VERSION/bin/taplo" fmt --check --colors=never

say "spelling"
"$tools/typos-$TYPOS_VERSION/bin/typos"

say "lints"
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
(cd probes/ebpf && RUSTC_BOOTSTRAP=1 cargo clippy --quiet --locked --release --target-dir "$root/target/ebpf-clippy" -- -D warnings)

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items

say "dependencies"
"$tools/cargo-machete-$CARGO_MACHETE_VERSION/bin/cargo-machete" --skip-target-dir .
for manifest in Cargo.toml probes/ebpf/Cargo.toml; do
    "$tools/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny" --manifest-path "$manifest" --locked --log-level error \
        check --config deny.toml --hide-inclusion-graph bans licenses sources
done
