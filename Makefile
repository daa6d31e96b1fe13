# Everything a contributor runs. It needs Python 3.11 or newer, git and make; each target makes .venv if it has to.

NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
# The first Python that runs and is new enough; or: make PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python $(NEW_ENOUGH) && echo $$python && break; done)
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-servers test-trainers lint sync bench bench-scale docs clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

demo: .venv/$(if $(wildcard .venv/.installed),.installed,.demo) ## a conversation is killed half-way, and goes on where it was
	$(BIN)/chatmemory demo

test: .venv/.installed ## the whole suite, on real servers; make test ARGS="-k order" runs a part
	$(BIN)/pytest -n 2 $(ARGS)

test-servers: .venv/.installed ## a part of the suite on each Postgres and Redis that this machine or a wheel has
	$(BIN)/python -m scripts.servers $(ARGS)

test-trainers: .venv-trainers/.installed ## real trainings with Hugging Face, Lightning, Keras and torchrun, in an environment of their own
	.venv-trainers/bin/pytest -n 2 tests/chatmemory_training/test_trainers.py $(ARGS)

lint: .venv/.installed ## ruff, mypy --strict, and whether the generated half is current
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python scripts/unasync.py --check

sync: .venv/.installed ## write chatmemory/_sync and tests/_sync from the async half
	$(BIN)/python scripts/unasync.py

bench: .venv/.installed ## turns, round trips and metrics beside hand-written SQL; what a prompt cache serves
	$(BIN)/python -m benchmarks.turn
	$(BIN)/python -m benchmarks.round_trips
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m benchmarks.prefix

bench-scale: .venv/.installed ## the same calls on a database of a million sessions and on an empty one
	$(BIN)/python -m benchmarks.scale $(ARGS)

docs: .venv/.installed ## write the pages of docs/ that are made from the code
	$(BIN)/python scripts/reference.py
	$(BIN)/python -m chatmemory.cli.reference > docs/cli.md

clean: ## remove .venv, caches and build results
	rm -rf .venv .venv-servers .venv-trainers .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -prune -exec rm -rf {} +

define MAKE_VENV
	@if ! $(BIN)/pip --version >/dev/null 2>&1; then \
		'$(PYTHON)' $(NEW_ENOUGH) || { \
			echo 'chatmemory needs Python 3.11 or newer, and finds none.' \
				'Install one, or say where it is: make PYTHON=/path/to/python' >&2; exit 1; }; \
		echo "making .venv with $$('$(PYTHON)' --version)"; \
		'$(PYTHON)' -m venv --clear .venv; \
	fi
endef

# constraints.txt holds the versions this was last tested with: `pip list --format=freeze` of a fresh .venv,
# without pip, setuptools and chatmemory itself.
.venv/.installed: pyproject.toml constraints.txt
	$(MAKE_VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,all]'
	@# its wheel carries tiktoken's vocabularies, which the tests read from there; the rest of it is of no use
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps litellm
	@touch $@

# The CPU build is 190 MB; the one on PyPI needs 3 GB. PIP_FIND_LINKS names the folder of the wheel.
TORCH := torch==2.13.0+cpu
.venv-trainers/.installed: pyproject.toml constraints.txt
	@.venv-trainers/bin/pip --version >/dev/null 2>&1 || '$(PYTHON)' -m venv --clear .venv-trainers
	@.venv-trainers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '$(TORCH)' \
		transformers accelerate lightning keras 'jsonargparse[signatures]' -e '.[test]'
	@.venv-trainers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps litellm
	@touch $@

# What the demo needs: a fifth of what the tests do.
.venv/.demo: pyproject.toml constraints.txt
	$(MAKE_VENV)
	@echo 'installing chatmemory with its private Postgres and LangChain: half a minute, the first time'
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,langchain]'
	@touch $@
