# Everything that is done with this repository, on a developer's machine and in CI alike.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Versions of the tools that recipes install when they are missing.
watchexec_version := "2.3.2"
cargo_deny_version := "0.20.2"
cargo_fuzz_version := "0.13.2"

# Lists what there is
default:
    @{{ just_executable() }} --list --unsorted --justfile {{ justfile() }}

# Starts the platform (release build); arguments go to pocket-iot
run *arguments:
    cargo run --release -- {{ arguments }}

# Starts the platform and restarts it whenever a source file changes
dev *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v watchexec >/dev/null; then
        echo "installing watchexec, which restarts the platform on changes (only this once)"
        cargo install watchexec-cli --version {{ watchexec_version }} --locked
    fi
    exec watchexec --restart --stop-signal SIGTERM --exts rs,toml,lock --ignore data -- cargo run -- {{ arguments }}

# Runs all tests; starts a throw-away PostgreSQL; on Debian that, PgBouncer and Mosquitto are installed when they are missing
test *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    # The binary, which the end-to-end tests start, is built with the tests.
    if cargo nextest --version >/dev/null 2>&1; then
        tests/with-postgres.sh cargo nextest run --workspace {{ arguments }}
        cargo test --workspace --doc --quiet
    else
        tests/with-postgres.sh cargo test --workspace {{ arguments }}
    fi

# Checks format, lints, documentation, every feature alone, and all dependencies
check: check-format check-lints check-docs check-features deny

# Checks that the code is formatted
check-format:
    cargo fmt --all --check

# Checks that clippy has nothing to say
check-lints:
    cargo clippy --workspace --all-targets -- -D warnings

# Checks that the documentation builds without warnings
check-docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Checks that each feature builds alone, and the binary without any
check-features:
    #!/usr/bin/env bash
    set -euo pipefail
    check() {
        echo "$1 with ${2:-no features}"
        cargo clippy --quiet -p "$1" --no-default-features --features "$2" -- -D warnings
    }
    check pocket-iot ""
    for feature in storage-sqlite storage-postgres storage-memory transport-mqtt mqtt-tls mqtt-websocket transport-rest \
        rest-openapi bridge mqtt-tls,mqtt-websocket; do
        check pocket-iot "$feature"
    done
    for feature in "" tls websocket; do
        check pocket-mqtt-ntex "$feature"
    done
    for feature in sqlite postgres; do
        check pocket-storage-sea-orm "$feature"
    done
    check pocket-mqtt-ntex fuzzing

# Kills the platform, and PostgreSQL, so often in the middle of traffic over MQTT and HTTP, and counts what is stored and arrives
crashes rounds="40":
    POCKET_CRASH_ROUNDS={{ rounds }} tests/with-postgres.sh cargo test -p pocket-iot -p pocket-tests --test all -- durability:: crashes::

# Formats the code
format:
    cargo fmt --all

# Checks licences, sources, banned and doubled crates of all dependencies, and advisories where their database can be reached
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo deny --version >/dev/null 2>&1; then
        echo "installing cargo-deny, which checks dependencies (only this once; it takes some minutes)"
        cargo install cargo-deny --version {{ cargo_deny_version }} --locked
    fi
    cargo deny --log-level error check --hide-inclusion-graph licenses bans sources
    # The database is a repository at GitHub, which not every machine reaches. What was fetched before is used then.
    if fetched=$(cargo deny --log-level error fetch db 2>&1); then
        cargo deny --log-level error check advisories
    else
        echo "$fetched" >&2
        echo "NOT CHECKED: advisories (https://rustsec.org), because their database cannot be fetched from here" >&2
    fi

# Runs the naive models of index, retained messages and sessions with many seeds, from `first` on (by default others each time)
model seeds="20000" first=`date +%s`:
    POCKET_MODEL_FIRST={{ first }} POCKET_MODEL_SEEDS={{ seeds }} cargo test -p pocket-mqtt-core --test model

# Fuzzes the packet path, topics and chunks of telemetry for so many seconds each (needs nightly Rust)
fuzz seconds="30":
    #!/usr/bin/env bash
    set -euo pipefail
    if ! cargo fuzz --version >/dev/null 2>&1; then
        echo "installing cargo-fuzz (only this once)"
        cargo install cargo-fuzz --version {{ cargo_fuzz_version }} --locked
    fi
    for target in packets topics chunks; do
        # What is found goes beside other build products, and not into the corpus that is kept.
        found=${CARGO_TARGET_DIR:-fuzz/target}/found/$target
        mkdir -p "$found"
        cargo +nightly fuzz run "$target" "$found" "fuzz/corpus/$target" -- -dict="fuzz/dictionaries/$target" \
            -max_len=1024 -timeout=10 -malloc_limit_mb=64 -max_total_time={{ seconds }} -print_final_stats=1
    done
    # Chunks of thousands of rows and columns, too.
    found=${CARGO_TARGET_DIR:-fuzz/target}/found/chunks
    cargo +nightly fuzz run chunks "$found" fuzz/corpus/chunks -- -dict=fuzz/dictionaries/chunks \
        -max_len=262144 -len_control=0 -timeout=30 -malloc_limit_mb=256 -max_total_time={{ seconds }} -print_final_stats=1

# Runs Paho, MQTT.js and mosquitto_pub/sub against the binary (needs Python 3, Node and mosquitto-clients)
interop *clients:
    cargo build
    tests/interop.sh {{ clients }}

# The slow proofs: clients that mean harm and devices that come back, so many times as many as the suite has; kills, so many rounds;
# faults; the model of the history with many seeds, from `first` on (by default others each time)
torture times="10" rounds="40" seeds="100" first=`date +%s`:
    cargo build
    ulimit -n "$(ulimit -Hn)" && POCKET_TORTURE={{ times }} POCKET_CRASH_ROUNDS={{ rounds }} POCKET_MODEL_FIRST={{ first }} \
        POCKET_MODEL_SEEDS={{ seeds }} tests/with-postgres.sh cargo test -p pocket-tests --test all -- \
        torture:: hostile:: reconnects:: durability:: crashes:: faults:: history_model:: --test-threads 1

# Sends the running binary whatever its OpenAPI document allows and forbids (schemathesis, needs Python 3)
api-check:
    cargo build
    tests/api-check.sh

# Measures the release binary, and Mosquitto beside it where it is installed, or only the measures named (`just bench qos1 rest`)
bench *measures:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p pocket-iot -p pocket-tests --bins
    target=${CARGO_TARGET_DIR:-target}
    POCKET_TEST_POSTGRES_DURABLE=1 POCKET_IOT_BINARY=$target/release/pocket-iot \
        tests/with-postgres.sh "$target/release/bench" --json "$target/bench.json" {{ measures }}
    echo "the same as JSON: $target/bench.json"

# Measures topics, sessions, packets, chunks and batches of rows by themselves, or only what is named (`just bench-micro encode`)
bench-micro *names:
    cargo bench -p pocket-mqtt-core -p pocket-mqtt-ntex -p pocket-telemetry-codec -p pocket-storage-sea-orm \
        --bench core --bench packets --bench chunk --bench append -- {{ names }}

# Writes the generated parts of docs/ and builds the documentation of the code
docs:
    POCKET_WRITE_DOCS=1 cargo test -p pocket-tests --test all documentation
    cargo doc --workspace --no-deps
