# One line per target; `make help` prints them.
TOOLCHAIN := 1.95.0
CARGO := cargo

.DEFAULT_GOAL := help
.PHONY: autobahn fuzz help setup run test test-long check fmt docs bench gate growth chart-test image-test watch-test scale-test js-test browser-test chaos chaos-build chaos-selftest sim sim-selftest

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what is missing: Rust, redis-server, Python websockets, npm ws
	@sh .ci/setup

run: setup ## two nodes in one process over an embedded store, ready to use
	$(CARGO) run --release --locked -- dev

check: ## format, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

# How many schedules of whole nodes; CI asks for 100,000.
SCHEDULES ?= 1000

test: setup check ## what must hold for every change: lints, unit, property, store, cluster, dialects, instruction counts, schedules, fuzz, chart, JavaScript client, documents
	$(CARGO) test --workspace --exclude benches --locked --no-fail-fast
	target/debug/sparkway-sim --count $(SCHEDULES)
	tests/chart/run.sh
	cd clients/js && npm ci --silent && npm test
	python3 tests/docs/run.py

test-long: test ## all that and what takes longer: 100,000 schedules, browser, balancers, the image, chaos, planted defects, Prometheus
	$(CARGO) build --workspace --locked
	$(CARGO) test --locked -p benches
	target/debug/sparkway-sim --count 100000
	cd clients/js && npm ci --silent && SPARKWAY_BIN=$(CURDIR)/target/debug/sparkway npm run test:real
	cd tests/browser && npm ci --silent && npm test
	target/docs-venv/bin/python3 tests/deploy/balancers.py
	$(MAKE) image-test
	$(MAKE) chaos SECONDS=60 ARGS='--round 12 --sessions 60'
	$(MAKE) chaos-selftest ARGS='--controls 0 --defects no-repair,no-idempotency'
	python3 tests/watching/run.py

autobahn: ## the Autobahn WebSocket suite against the room dialect (needs Python 2.7)
	$(CARGO) build --locked -p sparkway
	python3 tests/autobahn/run.py target/debug/sparkway

fuzz: ## every fuzz target for a minute (FUZZ_SECONDS=…)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(CARGO) test --locked -p fuzz -- --nocapture

bench: ## the measurements of benches/, as a table and as JSON in benches/results
	$(CARGO) build --release --locked -p sparkway -p benches
	python3 benches/run.py

gate: ## instructions and allocations of the hot paths against their bounds, under valgrind
	$(CARGO) test --workspace --exclude benches --locked --test bounds

growth: ## how costs grow with subscribers, topics, connections, nodes, sizes: plots in benches/results
	$(CARGO) build --release --locked -p sparkway -p benches
	python3 benches/growth.py

fmt: ## format the sources
	$(CARGO) fmt --all

docs: ## generate the reference pages
	UPDATE=1 $(CARGO) test --locked -p sparkway-protocol -p sparkway-config -p sparkway-metrics --quiet
	UPDATE=1 $(CARGO) test --locked --bin sparkway reference_page --quiet
	UPDATE=1 $(CARGO) test --locked --test cluster the_reference_page --quiet
	$(CARGO) doc --workspace --no-deps

chart-test: ## render and validate the Helm chart, without a cluster
	tests/chart/run.sh

STATIC = target/$(shell uname -m)-unknown-linux-gnu/debug/sparkway

image-test: ## the image of deploy/Dockerfile around a static binary: built, looked into and started by buildah (as root)
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked -p sparkway --target $(shell uname -m)-unknown-linux-gnu
	tests/chart/image.sh $(STATIC)

watch-test: ## traces to a real OTLP receiver, metrics in a real Prometheus
	$(CARGO) build --locked -p sparkway
	python3 tests/watching/run.py

scale-test: ## 3,000 clients while a fourth node joins three, at the usual pace: up to five minutes
	$(CARGO) build --locked -p sparkway
	python3 tests/watching/run.py scale full

js-test: ## build and test the JavaScript client, against a fake and against two real nodes
	$(CARGO) build --locked -p sparkway
	cd clients/js && npm ci --silent && npm test && SPARKWAY_BIN=$(CURDIR)/target/debug/sparkway npm run test:real

browser-test: ## the demo page in a real Chromium, on two real nodes
	$(CARGO) build --locked -p sparkway
	cd clients/js && npm ci --silent && npm run --silent build
	cd tests/browser && npm ci --silent && npm test

SECONDS ?= 120
CHAOS = target/debug/chaos-run

chaos-build:
	$(CARGO) build --locked -p sparkway -p chaos

chaos: chaos-build ## break a real cluster and judge what clients saw: SECONDS=120 SEED=… ARGS='--topology cluster'
	$(CHAOS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos-selftest: chaos-build ## plant defects into a gateway and see that each is found: SEED=… ARGS='--defects no-gate,no-fence'
	$(CARGO) build --locked -p sparkway --features planted
	cp target/debug/sparkway target/debug/sparkway-planted
	$(CARGO) build --locked -p sparkway
	$(CHAOS) --selftest $(if $(SEED),--seed $(SEED)) $(ARGS)

sim: ## schedules of whole nodes in virtual time, judged by what clients saw: SEED=1 N=1000
	$(CARGO) run --locked --quiet -p sparkway-sim -- --seed $(or $(SEED),1) --count $(or $(N),1000) $(ARGS)

sim-selftest: ## the same with one planted defect after the other: each has to be found
	$(CARGO) run --locked --quiet -p sparkway-sim --features planted -- --selftest --seed $(or $(SEED),1) --count $(or $(N),20000)
