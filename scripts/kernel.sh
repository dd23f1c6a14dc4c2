#!/usr/bin/env bash
# kernel.sh MACHINE VERSION: prints the folder of what a virtual machine boots: `vmlinuz`, Debian's newest kernel whose version
# begins so, its `release`, and a static `busybox` for the machine (x86_64, aarch64). It is fetched into the cache if it is not
# there, by a folder of apt's own that leaves this system's sources and packages alone; apt checks signatures and sums.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# = 2 ] || fail "usage: scripts/kernel.sh MACHINE VERSION"
machine=$1 version=$2
architecture=$(architecture "$machine")
apt=$cache/kernels/apt
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Makes the folder, with the mirrors that this system uses, and fetches the lists of packages if they are older than a day.
prepare_apt() {
    [ -f "$keys" ] || apt_install debian-archive-keyring || fail "Debian's keys are missing: $keys"
    mkdir -p "$apt"/etc/{apt.conf.d,preferences.d,sources.list.d} "$apt"/{state/lists,cache/archives}/partial
    touch "$apt/state/status"
    local main security
    main=$(mirror debian)
    security=$(mirror debian-security)
    source_list "$main" bullseye bookworm bookworm-backports trixie trixie-backports >"$apt/etc/sources.list.d/main.sources"
    source_list "$security" bullseye-security bookworm-security trixie-security >"$apt/etc/sources.list.d/security.sources"
    cat >"$apt/apt.conf" <<END
Dir::Etc "$apt/etc"; Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "sources.list.d";
Dir::State "$apt/state"; Dir::State::status "$apt/state/status"; Dir::Cache "$apt/cache";
APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; }; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::Retries "3";
END
    if [ -z "$(find "$apt/state/lists" -name '*Packages' -mmin -1440 -print -quit)" ]; then
        say "fetching Debian's lists of kernels"
        again quietly apt-get update -qq
    fi
}

# source_list ADDRESS SUITE…
source_list() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: amd64 arm64\nSigned-By: %s\n' \
        "$1" "${*:2}" "$keys"
}

# The packages of kernels of this version, newest first. Since 6.19 a package of its own has the kernel; before it is linux-image's.
candidates() {
    apt-cache pkgnames linux- | sed 's/:.*//' | sort -u |
        grep -E "^linux-(binary|image)-${version//./\\.}[.+].*[0-9]-cloud-$architecture\$" |
        sed 's/^linux-\(binary\|image\)-\(.*\)/\2 \1/' | sort -k1,1Vr -k2,2 |
        awk '!seen[$1]++ { print "linux-" $2 "-" $1 }' || true
}

# fetch PACKAGE FOLDER: the package's files; fails if the mirror has it listed only.
fetch() {
    mkdir -p "$2"
    (cd "$2" && apt-get download -qq "$1:$architecture" >/dev/null 2>&1) && dpkg-deb -x "$2"/*.deb "$2/files"
}

install_kernel() {
    prepare_apt
    local name
    for name in $(candidates); do
        say "fetching $name (50 MB at most)"
        fetch "$name" "$1/$name" || continue
        cp "$(find "$1/$name/files" -name 'vmlinuz*' -type f)" "$1/vmlinuz"
        echo "${name#linux-*-}" >"$1/release"
        break
    done
    [ -f "$1/vmlinuz" ] || fail "no kernel $version for $architecture is to be had"
    fetch busybox-static "$1/busybox-static" || fail "no busybox for $architecture is to be had"
    cp "$1/busybox-static/files/usr/bin/busybox" "$1/busybox" 2>/dev/null ||
        cp "$1/busybox-static/files/bin/busybox" "$1/busybox"
    find "$1" -mindepth 1 -maxdepth 1 -type d -exec rm -r {} +
}

export APT_CONFIG=$apt/apt.conf
install_once "$cache/kernels/$machine-$version" install_kernel
echo "$cache/kernels/$machine-$version"
