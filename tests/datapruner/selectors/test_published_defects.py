"""Defects of published code, each beside the right rule on rows where the two differ.

Every test holds what the defective form would keep, and that we keep something else, by the published formula.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapruner import Budget, Per, select
from datapruner.selection import ranking
from datapruner.selection.selector import Selector
from datapruner.selectors.bottom import Bottom
from datapruner.selectors.coverage_centric import CoverageCentric
from datapruner.selectors.density_based import DensityBased
from datapruner.selectors.facility_location import FacilityLocation
from datapruner.selectors.farthest_point import FarthestPoint
from datapruner.selectors.herding import Herding
from datapruner.selectors.log_determinant import LogDeterminant
from datapruner.selectors.message_passing import MessagePassing
from datapruner.selectors.moderate import Moderate
from datapruner.selectors.prototypes import Prototypes
from datapruner.selectors.target_matched import TargetMatched
from datapruner.selectors.top import Top
from tests.datapruner.drawn_tables import make_table, scored
from tests.datapruner.selectors.given_rows import drawn_vectors, given_rows


def test_herding_takes_the_argmin() -> None:
    vectors = drawn_vectors(60, 4).astype(np.float64)
    mean, wrong = vectors.mean(0), []
    for _ in range(12):
        distances = [np.linalg.norm(mean - vectors[[*wrong, row]].mean(0)) for row in range(60)]
        wrong.append(int(np.argmax([-1 if row in wrong else distance for row, distance in enumerate(distances)])))
    kept = Herding().select(given_rows(vectors=vectors), 12).kept
    ours, theirs = (np.linalg.norm(mean - vectors[rows].mean(0)) for rows in (kept, wrong))
    assert ours < 0.1 * theirs
    # and better than any draw
    draw = np.random.default_rng(0)
    assert ours < min(np.linalg.norm(mean - vectors[draw.choice(60, 12, False)].mean(0)) for _ in range(200))


def test_the_log_determinant_is_that_of_what_is_left_unexplained() -> None:
    vectors = drawn_vectors(40, 10)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    kernel = unit @ unit.T

    def volume(rows: list[int]) -> float:
        return float(np.linalg.slogdet(kernel[np.ix_(rows, rows)] + 1e-9 * np.eye(len(rows)))[1])

    # the row whose part inside the span of the picks is largest: the subtracted term taken for the gain
    wrong = [0]
    for _ in range(5):
        spanned = np.einsum(
            "ir,rs,is->i", kernel[:, wrong], np.linalg.pinv(kernel[np.ix_(wrong, wrong)]), kernel[:, wrong]
        )
        spanned[wrong] = -1
        wrong.append(int(spanned.argmax()))
    kept = LogDeterminant().select(given_rows(vectors=vectors), 6).kept.tolist()
    draws = [volume(np.random.default_rng(i).choice(40, 6, False).tolist()) for i in range(100)]
    assert volume(kept) > max(draws)
    assert volume(wrong) < min(draws)


@pytest.mark.parametrize(
    "rule",
    [FarthestPoint(), FacilityLocation(), Herding(), LogDeterminant(), MessagePassing(), Moderate(), TargetMatched()],
    ids=lambda rule: type(rule).__name__,
)
def test_no_row_is_picked_twice(rule: Selector) -> None:
    # more picks than there are places: what stays best after it was picked would be picked again
    fields = {"prototypicality": {"cluster": [0] * 12, "score": [0.0] * 12}}
    given = given_rows([1.0] * 12, [[1, 0]] * 5 + [[0, 1]] * 4 + [[0, 0]] * 3, fields)
    for n in range(13):
        assert len(rule.select(given, n).kept) == n


@pytest.mark.parametrize("per", [None, "source"])
def test_the_least_certain_rows_stay_in_groups_and_without(per: str | None, tmp_path: Path) -> None:
    # entropies: high is uncertain. One branch of published code sorts the other way
    entropy = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7]
    table = make_table(tmp_path / "t", scored(entropy=entropy), ["a", "a", "b", "b", "c", "c"])
    assert select(table, "top", keep_ratio=0.5, per=per).kept.tolist() == [1, 3, 5]
    assert select(table, "bottom", keep_ratio=0.5, per=per).kept.tolist() == [0, 2, 4]


def test_strata_keep_the_upper_edge_of_negative_scores() -> None:
    scores = np.linspace(-10, -1, 1000, dtype=np.float32)
    # the published range ends at max * 1.0001, which is below a maximum that is negative
    edges = np.linspace(scores.min(), scores.max() * 1.0001, 51)
    assert ((scores >= edges[0]) & (scores < edges[-1])).sum() < 1000
    bins = ranking.strata(scores, 50)
    assert np.bincount(bins, minlength=50).sum() == 1000
    assert bins[-1] == 49
    assert len(CoverageCentric().select(given_rows(scores), 1000).kept) == 1000
    kept = [set(CoverageCentric(seed=seed).select(given_rows(scores), 200).kept.tolist()) for seed in range(30)]
    # the highest row is drawn as others of its stratum are
    assert 1 <= sum(999 in rows for rows in kept) <= 15


def test_as_many_strata_as_are_asked_for_and_beta_of_the_whole_set() -> None:
    # a peer's 50 edges make 49 bins and one of a single value; its beta is of another count
    scores = np.arange(1000, dtype=np.float32)
    assert np.bincount(ranking.strata(scores, 50)).tolist() == [20] * 50
    outcome = CoverageCentric(beta=0.3).select(given_rows(scores), 100)
    assert outcome.kept.max() < 700
    assert (outcome.codes == outcome.reasons.index("score beyond the cut of the 0.3 hardest")).sum() == 300
    assert np.bincount(ranking.strata(scores[:700], 50)[outcome.kept]).tolist() == [2] * 50


def test_the_cut_goes_by_hardness_also_where_strata_do_not() -> None:
    # AUM tells what is mislabelled: the three lowest; strata are those of another score
    fields = {"aum": {"score": [-5.0, -4, -3, *range(7)]}}
    given = given_rows([0.5, 0, 1, *np.linspace(0, 1, 7)], fields=fields)
    outcome = CoverageCentric(beta=0.3, hard="low", hardness="aum", strata=7).select(given, 7)
    assert outcome.kept.tolist() == [*range(3, 10)]
    assert outcome.reasons == ("aum beyond the cut of the 0.3 hardest",)


@pytest.mark.parametrize("sizes", [[9000, 900, 100], [1, 1, 4], [7, 0, 3]])
@pytest.mark.parametrize("quota", ["kept", "equal"])
def test_quotas_meet_their_sum(sizes: list[int], quota: str, tmp_path: Path) -> None:
    names = [name for name, size in zip("abc", sizes, strict=True) for _ in range(size)]
    total = sum(sizes) // 2
    shares = Per("source", quota).share_out(total, "abc", sizes)
    assert sum(shares) == total
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    if len(names) < 100:
        # the count of the last class taken for all: 3 * 100 of 5,000; rounding down each: a row or two short
        table = make_table(tmp_path / "t", scored(score=[*range(len(names))]), names)
        assert select(table, "random", None, Budget(rows=total), Per("source", quota)).n_kept == total


def test_shares_of_clusters_meet_their_sum_and_their_bounds() -> None:
    # 500 clusters of unequal size; the published solver rounds each by itself and goes below the least
    draw = np.random.default_rng(0)
    ids = np.concatenate([np.arange(500), draw.integers(0, 500, 4500)])
    distances = draw.random(5000).astype(np.float32)
    centroids = draw.normal(size=(500, 8)).astype(np.float32)
    given = given_rows(distances, None, {"prototypicality": {"cluster": ids, "score": distances}}, centroids)
    kept = DensityBased(temperature=0.01).select(given, 2500).kept
    counts, sizes = np.bincount(ids[kept], minlength=500), np.bincount(ids)
    assert counts.sum() == 2500
    assert (counts >= np.minimum(sizes, 2)).all()
    # the farthest of each cluster stay
    for cluster in range(500):
        own = np.flatnonzero(ids == cluster)
        assert set(own[np.argsort(-distances[own])][: counts[cluster]]) == set(kept[ids[kept] == cluster])


def test_quotas_of_prototypes_meet_their_sum() -> None:
    classes = [0] * 90 + [1] * 9 + [2]
    given = given_rows([*range(100)], fields={"label": {"score": classes}})
    for n in range(101):
        for end in ("hard", "easy"):
            kept = Prototypes(end=end, classes="label").select(given, n).kept  # type: ignore[arg-type]
            assert len(kept) == n
            assert (np.bincount(np.array(classes)[kept], minlength=3) >= np.minimum([90, 9, 1], n // 6)).all()


def test_moderate_is_not_both_ends() -> None:
    vectors = drawn_vectors(200, 4)
    kept = Moderate().select(given_rows(vectors=vectors), 60).kept
    ranks = np.argsort(np.argsort(np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)))
    # the published list of 30 % holds the ranks under .15 and over .85: what is to be pruned
    assert set(ranks[kept].tolist()) == set(range(70, 130))
    scores = np.random.default_rng(0).normal(size=200).astype(np.float32)
    near = Moderate(reading="score").select(given_rows(scores), 60).kept
    assert np.abs(scores[near] - np.median(scores)).max() < np.abs(np.delete(scores, near) - np.median(scores)).min()


def test_a_ratio_is_what_is_kept() -> None:
    scores = [float(i) for i in range(1000)]
    for rule in (Top(), Bottom(), CoverageCentric(beta=0.1), Moderate(reading="score"), MessagePassing()):
        given = given_rows(scores, np.arange(1000)[:, None])
        assert len(rule.select(given, 200).kept) == 200


def test_strata_give_what_small_ones_cannot_fill_to_the_others() -> None:
    # events that most rows have none of: 5,000 of 10,000 wanted, where a peer gives 1,000
    events = np.random.default_rng(0).poisson(0.5, 10_000).astype(np.float32)
    kept = CoverageCentric(strata=10).select(given_rows(events), 5000).kept
    assert len(kept) == 5000
    # all of the rare ones
    assert set(np.flatnonzero(events >= 2)) <= set(kept.tolist())


def test_facility_location_counts_all_rows_not_a_block() -> None:
    # two thirds of the rows lie one way, beyond the first block of any size that divides them
    vectors = np.concatenate([np.eye(3)[[0] * 100], np.eye(3)[[1] * 400]])
    order = np.random.default_rng(0).permutation(500)
    outcome = FacilityLocation().select(given_rows(vectors=vectors[order]), 1)
    assert vectors[order][outcome.kept[0], 1] == 1
    assert outcome.weights is not None
    assert outcome.weights.max() == 500
