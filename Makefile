# The door for people and for CI. `make demo` and `make test` need nothing but Python >= 3.11 and a package registry.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test thorough check slow docs format clean

demo: $(VENV)/installed
	@$(BIN)/epochal train

test: $(VENV)/developed
	@scripts/check $(BIN)
	@$(PYTEST) -m "not slow and not thorough" $(ARGS)

thorough: $(VENV)/developed
	@EPOCHAL_THOROUGH=1 $(PYTEST) -m "thorough or campaign" $(ARGS)

check: $(VENV)/developed
	@scripts/check $(BIN)

slow: $(VENV)/developed
	@$(BIN)/python -m pytest -m slow $(ARGS)

docs: $(VENV)/developed
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

format: $(VENV)/developed
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

$(VENV)/installed: pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup $(VENV)
	@touch $@

$(VENV)/developed: pyproject.toml
	@PYTHON="$(PYTHON)" scripts/setup $(VENV) dev
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache .hypothesis
