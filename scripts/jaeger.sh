#!/usr/bin/env bash
# jaeger.sh: prints the path of Jaeger for tests; builds tests/backends/jaeger into the cache if it is not there. go.sum
# pins every module of it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_jaeger() {
    local go
    go=$("$root/scripts/go-toolchain.sh" "$GO_VERSION")
    say "building Jaeger $version (5 min, 2.4 GB of memory)"
    (
        cd "$source"
        GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0 \
            quietly nice -n 15 "$go" build -trimpath -ldflags="-s -w" -o "$1/jaeger" \
            github.com/jaegertracing/jaeger/cmd/jaeger
    )
}

source=$root/tests/backends/jaeger
version=$(sed -n 's|^.*github.com/jaegertracing/jaeger v\([^ ]*\).*|\1|p' "$source/go.mod")
# A changed source is another Jaeger.
digest=$(cat "$source"/{go.mod,go.sum} | sha256sum | cut -c1-12)
install_once "$cache/backends/jaeger-$version-$digest" build_jaeger
echo "$cache/backends/jaeger-$version-$digest/jaeger"
