# The four commands that work on nnla takes. `make test TESTS=tests/krylov` runs a part.
.DEFAULT_GOAL := help
.PHONY: help install test lint ci
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?=
export OMP_NUM_THREADS ?= 1

help:
	@echo "make install   the package (editable) and the developers' tools in $(VENV)"
	@echo "make test      all tests and doctests; TESTS=tests/krylov for a part"
	@echo "make lint      style, types, spelling, workflows, the project's own state"
	@echo "make ci        what CI runs: both README commands on a clean environment, without a compiler too, and lint"

install:
	python3 -m venv $(VENV)
	$(BIN)/pip install -q --upgrade "pip>=25.1"
	$(BIN)/pip install -q --editable . --group dev

test:
	$(BIN)/python -m pytest -n 2 $(TESTS)

lint:
	bash .ci/lint $(VENV)

ci:
	bash .ci/run
