# Each target does its own set-up, in .venv from the hashed lock file, and needs only Python 3.10 or newer and make.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?=
# The tests start hundreds of processes: each would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-picture test unit fuzz mutants compat lint format bench bench-scan bench-control bench-delivery bench-gate bench-growth bench-peers e2e screenshots collector backend docs site lock hooks setup clean

setup:
	@.ci/setup $(VENV) $(PYTHON)

## An agent at work: its trace with the findings in place
demo: setup
	@$(BIN)/python docs/tutorial/demo/run.py

## Its output as the picture in the README
demo-picture: setup
	@$(BIN)/python docs/tutorial/demo/picture.py

## The whole test suite
test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not e2e"

## The parts that a Python version can make a difference to, as every supported one runs them
unit: setup
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not e2e" -p no:cacheprovider \
		tests/unit tests/db tests/store/test_store.py tests/capture/test_anthropic.py tests/capture/test_openai.py \
		tests/capture/test_tool.py tests/capture/test_mcp_wire.py tests/scan/test_sentences.py

## New random examples for each property test, many more than the gate tries
fuzz: setup
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n 2 -m "not e2e" $$(grep -rl --include="test_*.py" hypothesis tests)

## Which changes of the code that decides no test notices; ARGS="--changed --seconds 300" or module names limit it
mutants: setup
	@$(BIN)/python .ci/mutants.py $(ARGS)

## Each SDK and framework at its oldest supported release and at the newest of today; NAMES="openai mcp" runs some
compat: setup
	@$(BIN)/python .ci/compat.py $(NAMES)

## Against a real collector, Jaeger, Prometheus and Chromium
e2e: setup collector
	@$(BIN)/python -m pytest -m e2e

## Style, types, layers, sizes
lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python .ci/check_tree.py

format: setup
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

## What monitoring costs
bench: setup
	@$(BIN)/python tests/benchmarks/bench.py

bench-scan: setup
	@$(BIN)/python tests/benchmarks/bench_scan.py $(if $(CORPUS),$(CORPUS) --write)

bench-control: setup
	@$(BIN)/python tests/benchmarks/bench_control.py $(if $(CORPUS),$(CORPUS) --write) $(ARGS)

bench-delivery: setup
	@$(BIN)/python tests/benchmarks/bench_delivery.py $(ARGS)

## What a change adds to the cost of a call, against the merge base; fails beyond 10 %
bench-gate: setup
	@$(BIN)/python tests/benchmarks/bench_gate.py $(ARGS)

## How the cost of a call grows; ARGS=--write writes the page
bench-growth: setup
	@$(BIN)/python tests/benchmarks/bench_growth.py $(ARGS)

bench-peers: setup
	@$(BIN)/python tests/benchmarks/bench_peers.py

## The pictures of the web UI in the documentation
screenshots: setup
	@$(BIN)/python -m pytest -q -m e2e tests/browser/test_screenshots.py --screenshots docs/images

## The collector that the shipped configuration is made for
collector:
	@collector-config/build

## Collector, Jaeger, Prometheus and Alertmanager on this machine; ARGS=--free-ports leaves the usual ports alone
backend: setup
	@$(BIN)/python collector-config/backend $(ARGS)

## The generated pages of docs/reference
docs: setup
	@$(BIN)/python docs/generate.py

## The documentation as a searchable site in docs/.site; a wrong link or anchor fails
site: setup
	@$(BIN)/python docs/build_site.py

## The lock files of requirements/*.in; versions that are locked stay. ONLY="NAME ..." locks some, UPGRADE=1 takes the newest
lock: setup
	@$(BIN)/python .ci/lock.py $(if $(UPGRADE),--upgrade) $(ONLY)

## Has git run the checks before a commit, and the unit tests before a push
hooks: setup
	@$(BIN)/pre-commit install

clean:
	rm -rf .venv .venvs .demo dist build docs/.site docs/.cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants
