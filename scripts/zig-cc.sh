#!/usr/bin/env bash
# zig-cc.sh ARGUMENT…: compiles C with Zig, for the machine that --target= names as Rust does. Zig's names differ.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Where it keeps what it made: also musl, which it compiles once.
export ZIG_GLOBAL_CACHE_DIR=$cache/zig/global ZIG_LOCAL_CACHE_DIR=$cache/zig/local
arguments=()
for argument in "$@"; do
    case $argument in
        --target=*) arguments+=(--target="$(sed 's/^--target=//; s/-unknown-/-/' <<<"$argument")") ;;
        *) arguments+=("$argument") ;;
    esac
done
exec "$cache/tools/ziglang-$ZIG_VERSION/ziglang/zig" cc "${arguments[@]}" -fno-sanitize=all
