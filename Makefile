# SPDX-License-Identifier: Apache-2.0
# Every target sets up .venv by itself; nothing else is needed but python3, g++ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH_STAMP := $(VENV)/.torch
BOARD_VENV := .venv-board
BOARD_STAMP := $(BOARD_VENV)/.installed
BOARD_TESTS := $(wildcard tests/test_runtime*.py) tests/test_examples.py tests/test_deploy.py
EXAMPLE := examples/fashion
DEMO := build/fashion
CPP := $(wildcard templates/hls/include/*.hpp templates/hls/sim/*.h templates/hls/src/*.cpp)

.DEFAULT_GOAL := help
.PHONY: help venv torch board-venv demo test test-all test-torch test-board test-board-all lint format golden bench clean

help:
	@echo "make demo      build the Fashion-MNIST example for the ZCU102 and simulate it (about 5 minutes)"
	@echo "make test      fast tests;  make test-all: also the slow ones"
	@echo "make test-torch  only the fast tests that need PyTorch, which it installs into $(VENV);  make torch: only install it"
	@echo "make test-board  the runtime with the real pynq library, in .venv-board;  make test-board-all: also the slow ones"
	@echo "make board-venv  only set up $(BOARD_VENV)"
	@echo "make lint      ruff, mypy and clang-format"
	@echo "make format    apply the formatters"
	@echo "make golden    rewrite the reviewed files under tests/golden/"
	@echo "make bench     measure compile time, simulation time and accuracy"
	@echo "make venv      only set up $(VENV);  make clean: remove it and all outputs"

define make-venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
  { echo "hwgen needs Python 3.10 or later; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
@rm -rf $(1)
@$(PYTHON) -m venv $(1) >$(1).log 2>&1 || $(PYTHON) -m virtualenv -q $(1) >>$(1).log 2>&1 || \
  { cat $(1).log >&2; rm -rf $(1) $(1).log; \
    echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
@rm -f $(1).log
endef

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(call make-venv,$(VENV))
	@echo "installing hwgen and what it needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Tests that need PyTorch are skipped where it is missing; with it, make test runs them, too. On Linux, PyPI's build
# brings CUDA; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu finds the smaller one for the CPU.
$(TORCH_STAMP): $(STAMP)
	@echo "installing PyTorch into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[quant]'
	@touch $@

torch: $(TORCH_STAMP)

# mean and deviation of the training pixels, as in example.json
demo: $(STAMP)
	$(BIN)/hwgen build $(EXAMPLE)/fashion_vit.onnx --board zcu102 --mean 0.2860 --std 0.3530 \
	  --classes $(EXAMPLE)/classes.txt -o $(DEMO) --quiet
	$(BIN)/python $(EXAMPLE)/demo.py $(DEMO)
	$(BIN)/hwgen sim $(DEMO) --level rtl --frames 16

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadgroup

test-all: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadgroup

test-torch: $(TORCH_STAMP)
	$(BIN)/python -m pytest -m "torch and not slow" -n auto --dist loadgroup

# pynq wants numpy < 2; constraints.txt, made for numpy 2, does not apply. Of the extra sim only the headers are needed.
$(BOARD_STAMP): pyproject.toml
	$(call make-venv,$(BOARD_VENV))
	@echo "installing hwgen and pynq into $(BOARD_VENV)"
	@$(BOARD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[board,board-test]'
	@$(BOARD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  "$$(sed -n 's/^sim = \["\(.*\)"\]$$/\1/p' pyproject.toml)"
	@touch $@

board-venv: $(BOARD_STAMP)

test-board: $(BOARD_STAMP)
	$(BOARD_VENV)/bin/python -m pytest -m "not slow" -n auto --dist loadgroup $(BOARD_TESTS)

test-board-all: $(BOARD_STAMP)
	$(BOARD_VENV)/bin/python -m pytest -n auto --dist loadgroup $(BOARD_TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

golden: $(STAMP)
	$(BIN)/python -m pytest tests -k golden --update-golden

bench: $(STAMP)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) $(BOARD_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
