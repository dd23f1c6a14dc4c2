#!/usr/bin/env bash
# demo.sh: watches three small Go services under a light load for a minute; without root it inspects one of them.
# DEMO_SECONDS sets another time, DEMO_LIGHTFOOT a `lightfoot` and DEMO_SERVICES services that are built already, DEMO_FOLDER where
# it may write. Ctrl-C ends everything.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

program=${DEMO_LIGHTFOOT:-target/release/lightfoot}
if [ -z "${DEMO_LIGHTFOOT:-}" ]; then
    [ -x "$program" ] || say "building Lightfoot (4 min)"
    cargo build --quiet --release --package lightfoot
fi

folder=${DEMO_FOLDER:-target/demo}
mkdir -p "$folder"
demo=${DEMO_SERVICES:-$root/$folder/demo}
if [ -z "${DEMO_SERVICES:-}" ]; then
    go=$(go_command)
    [ -x "$demo" ] || say "building tests/targets/demo, services of net/http and gRPC, with $("$go" env GOVERSION)"
    (cd tests/targets/demo && GOTOOLCHAIN=local GOWORK=off again "$go" build -o "$demo" .)
fi

if [ "$(id -u)" != 0 ]; then
    say "watching takes root (sudo make demo); this is what could be watched:"
    exec "$program" inspect "$demo"
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
    : >"$folder/$name.url" # there before it is looked at
    OTEL_SERVICE_NAME=$name "$demo" "${passing[@]}" "$@" >"$folder/$name.url" &
    started+=($!)
    for _ in $(seq 100); do
        url=$(<"$folder/$name.url")
        [ -z "$url" ] || return 0
        sleep 0.1
    done
    fail "the service $name did not start"
}

# Whether the kernel permits what --propagate takes, and if not, why not. Services pass traceparent on by themselves then.
propagation=$("$program" doctor 2>/dev/null | sed -n 's/.* propagation  *//p')
case $propagation in
*"can be passed on"*) passing=() watching=(--propagate) who="Lightfoot passes the trace contexts on (--propagate)" ;;
*) passing=(-pass-on) watching=() who="these pass on the traceparent that they get" ;;
esac

seconds=${DEMO_SECONDS:-60}
start_service prices
start_service stock -prices "$url"
start_service shop -stock "$url"
services=("${started[@]}")

: >"$folder/messages" # there before it is looked at
exec 3> >(tee "$folder/spans")
copies=($!)
exec 4> >(tee "$folder/messages" >&2)
copies+=($!)
"$program" run "${watching[@]}" --pid "${services[0]}" --pid "${services[1]}" --pid "${services[2]}" >&3 2>&4 &
lightfoot=$!
started+=("$lightfoot")
exec 3>&- 4>&-
# Customers come when all three are watched, which takes a busy machine a while.
for _ in $(seq 3000); do
    [ "$(grep -c 'INFO watching ' "$folder/messages")" -lt 3 ] || break
    kill -0 "$lightfoot" 2>/dev/null || wait "$lightfoot"
    sleep 0.1
done
say "watching shop, stock and prices for $seconds s; Ctrl-C ends it"
"$demo" "${passing[@]}" -visit "$url" -for "${seconds}s" &
customers=$!
started+=("$customers")
wait "$customers" || true
sleep 1
kill "$lightfoot"
wait "$lightfoot"
wait "${copies[@]}" # they have written all of it then

# Each tree begins with the time, the service and the first span, which names the trace; its other lines have a service behind their
# branch.
whole=$(awk '
    /^[0-9]/ { trace = ""; for (word = 3; word <= NF; word++) if ($word ~ /^trace=/) trace = $word }
    trace != "" {
        service = /^[0-9]/ ? $2 : ""
        for (word = 1; word < NF && service == ""; word++) if ($word ~ /─$/) service = $(word + 1)
        services[trace] += !seen[trace, service]++
    }
    END { for (trace in services) whole += services[trace] == 3; print whole + 0 }
' "$folder/spans")
if [ "$whole" != 0 ]; then
    say "$whole traces go through shop, stock and prices, for $who"
else
    say "no trace goes through shop, stock and prices: none of the requests to all three was watched"
fi
say "$propagation"
