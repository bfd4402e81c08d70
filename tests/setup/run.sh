#!/usr/bin/env bash
# Runs a command with the other side there: a real Apache Kafka, and a Python with real clients.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pejl
export PEJL_TEST_PYTHON=${PEJL_TEST_PYTHON:-$cache/python/bin/python}

if [ -n "${PEJL_TEST_KAFKA:-}" ]; then
  echo "make: using the Kafka at $PEJL_TEST_KAFKA" >&2
else
  broker=$here/../kafka-broker/broker.sh
  if PEJL_TEST_KAFKA=$("$broker" start); then
    export PEJL_TEST_KAFKA
    trap '"$broker" stop' EXIT
    echo "make: started Apache Kafka at $PEJL_TEST_KAFKA" >&2
  else
    unset PEJL_TEST_KAFKA
    echo "make: ############################################################" >&2
    echo "make: # NO KAFKA could be had: the Kafka half of the tests is SKIPPED" >&2
    echo "make: ############################################################" >&2
  fi
fi
"$@"
