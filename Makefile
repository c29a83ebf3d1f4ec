# The commands of the project. `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TESTED := $(VENV)/.installed-for-tests
# A machine may forbid bytecode files: then every start would compile every library anew.
unexport PYTHONDONTWRITEBYTECODE
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help install demo test test-fast lint bench reference constraints clean minio kafka drill-ingest drill-gate drill-paper
help:                ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

install: $(STAMP)    ## make .venv with the pinned versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "aiquant needs Python 3.11 or later; $(PYTHON) is older. Try: make install PYTHON=python3.12"; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev]'
	@touch $@

$(TESTED): $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev,feast,spark]'
	@touch $@

demo: install        ## the whole way on real prices: no key, no network, no server
	$(BIN)/aiquant demo

test: lint $(TESTED)  ## everything that CI runs
	$(BIN)/pytest -n 2 --dist worksteal

test-fast: install   ## without the slow tests
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow'

lint: install        ## flake8, black, types, import contracts
	$(BIN)/flake8 src tests benchmarks scripts
	$(BIN)/black --check --quiet src tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TESTED)     ## the benchmarks, ours beside the peers'
	$(BIN)/python -m benchmarks.run

minio:               ## build the object store of the S3 tests, once (Go; minutes)
	$(PYTHON) scripts/minio.py --build

kafka: install       ## a Kafka broker for development on 127.0.0.1:9092, until Ctrl-C (Java 17, Maven)
	@$(BIN)/python scripts/kafka.py $(if $(PORT),--port $(PORT)) $(if $(DATA),--data $(DATA))

drill-ingest: install ## kill -9 over producers, consumers and broker, then count; LONG=1 for 100 rounds, 1M messages
	@$(BIN)/python scripts/drill_ingest.py $(if $(LONG),--rounds 100 --messages 1000000) $(if $(SEED),--seed $(SEED))

drill-gate: install  ## how often the gate promotes luck, and how often it finds what is there (half an hour)
	@$(BIN)/python scripts/drill_gate.py $(if $(NOISE),--noise $(NOISE)) $(if $(EACH),--each $(EACH)) \
		$(if $(PNG),--png $(PNG))

drill-paper: install ## kill -9 over a paper account that replays a year, then compare; LONG=1 for 60 kills over 8 years
	@$(BIN)/python scripts/drill_paper.py $(if $(LONG),--kills 60 --first 2015 --last 2022) $(if $(SEED),--seed $(SEED))

reference: install   ## renew the pages of docs/reference that are made from the code
	$(BIN)/python scripts/reference.py

constraints: install ## renew constraints.txt from pyproject.toml (no addresses in it)
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --quiet -o constraints.txt

clean:               ## remove the environment and what tests left
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .import_linter_cache
