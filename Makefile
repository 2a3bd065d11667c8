# Everything that is done here by hand or by machine. Needs python3 (3.11 or later) with venv, git and make.
# Packages come from requirements/*.txt, checked by hash, into .venv; nothing outside this folder is changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := --quiet --require-hashes
UV_VERSION := 0.13.9
# The tests look on PATH for the programs that they start; Debian keeps mosquitto in /usr/sbin, which users often have not.
TOOLS := $(CURDIR)/.tools
TEST_PATH := $(TOOLS)/mosquitto/bin:$(TOOLS)/chromium/bin:$(TOOLS)/prometheus/bin:$(PATH):/usr/sbin:/usr/local/sbin
# `make test COVER=1` measures coverage as well; `make cover` then adds it up.
PYTEST := $(BIN)/$(if $(COVER),coverage run -m pytest,python -m pytest)
# More arguments for the command at hand: make demo ARGS="--seconds 10", make test ARGS="-k memory".
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-train kernels sim chaos fuzz cover lint bench quality example screenshots train lock clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## broker, service and recorded sensors, for a minute
	$(BIN)/stream-lstm demo $(ARGS)

test: $(VENV)/.test ## every test that needs no PyTorch
	@tools/get-programs mosquitto chromium prometheus
	PATH="$(TEST_PATH)" $(PYTEST) -m "not torch" $(ARGS)

test-train: $(VENV)/.train ## the tests that need PyTorch
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(PYTEST) -m torch $(ARGS)

SEEDS ?= 10000
sim: $(VENV)/.test ## the line on a simulated broker and disk: make sim SEEDS=10000
	$(BIN)/python -m tests.sim --seeds $(SEEDS) $(ARGS)

KERNELS ?= Haswell Nehalem
kernels: $(VENV)/.test ## core tests and some seeds under several BLAS kernels: make kernels KERNELS="Haswell Zen"
	@for kernel in $(KERNELS); do echo "OPENBLAS_CORETYPE=$$kernel"; OPENBLAS_CORETYPE=$$kernel \
		$(BIN)/python -m pytest tests/core && OPENBLAS_CORETYPE=$$kernel $(BIN)/python -m tests.sim --seeds 200 \
		|| exit 1; done

KILLS ?= 200
chaos: $(VENV)/.test ## kill -9 under load, counted: make chaos KILLS=200 ARGS="--what service"
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(BIN)/python -m tests.chaos --kills $(KILLS) $(ARGS)

COUNT ?= 1000000
fuzz: $(VENV)/.test ## random and mutated packets and payloads: make fuzz COUNT=1000000
	@echo "what mqtt5 prints of its own panics is left out"
	$(BIN)/python -m tests.fuzz --count $(COUNT) $(ARGS) 2>$(VENV)/fuzz.log || { tail -n 30 $(VENV)/fuzz.log; exit 1; }

cover: ## add up what `make test COVER=1` and `make test-train COVER=1` covered; hold it against the bounds
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include "stream_lstm/core/*,stream_lstm/store/*" --fail-under 100
	$(BIN)/coverage report --fail-under 90

lint: $(VENV)/.test ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)-bench/.bench ## the line beside an echo and a handwritten script, and by itself; the engine; streams
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(VENV)-bench/bin/python -m benchmarks.line $(ARGS)
	$(VENV)-bench/bin/python -m benchmarks.fed
	$(VENV)-bench/bin/python -m benchmarks.profile
	$(VENV)-bench/bin/python -m benchmarks.engine
	$(VENV)-bench/bin/python -m benchmarks.streams
	@tools/get-programs chromium
	PATH="$(TEST_PATH)" $(VENV)-bench/bin/python -m benchmarks.page
	$(VENV)-bench/bin/python -m benchmarks.draw

quality: $(VENV)-bench/.bench ## how good predictions and alarms are: make quality ARGS="--streams DIR"
	$(VENV)-bench/bin/python -m benchmarks.quality $(ARGS)

example: $(VENV)/.train ## the wolf and the dog: train both nets, and draw
	$(BIN)/python -m examples.wolf_and_dog.train
	$(BIN)/python -m examples.wolf_and_dog.draw

screenshots: $(VENV)/.test ## the pictures of the live page in docs/page
	@tools/get-programs mosquitto chromium
	PATH="$(TEST_PATH)" PYTHONPATH=. $(BIN)/python tools/screenshots.py

train: $(VENV)/.train ## the default model, from its recipe
	$(BIN)/stream-lstm train $(ARGS)

# Each lock holds a part of the first, in the same versions. UPGRADE=--upgrade takes the newest.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url $(UPGRADE)
lock: $(VENV)/bin/python ## requirements/*.txt again; UPGRADE=--upgrade for the newest versions
	$(PIP) install --quiet uv==$(UV_VERSION)
	$(COMPILE) pyproject.toml --extra demo --extra test --output-file requirements/test.txt >/dev/null
	$(COMPILE) pyproject.toml --extra demo --constraint requirements/test.txt --output-file requirements/demo.txt >/dev/null
	$(COMPILE) pyproject.toml --constraint requirements/test.txt --output-file requirements/run.txt >/dev/null
	$(COMPILE) requirements/replay.in --constraint requirements/test.txt --output-file requirements/replay.txt >/dev/null
	$(COMPILE) requirements/bench.in --constraint requirements/test.txt --output-file requirements/bench.txt >/dev/null
	$(COMPILE) requirements/build.in --constraint requirements/test.txt --output-file requirements/build.txt >/dev/null

clean: ## remove all that was made here
	rm -rf $(VENV) $(VENV)-bench .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; make PYTHON=python3.x takes another one"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "the module venv is needed: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps tell that what they are named after is installed. An editable install needs the build backend,
# which is locked like everything else: so no isolated, unlocked build.
$(VENV)/.demo: requirements/demo.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install $(LOCKED) --requirement requirements/demo.txt --requirement requirements/build.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.demo
	$(PIP) install $(LOCKED) --requirement requirements/test.txt
	@touch $@

$(VENV)/.train: requirements/train.txt $(VENV)/.test
	$(PIP) install --quiet --requirement requirements/train.txt
	@touch $@

$(VENV)-bench/.bench: requirements/bench.txt requirements/train.txt requirements/test.txt requirements/build.txt pyproject.toml
	@$(MAKE) --no-print-directory VENV=$(VENV)-bench $(VENV)-bench/.train
	$(VENV)-bench/bin/python -m pip --disable-pip-version-check install $(LOCKED) --requirement requirements/bench.txt
	@touch $@
