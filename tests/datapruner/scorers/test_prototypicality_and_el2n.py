"""Prototypicality and EL2N of a table: worked by hand, against plain formulas, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch, Source, score
from datapruner.scorers.el2n import El2n
from datapruner.scorers.prototypicality import Prototypicality
from tests.datapruner.conftest import write_jsonl


def batch_of(vectors: np.ndarray, first: int = 0, labels: list[str | int] | None = None) -> Batch:
    rows = np.arange(first, first + len(vectors))
    uids = [f"u{row}" for row in rows]
    return Batch(rows, uids, [""] * len(rows), labels=labels, vectors={"embedding": vectors, "logits": vectors})


def blobs(n: int) -> np.ndarray:
    """Rows around three directions that stand at right angles."""
    draw = np.random.default_rng(0)
    return (np.eye(3, 8)[np.arange(n) % 3] * 5 + draw.normal(size=(n, 8))).astype(np.float32)


def test_prototypicality_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 1], [0, 2]], dtype=np.float32)
    batch, scorer = batch_of(vectors), Prototypicality()
    # (1, 0) and (0, 1): the third row lies between them, at 45 degrees, and goes to the lower one
    state = {"centroids": np.eye(2, dtype=np.float32)}
    np.testing.assert_allclose(scorer.checked(batch, state), [0, 0, 1 - 0.5**0.5, 0], atol=1e-6)
    assert scorer.details(batch, state)["cluster"].tolist() == [0, 0, 0, 1]


def test_clusters_are_found_and_hang_on_no_order() -> None:
    vectors, scorer = blobs(90), Prototypicality(k=3)
    state = scorer.fit([batch_of(vectors[:50]), batch_of(vectors[50:], 50)])
    clusters = scorer.details(batch_of(vectors), state)["cluster"]
    assert len(set(clusters[:3].tolist())) == 3
    assert (clusters == clusters[np.arange(90) % 3]).all()
    order = np.random.default_rng(1).permutation(90)
    whole = batch_of(vectors)
    shuffled = Batch(
        np.arange(90), [whole.uids[i] for i in order], [""] * 90, vectors={"embedding": vectors[order]}
    )  # fmt: skip
    np.testing.assert_array_equal(scorer.fit([shuffled])["centroids"], state["centroids"])


def test_training_rows_are_bounded_and_drawn_by_uid() -> None:
    vectors = blobs(200)
    parts = [batch_of(vectors[i : i + 20], i) for i in range(0, 200, 20)]
    scorer = Prototypicality(k=3, train_rows=30)
    state = scorer.fit(parts)
    np.testing.assert_array_equal(scorer.fit(parts[::-1])["centroids"], state["centroids"])
    assert not np.array_equal(Prototypicality(k=3).fit(parts)["centroids"], state["centroids"])
    # three clusters are there in 30 rows, too
    assert len(set(scorer.details(batch_of(vectors[:3]), state)["cluster"].tolist())) == 3


def test_automatic_k_and_few_rows() -> None:
    assert len(Prototypicality(iterations=2).fit([batch_of(blobs(64))])["centroids"]) == 4
    assert len(Prototypicality(k=10).fit([batch_of(blobs(4))])["centroids"]) == 4
    scorer = Prototypicality()
    assert scorer.checked(batch_of(np.zeros((0, 8), np.float32)), scorer.fit([])).shape == (0,)


def test_el2n_is_the_formula_and_the_mean_over_runs() -> None:
    logits = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    labels: list[str | int] = [0, 1, 2, 3, 0, 1]
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    exact = np.linalg.norm(p - np.eye(4)[labels], axis=1)
    found = El2n().checked(batch_of(logits, labels=labels))
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    batch = batch_of(logits, labels=labels)
    twice = Batch(batch.rows, batch.uids, batch.texts, labels=labels, vectors={"a": logits, "b": np.zeros_like(logits)})
    # no logit stands out: the error is sqrt(3 / 16 + 9 / 16)
    np.testing.assert_allclose(El2n(logits="a+b").checked(twice), (exact + 0.75**0.5) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x", 0], "want a whole number of at least 0 as label, got 'x' for uid 'u0'"),
        ([0, -1], "got -1 for uid 'u1'"),
        ([0, 3], "uid 'u1' has label 3, 'logits' has 3 logits"),
    ],
)
def test_el2n_refuses_labels(labels: list[str | int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        El2n().score(batch_of(np.zeros((2, 3), np.float32), labels=labels))


def test_refuses_fields() -> None:
    for wrong in (Prototypicality(k=-1), Prototypicality(iterations=0), Prototypicality(k=9, train_rows=5)):
        with pytest.raises(ValueError, match="prototypicality wants"):
            wrong.check()
    with pytest.raises(ValueError, match=r"el2n\.logits wants names"):
        El2n(logits="a+").check()
    with pytest.raises(ValueError, match="wants the state"):
        Prototypicality().score(batch_of(blobs(3)))


def test_from_files_to_columns_in_one_call(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    rows: list[dict[str, object]] = [
        {"text": f"word{i % 7} word{i % 5} tail{i}", "y": i % 4, "logits": draw.normal(size=4).round(3).tolist()}
        for i in range(60)
    ]
    source = Source(write_jsonl(tmp_path / "c.jsonl", rows), label="y", chunk_rows=16)
    table = score(source, ["prototypicality:features=grams,k=4", "grams=hashed_ngrams:dims=32", "el2n"], tmp_path / "t")
    assert table.vector_columns == ["grams"]
    assert table.score_columns == ["el2n", "prototypicality"]
    logits = np.array([row["logits"] for row in rows], dtype=np.float32)
    labels = [i % 4 for i in range(60)]
    np.testing.assert_array_equal(table.scores("el2n"), El2n().checked(batch_of(logits, labels=labels)))
    clusters = table.read("prototypicality", "cluster").to_numpy()
    state = table.state("prototypicality")
    unit = np.concatenate([table.vectors("grams", chunk) for chunk in range(4)])
    np.testing.assert_array_equal((unit @ state["centroids"].T).argmax(1), clusters)


def test_labels_are_asked_for_before_anything_is_written(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wants labels: name their field"):
        score(Source(corpus), "el2n", tmp_path / "t")
