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

# The upload page is made by npm, from web/ into the package. Without npm there is no page, and everything else works.
PAGE_HOME   := web
PAGE        := storage_proxy/page/index.html
PAGE_DEPS   := $(PAGE_HOME)/node_modules/.installed-build
PAGE_TOOLS  := $(PAGE_HOME)/node_modules/.installed-check
PAGE_LISTS  := $(PAGE_HOME)/package.json $(PAGE_HOME)/package-lock.json
PAGE_SOURCE := $(PAGE_HOME)/index.html $(PAGE_HOME)/vite.config.ts $(wildcard $(PAGE_HOME)/src/*)
NODE_FITS   := const [a, b] = process.versions.node.split(".").map(Number); \
               process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)
HAS_NPM     := $(shell command -v npm >/dev/null && node -e '$(NODE_FITS)' && echo yes)
NO_NPM      := there is no npm with Node 20.19, 22.12 or newer on the path (on Debian: apt install npm)
NPM_CI      := npm ci --no-audit --no-fund --loglevel=error

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run page page-if-possible page-check page-test test check soak first-gib lab bench conformance format clean

help:  ## show this
	@echo "make <target>, where target is one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "PYTHON=<path> chooses the Python of a new .venv (\`make clean\` removes the old one)."

run: $(RUN_STAMP) page-if-possible  ## serve ./data on 127.0.0.1:8080; ARGS="..." goes to `storage-proxy serve`
	@exec $(BIN)/storage-proxy serve $(ARGS)

page: $(PAGE)  ## build the upload page (needs npm); `make run` does it by itself

test: $(DEV_STAMP) $(NODE_STAMP) page-if-possible page-test  ## run every test; ARGS="..." goes to pytest
	$(BIN)/pytest $(ARGS)

check: $(DEV_STAMP) page-check  ## format, lint, strict types, floors; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(DEV_STAMP)  ## clients, kills and frozen replicas for SECONDS=60 (and more: 3600)
	STORAGE_PROXY_SOAK_SECONDS=$(or $(SECONDS),60) $(BIN)/pytest -s tests/end_to_end/test_soak.py

first-gib: $(DEV_STAMP)  ## a clean clone, `make run` twice, 1 GiB through a browser, a replica killed meanwhile
	STORAGE_PROXY_GIB=1 $(BIN)/pytest -s tests/end_to_end/test_first_gib.py

lab: $(DEV_STAMP)  ## proofs on a real NFS share with several kernels (root, Debian); ARGS="..." goes to pytest
	@$(BIN)/python -m tests.lab $(ARGS)

bench: $(DEV_STAMP)  ## measure this service and its peers; ARGS="--help" tells what can be chosen
	@$(BIN)/python -m bench $(ARGS)

conformance: $(DEV_STAMP)  ## judge this service and its peers, and write docs/conformance.md
	@$(BIN)/python -m tests.conformance.peers

format: $(DEV_STAMP)  ## put the code in its form, mend what lint can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## remove the environment and everything that was made, never ./data
	rm -rf $(VENV) $(NODE_HOME)/node_modules $(PAGE_HOME)/node_modules $(dir $(PAGE)) build dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf .hypothesis .bench *.egg-info
	find storage_proxy tests bench -type d -name __pycache__ -prune -exec rm -rf {} +

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

$(PAGE): $(PAGE_DEPS) $(PAGE_SOURCE)
	@echo "building the upload page"
	@cd $(PAGE_HOME) && npm run --silent build -- --logLevel warn
	@touch $@

# What builds it; what checks it is more, and only `make check` and `make test` need that.
$(PAGE_DEPS): $(PAGE_LISTS)
	@echo "installing what builds the upload page into $(PAGE_HOME)/node_modules"
	@cd $(PAGE_HOME) && $(NPM_CI) --omit=dev
	@touch $@

$(PAGE_TOOLS): $(PAGE_LISTS)
	@echo "installing what builds and checks the upload page into $(PAGE_HOME)/node_modules"
	@cd $(PAGE_HOME) && $(NPM_CI)
	@touch $(PAGE_DEPS) $@

ifneq ($(HAS_NPM),)
page-if-possible:
	@$(MAKE) --silent --no-print-directory $(PAGE) || echo "the upload page could not be built; everything else works"

page-check: $(PAGE_TOOLS)
	cd $(PAGE_HOME) && npm run --silent check

page-test: $(PAGE_TOOLS)
	cd $(PAGE_HOME) && npm run --silent test
else
page-if-possible:
	@echo "no upload page at /: $(NO_NPM); everything else works"

page-check page-test:
	@echo "$@ is left out: $(NO_NPM)"
endif
