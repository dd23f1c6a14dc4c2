#!/bin/bash
# Fuzzes one target of tests/fuzz/ with libFuzzer for a bounded time.
# Usage: scripts/fuzz.sh TARGET SECONDS
#        scripts/fuzz.sh build            builds all targets, and runs none
#
# It runs on the pinned stable toolchain: coverage counters are an LLVM pass that rustc can be asked for, and without
# unsafe code an address sanitizer, which needs a nightly flag, would have nothing to find. Memory per input is bounded
# to 512 MB and time to 10 s. Inputs that break a promise are left in tests/fuzz/artifacts/TARGET/; the corpus grows in
# tests/fuzz/corpus/TARGET/. A target that takes whole files starts better with
# `scripts/kit.sh fuzz-seeds tests/fuzz/corpus/TARGET`; for `recording` that takes one more word,
# `recording`.
# It starts anywhere; FUZZ_SEED says from which number on, to go the same way again.
set -euo pipefail
[ "$*" = build ] || [ $# -eq 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "$(realpath "$0")")/../tests/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$argument"
done
# An explicit target keeps the flags away from build scripts, which have no fuzzer to link with.
export RUSTFLAGS=$flags
build=(cargo build --quiet --locked --release --target "$host")
[ $# -eq 2 ] || exec "${build[@]}" --bins
target=$1 seconds=$2
"${build[@]}" --bin "$target"
mkdir -p "corpus/$target" "artifacts/$target"
exec "target/$host/release/$target" -max_total_time="$seconds" \
    -seed="${FUZZ_SEED:-0}" -timeout=10 -rss_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" "corpus/$target"
