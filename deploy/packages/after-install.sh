#!/bin/sh
# After the first installation nothing runs: where spans go is not known yet. After an upgrade what ran runs again.
set -e

systemd-sysusers lightfoot.conf || true
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart lightfoot.service || true
fi

# dpkg names the version that was configured before, rpm says how many are installed now.
case "$1" in
    configure) [ -n "$2" ] || first=yes ;;
    1) first=yes ;;
esac
if [ "${first:-}" = yes ]; then
    echo "Say in /etc/lightfoot/config.yaml where spans go, then: systemctl enable --now lightfoot"
    echo "'lightfoot doctor' tries out what this host allows."
fi
