# BareFlow GDB: `make demo` shows the main job, `make test` proves it. Both do their own set-up.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
JOBS := $(shell nproc)
# The tests of a file share machines and stay together; in the order of their names the last files are the short ones.
# One more at a time than there are processors: they wait for guests, too.
SHARED := -n $(shell expr $(JOBS) + 1) --dist loadfile --no-loadscope-reorder

.PHONY: help setup firmware run demo wheel model llama talk test fuzz soak mutations museum lint types unit guest bench
.PHONY: pgo-profile pgo-analyze pgo-apply docs docs-sessions clean
help:
	@sed -n 's/^#: //p' Makefile
#: make demo      set up, build the firmware, run the main job; leaves build/demo/
#: make wheel     set up, build the firmware, pack it and the suite into build/dist/bareflow_gdb-*.whl
#: make test      set up, then lint, types, unit tests, firmware tests, tests on the real guest
#: make model     get SmolLM2-135M-Instruct (98 MB, once) and pack it for the guest into build/models/
#: make llama     the guest writes with SmolLM2, and gets faster in mid-sentence; leaves the machine `llama` running
#: make talk      SmolLM2 on this terminal, without a host compiler: type a question; DISPLAY_OPTION=gtk: at the guest's keyboard
#: make fuzz      damaged inputs for every reader, an hour; INPUTS=N or SECONDS=N, SEED=N, TARGET=NAME, REPLAY=DIR;
#:                GUIDED=1: led by atheris to code that no input has reached yet, KEEP=1: and the repository keeps some
#: make soak      kills, fills and slows what the suite works with, at random, 10 minutes; SECONDS=N, SEED=N, FAULT=NAME, ROUND=N
#: make mutations proves the swap sanitizer at length: 1,000 flipped bits, 10,000 swaps; MUTATIONS=N, SWAPS=N, SEED=N
#: make museum    makes every defect of the museum and diagnoses it; writes docs/museum.md; DEFECT="PART OF A NAME"
#: make bench     measure; prints a table, writes build/bench.json, exits 1 when a goal is missed
#: make pgo-profile pgo-analyze pgo-apply   a profile of the modules, the plan, the modules compiled by it; into build/pgo/
#: make docs      make docs/reference.md again and record the terminal sessions of the documents, half a minute
#: make setup     only install what is missing (apt packages by name, .venv from pinned requirements)
#: make firmware  only build the unikernel
#: make run       run it in QEMU, COM1 on this terminal; INTERACTIVE=1: it waits for keys, and says how to press them
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

run: firmware
	@$(MAKE) --no-print-directory -C firmware PYTHON=$(abspath $(PY)) run

demo: firmware
	@rm -rf build/demo
	@$(VENV)/bin/bareflow demo --out build/demo

# A copy of the suite with what is built beside it, so that nothing generated comes into the source tree.
STAGED := build/wheel/bareflow_gdb
wheel: firmware
	@rm -rf build/wheel build/dist
	@mkdir -p $(STAGED)/demo
	@cp -r bareflow_gdb pyproject.toml README.md LICENSE build/wheel
	@cp -r gdb_scripts $(STAGED)
	@rm $(STAGED)/gdb_scripts/bareflow.py
	@cp build/firmware/{fluid.img,fat16.img,kernel.elf,llama.img,llama.elf} $(STAGED)/demo
	@cp --parents -r firmware/{boot,kernel,libs,microjit,modules} $(STAGED)/demo
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/dist build/wheel
	@ls build/dist/*.whl

MODEL := build/models/SmolLM2-135M-Instruct.Q4_1.gguf
model: setup
	@mkdir -p $(dir $(MODEL))
	@$(VENV)/bin/bareflow model fetch --out $(MODEL)
	@$(VENV)/bin/bareflow model pack $(MODEL) --out build/models/smollm2.bfm

llama: firmware model
	@$(VENV)/bin/bareflow build disk --output build/models/smollm2.img build/models/smollm2.bfm
	@$(VENV)/bin/bareflow run --name llama --image build/firmware/llama.img --disk build/models/smollm2.img --cpu max
	@$(VENV)/bin/bareflow serve llama > build/models/serve.log 2>&1 & \
	  host=$$!; trap "kill $$host" EXIT; $(VENV)/bin/bareflow serial --follow llama

talk: firmware model
	@$(VENV)/bin/bareflow build disk --output build/models/smollm2.img build/models/smollm2.bfm
	@$(MAKE) --no-print-directory -C firmware PYTHON=$(abspath $(PY)) MODEL_DISK=$(abspath build/models/smollm2.img) run-llama

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup
	$(VENV)/bin/mypy

unit: setup
	$(VENV)/bin/pytest -q tests/unit

guest: firmware
	$(VENV)/bin/pytest -q $(SHARED) tests/firmware tests/guest tests/gdb

test: lint types firmware
	$(VENV)/bin/pytest -q $(SHARED) tests

build/guided/.installed: requirements-guided.txt $(VENV)/.installed
	@rm -rf build/guided
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --target build/guided -r requirements-guided.txt
	@touch $@

fuzz: firmware $(if $(GUIDED),build/guided/.installed)
	@PYTHONPATH=tests:tests/support$(if $(GUIDED),:build/guided) $(PY) -m fuzz $(if $(GUIDED),--guided) $(if $(KEEP),--keep) \
	    $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target "$(TARGET)") $(if $(REPLAY),--replay "$(REPLAY)")

MUTATIONS ?= 1000
SWAPS ?= 10000
mutations: firmware
	MUTATIONS=$(MUTATIONS) SWAPS=$(SWAPS) $(if $(SEED),SEED=$(SEED)) $(VENV)/bin/pytest -q -s tests/guest/test_swap_faults.py
	@cat build/swap-faults.md

soak: firmware
	@PYTHONPATH=tests:tests/support:tests/gdb $(PY) -m soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(FAULT),--fault "$(FAULT)") $(if $(ROUND),--round $(ROUND))

PGO := build/pgo
pgo-profile: firmware
	@mkdir -p $(PGO)
	@$(VENV)/bin/bareflow pgo profile --out $(PGO)/profile.json

pgo-analyze: $(PGO)/profile.json
	@$(VENV)/bin/bareflow pgo plan $< --out $(PGO)/plan.json

pgo-apply: $(PGO)/plan.json
	@$(VENV)/bin/bareflow pgo apply $< --cache $(PGO)/cache/i686/default

$(PGO)/profile.json:
	@$(MAKE) --no-print-directory pgo-profile

$(PGO)/plan.json:
	@$(MAKE) --no-print-directory pgo-analyze

museum: firmware
	@$(MAKE) -s --no-print-directory -C firmware PYTHON=$(abspath $(PY)) museum
	@PYTHONPATH=tests:tests/support $(PY) -m museum $(DEFECT)
	@PYTHONPATH=tests:tests/support $(PY) -m museum.lessons

bench: firmware
	@$(PY) -m compileall -q bareflow_gdb gdb_scripts
	@$(PY) bench/run.py --json build/bench.json

docs docs-sessions: firmware
	@$(PY) docs/make_reference.py
	@$(PY) docs/record.py

clean:
	rm -rf build
