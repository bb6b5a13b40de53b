# `make` or `make help` lists what there is. Everything lives in .venv, installed from hashes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 /usr/bin/python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
JOBS ?= 3
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-input
# A lock is whole: nothing is resolved. pip before 23.3 would take the newest of what is named with an extra, and refuse it.
LOCKED := $(PIP) --no-deps --require-hashes --requirement
SELF := $(PIP) --no-build-isolation --no-deps --editable .
# What pip does where nothing is editable: it halves the time of an import, also where Python is told to keep no bytecode.
COMPILE := $(BIN)/python -m compileall -q src
ROOT := $(shell test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo yes)
SYSTEM_PACKAGES := chromium curl fonts-liberation postgresql prometheus prometheus-alertmanager strace
COMPILER_PACKAGES := gcc libc6-dev
BUILT_FROM := pyproject.toml hatch_build.py src/driftline/sketches/kernel.c
PEERS := evidently nannyml whylogs
DETECTION_PEERS := evidently nannyml alibi-detect glide-py
# They are installed where all is measured, or they are asked for.
ASKED_PEERS := $(if $(findstring --part,$(ARGS)),$(if $(findstring peers,$(ARGS)),$(DETECTION_PEERS)),$(DETECTION_PEERS))
INTEGRATIONS := $(or $(WITH),airflow bentoml dagster dbt mlflow nbclient prefect pyspark)
APT := DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends

.PHONY: help demo test lint format lock changelog sbom fuzz pictures bench bench-detection bench-service bench-pages bench-labels bench-send soak soak-service chaos flights mlflow docs sdk wheels test-sdist test-install test-integrations test-engines bench-engines clean system-packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/demo.stamp ## replay a real incident (ARGS="--exit --json" passes options on)
	@$(BIN)/driftline demo $(ARGS)

test: .venv/dev.stamp system-packages ## run all tests, examples and documentation (ARGS="-k name" selects)
	@$(COMPILE)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: .venv/dev.stamp ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# --no-config and --no-emit-*: a lock names no registry and no machine's path. ARGS=--upgrade takes newer versions.
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-config --no-header --no-annotate --no-emit-index-url --no-emit-find-links $(ARGS)

lock: .venv/dev.stamp ## write requirements/*.lock anew from pyproject.toml
	$(UV_COMPILE) pyproject.toml --extra demo --group dev --output-file requirements/dev.lock
	$(UV_COMPILE) pyproject.toml --extra demo --group build --constraint requirements/dev.lock \
		--output-file requirements/demo.lock
	$(UV_COMPILE) pyproject.toml --extra postgres --constraint requirements/dev.lock --output-file requirements/service.lock
	$(UV_COMPILE) --group build --constraint requirements/dev.lock --output-file requirements/build.lock
	$(UV_COMPILE) pyproject.toml --group docs --constraint requirements/dev.lock --output-file requirements/docs.lock
	$(UV_COMPILE) --group wheels --constraint requirements/dev.lock --output-file requirements/wheels.lock

sbom: .venv/dev.stamp ## write the software bill of materials (CycloneDX) from the lock of the service
	@$(BIN)/python hatch_build.py

fuzz: .venv/dev.stamp ## ask every route of the API by its schema, long and with other bodies (ARGS="--hypothesis-seed N")
	DRIFTLINE_FUZZ_EXAMPLES=200 $(BIN)/python -m pytest -p no:xdist -p no:cacheprovider --timeout=3600 tests/web/test_schema.py $(ARGS)

changelog: .venv/dev.stamp ## show the next release's entry
	@$(BIN)/towncrier build --draft

pictures: .venv/dev.stamp system-packages ## make the pictures of the tutorials by following them (ARGS=docs/tutorial/01-watch.md for one)
	@$(BIN)/python -m pictures $(ARGS)

bench: .venv/dev.stamp $(PEERS:%=.bench/%.stamp) ## measure speed and memory beside peers (ARGS=--quick for a few minutes)
	@$(COMPILE)
	@$(BIN)/python -m benchmarks.bench $(ARGS)

bench-detection: .venv/dev.stamp $(ASKED_PEERS:%=.bench/%.stamp) ## measure the detector: false alarms, delays, speed (DATA=FOLDER, ARGS="--quick --only realistic")
	@$(BIN)/python -m benchmarks.detection.bench $(if $(DATA),--data "$(DATA)") $(ARGS)

bench-service: .venv/dev.stamp ## how fast a service takes events, on SQLite and PostgreSQL (ARGS="--quick --only JSON")
	@$(BIN)/python -m benchmarks.service $(ARGS)

bench-pages: .venv/dev.stamp system-packages ## what the pages cost with 500 models, in Chromium too (ARGS=--quick for a small fleet)
	@$(BIN)/python -m benchmarks.pages $(ARGS)

