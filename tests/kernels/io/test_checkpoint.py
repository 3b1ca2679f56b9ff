"""Model folders from elsewhere: safetensors alone, no code, complete, and known by everything that is loaded."""

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertForMaskedLM, T5Config, T5EncoderModel

from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import (
    check_no_code,
    check_sentence_transformer,
    check_state,
    load_model,
    loading_errors,
)
from prunekernels.io.module_folders import check_modules, module_folders

TYPE = "sentence_transformers.models."


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def modules(folder: Path, *kinds: str) -> None:
    """Write a modules.json with a Transformer in the folder itself and `kinds` in folders of their own."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": TYPE + "Transformer"}]
    for number, kind in enumerate(kinds, 1):
        path = f"{number}_{kind.rpartition('.')[2]}"
        listed.append({"idx": number, "name": str(number), "path": path, "type": kind})
        (folder / path).mkdir(exist_ok=True)
        (folder / path / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps(listed))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    return folder


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


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


DENSE = "bert.encoder.layer.1.output.dense.weight"


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


def test_everything_that_is_loaded_is_in_the_identity(folder: Path) -> None:
    modules(folder, TYPE + "Pooling", TYPE + "Dense", TYPE + "Router")
    (folder / "3_Router" / "router_config.json").write_text(json.dumps({"types": {"query": TYPE + "Dense"}}))
    (folder / "3_Router" / "query").mkdir()
    for place in (folder / "2_Dense", folder / "3_Router" / "query"):
        save_file({"linear.weight": torch.ones(2, 2)}, place / "model.safetensors")
        (place / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "config_sentence_transformers.json").write_text("{}")
    first = Checkpoint(folder).identity
    assert first.startswith("blake2b ")
    assert len(first) == len("blake2b ") + 32
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "generation_config.json")
    assert {path.relative_to(folder) for path in Checkpoint(folder).loaded_files} == {
        path.relative_to(folder) for path in files
    }
    for path in files:
        kept = path.read_bytes()
        # one bit, where both readings are still of the same form
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]) if path.suffix == ".safetensors" else kept + b" ")
        assert Checkpoint(folder).identity != first, path
        path.write_bytes(kept)
    for name in ("README.md", "pytorch_model.bin", "generation_config.json", "evil.py"):
        (folder / name).write_text("other")
    moved = folder.rename(folder.with_name("elsewhere"))
    assert Checkpoint(moved).identity == first
    snapshot = folder.parent / "snapshots" / ("a" * 40)
    shutil.copytree(moved, snapshot)
    assert Checkpoint(snapshot).identity == f"commit {'a' * 40}"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("evil.Evil", "want modules of sentence-transformers, got 'evil.Evil'"),
        ("sentence_transformers_evil.Dense", "want modules of sentence-transformers"),
        (TYPE + "WordEmbeddings", "want modules of sentence-transformers, got '.*WordEmbeddings'"),
        ("sentence_transformers.util.import_from_string", "want modules of sentence-transformers"),
    ],
)
def test_only_safe_modules_of_the_library_are_let_through(folder: Path, kind: str, message: str) -> None:
    modules(folder, kind)
    (folder / "evil.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(ValueError, match=message):
        check_sentence_transformer(Checkpoint(folder))
    # a router is no way around it
    modules(folder, TYPE + "Router")
    (folder / "1_Router" / "router_config.json").write_text(json.dumps({"types": {"query": kind}}))
    with pytest.raises(ValueError, match=message):
        check_sentence_transformer(Checkpoint(folder))


@pytest.mark.parametrize("path", ["../model", "/etc", "a/../../b", "C:\\x", "x\0"])
def test_folders_of_modules_are_inside(folder: Path, path: str) -> None:
    (folder / "modules.json").write_text(json.dumps([{"path": path, "type": TYPE + "Dense"}]))
    with pytest.raises(ValueError, match="modules.json: path: want a path inside"):
        module_folders(folder)
    modules(folder, TYPE + "Router")
    (folder / "1_Router" / "router_config.json").write_text(json.dumps({"types": {path: TYPE + "Dense"}}))
    with pytest.raises(ValueError, match="router_config.json: types: want a path inside"):
        module_folders(folder)


def test_a_router_that_leads_to_itself_ends(folder: Path) -> None:
    modules(folder, TYPE + "Router")
    (folder / "1_Router" / "router_config.json").write_text(json.dumps({"types": {".": TYPE + "Router"}}))
    with pytest.raises(ValueError, match="want at most 4 routers in routers"):
        check_modules(folder)


def test_a_modules_pickle_is_refused_even_beside_other_safetensors(folder: Path) -> None:
    modules(folder, TYPE + "Dense")
    (folder / "1_Dense" / "pytorch_model.bin").write_bytes(b"x")
    save_file({"linear.weight": torch.ones(2, 2)}, folder / "1_Dense" / "other.safetensors")
    with pytest.raises(ValueError, match="1_Dense: want safetensors weights, got pytorch_model.bin, a pickle"):
        check_modules(folder)
    save_file({"linear.weight": torch.ones(2, 2)}, folder / "1_Dense" / "model.safetensors")
    check_modules(folder)
    (folder / "1_Dense" / "config.json").write_text('{"activation_function": "torch.hub.load"}')
    with pytest.raises(ValueError, match="activation_function: want one of torch.nn, got 'torch.hub.load'"):
        check_modules(folder)
    for path in folder.glob("vocab*"):
        path.unlink()
    (folder / "1_Dense" / "config.json").write_text('{"activation_function": "torch.nn.modules.activation.Tanh"}')
    with pytest.raises(ValueError, match="want a tokenizer, got none"):
        check_modules(folder)


def test_a_sentence_transformer_whose_weights_would_be_made_up_is_refused(folder: Path) -> None:
    modules(folder, TYPE + "Pooling")
    check_sentence_transformer(Checkpoint(folder))
    change(folder, lambda t: t.pop(DENSE))
    # the library itself takes it, with random weights
    AutoModel.from_pretrained(folder)
    with pytest.raises(ValueError, match="want all weights of the model"):
        check_sentence_transformer(Checkpoint(folder))
    (folder / "modules.json").unlink()
    with pytest.raises(ValueError, match="want all weights of the model"):
        check_sentence_transformer(Checkpoint(folder))


def test_the_encoder_of_t5_is_whole_without_a_decoder(tmp_path: Path) -> None:
    T5EncoderModel(
        T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)  # fmt: skip
    (tmp_path / "vocab.txt").write_text("a\n")
    modules(tmp_path, TYPE + "Pooling")
    check_sentence_transformer(Checkpoint(tmp_path))


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


def test_edited_folders_give_a_model_or_one_line(folder: Path) -> None:
    modules(folder, TYPE + "Pooling", TYPE + "Dense")
    save_file({"linear.weight": torch.ones(2, 2)}, folder / "2_Dense" / "model.safetensors")
    rng, told = random.Random(0), []
    files = [path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")]
    parts = [b"", b"[", b"{", b'"', b"-1", b"null", b"1e9", b"\xff", b"\\ud800", b'"../x"', b"\0", b"true", b",", b"[]"]
    for number in range(300):
        path = rng.choice(files)
        kept = path.read_bytes()
        # the header of safetensors is in the first hundreds of bytes
        edited, end = bytearray(kept), min(len(kept), 600)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(end)
            edited[at : at + rng.randint(0, 6)] = rng.choice(parts)
        path.write_bytes(edited)
        try:
            checkpoint = find_checkpoint(str(folder))
            _ = checkpoint.identity, checkpoint.shapes
            check_modules(folder)
            if number % 3 == 0:
                load_model(checkpoint, "AutoModel", may_miss=("pooler",))
        except ValueError as error:
            told.append(str(error))
        path.write_bytes(kept)
    assert len(told) > 100
    assert all(str(folder) in line and len(line.splitlines()) == 1 for line in told)
