# make run: environment, then the benchmark.  make test: environment, then the tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test slow check clean

run: $(STAMP)
	$(BIN)/bugzoo run $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto $(ARGS)

slow: $(STAMP)
	$(BIN)/python -m pytest -n auto -m slow $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bugzoo verify --quiet
	$(BIN)/bugzoo verify --mutants --quiet

clean:
	rm -rf .venv results

$(STAMP): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $(STAMP)
