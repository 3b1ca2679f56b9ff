"""Which tokens question and text share, by hand, and in a checkpoint of each form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from contextpruner import Document, SplitDocument, split
from contextpruner.labelers.provence import Provence
from contextpruner.models.matched_types import matched_types
from contextpruner.models.onnx_export import export_onnx
from contextpruner.models.quantized_export import export_quantized
from tests.contextpruner import tiny_checkpoints as tiny

TEXTS = ("The dome was designed by Brunelleschi. It is tall.", "Who is baked? " * 30)
DOCUMENTS = [SplitDocument(Document(text), tuple(split(text))) for text in TEXTS]


def test_types_by_hand() -> None:
    ids = torch.tensor([[9, 5, 6, 8, 6, 7, 6, 8], [9, 5, 8, 5, 8, 0, 0, 0]])
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]])
    found = matched_types(ids, (ids > 0).long(), types)
    # 6 and the separator 8 stand on both sides; padding is of no side, and matches nothing
    assert found.tolist() == [[0, 0, 2, 2, 3, 1, 3, 3], [0, 2, 2, 3, 3, 0, 0, 0]]
    ids = torch.tensor([[9, 0, 8, 0, 8]])
    mask = torch.tensor([[1, 1, 1, 0, 1]])
    assert matched_types(ids, mask, torch.tensor([[0, 0, 0, 1, 1]])).tolist() == [[0, 0, 2, 1, 3]]


def told(folder: Path) -> Path:
    """A checkpoint whose encoder is told, with types that differ."""
    return tiny.open_provence(folder, "bert", token_types=4, matched_token_types=True)


def probabilities(folder: Path, question: str = "Who designed the dome?", **options: object) -> np.ndarray:
    return np.concatenate(Provence(str(folder), **options).score(question, DOCUMENTS).probabilities)  # type: ignore[arg-type]


def test_every_form_of_a_checkpoint_tells(tmp_path: Path) -> None:
    folder = told(tmp_path / "told")
    exact = probabilities(folder)
    said = json.loads((folder / "config.json").read_text())
    untold = tmp_path / "untold"
    untold.mkdir()
    for file in folder.iterdir():
        (untold / file.name).write_bytes(file.read_bytes())
    (untold / "config.json").write_text(json.dumps(said | {"matched_token_types": False}))
    assert np.abs(probabilities(untold) - exact).max() > 1e-4
    np.testing.assert_allclose(probabilities(folder, batch_size=1), exact, atol=1e-6)
    assert np.abs(probabilities(export_quantized(str(folder), tmp_path / "int8")) - exact).max() < 0.03
    exported = export_onnx(Provence(str(folder)).loaded, tmp_path / "onnx")
    np.testing.assert_allclose(probabilities(exported), exact, atol=1e-5)


def test_an_encoder_with_too_few_types_is_refused(tmp_path: Path) -> None:
    made = tiny.open_provence(tmp_path / "few", "bert", matched_token_types=True)
    with pytest.raises(ValueError, match="matched_token_types wants an encoder with 4 token types"):
        Provence(str(made)).prepare()
