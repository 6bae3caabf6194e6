# GNU make 3.81 or newer. `make` alone lists the targets; PYTHON and VENV may be set on the command line.
PYTHON ?= python3
VENV ?= .venv
DATABASE ?= sqlite:///demo.db
CLIENTS := tests/clients

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OLD_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
# Stamps: what is installed is installed once, until pyproject.toml changes.
VENV_STAMP := $(VENV)/.stamp-venv
DEMO_STAMP := $(VENV)/.stamp-demo
TEST_STAMP := $(VENV)/.stamp-test
DEV_STAMP := $(VENV)/.stamp-dev
CLIENTS_STAMP := $(CLIENTS)/node_modules/.stamp

# Empty where the JavaScript clients or npm are missing: their tests are then skipped.
LOCKFILE := $(wildcard $(CLIENTS)/package-lock.json)
NPM := $(shell command -v node >/dev/null 2>&1 && command -v npm 2>/dev/null)

.PHONY: help demo test clients lint format types layers wheel-check bench-guard check clean

help:
	@echo "make demo         run a server with a demo account, database $(DATABASE)"
	@echo "make test         run the tests (ARGS='-k name' to choose)"
	@echo "make check        everything: lint, types, layers, test, wheel-check, bench-guard"
	@echo "make lint         ruff check and ruff format --check; make format mends"
	@echo "make types        mypy and pyright, both strict"
	@echo "make layers       import-linter: a layer imports only the layers below it"
	@echo "make wheel-check  build the wheel and look into it"
	@echo "make bench-guard  count the micro benchmarks' instructions (valgrind): none may need 25 % more than it did"
	@echo "make clean        remove $(VENV) and everything that can be made again"

$(VENV_STAMP):
	@$(PYTHON) $(OLD_ENOUGH) 2>/dev/null || { \
	  echo "Tertulia needs Python 3.11 or newer, '$(PYTHON)' is not: try 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@if ! $(BIN)/python $(OLD_ENOUGH) 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  if [ -e "$(VENV)/pyvenv.cfg" ]; then clear=--clear; else clear=; fi; \
	  $(PYTHON) -m venv $$clear "$(VENV)" || { \
	    echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, install python3-venv" >&2; exit 1; }; fi
	@touch $@

$(DEMO_STAMP): $(VENV_STAMP) pyproject.toml
	@echo "installing Tertulia in $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(TEST_STAMP): $(VENV_STAMP) pyproject.toml
	@echo "installing Tertulia and its tests' requirements in $(VENV)"
	@$(PIP) install --editable '.[test]'
	@touch $@

$(DEV_STAMP): $(VENV_STAMP) pyproject.toml
	@echo "installing Tertulia and its development tools in $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(CLIENTS_STAMP): $(LOCKFILE)
	@echo "installing the JavaScript clients in $(CLIENTS)"
	@cd $(CLIENTS) && "$(NPM)" ci --loglevel=error --no-audit --no-fund
	@touch $@

demo: $(DEMO_STAMP)
	@exec $(BIN)/tertulia serve --demo --database $(DATABASE)

clients: $(if $(and $(LOCKFILE),$(NPM)),$(CLIENTS_STAMP))

# Two processes: many tests wait for real servers, and more of those at once than two disturb each other.
test: $(TEST_STAMP) clients
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(DEV_STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(DEV_STAMP)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# pyright runs on node: the one in PATH, or else one that it installs for itself.
types: $(DEV_STAMP)
	@$(BIN)/mypy
	@$(BIN)/mypy --package bench
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

layers: $(DEV_STAMP)
	@$(BIN)/lint-imports

wheel-check: $(TEST_STAMP)
	@$(BIN)/python .ci/wheel_check.py

bench-guard: $(TEST_STAMP)
	@$(BIN)/python -m bench.guard

check: lint types layers test wheel-check bench-guard

clean:
	@if [ -e "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build dist *.egg-info src/*.egg-info $(CLIENTS)/node_modules bench/peers/*/.installed bench-report \
	  .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
