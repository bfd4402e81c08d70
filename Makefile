# Each target sets up what it needs and says what it does. Built things live outside the checkout,
# in one target folder that survives it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pejl
export CARGO_TARGET_DIR ?= $(CACHE)/target
PYTHON := $(CACHE)/python/bin/python
PEJL := $(CARGO_TARGET_DIR)/debug/pejl

.PHONY: help demo test lint bench chaos build tools-build tools-test

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

demo: build ## Simulated municipalities in one process; prints where psql and the marts are
	@$(PEJL) demo $(DEMO)

test: tools-build tools-test ## All tests: real Kafka, real object store, real psql and Python clients
	@tests/setup/run.sh cargo test --workspace --no-fail-fast $(TEST)

lint: tools-build ## Formatting, clippy, and (where cargo-deny is there) licences and bans
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; \
	else echo "lint: cargo-deny is not installed, licences and bans not checked (cargo install cargo-deny)" >&2; fi

bench: tools-build tools-test ## Measured figures, each as a ratio against a named rival in the same run; starts Kafka
	@tests/setup/run.sh cargo bench --package bus --bench log --package landing --bench landing --package warehouse --bench national $(BENCH)

ROUNDS ?= 16

chaos: tools-build tools-test ## Workers, landers, Kafka and the store disturbed for ROUNDS rounds; writes docs/delivery.md
	@PEJL_CHAOS_ROUNDS=$(ROUNDS) $(if $(SEED),PEJL_CHAOS_SEED=$(SEED)) PEJL_CHAOS_REPORT=$(CURDIR)/docs/delivery.md \
	  tests/setup/run.sh cargo test --workspace --test chaos -- --nocapture

# The tests are built with it: features are then the same for both, and nothing heavy is built twice.
build: tools-build
	@echo "make: building pejl (the first time takes about 20 minutes on two cores)"
	@cargo build --workspace --bins --tests

tools-build:
	@tests/setup/tools.sh build

tools-test:
	@tests/setup/tools.sh test "$(PYTHON)"
