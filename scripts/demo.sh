#!/usr/bin/env bash
# demo.sh: watches three small Go services under a light load for a minute; without root it inspects one of them.
# DEMO_SECONDS sets another time, DEMO_LIGHTFOOT a `lightfoot` that is built already. Ctrl-C ends everything.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

program=${DEMO_LIGHTFOOT:-target/release/lightfoot}
if [ -z "${DEMO_LIGHTFOOT:-}" ]; then
    [ -x "$program" ] || say "building Lightfoot (4 min)"
    cargo build --quiet --release --package lightfoot
fi

go=$(go_command)
mkdir -p target/demo
[ -x target/demo/demo ] || say "building tests/targets/demo, services of net/http and gRPC, with $("$go" env GOVERSION)"
(cd tests/targets/demo && GOTOOLCHAIN=local GOWORK=off "$go" build -o "$root/target/demo/demo" .)

if [ "$(id -u)" != 0 ]; then
    say "watching takes root (sudo make demo); this is what could be watched:"
    exec "$program" inspect target/demo/demo
fi

started=()
end_all() {
    [ ${#started[@]} = 0 ] || kill "${started[@]}" 2>/dev/null || true
}
trap end_all EXIT
trap 'exit 130' INT TERM

# start_service NAME FLAGS…: sets `url` to where it listens.
start_service() {
    local name=$1
    shift
    : >"target/demo/$name.url" # there before it is looked at
    OTEL_SERVICE_NAME=$name target/demo/demo "$@" >"target/demo/$name.url" &
    started+=($!)
    for _ in $(seq 100); do
        url=$(<"target/demo/$name.url")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    fail "the service $name did not start"
}

seconds=${DEMO_SECONDS:-60}
start_service prices
start_service stock -prices "$url"
start_service shop -stock "$url"
services=("${started[@]}")
target/demo/demo -visit "$url" -for "${seconds}s" &
customers=$!
started+=("$customers")

say "watching shop, stock and prices for $seconds s; Ctrl-C ends it"
"$program" run --pid "${services[0]}" --pid "${services[1]}" --pid "${services[2]}" > >(tee target/demo/spans) &
lightfoot=$!
started+=("$lightfoot")
wait "$customers" || true
sleep 1
kill "$lightfoot"
wait "$lightfoot"

# Each tree begins with the time, the service and the first span, which names the trace.
whole=$(awk '
    /^[0-9]/ { for (word = 3; word <= NF; word++) if ($word ~ /^trace=/) services[$word] += !seen[$word, $2]++ }
    END { for (trace in services) whole += services[trace] == 3; print whole + 0 }
' target/demo/spans)
if [ "$whole" != 0 ]; then
    say "$whole traces go through shop, stock and prices, for these pass on the traceparent that they get"
else
    say "no trace goes through shop, stock and prices: none of the requests to all three was watched"
fi
say "$("$program" doctor 2>/dev/null | sed -n 's/.* propagation  *//p')"
