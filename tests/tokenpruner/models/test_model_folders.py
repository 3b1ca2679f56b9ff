"""Model folders of strangers: complete, from safetensors and without code, or refused in one line that names them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")

from tests.tokenpruner.saved_llava import save  # noqa: E402
from tokenpruner.models import loading  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def refused(folder: Path, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        loading.load(str(folder), "cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def change(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_whole_folder_is_loaded(folder: Path) -> None:
    loaded = loading.load(str(folder), "cpu")
    found, wanted = loaded.model.state_dict(), weights(folder)
    assert len(found) == len(wanted)
    assert not loaded.model.training


@pytest.mark.parametrize("part", ["lm_head", "multi_modal_projector.linear_1.weight", "vision_tower", "layers.1.mlp"])
def test_a_missing_weight_is_not_made_up(folder: Path, part: str) -> None:
    tensors = weights(folder)
    name = next(name for name in tensors if part in name)
    del tensors[name]
    write(folder, tensors)
    refused(folder, "want all weights of the model, got none for")


def test_weights_of_layers_that_are_not_there(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", text_config=config["text_config"] | {"num_hidden_layers": 2})
    refused(folder, "the weights have also")


def test_weights_of_another_size(folder: Path) -> None:
    tensors = weights(folder)
    name = next(name for name in tensors if "lm_head" in name)
    tensors[name] = tensors[name][:, :-1].contiguous()
    write(folder, tensors)
    refused(folder, "the weights have")


def test_a_file_that_is_cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    refused(folder, "want whole safetensors, got a broken file")


def test_a_pickle_is_never_read(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "a pickle, which is never read")


@pytest.mark.parametrize(
    ("name", "why"),
    [("config.json", "its own code is never run"), ("processor_config.json", "want the processor")],
)
def test_code_of_a_folder_is_not_run(folder: Path, name: str, why: str) -> None:
    ran = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    code = {"AutoConfig": "evil.Config", "AutoProcessor": "evil.Processor", "AutoModelForImageTextToText": "evil.Model"}
    change(folder / name, auto_map=code, **({"model_type": "evil"} if name == "config.json" else {}))
    if name != "config.json":
        # as if transformers had none of its own
        change(folder / name, processor_class="EvilProcessor")
    refused(folder, f"{why}|want a vision-language model, got one of type evil")
    assert not ran.exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": 7}', "[" * 20_000])
def test_settings_that_make_no_sense(folder: Path, name: str, content: str) -> None:
    if not (folder / name).is_file():
        pytest.skip("written under another name by this release of transformers")
    if name in ("tokenizer_config.json", "processor_config.json") and content == '{"model_type": 7}':
        pytest.skip("what is not known there is passed over")
    (folder / name).write_text(content)
    refused(folder, "want|is not JSON")


def test_a_tokenizer_of_more_words_than_the_model_knows(folder: Path) -> None:
    loaded = loading.load(str(folder), "cpu")
    loaded.model.set_input_embeddings(torch.nn.Embedding(6, 32))
    from PIL import Image

    with pytest.raises(ValueError, match="want tokens below 6, which the model knows, got 7 of its tokenizer"):
        loading.encode(loaded, [Image.new("RGB", (20, 20))], "what is this")