bench-labels: .venv/dev.stamp ## a million late labels into ten million waiting predictions: time, memory, disk (ARGS="--quick")
	@$(BIN)/python -m benchmarks.label_join --predictions 10M --labels 1M --features 2 $(ARGS)

bench-send: .venv/dev.stamp ## a file of a million rows, sent to a service, beside a check of them (ARGS="--rows N --runs N")
	@$(BIN)/python -m benchmarks.send $(ARGS)

soak: .venv/dev.stamp ## ten minutes of alerts to a receiver that fails half the time, from a service that is killed
	@$(BIN)/python -m benchmarks.soak_notifications $(ARGS)

chaos: .venv/dev.stamp ## 200 kills of a service that four writers send to (ARGS="--kills N --postgresql --s3")
	@$(BIN)/python -m benchmarks.chaos_ingest $(ARGS)

flights: .venv/dev.stamp ## a year of flights through send, PostgreSQL and two workers, one of them killed (ARGS="--weeks 8 --sqlite")
	@$(BIN)/python -m benchmarks.flights $(ARGS)

soak-service: .venv/dev.stamp ## half an hour of moderate load; judges memory, files, threads, disk, lag (ARGS="--minutes N")
	@$(BIN)/python -m benchmarks.soak_service $(ARGS)

mlflow: .venv/dev.stamp .bench/mlflow.stamp ## test the registry against a real MLflow server (600 MB are installed)
	@$(PIP) mlflow-skinny
	$(BIN)/python -m pytest -p no:cacheprovider tests/retrain/registry/test_mlflow.py $(ARGS)

docs: .bench/docs.stamp ## build the site of the documentation into build/site; a link that leads nowhere fails
	@rm -rf build/site build/site-doctrees
	@PYTHONPATH=src .bench/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs/site \
		--doctree-dir build/site-doctrees $(ARGS) . build/site
	@echo "build/site/index.html"

sdk: .venv/dev.stamp ## build the package driftline-sdk into dist/, from src/driftline/client
	@cd packages/sdk && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/dist

wheels: .bench/wheels.stamp ## build sdists and wheels, for Linux on x86-64 and arm64, into dist/
	@.bench/wheels/bin/python packages/wheels.py

test-sdist: .venv/dev.stamp ## run tests from an unpacked source distribution (ARGS="tests/checks" takes others)
	@rm -rf build/sdist
	@$(BIN)/python -m hatchling build -t sdist -d build/sdist
	@tar -xzf build/sdist/*.tar.gz -C build/sdist
	@cd build/sdist/*/ && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d ..
	cd build/sdist/*/ && PYTHONPATH=src $(CURDIR)/$(BIN)/python -m pytest -p no:cacheprovider \
		$(or $(ARGS),tests/laws tests/sketches tests/statistics tests/rules tests/test_repository.py)

test-install: wheels ## install the wheel where nothing else is, with what it asks for, and run the demo
	@rm -rf build/install
	@$(BIN)/python -m venv build/install
	@build/install/bin/python -m pip --disable-pip-version-check install --quiet --no-input --only-binary driftline \
		--find-links dist 'driftline[demo]'
	@cd build/install && bin/driftline --version && bin/driftline demo --exit --port 0 && \
		bin/python -c "from driftline.sketches.compiled import kernel; assert kernel(), 'the loops are not compiled'"

test-integrations: $(INTEGRATIONS:%=.bench/with-%.stamp) ## run the pages of libraries that are too heavy for `make test` (WITH="prefect dagster")
	@for name in $(INTEGRATIONS); do echo "$$name"; \
		DRIFTLINE_INTEGRATION=$$name PYTHONPATH=src .bench/with-$$name/bin/python -m pytest -q -p no:cacheprovider \
			-o addopts= -o filterwarnings= -W ignore $$(grep -l "missing(\"$$name\")" docs/integrations/*.md) || exit 1; done

test-engines: .bench/engines.stamp .bench/executor.stamp ## profiles on Spark, Dask and Ray as they are; needs Java (ARGS="tests/engines/test_dask.py" takes others)
	PYTHONPATH=$(CURDIR)/src SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=$(CURDIR)/.bench/engines/bin/python \
		DRIFTLINE_EXECUTOR_PYTHON=$(CURDIR)/.bench/executor/bin/python .bench/engines/bin/python -m pytest \
		-q -p no:cacheprovider -o addopts= -o filterwarnings= -W ignore --import-mode=importlib --timeout=1200 \
		$(or $(ARGS),tests/engines docs/scale.md docs/integrations/spark.md)

bench-engines: .bench/engines.stamp ## what profiles cost by rows, columns, windows and engine (ARGS="--quick")
	@PYTHONPATH=$(CURDIR)/src .bench/engines/bin/python -m benchmarks.engines $(ARGS)

clean: ## remove the environment and everything made
	rm -rf .venv .bench build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f src/driftline/sketches/kernel.library
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than what was installed from; the second run has nothing to do. dev holds all that demo does.
.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "Driftline needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		if test -n "$(ROOT)"; then { apt-get update --quiet; $(APT) python3-venv; } >&2; \
		else echo "$(PYTHON) cannot make environments: apt-get install python3-venv" >&2; exit 2; fi
	@rm -rf .venv
	@$(PYTHON) -m venv .venv

.venv/demo.stamp: requirements/demo.lock $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing Driftline into .venv …" >&2
	@$(LOCKED) requirements/demo.lock
	@$(SELF)
	@$(COMPILE)
	@touch $@

.venv/dev.stamp: requirements/dev.lock $(BUILT_FROM) | .venv/bin/pip
	@echo "Installing Driftline and what its tests need into .venv …" >&2
	@if ! command -v cc >/dev/null; then \
		if test -n "$(ROOT)"; then { apt-get update --quiet; $(APT) $(COMPILER_PACKAGES); } >&2; \
		else echo "No C compiler: the tests of the compiled loops will be skipped" >&2; fi; fi
	@$(LOCKED) requirements/dev.lock
	@$(SELF)
	@$(COMPILE)
	@touch .venv/demo.stamp $@

# A peer that cannot be installed is left out of the measurements, and they say so.
.bench/%.stamp: benchmarks/requirements-%.txt | .venv/bin/pip
	@echo "Installing $* into .bench/$* …" >&2
	@rm -rf .bench/$*
	@$(or $(ROOM_PYTHON),$(BIN)/python) -m venv .bench/$*
	@if .bench/$*/bin/python -m pip --disable-pip-version-check install --quiet --no-input --requirement $<; \
		then touch $@; else echo "$* cannot be installed: it is not measured" >&2; rm -rf .bench/$*; fi

