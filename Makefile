# Everything runs in .venv. pip takes its configuration from the machine, so that mirrors work.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
BROWSER_PACKAGES := chromium
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install lock demo format check browser test e2e bench screenshots
.NOTPARALLEL:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s  %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## virtual environment in .venv: locked packages, and this checkout in editable form

$(STAMP): pyproject.toml requirements.lock
	@command -v "$(PYTHON)" >/dev/null || { echo "No $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$("$(PYTHON)" --version), but Tierwise needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing the locked packages into .venv (one to three minutes, once)"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## solve requirements.lock anew from pyproject.toml (with uv, in an environment of its own)
	@"$(PYTHON)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet -o requirements.lock

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

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing $(BROWSER_PACKAGES) for the browser tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BROWSER_PACKAGES) >/dev/null; \
	else \
		echo "The browser tests need Chromium. Install it and come back: sudo apt-get install $(BROWSER_PACKAGES)" >&2; exit 1; \
	fi

test: check browser ## check, then the whole suite: what CI runs
	$(BIN)/pytest $(ARGS)

e2e: install browser ## the browser tests alone
	$(BIN)/pytest -m e2e $(ARGS)

screenshots: install browser ## take the README's picture of the demo, docs/overview.png
	$(BIN)/python -m tests.e2e.screenshot docs/overview.png

bench: install ## measurements; they print figures and never fail on time
	$(BIN)/pytest tests/benchmarks -s -q -o python_files='bench_*.py' $(ARGS)
