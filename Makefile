# make demo: engine and report of the quickstart model.   make test: everything that CI runs.
PYTHON ?= python3
VENV := .venv
SYNC := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r
PROJECT := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
# An editable install is compiled at its first start, or at every start where the environment forbids it.
COMPILE := $(VENV)/bin/python -m compileall -q orchestrator entrypoint

.DEFAULT_GOAL := help
.PHONY: help demo test lint format lock bench sbom clean

help:  ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(VENV)/local  ## build the quickstart engine into ./demo
	$(VENV)/bin/prepare-models run examples/quickstart/models.yaml --models-dir demo --executor local

test: $(VENV)/dev  ## run every check: nox sessions lint to e2e
	$(VENV)/bin/nox $(if $(SESSIONS),--sessions $(SESSIONS))

lint: $(VENV)/dev  ## check style and types
	$(VENV)/bin/nox --sessions lint types

format: $(VENV)/dev  ## put the sources into the project's form
	$(VENV)/bin/ruff check --quiet --fix . && $(VENV)/bin/ruff format .

lock: $(VENV)/dev  ## write the dependency locks anew
	$(VENV)/bin/nox --sessions lock

bench: $(VENV)/dev  ## measure overheads against baselines
	$(VENV)/bin/nox --sessions bench

sbom: $(VENV)/dev  ## write CycloneDX documents of wheel and images to dist/sbom
	$(VENV)/bin/nox --sessions sbom

clean:  ## remove what was built and installed here
	rm -rf $(VENV) .nox demo dist

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 3; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/local: $(VENV)/bin/pip .ci/locks/local.txt pyproject.toml
	$(SYNC) .ci/locks/local.txt
	$(PROJECT)
	$(COMPILE)
	@touch $@

$(VENV)/dev: $(VENV)/bin/pip .ci/locks/dev.txt pyproject.toml
	$(SYNC) .ci/locks/dev.txt
	$(PROJECT)
	$(COMPILE)
	@touch $@ $(VENV)/local
