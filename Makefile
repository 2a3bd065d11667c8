# Commands for development and continuous integration. Needs python3 (3.11 or later) with venv, git and make.
# Packages are installed from requirements/*.txt, checked by hash, into .venv; nothing outside this folder changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := --quiet --require-hashes
UV_VERSION := 0.13.9
# The tests find the programs that they start on PATH. Debian has mosquitto in /usr/sbin, which is often not on it.
TOOLS := $(CURDIR)/.tools
TEST_PATH := $(TOOLS)/mosquitto/bin:$(TOOLS)/chromium/bin:$(TOOLS)/prometheus/bin:$(PATH):/usr/sbin:/usr/local/sbin
# `make test COVER=1` also measures coverage; `make cover` combines and reports it.
PYTEST := $(BIN)/$(if $(COVER),coverage run -m pytest,python -m pytest)
# Further arguments of the command: make demo ARGS="--seconds 10", make test ARGS="-k memory".
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-train sim mutants chaos attack fuzz cover lint bench quality example screenshots train lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## run broker, service and recorded sensors for a minute
	$(BIN)/stream-lstm demo $(ARGS)

test: $(VENV)/.test ## run all tests that need no PyTorch
	@tools/get-programs mosquitto chromium prometheus
	PATH="$(TEST_PATH)" $(PYTEST) -m "not torch" $(ARGS)

test-train: $(VENV)/.train ## run the tests that need PyTorch
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(PYTEST) -m torch $(ARGS)

SEEDS ?= 10000
SEEDS_WHOLE ?= $(shell expr $(SEEDS) / 5)
sim: $(VENV)/.test ## run pipeline and service on a simulated network, broker and disk: make sim SEEDS=10000
	$(BIN)/python -m tests.sim --seeds $(SEEDS) $(ARGS)
	$(BIN)/python -m tests.sim --whole --seeds $(SEEDS_WHOLE) $(ARGS)

mutants: $(VENV)/.test ## remove the safeguards one by one, and see that a test notices each
	PATH="$(TEST_PATH)" $(BIN)/python -m tests.mutants $(ARGS)

KILLS ?= 200
chaos: $(VENV)/.test ## kill -9 under load, count lost and doubled events: make chaos KILLS=200 ARGS="--what service"
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(BIN)/python -m tests.chaos --kills $(KILLS) $(ARGS)

attack: $(VENV)/.test ## attack the delivery guarantees from outside: make attack KILLS=200 ARGS="--payload constant"
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(BIN)/python -m tests.attack --kills $(KILLS) $(ARGS)

COUNT ?= 1000000
fuzz: $(VENV)/.test ## feed mutated packets and payloads, flip the bits of state files: make fuzz COUNT=1000000
	@echo "panic messages of mqtt5 go to $(VENV)/fuzz.log"
	$(BIN)/python -m tests.fuzz --count $(COUNT) $(ARGS) 2>$(VENV)/fuzz.log || { tail -n 30 $(VENV)/fuzz.log; exit 1; }

cover: ## combine the coverage of `make test COVER=1` and `make test-train COVER=1`; fail below the limits
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include "stream_lstm/core/*,stream_lstm/store/*" --fail-under 100
	$(BIN)/coverage report --fail-under 90

lint: $(VENV)/.test ## run ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)-bench/.bench ## measure throughput, latency, the engine, a million streams and the live page
	@tools/get-programs mosquitto
	PATH="$(TEST_PATH)" $(VENV)-bench/bin/python -m benchmarks.pipeline $(ARGS)
	PATH="$(TEST_PATH)" $(VENV)-bench/bin/python -m benchmarks.everyday
	$(VENV)-bench/bin/python -m benchmarks.fed
	$(VENV)-bench/bin/python -m benchmarks.profile
	$(VENV)-bench/bin/python -m benchmarks.engine
	$(VENV)-bench/bin/python -m benchmarks.streams
	@tools/get-programs chromium
	PATH="$(TEST_PATH)" $(VENV)-bench/bin/python -m benchmarks.page
	$(VENV)-bench/bin/python -m benchmarks.draw

quality: $(VENV)-bench/.bench ## measure forecast accuracy and anomaly detection: make quality ARGS="--streams DIR"
	$(VENV)-bench/bin/python -m benchmarks.quality $(ARGS)

example: $(VENV)/.train ## train the nets of the wolf-and-dog example and draw the chart
	$(BIN)/python -m examples.wolf_and_dog.train
	$(BIN)/python -m examples.wolf_and_dog.draw

screenshots: $(VENV)/.test ## take the screenshots of the live page in docs/page
	@tools/get-programs mosquitto chromium
	PATH="$(TEST_PATH)" PYTHONPATH=. $(BIN)/python tools/screenshots.py

train: $(VENV)/.train ## train the default model from its recipe: make train ARGS="--output FILE"
	$(BIN)/stream-lstm train $(ARGS)

# Each lock file is a subset of the first, with the same versions. UPGRADE=--upgrade resolves to the newest.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url $(UPGRADE)
lock: $(VENV)/bin/python ## resolve requirements/*.txt again: make lock UPGRADE=--upgrade
	$(PIP) install --quiet uv==$(UV_VERSION)
	$(COMPILE) pyproject.toml --extra demo --extra test --output-file requirements/test.txt >/dev/null
	$(COMPILE) pyproject.toml --extra demo --constraint requirements/test.txt --output-file requirements/demo.txt >/dev/null
	$(COMPILE) pyproject.toml --constraint requirements/test.txt --output-file requirements/run.txt >/dev/null
	$(COMPILE) requirements/replay.in --constraint requirements/test.txt --output-file requirements/replay.txt >/dev/null
	$(COMPILE) requirements/bench.in --constraint requirements/test.txt --output-file requirements/bench.txt >/dev/null
	$(COMPILE) requirements/build.in --constraint requirements/test.txt --output-file requirements/build.txt >/dev/null

clean: ## remove environments, caches and fetched programs
	rm -rf $(VENV) $(VENV)-bench .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "The module venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamp files: the set of packages they are named after is installed. An editable install needs the build backend,
# which is locked as well; hence no isolated build, which would fetch an unlocked one.
$(VENV)/.demo: requirements/demo.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install $(LOCKED) --requirement requirements/demo.txt --requirement requirements/build.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/stream-lstm compile
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
