"""sentence-transformers folders: no code and no pickle of theirs, float32, and every linear layer of a ColBERT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.labelers.bi_encoder import BiEncoder
from contextpruner.labelers.late_interaction import LateInteraction
from tests.contextpruner.labelers.scale_of_cosines import on_one_scale

TEXT = "The dome was designed by Brunelleschi. It is tall."
DOCUMENTS = [SplitDocument(Document(TEXT), tuple(split(TEXT)))]


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder, to be changed."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "model"))


def dense(folder: Path, name: str, linear: dict[str, torch.Tensor], **config: object) -> dict[str, str]:
    """Write a Dense module; returns its line of modules.json."""
    (folder / name).mkdir()
    said = {"in_features": 16, "activation_function": "torch.nn.modules.linear.Identity", **config}
    (folder / name / "config.json").write_text(json.dumps(said))
    save_file({f"linear.{key}": value for key, value in linear.items()}, folder / name / "model.safetensors")
    return {"path": name, "type": "pylate.models.Dense.Dense"}


def listed(folder: Path, *modules: dict[str, str], pooling: bool = False) -> Path:
    """Let modules.json list the transformer, perhaps its pooling, and `modules`."""
    path = folder / "modules.json"
    own = [item for item in json.loads(path.read_text()) if pooling or not item["type"].endswith("Pooling")]
    path.write_text(json.dumps([*own, *modules]))
    return folder


def test_a_bi_encoder_never_reads_a_pickle(folder: Path) -> None:
    module = dense(folder, "2_Dense", {"weight": torch.eye(16)})
    listed(folder, {**module, "type": "sentence_transformers.models.Dense"}, pooling=True)
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"2_Dense: want safetensors weights, got pytorch_model.bin, a pickle"):
        BiEncoder(str(folder)).prepare()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"model: want safetensors weights, got pytorch_model.bin, a pickle"):
        BiEncoder(str(folder)).prepare()


def test_a_bi_encoder_never_runs_a_folders_code(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Module: ...\n")
    listed(folder, {"path": "3_Evil", "type": "evil.Module"}, pooling=True)
    with pytest.raises(ValueError, match=r"want modules of sentence-transformers, got 'evil\.Module'"):
        ContextPruner.from_pretrained(str(folder)).prune("who?", [TEXT], top_k=1)
    assert not ran.exists()
    listed(folder, {"path": "../model", "type": "sentence_transformers.models.Dense"}, pooling=True)
    with pytest.raises(ValueError, match=r"modules.json: path: want a path inside"):
        BiEncoder(str(folder)).prepare()


def test_a_bi_encoder_without_a_tokenizer_or_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="want the folder or hub id of a checkpoint, got 'no/such-encoder'"):
        BiEncoder("no/such-encoder").prepare()
    for path in (*folder.glob("tokenizer*"), *folder.glob("vocab*")):
        path.unlink()
    with pytest.raises(ValueError, match="want a tokenizer, got none"):
        BiEncoder(str(folder)).prepare()


def test_a_bi_encoder_in_half_precision_is_run_in_float32(folder: Path, tmp_path: Path) -> None:
    tensors = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    rounded = Path(shutil.copytree(folder, tmp_path / "rounded"))
    save_file({name: value.float() for name, value in tensors.items()}, rounded / "model.safetensors", {"format": "pt"})
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    wanted, got = (BiEncoder(str(path)).score("who?", DOCUMENTS).probabilities[0] for path in (rounded, folder))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_bi_encoder_uses_the_prompts_and_the_pooling_of_its_folder(folder: Path, pooling: str) -> None:
    path = folder / "config_sentence_transformers.json"
    prompts = {"query": "ask: ", "document": "read: "}
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))
    (settings,) = folder.glob("*_Pooling/config.json")
    said = {"pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": pooling == "max"}
    settings.write_text(json.dumps({"word_embedding_dimension": 16, **said}))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vector(text: str) -> np.ndarray:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].double()
        pooled = (hidden.mean(0) if pooling == "mean" else hidden.amax(0)).numpy()
        return pooled / np.linalg.norm(pooled)

    got = BiEncoder(str(folder)).score("who?", DOCUMENTS).probabilities[0]
    units = [text.strip() for text in DOCUMENTS[0].texts]
    wanted = [vector("ask: who?") @ vector(f"read: {text}") for text in units]
    np.testing.assert_allclose(got, on_one_scale(wanted), atol=1e-5)


def test_static_embeddings_are_a_bi_encoder_without_a_config_json(tiny_encoder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    backend = AutoTokenizer.from_pretrained(tiny_encoder).backend_tokenizer
    draw = np.random.default_rng(0).standard_normal((backend.get_vocab_size(), 8)).astype(np.float32)
    made = SentenceTransformer(modules=[StaticEmbedding(backend, embedding_weights=draw)], device="cpu")
    made.save(str(tmp_path / "static"))
    pruner = ContextPruner.from_pretrained(str(tmp_path / "static"))
    assert isinstance(pruner.labeler, BiEncoder)
    vectors = made.encode(["who?", *(text.strip() for text in DOCUMENTS[0].texts)], normalize_embeddings=True)
    got = pruner.labeler.score("who?", DOCUMENTS).probabilities[0]
    np.testing.assert_allclose(got, on_one_scale(vectors[1:] @ vectors[0]), atol=1e-6)


@torch.no_grad()
def test_every_linear_layer_of_a_colbert_is_applied(folder: Path, tiny_encoder: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    first = {"weight": torch.randn(12, 16, generator=draw), "bias": torch.randn(12, generator=draw)}
    second = {"weight": torch.randn(4, 12, generator=draw)}
    listed(folder, dense(folder, "1_Dense", first), dense(folder, "2_Dense", second))
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_encoder), AutoModel.from_pretrained(tiny_encoder).eval()

    def vectors(text: str) -> np.ndarray:
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]
        hidden = (hidden @ first["weight"].T + first["bias"]) @ second["weight"].T
        return (hidden / hidden.norm(dim=1, keepdim=True)).double().numpy()

    pruner = ContextPruner.from_pretrained(str(folder))
    assert isinstance(pruner.labeler, LateInteraction)
    document = SplitDocument(Document("It is tall."), tuple(split("It is tall.")))
    got = pruner.labeler.score("who?", [document]).probabilities[0]
    largest = (vectors("who?") @ vectors("It is tall.").T).max(1)
    # letters, and a mark that says little
    weights = np.array([*[1.0] * (len(largest) - 1), 0.5])
    np.testing.assert_allclose(got, on_one_scale([largest @ weights / weights.sum()]), atol=1e-5)


def test_a_layer_behind_a_pooling_is_not_for_tokens(folder: Path, tiny_encoder: Path) -> None:
    module = dense(folder, "2_Dense", {"weight": torch.eye(16)[:3]})
    listed(folder, {**module, "type": "sentence_transformers.models.Dense"}, pooling=True)
    got, wanted = (
        LateInteraction(str(path)).score("who?", DOCUMENTS).probabilities[0] for path in (folder, tiny_encoder)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "config", [{"activation_function": "torch.nn.modules.activation.Tanh"}, {"use_residual": True}]
)
def test_a_layer_that_is_not_linear_is_refused(folder: Path, config: dict[str, object]) -> None:
    listed(folder, dense(folder, "1_Dense", {"weight": torch.eye(16)}, **config))
    with pytest.raises(ValueError, match="want a Dense without activation or residual"):
        LateInteraction(str(folder)).prepare()
