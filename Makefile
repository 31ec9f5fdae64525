# longtake: `make demo` and `make test` set up everything they need on a fresh machine.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := lvdm
OUT := $(if $(filter lvdm,$(MODEL)),demo,demo_$(MODEL))
SHIPPED := lvdm-sky pvdm-sky
FRAMES := 512
LAST_lvdm := interp
LAST_pvdm := clips
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile
# Networks, samplers and losses are tested with every annotated shape checked, and the coverage of what
# everything stands on printed, for tests of that code alone. The checks make these tests three times
# as slow, so the others, which call the same code, run without.
# Run apart: in a process that had run many other tests before, one of these has ended it by a segmentation fault.
APART := backends studio
CHECKED := autoencoders denoisers diffusion features losses metrics model nn
CHECKS := --jaxtyping-packages=longtake,beartype.beartype \
	--cov=longtake.diffusion --cov=longtake.rollout --cov=longtake.model --cov-report=term:skip-covered
SCRATCH := $(OUT)/$(or $(LAST_$(MODEL)),$(error MODEL=$(MODEL) is unknown; expected lvdm or pvdm))

PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt
SHOWN := | sed -un 's/^Collecting \([^][ ;<>=!~]*\).*/  \1/p; /^Installing collected/s/:.*/ .../p; /^Successfully/s/ installed.*/ installed/p'
PIP_AUDIT := 2.10.1
TORCH := 2.11.0

.PHONY: help setup demo test docs audit test-torch reliability format clean

help:
	@echo "make demo    install, write a long video of each shipped model, then train a small LVDM from scratch"
	@echo "             (make demo MODEL=pvdm: a small PVDM)"
	@echo "make test    install, then lint, check format, types and layers, run the tests, build the documentation"
	@echo "make docs    build the documentation into site/"
	@echo "make audit   look up known vulnerabilities of the pinned packages"
	@echo "make test-torch TORCH=2.11.0   run the tests with another version of torch, by default the oldest that is supported"
	@echo "make reliability   measure what docs/reliability.md says, several hours"
	@echo "make format  format the code and apply the linter's fixes"

# What pip fetches and installs is shown, a line for each package, as this takes some minutes.
$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV), in three steps, which takes some minutes"
	@echo "1 of 3: the virtual environment"
	@$(PYTHON) -m venv $(VENV)
	@echo "2 of 3: PyTorch, the largest package"
	@$(PIP) torch==2.13.0 $(SHOWN)
	@echo "3 of 3: the other packages, and longtake"
	@$(PIP) --editable '.[dev]' $(SHOWN)
	@touch $@

setup: $(VENV)/installed

# The shipped models first, side by side, then every step of training at toy size. After a stop it continues.
demo: setup
	@SECONDS=0; $(MAKE) --no-print-directory --jobs 2 $(SHIPPED:%=demo/%/seed_0000.mp4) \
	  && echo "$(FRAMES) frames of each shipped model, made in $$SECONDS seconds"
	@$(MAKE) --no-print-directory $(OUT)/scratch/seed_0000.mp4
	@echo
	@echo "From the shipped models:  $(SHIPPED:%=demo/%/seed_0000.mp4)  ($(FRAMES) frames; all at a glance: seed_0000_sheet.png)"
	@echo "Trained here in minutes:  $(OUT)/scratch/seed_0000.mp4  (128 frames, 32 x 32; seed_0000_sheet.png)"
	@echo "The runs behind it:       $(OUT)/autoencoder to $(SCRATCH)  (config, log, samples, model)"
	@echo "Watch and steer in a page: $(BIN)/longtake studio   (http://127.0.0.1:8642)"

# Half of the processors for each: with all of them the two wait for each other.
demo/%-sky/seed_0000.mp4: | setup
	OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN) + 1) / 2 )) $(BIN)/longtake generate $*-sky --frames $(FRAMES) --seed 0 --sheet -o $(@D) 2>&1 | sed 's/^/$*-sky: /'

$(OUT)/autoencoder/model/model_index.json: | setup
	$(BIN)/longtake fit $(MODEL)_demo_autoencoder -o $(OUT)/autoencoder

$(OUT)/pred/model/model_index.json: $(OUT)/autoencoder/model/model_index.json
	$(BIN)/longtake fit lvdm_demo_pred model=$(OUT)/autoencoder -o $(OUT)/pred

$(OUT)/interp/model/model_index.json: $(OUT)/pred/model/model_index.json
	$(BIN)/longtake fit lvdm_demo_interp model=$(OUT)/pred -o $(OUT)/interp

$(OUT)/clips/model/model_index.json: $(OUT)/autoencoder/model/model_index.json
	$(BIN)/longtake fit pvdm_demo model=$(OUT)/autoencoder -o $(OUT)/clips

$(OUT)/scratch/seed_0000.mp4: $(SCRATCH)/model/model_index.json
	$(BIN)/longtake generate $(SCRATCH) --frames 128 --seed 0 --sheet -o $(OUT)/scratch

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PARALLEL) $(CHECKED:%=--ignore=tests/%) $(APART:%=--ignore=tests/%)
	$(BIN)/python -m pytest $(PARALLEL) $(APART:%=tests/%)
	$(BIN)/python -m pytest $(PARALLEL) $(CHECKED:%=tests/%) $(CHECKS)
	$(BIN)/mkdocs build --strict

docs: setup
	$(BIN)/mkdocs build --strict

# Known vulnerabilities of the pinned packages; asks PyPI about each. pip-audit has an environment of its own.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet pip-audit==$(PIP_AUDIT)
	$(VENV)-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

# The tests with the oldest supported torch, or another: make test-torch TORCH=2.12.1
test-torch:
	$(PYTHON) -m venv $(VENV)-torch-$(TORCH)
	grep -v '^torch==' constraints.txt > $(VENV)-torch-$(TORCH)/constraints.txt
	$(VENV)-torch-$(TORCH)/bin/python -m pip install --quiet --constraint $(VENV)-torch-$(TORCH)/constraints.txt torch==$(TORCH)
	$(VENV)-torch-$(TORCH)/bin/python -m pip install --quiet --constraint $(VENV)-torch-$(TORCH)/constraints.txt torch==$(TORCH) --editable '.[dev]'
	$(VENV)-torch-$(TORCH)/bin/python -m pytest $(PARALLEL)

# Numbers of docs/reliability.md and of the section on many short videos in docs/results.md.
reliability: setup
	$(BIN)/python benchmarks/reliability/inputs.py --json docs/results/inputs.json
	$(BIN)/python benchmarks/reliability/kills.py --json docs/results/kills.json
	$(BIN)/python benchmarks/reliability/slopes.py --json docs/results/slopes.json
	$(BIN)/python benchmarks/reliability/soak.py --minutes 60 --json docs/results/soak.json
	$(BIN)/python benchmarks/reliability/processes.py --json docs/results/processes.json
	$(BIN)/python benchmarks/reliability/index.py cf41d99 HEAD --json docs/results/index.json
	$(BIN)/python benchmarks/reliability/million.py --json docs/results/million.json
	$(BIN)/python benchmarks/reliability/start.py cf41d99 HEAD --json docs/results/start.json
	$(BIN)/python benchmarks/reliability/report.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-* $(OUT) site
