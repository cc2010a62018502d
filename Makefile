# Every target makes its own virtual environment in .venv and never touches one that is active.
#
#   make demo            the whole system, from empty databases to head; SIZE=0.1 or 10 scales the data,
#                        EXIT=1 exits with a status instead of staying up
#   make demo-failure    a revision that fails in its seventh batch; STAY=1 stays up to look around
#   make bench           speed against references, and docs/performance.md from it: half an hour on a machine
#                        that does nothing else; SIZE=small, ONLY=a,documents, ROUNDS=5
#   make test            what CI runs
#   make kills           kill workers at random, KILLS=100 for each STORE=rows, documents, objects or all;
#                        SEED=7 makes it the same dice again
#   make lint            ruff, mypy, import-linter
#   make clean           remove the data of the demos
#
# PYTHON=python3.12 chooses the Python (3.10 to 3.13); REPORT=file writes what a demo did as JSON.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.lockstep-installed
INSTALLED_BENCH := $(VENV)/.lockstep-bench-installed
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python3.10)
FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

# An active environment must not be taken for the one that is meant here.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH CONDA_PREFIX

.PHONY: help demo demo-failure bench test lint pytest kills clean venv

help:
	@sed -n 's/^#   \(.*\)/\1/p' Makefile

demo: $(INSTALLED)
	@$(BIN)/python -m lockstep.demo $(if $(SIZE),--size '$(SIZE)') $(if $(EXIT),--exit) $(if $(REPORT),--report '$(REPORT)')

demo-failure: $(INSTALLED)
	@$(BIN)/python -m lockstep.demo --failure $(if $(SIZE),--size '$(SIZE)') $(if $(STAY),--stay) $(if $(REPORT),--report '$(REPORT)')

bench: $(INSTALLED_BENCH)
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size '$(SIZE)') $(if $(ONLY),--only '$(ONLY)') $(if $(ROUNDS),--rounds '$(ROUNDS)')

test: lint pytest

# Small things first, the whole system last. Tests of one file share its servers' databases, so a file stays with
# one worker; each worker has servers of its own, and where tests/dags needs it an Airflow home. A whole Airflow starts
# a dozen processes: what runs one runs alone.
SIDE_BY_SIDE := -n logical --maxprocesses 8 --dist loadfile
pytest: $(INSTALLED)
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/unit tests/contract tests/engine
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/dags
	$(BIN)/python -m pytest tests/acceptance
endif

kills: $(INSTALLED)
	$(BIN)/python tests/kills.py --kills $(or $(KILLS),100) --seed $(or $(SEED),7) --store $(or $(STORE),all)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m lockstep.demo --clean; else rm -rf .lockstep; fi

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@for python in $(PYTHONS); do \
	    if "$$python" -c '$(FITS)' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "Lockstep needs Python 3.10 to 3.13, and none of these is one: $(PYTHONS). Name yours: make $(MAKECMDGOALS) PYTHON=…" >&2; \
	    exit 1; \
	fi; \
	if ! $(BIN)/python -c '$(FITS)' 2>/dev/null; then \
	    echo "Making $(VENV) with $$found"; \
	    "$$found" -m venv --clear $(VENV) || { echo "Could not make $(VENV): on Debian and Ubuntu, install python3-venv." >&2; exit 1; }; \
	fi
	@echo "Installing what constraints.txt names (the first time takes a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[bench]'
	@touch $@
