# Every target sets up what it needs first; .ci/setup returns at once when nothing is to do.

# where Debian keeps mosquitto; not on everybody's PATH
export PATH := $(PATH):/usr/sbin

PIN := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-strip-extras \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# most tests wait for some process or other; a file stays with one worker
SIDE_BY_SIDE := --numprocesses $(or $(WORKERS),4) --dist loadfile

.PHONY: help setup run test test-kurrentdb test-eventstoredb simulate soak fuzz deb test-systemd demo bench bench-quick check lock clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup:
	@.ci/setup

run: setup ## the gateway in the foreground, with a broker on loopback if there is none
	@.ci/start

test: check ## lint, types, imports, and all tests against a real mosquitto, with both kinds of event store
	.venv/bin/pytest $(SIDE_BY_SIDE)
	EVENT_STORE=stand-in .venv/bin/pytest $(SIDE_BY_SIDE) tests/e2e tests/crash

test-kurrentdb: ## the tests of the store adapter with kurrentdbclient, in an environment of its own
	@.ci/setup .venv-kurrentdb requirements-kurrentdb.txt
	.venv-kurrentdb/bin/pytest $(SIDE_BY_SIDE) tests/contract tests/unit/adapters/test_esdb_traps.py tests/unit/adapters/test_esdb_cluster.py \
		tests/unit/adapters/test_otel.py tests/e2e/test_store_away.py tests/e2e/test_store_cluster.py tests/e2e/test_tracing.py

test-eventstoredb: setup ## the contract and end-to-end tests against a real server: URL=esdb://...
	EVENT_STORE="$(URL)" .venv/bin/pytest $(SIDE_BY_SIDE) tests/contract tests/e2e tests/crash

simulate: setup ## tell one simulated run, the same each time: SEED=911
	.venv/bin/python -m tests.simulation $(SEED)

soak: setup ## simulated runs with new seeds on all cores, until one fails or until stopped; SEED=1 WORKERS=1
	.venv/bin/python -m tests.simulation soak $(or $(SEED),$(shell date +%s%3N)) $(WORKERS)

fuzz: setup ## inputs that reach ever more of the code, made by atheris: TARGET=commands, queries or packets; SECONDS=300
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-fuzz.txt
	@mkdir -p .local
	.venv/bin/python -m tests.fuzz $(or $(TARGET),commands) -artifact_prefix=.local/ -max_total_time=$(or $(SECONDS),300)

deb: setup ## dist/*.deb for the Debian and the architecture of this machine
	@systemd/deb/build

test-systemd: setup ## build the package and try it on a machine booted for that, with a real systemd; as root, some minutes
	.venv/bin/pytest -m systemd -rs tests/systemd

demo: setup ## a tour that runs by itself, with a kill -9 in the middle
	.venv/bin/python .ci/demo.py

bench: setup ## the gateway beside others, in turns; some minutes. OPTIONS="--json FILE --profile"
	.venv/bin/python -m benchmarks $(OPTIONS)

bench-quick: setup ## the same in less than a minute; fails if a figure is worse than half of its target
	.venv/bin/python -m benchmarks --quick $(OPTIONS)

check: setup ## lint, types and imports only
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: setup ## pin the requirements anew, with hashes; UPGRADE=1 takes newer releases
	$(PIN) pyproject.toml --output-file requirements.txt
	$(PIN) pyproject.toml --extra enrol --extra eventstoredb --extra otel --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(PIN) pyproject.toml --extra enrol --extra kurrentdb --extra otel --group dev --constraint requirements.txt --output-file requirements-kurrentdb.txt
	$(PIN) --group fuzz --output-file requirements-fuzz.txt
	$(PIN) pyproject.toml --extra enrol --extra eventstoredb --extra otel --no-emit-package grpcio-tools --no-emit-package setuptools --constraint requirements-dev.txt --output-file systemd/deb/requirements.txt

clean: ## remove all that make made: .venv, caches, and .local with the state of "make run"
	rm -rf .venv .venv-kurrentdb .local dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find gateway tests -name __pycache__ -prune -exec rm -rf {} +
