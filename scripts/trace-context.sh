#!/usr/bin/env bash
# trace-context.sh: prints the folder of the conformance suite of W3C Trace Context, with test/, which is the suite, and packages/,
# which it takes of Python's; fetches both into the cache if they are not there. A folder that has both may be named by
# LIGHTFOOT_TRACE_CONTEXT_SUITE instead. Tests run the suite where it is there; nothing of it is shipped.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SUITE=https://github.com/w3c/trace-context

fetch() {
    local package
    say "fetching the conformance suite of W3C Trace Context (10 s, 15 MB)"
    quietly git init --quiet "$1/repository"
    (
        cd "$1/repository"
        # A machine that may not ask there is to fail, and not to wait for a password.
        GIT_TERMINAL_PROMPT=0 git -c http.lowSpeedLimit=1 -c http.lowSpeedTime=30 \
            fetch --quiet --depth 1 "$SUITE" "$TRACE_CONTEXT_COMMIT" 2>/dev/null
    ) || fail "the suite cannot be fetched from $SUITE: LIGHTFOOT_TRACE_CONTEXT_SUITE may name a folder with its test/, and packages/ beside that"
    quietly git -C "$1/repository" checkout --quiet FETCH_HEAD -- test
    mv "$1/repository/test" "$1/test"
    rm -rf "$1/repository"
    for package in $TRACE_CONTEXT_PACKAGES; do
        pip_install "$package" "$1/packages"
    done
}

suite=${LIGHTFOOT_TRACE_CONTEXT_SUITE:-}
if [ -z "$suite" ]; then
    suite=$cache/trace-context-$TRACE_CONTEXT_COMMIT
    install_once "$suite" fetch
fi
for part in test/test.py packages/aiohttp; do
    [ -e "$suite/$part" ] || fail "$suite has no $part"
done
echo "$suite"
