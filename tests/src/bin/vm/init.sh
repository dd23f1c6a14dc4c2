#!/bin/busybox sh
# The first process of a virtual machine: runs trials.sh and switches off. guest.rs writes paths in here.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev 2>/dev/null
$b ln -s /proc/self/fd /dev/fd # where bash has a process's end of a pipe
$b mount -t securityfs security /sys/kernel/security 2>/dev/null
$b mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
# What tests read may lie there, as this repository does here.
[ -n "$($b ls -A /tmp)" ] || $b mount -t tmpfs tmp /tmp
$b ip link set lo up
$b --install -s /bin
export PATH=/usr/bin:/bin HOME=/root CI=true LIGHTFOOT_TEST_ALL=least LIGHTFOOT_TEST_SLOWNESS=10 LIGHTFOOT_CACHE=@CACHE@
export LIGHTFOOT_TRACE_CONTEXT_SUITE=@SUITE@
# Nobody else has this machine's clock.
export LIGHTFOOT_TEST_SETS_CLOCK=1
for go in /go/*; do [ ! -e "$go" ] || export "LIGHTFOOT_GO_1_${go#/go/}=$go"; done
ulimit -n 65536

# trial NAME COMMAND…
trial() {
    name=$1
    shift
    echo "VM begins $name"
    "$@"
    echo "VM ended $name $?"
}

# with_tracefs COMMAND…: where tracefs is mounted, if the kernel permits; tests mount it for themselves.
with_tracefs() {
    unshare --mount sh -c 'mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"' sh "$@"
}

echo "VM up $(uname -r) $(nproc) processors, $(free -m | awk '/Mem/ { print $4 }') MB free"
# shellcheck disable=SC1091 # guest.rs writes it
. /trials.sh
echo "VM done"
poweroff -f
