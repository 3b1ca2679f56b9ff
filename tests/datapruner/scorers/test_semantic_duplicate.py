"""Semantic duplicates: by hand, against brute force in three senses, and without the published code's faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datapruner import Batch, Source, score
from datapruner.scorers import _dense_copies, semantic_duplicate
from datapruner.scorers._copies import SEMANTICS, Semantics
from datapruner.scorers.semantic_duplicate import SemanticDuplicate
from datapruner.scoring.workspace import Workspace
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.scorers.slow_links import slow_links


def batch_of(vectors: np.ndarray, start: int = 0) -> Batch:
    n = len(vectors)
    uids = [f"u{start + i}" for i in range(n)]
    return Batch(np.arange(start, start + n), uids, [], vectors={"embedding": vectors.astype(np.float32)})


def scores(vectors: np.ndarray, scorer: SemanticDuplicate) -> np.ndarray:
    batch = batch_of(vectors)
    return scorer.checked(batch, scorer.fit([batch]))


def unit(angles: list[float]) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians(angles)])


def clouds(n: int, seed: int = 0, copies: float = 0.3) -> np.ndarray:
    """Rows around 12 centres, some of them copies with a little noise."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(12, 16))
    rows = centres[draw.integers(0, 12, n)] + draw.normal(size=(n, 16)) * 0.5
    of = np.flatnonzero(draw.random(n) < copies)
    rows[of] = rows[draw.integers(0, n, len(of))] + draw.normal(size=(len(of), 16)) * draw.uniform(0, 0.3, (len(of), 1))
    return rows


# cosines of neighbours: 0.94, 0.92; of the ends 0.73
CHAIN = unit([0, 20, 43])


def test_a_chain_by_hand() -> None:
    near, far, ends = np.cos(np.radians([20, 23, 43]))
    for semantics, expected in (
        ("triangular", [-1, near, far]),
        # the middle goes, so that the last has no copy left and stays
        ("greedy", [-1, near, ends]),
        ("components", [-1, near, far]),
    ):
        scorer = SemanticDuplicate(semantics=semantics, keep="first", threshold=0.9)  # type: ignore[arg-type]
        np.testing.assert_allclose(scores(CHAIN, scorer), expected, atol=1e-6)
        batch = batch_of(CHAIN)
        details = scorer.details(batch, scorer.fit([batch]))
        assert details["nearest_row"].tolist() == [-1, 0, 1 if semantics == "triangular" else 0]
        assert details["nearest_uid"].tolist()[:2] == ["", "u0"]
        assert details["cluster"].tolist() == [0, 0, 2 if semantics == "greedy" else 0]


def test_the_farthest_from_the_centroid_comes_first_as_published() -> None:
    rows = unit([0, 2, 5, 20])
    centroid = rows.mean(0)
    far = rows @ centroid
    for keep, first in (("hard", far.argmin()), ("easy", far.argmax())):
        found = scores(rows, SemanticDuplicate(keep=keep, k=1, semantics="triangular"))  # type: ignore[arg-type]
        assert np.flatnonzero(found == -1).tolist() == [first]


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_against_brute_force(semantics: Semantics) -> None:
    rows = clouds(20 if semantics == "components" else 60)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows / lengths) @ (rows / lengths).T
    np.fill_diagonal(cosines, 0)
    scorer = SemanticDuplicate(semantics=semantics, keep="first")
    expected = slow_links(np.maximum(cosines, 0), [*range(len(rows))], semantics, 0.9)
    np.testing.assert_allclose(np.maximum(scores(rows, scorer), 0), np.maximum(expected, 0), atol=1e-5)


def test_one_pass_serves_every_threshold() -> None:
    rows = clouds(300)
    for semantics in ("triangular", "components"):
        passes = [
            scores(rows, SemanticDuplicate(semantics=semantics, threshold=at))  # type: ignore[arg-type]
            for at in (0.6, 0.95)
        ]
        assert (passes[0] == passes[1]).all()


