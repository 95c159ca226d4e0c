# make run: serve on http://127.0.0.1:8080 · make test: lint, types, all tests · make bench: the benchmark table
# make faults: every fault under load, for minutes · make docs: the documentation, in site/
.PHONY: run test bench faults docs settings-file dashboard-file lock clean system-packages
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
BIN := .venv/bin

# With PYTHON=..., an environment of another Python is made again. Without, the one that exists is kept.
VERSION_OF = $(shell $(1) -c 'import sys; print(sys.version)' 2>&1)
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(BIN)/python),)
ifneq ($(call VERSION_OF,$(PYTHON)),$(call VERSION_OF,$(BIN)/python))
.PHONY: .venv/run
CLEAR := --clear
endif
endif
endif

run: .venv/run
	@$(BIN)/receiver init
	@$(BIN)/receiver migrate
	@exec $(BIN)/receiver serve

test: .venv/test system-packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

bench: .venv/test system-packages
	@$(BIN)/python -m tests.bench $(ARGS)

faults: .venv/test
	@tests/system-packages patroni etcd-server
	@$(BIN)/python -m tests.faults $(ARGS)

docs: .venv/test
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# config/receiver.toml, from the descriptions of the settings.
settings-file: .venv/run
	@$(BIN)/python -m docs._settings_file

# config/grafana-dashboard.json, from its description.
dashboard-file: .venv/run
	@$(BIN)/python -m docs._dashboard

# One environment; what tests need comes on top of what the service needs. The build backend is locked like the rest.
.venv/run: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; this is " + sys.version.split()[0] + ". Set PYTHON=...")'
	@test -z "$(CLEAR)" -a -x $(BIN)/python || { echo "Creating .venv ..." && $(PYTHON) -m venv $(CLEAR) .venv; }
	@echo "Installing the locked dependencies (about a minute) ..."
	@$(BIN)/pip --quiet --disable-pip-version-check install --require-hashes --requirement requirements.txt
	@echo "Installing the receiver ..."
	@$(BIN)/pip --quiet --disable-pip-version-check install --no-build-isolation --no-deps --editable .
	@touch $@

.venv/test: .venv/run requirements-test.txt
	@echo "Installing what the tests need ..."
	@$(BIN)/pip --quiet --disable-pip-version-check install --require-hashes --requirement requirements-test.txt
	@touch $@

# What tests/system-packages names, where it is missing and may be installed; the tests say loudly what they had to leave out.
system-packages:
	@tests/system-packages

lock: .venv/test
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --output-file requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --extra test --constraint requirements.txt --output-file requirements-test.txt pyproject.toml

clean:
	rm -rf .venv site .mypy_cache .pytest_cache .ruff_cache .hypothesis
