#!/usr/bin/env bash
# foreign.sh NAME: prints the path of a program that nobody here wrote, for tests; builds tests/foreign/NAME into the
# cache if it is not there. go.sum pins every module of it. Tests run these programs; nothing of them is linked into
# Lightfoot or shipped with it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

go_newest=${GO_TEST_VERSIONS##* }
# Name, package, the module that the version is of, Go, what a cold build takes on two cores, licence, build tags, and the
# variable that tells the program its version, if it has to know it.
# Prometheus is built without its service discoveries, which are nine tenths of it.
table="
caddy       github.com/caddyserver/caddy/v2/cmd/caddy        github.com/caddyserver/caddy/v2      $GO_VERSION  2_min,1_GB    Apache-2.0
etcd        go.etcd.io/etcd/server/v3                        go.etcd.io/etcd/server/v3            $GO_VERSION  1_min,0.6_GB  Apache-2.0
jaeger      github.com/jaegertracing/jaeger/cmd/jaeger       github.com/jaegertracing/jaeger      $GO_VERSION  5_min,2.4_GB  Apache-2.0
otelcol     .                                                go.opentelemetry.io/collector/otelcol $GO_VERSION 2_min,0.6_GB  Apache-2.0
kube-apiserver  k8s.io/kubernetes/cmd/kube-apiserver  k8s.io/kubernetes               $GO_VERSION  5_min,2_GB    Apache-2.0 - k8s.io/component-base/version.gitVersion
prometheus  github.com/prometheus/prometheus/cmd/prometheus  github.com/prometheus/prometheus     $go_newest   2_min,1_GB    Apache-2.0 remove_all_sd
promtool    github.com/prometheus/prometheus/cmd/promtool    github.com/prometheus/prometheus     $go_newest   2_min,1_GB    Apache-2.0 remove_all_sd
rclone      .                                                github.com/rclone/rclone             $GO_VERSION  1_min,0.6_GB  MIT
tempo       github.com/grafana/tempo/cmd/tempo               github.com/grafana/tempo             $GO_VERSION  4_min,1.5_GB  AGPL-3.0-only
seaweedfs   github.com/seaweedfs/seaweedfs/weed              github.com/seaweedfs/seaweedfs        $GO_VERSION  4_min,2_GB    Apache-2.0
"

build() {
    local go told
    told=${variable:+-X $variable=v$version}
    go=$("$root/scripts/go-toolchain.sh" "$go_version")
    say "building $name $version (${cost//_/ })"
    (
        cd "$source"
        # A module that cannot be fetched fails it, and what it has compiled by then is kept.
        GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0 \
            again quietly nice -n 15 "$go" build -trimpath -ldflags="-s -w $told" -tags="${tags#-}" -o "$1/$name" "$package"
    )
}

[ $# = 1 ] || fail "usage: scripts/foreign.sh NAME"
row=$(awk -v name="$1" '$1 == name' <<<"$table")
[ -n "$row" ] || fail "foreign.sh does not know $1; it knows: $(awk 'NF { printf "%s ", $1 }' <<<"$table")"
read -r name package module go_version cost _ tags variable <<<"$row"
source=$root/tests/foreign/$name
# promtool belongs to the module of Prometheus.
[ -d "$source" ] || source=$root/tests/foreign/$(basename "$module")
version=$(awk -v module="$module" '$1 == "require" { sub(/^require /, "") } $1 == module { sub(/^v/, "", $2); print $2 }' "$source/go.mod")
# A changed source, or another way to build it, is another program.
digest=$({ echo "$row" && cat "$source"/*; } | sha256sum | cut -c1-12)
install_once "$cache/foreign/$name-$version-$digest" build
echo "$cache/foreign/$name-$version-$digest/$name"
