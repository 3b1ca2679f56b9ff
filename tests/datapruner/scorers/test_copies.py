"""Links of copies in three senses: worked by hand, and against their definitions on random pairs."""

from __future__ import annotations

import numpy as np
import pytest

from datapruner.scorers import _copies
from datapruner.scorers._copies import SEMANTICS, Pairs, Semantics
from tests.datapruner.scorers.slow_links import component, slow_links


def pairs_of(similarity: np.ndarray, order: list[int]) -> list[Pairs]:
    """Every pair once, the later row first, in blocks of 7 that repeat some."""
    rank = rank_of(order)
    found = [(i, j) for i in range(len(order)) for j in range(len(order)) if rank[j] < rank[i] and similarity[i, j] > 0]
    found += found[::3]
    rows = np.array(found, dtype=np.int64).reshape(-1, 2)
    every = Pairs(rows[:, 0], rows[:, 1], similarity[rows[:, 0], rows[:, 1]].astype(np.float32))
    return [Pairs(*(side[at : at + 7] for side in every)) for at in range(0, len(rows), 7)]


def rank_of(order: list[int]) -> np.ndarray:
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def links(similarity: np.ndarray, order: list[int], semantics: Semantics, threshold: float = 0.8) -> _copies.Links:
    blocks = pairs_of(similarity, order)
    return _copies.links(lambda: blocks, rank_of(order), semantics, threshold)


def test_a_chain_by_hand() -> None:
    # a ~ b ~ c, and a unlike c; rows a, b, c are 0, 1, 2
    chain = np.array([[0, 0.85, 0.1], [0.85, 0, 0.9], [0.1, 0.9, 0]])
    order = [0, 1, 2]
    triangular, greedy, joined = (links(chain, order, name) for name in ("triangular", "greedy", "components"))
    np.testing.assert_allclose(triangular.similarity, [0, 0.85, 0.9])
    # b goes, so that c has no copy left and stays: a row is not dropped for being near one that itself goes
    np.testing.assert_allclose(greedy.similarity, [0, 0.85, 0.1])
    assert greedy.nearest.tolist() == [-1, 0, 0]
    np.testing.assert_allclose(joined.similarity, [0, 0.85, 0.9])
    # c joins b, which is the first of the two until they both join a
    assert joined.nearest.tolist() == [-1, 0, 1]
    assert _copies.clusters(joined, 0.8).tolist() == [0, 0, 0]
    assert _copies.clusters(joined, 0.88).tolist() == [0, 1, 1]
    # what is above 0.87 goes: at that threshold b stays and c goes for it
    np.testing.assert_allclose(links(chain, order, "greedy", 0.87).similarity, [0, 0.85, 0.9])


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("seed", range(4))
def test_against_the_definitions(semantics: Semantics, seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = 24
    # few values, so that many tie; most pairs have none
    similarity = np.triu(draw.integers(1, 11, (n, n)) / 10 * (draw.random((n, n)) < 0.15), 1)
    similarity += similarity.T
    order = draw.permutation(n).tolist()
    found = links(similarity, order, semantics, 0.5)
    np.testing.assert_allclose(found.similarity, slow_links(similarity, order, semantics, 0.5), rtol=1e-6)
    rank = rank_of(order)
    named = np.flatnonzero(found.nearest >= 0)
    assert (named == np.flatnonzero(found.similarity > 0)).all()
    assert (rank[found.nearest[named]] < rank[named]).all()
    if semantics == "components":
        for threshold in (0.15, 0.45, 0.75):
            clusters = _copies.clusters(found, threshold)
            for row in range(n):
                first = min(component(similarity, row, threshold), key=order.index)
                assert clusters[row] == first
    else:
        np.testing.assert_allclose(similarity[named, found.nearest[named]], found.similarity[named], rtol=1e-6)


def test_greedy_links_are_sound_above_their_threshold() -> None:
    draw = np.random.default_rng(5)
    similarity = np.triu(draw.random((40, 40)), 1)
    similarity += similarity.T
    found = links(similarity, draw.permutation(40).tolist(), "greedy", 0.5)
    for threshold in (0.5, 0.7, 0.9):
        gone = found.similarity > threshold
        assert gone.any()
        assert not gone[found.nearest[gone]].any()


def test_many_pairs_are_reduced_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    similarity = np.triu(draw.random((30, 30)), 1)
    similarity += similarity.T
    order = draw.permutation(30).tolist()
    whole = links(similarity, order, "components")
    monkeypatch.setattr(_copies, "MOST_PAIRS", 20)
    pieces = links(similarity, order, "components")
    assert (pieces.similarity == whole.similarity).all()
    assert (pieces.nearest == whole.nearest).all()
