"""Model folders from elsewhere: safetensors alone, no code, complete; anything else is refused in one line."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_no_code, check_state, load_model, loading_errors
from prunekernels.io.module_folders import check_modules
from tests.kernels.io.conftest import DENSE, change


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_whole_model_is_loaded_and_heads_may_be_left_over(folder: Path) -> None:
    checkpoint = find_checkpoint(str(folder))
    model = load_model(checkpoint, "AutoModelForMaskedLM", torch.float32)
    assert torch.equal(model.state_dict()["cls.predictions.bias"], checkpoint.tensors()["cls.predictions.bias"])
    assert load_model(checkpoint, "AutoModel", may_miss=("pooler",)).config.hidden_size == 8
    # buffers that older files hold are no weights
    change(folder, lambda t: t.update({"bert.embeddings.position_ids": torch.arange(16)[None]}))
    load_model(Checkpoint(folder), "AutoModelForMaskedLM")
    # and a pooler that the model for a task has not
    change(folder, lambda t: t.update({"bert.pooler.dense.weight": torch.zeros(8, 8)}))
    load_model(Checkpoint(folder), "AutoModelForMaskedLM")


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (lambda t: t.pop(DENSE), "want all weights of the model, got none for .*layer.1.output.dense.weight"),
        (lambda t: t.update({DENSE: torch.zeros(9, 8)}), r"wants \[8, 8\] for .*, the weights have \[9, 8\]"),
        (lambda t: t.update({"bert.encoder.layer.2.output.dense.weight": t[DENSE] + 1}), "wants 2 layers, .* layer.2"),
        (lambda t: t.update({"bert.encoder.layer.0.output.dense.lora_A": torch.zeros(2)}), "have also .*lora_A"),
        (lambda t: t.update({"bert.encoder.layer.0.adapter.down.weight": torch.zeros(2)}), "have also .*adapter"),
        (lambda t: t.update({"bert.embeddings.word_embeddings.scale": torch.zeros(2)}), "have also .*scale"),
    ],
)
@pytest.mark.parametrize("automatic", ["AutoModel", "AutoModelForMaskedLM"])
def test_weights_that_do_not_fit_are_refused(folder: Path, edited: Callable, message: str, automatic: str) -> None:
    change(folder, edited)
    with pytest.raises(ValueError, match=message.replace(" layer.2", ".*layer.2")) as told:
        load_model(Checkpoint(folder), automatic, may_miss=("pooler",))
    assert str(folder) in str(told.value)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("size", [0, 3, 100, -100, -1])
def test_half_a_download_is_told_by_its_name(folder: Path, size: int) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:size])
    for look in (lambda c: load_model(c, "AutoModel"), lambda c: c.shapes, lambda c: c.tensors()):
        with pytest.raises(ValueError, match=r"model\.safetensors: want whole safetensors, got a broken file"):
            look(Checkpoint(folder))


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    evil = pickle.dumps(type("Evil", (), {"__reduce__": lambda self: (os.mkdir, (str(ran),))})())
    for name in ("pytorch_model.bin", "model.pt", "model.ckpt"):
        (folder / name).write_bytes(evil)
    load_model(find_checkpoint(str(folder)), "AutoModelForMaskedLM")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="want safetensors weights, got model.ckpt, a pickle, which is never read"):
        load_model(find_checkpoint(str(folder)), "AutoModelForMaskedLM")
    assert not ran.exists()


def test_names_in_an_index_are_files_of_the_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "model.safetensors", tmp_path / "other.safetensors")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    names = load_file(folder / "model-1.safetensors")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "model-1.safetensors")}))
    assert Checkpoint(folder).weight_files == [folder / "model-1.safetensors"]
    for name in ("../other.safetensors", str(tmp_path / "other.safetensors"), 3, None):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(ValueError, match="weight_map: want a name"):
            _ = Checkpoint(folder).weight_files
    index.write_text(json.dumps({"weight_map": {"a": "model.bin"}}))
    with pytest.raises(ValueError, match="want names of safetensors, got 'model.bin'"):
        _ = Checkpoint(folder).weight_files
    index.write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    with pytest.raises(ValueError, match="want safetensors weights, got no model-2.safetensors"):
        _ = Checkpoint(folder).weight_files


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Evil"}, "model_type": "evil"}, "got 'evil': its own code is never run"),
        ({"attn_implementation": "stranger/kernel"}, "attn_implementation: want one of transformers' own"),
        ({"_attn_implementation": {"text_config": "a/b@main:c"}}, "want one of transformers' own"),
        ({"sub": [{"experts_implementation": "stranger/kernel"}]}, "want one of transformers' own"),
        ({"transformers_weights": "other.safetensors"}, "names its own file of weights"),
    ],
)
def test_settings_that_ask_for_code_are_refused(folder: Path, fields: dict[str, object], message: str) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')\n")
    edit(folder / "config.json", **fields)
    with pytest.raises(ValueError, match=message):
        load_model(Checkpoint(folder), "AutoModel", may_miss=("pooler",))
    # code beside a model that transformers has is left alone
    kept = {"auto_map": {"AutoModel": "evil.Evil"}, "model_type": "bert"}
    edit(folder / "config.json", **dict.fromkeys(fields) | kept)
    check_no_code(Checkpoint(folder))


def test_an_adapter_of_another_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "stranger/model"}')
    for check in (check_modules, lambda f: load_model(Checkpoint(f), "AutoModel")):
        with pytest.raises(ValueError, match="want whole weights, got an adapter"):
            check(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not JSON"),
        ("[]", "wants an object"),
        ("[" * 20_000, "brackets in brackets"),
        (None, "got none"),
    ],
)
def test_a_config_that_is_none_is_one_line(folder: Path, text: str | None, message: str) -> None:
    (folder / "config.json").write_text(text) if text is not None else (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=message) as told:
        load_model(Checkpoint(folder), "AutoModel")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    "fields", [{"num_attention_heads": 0}, {"hidden_size": -1}, {"hidden_act": "none"}, {"num_hidden_layers": "x"}]
)
def test_settings_without_sense_are_one_line(folder: Path, fields: dict[str, object]) -> None:
    edit(folder / "config.json", **fields)
    with pytest.raises(ValueError, match="want a model that transformers can load") as told:
        load_model(Checkpoint(folder), "AutoModel")
    assert str(told.value).startswith(str(folder))
    assert len(str(told.value).splitlines()) == 1


def test_a_missing_package_stays_an_import_error() -> None:
    with pytest.raises(ImportError, match="no tokens"), loading_errors("here", "a tokenizer"):
        raise ImportError("no tokens")
    with (
        pytest.raises(ValueError, match=r"^here: want a tokenizer: KeyError \[\"'k'\"\]$"),
        loading_errors("here", "a tokenizer"),
    ):
        raise KeyError("k")


def test_a_state_of_our_own_is_loaded_whole_or_not_at_all() -> None:
    module = torch.nn.Linear(2, 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    good = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    cases = [
        ({"weight": good["weight"]}, "here: want all weights of the model, got none for bias"),
        ({**good, "more": good["bias"]}, "here: want only the model's weights, got also 'more'"),
        ({**good, "bias": torch.ones(4)}, r"here: want bias of shape \[3\], got \[4\]"),
    ]
    for tensors, message in cases:
        with pytest.raises(ValueError, match=message):
            check_state("here", module, tensors)
        assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    check_state("here", module, good)
    assert torch.equal(module.weight, good["weight"])


def test_a_name_that_is_no_folder_is_one_line() -> None:
    with pytest.raises(ValueError, match="want the folder or hub id of a checkpoint, got 'no/such-model'") as told:
        find_checkpoint("no/such-model")
    assert len(str(told.value).splitlines()) == 1
