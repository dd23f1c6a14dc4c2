#!/usr/bin/env bash
# fuzz-briefly.sh [SECONDS]: runs each fuzz target for a moment, 10 s if not said otherwise, and shows what broke.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
seconds=${1:-10}
# Whole files are too much to be guessed within seconds: without these a fuzzer does not get past their first bytes.
seeds=(scripts/kit.sh fuzz-seeds)
quietly "${seeds[@]}" tests/fuzz/corpus/binary
quietly "${seeds[@]}" tests/fuzz/corpus/recording recording
# The same way each time: to look elsewhere is for whoever has the time to look at what is found.
[ "${LIGHTFOOT_TEST_ALL:-}" = 1 ] || export FUZZ_SEED=1
for target in source site binary recording config import cgroups; do
    say "fuzzing $target for $seconds s (the first time it compiles for some minutes)"
    quietly scripts/fuzz.sh "$target" "$seconds"
done
