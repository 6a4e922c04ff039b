# make drill   back up a database, restore it into a throwaway server, prove it equal, write the report
# make test    set up everything the tests need on a bare machine, then run them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Outside of CI, what only root can install does not keep the other tests from running; pytest's header says what is missing.
GO_ON := [ "$$CI" != true ]
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: drill test lock clean

$(VENV)/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV) || { echo "no venv: on Debian run apt-get install python3-venv"; exit 3; }
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

drill: $(VENV)/.ready
	@if [ -n "$$DATABASE_URL" ]; then $(BIN)/pgdrill backup; \
	else $(BIN)/pgdrill sample-backup; fi
	$(BIN)/python -m pytest verification/ --archive latest

test: $(VENV)/.ready
	$(BIN)/python scripts/install-test-servers
	scripts/install-test-programs
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/install-test-containers || $(GO_ON)
	scripts/install-test-compose || $(GO_ON)
	scripts/install-test-browser || $(GO_ON)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lock: pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --all-extras --group dev pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --all-extras --constraint requirements.lock pyproject.toml --output-file image.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