def test_clusters_find_what_a_full_comparison_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clouds(600, seed=1)
    scorer = SemanticDuplicate(keep="first", semantics="triangular")
    whole = scores(rows, scorer)
    # groups of at most 64 rows: clusters larger than that are clustered again
    monkeypatch.setattr(semantic_duplicate, "MOST_ROWS", 64)
    one, two, published = (
        scores(rows, replace(scorer, clusterings=number, k=k)) for number, k in ((1, 0), (2, 0), (1, 30))
    )
    near = whole > 0.9
    assert near.sum() > 100
    recall = [(near & (found > 0.9)).sum() / near.sum() for found in (one, two, published)]
    assert recall[0] < recall[1]
    assert recall[1] > 0.97
    assert recall[2] < 1
    # what is compared has its true similarity
    assert (two <= whole + 1e-6).all()


def test_all_rows_train_the_centroids() -> None:
    # 3 far clouds of 400 rows: a library that takes 256 rows a centroid at most would see a part of them
    draw = np.random.default_rng(0)
    rows = np.concatenate([draw.normal(size=(400, 8)) * 0.01 + np.eye(8)[i] for i in range(3)]).astype(np.float32)
    unit_rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = semantic_duplicate.clustered(unit_rows, np.arange(1200), 1, 5, 0).centroids
    mean = unit_rows.astype(np.float64).mean(0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_equal_rows_and_rows_of_zeros() -> None:
    rows = np.array([[1, 0], [0, 0], [2, 0], [0, 0], [0, 1], [-0.0, 3]])
    found = scores(rows, SemanticDuplicate(keep="first"))
    # a row of zeros is like nothing, not even another one
    assert found.tolist() == [-1, 0, 1, 0, 0, 1]


def test_the_older_corpus_stays_and_is_compared_first(tmp_path: Path) -> None:
    older = unit([0, 1, 90])
    path = write_jsonl(tmp_path / "old.jsonl", [{"embedding": row.tolist()} for row in older])
    rows = unit([0.4, 45, 47, 90])
    for semantics in SEMANTICS:
        scorer = SemanticDuplicate(against=str(path), semantics=semantics, keep="first", threshold=0.99)
        batch = batch_of(rows)
        scorer.check()
        state = scorer.fit([batch])
        found, details = scorer.checked(batch, state), scorer.details(batch, state)
        assert (found > 0.99).tolist() == [True, False, True, True]
        assert details["against_row"].tolist()[3] == 2
        assert details["nearest_row"].tolist()[2] == 1
        assert details["cluster"].tolist()[1:3] == [1, 1]
        if semantics != "components":
            assert details["against_row"].tolist()[0] == 0
    assert scorer.identity() != replace(scorer, against=None).identity()
    with pytest.raises(ValueError, match=r"semantic_duplicate\.against: want vectors of 3 numbers, got 2"):
        scorer.fit([batch_of(np.eye(3))])


def test_an_older_score_table_has_the_same_column(tmp_path: Path) -> None:
    old = write_jsonl(tmp_path / "old.jsonl", [{"text": "one two three four"}, {"text": "quite another"}])
    new = write_jsonl(tmp_path / "new.jsonl", [{"text": "one two three four"}, {"text": "new words here"}])
    score(Source(old), "words=hashed_ngrams", tmp_path / "old")
    scorer = f"semantic_duplicate:features=words,against={tmp_path / 'old'}"
    table = score(Source(new), ["words=hashed_ngrams", scorer], tmp_path / "new")
    assert (table.scores("semantic_duplicate") > 0.9).tolist() == [True, False]
    assert table.read("semantic_duplicate", "against_row").to_pylist()[0] == 0


def test_a_killed_fit_compares_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clouds(300)
    monkeypatch.setattr(semantic_duplicate, "MOST_ROWS", 64)
    # a step a group
    monkeypatch.setattr(semantic_duplicate, "STEP_PAIRS", 1)
    compare, calls = semantic_duplicate.copies_of, []

    def counted(found: torch.Tensor, threshold: float) -> _dense_copies.Copies:
        calls.append(len(found))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return compare(found, threshold)

    monkeypatch.setattr(semantic_duplicate, "copies_of", counted)
    workspace, scorer = Workspace(tmp_path / "workspace"), SemanticDuplicate()
    with pytest.raises(KeyboardInterrupt):
        scorer.fit([batch_of(rows)], workspace)
    before = len(calls)
    found = scorer.fit([batch_of(rows)], workspace)["similarity"]
    after = len(calls) - before
    calls[:] = [0] * 5
    assert (found == scorer.fit([batch_of(rows)])["similarity"]).all()
    assert after == len(calls) - 5 - (before - 1)


@pytest.mark.parametrize("m", [1, 2, 63, 64, 65, 130])
def test_tiles_find_what_the_whole_matrix_has(m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dense_copies, "TILE", 64)
    rows = clouds(m, seed=m)
    # equal ones: of equals the first
    rows[m // 2] = rows[0]
    rows = torch.tensor(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=torch.float32)
    cosines = np.minimum(rows.double().numpy() @ rows.double().numpy().T, 1)
    near, closest = _dense_copies.copies_of(rows, 0.8)
    pairs = {(later, earlier) for later in range(m) for earlier in range(later) if cosines[later, earlier] > 0.8}
    assert {*zip(near.later.tolist(), near.earlier.tolist(), strict=True)} == pairs
    np.testing.assert_allclose(near.similarity, cosines[near.later, near.earlier], atol=1e-6)
    assert closest.later.tolist() == [*range(1, m)]
    expected = [cosines[row, :row].argmax() for row in range(1, m)]
    assert closest.earlier.tolist() == expected
    np.testing.assert_allclose(closest.similarity, [cosines[row, :row].max() for row in range(1, m)], atol=1e-6)
    draw = np.random.default_rng(m)
    some, others = (np.sort(draw.permutation(m)[: max(1, m // part)]) for part in (3, 2))
    among = _dense_copies.closest_among(rows, some, others)
    known = [(row, others[others < row]) for row in some.tolist() if (others < row).any()]
    assert among.later.tolist() == [row for row, _ in known]
    assert among.earlier.tolist() == [before[cosines[row, before].argmax()] for row, before in known]
    # a cosine hangs on its two rows alone
    whole = {row: value for row, value in zip(closest.later.tolist(), closest.similarity.tolist(), strict=True)}
    for row, earlier, value in zip(*(side.tolist() for side in among), strict=True):
        assert earlier != expected[row - 1] or value == whole[row]


def test_rows_whose_closest_goes_are_compared_with_those_that_stay() -> None:
    # pairs of twins in a cloud: for each row that stays the closest one is often one that goes
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(40, 6)).repeat(2, axis=0)
    rows[1::2] += draw.normal(size=(40, 6)) * 0.05
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows / lengths) @ (rows / lengths).T
    expected = slow_links(np.maximum(cosines - np.eye(80) * cosines, 0), [*range(80)], "greedy", 0.9)
    found = scores(rows, SemanticDuplicate(keep="first", threshold=0.9))
    np.testing.assert_allclose(np.maximum(found, 0), expected, atol=1e-5)
    every = scores(rows, SemanticDuplicate(keep="first", semantics="triangular"))
    assert (every > found + 1e-3).sum() > 10


def test_batches_are_one_corpus() -> None:
    rows = clouds(100)

    def parts() -> Iterator[Batch]:
        for start in range(0, 100, 30):
            yield batch_of(rows[start : start + 30], start)

    scorer = SemanticDuplicate()
    assert (scorer.fit(parts())["similarity"] == scorer.fit([batch_of(rows)])["similarity"]).all()


@pytest.mark.parametrize(
    "fields",
    [{"semantics": "all"}, {"keep": "long"}, {"k": -1}, {"iterations": 0}, {"threshold": 1.0}, {"clusterings": 0}],
)
def test_refuses_fields_that_cannot_work(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="semantic_duplicate wants"):
        SemanticDuplicate(**fields).check()  # type: ignore[arg-type]