# Environments of their own, from locks. The site reads docstrings by importing what they are in, so its lock holds what
# Driftline needs as well.
.bench/docs.stamp .bench/wheels.stamp: .bench/%.stamp: requirements/%.lock | .venv/bin/pip
	@echo "Installing $* into .bench/$* …" >&2
	@rm -rf .bench/$*
	@$(BIN)/python -m venv .bench/$*
	@.bench/$*/bin/python -m pip --disable-pip-version-check install --quiet --no-input --no-deps --require-hashes \
		--requirement $<
	@touch $@

# Driftline and one other library, resolved together as a user's pip would.
.bench/with-%.stamp: tests/integrations/%.txt pyproject.toml | .venv/bin/pip
	@echo "Installing Driftline and $* into .bench/with-$* …" >&2
	@rm -rf .bench/with-$*
	@$(BIN)/python -m venv .bench/with-$*
	@.bench/with-$*/bin/python -m pip --disable-pip-version-check install --quiet --no-input \
		--requirement $< pytest sybil psutil .
	@touch $@

# Spark, Dask and Ray with what the tests need; and what an executor of Spark has: the wheel of these sources, and PyArrow.
.bench/engines.stamp: tests/engines/requirements.txt pyproject.toml | .venv/bin/pip
	@echo "Installing Driftline, Spark, Dask and Ray into .bench/engines …" >&2
	@rm -rf .bench/engines
	@$(BIN)/python -m venv .bench/engines
	@.bench/engines/bin/python -m pip --disable-pip-version-check install --quiet --no-input --requirement $< .
	@touch $@

.bench/executor.stamp: $(BUILT_FROM) $(shell find src -name '*.py') | .venv/bin/pip
	@echo "Installing Driftline and PyArrow into .bench/executor …" >&2
	@rm -rf .bench/executor
	@$(BIN)/python -m venv .bench/executor
	@.bench/executor/bin/python -m pip --disable-pip-version-check install --quiet --no-input pyarrow .
	@touch $@

# GLIDE needs a newer Python; without one pip says so.
.bench/glide-py.stamp: ROOM_PYTHON = $(shell for p in python3 python3.13 python3.12 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)

# Chromium shows the page to the tests; the fonts are those that the page asks for. Prometheus and Alertmanager are real.
# strace records in which order things reach the disk. PostgreSQL is real too: the tests start one of their own.
system-packages:
	@if ! command -v chromium >/dev/null || ! test -d /usr/share/fonts/truetype/liberation || \
		! command -v promtool >/dev/null || ! command -v amtool >/dev/null || ! command -v curl >/dev/null || \
		! command -v strace >/dev/null || ! test -d /usr/lib/postgresql; then \
		if test -n "$(ROOT)"; then { apt-get update --quiet; $(APT) $(SYSTEM_PACKAGES); } >&2; \
		else echo "Missing: apt-get install $(SYSTEM_PACKAGES)" >&2; exit 2; fi; fi
