"""Folders of sentence-transformers: safe modules alone, inside and complete, known by everything that is loaded."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModel, T5Config, T5EncoderModel

from prunekernels.io.checkpoint import Checkpoint, find_checkpoint
from prunekernels.io.model_loading import check_sentence_transformer, load_model
from prunekernels.io.module_folders import check_modules, module_folders
from tests.kernels.io.conftest import DENSE, change

TYPE = "sentence_transformers.models."


def modules(folder: Path, *kinds: str) -> None:
    """Write a modules.json with a Transformer in the folder itself and `kinds` in folders of their own."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": TYPE + "Transformer"}]
    for number, kind in enumerate(kinds, 1):
        path = f"{number}_{kind.rpartition('.')[2]}"
        listed.append({"idx": number, "name": str(number), "path": path, "type": kind})
        (folder / path).mkdir(exist_ok=True)
        (folder / path / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps(listed))


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
