# What the scripts that run a server for tests share: saying, giving up, finding a port. Sourced; `name`, `run` are the script's.

say() { echo "$name: $*" >&2; }

# For what is not there and cannot be fetched: whoever called skips its tests.
missing() {
    say "$*"
    exit 3
}

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! listens "$port"; then
            echo "$port"
            return
        fi
    done
}

# Whether the process that start left behind is still ours: its command line holds $1. Process ids are reused.
alive_as() {
    local pid
    pid=$(cat "$run/pid" 2> /dev/null) || return 1
    tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -q "$1" \
        || ps -p "$pid" -o args= 2> /dev/null | grep -q "$1"
}

# kill -9, and what it had written is kept.
end() {
    alive || return 0
    local deadline
    kill -9 "$(cat "$run/pid")"
    deadline=$((SECONDS + 10))
    while alive && [ "$SECONDS" -lt "$deadline" ]; do
        sleep 0.1
    done
}

# Ends it and removes what it had. Nothing in it is kept, so it need not shut down in order.
stop() {
    end
    rm -rf "$run"
}

# Two of us at once would take each other's place.
take_turns() {
    mkdir -p "$cache"
    if command -v flock > /dev/null; then
        exec 9> "$cache/lock"
        flock 9
    fi
}
