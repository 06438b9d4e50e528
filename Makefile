# The two commands of a newcomer: `make demo` and `make test`. Both set up everything they need first.
PYTHON := .venv/main/bin/python
# Most tests wait most of the time, so there are more workers than processors; each has rigs of its own.
# Who gets what: tests/spread.py
SIDE_BY_SIDE := -n 12
# Bytecode is kept, whatever the environment says: else each worker compiles each file anew.
unexport PYTHONDONTWRITEBYTECODE
SHELL := bash
.SHELLFLAGS := -Eeuo pipefail -c
.DEFAULT_GOAL := help
SHELL_SCRIPTS = install.sh scripts/bootstrap scripts/check-floor scripts/release .ci/run

.PHONY: help demo figures pictures test quick lint fuzz matrix simulate mutants soak bench clean setup setup-demo

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

setup:
	@scripts/bootstrap test

setup-demo:
	@scripts/bootstrap demo

demo: setup-demo  ## Print a short file on a printer made of software, and watch the hub see it
	@$(PYTHON) -m tests.demo $(DEMO_ARGS)

test: setup  ## Everything: linters, types, the Python 3.7 floor, unit tests, the real stack, older Moonrakers
	@scripts/stage --begin
	@scripts/stage lint $(MAKE) --no-print-directory lint
	@scripts/stage tests $(PYTHON) -m pytest $(SIDE_BY_SIDE) --durations=10 --durations-min=1 $(PYTEST_ARGS)
	@scripts/stage --report

quick: setup  ## The unit tests but those that wait or compute for seconds
	@$(PYTHON) -m pytest -q -n 4 -m "not slow" tests/unit $(PYTEST_ARGS)

lint: setup  ## ruff, mypy, shellcheck, vermin, and an import of every module on Python 3.7
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@shellcheck $(SHELL_SCRIPTS)
	@scripts/check-floor

bench: setup  ## The figures of the documentation, measured anew
	@$(PYTHON) -m bench $(BENCH_ARGS)

fuzz: setup  ## The property tests with thousands of cases each: hub replies, scripts, settings, names
	@$(PYTHON) -m pytest -q tests/unit -m hypothesis --hypothesis-profile=fuzz --timeout=3000 $(PYTEST_ARGS)

matrix: setup  ## The fault matrix alone: everything that can fail, on the real stack
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) tests/stack/fault_matrix $(PYTEST_ARGS)

pictures: setup  ## The pictures of the panel in docs/images, taken anew on the real stack
	@$(PYTHON) -m tests.browser.pictures

figures: setup  ## How large the house is, and what each stage of the last `make test` cost (FIGURES_ARGS=v5.0.0)
	@scripts/figures $(FIGURES_ARGS)

simulate: setup  ## Thousands of virtual evenings (SEEDS=20000), or one with all that was seen (SEED=123)
	@$(PYTHON) -W ignore -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)) $(SIMULATE_ARGS)

mutants: setup  ## Leave rules of the engine out, one at a time: the simulation has to find each
	@$(PYTHON) -W ignore -m tests.simulation.mutants $(MUTANTS_ARGS)

soak: setup  ## Days of faults in minutes: memory, logs, and nothing lost (SOAK_ARGS="--hours 24")
	@$(PYTHON) -m tests.soak $(SOAK_ARGS)

clean:  ## Remove what runs leave behind, and the virtual environments
	rm -rf .venv .artefacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
