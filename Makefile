# One command per job. Every target makes .venv, or brings it up to date, by itself; `make help` lists them.

PYTHON ?= python3
PROFILE = quick
ARGS =
BASE = HEAD~1
HEAD = HEAD
RANGE = HEAD~5..HEAD

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := PYTHON=$(PYTHON) .ci/install
PINS := .ci/constraints.txt
PYMARKET := .venv-pymarket
PYMARKET_PINS := $(CURDIR)/tests/differential/requirements.txt
SB3 := .venv-sb3
SB3_PINS := tests/differential/requirements-sb3.txt
JAX := .venv-jax
JAX_PINS := tests/differential/requirements-jax.txt
OTAVA := .venv-otava
OTAVA_PIN := apache-otava==0.8.0

# One thread per library: figures stay comparable, and small matrices do not fight over two cores.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export NUMBA_NUM_THREADS = 1
# The same order of sets and dicts of strings in every process.
export PYTHONHASHSEED = 0
# Ray neither reports its use nor waits for an answer from outside.
export RAY_USAGE_STATS_ENABLED = 0
# Figures are drawn into files, never on a screen.
export MPLBACKEND = Agg

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv bench study test test-all coverage lint format docs gate gate-check history lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12   the Python that .venv is made from, 3.11 or newer; as a rule python3"
	@echo "  PROFILE=full        profile of 'make bench': quick, study or full"
	@echo "  ARGS='...'          more options for pytest, as in:"
	@echo "                      make bench ARGS='--populations 1,10,100 --modes ctde'"
	@echo "                      make test ARGS='-k clearing -x'"
	@echo "  PROFILES=measured   profiles of 'make study': synthetic (as a rule), measured, or both with a comma"
	@echo "  BASE=.. HEAD=..     the two commits that 'make gate' compares; as a rule HEAD~1 and HEAD"
	@echo "  RANGE=A..B          the commits of 'make history'; as a rule HEAD~5..HEAD; NEW: those after the last measured"

venv: $(READY) ## make or update .venv only

$(READY): pyproject.toml $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PYTHON: got $$($(PYTHON) --version 2>&1); allowed: 3.11 or newer; try make PYTHON=python3.12" >&2; exit 1; }
	@echo "minutes the first time: torch and ray are large"
	@$(INSTALL) $(VENV) --constraint $(PINS) --editable '.[rl,bench,dev,powerflow,pettingzoo,data]'
	@touch $@

bench: $(READY) ## quick benchmarks, under 5 minutes: tables, CSV and figure in results/
	@$(BIN)/pytest --benchmark-only --profile $(PROFILE) $(ARGS)

study: $(READY) ## the study and its report within half an hour (ARGS='--hours 1': more); continue with ARGS='--resume'
	@$(BIN)/pytest --benchmark-only --profile study $(if $(PROFILES),--profiles=$(PROFILES)) $(ARGS)

test: $(READY) ## tests that are quick, on all cores, and each benchmark once, untimed; under 5 minutes
	@$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadfile $(ARGS)

test-all: $(READY) $(PYMARKET)/.ready $(SB3)/.ready $(JAX)/.ready ## every test, on all cores; PyMarket's auction, SB3 and jax beside ours
	@$(BIN)/pytest --numprocesses auto --dist loadfile $(ARGS)

# Kernels run as plain Python, which takes longer: tests of speed and whole trainings are left out.
coverage: $(READY) ## how much of market/ the tests run, kernels included; at least 95 %
	@NUMBA_DISABLE_JIT=1 $(BIN)/pytest -m "not slow" --cov=market --cov-fail-under=95 --cov-report=term:skip-covered tests $(ARGS)

# Made anew whenever its pins change; PyMarket is built from source, so the pins hold for the build, too.
$(PYMARKET)/.ready: $(PYMARKET_PINS)
	@rm -rf $(PYMARKET)
	@PIP_CONSTRAINT=$(PYMARKET_PINS) PIP_BUILD_CONSTRAINT=$(PYMARKET_PINS) \
		$(INSTALL) $(PYMARKET) --requirement $(PYMARKET_PINS)
	@touch $@

$(SB3)/.ready: $(SB3_PINS) $(PINS)
	@rm -rf $(SB3)
	@$(INSTALL) $(SB3) --requirement $(SB3_PINS)
	@touch $@

$(JAX)/.ready: $(JAX_PINS)
	@rm -rf $(JAX)
	@$(INSTALL) $(JAX) --requirement $(JAX_PINS)
	@touch $@

lint: $(READY) ## ruff, mypy and zizmor, each of them whatever the others find
	@status=0; for tool in "ruff check ." "ruff format --check ." mypy "zizmor --offline --quiet --no-progress .github"; do \
		$(BIN)/$$tool || status=1; done; exit $$status

format: $(READY) ## lay the code out as `make lint` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(READY) ## the API reference and the pages of both docs/ folders, in build/docs
	@$(BIN)/python .ci/docs.py

gate: $(READY) ## is HEAD slower than BASE? what it decides and how: benches/docs/gate.md
	@$(BIN)/python -m benches.gate $(BASE) $(HEAD) $(ARGS)

gate-check: $(READY) ## the gate's self-check: equal trees must pass, 25 % slower must not; a minute or two
	@$(BIN)/python -m benches.gate.quality --self-check

# Otava alone, without the clients of the data bases and services that it can also read from.
$(OTAVA)/.ready: $(PINS)
	@rm -rf $(OTAVA)
	@$(INSTALL) $(OTAVA) --no-deps --constraint $(PINS) $(OTAVA_PIN) numpy scipy
	@touch $@

history: $(READY) $(OTAVA)/.ready ## the asv site of the last 5 commits, offline in .asv/html, and what changed for good
	@test "$(RANGE)" = NEW || git rev-list "$(RANGE)" -- > /dev/null 2>&1 || \
		{ echo "RANGE: got '$(RANGE)'; allowed: commits that git knows, as in HEAD~5..HEAD, or NEW: those after the last measured one" >&2; exit 2; }
	@$(BIN)/python -m asv machine --yes $(MACHINE) > /dev/null
	@$(BIN)/python -m asv run --skip-existing-commits $(MACHINE) $(ARGS) $(RANGE)
	@$(BIN)/python -m asv publish
	@$(BIN)/python -m benches.history.findings
	@$(BIN)/python -m benches.history.site

# The local build tag of torch (+cpu) is dropped, so that the pins hold on machines that get another build.
lock: ## take the newest releases that pyproject.toml allows, and pin them
	@rm -rf $(VENV)
	@$(INSTALL) $(VENV) --editable '.[rl,bench,dev,powerflow,pettingzoo,data]'
	@{ sed '/^[^#]/,$$d' $(PINS); $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > $(PINS).new
	@mv $(PINS).new $(PINS)
	@touch $(READY)

clean: ## remove all .venvs, caches and builds; results/ and .asv/ stay
	@rm -rf $(VENV) $(PYMARKET) $(SB3) $(JAX) $(OTAVA) build dist .coverage .pytest_cache .hypothesis .mypy_cache .ruff_cache ./*.egg-info
	@find market benches tests -name __pycache__ -type d -prune -exec rm -rf {} +
