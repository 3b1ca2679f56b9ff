"""int8 and ONNX against the float32 model, within the tolerances that the docs state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.cli import app
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.labelers.late_interaction import LateInteraction
from contextpruner.labelers.llmlingua2 import Llmlingua2
from contextpruner.labelers.provence import Provence
from contextpruner.labelers.token_nll import TokenNll
from contextpruner.models.onnx_export import export_onnx
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.tiny_models import save_tiny_model

QUESTION = "Who designed the dome?"
TEXTS = ("The dome was designed by Brunelleschi. It is 2½ tall.", "", "Who is baked? " * 30, "穹顶是谁设计的？")
DOCUMENTS = [SplitDocument(Document(text, title="A dome"), tuple(split(text))) for text in TEXTS]

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "provence": tiny.provence,
    "xprovence": tiny.xprovence,
    "open_provence": tiny.open_provence,
    "open_provence_bert": lambda folder: tiny.open_provence(folder, "bert"),
}
LABELERS = {
    "provence": Provence,
    "llmlingua2": Llmlingua2,
    "cross_encoder": CrossEncoder,
    "late_interaction": LateInteraction,
    "token_nll": TokenNll,
}


@pytest.mark.parametrize("name", LABELERS)
def test_int8_stays_near_float32(name: str, tmp_path: Path) -> None:
    folder = str(save_tiny_model(name, tmp_path))
    exact = LABELERS[name](folder).score(QUESTION, DOCUMENTS)
    rough = LABELERS[name](folder, precision="int8").score(QUESTION, DOCUMENTS)
    difference = np.abs(np.concatenate(rough.probabilities) - np.concatenate(exact.probabilities))
    assert 0 < difference.max() < 0.01


@pytest.mark.parametrize("name", LABELERS)
def test_int8_is_independent_of_company(name: str, tmp_path: Path) -> None:
    labeler = LABELERS[name](str(save_tiny_model(name, tmp_path)), precision="int8")
    if labeler.depends_on_batch:
        # what is known of a document whatever is asked hangs on nothing else
        for document, known in zip(DOCUMENTS, labeler.encode(DOCUMENTS) or [], strict=True):
            (alone_known,) = labeler.encode([document]) or [{}]
            assert known.keys() == alone_known.keys()
            for key, array in known.items():
                np.testing.assert_array_equal(alone_known[key], array)
        return
    together = labeler.score(QUESTION, DOCUMENTS)
    for index, document in enumerate(DOCUMENTS):
        alone = labeler.score(QUESTION, [document])
        np.testing.assert_array_equal(alone.probabilities[0], together.probabilities[index])


def test_int8_is_refused_on_a_gpu(tmp_path: Path) -> None:
    labeler = CrossEncoder(str(tiny.cross_encoder(tmp_path)), precision="int8", device="cuda")
    with pytest.raises(ValueError, match="int8 runs on the CPU: want device cpu, got cuda"):
        labeler.prepare()


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_exported_model_labels_as_the_checkpoint(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = LAYOUTS[name](tmp_path / "torch")
    target = export_onnx(Provence(str(folder), threshold=0.4).loaded, tmp_path / "made" / "onnx")
    pruner = ContextPruner.from_pretrained(str(target))
    own, other = Provence(str(folder), threshold=0.4), pruner.labeler
    # batches of other sizes and lengths than the one that was traced, with padding and without
    for batch_size in (1, 3, 64):
        one = Provence(str(target), batch_size=batch_size, pooling="probability_mean").score(QUESTION, DOCUMENTS)
        two = Provence(str(folder), pooling="probability_mean").score(QUESTION, DOCUMENTS)
        for mine, theirs in zip(one.probabilities, two.probabilities, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4)
        np.testing.assert_allclose(one.scores, two.scores, rtol=0, atol=1e-4)
    assert other.default_threshold == own.default_threshold
    elsewhere = own.loaded._replace(model=0, tokenizer=other.loaded.tokenizer, folder=target)
    assert other.loaded._replace(model=0) == elsewhere
    result = pruner.prune(QUESTION, [document.document for document in DOCUMENTS])
    assert result.labeler == f"provence:model={target}"


def test_exports_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = str(tiny.provence(tmp_path / "torch"))
    with pytest.raises(ValueError, match="want a float32 model of torch"):
        export_onnx(Provence(folder, precision="int8").loaded, tmp_path / "int8")
    done = CliRunner().invoke(app, ["export", folder, "-o", str(tmp_path / "onnx")])
    assert done.exit_code == 0, done.output
    exported = str(tmp_path / "onnx")
    with pytest.raises(ValueError, match="want a float32 model of torch"):
        export_onnx(Provence(exported).loaded, tmp_path / "again")
    with pytest.raises(ValueError, match="wants a known layout, float32 and the CPU"):
        Provence(exported, precision="int8").prepare()
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    (tmp_path / "onnx" / "config.json").write_text(json.dumps({**config, "layout": "other"}))
    with pytest.raises(ValueError, match="wants a known layout"):
        Provence(exported).prepare()
    (tmp_path / "onnx" / "model.onnx").unlink()
    (tmp_path / "onnx" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="want model.onnx, got none"):
        Provence(exported).prepare()


def test_half_precision_stays_near_float32(tmp_path: Path) -> None:
    folder = str(tiny.open_provence(tmp_path))
    exact = np.concatenate(Provence(folder).score(QUESTION, DOCUMENTS).probabilities)
    for precision, tolerance in (("bfloat16", 0.1), ("float16", 0.02)):
        rough = Provence(folder, precision=precision).score(QUESTION, DOCUMENTS)  # type: ignore[arg-type]
        assert np.abs(np.concatenate(rough.probabilities) - exact).max() < tolerance
        assert next(iter(torch.tensor(rough.scores))).dtype == torch.float32
