"""A language model pruned inside its tower is left as found, pruned once at a time, and threads do not mix."""

from __future__ import annotations

import threading

import pytest
import torch

from tests.tokenpruner.conftest import build, encode
from tests.tokenpruner.vision_transformer.tower_replay import METHODS
from tokenpruner import prepare, prune
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune


def test_the_model_is_left_as_it_was_found(watched):
    model, inputs, check = watched
    with torch.no_grad(), prune(model, ToMe(r=3)):
        model(**inputs)
    with pytest.raises(RuntimeError, match="stop"), prune(model, ToMe(r=3)):
        raise RuntimeError("stop")
    prepare(model, ToMe(r=3), **inputs)
    check()


def test_a_model_is_pruned_once_at_a_time(model):
    with prune(model, ToMe()), pytest.raises(ValueError, match="is being pruned already"), prune(model, ZeroTPrune()):
        pass


def test_threads_with_methods_of_their_own():
    model, inputs = build(), encode([[2, "I", 3]])
    with torch.no_grad():
        wanted = []
        for method in METHODS:
            with prune(model, method):
                wanted.append(model(**inputs).logits)
        whole, wrong = model(**inputs).logits, []

        def work(number: int) -> None:
            with torch.no_grad():
                for _ in range(6):
                    with prune(model, METHODS[number]) as report:
                        if not torch.equal(model(**inputs).logits, wanted[number]) or report.n_passes != 1:
                            wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(METHODS))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert torch.equal(model(**inputs).logits, whole)
