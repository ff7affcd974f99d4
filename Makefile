PYTHON ?= python3
PORT ?= 7071
HOST ?= local

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHECKOV := .checkov/.installed
SUPPLY := .supply/.installed
FHIRSTARTER := .fhirstarter/.installed
WORKER := .functions-worker/.installed
FLOORS := .floors/.installed
PYTEST := $(BIN)/python -m pytest
# Workers steal files that others have not reached; each has its own Azurite and vault.
PARALLEL := --numprocesses logical --dist worksteal
LOCK := .supply/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	--no-strip-extras --no-annotate --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help install run services demo quick test pictures floors slow clients bench faults soak check format lock snapshots sbom package clean

help: ## show what there is to make
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / {printf "  make %-10s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make ./gateway ready, with what tests and the local system need, in .venv

run: $(INSTALLED) ## start everything on this machine, until Ctrl-C (PORT=7071, HOST=func for Core Tools)
	@exec $(BIN)/python -m local run --port $(PORT) --host $(HOST)

services: $(INSTALLED) ## start everything but the functions, for func start
	@exec $(BIN)/python -m local services --port $(PORT)

demo: $(INSTALLED) ## play the app against what runs, and print the charts it gets
	@exec $(BIN)/python -m local demo

quick: $(INSTALLED) ## run the tests that need no other process, in half a minute
	$(PYTEST) $(PARALLEL) --quiet -m 'not services and not slow'

test: $(INSTALLED) $(FHIRSTARTER) $(WORKER) ## run all tests but the slow ones, seven minutes on two cores
	$(PYTEST) $(PARALLEL) -m 'not slow'

pictures: $(INSTALLED) ## take pictures of every page of the portal, .local/pictures, and those of the README anew
	PICTURES=.local/pictures $(PYTEST) tests/portal/test_portal_browser.py -k pages
	cp .local/pictures/readme/*.png docs/pictures/

floors: $(FLOORS) ## run the pure tests on the lowest versions that the requirements allow
	.floors/bin/python -m pytest $(PARALLEL) --quiet -p no:cacheprovider -m 'not services and not slow'

slow: $(INSTALLED) ## run the slow tests, one after another: faults, shapes, fuzzing, a second reader; needs Java, Maven
	$(PYTEST) -m slow

clients: $(INSTALLED) $(FHIRSTARTER) ## compare others' servers and clients, HL7's examples, HAPI's validator; needs Java, Maven, Rust, Go
	$(PYTEST) tests/conformance/check_*.py tests/oauth/check_*.py

bench: $(INSTALLED) $(WORKER) ## measure everything, twenty minutes (QUICK=1: four); needs Python 3.13, nginx, haproxy and wrk
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

faults: $(INSTALLED) ## inject every fault, try every attack and shape, read with HAPI, send 100,000 generated requests
	FAULTS=full $(PYTEST) tests/faults tests/isolation tests/attacks tests/differential tests/shapes tests/fuzz \
		tests/portal/test_portal_browser.py tests/portal/test_journeys.py

soak: $(INSTALLED) ## half an hour of mixed load with faults and rotations
	$(BIN)/python -m tests.soak --minutes 30 --write

check: $(INSTALLED) $(CHECKOV) $(SUPPLY) ## run linters, type checks and the checks of infra/ and of the supply chain
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) tests/check_*.py tests/infra/check_*.py tests/docs/check_*.py tests/supply/check_*.py

format: $(INSTALLED) ## format the code and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(SUPPLY) ## pin what the requirements allow at its newest, with hashes
	grep -hv '^-r' requirements.txt | $(LOCK) --output-file requirements.lock -
	grep -hv '^-r' requirements.txt requirements-dev.txt | $(LOCK) --constraints requirements.lock --output-file requirements-dev.lock -

snapshots: $(INSTALLED) ## work out anew what infra/ deploys, for review (needs the Bicep compiler)
	$(BIN)/python -m tests.infra.bicep

sbom: $(INSTALLED) $(SUPPLY) ## write the bill of materials and the table of licences
	$(BIN)/python -m tests.supply.bill_of_materials

package: $(INSTALLED) ## build what is published to Azure, in dist/, and list it
	@./gateway azure package

clean: ## remove what make installed; the state of the local stack stays
	rm -rf dist $(VENV) .checkov .supply .fhirstarter .functions-worker .floors local/azurite/node_modules tests/clients/*/target .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): requirements.txt requirements.lock requirements-dev.txt requirements-dev.lock
	@echo "Installing the requirements into $(VENV): once, about half a minute"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m local.pip_install -r requirements-dev.txt
	@touch $@

# In an environment of its own: it pins what the project's own libraries need newer.
$(CHECKOV):
	@echo "Installing checkov into .checkov"
	@$(PYTHON) -m venv .checkov
	@.checkov/bin/python -m local.pip_install 'checkov>=3.2,<4'
	@touch $@

# In an environment of its own: what makes locks and audits must not depend on what it locks.
$(SUPPLY):
	@echo "Installing uv, pip-audit and cyclonedx-bom into .supply"
	@$(PYTHON) -m venv .supply
	@.supply/bin/python -m local.pip_install 'uv>=0.9,<1' 'pip-audit>=2.9,<3' 'cyclonedx-bom>=7,<8'
	@touch $@

# A range's floor is a promise: of what is asked for by name the lowest version, of what that needs the newest.
$(FLOORS): requirements.txt requirements-dev.txt $(SUPPLY)
	@echo "Installing the lowest versions that are allowed into .floors"
	@$(PYTHON) -m venv .floors
	@grep -hv '^-r' requirements.txt requirements-dev.txt | .supply/bin/uv pip compile --quiet --python-version 3.11 --resolution lowest-direct --output-file .floors/requirements.txt -
	@.supply/bin/uv pip install --quiet --python .floors --requirements .floors/requirements.txt
	@touch $@

$(FHIRSTARTER): tests/conformance/requirements.txt
	@echo "Installing fhirstarter into .fhirstarter"
	@$(PYTHON) -m venv .fhirstarter
	@.fhirstarter/bin/python -m local.pip_install -r $<
	@touch $@

# The library that runs functions in Azure needs a Python 3.13 or later: the first of these that is one.
PYTHON_3_13 = $(shell for python in python3.13 python3.14 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[34]*/bin/python3 $(PYTHON); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2> /dev/null && echo "$$python" && break; done)

# In an environment of its own, as the app has it in Azure.
$(WORKER): requirements.txt requirements.lock bench/functions_worker/requirements.txt
	@if [ -z "$(PYTHON_3_13)" ]; then \
		echo "No Python 3.13 or later was found: the tests in the runtime of Azure are skipped"; \
	else \
		echo "Installing the runtime of Azure's Python functions into .functions-worker" && \
		"$(PYTHON_3_13)" -m venv .functions-worker && \
		.functions-worker/bin/python -m local.pip_install -r requirements.txt && \
		.functions-worker/bin/python -m local.pip_install -r bench/functions_worker/requirements.txt && \
		touch $@; \
	fi
