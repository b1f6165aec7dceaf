# make demo · make test · make check · make bench: all that is needed is Python 3.11+ and make.
# Every target installs what it needs into .venv, with the versions of constraints/ci.txt.

PYTHON ?= python3
VENV   ?= .venv
PIP     = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/ci.txt
PORT   ?=
TESTERS ?= 2
export OMP_NUM_THREADS ?= 2
# tests and benchmarks may import ONNX Runtime before vireid, which else tells it to report nothing
export ORT_DISABLE_TELEMETRY ?= 1

.PHONY: help demo test check bench protos test-slow test-gpu test-soak test-browser tensorrt-names clean
help:
	@echo 'make demo    install, then serve a drawn gallery (PORT=8080 to choose)'
	@echo 'make test    install, check, and run the tests'
	@echo 'make check   format, lint, types, import contracts, house rules'
	@echo 'make bench   the benchmarks, quick form'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "vireid needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the running product needs (no torch), and what its development needs.
$(VENV)/.run: pyproject.toml constraints/ci.txt | $(VENV)/bin/python
	$(PIP) -e '.[server,synthetic]'
	@touch $@
$(VENV)/.dev: pyproject.toml constraints/ci.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	@exec $(VENV)/bin/vireid demo $(if $(PORT),--http-port $(PORT))

check: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/pytest -q tests/architecture

# Two processes of one thread each; a file's tests stay together, as they share what is costly to make.
test: check
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -m 'not slow and not gpu and not soak' --ignore tests/architecture \
	  -n $(TESTERS) --dist loadfile

test-slow test-gpu test-soak test-browser: test-%: $(VENV)/.dev
	$(VENV)/bin/pytest -m $*

bench: $(VENV)/.dev
	@for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python $$script --quick || exit 1; done

protos: $(VENV)/.dev
	$(VENV)/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. vireid/proto/retrieval.proto

# What our calls to TensorRT 11 are held against; the bindings install without NVIDIA's libraries.
TENSORRT = tensorrt-cu13-bindings==11.4.0.106
tensorrt-names: $(VENV)/.dev
	$(VENV)/bin/python -m pip install --quiet --no-deps --upgrade --target build/tensorrt $(TENSORRT)
	PYTHONPATH=build/tensorrt $(VENV)/bin/python tools/list_tensorrt_names.py tests/vireid/engines/tensorrt_11_names.json

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
