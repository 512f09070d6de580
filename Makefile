# All commands; `make` without a target lists them.
.PHONY: help run cluster test check one bench docs fmt
.DEFAULT_GOAL := help

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## run the server with embedded defaults on http://localhost:8080, data in data/
	cargo build
	@exec "$${CARGO_TARGET_DIR:-target}/debug/securevox" serve

cluster: ## run three nodes with private services behind http://localhost:8080 until Ctrl-C
	@tests/cluster

test: ## run all tests, with private services and real clients
	@tests/run

check: ## check formatting and lints and run the fast tests; takes a minute, needs no services
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo test --quiet --workspace --lib
	cargo test --quiet --test it architecture

one: ## run the tests whose name contains T: make one T=reconnect
	@test -n "$(T)" || { echo 'T is missing: make one T=part_of_a_test_name'; exit 64; }
	@tests/tools
	@cargo build --quiet --package securevox-loadgen
	@tests/services with cargo test --workspace --tests -- "$(T)"

bench: ## run the benchmarks
	@benches/run

docs: ## writes the generated documents anew
	UPDATE_DOCS=1 cargo test --quiet --test it generated_docs

fmt: ## format the code
	cargo fmt --all
