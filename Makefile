# Every target sets up what it needs in .venv; nothing else is touched.
unexport PYTHONDONTWRITEBYTECODE  # each of the tests' processes would compile all modules anew
PYTHON ?= python3
TRIALS ?= 100
STORAGE ?= study.db
VENV := .venv
MICRO := .venv-micro
RUN := $(VENV)/bin/python

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*##  ?/\1|/; s/## *//' | \
		awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

.PHONY: help search dashboard report check quick test lint types tests faults test-cluster test-micro \
	soak clean

search: $(VENV)/run.stamp  ## search for TRIALS trials (make search TRIALS=5)
	$(RUN) search/run.py --trials $(TRIALS) --storage $(STORAGE)

dashboard: $(VENV)/run.stamp  ## watch the study in a browser
	$(RUN) search/dashboard.py --storage $(STORAGE)

report: $(VENV)/run.stamp  ## write reports/ from the study
	$(RUN) search/report.py --storage $(STORAGE)

check: $(VENV)/test.stamp  ## a minute: lint, types, and the tests that start no process
	$(MAKE) --no-print-directory -j 3 --output-sync lint types quick

quick: $(VENV)/test.stamp
	$(VENV)/bin/pytest -n 2 --dist worksteal -m "not processes"

test: lint types tests  ## with real processes, a browser, MNIST; CI runs faults and test-cluster too

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/test.stamp
	$(VENV)/bin/mypy

tests: $(VENV)/test.stamp
	$(VENV)/bin/pytest -n 2 --dist worksteal --ignore tests/faults --ignore tests/cluster

faults: $(VENV)/test.stamp  ## kills, locks, full disks, for real; CI runs it
	$(VENV)/bin/pytest -n 2 --dist worksteal tests/faults

test-cluster: $(VENV)/test.stamp  ## a real PostgreSQL server and more than one machine; CI runs it
	CLUSTER_TESTS_REQUIRED=1 $(VENV)/bin/pytest tests/cluster

test-micro: $(MICRO)/test.stamp  ## exports for microcontrollers, measured for real; CI runs it
	MICRO_TESTS_REQUIRED=1 $(MICRO)/bin/pytest tests/exporting/micro tests/benchmarks/test_emulated.py

soak: $(VENV)/test.stamp  ## 50 random kills of one search, 10 to 20 minutes
	$(RUN) tests/soak.py

$(VENV)/run.stamp: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/test.stamp: $(filter-out requirements-micro.txt,$(wildcard requirements-*.txt)) $(VENV)/run.stamp
	$(RUN) -m pip install --quiet -r requirements-dev.txt
	touch $@

$(MICRO)/test.stamp: requirements.txt requirements-micro.txt
	test -x $(MICRO)/bin/python || $(PYTHON) -m venv $(MICRO)
	$(MICRO)/bin/python -m pip install --quiet -r requirements.txt -r requirements-micro.txt \
		$$(grep -E '^(pytest|hypothesis)==' requirements-dev.txt)
	touch $@

clean:  ## remove the virtual environments and caches, never a study or a report
	rm -rf $(VENV) $(MICRO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
