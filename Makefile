# One line per target; `make help` prints them.
TOOLCHAIN := 1.95.0
CARGO := cargo

.DEFAULT_GOAL := help
.PHONY: help setup run test check fmt docs bench chart-test js-test

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

test: setup check ## everything that must hold: lints, unit, property, store, cluster, chart, client, docs
	$(CARGO) test --workspace --locked
	tests/chart/run.sh
	cd clients/js && npm ci --silent && npm test
	python3 tests/docs/run.py

bench: ## the measurements of benches/, as a table and as JSON in benches/results
	$(CARGO) build --release --locked -p sparkway -p benches
	python3 benches/run.py

fmt: ## format the sources
	$(CARGO) fmt --all

docs: ## generate the reference pages
	UPDATE=1 $(CARGO) test --locked -p sparkway-config -p sparkway-metrics --quiet
	$(CARGO) doc --workspace --no-deps

chart-test: ## render and validate the Helm chart, without a cluster
	tests/chart/run.sh

js-test: ## build and test the JavaScript client
	cd clients/js && npm ci --silent && npm test
