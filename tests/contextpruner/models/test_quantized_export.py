"""A pruner in 8 bits: small, near the one that it was made of, and refused where it would be made twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.cli import app
from contextpruner.labelers.provence import Provence
from tests.contextpruner import tiny_checkpoints as tiny

TEXT = "The dome was designed by Brunelleschi. It is tall. Who is baked? " * 3
DOCUMENTS = [SplitDocument(Document(TEXT), tuple(split(TEXT)))]
LAYOUTS = {"provence": tiny.provence, "xprovence": tiny.xprovence, "open_provence": tiny.open_provence}


def probabilities(folder: str) -> np.ndarray:
    return Provence(folder, pooling="probability_mean").score("Who designed the dome?", DOCUMENTS).probabilities[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pruner_in_8_bits_labels_nearly_as_before(layout: str, tmp_path: Path) -> None:
    folder = str(LAYOUTS[layout](tmp_path / "model"))
    small = str(tmp_path / "small")
    done = CliRunner().invoke(app, ["export", folder, "-o", small, "--format", "int8"])
    assert done.exit_code == 0, done.output
    difference = np.abs(probabilities(small) - probabilities(folder))
    assert 0 < difference.max() < 0.03
    with safe_open(Path(small) / "model.safetensors", "np") as held:
        dtypes = {name: held.get_slice(name).get_dtype() for name in held.keys()}  # noqa: SIM118
    matrices = {name for name in dtypes if f"{name}_scale" in dtypes}
    assert {dtypes[name] for name in matrices} == {"I8"}
    assert {dtypes[name] for name in dtypes if name not in matrices} == {"F16"}
    assert any("word_embeddings" in name or "tok_embeddings" in name for name in matrices)
    assert not any("classifier" in name for name in matrices)
    # found by its tensors, like any other
    assert ContextPruner.from_pretrained(small).labeler == Provence(small)


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    folder, small = str(tiny.open_provence(tmp_path / "model")), str(tmp_path / "small")
    run = CliRunner()
    done = run.invoke(app, ["export", folder, "-o", small, "--format", "int8", "--embedding-bits", "4"])
    assert done.exit_code == 2
    assert "tok_embeddings.weight: want columns in blocks of 32, got 16" in done.output.replace("\n", " ")
    assert not Path(small).exists()
    assert run.invoke(app, ["export", folder, "-o", small, "--format", "int8", "--embedding-bits", "5"]).exit_code == 2
    assert run.invoke(app, ["export", folder, "-o", small, "--format", "int8"]).exit_code == 0
    again = run.invoke(app, ["export", small, "-o", str(tmp_path / "again"), "--format", "int8"])
    assert "want a checkpoint in floating point" in again.output.replace("\n", " ")
    embedder = str(tiny.cross_encoder(tmp_path / "other"))
    other = run.invoke(app, ["export", embedder, "-o", str(tmp_path / "again"), "--format", "int8"])
    assert "want a Provence, XProvence or OpenProvence checkpoint" in other.output.replace("\n", " ")


def test_the_temperature_of_a_checkpoint_flattens_what_its_tokens_say(tmp_path: Path) -> None:
    folder = tiny.open_provence(tmp_path / "model")
    plain = probabilities(str(folder))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "temperature": 100}), "utf-8")
    flat = probabilities(str(folder))
    assert np.abs(flat - 0.5).max() < 0.05 < np.abs(plain - 0.5).max()
    (folder / "config.json").write_text(json.dumps({**config, "temperature": 0}), "utf-8")
    with pytest.raises(ValueError, match="temperature: want a number of at least 0.01"):
        probabilities(str(folder))
