#!/usr/bin/env bash
# Runs stock MQTT clients against the binary. Eclipse Paho for Python, MQTT.js, mosquitto_pub and mosquitto_sub go, in both
# versions, through QoS 0 to 2, retained messages, wills, sessions, shared subscriptions, a wrong password and the properties
# of 5.0; rumqttc does the same in the test suite (tests/tests/all/interop_v4.rs, interop_v5.rs). gmqtt, aiomqtt, ThingsBoard's
# client for Python, a flow of Node-RED and what zigbee2mqtt sends as it starts do what their users do.
#
# Usage: tests/interop.sh [CLIENT]…; without arguments, all. What is missing is installed under target/ on the first run, which
# needs Python 3.10 and Node 20 or later. mosquitto_pub and mosquitto_sub must be installed. The binary is
# target/debug/pocket-iot, or POCKET_IOT_BINARY.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "interop: $*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is missing: $2"; exit 1; }; }

binary=${POCKET_IOT_BINARY:-${CARGO_TARGET_DIR:-target}/debug/pocket-iot}
[ -x "$binary" ] || { say "$binary is missing: run cargo build first"; exit 1; }
need curl "it registers the device"
clients=(paho gmqtt aiomqtt thingsboard mqttjs zigbee2mqtt nodered mosquitto)
[ $# -gt 0 ] || set -- "${clients[@]}"
node_red_version=4.1.15

# What is installed, beside other build products.
installed=${CARGO_TARGET_DIR:-target}/interop
mkdir -p "$installed"

# Installs what a file of requirements names, in an environment of its own: install_python NAME REQUIREMENTS
install_python() {
    need python3 "install Python 3.10 or later"
    if ! cmp -s "tests/interop/$2" "$installed/$2"; then
        say "installing $2 into $installed (only this once)"
        python3 -m venv "$installed/$1"
        "$installed/$1/bin/pip" install --quiet --disable-pip-version-check --requirement "tests/interop/$2"
        cp "tests/interop/$2" "$installed/"
    fi
}

install_mqttjs() {
    need npm "install Node 18 or later"
    if ! cmp -s tests/interop/package-lock.json "$installed/package-lock.json" || [ ! -d "$installed/node_modules" ]; then
        say "installing MQTT.js into $installed (only this once)"
        cp tests/interop/package.json tests/interop/package-lock.json "$installed/"
        npm --prefix "$installed" ci --silent --no-audit --no-fund
    fi
    # Modules are looked for beside the script.
    cp tests/interop/mqttjs.js tests/interop/zigbee2mqtt.js "$installed/"
}

install_nodered() {
    need npm "install Node 20 or later"
    local place="$installed/nodered"
    if [ "$(cat "$place/version" 2>/dev/null)" != "$node_red_version" ]; then
        say "installing Node-RED into $place (only this once)"
        mkdir -p "$place"
        npm --prefix "$place" install --silent --no-audit --no-fund --no-save "node-red@$node_red_version"
        echo "$node_red_version" >"$place/version"
    fi
    cp tests/interop/nodered.js "$place/nodered.mjs"
}

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

password="correct horse battery"
"$binary" --data-dir "$directory/data" --set api.host=127.0.0.1 --set api.port=0 --set mqtt.host=127.0.0.1 \
    --set mqtt.port=0 --set auth.admin_password="$password" >"$directory/out" 2>"$directory/log" &
platform=$!
for _ in $(seq 300); do
    mqtt=$(sed -n 's|^ *MQTT: *mqtt://||p' "$directory/out")
    [ -n "$mqtt" ] && break
    kill -0 "$platform" 2>/dev/null || { cat "$directory/log" >&2; say "the platform did not start"; exit 1; }
    sleep 0.1
done
[ -n "$mqtt" ] || { say "the platform did not tell where it serves"; exit 1; }
api=$(sed -n 's/^ *REST API: *//p' "$directory/out")

# The value of a field of a flat JSON object on stdin.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
post() { curl -sS "$api/api/v1/$1" -H 'content-type: application/json' "${@:3}" -d "$2"; }
token=$(post auth/login "{\"username\":\"admin\",\"password\":\"$password\"}" | field token)
device=$(post devices '{"name":"interop"}' -H "Authorization: Bearer $token")
export MQTT_HOST=${mqtt%:*} MQTT_PORT=${mqtt##*:} API_URL=$api API_TOKEN=$token
DEVICE_ID=$(field id <<<"$device") DEVICE_TOKEN=$(field token <<<"$device")
export DEVICE_ID DEVICE_TOKEN
[ -n "$DEVICE_TOKEN" ] || { say "no device was registered: $device"; exit 1; }

code=0
for client in "$@"; do
    case $client in
        paho | gmqtt | aiomqtt)
            install_python python requirements.txt
            "$installed/python/bin/python" "tests/interop/${client}_client.py" || code=1
            ;;
        thingsboard)
            # Its client brings a Paho of its own.
            install_python thingsboard requirements-thingsboard.txt
            "$installed/thingsboard/bin/python" tests/interop/thingsboard_client.py || code=1
            ;;
        mqttjs | zigbee2mqtt)
            install_mqttjs
            node "$installed/$client.js" || code=1
            ;;
        nodered)
            install_nodered
            node "$installed/nodered/nodered.mjs" || code=1
            ;;
        mosquitto)
            need mosquitto_sub "install mosquitto-clients (Debian, Fedora: mosquitto)"
            tests/interop/mosquitto.sh || code=1
            ;;
        *)
            say "there is no client $client; there are ${clients[*]}"
            exit 2
            ;;
    esac
done
if ! kill -0 "$platform" 2>/dev/null || grep -n "panicked" "$directory/log" >&2; then
    cat "$directory/log" >&2
    say "the platform panicked"
    code=1
fi
[ "$code" -eq 0 ] && say "all passed" || say "something failed"
exit "$code"
