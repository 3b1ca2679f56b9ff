"""Vectors of a file joined by row or uid, and of a vision tower: by hand, against the model itself, and refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datapruner import Batch, Source, score
from datapruner.embedders.array import Array
from datapruner.embedders.vision_tower import VisionTower
from tests.datapruner.conftest import write_jsonl
from tests.datapruner.tiny_tower import save_tiny_tower

VECTORS = np.array([[3, 4], [0, 0], [0, -2]], np.float64)


def batch_of(uids: list[str], images: list[bytes] | None = None) -> Batch:
    return Batch(np.arange(len(uids)), uids, [], images=images)


def test_vectors_by_row_and_by_uid(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    np.savez(tmp_path / "v.npz", vectors=VECTORS, uids=np.array(["a", "b", "c"]))
    for name in ("v.npy", "v.npz"):
        embedder = Array(str(tmp_path / name))
        embedder.check()
        np.testing.assert_allclose(embedder.checked(batch_of(["a", "b", "c"])), [[0.6, 0.8], [0, 0], [0, -1]])
        assert (Array(str(tmp_path / name), normalize=False).checked(batch_of(["a", "b", "c"])) == VECTORS).all()
        with pytest.raises(ValueError, match="want a vector for row 4, uid 'd', got none among 3"):
            embedder.score(batch_of(["a", "b", "c", "d"]))
    by_uid = Array(str(tmp_path / "v.npz"), normalize=False)
    assert by_uid.checked(batch_of(["c", "a"])).tolist() == [[0, -2], [3, 4]]


def test_a_column_of_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1, 0], [1, 0.01], [0, 1]], np.float32))
    source = Source(write_jsonl(tmp_path / "c.jsonl", [{"text": text} for text in "abc"]), chunk_rows=2)
    scorers = [f"embedding=array:path={tmp_path / 'v.npy'}", "semantic_duplicate"]
    table = score(source, scorers, tmp_path / "t")
    assert (table.scores("semantic_duplicate") > 0.9).sum() == 1
    assert table.scores("semantic_duplicate")[2] < 0.1


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("v.npy", np.zeros(3), r"want vectors as floating point \[n, d\], got float64 \[3\]"),
        ("v.npy", np.zeros((3, 2), np.int64), "got int64"),
        ("v.npy", np.array([{}], dtype=object), "without pickle"),
        ("v.npz", {"vectors": np.zeros((2, 2))}, "want the arrays 'vectors' and 'uids'"),
        ("v.npz", {"vectors": np.zeros((2, 2)), "uids": np.array(["a", "a"])}, "want 2 uids, all different, got 1"),
        ("v.bin", np.zeros((1, 1)), "ends in .npy or .npz"),
    ],
)
def test_refuses_files_that_cannot_be_joined(
    name: str, arrays: np.ndarray | dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    with open(tmp_path / name, "wb") as file:
        if isinstance(arrays, dict):
            np.savez(file, **arrays)  # type: ignore[arg-type]
        else:
            np.save(file, arrays, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        Array(str(tmp_path / name)).check()


def test_a_tower_is_asked_as_its_model_says(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = save_tiny_tower(tmp_path / "tower")
    draw, images = np.random.default_rng(0), []
    for size in ((20, 30), (64, 64), (28, 28)):
        file = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (*size, 3)).astype(np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
    embedder = VisionTower(str(folder), batch_size=2, device="cpu")
    found = embedder.checked(batch_of(["a", "b", "c", "d"], [*images[:2], b"broken", images[2]]))
    assert (found[2] == 0).all()
    model, processor = AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    for row, content in ((0, images[0]), (1, images[1]), (3, images[2])):
        pixels = processor(images=Image.open(io.BytesIO(content)), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            expected = model(pixel_values=pixels).pooler_output[0]
        np.testing.assert_allclose(found[row], expected / expected.norm(), atol=1e-5)
