# BareFlow GDB: `make demo` shows the main job, `make test` proves it. Both do their own set-up.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
JOBS := $(shell nproc)
# The tests of a file share machines and stay together; in the order of their names the last files are the short ones.
SHARED := --dist loadfile --no-loadscope-reorder

.PHONY: help setup firmware demo test lint types unit guest bench docs-sessions clean
help:
	@sed -n 's/^#: //p' Makefile
#: make demo      set up, build the firmware, run the main job; leaves build/demo/
#: make test      set up, then lint, types, unit tests, firmware tests, tests on the real guest
#: make bench     measure; prints a table, writes build/bench.json, exits 1 when a goal is missed
#: make docs-sessions  record the terminal sessions of README.md and docs/gdb.md anew
#: make setup     only install what is missing (apt packages by name, .venv from pinned requirements)
#: make firmware  only build the unikernel
#: make clean     remove build/

build/.packages: scripts/packages.txt scripts/setup-packages
	@mkdir -p build
	@scripts/setup-packages scripts/packages.txt
	@touch $@

$(VENV)/.installed: requirements.txt pyproject.toml | build/.packages
	@echo "setup: Python packages into $(VENV) (pinned, with hashes)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) -m compileall -q bareflow_gdb gdb_scripts
	@touch $@

setup: build/.packages $(VENV)/.installed

firmware: setup
	@echo "firmware: building what has changed (all of it the first time, half a minute or so) …"
	@$(MAKE) -s --no-print-directory -C firmware -j$(JOBS) PYTHON=$(abspath $(PY))

demo: firmware
	@$(PY) scripts/demo.py --out build/demo

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup
	$(VENV)/bin/mypy

unit: setup
	$(VENV)/bin/pytest -q tests/unit

guest: firmware
	$(VENV)/bin/pytest -q -n $(JOBS) $(SHARED) tests/firmware tests/guest tests/gdb

test: lint types firmware
	$(VENV)/bin/pytest -q -n $(JOBS) $(SHARED) tests

bench: firmware
	@$(PY) -m compileall -q bareflow_gdb gdb_scripts
	@$(PY) bench/run.py --json build/bench.json

docs-sessions: firmware
	@$(PY) docs/record.py

clean:
	rm -rf build
