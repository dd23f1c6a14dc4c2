#!/usr/bin/env bash
# debian-root.sh: prints the folder of a small Debian with systemd, for tests of packages that copy it; makes it in the cache if it
# is not there. Takes root.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

make_root() {
    local mirror
    mirror=$(mirror debian)
    say "making a Debian $DEBIAN_RELEASE (1 min, 160 MB)"
    quietly debootstrap --variant=minbase --include=systemd,systemd-sysv,procps,dbus "$DEBIAN_RELEASE" "$1/root" "$mirror"
    rm -rf "$1"/root/var/{cache/apt/archives,lib/apt/lists}/*
}

install_once "$cache/debian-$DEBIAN_RELEASE" make_root
echo "$cache/debian-$DEBIAN_RELEASE/root"
