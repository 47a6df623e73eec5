# Everything a fresh machine needs is Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Tests run side by side, so each has one thread for its networks. What neighbours share is fitted once: a worker takes
# its tests in a row, and from the end of another one when it has none left.
TEST_WORKERS ?= 2

# The oldest releases that setup.cfg promises, and what they are tried on.
OLDEST ?= $(VENV)-oldest
OLDEST_TESTS = tests/test_packaging.py tests/test_base.py tests/test_histogram.py tests/test_callbacks.py \
	tests/compose/test_jacobians.py tests/nn/test_made.py tests/nn/test_flows.py tests/codec/test_streams.py \
	tests/grammar/test_inside.py tests/topic/test_particles.py
OLDEST_INSTANCES = density_checks and (blocks or n_orders or equal or diagonal)

.PHONY: help demo test test-oldest lint clean

help:
	@echo "make demo   install into $(VENV) and run the quickstart example"
	@echo "make test   install into $(VENV) with the test extra, lint, run the tests"
	@echo "make test-oldest   a selection of the tests with the oldest releases of what the package builds on"
	@echo "make lint   check style, format and types"
	@echo "make clean  remove $(VENV) and caches"

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed; try make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[examples]"
	touch $@

$(VENV)/.test: $(BIN)/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

# On Linux the oldest torch comes with CUDA; WITH_TORCH=constraints-oldest.txt takes it all the same.
WITH_TORCH ?= constraints.txt
$(OLDEST)/.test: setup.cfg pyproject.toml constraints-oldest.txt constraints.txt
	$(PYTHON) -m venv $(OLDEST)
	grep -v '^torch==' constraints-oldest.txt > $(OLDEST)/constraints.txt
	grep '^torch==' $(WITH_TORCH) >> $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt --editable ".[examples]" \
		hypothesis polars pyarrow pytest pytest-xdist
	touch $@

demo: $(VENV)/.demo
	MPLBACKEND=Agg $(BIN)/python examples/plot_quickstart.py

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal

test-oldest: $(OLDEST)/.test
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(OLDEST)/bin/python -m pytest -q -n $(TEST_WORKERS) $(OLDEST_TESTS)
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(OLDEST)/bin/python -m pytest -q -n $(TEST_WORKERS) tests/test_common.py \
		-k "$(OLDEST_INSTANCES)"

clean:
	rm -rf $(VENV) $(OLDEST) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
