# Two commands to begin with: `make run` and `make test`. Each sets up all it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
ARGS ?=

.PHONY: run test check bench format clean

run: $(STAMP)
	@$(BIN)/python scripts/run.py $(ARGS)

test: $(STAMP) system
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) system
	$(BIN)/python -m bench $(ARGS)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: system
system:
	@scripts/system-packages

# pip where venv has it, Debian's python3-venv where it does not (root only).
$(STAMP): pyproject.toml constraints.txt
	@scripts/venv $(PYTHON) $(VENV)
	@touch $@
