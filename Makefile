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

SECONDS ?= 60

.PHONY: fuzz
fuzz: ## Fuzz each target for a minute (SECONDS=60); what is found belongs into fuzz/seeds/
	@$(call need,g++,g++)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --quiet cargo-fuzz
	@# Without a sanitizer, so that the stable toolchain will do: there is no unsafe code to watch.
	$(CARGO) fuzz build -s none
	@set -e; for target in $$($(CARGO) fuzz list); do echo "fuzzing: $$target"; mkdir -p fuzz/corpus/$$target; \
	$(CARGO) fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
		-max_total_time=$(SECONDS) -timeout=5 -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1 -verbosity=0; done

.PHONY: lint
lint: ## Check format, clippy, documentation and dependencies
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
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
