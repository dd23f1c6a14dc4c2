#!/bin/bash
# Builds the benchmark's big binary, a stripped kube-apiserver of about 100 MB, into the cache and prints its path.
# Usage: build.sh [GO]   (GO: a go command of version 1.26; without it scripts/go-toolchain.sh 1.26.6 finds one)
#
# It takes about 500 s of CPU time and 2 GB of memory, and fetches modules. One build at a time; a second caller waits.
set -euo pipefail
kubernetes=1.36.3
here=$(dirname "$(realpath "$0")")
if [ $# -gt 0 ]; then
    go=$(realpath "$1")
elif [ -n "${LIGHTFOOT_GO_1_26:-}" ]; then
    go=$LIGHTFOOT_GO_1_26
else
    go=$("$here/../../../scripts/go-toolchain.sh" 1.26.6)
fi
cache=${LIGHTFOOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lightfoot}
export GOTOOLCHAIN=local GOFLAGS="-mod=mod -modcacherw -buildvcs=false" GOWORK=off GOAMD64=v1 CGO_ENABLED=0
export GOCACHE="$cache/go/build" GOMODCACHE="$cache/go/mod" GOPATH="$cache/go/path"
version=$("$go" env GOVERSION)
case $version in go1.26*) ;; *) echo "$go is $version; kubernetes $kubernetes is built with go1.26" >&2; exit 1 ;; esac
out=$cache/targets/kube-apiserver-$kubernetes-$version
mkdir -p "$cache/targets"
exec 9> "$out.lock"
flock 9
if [ ! -e "$out" ]; then
    work=$(mktemp -d "$cache/kube-apiserver.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    module=k8s.io/kubernetes
    source=$("$go" mod download -json "$module@v$kubernetes" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    # The module's go.mod replaces its parts by folders that modules do not carry: the same parts, as released.
    sed -e 's#^module .*#module lightfoot.example/big#' \
        -e "s#=> ./staging/src/\(k8s.io/[a-z0-9-]*\)#=> \1 v0.${kubernetes#1.}#" "$source/go.mod" > go.mod
    install -m644 "$source/go.sum" go.sum
    "$go" mod edit -require="$module@v$kubernetes"
    "$go" build -trimpath -ldflags="-s -w" -o "$out.unfinished" "$module/cmd/kube-apiserver" >&2
    mv "$out.unfinished" "$out"
fi
echo "$out"
