"""Small corpora, and evaluations of them that take a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from datapruner import Candidate, Evaluation, Rule, Source
from datapruner.evaluation.settings import Observe, Seeds

PROXY = "linear_probe:vectors=features,batch_size=16,device=cpu"


def blobs(n: int, seed: int, classes: int = 3, spread: float = 1.5) -> dict[str, object]:
    """Points around the corners of a simplex, an id each; the first class is half of all."""
    draw = np.random.default_rng(seed)
    labels = np.maximum(draw.integers(-classes + 1, classes, n), 0)
    features = 4 * np.eye(classes, 6)[labels] + spread * draw.normal(size=(n, 6))
    return {
        "id": [f"{seed}-{i}" for i in range(n)],
        "features": features.astype(np.float32),
        "label": [f"class{label}" for label in labels],
        "site": [f"site{i % 2}" for i in range(n)],
    }


def source_of(rows: dict[str, object]) -> Source:
    return Source(rows, text=None, uid="id", label="label", group="site")  # type: ignore[arg-type]


def candidates(*selectors: str, by: str = "el2n") -> tuple[Candidate, ...]:
    return tuple(Candidate(selector, (Rule(selector, by),)) for selector in selectors)


@pytest.fixture
def small() -> Evaluation:
    """120 rows, two selections at two ratios, three trainings of twelve steps each."""
    return Evaluation(
        source_of(blobs(120, 1)),
        source_of(blobs(90, 2)),
        PROXY,
        candidates("top", "calibrated"),
        scorers=("el2n",),
        keep_ratios=(0.2, 0.5),
        steps=12,
        checks=3,
        seeds=Seeds(3),
        observe=Observe(epochs=3, early=1, runs=2),
    )


def without_seconds(value: object) -> object:
    """A result without what the clock said."""
    if isinstance(value, dict):
        told = {"before", "training", "seconds_to_target"}
        return {key: without_seconds(item) for key, item in value.items() if key not in told or not _is_clock(item)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_seconds(item) for item in value]
    return value


def _is_clock(item: object) -> bool:
    return item is None or isinstance(item, float)
