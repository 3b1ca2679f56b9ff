"""What every embedder promises. Each file of datapruner/embedders is enrolled by itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datapruner.scoring.scorer import Embedder
from datapruner.scoring.scorer_columns import EMBEDDERS
from prunekernels import registry, spec
from tests.contextpruner.tiny_encoder import save_tiny_encoder
from tests.contracts.test_scorers import ROUNDING, TEXTS, VECTORS, batch_of, part
from tests.datapruner.tiny_models import save_tiny_classifier
from tests.datapruner.tiny_tower import save_tiny_image_classifier, save_tiny_tower

NAMES = registry.names(EMBEDDERS)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_encoder(tmp_path_factory.mktemp("encoder"))
    save_tiny_classifier(folder.parent / "classifier")
    return folder


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_tiny_tower(tmp_path_factory.mktemp("tower"))
    save_tiny_image_classifier(folder.parent / "classifier")
    return folder


@pytest.fixture(scope="session")
def array(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors by uid, where the rows of equal texts have equal ones."""
    path = tmp_path_factory.mktemp("array") / "vectors.npz"
    of = [0 if place == 5 else place for place in range(len(TEXTS))]
    np.savez(path, vectors=VECTORS[of], uids=np.array([f"u{i}" for i in range(len(TEXTS))]))
    return path


@pytest.fixture(params=NAMES)
def embedder(request: pytest.FixtureRequest, encoder: Path, tower: Path, array: Path) -> Embedder:
    """With its defaults, and the files that it cannot do without."""
    method = registry.load(EMBEDDERS, request.param, Embedder)
    fields = {field.name for field in dataclasses.fields(method)}
    model = tower if "images" in method.needs else encoder
    given = {"model": model, "classifier": model.parent / "classifier", "path": array}
    text = ",".join(f"{name}={path}" for name, path in given.items() if name in fields)
    return spec.build(EMBEDDERS, f"{request.param}:{text}" if text else request.param, Embedder)


def test_is_a_frozen_dataclass_with_words(embedder: Embedder) -> None:
    assert type(embedder).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert re.match(r"(Paper|Rule): \S", str(type(embedder).__doc__))
    assert type(embedder).is_vector
    assert spec.build(EMBEDDERS, spec.describe(embedder), Embedder) == embedder


def test_vectors_are_float32_finite_and_of_one_length(embedder: Embedder) -> None:
    embedder.check()
    vectors = embedder.checked(batch_of([*range(len(TEXTS))]))
    assert vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert ((abs(lengths - 1) < 1e-5) | (lengths == 0)).all() or not embedder.is_unit
    assert (lengths > 0).sum() >= 9
    # equal texts are equal, others are not
    np.testing.assert_allclose(vectors[0], vectors[5], atol=1e-6)
    assert abs(vectors[0] - vectors[6]).max() > 1e-4
    assert embedder.checked(batch_of([])).shape == (0, vectors.shape[1])


def test_batching_and_order_change_nothing(embedder: Embedder) -> None:
    batch = batch_of([*range(len(TEXTS))])
    whole = embedder.checked(batch)
    for piece in ([3], [11, 0, 7], [5, 4, 2, 1, 10]):
        np.testing.assert_allclose(embedder.checked(part(batch, piece)), whole[piece], rtol=ROUNDING, atol=1e-6)


def test_refuses_fields_that_cannot_work(embedder: Embedder) -> None:
    make: Callable[..., Embedder] = dataclasses.replace
    fields = {field.name for field in dataclasses.fields(embedder)}
    wrong = (
        next((name, 0) for name in ("dims", "batch_size") if name in fields) if "path" not in fields else ("path", "")
    )
    with pytest.raises(ValueError, match="of at least 1|a file that ends in"):
        make(embedder, **dict([wrong])).check()
