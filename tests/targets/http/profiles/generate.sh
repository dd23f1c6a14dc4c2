#!/bin/bash
# Makes the profile of the http program for one Go version: profiles/goMINOR.pprof beside this script.
# Usage: generate.sh GO   (GO: the go command of that version)
#
# The compiler weighs only the innermost call of each sample, and finishRequest itself takes no time: its callees do. So
# the samples of a bounded load on loopback are cut to the callers and callees that are to be inlined; a service whose
# profile has a few lucky samples builds the same way. Call sites are lines relative to the caller, so each Go version
# needs its own profile. The result is committed after this script has checked what it does.
set -euo pipefail
go=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
version=$(GOTOOLCHAIN=local "$go" env GOVERSION | sed -E 's/^go(1\.[0-9]+).*/\1/')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0
sed "s/^go 1.*/go $version/" "$here/../go.mod" > "$work/go.mod"
cd "$here/.."
"$go" build -trimpath -modfile="$work/go.mod" -o "$work/http" .
"$work/http" -requests 50000 -cpu-profile "$work/profile" > "$work/addresses"
frames='\(\*conn\)\.serve|\(\*response\)\.finishRequest|\(\*Client\)\.send|send|\(\*Request\)\.write|\(\*transferWriter\)\.writeHeader'
"$go" tool pprof -proto -show="^net/http\.($frames)\$" -output "$work/cut" "$work/http" "$work/profile"
"$go" build -trimpath -modfile="$work/go.mod" -pgo="$work/cut" -o "$work/guided" .
"$go" tool objdump -s '^net/http\.\(\*conn\)\.serve$' "$work/guided" > "$work/serve"
if ! grep -q 'CALL net/http.serverHandler.ServeHTTP' "$work/serve" ||
    grep -q 'CALL net/http.(\*response).finishRequest' "$work/serve"; then
    echo "(*conn).serve still calls finishRequest" >&2
    exit 1
fi
install -m644 "$work/cut" "$here/go$version.pprof"
ls -l "$here/go$version.pprof"
