#!/bin/bash
# trial.sh BACKEND FOLDER LIGHTFOOT SERVER: starts a backend by FOLDER/backend.yaml and Lightfoot by FOLDER/lightfoot.yaml with a server
# under watch, both with the addresses that stand there, which are those of a network namespace of its own. Asks the server, ends
# Lightfoot, and prints what the backend has.
set -euo pipefail
backend=$1 folder=$2 lightfoot=$3 server=$4
ip link set lo up
# ask ADDRESS PATH HEADER…: the whole answer.
ask() {
    exec 5<>"/dev/tcp/${1%:*}/${1#*:}"
    printf '%s\r\n' "GET $2 HTTP/1.0" "${@:3}" '' >&5
    cat <&5
}
# until_so COMMAND…: waits for it to succeed, for a minute.
until_so() {
    for _ in $(seq 600); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "never: $*" >&2
    exit 1
}
listens() { exec 6<>"/dev/tcp/127.0.0.1/$1"; }

export SPANS=$folder/spans OTEL_TRACES_SAMPLER=always_off
option=--config
[[ $backend != */tempo ]] || option=--config.file
cd "$folder"
"$backend" "$option" "$folder/backend.yaml" >"$folder/backend.log" 2>&1 &
started=$!
# Tempo does not end when it is told to.
trap 'kill -9 $started' EXIT
until_so listens 4317
unset OTEL_TRACES_SAMPLER
"$lightfoot" run --config "$folder/lightfoot.yaml" -- "$server" >"$folder/printed" 2>"$folder/messages" &
agent=$!
until_so grep -q listening "$folder/printed"
until_so grep -q watching "$folder/messages"
address=$(sed -n 's/^listening \([0-9.:]*\).*/\1/p' "$folder/printed")
for number in $(seq 300); do
    ask "$address" "/asked/$number" >/dev/null
done
ask "$address" /healthz >/dev/null
if [[ $backend == */otelcol ]]; then
    # Whoever called has decided already, whatever the ids say: the one to keep its trace, the other not to.
    ask "$address" /kept 'traceparent: 00-0af7651916cd43ddfffffffffffffff1-b7ad6b7169203331-01' >/dev/null
    ask "$address" /left 'traceparent: 00-0af7651916cd43dd0000000000000002-b7ad6b7169203332-00' >/dev/null
fi
sleep 1
kill "$agent"
wait "$agent" || true
# answer ADDRESS PATH: what is answered, on a line.
answer() {
    ask "$@" | sed '1,/^\r$/d' | tr -d '\n'
    echo
}
# found ADDRESS BY_SERVICE BY_PATH: what is found by service, which is all, by path, which is one, and by the id of that.
found() {
    local one trace
    has_all() { [ "$(answer "$1" "$2" | grep -o '"traceID":"[0-9a-f]*"' | sort -u | wc -l)" = 301 ]; }
    until_so has_all "$1" "$2"
    answer "$1" "$2"
    one=$(answer "$1" "$3")
    echo "$one"
    trace=${one#*'"traceID":"'}
    answer "$1" "/api/traces/${trace%%'"'*}"
}
case $backend in
    # The tags are {"url.path":"/asked/7"}.
    *jaeger)
        found 127.0.0.1:16686 '/api/traces?service=lifecycle&limit=1000' \
            '/api/traces?service=lifecycle&tags=%7B%22url.path%22%3A%22%2Fasked%2F7%22%7D'
        ;;
    # TraceQL: {span.url.path="/asked/7"}
    *tempo)
        found 127.0.0.1:3200 '/api/search?limit=1000&tags=service.name%3Dlifecycle' \
            '/api/search?q=%7Bspan.url.path%3D%22%2Fasked%2F7%22%7D'
        ;;
    *) sleep 1 && cat "$SPANS" ;;
esac
cat "$folder/messages" >&2
