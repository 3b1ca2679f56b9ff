"""`target_matched`: the union of groups with the lowest Frechet distance to a target, thinned by farthest point."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datapruner import select
from datapruner.selectors.target_matched import Moments, TargetMatched, frechet_to
from tests.datapruner.drawn_tables import make_table
from tests.datapruner.selectors.given_rows import given_rows


def test_distances_by_hand() -> None:
    # one dimension: (m1 - m2)^2 + (s1 - s2)^2; means 0 and 3, deviations sqrt(2) and 2 sqrt(2)
    near, far = Moments.of(np.array([[-1.0], [1]])), Moments.of(np.array([[1.0], [5]]))
    assert frechet_to(near)(far) == pytest.approx(9 + 2)
    assert frechet_to(far)(near) == pytest.approx(9 + 2)
    assert frechet_to(near)(near) == pytest.approx(0)
    # a single vector has no spread
    assert frechet_to(near)(Moments.of(np.array([[3.0]]))) == pytest.approx(9 + 2)


def slow_frechet(one: np.ndarray, two: np.ndarray) -> float:
    """As printed, with the eigenvalues of the product of covariances, which is not symmetric."""
    a, b = (np.cov(rows, rowvar=False) if len(rows) > 1 else np.zeros((rows.shape[1],) * 2) for rows in (one, two))
    shared = np.sqrt(np.linalg.eigvals(a @ b).real.clip(0)).sum()
    gap = one.mean(0) - two.mean(0)
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * shared)


def drawn(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of eight groups, their groups, and a target that is two of them and a little of a third."""
    centres = draw.normal(size=(8, 3)) * 3
    groups = np.sort(draw.integers(0, 8, 160))
    vectors = (centres[groups] + draw.normal(size=(160, 3)) + 50).astype(np.float32)
    target = np.concatenate([vectors[groups == 2], vectors[groups == 5], vectors[groups == 7][:4]])
    return vectors, groups, target + draw.normal(size=target.shape).astype(np.float32) / 10


@pytest.mark.parametrize("n", [3, 12, 90])
def test_agrees_with_the_search_from_scratch(n: int, tmp_path: Path) -> None:
    vectors, groups, target = drawn(np.random.default_rng(0))
    make_table(tmp_path / "target", {"embedding": {"vector": target}})
    wide, goal = vectors.astype(np.float64), target.astype(np.float64)
    near = sorted(range(8), key=lambda group: slow_frechet(wide[groups == group], goal))
    unions = [near[: count + 1] for count in range(8)]
    unions = [union for union in unions if np.isin(groups, union).sum() >= n]
    best = min(unions, key=lambda union: slow_frechet(np.concatenate([wide[groups == g] for g in union]), goal))
    given = given_rows(vectors=vectors, fields={"prototypicality": {"cluster": groups}})
    outcome = TargetMatched(target=str(tmp_path / "target")).select(given, n)
    kept = groups[outcome.kept]
    # with fewer rows than groups some have none
    assert len(set(kept.tolist()) & set(best)) == min(n, len(best))
    # in proportion to the sizes, give or take the rounding
    for group in best:
        share = n * (groups == group).sum() / np.isin(groups, best).sum()
        assert abs((kept == group).sum() - share) < 1
    reasons = {int(groups[row]): outcome.reasons[code] for row, code in enumerate(outcome.codes) if code >= 0}
    outside = {group for group, text in reasons.items() if text == "its cluster moves the union away"}
    assert outside == set(range(8)) - set(best)


def test_rows_of_a_group_are_far_from_each_other() -> None:
    # the first pick is drawn, the second is at the other end
    given = given_rows(vectors=[[0], [1], [2], [9]], fields={"prototypicality": {"cluster": [0] * 4}})
    kept = TargetMatched().select(given, 2).kept.tolist()
    assert 3 in kept
    assert kept in ([0, 3], [1, 3], [2, 3])


def test_reads_the_table_or_the_rows_of_the_target(tmp_path: Path) -> None:
    vectors = np.array([[0, 0], [0, 1], [9, 9], [9, 8]], dtype=np.float32)
    clusters = {"score": np.zeros(4, np.float32), "cluster": np.array([0, 0, 1, 1], dtype=np.int32)}
    table = make_table(tmp_path / "t", {"embedding": {"vector": vectors}, "prototypicality": clusters})
    make_table(tmp_path / "target", {"embedding": {"vector": vectors[2:] + 0.25}})
    chosen = select(table, f"target_matched:target={tmp_path / 'target'}", keep_ratio=0.5)
    assert chosen.kept.tolist() == [2, 3]
    make_table(tmp_path / "other", {"minilm": {"vector": vectors}})
    with pytest.raises(ValueError, match="target_matched.target: .*other has no finished vector column 'embedding'"):
        select(table, f"target_matched:target={tmp_path / 'other'}", keep_ratio=0.5)
    # or a field of its rows
    rows = [{"embedding": vector.tolist()} for vector in vectors[2:] + 0.25]
    (tmp_path / "target.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert select(table, f"target_matched:target={tmp_path / 'target.jsonl'}", keep_ratio=0.5).kept.tolist() == [2, 3]
    make_table(tmp_path / "narrow", {"embedding": {"vector": vectors[:, :1]}})
    with pytest.raises(ValueError, match="want 'embedding' of 2 numbers, got 1"):
        select(table, f"target_matched:target={tmp_path / 'narrow'}", keep_ratio=0.5)


def test_every_group_of_the_union_has_a_row_where_the_count_allows() -> None:
    # 97 rows and three groups of one: in proportion the small ones would have none of 10
    groups = np.array([0] * 97 + [1, 2, 3])
    vectors = np.random.default_rng(0).normal(size=(100, 2))
    given = given_rows(vectors=vectors, fields={"prototypicality": {"cluster": groups}})
    for n in (80, 98, 10):
        outcome = TargetMatched().select(given, n)
        outside = {
            int(groups[row]) for row, code in enumerate(outcome.codes) if code >= 0 and "union" in outcome.reasons[code]
        }
        assert set(groups[outcome.kept].tolist()) == {0, 1, 2, 3} - outside
