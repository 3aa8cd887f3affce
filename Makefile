# Everything a person or CI does here. Needs Python 3.11 to 3.13 and make; the rest goes into .venv.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?=
ARGS   ?=

# The first of these that really runs is taken (a version manager's shim may be on the path and still fail).
PYTHONS := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3)
FITS    := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

# What is installed is remembered by stamps, so that nothing is installed twice; each is older than its reasons only
# when one of them has changed.
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
REASONS   := pyproject.toml constraints.txt

# Tests with real clients need npm packages; without npm those tests say so and are skipped.
NODE_HOME  := tests/end_to_end
NODE_STAMP := $(if $(wildcard $(NODE_HOME)/package.json),$(if $(shell command -v npm),$(NODE_HOME)/node_modules/.installed))

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test check soak lab format clean

help:  ## show this
	@echo "make <target>, where target is one of:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "PYTHON=<path> chooses the Python of a new .venv (\`make clean\` removes the old one)."

run: $(RUN_STAMP)  ## serve ./data on 127.0.0.1:8080; ARGS="..." goes to `storage-proxy serve`
	@exec $(BIN)/storage-proxy serve $(ARGS)

test: $(DEV_STAMP) $(NODE_STAMP)  ## run every test; ARGS="..." goes to pytest
	$(BIN)/pytest $(ARGS)

check: $(DEV_STAMP)  ## format, lint, strict types, floors; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(DEV_STAMP)  ## clients, kills and frozen replicas for SECONDS=60 (and more: 3600)
	STORAGE_PROXY_SOAK_SECONDS=$(or $(SECONDS),60) $(BIN)/pytest -s tests/end_to_end/test_soak.py

lab: $(DEV_STAMP)  ## proofs on a real NFS share with several kernels (root, Debian); ARGS="..." goes to pytest
	@$(BIN)/python -m tests.lab $(ARGS)

format: $(DEV_STAMP)  ## put the code in its form, mend what lint can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## remove the environment and everything that was made, never ./data
	rm -rf $(VENV) $(NODE_HOME)/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf .hypothesis *.egg-info
	find storage_proxy tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHONS); do \
	  if "$$python" -c '$(FITS)' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 with its venv module was found among: $(PYTHONS)." >&2; \
	echo "Install one (on Debian: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3." >&2; \
	exit 1

$(RUN_STAMP): $(REASONS) | $(BIN)/python
	@echo "installing storage-proxy into $(VENV)"
	@$(INSTALL) --editable .
	@touch $@

$(DEV_STAMP): $(REASONS) | $(BIN)/python
	@echo "installing storage-proxy and what its tests need into $(VENV)"
	@$(INSTALL) --editable '.[dev]'
	@touch $(RUN_STAMP) $@

ifneq ($(NODE_STAMP),)
$(NODE_STAMP): $(wildcard $(NODE_HOME)/package.json $(NODE_HOME)/package-lock.json)
	cd $(NODE_HOME) && npm $(if $(wildcard $(NODE_HOME)/package-lock.json),ci,install --no-package-lock) --no-audit --no-fund
	@touch $@
endif
