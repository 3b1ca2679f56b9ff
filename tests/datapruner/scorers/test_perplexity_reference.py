"""Perplexity under a reference that was trained on the other half of the corpus, and fields that do not go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datapruner import Batch
from datapruner.scorers import _learner
from datapruner.scorers._cross_fit import halves
from datapruner.scorers.perplexity import Perplexity
from datapruner.scoring.workspace import Workspace
from tests.datapruner.scorers.plain_perplexity import TEXTS, batch_of, many


def reference(**more: Any) -> Perplexity:
    return Perplexity(window=16, reference="train", vocabulary=300, width=16, layers=1, tokens=2000, **more)


def test_a_reference_never_learned_from_what_it_scores() -> None:
    texts = many(60) * 2
    scorer, batch = reference(unit="bits_per_byte"), batch_of(texts)
    first, second = halves(texts, 0)
    # copies are in one half
    assert sorted([*first, *second]) == list(range(120))
    assert {texts[i] for i in first}.isdisjoint(texts[i] for i in second)
    assert 40 < len(first) < 80
    state = scorer.fit([batch])
    found = scorer.checked(batch, state)
    assert found.max() < 8
    # other rows of the half that is scored change nothing, other rows of the half that is learned from do
    for half, other in ((first, second), (second, first)):
        kept = [*half[:1], *other]
        alone = reference(unit="bits_per_byte")
        part = Batch(np.arange(len(kept)), [f"u{i}" for i in kept], [texts[i] for i in kept])
        assert alone.checked(part, alone.fit([part]))[0] == pytest.approx(found[half[0]], rel=1e-4)
        assert np.abs(alone.checked(part, alone.fit([part]))[1:] - found[other]).max() > 1e-2


def test_a_reference_is_the_same_again_and_in_any_order() -> None:
    texts = many(60)
    batch, turned = batch_of(texts), Batch(np.arange(60), [f"u{i}" for i in range(59, -1, -1)], texts[::-1])
    draws = torch.get_rng_state()
    state = reference().fit([batch])
    assert (torch.get_rng_state() == draws).all()
    again = reference().fit([turned])
    assert state.keys() == again.keys()
    assert all((state[name] == again[name]).all() for name in state)
    other = reference(seed=1).fit([batch])
    assert any(state[name].shape != other[name].shape or (state[name] != other[name]).any() for name in state)
    with pytest.raises(ValueError, match="wants text in both halves of the corpus, got none in one"):
        reference().fit([batch_of(["one text alone"])])


class StoppedError(Exception):
    pass


def test_training_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    batch = batch_of(many(60))
    whole = reference().fit([batch])
    monkeypatch.setattr(_learner, "EVERY", 0.0)
    learn, steps = _learner.Learner._learn, []

    def stops(self: _learner.Learner, ids: torch.Tensor) -> None:
        if len(steps) == 5:
            raise StoppedError
        steps.append(self.step)
        learn(self, ids)

    monkeypatch.setattr(_learner, "STEP_TOKENS", 128)
    expected = reference().fit([batch])
    monkeypatch.setattr(_learner.Learner, "_learn", stops)
    with pytest.raises(StoppedError):
        reference().fit([batch], Workspace(tmp_path / "w"))
    assert steps == [0, 1, 2, 3, 4]
    monkeypatch.setattr(_learner.Learner, "_learn", lambda self, ids: (steps.append(self.step), learn(self, ids))[1])
    found = reference().fit([batch], Workspace(tmp_path / "w"))
    # step 5 comes next, not the first again
    assert steps[5] == 5
    assert all((found[name] == expected[name]).all() for name in expected)
    assert any((found[name] != whole[name]).any() for name in whole)


def test_refuses_fields_that_do_not_go_together(tiny_model: Callable[[str], Path]) -> None:
    folder = str(tiny_model("llama"))
    for scorer, message in (
        (Perplexity(folder, level="page"), "level wants document or sequence, got 'page'"),  # type: ignore[arg-type]
        (Perplexity(folder, level="sequence", bos="add"), "of level sequence wants bos none"),
        (Perplexity(folder, sample=0), "sample wants at least 1, got 0"),
        (reference(seed=0, unit="bits"), "unit wants perplexity or bits_per_byte, got 'bits'"),
        (Perplexity(reference="train", vocabulary=256), "a vocabulary of at least 257, .*, got 256"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.check()
    for scorer in (reference(), Perplexity(folder, level="sequence")):
        with pytest.raises(ValueError, match=r"perplexity wants the state that fit\(corpus\) returned"):
            scorer.score(batch_of(TEXTS))
