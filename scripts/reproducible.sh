#!/usr/bin/env bash
# reproducible.sh: makes all that dist/ gives out of the last commit twice, here and in a clone at another path with nothing compiled
# and Cargo's files at another place, and compares the bytes. The clone is removed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed: commit them, for the second build is of a clone"
cargo_home=${CARGO_HOME:-$HOME/.cargo}
other=$(mktemp -d)
trap 'rm -rf "$other"' EXIT

# What was fetched is taken over, in links where the file system permits; so are the settings for where to fetch from.
mkdir "$other/cargo"
cp -al "$cargo_home/registry" "$other/cargo/" 2>/dev/null || cp -a "$cargo_home/registry" "$other/cargo/"
for settings in config config.toml; do
    [ ! -f "$cargo_home/$settings" ] || cp "$cargo_home/$settings" "$other/cargo/"
done
git clone --quiet --no-hardlinks "$root" "$other/clone"
all="scripts/dist.sh && scripts/packages.sh && scripts/image.sh"
bash -euc "$all"
say "building all of it again in $other"
(cd "$other/clone" && env -u CARGO_TARGET_DIR LIGHTFOOT_CACHE="$cache" CARGO_HOME="$other/cargo" bash -euc "$all")

differs=0
for path in "$other/clone/dist"/*; do
    name=$(basename "$path")
    if cmp --silent "$path" "dist/$name"; then
        echo "same    $(sha256sum "dist/$name" | cut -d' ' -f1)  $name"
    else
        echo "DIFFERS $name"
        differs=1
    fi
done
[ $differs = 0 ] || fail "two builds of one commit differ: see above"
