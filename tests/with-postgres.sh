#!/usr/bin/env bash
# Runs a command with a throw-away PostgreSQL server: tests/with-postgres.sh COMMAND [ARGUMENT…]
#
# The command finds the server's address in POCKET_TEST_POSTGRES. The server lives in a directory of its own, listens on
# a free port of 127.0.0.1, and is stopped and removed when the command ends, however it ends; the exit code is the
# command's. A server that runs already is not touched. Where POCKET_TEST_POSTGRES is set, that server is used.
#
# With POCKET_TEST_POSTGRES_DURABLE=1 the server writes what it commits to the disk, as one for other purposes does.
#
# PostgreSQL's programs are looked for in PATH and where Debian and Fedora keep them; on Debian they are installed when
# they are missing and this script may do that.
set -euo pipefail

say() { echo "with-postgres: $*" >&2; }

[ $# -gt 0 ] || { say "usage: tests/with-postgres.sh COMMAND [ARGUMENT…]"; exit 2; }

if [ -n "${POCKET_TEST_POSTGRES:-}" ]; then
    say "using the server of POCKET_TEST_POSTGRES"
    exec "$@"
fi

# Prints the directory of initdb and pg_ctl. They need not be in PATH, and links in PATH may leave out some of them.
find_programs() {
    local candidate directory
    for candidate in "$(command -v initdb || true)" "$(command -v postgres || true)" \
        $(ls -1d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -rV) /usr/pgsql-*/bin/initdb; do
        [ -x "$candidate" ] || continue
        directory=$(dirname "$(readlink -f "$candidate" 2>/dev/null || echo "$candidate")")
        if [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ]; then
            echo "$directory"
            return
        fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # Without a terminal nobody can type a password.
    fi
}

# Whether this is Debian, and this script may install packages.
may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }
}

install_packages() {
    say "not installed; installing Debian's packages $*"
    as_root apt-get update -qq >&2 || say "apt-get update failed, trying with the lists that are there"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

programs=$(find_programs) || {
    { may_install && install_packages postgresql; } || {
        say "the tests need PostgreSQL (initdb and pg_ctl). Install it and run this again:"
        say "  Debian, Ubuntu: apt-get install postgresql    Fedora: dnf install postgresql-server"
        say "  macOS: brew install postgresql                Arch: pacman -S postgresql"
        say "or set POCKET_TEST_POSTGRES to the address of a server on which databases may be created, such as"
        say "  postgres://postgres@127.0.0.1:5432/postgres"
        exit 1
    }
    programs=$(find_programs) || { say "PostgreSQL was installed, but initdb and pg_ctl are not found"; exit 1; }
}

# Tests of what stands before a server, and of other brokers, need these, and say so where they are not there.
missing=()
for program in pgbouncer mosquitto mosquitto_pub; do
    package=$program
    [ "$program" = mosquitto_pub ] && package=mosquitto-clients
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if may_install; then
        # Only the programs are wanted: no service may take a port.
        policy=/usr/sbin/policy-rc.d
        [ -e "$policy" ] && policy= || printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
        install_packages "${missing[@]}" ||
            say "${missing[*]} could not be installed; the tests that need them will fail"
        [ -z "$policy" ] || as_root rm -f "$policy"
    else
        say "${missing[*]}: not installed; the tests that need them will fail"
    fi
fi

# PostgreSQL refuses to run as root. Debian's package brings the user postgres.
owner=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
    owner=postgres
    id "$owner" >/dev/null 2>&1 || owner=nobody
fi
as_owner() {
    if [ "$(id -u)" -eq 0 ]; then runuser -u "$owner" -- "$@"; else "$@"; fi
}

# Short, because the path of a Unix socket is limited; in /tmp, because the owner must be able to reach it.
directory=$(mktemp -d /tmp/pocket-postgres.XXXXXX)
data=$directory/data
log=$directory/log

stop() {
    if [ -f "$data/postmaster.pid" ]; then
        as_owner "$programs/pg_ctl" stop -D "$data" -m immediate -s >/dev/null 2>&1 || true
    fi
    rm -rf "$directory"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

chown "$owner" "$directory"

cd "$directory" # The owner may not be allowed to stand where the caller stands.
as_owner "$programs/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync \
    >"$directory/initdb" 2>&1 || { cat "$directory/initdb" >&2; say "initdb failed"; exit 1; }

# nextest runs many tests at once.
settings="-c listen_addresses=127.0.0.1 -c unix_socket_directories=$directory -c max_connections=400"
# What a test wrote need not survive the machine.
[ -n "${POCKET_TEST_POSTGRES_DURABLE:-}" ] ||
    settings="$settings -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
port=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    candidate=$((RANDOM % 12000 + 20000)) # below the ports that clients are given
    if as_owner "$programs/pg_ctl" start -D "$data" -l "$log" -s -w -t 60 -o "-p $candidate $settings" \
        </dev/null >"$directory/start" 2>&1; then
        port=$candidate
        break
    fi
done
[ -n "$port" ] || { cat "$directory/start" "$log" >&2 || true; say "the server did not start"; exit 1; }
cd "$OLDPWD"

export POCKET_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
say "$("$programs/postgres" --version) on port $port, gone when the command ends"
code=0
"$@" || code=$?
exit "$code"
