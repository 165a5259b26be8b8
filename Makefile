# The README's two commands are `make quickstart` and `make test`. Everything lives in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12)
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv/.installed-peers
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart setup lint test test-slow bench clean

quickstart: .venv/.installed-run
	$(BIN)/k2 run nano --out runs/nano

setup: $(INSTALLED)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed-run: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

$(INSTALLED): .venv/.installed-run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One torch thread a test process: several processes with several threads each slow every one of them down.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

test-slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'slow or crash' --timeout 1800

# Without their dependencies: some of them would replace torch.
$(PEERS): benchmarks/peers.txt $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps --requirement benchmarks/peers.txt
	@touch $@

bench: $(PEERS)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build src/*.egg-info
