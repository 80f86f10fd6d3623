# Everything runs in .venv. pip takes its configuration from the machine, so that mirrors work.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# the same packages, with the older duckdb in front of them
OLD_VENV := .venv-duckdb15
OLD_STAMP := $(OLD_VENV)/.installed
STORAGE_TESTS := tests/contract tests/property/test_rollup_laws.py tests/property/test_edge_laws.py tests/dashboard/test_queries.py \
	$(addprefix tests/integration/test_,$(addsuffix .py,spool disks ingest ingest_limits ingest_trouble kills log_access lookup rebuild \
	doctor commands duckdb_versions export receipts receipt_command log_schema_page \
	import import_logs import_whole import_hostile import_unread import_commands))
# processes that share a run of the suite, a file at a time, the long files first
WORKERS ?= 2
SHARED := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install lock demo format check browser database test test-duckdb15 e2e bench bench-10m screenshots
.NOTPARALLEL:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s  %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## virtual environment in .venv: locked packages, and this checkout in editable form

$(STAMP): pyproject.toml requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$("$(PYTHON)" --version), but Tierwise needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing the locked packages into .venv (one to three minutes, once)"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(OLD_STAMP): requirements-duckdb15.lock $(STAMP)
	@echo "Installing the older duckdb into $(OLD_VENV), beside the packages of .venv"
	@"$(PYTHON)" -m venv --clear --without-pip $(OLD_VENV)
	@$(BIN)/python -m pip --python $(OLD_VENV)/bin/python install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-duckdb15.lock
	@$(BIN)/python -m tests.second_environment $(OLD_VENV)
	@touch $@

UV_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet

lock: ## solve the lock files anew from pyproject.toml (with uv, in an environment of its own)
	@"$(PYTHON)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile pyproject.toml --all-extras --group dev $(UV_OPTIONS) -o requirements.lock
	echo "duckdb==1.5.5" | .venv-lock/bin/uv pip compile - --no-annotate $(UV_OPTIONS) -o requirements-duckdb15.lock

demo: install ## simulate 60 days of calls, then serve the dashboard on 127.0.0.1 (options: ARGS="--no-serve")
	@$(BIN)/tierwise demo $(ARGS)

format: install ## put the code into its standard form, and mend what ruff can mend
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format

check: install ## lint, form, types, import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache --no-logo

# $(call system_packages,command that succeeds where they are,packages,who needs them)
define system_packages
	@$(1) || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing $(2) for $(3)"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) >/dev/null; \
	else \
		echo "For $(3) there must be $(2). Install it and come back: sudo apt-get install $(2)" >&2; exit 1; \
	fi
endef

browser:
	$(call system_packages,{ command -v chromium || command -v chromium-browser; } >/dev/null,chromium,the browser tests)

database:
	$(call system_packages,{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1,postgresql,the tests of imports from a database)

test: check browser database $(OLD_STAMP) ## check, then the whole suite, then the log's tests on duckdb 1.5.5: what CI runs
	$(BIN)/pytest $(SHARED) $(ARGS)
	@$(MAKE) --no-print-directory test-duckdb15

test-duckdb15: install $(OLD_STAMP) ## the log's tests on duckdb 1.5.5 alone
	@$(OLD_VENV)/bin/python -c "import duckdb; assert duckdb.__version__ == '1.5.5', duckdb.__version__"
	$(OLD_VENV)/bin/python -m pytest -q $(SHARED) $(STORAGE_TESTS)

e2e: install browser ## the browser tests alone
	$(BIN)/pytest -m e2e $(ARGS)

screenshots: install browser ## take the pictures of the demo in docs/, which the README shows
	$(BIN)/python -m tests.e2e.screenshot docs

bench: install ## measurements; they print figures and never fail on time
	$(BIN)/pytest tests/benchmarks -s -q -o python_files='bench_*.py' $(ARGS)

bench-10m: install ## the same on a log of ten million calls, made once in .bench (10 minutes, 1.6 GB)
	TIERWISE_BENCH_CALLS=10000000 TIERWISE_BENCH_HOME=.bench/home TIERWISE_BENCH_LIVE_S=60 $(BIN)/pytest tests/benchmarks/bench_big.py -s -q -o python_files='bench_*.py' $(ARGS)
