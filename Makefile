# One command for each thing that is done every day; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo control test quick lint format docs commands releases rights bench soak images fresh picture clean

help:  ## what there is to make
	@sed -nE 's/^([a-z.]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(READY)  ## feed an embedded server and ask it
	$(BIN)/timeseries demo

control: $(READY)  ## a control plane on http://127.0.0.1:8000, with sample data on an embedded server
	$(BIN)/python examples/control_plane/demo.py

test: $(READY)  ## every test on every kind of server; PYTEST="…" for pytest's words
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup $(PYTEST)

quick: $(READY)  ## the tests that need no server
	$(BIN)/python -m pytest -m "not server" $(PYTEST)

lint: $(READY)  ## what CI checks beside the tests
	$(BIN)/hadolint Dockerfile pgbackrest/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs  ## the pages and the reference as a site in build/site, with every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

commands: $(READY)  ## write the reference of the command line again
	$(BIN)/python docs/commands.py

# Also those beside it: /usr/local/pgsql-15, say, beside /usr/local/pgsql
releases: $(READY)  ## run every release of TimescaleDB that is installed; docs/releases.md has the results
	-$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --junitxml build/releases.xml tests/releases $(PYTEST)
	$(BIN)/python docs/releases.py build/releases.xml

bench: $(READY)  ## ratios, measured side by side; BENCH="--help"
	$(BIN)/python -m tests.bench $(BENCH)

soak: $(READY)  ## ten minutes of everything at once and every fault; SOAK="--seconds 3600 --seed 7"
	$(BIN)/python -m tests.soak $(SOAK)

images: $(READY)  ## the images of compose and tests: pulled, or stand-ins from Debian's packages
	$(BIN)/python -m tests.machines.images

# FRESH="--debian 12 --user parking --network on" for one of them
fresh:  ## the README's two commands on machines that have nothing but Python
	$(PYTHON) -m tests.machines.fresh $(FRESH)

# Random passwords for docker compose; what is there already stays.
.env:
	@umask 077; while IFS= read -r line; do case $$line in \
	    TIMESERIES_SECRET_KEY=) echo "$$line$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" ;; \
	    [A-Z]*=) echo "$$line$$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')" ;; \
	    *) echo "$$line" ;; esac; done < .env.example > $@

# The oldest release of each dependency that pyproject.toml allows, for pip: PIP_CONSTRAINT=$PWD/oldest.txt make test
oldest.txt: pyproject.toml
	sed -nE '/^dependencies = \[/,/^\]/s/^ *"([a-z-]+)(\[.*\])?>=(.*)",$$/\1==\3/p' $< > $@

rights: $(READY)  ## write the table of rights in docs/security.md again, as a server has them
	$(BIN)/python -m pytest tests/access/test_rights.py --rewrite

# From the sample data, on an embedded server of its own.
picture: $(READY)  ## draw the pictures of the README and of the docs
	home=$$(mktemp -d) && TIMESERIES_HOME=$$home $(BIN)/python docs/pictures.py; rm -rf $$home

clean:  ## remove what was made here
	rm -rf $(VENV) .timeseries build dist oldest.txt

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

$(VENV)/.docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@
