#!/usr/bin/env bash
# Runs a command with the other side there: a real Apache Kafka, a real object store, and a Python with real clients.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pejl
export PEJL_TEST_PYTHON=${PEJL_TEST_PYTHON:-$cache/python/bin/python}

started=()
stop_all() {
  local script
  for script in "${started[@]}"; do "$script" stop; done
}
trap stop_all EXIT

# provide VARIABLE NAME SCRIPT: sets VARIABLE to the address of what SCRIPT starts, unless it is set already.
provide() {
  local variable=$1 name=$2 script=$3 address
  if [ -n "${!variable:-}" ]; then
    echo "make: using the $name at ${!variable}" >&2
  elif address=$("$script" start); then
    export "$variable=$address"
    started+=("$script")
    echo "make: started $name at $address" >&2
  else
    unset "$variable"
    echo "make: ############################################################" >&2
    echo "make: # NO $name could be had: its tests are SKIPPED" >&2
    echo "make: ############################################################" >&2
  fi
}

provide PEJL_TEST_KAFKA "Apache Kafka" "$here/../kafka-broker/broker.sh"
if [ -z "${PEJL_TEST_KAFKA_TLS:-}" ] && tls=$("$here/../kafka-broker/broker.sh" tls); then
  export PEJL_TEST_KAFKA_TLS=$tls
fi
provide PEJL_TEST_S3 "object store" "$here/../object-store/store.sh"
"$@"
