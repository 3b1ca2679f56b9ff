"""The rules worked by hand: coverage_centric, density_based, calibrated, farthest_point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapruner import Candidates, select
from datapruner.corpus.uids import hash64
from datapruner.selection import ranking
from datapruner.selection.candidates import ArrayRows
from datapruner.selectors import density_based
from datapruner.selectors.calibrated import Calibrated
from datapruner.selectors.coverage_centric import CoverageCentric
from datapruner.selectors.density_based import DensityBased, apart
from datapruner.selectors.farthest_point import FarthestPoint
from tests.datapruner.drawn_tables import make_table, scored

# of three bins over [0, 10] six rows are in the first, one in the second and two in the last; the last row is hardest
SPREAD = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 5, 9.9, 10, 20]


def rows_of(scores: list[float]) -> Candidates:
    keys = hash64([f"u{i}" for i in range(len(scores))])
    return Candidates(np.array(scores, dtype=np.float32), ArrayRows(keys), by="score")


def test_coverage_by_hand() -> None:
    rule = CoverageCentric(beta=0.1, strata=3)
    five = rule.select(rows_of(SPREAD), 5)
    assert [sum(low <= row < high for row in five.kept) for low, high in ((0, 6), (6, 7), (7, 9))] == [2, 1, 2]
    assert five.reasons == ("not drawn in its stratum", "score beyond the cut of the 0.1 hardest")
    assert five.codes[9] == 1
    # the stratum of one row is filled, the odd row goes to the first
    four = rule.select(rows_of(SPREAD), 4).kept
    assert [sum(low <= row < high for row in four) for low, high in ((0, 6), (6, 7), (7, 9))] == [2, 1, 1]


def test_coverage_when_low_is_hard() -> None:
    rule = CoverageCentric(beta=0.3, hard="low", strata=2)
    outcome = rule.select(rows_of(SPREAD), 3)
    assert [outcome.reasons[code] for code in outcome.codes[:3]] == ["score beyond the cut of the 0.3 hardest"] * 3
    # the bins are those of [0.3, 20]: 20 is alone beyond the middle
    assert 9 in outcome.kept


@pytest.mark.parametrize("k", [1, 2, 7, 50, 300])
def test_strata_of_negative_scores_hold_every_row(k: int) -> None:
    scores = np.linspace(-10, -1, 31, dtype=np.float32)
    bins = ranking.strata(scores, k)
    assert bins.min() == 0
    assert bins.max() == k - 1
    assert (np.diff(bins.astype(int)) >= 0).all()
    # equal widths: as many values in each, give or take the ends
    assert np.ptp(np.bincount(bins, minlength=k)) <= (1 if k > 1 else 0) + (k in (2, 7))
    assert len(CoverageCentric(strata=k).select(rows_of(scores.tolist()), 31).kept) == 31
    assert len(CoverageCentric(strata=k).select(rows_of(scores.tolist()), 30).kept) == 30


def test_strata_worked_by_hand() -> None:
    assert ranking.strata(np.array([-4, -3.01, -3, -2, -0.01, 0], dtype=np.float32), 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert ranking.strata(np.full(5, -3, dtype=np.float32), 50).tolist() == [0] * 5
    assert ranking.strata(np.array([-3e38, 0, 3e38], dtype=np.float32), 2).tolist() == [0, 1, 1]
    assert ranking.strata(np.empty(0, dtype=np.float32), 3).tolist() == []


def test_coverage_of_constant_scores_is_a_draw() -> None:
    given = rows_of([-2.0] * 200)
    one, other = (set(CoverageCentric(seed=seed).select(given, 100).kept.tolist()) for seed in (0, 1))
    assert len(one) == 100
    assert 20 < len(one & other) < 80


def test_coverage_draws_apart_from_the_ties_at_its_cut() -> None:
    # the ten dropped have the lowest lots of their value: the draw among the others must not know that
    given = rows_of([1.0] * 20 + [0.0] * 20)
    kept = [CoverageCentric(seed=seed, beta=0.25, strata=1).select(given, 12).kept for seed in range(200)]
    # 10 of 30 that are left have the score 1: 4 of 12, with a deviation of 0.1 over the seeds
    assert np.mean([(rows < 20).sum() for rows in kept]) == pytest.approx(4, abs=0.4)


def test_coverage_beyond_a_cut_goes_by_uid_not_by_row() -> None:
    given = rows_of([i % 7 for i in range(60)])
    order = np.random.default_rng(0).permutation(60)
    rule = CoverageCentric(beta=0.2, strata=3)
    again = rule.select(given.take(order), 20)
    assert sorted(order[again.kept]) == rule.select(given, 20).kept.tolist()


def test_coverage_refuses() -> None:
    given = rows_of(SPREAD)
    with pytest.raises(ValueError, match=r"want beta \+ keep_ratio of at most 1, got 0.3 and 8 of 10 rows"):
        CoverageCentric(beta=0.3).select(given, 8)
    assert len(CoverageCentric(beta=0.3).select(given, 7).kept) == 7
    # less than a row too many: rounding, not a mistake
    assert len(CoverageCentric(beta=0.35).select(given, 7).kept) == 7
    for wrong in (CoverageCentric(beta=1.0), CoverageCentric(strata=0), CoverageCentric(hard="up")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="coverage_centric wants beta"):
            wrong.select(given, 1)


CENTROIDS = np.array([[2, 0], [0, 1], [-1, 0]], dtype=np.float32)
CLUSTERS = [0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
DISTANCES = [0.1, 0.3, 0.2, 0.4, 0.6, 0.8, 0.0, 0.2, 0.1, 0.1]


def clustered(
    clusters: list[int] = CLUSTERS, distances: list[float] = DISTANCES, centroids: np.ndarray = CENTROIDS
) -> Candidates:
    fields = {"cluster": np.array(clusters, dtype=np.int32), "score": np.array(distances, dtype=np.float32)}
    rows = ArrayRows(
        hash64([f"u{i}" for i in range(len(clusters))]),
        {"prototypicality": fields},
        states={"prototypicality": {"centroids": centroids}},
    )
    return Candidates(fields["score"], rows, by="prototypicality")


def test_density_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # d_intra .2 .5 .1, d_inter 1.5 1 1.5: softmax of 3, 5, 1.5 is .116 .858 .026; of 5 rows .58 4.29 .13
    outcome = DensityBased().select(clustered(), 5)
    assert outcome.kept.tolist() == [1, 2, 3, 4, 5]
    assert [outcome.reasons[outcome.codes[row]] for row in (0, 6)] == [
        "prototypicality below those that are kept of its cluster",
        "the share of its cluster is 0 rows",
    ]
    # at least the even share of 5/3 rows, rounded down
    outcome = DensityBased(least=1).select(clustered(), 5)
    assert outcome.kept.tolist() == [1, 3, 4, 5, 7]
    # a high temperature shares evenly
    counts = np.bincount(np.array(CLUSTERS)[DensityBased(temperature=100).select(clustered(), 6).kept])
    assert counts.tolist() == [2, 2, 2]
    # only the nearest other: d .2 .5 .1, so that the third is not behind the first by far
    assert apart(CENTROIDS, 1).tolist() == pytest.approx([1, 1, 1])
    assert apart(CENTROIDS, 20).tolist() == pytest.approx([1.5, 1, 1.5])
    assert apart(CENTROIDS[:1], 20).tolist() == [1]
    # the same a block of rows at a time
    points = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
    whole = apart(points, 5).tolist()
    monkeypatch.setattr(density_based, "BLOCK_PAIRS", 4 * 23)
    assert apart(points, 5).tolist() == pytest.approx(whole)
    # itself is no neighbour, an equal one is
    assert apart(CENTROIDS[[0, 0, 1]], 1).tolist() == pytest.approx([0, 0, 1])


def test_density_prefers_clusters_that_lie_apart_whatever_their_size() -> None:
    # all as wide; two share a direction, .5 from the others on average, the third is 1 from both: .07 .07 .86 of 4
    near = np.array([[1, 0], [3, 0], [0, 1]], dtype=np.float32)
    kept = DensityBased().select(clustered([0] * 4 + [1] * 4 + [2] * 4, [0.5] * 12, near), 4).kept
    assert kept.tolist() == [8, 9, 10, 11]
    # as wide and as far apart: two of each, though one has three times the rows
    kept = DensityBased().select(clustered([0] * 2 + [1] * 6, [0.5] * 8, CENTROIDS[:2]), 4).kept
    assert (kept < 2).sum() == 2


def test_density_reads_the_table(tmp_path: Path) -> None:
    fields = {"score": np.array(DISTANCES, dtype=np.float32), "cluster": np.array(CLUSTERS, dtype=np.int32)}
    table = make_table(tmp_path / "t", {"prototypicality": fields, **scored(other=DISTANCES[::-1])})
    table.write_state("prototypicality", {"centroids": CENTROIDS})
    selection = select(table, "density_based", keep_ratio=0.5)
    assert selection.kept.tolist() == [1, 2, 3, 4, 5]
    assert selection.steps[0]["by"] == "prototypicality"
    # the shares are those of the clusters, the rows those of the score that is named
    assert select(table, "density_based", "other", 0.5).kept.tolist() == [0, 2, 3, 4, 5]


def test_calibrated_by_hand() -> None:
    outcome = Calibrated(alpha=0.5).select(rows_of([float(i) for i in range(10)]), 5)
    weights = outcome.weights
    assert weights is not None
    assert weights[[8, 9]].tolist() == [1, 1]
    assert sorted(weights[:8])[-3:] == pytest.approx([8 / 3] * 3)
    assert (weights > 0).sum() == 5
    assert outcome.reasons == ("neither among the 2 of rule top by score nor drawn from the others",)
    everything = Calibrated(alpha=0.5).select(rows_of(SPREAD), 10)
    assert everything.weights is not None
    assert everything.weights.tolist() == [1] * 10


@pytest.mark.parametrize("rule", ["top", "bottom", "middle"])
def test_calibrated_weights_are_unbiased(rule: str) -> None:
    # the cut of 20 by score goes through 30 rows that tie
    scores = {"top": [2, 1, 0], "bottom": [0, 1, 2], "middle": [1, 1, 1]}[rule]
    given = rows_of(np.repeat(scores, [10, 30, 60]).astype(float).tolist())
    tied = []
    for seed in range(300):
        weights = Calibrated(seed=seed, rule=rule).select(given, 40).weights  # type: ignore[arg-type]
        assert weights is not None
        assert weights.sum() == pytest.approx(100)
        tied.append(weights[10:40].sum())
    # one draw deviates by about 7
    assert np.mean(tied) == pytest.approx(30, abs=4 * 7 / 300**0.5)


def test_calibrated_refuses() -> None:
    for wrong in (Calibrated(alpha=1.0), Calibrated(alpha=-0.1), Calibrated(rule="random")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="calibrated wants alpha"):
            wrong.select(rows_of(SPREAD), 1)


def test_farthest_point_by_hand(tmp_path: Path) -> None:
    points = np.array([[0], [1], [2], [10]], dtype=np.float32)
    rows = ArrayRows(hash64("abcd"), arrays={"embedding": points})
    given = Candidates(np.zeros(4, dtype=np.float32), rows)
    rule = FarthestPoint(metric="euclidean", start="isolated")
    assert [rule.select(given, n).kept.tolist() for n in (1, 2, 3)] == [[3], [0, 3], [0, 2, 3]]
    # the lowest lot goes first
    first = int(rows.lots(0, None).argmin())
    assert FarthestPoint(metric="euclidean").select(given, 1).kept.tolist() == [first]
    table = make_table(tmp_path / "t", {"embedding": {"vector": points}}, ["a", "b", "b", "b"])
    assert select(table, rule, keep_ratio=0.75).kept.tolist() == [0, 2, 3]
    assert select(table, rule, keep_ratio=0.5, per="source").kept.tolist() in ([0, 3], [1, 3])
    with pytest.raises(ValueError, match="no finished vector column 'minilm'; finished: embedding"):
        select(table, "farthest_point:features=minilm", keep_ratio=0.5)
