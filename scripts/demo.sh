#!/usr/bin/env bash
# demo.sh: builds a small Go service and shows what Lightfoot finds in it. Needs no root and no backend.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[ -x target/release/lightfoot ] || say "building Lightfoot (2 min)"
cargo build --quiet --release --package lightfoot

go=$(go_command)
say "building tests/targets/hello, a net/http server, with $("$go" env GOVERSION)"
mkdir -p target/demo
(cd tests/targets/hello && GOTOOLCHAIN=local GOWORK=off "$go" build -o "$root/target/demo/hello" .)

say "running: lightfoot inspect target/demo/hello"
exec target/release/lightfoot inspect target/demo/hello
