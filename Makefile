.DEFAULT_GOAL := help
.PHONY: help run test check golden snap bench eval dashboards clean

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SOURCES := gpuwatch agent/gpuwatch_agent exporters/gpuwatch_exporters
ready := $(VENV)/.ready

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(ready): pyproject.toml requirements-dev.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt -e .
	touch $@

run: $(ready) ## open gpuwatch on this machine's GPUs, or on a simulated 8×H100 node where there is no driver
	@$(BIN)/gpuwatch status --json >/dev/null 2>&1; \
	if [ $$? -eq 3 ]; then exec $(BIN)/gpuwatch --sim dgx-h100-8; else exec $(BIN)/gpuwatch; fi

test: $(ready) ## run all tests
	$(BIN)/pytest

check: $(ready) ## lint, formatting, types, and the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(SOURCES) tests bench grafana
	$(BIN)/lint-imports

golden: $(ready) ## write the golden files anew; read the difference before you commit it
	GPUWATCH_REWRITE_GOLDEN=1 $(BIN)/pytest -q tests -m golden

snap: $(ready) ## print and draw the screens at several sizes, healthy and broken, for a look
	$(BIN)/python bench/screens.py

bench: $(ready) ## measure speed and size beside the peers, on the fake driver
	$(BIN)/python bench/run.py

eval: $(ready) ## put the findings to the exam: labelled episodes, the figures to docs/evaluation.md
	$(BIN)/python bench/evaluate.py --output docs/evaluation.md

dashboards: $(ready) ## write the Grafana dashboards from the program that describes them
	PYTHONPATH=grafana $(BIN)/python -m gpuwatch_dashboards

clean: ## remove what was built
	rm -rf $(VENV) .bench dist build .mypy_cache .ruff_cache .pytest_cache
