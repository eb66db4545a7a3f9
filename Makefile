# make demo    an inspection line from shipped pictures, in a terminal, for 20 seconds
# make check   everything a change must pass: linter, format, types, tests
# make test    the tests alone
# make oldest  the runtime's tests with the oldest OpenCV and NumPy that are allowed, on Python 3.10, in .venv-oldest
# make kernels compile the GPU's kernels for every supported GPU; needs nvcc, but no GPU
# make gpu-check   everything about the GPU on a machine with CUDA: tests, kernels, engines; figures and failures into a file
# make sample-bundle   train the shipped bundle again from the shipped good parts (about two minutes on two cores)
# make clean   remove what the targets above created
#
# Needs Python 3.10 or newer with its venv module; everything else is installed into .venv.
# PYTHON=/path/to/python chooses the interpreter, TORCH=... the PyTorch requirement of the tests.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

# each candidate is run, not only looked up: version managers leave launchers for versions that are not there
RUNS := -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))'
# set on a Jetson: JetPack's TensorRT and OpenCV belong to the system's Python, and its OpenCV was built for NumPy 1
JETSON := $(wildcard /etc/nv_tegra_release)
CANDIDATES := $(strip $(if $(JETSON),/usr/bin/python3) python3.12 python3.11 python3.10 python3)
SYSTEM_PACKAGES := $(if $(JETSON),--system-site-packages)
LIMITS := $(if $(JETSON),'numpy<2')
PYTHON ?= $(shell for candidate in $(CANDIDATES); do \
	if $$candidate $(RUNS) >/dev/null 2>&1; then command -v $$candidate; break; fi; done)

# pinned and installed first, so that a CPU build offered under this version is used instead of gigabytes of CUDA
TORCH ?= torch==2.13.0

# three files at a time, so that two cores have work while one file waits for a camera or a clock; one file stays
# together, because its tests share what they have trained
TESTS := -m pytest -n 3 --dist loadfile

# the Python of JetPack 6
OLDEST := .venv-oldest
OLDEST_PYTHON ?= python3.10
comma := ,

.PHONY: demo test oldest lint check kernels gpu-check sample-bundle clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/edge-inspect --camera demo --duration 20
	@$(BIN)/python -c 'import starlette, uvicorn' 2>/dev/null \
		&& echo "The same in a browser, with a shift on record: $(BIN)/edge-inspect demo --web" \
		|| echo "To see it in a browser: $(BIN)/python -m pip install --editable '.[web]', then $(BIN)/edge-inspect demo --web"

test: $(VENV)/.test
	$(BIN)/python $(TESTS)

oldest: $(OLDEST)/.runtime
	$(OLDEST)/bin/python $(TESTS) tests/edge

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

kernels: $(VENV)/.runtime
	$(BIN)/python -m edge.kernels.cuda.build

# what cannot be installed (without a network, a toolkit or a driver) is told by the check itself
gpu-check: $(VENV)/.test
	-$(PIP) install --editable '.[gpu]' $(LIMITS)
	$(BIN)/python -m benchmarks.gpu.gpu_check

sample-bundle: $(VENV)/.test
	$(BIN)/edge-inspect train --data edge/samples/aliens --out edge/samples/aliens/bundle \
		--run-dir runs/sample --method memory --variant light --seed 0 --product 'toy alien'

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache edge/kernels/cuda/*.fatbin edge/kernels/cuda/kernels.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# the stamps: an environment is touched again only when pyproject.toml changes
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.10 or newer with the venv module was found (tried $(CANDIDATES))." >&2; \
		echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python" >&2; \
		exit 1; fi
	@$(PYTHON) $(RUNS) || { echo "$(PYTHON) is older than Python 3.10, or lacks the venv module" >&2; exit 1; }
	$(PYTHON) -m venv $(SYSTEM_PACKAGES) $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	@echo "Installing the runtime into $(VENV); this takes a minute the first time"
	@$(if $(JETSON),echo "This is a Jetson: docs/line/jetson.md has its cameras$(comma) TensorRT and service")
	$(PIP) install --editable '.[cpu]' $(LIMITS)
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing PyTorch and the test tools into $(VENV); this takes some minutes the first time"
	$(PIP) install '$(TORCH)'
	$(PIP) install --editable '.[test]' $(LIMITS)
	@touch $@ $(VENV)/.runtime

$(VENV)/.dev: pyproject.toml | $(VENV)/.test
	$(PIP) install --editable '.[dev]' $(LIMITS)
	@touch $@

$(OLDEST)/.runtime: pyproject.toml tests/project/oldest.txt
	@$(OLDEST_PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))' || { \
		echo "$(OLDEST_PYTHON) is not Python 3.10 with the venv module; name one: make oldest OLDEST_PYTHON=/path/to/python3.10" >&2; \
		exit 1; }
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check --no-input --quiet install \
		--constraint tests/project/oldest.txt --editable '.[cpu,export,sign]' 'pytest>=9' 'pytest-xdist>=3.6' scikit-learn scipy
	@touch $@
