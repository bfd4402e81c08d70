#!/usr/bin/env bash
# Makes sure of what a fresh Debian-like machine lacks: `tools.sh build`, or `tools.sh test PYTHON`.
set -euo pipefail

say() { echo "make: $*" >&2; }

# apt_for COMMAND PACKAGE...: installs the packages when the command is missing.
apt_for() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  if ! command -v apt-get >/dev/null; then
    say "\`$command\` is missing and this is no Debian; install $* and try again"
    exit 2
  fi
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  say "installing $* (for \`$command\`)"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

build() {
  if ! command -v cargo >/dev/null; then
    say "\`cargo\` is missing: install Rust from https://rustup.rs and try again"
    exit 2
  fi
  apt_for gcc build-essential
  apt_for make build-essential
  apt_for perl perl
  apt_for pkg-config pkg-config libssl-dev
}

test_tools() {
  local python=$1
  apt_for psql postgresql-client
  apt_for openssl openssl
  apt_for python3 python3 python3-venv
  if ! "$python" -c 'import deltalake, duckdb, psycopg, pyarrow' 2>/dev/null; then
    say "making a Python environment with psycopg, deltalake, duckdb (beside the build cache)"
    local folder
    folder=$(dirname "$(dirname "$python")")
    python3 -m venv "$folder"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$(dirname "$0")/requirements.txt"
  fi
}

case ${1:-} in
  build) build ;;
  test) test_tools "$2" ;;
  *)
    say "usage: tools.sh build | test PYTHON"
    exit 2
    ;;
esac
