# make demo   set up, run one lesson and one short training run
# make test   set up, lint, run every test that needs neither real data nor a GPU

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test

demo: .venv/installed
	$(BIN)/python cli.py conv-demo
	$(BIN)/python cli.py train-cifar --data photo-digits --epochs 2
	@echo "To go on, type:  source .venv/bin/activate  and then:  python cli.py"

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install -r requirements-dev.txt
	touch $@
