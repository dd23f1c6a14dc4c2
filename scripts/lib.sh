# Shared by the scripts of this folder: where tools are kept and how they get there. To be sourced by bash.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${LIGHTFOOT_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/lightfoot}
# shellcheck source=versions.env
source "$root/scripts/versions.env"
# shellcheck disable=SC2034 # the scripts that source this use it
toolchain=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
# shellcheck disable=SC2034 # likewise
MACHINES="x86_64 aarch64" # for which there are static builds, as Rust names them

say() {
    printf 'lightfoot: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# quietly COMMAND…: shows the output only of a command that fails.
quietly() {
    local output
    output=$("$@" 2>&1) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

# again COMMAND…: tries what fetches from the network a few times, a little later each.
again() {
    local seconds
    for seconds in 3 10 30; do
        "$@" && return
        say "trying again in $seconds s: ${*:1:4} …"
        sleep "$seconds"
    done
    "$@"
}

# install_once FOLDER COMMAND…: unless FOLDER exists, runs COMMAND with a new folder as its last argument and renames
# that to FOLDER, so that FOLDER is there as a whole or not at all. A second caller waits for the first.
install_once() {
    local folder=$1
    shift
    [ ! -d "$folder" ] || return 0
    mkdir -p "$(dirname "$folder")" "$cache/locks"
    (
        flock 9
        [ ! -d "$folder" ] || exit 0
        rm -rf "$cache/unfinished/$(basename "$folder")"
        mkdir -p "$cache/unfinished/$(basename "$folder")"
        "$@" "$cache/unfinished/$(basename "$folder")" </dev/null
        mv -T "$cache/unfinished/$(basename "$folder")" "$folder"
    ) 9>"$cache/locks/$(basename "$folder")"
}

# apt_install PACKAGE: for what only the system's packages have; fails if they do not have it either.
apt_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || fail "$1 is missing: run 'apt-get install $1' as root, then this again"
    # A machine that never fetched the lists of packages knows none.
    if ! apt_has "$1"; then
        say "fetching the lists of packages"
        quietly apt-get update -qq
        apt_has "$1" || return 1
    fi
    say "installing the package $1"
    apt_get_install "$1" && return
    # Lists that are old name packages that are gone.
    say "fetching the lists of packages anew"
    quietly apt-get update -qq && apt_get_install "$1"
}

apt_get_install() {
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -qq --no-install-recommends -o Acquire::Retries=3 \
        -o DPkg::Lock::Timeout=120 "$1"
}

# All is read: a reader that goes at the first match ends apt-cache by SIGPIPE, which pipefail takes for "no".
apt_has() {
    apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null
}

# mirror ENDING: the first of this system's sources whose address ends so.
mirror() {
    local found
    found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -v '^ *#' | grep -oE "[a-z+]+://[^ ]*/$1/?( |\$)" | head -n 1) || true
    [ -n "$found" ] || fail "no source of this system's packages ends in /$1"
    echo "$found"
}

# pip_install REQUIREMENT FOLDER
pip_install() {
    local pip
    if python3 -m pip --version >/dev/null 2>&1; then
        pip=(python3 -m pip)
    elif command -v pip3 >/dev/null; then
        pip=(pip3)
    elif command -v pip >/dev/null; then
        pip=(pip)
    else
        apt_install python3-pip || fail "the system's packages have no python3-pip: install pip, then run this again"
        pip=(python3 -m pip)
    fi
    # Through the environment, where old versions ignore what they do not know. What an earlier try has left is replaced.
    PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        again "${pip[@]}" install --quiet --no-deps --no-compile --upgrade --target "$2" "$1" >&2
}

# go_command: the path of the machine's own `go`, or else of the one in the cache.
go_command() {
    command -v go || "$root/scripts/go-toolchain.sh" "$GO_VERSION"
}

# What packages and images say of the commit that they are made of: its version, and the second of it.
version() {
    sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1
}

built() {
    echo "${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}"
}

# architecture MACHINE: as Debian, Go and OCI call it.
architecture() {
    case $1 in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) fail "no architecture is known for the machine $1" ;;
    esac
}
