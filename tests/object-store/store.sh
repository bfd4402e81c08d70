#!/usr/bin/env bash
# Starts and stops one real S3-compatible object store for tests: MinIO, a single process on this machine.
#
#   store.sh start [port]   prints http://host:port of a store that is ready, with the bucket `pejl`; a running one is reused
#   store.sh stop           stops it and removes its data
#
# User and password are `pejltest` and `pejltest-secret`: it listens on the loopback address only and holds synthetic data.
# Exit code 3: Go or the network is missing, and standard error says which.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Conditional puts (If-None-Match: *) are checked and done under one lock in this version.
version=v0.0.0-20260212201848-7aac2a2c5b7c
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pejl/object-store
server=$cache/minio-$version
run=$cache/run
start_seconds=60
name=store.sh

# shellcheck source=../setup/server.sh
source "$here/../setup/server.sh"

# Builds the server with Go's own tools, once per version.
fetch() {
    [ -x "$server" ] && return
    command -v go > /dev/null || missing "Go is missing; it is needed once, to build the object store"
    say "building MinIO with go install (about four minutes, once)"
    local built
    built=$(mktemp -d "$cache/built.XXXXXX")
    if ! GOBIN=$built go install "github.com/minio/minio@$version" > "$cache/go.txt" 2>&1; then
        rm -rf "$built"
        tail -n 3 "$cache/go.txt" >&2
        missing "MinIO could not be built; see $cache/go.txt"
    fi
    mv "$built/minio" "$server"
    rm -rf "$built"
}

alive() { alive_as "$run/"; }

# Whether it answers as ready.
ready() {
    local answer
    { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
    printf 'GET /minio/health/ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
    read -r answer <&3 || true
    exec 3>&-
    [[ "$answer" == *" 200 "* ]]
}

start() {
    if alive; then
        cat "$run/address"
        return
    fi
    fetch
    rm -rf "$run"
    # A folder is a bucket.
    mkdir -p "$run/data/pejl"
    local port=${1:-$(free_port)}
    if listens "$port"; then
        say "port $port is taken"
        exit 1
    fi
    # None of our pipes and locks: whoever waits for this script must not wait for the store.
    MINIO_ROOT_USER=pejltest MINIO_ROOT_PASSWORD=pejltest-secret MINIO_BROWSER=off MINIO_UPDATE=off \
        nohup "$server" server --quiet --address "127.0.0.1:$port" "$run/data" \
        > "$run/server.txt" 2>&1 < /dev/null 9>&- &
    echo $! > "$run/pid"
    local deadline=$((SECONDS + start_seconds))
    until ready "$port"; do
        if ! kill -0 "$(cat "$run/pid")" 2> /dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$run/server.txt" >&2
            say "the store did not start; its log is $run/server.txt"
            exit 1
        fi
        sleep 0.2
    done
    echo "http://127.0.0.1:$port" | tee "$run/address"
}

take_turns

case "${1:-}" in
    start) start "${2:-}" ;;
    stop) stop ;;
    *)
        say "use: store.sh start [port] | stop"
        exit 2
        ;;
esac
