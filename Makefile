# Every target makes what it needs, from nothing, on a machine with Python 3.11 and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: help install demo test test-servers test-slurm check format man golden clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The stamp carries what was installed: an environment of another constraints file is brought up to date.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed ## make the virtual environment with everything in it

demo: install ## synthetic chest set, the whole pipeline, a table and report.html
	PATH="$(abspath $(BIN)):$$PATH" $(MAKE) --no-print-directory -C examples/ig-cbir WORK="$(abspath $(DEMO))"

test: install ## run the tests, on several cores where there are
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-servers: install ## run the tests that start a Milvus and a PostgreSQL
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev,milvus,pgvector,servers]'
	$(BIN)/python -m pytest -m server tests/stores

test-slurm: install ## try the job scripts on a SLURM of this machine's own; minutes
	$(BIN)/python -m pytest -m slurm tests/slurm

check: install ## format, lint, types, documents and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python man/generate.py --check
	$(BIN)/python -m pytest -n auto --maxprocesses 4

format: install ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

man: install ## write the man pages and the generated documents
	$(BIN)/python man/generate.py

golden: install ## rewrite the expected outputs in tests/golden; review them as a diff
	CBIR_GOLDEN=write $(BIN)/python -m pytest tests/cli/test_golden.py

clean: ## remove what the other targets made
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
