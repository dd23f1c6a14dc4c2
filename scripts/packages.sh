#!/usr/bin/env bash
# packages.sh [FOLDER VERSION]: makes lightfoot-VERSION-MACHINE.deb and .rpm in the folder, dist/ and this version if not said, of
# the static builds that scripts/dist.sh has left in dist/. The same commit gives the same bytes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

folder=${1:-dist}
own=dist/lightfoot-$(uname -m)
stage=$(mktemp -d)
trap 'rm -r "$stage"' EXIT
{ cat deploy/packages/config-head.yaml && "$own" config example; } >"$stage/config.yaml"
"$own" man | gzip -9n >"$stage/lightfoot.1.gz"
for shell in bash zsh fish; do
    "$own" completions "$shell" >"$stage/$shell"
done

SOURCE_DATE_EPOCH=$(built)
VERSION=${2:-$(version)}
export SOURCE_DATE_EPOCH VERSION STAGE=$stage
rm -f "$folder"/*.deb "$folder"/*.rpm
for machine in $MACHINES; do
    # shellcheck disable=SC2155 # it cannot fail
    export ARCHITECTURE=$(architecture "$machine") PROGRAM=dist/lightfoot-$machine
    for kind in deb rpm; do
        package=$folder/lightfoot-$VERSION-$machine.$kind
        say "making $package"
        quietly "$cache/tools/nfpm-$NFPM_VERSION/nfpm" package --config deploy/packages/nfpm.yaml --packager "$kind" \
            --target "$package"
    done
done
