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

.PHONY: faults
faults: redis ## Play every trouble of Redis and of the way to it, for minutes; one alone: make faults FAULTS=Frozen
	FAULTS=$(or $(FAULTS),all) $(CARGO) test --locked --test integration -- faults:: --nocapture --test-threads=1

.PHONY: soak
soak: redis ## Ten minutes of load and troubles, in which nothing may grow
	FAULTS=soak $(CARGO) test --locked --test integration -- faults::soak --nocapture

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
