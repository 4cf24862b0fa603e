# Everything runs in .venv inside the checkout; nothing is installed anywhere else.
#   make demo           see it work
#   make test           the whole tox matrix this machine can run, Pythons x drivers; ARGS="-k tcp" goes to pytest,
#                       TOX_ENV=py311-tap picks environments
#   make lint           ruff and mypy only
#   make bench          the benchmark table; ARGS="--json FILE"
#   make clean          remove environments, caches and build output
# PYTHON=/path/to/python chooses the interpreter that .venv is made with (3.11 or newer).

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTHON ?=
ARGS ?=

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.pysock
	$(BIN)/python -m pysock demo $(ARGS)

test: $(VENV)/.tox
	$(BIN)/python .ci/matrix.py $(ARGS)

lint: $(VENV)/.tox
	$(BIN)/python -m tox run -e lint

bench: $(VENV)/.pysock
	$(BIN)/python -m benchmarks $(ARGS)

# The stamps are newer than pyproject.toml as long as there is nothing to do, so a second run starts at once.
$(VENV)/.made: .ci/venv
	@PYTHON="$(PYTHON)" sh .ci/venv $(VENV)
	@touch $@

$(VENV)/.pysock: $(VENV)/.made pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.tox: $(VENV)/.made pyproject.toml
	$(PIP) install 'tox>=4.22'
	@touch $@

clean:
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
