# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO := cargo
APT := $(if $(filter 0,$(shell id -u)),,sudo) apt-get

# $(call need,command,package): installs a package where its command is missing.
need = command -v $(1) >/dev/null || { $(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends $(2) >/dev/null; }

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: run
run: redis ## Build, start a lockside with a private Redis, and print curl lines to paste
	$(CARGO) run --locked --release -- dev

.PHONY: test
test: redis promtool ## Run every test against a real redis-server
	$(CARGO) test --locked

.PHONY: bench
bench: redis peers ## Measure lockside beside the least it could cost and beside its peers; ARGS="--only a,f"
	$(CARGO) build --locked --release
	BENCH_PYTHON=$(PEERS)/python/bin/python BENCH_NODE_MODULES=$(wildcard $(PEERS)/node_modules) \
	  $(CARGO) bench --locked --profile load --bench bench -- $(ARGS)

.PHONY: growth
growth: redis ## Measure whether an operation costs more with many locks, connections, sidecars; draw it in docs/bench
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --profile load --bench bench -- --growth $(ARGS)

.PHONY: cost
cost: redis ## Count what operations cost, in instructions, Redis commands and bytes; fail where it is more than before
	@$(call need,valgrind,valgrind)
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --profile dev --bench bench -- --cost

.PHONY: lint
lint: ## Check format, clippy, documentation and dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet cargo-deny
	$(CARGO) deny --offline check bans licenses sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny check advisories; \
	else echo "advisories: not checked, since the database cannot be fetched from here"; fi

.PHONY: redis
redis:
	@# Debian starts the server as a service; the tests and dev start their own.
	@$(call need,redis-server,redis-server)

.PHONY: promtool
promtool:
	@$(call need,promtool,prometheus)

# What lockside is compared with: redis-py, node-redlock where there is an npm, etcd.
PEERS := target/peers
.PHONY: peers
peers:
	@$(call need,etcd,etcd-server)
	@test -x $(PEERS)/python/bin/python || { python3 -m venv $(PEERS)/python && $(PEERS)/python/bin/pip install -q redis; }
	@! command -v npm >/dev/null || test -d $(PEERS)/node_modules/redlock \
	  || npm install --silent --no-save --prefix $(PEERS) redlock@5.0.0-beta.2 ioredis
