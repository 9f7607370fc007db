# make demo | test | docs | experiments | lint: each sets up what it needs in .venv
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export REAL_CLIPS COUNT SLOW_COUNT

.PHONY: setup demo docs test test-slow experiments faults lint format lock release-check clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/python -m lvis.demo

# the documentation site, strictly: outputs/docs/index.html
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# every fault of a training, three times each, on the CPU: experiments/faults/table.md
faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python experiments/faults/run.py --times 3

# every table and figure in the tiny world; goes on where it was interrupted (experiments/README.md)
experiments: $(READY)
	PYTHON=$(abspath $(BIN)/python) experiments/all.sh

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# wheel and sdist, and a clip restored from the wheel in a clean environment
release-check: $(READY)
	PYTHON=$(abspath $(BIN)/python) tools/release_check.sh

# pins what is installed now
lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) outputs dist build
