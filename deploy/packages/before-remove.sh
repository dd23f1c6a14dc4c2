#!/bin/sh
# dpkg says what happens, rpm how many versions will be left.
set -e

case "$1" in
    remove | 0)
        if [ -d /run/systemd/system ]; then
            systemctl disable --now lightfoot.service || true
        fi
        ;;
esac
