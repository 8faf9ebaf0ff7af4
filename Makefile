# Every target sets up what it needs by itself, into .venv. Needs Python 3.11 or newer, make, and the package registries.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONFIG ?= triggerhub.yaml
SEED ?= 1
KILLS ?= 60
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo test audit lint format bench crash up clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing triggerhub and its tools into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

install: $(STAMP) ## Install everything into .venv

demo: $(STAMP) ## Run the main job: five scenarios against the sandbox, no account needed
	@$(BIN)/triggerhub demo --once

test: $(STAMP) ## Run all tests; says what it skipped
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

audit: $(STAMP) ## Compare the pinned packages with published advisories, where a source of them answers
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit==2.10.1'; } || echo "audit: pip-audit could not be installed"
	@$(BIN)/python tests/audit.py $(VENV)/audit/bin/pip-audit

lint: $(STAMP) ## Check formatting, lint and types, of source and tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## Print each figure of design §6 beside its limit
	@$(BIN)/python -m benchmarks

crash: $(STAMP) ## Kill things under load and count: make crash SEED=7 KILLS=100
	@$(BIN)/python -m tests.crash --seed $(SEED) --kills $(KILLS)

up: $(STAMP) ## Run the hub on this machine with CONFIG=triggerhub.yaml
	@$(BIN)/triggerhub up --config $(CONFIG)

clean: ## Remove what the other targets made
	rm -rf $(VENV) .triggerhub .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
