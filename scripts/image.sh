#!/usr/bin/env bash
# image.sh [FILE]: makes a container image, dist/lightfoot-VERSION-oci.tar if not said, of nothing but the static builds that
# scripts/dist.sh has left in dist/ and what these are made of, for all machines, in the layout of OCI (image-spec 1.1). It takes no container engine, and the
# same commit gives the same bytes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

version=$(version)
created=$(date -u -d "@$(built)" +%Y-%m-%dT%H:%M:%SZ)
stage=$(mktemp -d)
trap 'rm -r "$stage"' EXIT
layout=$stage/layout
mkdir -p "$layout/blobs/sha256"

# archive FOLDER NAME…: a tar that says nothing of when and by whom it was made, on standard output.
archive() {
    tar --create --format=ustar --sort=name --mtime="@$(built)" --owner=0 --group=0 --numeric-owner --directory "$1" "${@:2}"
}

# blob TYPE FILE: takes the file into the layout and prints the descriptor of it, without the closing brace.
blob() {
    local digest size
    digest=$(sha256sum <"$2" | cut -d' ' -f1)
    size=$(stat -c %s "$2")
    mv "$2" "$layout/blobs/sha256/$digest"
    printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s' "$1" "$digest" "$size"
}

annotations='{"org.opencontainers.image.title":"lightfoot","org.opencontainers.image.version":"'$version'",
"org.opencontainers.image.created":"'$created'","org.opencontainers.image.licenses":"Apache-2.0",
"org.opencontainers.image.source":"https://github.com/lightfoot-otel/lightfoot",
"org.opencontainers.image.description":"OpenTelemetry traces from running Go services, through eBPF"}'
manifests=()
for machine in $MACHINES; do
    architecture=$(architecture "$machine")
    documents=$stage/$machine/usr/share/doc/lightfoot
    install -D -m 755 "dist/lightfoot-$machine" "$stage/$machine/lightfoot"
    install -D -m 644 "dist/lightfoot-$machine.cdx.json" "$documents/bill.cdx.json"
    install -m 644 "dist/lightfoot-$machine.licences.txt" "$documents/licences.txt"
    install -m 644 LICENSE "$documents/copyright"
    chmod -R u=rwX,go=rX "$stage/$machine"
    archive "$stage/$machine" lightfoot usr >"$stage/layer"
    rm -r "${stage:?}/$machine"
    difference=$(sha256sum <"$stage/layer" | cut -d' ' -f1)
    gzip -9n "$stage/layer"
    layer=$(blob layer.v1.tar+gzip "$stage/layer.gz")
    # Root by itself: engines and Kubernetes give added capabilities to no other user.
    cat >"$stage/config" <<END
{"created":"$created","architecture":"$architecture","os":"linux",
"config":{"Entrypoint":["/lightfoot"],"Cmd":["run"],"Env":["PATH=/"],"WorkingDir":"/","StopSignal":"SIGTERM","Labels":$annotations},
"rootfs":{"type":"layers","diff_ids":["sha256:$difference"]},
"history":[{"created":"$created","created_by":"scripts/image.sh"}]}
END
    config=$(blob config.v1+json "$stage/config")
    cat >"$stage/manifest" <<END
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":$config},"layers":[$layer}],
"annotations":$annotations}
END
    manifests+=("$(blob manifest.v1+json "$stage/manifest"),\"platform\":{\"architecture\":\"$architecture\",\"os\":\"linux\"}}")
done
list=$(IFS=,; echo "${manifests[*]}")
echo '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['"$list"'],"annotations":'"$annotations"'}' \
    >"$stage/index"
index=$(blob index.v1+json "$stage/index")
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
echo '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['"$index"\
',"annotations":{"org.opencontainers.image.ref.name":"'"$version"'"}}]}' >"$layout/index.json"
[ $# -gt 0 ] || rm -f dist/*-oci.tar
image=${1:-dist/lightfoot-$version-oci.tar}
say "making $image"
archive "$layout" oci-layout index.json blobs >"$image"
