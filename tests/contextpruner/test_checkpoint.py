"""Loading: only safetensors, only complete ones, no code of a folder, tokenizers and parts found elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from contextpruner import ContextPruner, Document, SplitDocument, split
from contextpruner.labelers.provence import Provence
from tests.contextpruner import tiny_checkpoints as tiny

Tensors = dict[str, torch.Tensor]

QUESTION = "Who designed the dome?"
TEXT = "The dome was designed by Brunelleschi.  It is 2½ tall.\r\nWho is baked from flour?"


def cut(text: str) -> list[SplitDocument]:
    return [SplitDocument(Document(text), tuple(split(text)))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    writers = {"provence": tiny.provence, "xprovence": tiny.xprovence, "open_provence": tiny.open_provence}
    return {name: write(root / name) for name, write in writers.items()}


def test_only_complete_safetensors_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    def variant(name: str, change: Callable[[Tensors], Tensors]) -> str:
        folder = tiny.provence(tmp_path / name)
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
        return str(folder)

    def without(key: str) -> Callable[[Tensors], Tensors]:
        return lambda tensors: {name: value for name, value in tensors.items() if name != key}

    with pytest.raises(ValueError, match="got none for classifier.weight"):
        Provence(variant("rank", without("classifier.weight"))).prepare()
    with pytest.raises(ValueError, match="got none for token_classifier.bias"):
        Provence(variant("head", without("token_classifier.bias"))).prepare()
    with pytest.raises(ValueError, match="token_classifier or pruning_head.classifier"):
        Provence(variant("none", without("token_classifier.weight"))).prepare()
    pickled = tiny.provence(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"got pytorch_model.bin, a pickle, which is never read"):
        Provence(str(pickled)).prepare()
    with pytest.raises(ValueError, match="want a checkpoint with a config.json"):
        Provence(str(tmp_path)).prepare()
    config = folders["open_provence"] / "config.json"
    broken = tiny.open_provence(tmp_path / "broken")
    said = json.loads(config.read_text())
    del said["base_model_config"]
    (broken / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match="wants a base_model_config"):
        Provence(str(broken)).prepare()


def test_weights_in_parts_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.provence(tmp_path / "parts")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (index % 2)}-of-00002.safetensors" for index, name in enumerate(names)}
    for part in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == part}, folder / part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    there = Provence(str(folders["provence"])).score(QUESTION, cut(TEXT))
    # elsewhere in memory, other vector instructions may be at work
    np.testing.assert_allclose(Provence(str(folder)).score(QUESTION, cut(TEXT)).scores, there.scores, atol=1e-6)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match="got no model-00002-of-00002.safetensors"):
        Provence(str(folder)).prepare()


def test_no_code_of_a_folder_is_run(tmp_path: Path) -> None:
    for name, write in (("provence", tiny.provence), ("open", tiny.open_provence)):
        folder = write(tmp_path / name)
        ran = tmp_path / f"{name}-ran"
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config", "AutoTokenizer": "evil.Tokenizer"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: ...\nclass Config: ...\n")
        ContextPruner.from_pretrained(str(folder)).prune(QUESTION, [TEXT])
        assert not ran.exists()


def test_a_folder_without_a_tokenizer_names_one(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.xprovence(tmp_path / "bare")
    aside = tmp_path / "aside"
    aside.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(aside / name)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": str(aside)}))
    there = Provence(str(folders["xprovence"])).score(QUESTION, cut(TEXT))
    np.testing.assert_allclose(Provence(str(folder)).score(QUESTION, cut(TEXT)).scores, there.scores, atol=1e-6)


def test_of_a_hub_repository_only_what_is_read_is_fetched() -> None:
    from huggingface_hub.utils import filter_repo_objects

    from contextpruner.checkpoint import UNWANTED, WANTED

    wanted = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "spiece.model",
        "vocab.txt",
        "1_Pooling/config.json",
    ]
    wanted += ["2_Dense/model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    others = ["modeling_provence.py", "pytorch_model.bin", "onnx/model.onnx", "openvino/config.json", "README.md"]
    others += ["sub/model.safetensors"]
    got = filter_repo_objects([*wanted, *others], allow_patterns=WANTED, ignore_patterns=UNWANTED)
    assert [*got] == wanted
