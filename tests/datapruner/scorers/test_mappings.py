"""label_mapping and feature_mapping: by hand, and votes that go to the cluster and not to the number of the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datapruner import Batch
from datapruner.scorers.feature_mapping import FeatureMapping
from datapruner.scorers.label_mapping import LabelMapping
from tests.datapruner.conftest import write_jsonl


def batch_of(vectors: np.ndarray, labels: list[int] | None = None) -> Batch:
    uids = [f"u{i}" for i in range(len(vectors))]
    return Batch(np.arange(len(vectors)), uids, [], labels=labels, vectors={"embedding": vectors.astype(np.float32)})


def target(path: Path, name: str, rows: np.ndarray) -> str:
    return str(write_jsonl(path / "target.jsonl", [{name: row.tolist()} for row in rows]))


def test_votes_of_a_classifier_by_hand(tmp_path: Path) -> None:
    logits = np.array([[0.1, 2, 0], [3, 1, 0], [-5, -1, -2], [0, 4, 0]])
    scorer = LabelMapping(target=target(tmp_path, "logits", logits))
    scorer.check()
    batch = batch_of(np.zeros((4, 1)), [0, 1, 2, 1])
    assert scorer.checked(batch, scorer.fit([])).tolist() == [0.25, 0.75, 0, 0.75]
    for label in (3, -1, "1"):
        with pytest.raises(ValueError, match=r"label_mapping: want labels in \[0, 3\)"):
            scorer.score(batch_of(np.zeros((1, 1)), [label]), scorer.fit([]))  # type: ignore[list-item]


def test_votes_for_clusters_by_hand_and_against_every_distance(tmp_path: Path) -> None:
    # three directions of a source; 30 target rows, more than there are clusters, most of them near the last
    draw = np.random.default_rng(0)
    source = np.repeat(np.eye(3), 5, 0) + draw.normal(size=(15, 3)) * 0.05
    rows = np.eye(3)[[2] * 20 + [1] * 9 + [0]] * draw.uniform(1, 9, (30, 1))
    scorer = FeatureMapping(target=target(tmp_path, "embedding", rows), k=3)
    scorer.check()
    batch = batch_of(source)
    state = scorer.fit([batch])
    expected = np.repeat([1 / 30, 9 / 30, 20 / 30], 5)
    np.testing.assert_allclose(scorer.checked(batch, state), expected, rtol=1e-6)
    assert state["votes"].sum() == 30
    clusters = scorer.details(batch, state)["cluster"]
    assert [len(set(clusters[i : i + 5])) for i in (0, 5, 10)] == [1, 1, 1]
    with pytest.raises(ValueError, match="feature_mapping wants 'embedding' of 3 numbers, got 2"):
        scorer.score(batch_of(np.ones((1, 2))), state)


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    for scorer in (
        LabelMapping(),
        FeatureMapping(),
        FeatureMapping(k=-1),
        LabelMapping(target=str(tmp_path / "no.jsonl")),
    ):
        with pytest.raises(ValueError, match="_mapping"):
            scorer.check()
