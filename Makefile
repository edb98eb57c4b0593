# make demo, make test, make lint, make bench: each installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two more than there are cores: tests wait for the processes that they start.
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 2)))
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs docs-site bench bench-cores bench-count bench-detect bench-fleet installs container release lock audit clean fuzz

help:  ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/installed  ## The story of layer1 and layer2, without an engine
	$(BIN)/python -m tests.demo

test: $(VENV)/installed  ## All tests
	$(BIN)/python -m compileall -q -j 0 auditor tests  # once, not in each process that the tests start
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: $(VENV)/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.structure

docs: $(VENV)/installed  ## Generated pages: rules, commands, manual page, config keys, limits
	$(BIN)/python -m tools.rules_page > docs/rules.md
	$(BIN)/python -m tools.manual > man/image-audit.1
	$(BIN)/python -m tools.commands_page > docs/commands.md
	$(BIN)/python -m tools.reference_tables

docs-site: $(VENV)/installed  ## The docs as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/installed  ## Speed and memory, as a table
	$(BIN)/python -m bench

bench-cores: $(VENV)/installed  ## A model of scans on 2 to 32 cores
	$(BIN)/python -m bench.cores $(IMAGE)

bench-count: $(VENV)/installed  ## What a scan costs, counted; keeps the figures that the tests compare with
	$(BIN)/python -m bench.count --write
	$(BIN)/python -m tests.hostile.test_work --write

bench-detect: $(VENV)/installed  ## Planted secrets of every rule, way and place: found, placed, decoys
	$(BIN)/python -m bench.detect

bench-fleet: $(VENV)/installed  ## Sweeps of registries of 2,000 and 5,000 images: time, memory, store, dashboard
	$(BIN)/python -m bench.fleet_bytes
	$(BIN)/python -m bench.fleet

installs: $(VENV)/installed  ## The wheel under each Python that is here, pipx, uv: installed and run
	BIN=$(BIN) .ci/install

container: $(VENV)/installed  ## The container image: built on a base made here, run, audited
	BIN=$(BIN) .ci/container

release: $(VENV)/installed  ## Wheel, sdist and SBOM in dist/, checked
	BIN=$(BIN) .ci/release

fuzz: $(VENV)/installed  ## Fuzz the parsers for MINUTES, 5 by default
	$(BIN)/pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python -m fuzz --minutes $(or $(MINUTES),5)

lock: $(VENV)/installed  ## Pin the newest versions that fit
	$(BIN)/pip-compile --quiet --strip-extras --all-extras --all-build-deps --allow-unsafe --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock --upgrade pyproject.toml

audit: $(VENV)/installed  ## Known vulnerabilities of what the lock pins, as PyPI tells them
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip

clean:  ## Remove what the others made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
