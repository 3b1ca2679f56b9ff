"""What stands between a harness and a pruned model, on a real tiny LLaVA.

The harnesses themselves are not installed here: their model classes are played by classes of the same form that
call the real model's generate(). What was run with the harnesses themselves is told in docs/evaluating.md.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
import weakref
from importlib.metadata import EntryPoint

import pytest

from tests.tokenpruner.conftest import build, encode, state
from tokenpruner import prune
from tokenpruner.integrations import lmms_eval, vlmevalkit
from tokenpruner.integrations._evaluation import pruned_generate
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride

KIND = {"do_sample": False, "max_new_tokens": 3}


class Harness:
    """Asks its model one question a request, and takes an error for an empty answer, as lmms-eval does."""

    is_simple = False

    def __init__(self, seed: int = 0) -> None:
        self.model = build(seed=seed)

    def generate_until(self, requests):
        answers = []
        for request in requests:
            try:
                told = self.model.generate(**encode([request]), **KIND)
                answers.append(told[0, -3:].tolist())
            except ValueError:
                answers.append([])
        return answers

    def generate_inner(self, message, dataset=None):
        return str(self.generate_until([message])[0])


REQUESTS = [[2, "I", 3], [1, "I", "I", 2], [4, "I", 1]]


def by_hand(method):
    model, answers = build(), []
    with prune(model, method):
        for request in REQUESTS:
            answers.append(model.generate(**encode([request]), **KIND)[0, -3:].tolist())
    return answers


def test_a_model_of_lmms_eval_takes_a_method():
    made = lmms_eval.pruned(Harness)(method="divprune:n_keep=2", seed=0)
    assert isinstance(made, Harness)
    assert type(made).__name__ == "PrunedHarness"
    assert made.generate_until(REQUESTS) == by_hand(DivPrune(n_keep=2))
    assert made.generate_until(REQUESTS) != Harness().generate_until(REQUESTS)
    totals = made.totals
    assert (totals.n_calls, totals.n_images, totals.visual_before, totals.visual_after) == (3, 4, 64, 8)
    assert totals.total_ms > totals.selection_ms > 0


def test_the_text_form_may_be_quoted():
    kind = lmms_eval.pruned(Harness)
    assert kind(method="'divprune:n_keep=2,positions=compact'").pruning == DivPrune(n_keep=2, positions="compact")
    assert kind().pruning == DivPrune()


def test_quotes_of_a_value_stay():
    kind = lmms_eval.pruned(Harness)
    with pytest.raises(ValueError, match="spatial.method wants|has no 'a,b'"):
        kind(method='spatial:method="a,b"')
    assert lmms_eval._unquoted("""'spatial:method="a,b"'""") == 'spatial:method="a,b"'


class WatchedError(ValueError):
    """One that can be watched."""


def test_errors_are_counted_and_only_the_first_is_held():
    model, seen = build(), []

    def fail(*_):
        error = WatchedError(f"no {len(seen)}")
        seen.append(weakref.ref(error))
        raise error

    model.register_forward_pre_hook(fail)
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="failed 3 times, first with: no 0"),
        pruned_generate(model, Stride(n_keep=2)),
    ):
        for _ in range(3):
            with contextlib.suppress(ValueError):
                model.generate(**encode([[2, "I", 3]]), **KIND)
        gc.collect()
        assert [error() is None for error in seen] == [False, True, True]


def test_a_method_that_does_not_fit_is_refused_when_the_model_is_made():
    with pytest.raises(ValueError, match="has no 'nope'"):
        lmms_eval.pruned(Harness)(method="nope")
    with pytest.raises(ValueError, match="want a layer from 1 to 2"):
        lmms_eval.pruned(Harness)(method="fastv:layer=9")
    with pytest.raises(ValueError, match="want a layer from 1 to 2"):
        vlmevalkit.pruned(Harness(), "fastv:layer=9")


def test_an_error_that_a_harness_swallows_is_raised_in_the_end():
    made = lmms_eval.pruned(Harness)(method="stride:n_keep_row=5,n_keep_least=5")
    # transformers notes a few things at a model's first call
    made.generate_until(REQUESTS[:1])
    before = state(made.model)
    with pytest.raises(RuntimeError, match="failed 1 times, first with: row 0 has 2 images or frames: want n_keep_row"):
        made.generate_until(REQUESTS)
    assert made.totals.n_images == 2
    assert state(made.model) == before
    assert made.generate_until(REQUESTS[:1])


def test_a_harness_that_fails_itself_is_not_hidden():
    model = build()
    with pytest.raises(KeyError, match="own"), pruned_generate(model, Stride(n_keep=2)):
        raise KeyError("own")


def test_nothing_pruned_is_said():
    model = build()
    with (
        pytest.warns(UserWarning, match="stride:n_keep=2,positions=compact: no image was seen in 1 calls"),
        pruned_generate(model, Stride(n_keep=2)),
    ):
        model.generate(**encode([[4]]), **KIND)


def test_likelihoods_are_refused():
    with pytest.raises(NotImplementedError, match="want a generation task"):
        lmms_eval.pruned(Harness)().loglikelihood([])


def test_a_model_of_vlmevalkit_takes_a_method():
    made = vlmevalkit.pruned(Harness(), "divprune:n_keep=2")
    assert [made.generate_inner(request, dataset="any") for request in REQUESTS] == [
        str(answer) for answer in by_hand(DivPrune(n_keep=2))
    ]
    assert (made.totals.n_calls, made.totals.visual_before, made.totals.visual_after) == (1, 16, 2)


def test_registered_models_are_pruned_when_they_are_built():
    models = {"tiny": Harness, "other": Harness}
    vlmevalkit.register("divprune:n_keep=2", models)
    assert sorted(models) == ["other", "other-pruned", "tiny", "tiny-pruned"]
    made = models["tiny-pruned"](seed=0)
    assert made.generate_inner(REQUESTS[0]) == str(by_hand(DivPrune(n_keep=2))[0])
    with pytest.raises(ValueError, match="has no 'nope'"):
        vlmevalkit.register("nope", {})


def test_models_without_a_transformers_model_are_refused():
    class Api:
        """Asks a server."""

        model = "gpt"

    with pytest.raises(ValueError, match="Api: want a transformers model as its `model`, got str"):
        vlmevalkit.pruned(Api(), "divprune")


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is not None, reason="lmms-eval is installed")
def test_a_missing_lmms_eval_is_named():
    entry = EntryPoint("tokenpruner", "tokenpruner.integrations.lmms_eval:manifests", "lmms_eval.models")
    with pytest.raises(ImportError, match="pip install lmms-eval"):
        entry.load()()
    with pytest.raises(ImportError, match="pip install lmms-eval"):
        lmms_eval.chat_llava_hf  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'chat_gpt'"):
        lmms_eval.chat_gpt  # noqa: B018


@pytest.mark.skipif(importlib.util.find_spec("vlmeval") is not None, reason="VLMEvalKit is installed")
def test_a_missing_vlmevalkit_is_named(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vlmevalkit", "divprune", "run.py"])
    with pytest.raises(ImportError, match="pip install -e VLMEvalKit"):
        vlmevalkit.main()
    monkeypatch.setattr(sys, "argv", ["vlmevalkit"])
    with pytest.raises(SystemExit, match="usage: "):
        vlmevalkit.main()


def test_totals_free_what_a_call_left():
    model = build()
    with pruned_generate(model, Stride(n_keep=4)) as totals:
        for _ in range(2):
            model.generate(**encode([[2, "I", 3]]), **KIND)
    assert (totals.n_calls, totals.n_images, totals.visual_after) == (2, 2, 8)
