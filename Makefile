# The two commands of the README are `make run` and `make test`; the rest is for developers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECT ?= examples/breast_cancer
# Compiled modules make every start faster; some shells switch them off.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-fast check-data lint format bench constraints clean

run: $(VENV)/.core
	$(BIN)/keepfit run -C $(PROJECT)
	@echo "keepfit is $(BIN)/keepfit here; 'source $(BIN)/activate' puts it on the PATH."

check-data: $(VENV)/.core
	$(BIN)/keepfit check -C $(PROJECT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "keepfit needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The pins: what a fresh environment resolves to today, by name and version alone.
constraints:
	rm -rf .bench/pins && $(PYTHON) -m venv .bench/pins
	.bench/pins/bin/python -m pip install -q -e '.[dev]'
	.bench/pins/bin/python -m pip freeze --exclude-editable --exclude keepfit | sed 's/ @ .*//' > constraints.txt

clean:
	rm -rf $(VENV) .bench build dist src/*.egg-info
