"""The benchmark of pooling: its peers are the published forms, and a row says what was measured."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("scipy")

from benchmarks import page_pooling
from prunekernels.pool import pool


def page(n: int = 70) -> torch.Tensor:
    return page_pooling.drawn(n)


def partition(labels: torch.Tensor) -> set[frozenset[int]]:
    return {frozenset((labels == label).nonzero().flatten().tolist()) for label in labels.unique()}


@pytest.mark.parametrize(("method", "published"), [("colpali", "colpali-engine"), ("pylate", "PyLate")])
@pytest.mark.filterwarnings("ignore:.*uncondensed distance matrix")
def test_a_peer_is_the_form_that_ours_is_named_after(method, published):
    for factor in (3, 9):
        theirs = page_pooling.PUBLISHED[published](page(), factor)
        assert partition(theirs) == partition(pool(page(), factor, method).assignment)


def test_similarity_by_hand():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert math.isclose(page_pooling.similarity(vectors, torch.tensor([4, 4, 2])), (2 * 0.5**0.5 + 1) / 3, rel_tol=1e-6)


@pytest.mark.filterwarnings("ignore:.*uncondensed distance matrix")
def test_a_row_says_whether_the_target_was_met(monkeypatch):
    found = page_pooling.row("tiny", page(), 9, "colpali", "colpali-engine", 0.0)
    assert found.vectors == 7
    assert found.similarity == pytest.approx(found.published_similarity, abs=1e-6)
    assert found.speed_up == found.published_ms.p50 / found.ours_ms.p50
    assert found.target.startswith("10 x, as similar m")
    monkeypatch.setattr(page_pooling, "TARGET", 0.0)
    assert page_pooling.row("tiny", page(), 9, "colpali", "colpali-engine", 0.0).target.endswith("met")
    # what is less similar is no match, however fast
    monkeypatch.setattr(page_pooling, "similarity", lambda vectors, labels: float(labels.min()))
    assert page_pooling.row("tiny", page(), 9, "colpali", "colpali-engine", 0.0).target.endswith("missed")
    assert not page_pooling.row("tiny", page(), 3, "colpali", "colpali-engine", 0.0).target
