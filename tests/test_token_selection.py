"""The benchmark of token methods: published forms written apart choose the same, and what is slow is stopped."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks import token_selection
from benchmarks.token_inputs import Scene, chosen_by
from prunekernels import registry
from tokenpruner import TokenMethod

PACKAGE = token_selection.PACKAGE
NAMES = registry.names(PACKAGE)


def load(name: str) -> type[TokenMethod]:
    return registry.load(PACKAGE, name, TokenMethod)


def scene(kind: type[TokenMethod], seed: int = 0) -> Scene:
    return Scene((9, 9), 4, seed) if token_selection.is_for_videos(kind) else Scene((18, 18), 1, seed)


# of ToMe's the tokens are told and not their places; PruneSID decomposes random noise
APART = {"tome", "prunesid"}


@pytest.mark.parametrize("name", [name for name in token_selection.LOOPS if name in NAMES and name not in APART])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_published_form_stays_at_the_same_tokens(name, seed):
    kind = load(name)
    drawn = scene(kind, seed)
    fields = {field.name for field in dataclasses.fields(kind)}
    ours = chosen_by(kind(**{"keep_ratio": 1 / 9} if "keep_ratio" in fields else {}), drawn)()
    theirs = token_selection.LOOPS[name](drawn, len(ours), lambda: None)
    assert len(theirs) == len(ours)
    assert torch.equal(theirs.sort().values, ours)


def test_who_is_measured():
    """All kinds of methods, and every paper's has a published form."""
    where = {}
    for name in NAMES:
        found = next((words for base, words in token_selection.KINDS if issubclass(load(name), base)), None)
        where.setdefault(found, []).append(name)
    assert {words for _, words in token_selection.KINDS} <= where.keys()
    assert token_selection.is_for_videos(load("evs"))
    assert not token_selection.is_for_videos(load("divprune"))
    assert not token_selection.is_for_videos(load("fastv"))


def test_a_row(monkeypatch):
    monkeypatch.setattr(token_selection, "REPEAT", 0.0)
    found = token_selection.row("divprune", load("divprune"), scene(load("divprune")))
    assert (found.where, found.tokens, found.kept, found.same_picks) == ("before the decoder", 324, 36, 1.0)
    assert found.speed_up == found.published_ms.p50 / found.ours_ms.p50
    rule = token_selection.row("stride", load("stride"), scene(load("stride")))
    assert (rule.published_ms, rule.speed_up) == (None, None)
    block = token_selection.row("tome", load("tome"), scene(load("tome")))
    assert (block.where, block.kept, block.same_picks) == ("inside a tower", 243, None)


def test_a_slow_form_is_stopped(monkeypatch):
    monkeypatch.setattr(token_selection, "REPEAT", 0.0)
    monkeypatch.setattr(token_selection, "STOP", 1e-9)
    found = token_selection.row("divprune", load("divprune"), scene(load("divprune")))
    assert found.published_ms is None
    assert found.speed_up == 1e3 * 1e-9 / found.ours_ms.p50
    assert found.note == "stopped after 0 s"


def test_what_takes_long_is_not_run_again(monkeypatch):
    calls = []
    monkeypatch.setattr(token_selection, "REPEAT", 0.0)
    slow, quick = (lambda: calls.append("slow")), (lambda: calls.append("quick"))
    times = token_selection._times([(slow, 7.0), (quick, 0.0)])
    assert times[0] == [7000.0]
    assert len(times[1]) == 3
    assert {*calls} == {"quick"}
