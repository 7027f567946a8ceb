# The two commands of the README: `make repro` and `make test`.
PYTHON ?= python3
VENV := .venv

# DVC starts each stage with the `python` it finds on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro test format

repro: $(VENV)/installed
	dvc repro

test: $(VENV)/installed-dev
	ruff check
	ruff format --check
	mypy
	pytest

format: $(VENV)/installed-dev
	ruff check --fix
	ruff format

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/installed
