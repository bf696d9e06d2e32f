# One command for each thing that is done every day; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format bench images fresh picture clean

demo: $(READY)
	$(BIN)/timeseries demo

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST)

lint: $(READY)
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python tests/bench.py $(BENCH)

# The images of compose and tests: pulled, or stand-ins from Debian's packages where they cannot be.
images: $(READY)
	$(BIN)/python tests/images.py

# `make demo` and `make test` on machines that have nothing but Python: FRESH="--debian 12 --user parking --network on"
fresh:
	$(PYTHON) tests/fresh.py $(FRESH)

# Random passwords for docker compose; what is there already stays.
.env:
	@umask 077; while IFS= read -r line; do case $$line in \
	    TIMESERIES_SECRET_KEY=) echo "$$line$$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')" ;; \
	    [A-Z]*=) echo "$$line$$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')" ;; \
	    *) echo "$$line" ;; esac; done < .env.example > $@

# The oldest release of each dependency that pyproject.toml allows, for pip: PIP_CONSTRAINT=$PWD/oldest.txt make test
oldest.txt: pyproject.toml
	sed -nE '/^dependencies = \[/,/^\]/s/^ *"([a-z-]+)(\[.*\])?>=(.*)",$$/\1==\3/p' $< > $@

# The picture in README.md, from the sample data on an embedded server of its own.
picture: $(READY)
	home=$$(mktemp -d) && TIMESERIES_HOME=$$home $(BIN)/timeseries demo --plot docs/occupancy-heatmap.png; rm -rf $$home

clean:
	rm -rf $(VENV) .timeseries build dist oldest.txt

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)
