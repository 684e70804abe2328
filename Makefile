# Everything from a clone: `make quickstart`, `make test`; `make help` lists all.
# Needs a Python 3.11 to 3.13 and sets up the rest by itself, in $(VENV).

PYTHON = python3
VENV = .venv
PYTEST_ARGS ?=

# What an activated environment exports must not leak into ours.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
unexport PIP_PREFIX PIP_ROOT PIP_TARGET PIP_USER

IN_VENV = $(VENV)/bin/python
# Each is touched when its step is complete: a half-finished one is done again.
CREATED = $(VENV)/.created
BASE = $(VENV)/.installed
TEST = $(VENV)/.installed-test
DOCS = $(VENV)/.installed-docs
REQUIREMENTS = setup.cfg pyproject.toml

PYTEST = -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder
# What computes on every backend of Keras, and with the lowest versions.
CORE = tests/losses tests/test_layers.py tests/test_models.py tests/test_optimizers.py \
	tests/test_metrics.py \
	tests/test_callbacks.py tests/test_pretraining.py tests/test_checkpoints.py \
	tests/test_divergence.py tests/test_backbones.py tests/data/test_pipeline.py \
	tests/experiments/machine/test_strategies.py \
	tests/experiments/machine/test_precision.py \
	tests/experiments/runs/test_training.py
# Not $(VENV): it is made anew at each call.
LOWER = .venv-lower

# An environment whose Python is gone, or that was moved or copied here with its
# folder, is made anew.
ifneq ($(shell test "$$(cat "$(CREATED)" 2>/dev/null)" = "$(CURDIR)" \
	&& $(IN_VENV) -c "" && echo usable),usable)
.PHONY: $(CREATED)
endif

# A folder that make did not begin holds a user's files.
IS_OURS = test -e "$(CREATED)" || test -z "$$(ls -A "$(VENV)" 2>/dev/null)" || { \
	    echo "VENV must be a new or empty folder, or one that make made." \
	         "Received: VENV=$(VENV)" >&2; exit 1; }

# pip shows its progress to a person, and only errors to a log; setuptools warns
# at every editable install.
PIP_INSTALL = PYTHONWARNINGS="ignore:Editable installation" $(IN_VENV) -m pip install --disable-pip-version-check \
	$$(test -t 1 || echo --quiet)

# $(call install,what): installs this checkout, editable.
define install
	@echo "Installing mm_tf and what it needs into $(VENV)."
	@echo "TensorFlow alone is a download of several hundred MB: this takes minutes."
	@$(PIP_INSTALL) --editable "$(1)" || { \
	    echo "Not installed: see pip's message above. If it finds no tensorflow:" \
	         "there is one for 64-bit Linux and for macOS on Apple silicon." >&2; \
	    exit 1; }
endef

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help quickstart test core lower-bounds docs lint format install clean same-python

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} \
	      /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  PYTHON=python3.12       the Python to make $(VENV) with (3.11 to 3.13)"
	@echo "  VENV=folder             another place for the virtual environment"
	@echo "  PYTEST_ARGS='-k ldam'   more arguments for pytest"

quickstart: $(BASE) ## train the paper's method on handwritten digits: a minute or two
	@$(IN_VENV) -m mm_tf.experiments.run --flagfile=experiments/quickstart.flags

test: $(TEST) ## run the tests (PYTEST_ARGS='-m long' for the long ones)
	@$(IN_VENV) $(PYTEST) $(PYTEST_ARGS)

core: $(TEST) ## run only the core's tests (KERAS_BACKEND=jax for another backend)
	@$(IN_VENV) $(PYTEST) $(CORE) $(PYTEST_ARGS)

# Only what a user installs has its lowest version, not the tests' tools.
lower-bounds: ## run the core's tests with the lowest versions that setup.cfg takes
	"$(PYTHON)" -m venv --clear $(LOWER)
	$(LOWER)/bin/python -m pip install --quiet --upgrade "pip>=24"
	sed -nE '/^install_requires/,/^\[/s/^ +([A-Za-z0-9_.-]+)(\[.*\])?>=([0-9.]+).*/\1==\3/p' \
	    setup.cfg > $(LOWER)/constraints.txt
	$(LOWER)/bin/python -m pip install --quiet --constraint=$(LOWER)/constraints.txt \
	    --editable . hypothesis pytest pytest-xdist
	$(LOWER)/bin/python $(PYTEST) $(CORE) $(PYTEST_ARGS)

docs: $(DOCS) ## build the documentation site into site/, and fail at a broken link
	@# The theme warns of MkDocs 2, which setup.cfg does not take. No --quiet: with it
	@# MkDocs does not count its warnings, and --strict passes them.
	@NO_MKDOCS_2_WARNING=1 $(IN_VENV) -m mkdocs build --strict
	@echo "Written: site/index.html"

lint: $(TEST) ## check style, types and which part imports which; change nothing
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m mypy
	$(VENV)/bin/lint-imports

format: $(TEST) ## format the code and mend what ruff can mend
	$(IN_VENV) -m ruff format
	$(IN_VENV) -m ruff check --fix

install: $(TEST) ## set up the virtual environment, tools for tests included

clean: ## remove the virtual environment and caches, never saved_models
	@$(IS_OURS)
	rm -rf "$(VENV)" build dist site mm_tf.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . \( -name .git -o -name saved_models \) -prune -o \
	    -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@$(IS_OURS)
	@command -v "$(PYTHON)" >/dev/null || { \
	    echo "There is no '$(PYTHON)' here. mm_tf needs Python 3.11 to 3.13:" \
	         "name one, as in 'make test PYTHON=python3.12'." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	    echo "mm_tf needs Python 3.11 to 3.13, and '$(PYTHON)' is" \
	         "$$("$(PYTHON)" -V 2>&1):" \
	         "name another, as in 'make test PYTHON=python3.12'." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu:" \
	         "apt install python3-venv" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) with $$("$(PYTHON)" -V)."
	@mkdir -p "$(VENV)" && : > $@
	@find "$(VENV)" -mindepth 1 ! -name "$(@F)" -delete
	@"$(PYTHON)" -m venv "$(VENV)"
	@# An old pip (22.3 comes with Python 3.11.0) searches for a set of versions
	@# that go together for many minutes; a new one finds it at once.
	@$(PIP_INSTALL) --upgrade "pip>=24"
	@echo "$(CURDIR)" > $@

ifeq ($(origin PYTHON),command line)
$(BASE) $(TEST) $(DOCS): | same-python
endif

VERSION = -c 'import sys; print("Python %d.%d" % sys.version_info[:2])'
same-python: $(CREATED)
	@test "$$("$(PYTHON)" $(VERSION))" = "$$($(IN_VENV) $(VERSION))" || { \
	    echo "$(VENV) has $$($(IN_VENV) $(VERSION)): 'make clean' first," \
	         "or add VENV=another-folder." >&2; exit 1; }

$(BASE): $(CREATED) $(REQUIREMENTS)
	$(call install,.)
	@touch $@

$(TEST): $(CREATED) $(REQUIREMENTS)
	$(call install,.[test])
	@touch $(BASE) $@

$(DOCS): $(CREATED) $(REQUIREMENTS)
	$(call install,.[docs])
	@touch $(BASE) $@
