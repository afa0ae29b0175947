# Acinus: what a person or a machine does with a fresh clone.
#
#   make demo     install, run the demonstration, name its report
#   make test     what must hold before a change goes in
#   make help     all targets

VENV   ?= .venv
OUT    ?= demo
PYTEST ?= -n 2 --dist loadfile

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV     := $(VENV)/.dev-installed

# One thread per test worker: two workers share two cores, and numbers repeat.
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint types layers unit docs reference bench lock format install install-dev clean
.DELETE_ON_ERROR:

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(RUNTIME)  ## install and run the demonstration; OUT=FOLDER names where to
	$(BIN)/acinus demo --out "$(OUT)"

test: lint types unit  ## all checks: lint, types, import direction, tests, documentation

lint: $(DEV)  ## style and format
	$(BIN)/ruff check src tests scripts benchmarks
	$(BIN)/ruff format --check src tests scripts benchmarks

types: $(DEV)  ## static types
	$(BIN)/mypy

layers: $(DEV)  ## import direction only
	$(BIN)/python -m pytest tests/project/test_layers.py

docs: $(DEV)  ## documentation only: code runs, links hold, tables agree with the code
	$(THREADS) $(BIN)/python -m pytest tests/project/test_docs.py

reference: $(DEV)  ## write the reference pages that are read off the code
	$(BIN)/python scripts/reference.py

unit: $(DEV)  ## tests, import direction and documentation
	$(THREADS) $(BIN)/python -m pytest $(PYTEST) -m "not long"

test-long: $(DEV)  ## the long tests: clusters, killed workers, cascades part by part
	$(THREADS) $(BIN)/python -m pytest $(PYTEST) -m long

bench: $(RUNTIME)  ## measure speed and memory on this machine
	$(BIN)/acinus benchmark

format: $(DEV)  ## put the code into its format
	$(BIN)/ruff check --fix src tests scripts
	$(BIN)/ruff format src tests scripts

lock: $(VENV)/.made  ## resolve the dependencies anew and write the lock files
	$(BIN)/python scripts/lock.py

install: $(RUNTIME)  ## make the environment to use Acinus
install-dev: $(DEV)  ## make the environment to work on Acinus

clean:  ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The first of these that is Python 3.11 to 3.13 and can make environments.
$(VENV)/.made:
	@found=""; \
	for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Acinus needs Python 3.11, 3.12 or 3.13 with its venv module; none was found on the path." >&2; \
	  echo "Install one (on Debian and Ubuntu: apt install python3.11 python3.11-venv)," >&2; \
	  echo "or say where it is: make demo PYTHON=/path/to/python3.11" >&2; \
	  exit 2; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv "$(VENV)"
	@touch $@

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/.made
	@echo "Installing the locked dependencies (some hundred megabytes, once) ..."
	$(PIP) install -qq -r requirements.lock
	$(PIP) install -qq --no-deps --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(PIP) install -qq -r requirements-dev.lock
	@touch $@
