"""Loading: only safetensors, only complete ones, no code of a folder, tokenizers and parts found elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from contextpruner import ContextPruner, Document, Labeler, SplitDocument, split
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.labelers.llmlingua2 import Llmlingua2
from contextpruner.labelers.provence import Provence
from contextpruner.labelers.token_nll import TokenNll
from tests.contextpruner import tiny_checkpoints as tiny

Tensors = dict[str, torch.Tensor]

QUESTION = "Who designed the dome?"
TEXT = "The dome was designed by Brunelleschi.  It is 2½ tall.\r\nWho is baked from flour?"


# settings of a model as transformers 4.57 wrote them, with what it ran and generated with
OLD = {
    "model_type": "modernbert",
    "transformers_version": "4.57.1",
    "torch_dtype": "bfloat16",
    "return_dict": False,
    "torchscript": False,
    "_attn_implementation": "flash_attention_2",
    "_attn_implementation_autoset": True,
    "max_length": 20,
    "do_sample": False,
    "pruned_heads": {},
    "tf_legacy_loss": False,
    "use_bfloat16": False,
    "position_embedding_type": "absolute",
    "reference_compile": None,
    "repad_logits_with_grad": False,
    "global_rope_theta": 100.0,
    "local_rope_theta": 30.0,
    "global_attn_every_n_layers": 2,
}


def cut(text: str) -> list[SplitDocument]:
    return [SplitDocument(Document(text), tuple(split(text)))]


def edit(folder: Path, **fields: object) -> Path:
    """Change fields of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


def probabilities(labeler: Labeler) -> np.ndarray:
    return labeler.score(QUESTION, cut(TEXT)).probabilities[0]


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


def test_a_folder_without_a_tokenizer_names_one(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.xprovence(tmp_path / "bare")
    aside = tmp_path / "aside"
    aside.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(aside / name)
    # transformers makes up an empty tokenizer where it finds none
    with pytest.raises(ValueError, match="want a tokenizer .*, got none"):
        Provence(str(folder)).prepare()
    with pytest.raises(ValueError, match="got 'no/such-tokenizer': no such folder here, and of the hub: "):
        Provence(str(edit(folder, _name_or_path="no/such-tokenizer"))).prepare()
    # a path in a folder from elsewhere is one of its maker's disk
    for path in (str(aside), "../aside", "C:\\aside"):
        with pytest.raises(ValueError, match=r"bare: want a tokenizer .*, and a path in config.json is not followed"):
            Provence(str(edit(folder, _name_or_path=path))).prepare()
    # a hub id may be a folder's name here
    monkeypatch.chdir(tmp_path)
    edit(folder, tokenizer_name_or_path=str(tmp_path), _name_or_path="aside")
    there = Provence(str(folders["xprovence"])).score(QUESTION, cut(TEXT))
    np.testing.assert_allclose(Provence(str(folder)).score(QUESTION, cut(TEXT)).scores, there.scores, atol=1e-6)


@pytest.mark.parametrize("write", [tiny.open_provence, tiny.cross_encoder])
def test_a_tokenizer_that_cuts_and_pads_by_itself_does_neither(write: Callable[[Path], Path], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    plain, folder = write(tmp_path / "plain"), write(tmp_path / "short")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    got, wanted = (ContextPruner.from_pretrained(str(path)).labeler for path in (folder, plain))
    np.testing.assert_allclose(probabilities(got), probabilities(wanted), atol=1e-6)


def test_of_a_hub_repository_only_what_is_read_is_fetched() -> None:
    from huggingface_hub.utils import filter_repo_objects

    from prunekernels.io.checkpoint import UNWANTED, WANTED

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


@pytest.mark.parametrize(
    ("write", "labeler", "fields", "said"),
    [
        (tiny.cross_encoder, CrossEncoder, {"num_hidden_layers": 1}, r"wants 1 layers, the weights have .*layer\.1\."),
        (tiny.provence, Provence, {"num_hidden_layers": 1}, r"wants 1 layers, the weights have .*layer\.1\."),
        (tiny.cross_encoder, CrossEncoder, {"intermediate_size": 64}, r"wants \[64\] for .*dense.bias, .* have \[32\]"),
        (
            tiny.provence,
            Provence,
            {"num_labels": 2, "id2label": {"0": "a", "1": "b"}},
            r"wants \[2\] for classifier.bias",
        ),
        (tiny.causal_lm, TokenNll, {"num_hidden_layers": 3}, r"got none for model\.layers\.2\."),
    ],
)
def test_weights_that_are_not_those_of_the_config_are_refused_by_name(
    write: Callable[[Path], Path], labeler: type, fields: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        labeler(str(edit(write(tmp_path), **fields))).prepare()


def test_settings_of_an_older_release_are_read_and_how_it_ran_is_not(tmp_path: Path) -> None:
    folder, plain = tiny.open_provence(tmp_path / "old"), tiny.open_provence(tmp_path / "plain")
    base = json.loads((plain / "config.json").read_text())["base_model_config"]
    newer = ("rope_parameters", "layer_types", "dtype")
    edit(folder, base_model_config={name: value for name, value in base.items() if name not in newer} | OLD)
    before = probabilities(Provence(str(plain)))
    thetas = {"full_attention": 100.0, "sliding_attention": 30.0}
    base["rope_parameters"] = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()}
    wanted = probabilities(Provence(str(edit(plain, base_model_config=base))))
    assert np.abs(wanted - before).max() > 0.01
    np.testing.assert_allclose(probabilities(Provence(str(folder))), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("write", "labeler"),
    [
        (tiny.provence, Provence),
        (tiny.xprovence, Provence),
        (tiny.open_provence, Provence),
        (tiny.cross_encoder, CrossEncoder),
        (tiny.llmlingua2, Llmlingua2),
        (tiny.causal_lm, TokenNll),
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_in_half_precision_are_run_in_float32(
    write: Callable[[Path], Path], labeler: type, dtype: str, tmp_path: Path
) -> None:
    half, full = write(tmp_path / "half"), write(tmp_path / "full")
    tensors = {name: value.to(getattr(torch, dtype)) for name, value in load_file(full / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", {"format": "pt"})
    save_file({name: value.float() for name, value in tensors.items()}, full / "model.safetensors", {"format": "pt"})
    edit(half, dtype=dtype)
    # "decision_mean" would hide small differences
    fields = {"pooling": "probability_mean"} if labeler is Provence else {}
    np.testing.assert_allclose(
        probabilities(labeler(str(half), **fields)), probabilities(labeler(str(full), **fields)), atol=1e-6
    )


def test_of_weights_in_two_forms_the_first_name_is_read(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tiny.open_provence(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file({name: value * 0 for name, value in tensors.items()}, folder / "z.fp16.safetensors")
    wanted = probabilities(Provence(str(folders["open_provence"])))
    np.testing.assert_allclose(probabilities(Provence(str(folder))), wanted, atol=1e-6)


@pytest.mark.parametrize("threshold", [True, 5, -0.1, "0.3"])
def test_a_threshold_that_is_none_is_refused(threshold: object, tmp_path: Path) -> None:
    folder = tiny.open_provence(tmp_path, default_threadshold=threshold)
    with pytest.raises(ValueError, match=rf"config.json wants a threshold in \[0, 1\], got {threshold!r}"):
        Provence(str(folder)).prepare()
