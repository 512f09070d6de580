# The only commands anybody needs; `make` alone lists them.
.PHONY: help run cluster test check one bench fmt
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the server, with everything embedded, on http://localhost:8080; keeps its data in data/
	cargo build
	@exec "$${CARGO_TARGET_DIR:-target}/debug/securevox" serve

cluster: ## three nodes with private services behind http://localhost:8080, to play with; ends with Ctrl-C
	@tests/cluster

test: ## every test, with private services and real clients
	@tests/run

check: ## formatting, lints and the fast tests, in a minute; needs no services
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo test --quiet --workspace --lib
	cargo test --quiet --test it architecture

one: ## one test by a part of its name: make one T=reconnect
	@test -n "$(T)" || { echo 'which one? make one T=a_part_of_its_name'; exit 64; }
	@tests/tools
	@tests/services with cargo test --workspace --tests -- "$(T)"

bench: ## the benchmarks
	@benches/run

fmt: ## formats the code
	cargo fmt --all
