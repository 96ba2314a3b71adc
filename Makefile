# Needs GNU make and Python >= 3.11; everything else is installed into .venv by the first target that needs it.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
BOOK_READY := $(VENV)/.book
READY := $(VENV)/.ready
LOG := $(VENV)/setup.log
PIP_OPTIONS = --disable-pip-version-check $(PIP_ARGS)

# The notebooks' kernel and anything it calls by name must come from .venv, whatever the caller has on the path.
IN_VENV = PATH="$(CURDIR)/$(BIN):$$PATH"

# A notebook's .py opens as a notebook, there as on Binder.
LAB_SETTINGS = JUPYTER_CONFIG_PATH="$(CURDIR)/binder/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}"

# Two workers on two cores run ten times slower than one when each starts its own pool of BLAS threads.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# No download, and no progress bars in outputs that are compared with stored ones.
TEST_ENV = $(IN_VENV) $(ONE_THREAD) HMM_OFFLINE=1 TQDM_DISABLE=1

# Voilà for this machine alone, without the code, and without an extension that fails outside JupyterLab.
PAGE := --Voila.ip=127.0.0.1 --strip_sources=True --VoilaConfiguration.extension_denylist=jupyterlab-jupytext

.DEFAULT_GOAL := help
.PHONY: help run lab play book test test-browser test-binder bench bench-scaling bench-online bench-integrator bench-paper \
        bench-start bench-memory bench-size bench-gpu lock lint coverage count notebooks clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile
	@echo '  The CPU build of torch instead of the CUDA one (much smaller), where pip would take the latter:'
	@echo '    make run PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"'

run: $(READY) ## run every notebook at the quick profile, into build/
	$(IN_VENV) $(BIN)/hmm run all --profile quick --out build --overwrite

lab: $(READY) ## open the notebooks in JupyterLab
	$(IN_VENV) $(LAB_SETTINGS) $(BIN)/jupyter lab notebooks

book: $(BOOK_READY) ## build the book, a web site that needs no network, into build/book
	$(TEST_ENV) PYTHONPATH=docs $(BIN)/python -m hmm_book.make

play: $(BOOK_READY) ## a network to play with, as a page in the browser
	$(IN_VENV) $(BIN)/voila notebooks/playground.ipynb $(PAGE)

test: lint ## lint, run the tests, re-run the notebooks against their stored outputs
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile tests
	$(TEST_ENV) $(BIN)/python -m pytest -p no:cacheprovider --doctest-modules hmm_utils
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 300 -p no:cacheprovider notebooks

test-browser: $(BOOK_READY) ## what a reader does, in a real browser; needs Chromium
	$(TEST_ENV) $(BIN)/python -m pytest -p no:cacheprovider tests/browser

test-binder: $(READY) ## what Binder does, in a fresh environment: minutes, and a network
	$(TEST_ENV) PIP_ARGS='$(PIP_ARGS)' $(BIN)/python -m pytest -m fresh -p no:cacheprovider tests/test_binder.py

bench: $(READY) ## measure speed and memory
	$(IN_VENV) $(BIN)/python benchmarks/bench.py

bench-scaling: $(READY) ## how cost grows with workers, fleet size, N, P and K
	$(IN_VENV) $(BIN)/python benchmarks/scaling.py

bench-online: $(READY) ## measure the speed of online SGD on fresh samples
	$(IN_VENV) $(BIN)/python benchmarks/online.py

bench-paper: $(READY) ## how long the whole paper would take here: a hundredth of it, extrapolated
	$(IN_VENV) $(BIN)/python benchmarks/paper.py

bench-start: $(READY) ## how long a reader waits for the first figure
	$(IN_VENV) $(BIN)/python benchmarks/start.py

bench-memory: $(READY) ## peak memory of every notebook at the quick profile
	$(IN_VENV) $(ONE_THREAD) TQDM_DISABLE=1 $(BIN)/python benchmarks/memory.py

bench-size: $(READY) ## how large the environment is, package by package
	$(BIN)/python benchmarks/size.py

bench-integrator: $(READY) ## time the equations of motion against Euler's method
	$(IN_VENV) $(ONE_THREAD) $(BIN)/python benchmarks/integrator.py

bench-gpu: $(READY) ## check and time the engine on a GPU
	$(IN_VENV) $(BIN)/python benchmarks/gpu.py

lint: $(READY) ## check the style, the order of the layers, and the types
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

coverage: $(READY) ## branch coverage of the package by the tests, into build/coverage
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=html tests

count: $(READY) ## lines of code, without docstrings, comments and blanks
	$(BIN)/python tools/count.py hmm_utils/model hmm_utils/sgd hmm_utils docs tests

notebooks: $(READY) ## re-execute the committed notebooks and bring each .ipynb in step with its .py
	$(IN_VENV) $(BIN)/python tools/notebooks.py

# A fresh environment, because what an older one holds must not decide what the next one gets.
lock: ## upgrade: resolve pyproject.toml anew into requirements.lock
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --quiet packaging
	build/lock/bin/python tools/lock.py $(PIP_ARGS)
	rm -rf build/lock

clean: ## remove everything that was made: .venv, build, caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +

# Two stamps: a changed lock starts from an empty environment, so that nothing stale survives; a changed pyproject.toml
# only installs the package again. The first is written by the command whose success it records, because the status of
# a pipe is that of its last command.
$(LOCKED): requirements.lock
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo 'There is no "$(PYTHON)" here: name a Python >= 3.11 with make PYTHON=/path/to/python3.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and \
	$(PYTHON) is %d.%d: name another one with make PYTHON=/path/to/python3." % v[:2])'
	@echo 'Setting up $(VENV), once: a few minutes and 2 GB (more with the CUDA build of torch). Large downloads:'
	@$(PYTHON) -m venv --clear $(VENV)
	@{ $(BIN)/python -m pip install $(PIP_OPTIONS) --progress-bar off -r requirements.lock 2>&1 && touch $(LOCKED); } \
	  | awk '{print > "$(LOG)"} /(Downloading|cached).*[MG]B\)/ {print; fflush()} \
	         /^Installing/ {print "  installing ..."; fflush()}'
	@test -f $(LOCKED) || { grep -v '^WARNING' $(LOG) | tail -n 20; \
	  echo 'Setting up $(VENV) failed; $(LOG) has the whole story.' >&2; exit 1; }

$(BOOK_READY): $(READY) requirements-book.lock
	@echo 'Adding what the book and tests in a browser need to $(VENV), once: 350 MB.'
	@$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) --progress-bar off -r requirements-book.lock
	@touch $(BOOK_READY)

# the version is written in __init__.py
$(READY): $(LOCKED) pyproject.toml hmm_utils/__init__.py
	@$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) --no-deps --no-build-isolation -e .
	@touch $(READY)
