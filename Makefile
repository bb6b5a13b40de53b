# Driftline for those who work on it. `make demo` and `make test` set up whatever they need, from nothing.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml
ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format lock changelog clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## set up and replay a real incident (ARGS="--exit --json" passes options on)
	@$(BIN)/driftline demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.browser ## set up, run all tests (ARGS="tests/rules -k life" for some)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/.dev ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put everything into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev ## resolve the locks anew (hashes, no addresses)
	$(BIN)/uv pip compile $(LOCK) --extra demo --group build -o requirements/demo.lock
	$(BIN)/uv pip compile $(LOCK) --extra demo --group dev -o requirements/dev.lock
LOCK := pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

changelog: $(VENV)/.dev ## what the next release will say
	$(BIN)/towncrier build --draft

clean: ## remove what was made here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ -n "$(ROOT)" ] && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends python3-venv; } || \
	  { echo "Python's venv module is missing; install it: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The development environment holds all that the demo needs, so that one serves for both.
$(VENV)/.demo: $(VENV)/.made requirements/demo.lock $(SOURCES)
	@[ -e $(VENV)/.dev ] || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/demo.lock
	@[ -e $(VENV)/.dev ] || $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made requirements/dev.lock $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# The tests that look at the page need a real browser.
$(VENV)/.browser: $(VENV)/.made
	@command -v chromium >/dev/null || { [ -n "$(ROOT)" ] && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; } || \
	  { echo "The page's tests need chromium; install it: apt-get install chromium" >&2; exit 2; }
	@touch $@
