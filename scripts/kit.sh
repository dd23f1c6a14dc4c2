#!/usr/bin/env bash
# kit.sh PROGRAM [WORD…]: runs a program of the test kit (tests/src/bin), built as `make test` builds it. For `cargo run --package`
# Cargo chooses other features of what many packages share, and compiles most of it once more.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
# A test program takes all programs of its package, and this is the smallest.
cargo test --quiet --workspace --no-run --test harness
exec "target/debug/$1" "${@:2}"
