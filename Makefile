# Run `make` for the list of targets. Tools that are missing get installed into a cache folder outside the work tree.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# rustup does not install by itself on every machine, so each call names what scripts/setup.sh has installed.
export RUSTUP_TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"$$/\1/p' rust-toolchain.toml)
export LIGHTFOOT_CACHE := $(abspath $(or $(LIGHTFOOT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lightfoot))
# Without it a build that lacks the BPF toolchain succeeds and carries no programs.
export LIGHTFOOT_REQUIRE_BPF := 1

.PHONY: help demo build dist packages image reproducible manifests check test test-all soak vm vm-all support-table bless bench setup

help: ## show this list
	@echo "Lightfoot: OpenTelemetry traces from running Go services, through eBPF."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Tools are kept in $(LIGHTFOOT_CACHE); set LIGHTFOOT_CACHE for another place."

demo: ## watch three small Go services for a minute
	@scripts/setup.sh bpf go
	@scripts/demo.sh

build: ## build target/release/lightfoot
	@scripts/setup.sh bpf
	cargo build --release --package lightfoot

dist: ## build dist/lightfoot-x86_64 and dist/lightfoot-aarch64, static and for any Linux, with what they are made of
	@scripts/setup.sh dist
	@scripts/dist.sh

packages: dist ## make deb and rpm of these in dist/
	@scripts/setup.sh packages
	@scripts/packages.sh

reproducible: ## make everything in dist/ twice and compare the bytes
	@scripts/setup.sh dist packages
	@scripts/reproducible.sh

image: dist ## make a container image of these in dist/
	@scripts/image.sh

manifests: ## write deploy/kubernetes anew, of the Helm chart
	@scripts/setup.sh chart
	@scripts/manifests.sh >deploy/kubernetes/lightfoot.yaml

check: ## formatting, lints, spelling, documentation, licences
	@scripts/setup.sh bpf checks
	@scripts/check.sh

test: ## run the tests
	@scripts/setup.sh dist emulator go-tests packages package-tests container chart vm
	@scripts/dist.sh
	@scripts/packages.sh
	@scripts/image.sh
	@# Tests wait for this and that: what they leave of the processors compiles what comes last.
	@chrt --idle 0 scripts/fuzz.sh build & trap "kill $$! 2>/dev/null || true" EXIT; cargo test --workspace
	@scripts/kit.sh vm usual
	@scripts/fuzz-briefly.sh

test-all: ## run the tests with everything that is too long for each run: hours (as root)
	@LIGHTFOOT_TEST_ALL=1 $(MAKE) test
	@# Of the last commit, and so it refuses where there are changes.
	@$(MAKE) reproducible

soak: ## let an agent run for an hour while programs come and go (as root); SECONDS=180 is what each run of the tests does
	@scripts/setup.sh bpf go-tests
	cargo build --package lightfoot-tests --bins
	LIGHTFOOT_SOAK=$(or $(SECONDS),3600) cargo test --package lightfoot-tests --test soak -- --nocapture

vm: ## boot other kernels and arm64 by emulation, as each run of the tests does; KERNEL='x86_64 6.1' takes that one
	@scripts/setup.sh dist go-tests vm
	@scripts/dist.sh
	@scripts/kit.sh vm $(if $(KERNEL),--write $(KERNEL),usual)

vm-all: ## boot all kernels (hours), and write docs/kernels.json and the README's table
	@$(MAKE) vm KERNEL=all

support-table: ## compare every build with the truth (an hour, as root), and write docs/support.json and the README's table
	@scripts/setup.sh bpf go-tests
	cargo build --package lightfoot-tests --bins
	@# It fails where something has changed: that is what is written down next.
	-LIGHTFOOT_TEST_ALL=1 cargo test --package lightfoot-tests --test matrix spans_of_every_build_are_the_truth
	cargo run --package lightfoot-tests --bin support

bless: ## make the recordings in tests/recordings anew, and the spans that they come to (as root)
	@scripts/setup.sh bpf go-tests
	cargo build --package lightfoot-tests --bins
	cargo run --package lightfoot-tests --bin bless

bench: ## measure; WRITE=1 puts the results into README.md and docs/bench
	@scripts/setup.sh bpf go-tests
	cargo run --release --package lightfoot-tests --bin bench -- $(if $(WRITE),--write)

setup: ## install everything that the other targets need, and nothing else
	@scripts/setup.sh dist emulator packages package-tests container chart vm checks go go-tests
