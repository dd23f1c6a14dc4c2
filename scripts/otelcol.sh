#!/usr/bin/env bash
# otelcol.sh: prints the path of an OpenTelemetry Collector for tests; builds tests/backends/otelcol into the cache if
# it is not there. go.sum pins every module of it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_otelcol() {
    local go
    go=$("$root/scripts/go-toolchain.sh" "$GO_VERSION")
    say "building the OpenTelemetry Collector $version (2 min, 0.6 GB of memory)"
    (
        cd "$source"
        GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0 \
            quietly nice -n 15 "$go" build -trimpath -ldflags="-s -w" -o "$1/otelcol" .
    )
}

source=$root/tests/backends/otelcol
version=$(sed -n 's|^.*go.opentelemetry.io/collector/otelcol v||p' "$source/go.mod")
# A changed source is another Collector.
digest=$(cat "$source"/{main.go,go.mod,go.sum} | sha256sum | cut -c1-12)
install_once "$cache/backends/otelcol-$version-$digest" build_otelcol
echo "$cache/backends/otelcol-$version-$digest/otelcol"
