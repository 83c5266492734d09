# Everything a fresh machine needs is Python 3.11 to 3.13 and make.
#   make demo   set up, then list and extract the layers of a sample model
#   make test   set up all engines, then lint, types and tests
#   make nightly   1,000 kills and 2,000 power cuts of each kind of output
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One version, not a range: where a CPU build of it lies ready it is taken, and nothing newer is.
TORCH := torch==2.13.0
# The longest first. TensorFlow's take longer than all others together, so they are two runs.
RUNS := tensorflow.1 tensorflow.2 jax torch openvino

.PHONY: demo test lint types tests nightly bench fuzz clean

demo: $(VENV)/core.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/list_and_extract.sh demo-output

test: lint types tests

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

# Keras takes one engine a process, so the tests that need one run once on each; two at a time, as one
# keeps about one processor busy. What each says comes when it has ended.
tests: $(VENV)/dev.stamp
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(RUNS:%=tests-%)

tests-%: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q --engine $(basename $*) $(patsubst .%,--part %/2,$(suffix $*))

nightly: $(VENV)/dev.stamp
	LAYERPROBE_KILLS=1000 LAYERPROBE_IMAGES=2000 $(BIN)/python -m pytest -q tests/test_faults.py tests/test_power.py

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.listing
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.journal
	$(BIN)/python -m benchmarks.function
	$(BIN)/python -m pip install -q tf_keras==2.21.0  # a contender of the next one alone
	$(BIN)/python -m benchmarks.corpus
	$(BIN)/python -m pip install -q --no-deps --target .bench/modelscan modelscan==0.8.8 tomlkit
	$(BIN)/python -m benchmarks.audit

# Ten minutes of files that nobody would write; what is found stays in this folder.
fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m pip install -q atheris
	$(BIN)/python tests/fuzz.py -max_total_time=600

$(VENV)/core.stamp: pyproject.toml setup.py layerprobe/sinks/_fletcher.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/core.stamp
	$(BIN)/python -m pip install -q '$(TORCH)' -e '.[dev,jax,openvino,torch]'
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info layerprobe/sinks/*.so .mypy_cache .pytest_cache .ruff_cache .bench
