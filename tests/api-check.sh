#!/usr/bin/env bash
# Sends the binary whatever its OpenAPI document allows and forbids, and fails on any answer of 5xx, on an answer that the
# document does not describe, and on a crash.
#
# Uses schemathesis from PyPI in a virtual environment under target/, made on the first run; needs Python 3.10 or later. The
# binary is target/debug/pocket-iot, or POCKET_IOT_BINARY. Arguments go to schemathesis.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "api-check: $*" >&2; }

binary=${POCKET_IOT_BINARY:-target/debug/pocket-iot}
[ -x "$binary" ] || { say "$binary is missing: run cargo build first"; exit 1; }
environment=target/schemathesis
if [ ! -x "$environment/bin/schemathesis" ]; then
    say "installing schemathesis into $environment (only this once)"
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet "schemathesis>=4.3,<5"
fi

directory=$(mktemp -d)
platform=
stop() {
    if [ -n "$platform" ]; then
        kill "$platform" 2>/dev/null || true
        wait "$platform" 2>/dev/null || true
    fi
    rm -rf "$directory"
}
trap stop EXIT

# Far above what the checks do, so that a refused log-in is told from a slowed one.
password="correct horse battery"
"$binary" --data-dir "$directory/data" --set api.host=127.0.0.1 --set api.port=0 --set mqtt.port=0 \
    --set auth.admin_password="$password" --set auth.login_failures=1000000 \
    --set auth.login_failures_per_source=1000000 >"$directory/out" 2>"$directory/log" &
platform=$!
for _ in $(seq 100); do
    api=$(sed -n 's/^ *REST API: *//p' "$directory/out")
    [ -n "$api" ] && break
    kill -0 "$platform" 2>/dev/null || { cat "$directory/log" >&2; say "the platform did not start"; exit 1; }
    sleep 0.1
done
[ -n "$api" ] || { say "the platform did not tell where it serves"; exit 1; }

token=$(curl -sS "$api/api/v1/auth/login" -H 'content-type: application/json' \
    -d "{\"username\":\"admin\",\"password\":\"$password\"}" | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
[ -n "$token" ] || { say "the log-in was refused"; exit 1; }

code=0
"$environment/bin/schemathesis" run "$api/api/openapi.json" --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --max-examples 50 --suppress-health-check all "$@" || code=$?
if ! kill -0 "$platform" 2>/dev/null; then
    cat "$directory/log" >&2
    say "the platform ended"
    code=1
fi
if grep -n "panicked" "$directory/log" >&2; then
    say "something panicked"
    code=1
fi
exit "$code"
