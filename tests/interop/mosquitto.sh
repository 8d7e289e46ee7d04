#!/usr/bin/env bash
# mosquitto_pub and mosquitto_sub through all that they can do, in both versions. Run by tests/interop.sh.
set -euo pipefail

directory=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$directory"' EXIT

say() { echo "mosquitto $version: $*"; }
fail() { echo "mosquitto $version: $*" >&2; exit 1; }
options() { echo -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$DEVICE_ID" -P "$DEVICE_TOKEN" -V "$version"; }
# shellcheck disable=SC2046 # Each word is an argument.
pub() { timeout 20 mosquitto_pub $(options) "$@"; }
# shellcheck disable=SC2046
sub() { timeout 20 mosquitto_sub $(options) "$@"; }

# Starts a subscriber in the background and waits until it is subscribed: subscribe NAME ARGUMENT…
subscribe() {
    local name=$1
    shift
    # What one of that name said before must not be taken for this one's.
    rm -f "$directory/$name"
    # The debug output tells of the SUBACK; messages begin with "> ". Lines, so that they can be waited for.
    # shellcheck disable=SC2046
    stdbuf -oL timeout 30 mosquitto_sub $(options) -d -F '> %q %r %t %p' "$@" >"$directory/$name" 2>&1 &
    wait_for "$name" 'Subscribed'
}

wait_for() {
    for _ in $(seq 200); do
        grep -qs "$2" "$directory/$1" && return
        sleep 0.1
    done
    cat "$directory/$1" >&2
    fail "no $2 in $1"
}

# The messages of a subscriber that ended by itself must be these.
expect() {
    local name=$1 expected
    shift
    wait "$last" || { cat "$directory/$name" >&2; fail "$name did not get all messages"; }
    expected=$(printf '> %s\n' "$@")
    if [ "$(grep '^> ' "$directory/$name")" != "$expected" ]; then
        cat "$directory/$name" >&2
        fail "$name got other messages than: $*"
    fi
}

every_qos() {
    local wanted qos lower=()
    for wanted in 0 1 2; do
        subscribe qos -q "$wanted" -t 'm/t' -C 3
        last=$!
        lower=()
        for qos in 0 1 2; do
            pub -q "$qos" -t m/t -m '{"celsius":21.5}'
            lower+=("$((qos < wanted ? qos : wanted)) 0 m/t {\"celsius\":21.5}")
        done
        expect qos "${lower[@]}"
    done
    say "every QoS"
}

many() {
    subscribe many -q 2 -t m/many -C 500
    last=$!
    seq 500 | pub -q 2 -t m/many -l
    mapfile -t expected < <(seq -f '2 0 m/many %.0f' 500)
    expect many "${expected[@]}"
    say "many messages"
}

retained() {
    pub -q 1 -r -t m/state -m 1
    [ "$(sub -t m/state -C 1 -F '%r %p')" = "1 1" ] || fail "the message is not retained"
    pub -q 1 -r -t m/state -n
    if sub -t m/state -C 1 -W 1 >/dev/null 2>&1; then fail "the message is still retained"; fi
    say "retained messages"
}

will() {
    subscribe gone -q 1 -t 'm/gone' -C 1
    last=$!
    rm -f "$directory/will"
    # shellcheck disable=SC2046
    stdbuf -oL mosquitto_sub $(options) -d -t m/nothing --will-topic m/gone --will-payload true --will-qos 1 \
        >"$directory/will" 2>&1 &
    local dying=$!
    wait_for will 'Subscribed'
    kill -KILL "$dying"
    wait "$dying" 2>/dev/null || true
    expect gone "1 0 m/gone true"
    say "wills"
}

session() {
    local keep=(-c)
    [ "$version" = mqttv5 ] && keep=(-c -x 60)
    sub -i "m-kept-$version" "${keep[@]}" -q 1 -t m/kept -E
    pub -q 1 -t m/kept -m 1
    pub -q 2 -t m/kept -m 2
    [ "$(sub -i "m-kept-$version" "${keep[@]}" -q 1 -t m/kept -C 2)" = $'1\n2' ] || fail "what came meanwhile is lost"
    say "sessions"
}

shared() {
    subscribe first -q 1 -t '$share/group/m/shared' -C 2
    local first=$!
    subscribe second -q 1 -t '$share/group/m/shared' -C 2
    last=$!
    local number
    for number in 0 1 2 3; do pub -q 1 -t m/shared -m "$number"; done
    wait "$first" "$last" || fail "messages were not shared"
    [ "$(cat "$directory/first" "$directory/second" | grep '^> ' | sort)" = \
        "$(printf '> 1 0 m/shared %s\n' 0 1 2 3)" ] || fail "messages were lost or came twice"
    say "shared subscriptions"
}

wrong_password() {
    local code=0
    DEVICE_TOKEN=wrong pub -t m/t -m 1 2>/dev/null || code=$?
    case $version in
        mqttv5) [ "$code" -eq 134 ] || fail "a wrong password ends with $code" ;;
        *) [ "$code" -eq 4 ] || [ "$code" -eq 5 ] || fail "a wrong password ends with $code" ;;
    esac
    say "wrong password"
}

properties() {
    rm -f "$directory/properties"
    # shellcheck disable=SC2046
    stdbuf -oL timeout 20 mosquitto_sub $(options) -q 1 -t m/p -C 1 -D SUBSCRIBE subscription-identifier 300 \
        -F '%C %R %P %S' -d >"$directory/properties" 2>&1 &
    last=$!
    wait_for properties 'Subscribed'
    pub -q 1 -t m/p -m 1 -D PUBLISH content-type json -D PUBLISH response-topic answers -D PUBLISH user-property b 1 \
        -D PUBLISH user-property a 2 -D PUBLISH message-expiry-interval 60
    wait "$last" || fail "the message did not come"
    grep -qx 'json answers b:1 a:2 300' "$directory/properties" || { cat "$directory/properties" >&2; fail "properties are lost"; }
    say "properties"
}

for version in mqttv311 mqttv5; do
    every_qos
    many
    retained
    will
    session
    shared
    wrong_password
    [ "$version" = mqttv5 ] && properties
done
