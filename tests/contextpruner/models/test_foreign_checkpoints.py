"""Model folders from elsewhere: complete and without code, or one line that names the place, in every labeler."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contextpruner import Labeler
from contextpruner.labelers.bi_encoder import BiEncoder
from contextpruner.labelers.cross_encoder import CrossEncoder
from contextpruner.labelers.late_interaction import LateInteraction
from contextpruner.labelers.llmlingua2 import Llmlingua2
from contextpruner.labelers.provence import Provence
from contextpruner.labelers.token_nll import TokenNll
from tests.contextpruner import tiny_checkpoints as tiny
from tests.contextpruner.tiny_models import save_tiny_model

# a part of the name of a weight of a layer, and the labeler that reads it
WRITERS: dict[str, tuple[Callable[[Path], Path], type[Labeler]]] = {
    "provence": (tiny.provence, Provence),
    "xprovence": (tiny.xprovence, Provence),
    "open_provence": (tiny.open_provence, Provence),
    "cross_encoder": (tiny.cross_encoder, CrossEncoder),
    "llmlingua2": (tiny.llmlingua2, Llmlingua2),
    "late_interaction": (lambda folder: save_tiny_model("late_interaction", folder), LateInteraction),
    "token_nll": (tiny.causal_lm, TokenNll),
}


@pytest.fixture(params=[*WRITERS, "bi_encoder"])
def model(request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path: Path) -> tuple[Path, type[Labeler]]:
    if request.param == "bi_encoder":
        return Path(shutil.copytree(tiny_encoder, tmp_path / "model")), BiEncoder
    write, labeler = WRITERS[request.param]
    return Path(write(tmp_path / "model")), labeler


def refused(model: tuple[Path, type[Labeler]]) -> str:
    """What the labeler says of the folder: one line that names it."""
    folder, labeler = model
    with pytest.raises(ValueError, match="want|is not JSON") as caught:
        labeler(str(folder)).prepare()  # type: ignore[call-arg]
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_weight_and_one_too_many_are_refused(model: tuple[Path, type[Labeler]]) -> None:
    file = model[0] / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if ".0." in name and name.endswith("weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, file, {"format": "pt"})
    # the published name may be an older one, and others may be named with it
    assert "got none for " in refused(model)
    save_file({**tensors, name.replace(".0.", ".7."): tensors[name].clone()}, file, {"format": "pt"})
    assert "the weights have also " in refused(model)
    save_file({**tensors, name: tensors[name][..., :-1].contiguous()}, file, {"format": "pt"})
    assert "the weights have [" in refused(model)
    save_file(tensors, file, {"format": "pt"})
    model[1](str(model[0])).prepare()  # type: ignore[call-arg]


def test_broken_files_are_one_line(model: tuple[Path, type[Labeler]]) -> None:
    folder = model[0]
    for name, broken in (
        ("model.safetensors", (folder / "model.safetensors").read_bytes()[:-9]),
        ("config.json", b"[" * 20_000),
        ("config.json", b'{"model_type": 7, "hidden_size": "x"}'),
        ("tokenizer.json", b'{"model": {"type": "none"}}'),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(broken)
        refused(model)
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1_Pooling/config.json", {}),
        ("1_Pooling/config.json", {"word_embedding_dimension": "x", "pooling_mode": 3}),
        ("modules.json", {"a": 1}),
        ("modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "/etc"}]),
        ("modules.json", [{"type": 3, "path": ""}]),
        ("config_sentence_transformers.json", [1]),
    ],
)
def test_modules_that_make_no_sense_are_one_line(name: str, said: object, tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "model"))
    assert (folder / name).is_file()
    (folder / name).write_text(json.dumps(said))
    refused((folder, BiEncoder))


def test_a_projection_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = Path(save_tiny_model("late_interaction", tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    for shape in ([4, 3], [4]):
        save_file({**tensors, "linear.weight": torch.ones(shape)}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(ValueError, match=r"model: want weight of shape \[4, \d+\], got"):
            LateInteraction(str(folder)).prepare()


def test_a_head_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = tiny.xprovence(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    for name in ("token_classifier.weight", "classifier.weight"):
        save_file({**tensors, name: tensors[name][:, :-1].contiguous()}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=rf"model: {name.partition('.')[0]}: want weight of shape"):
            Provence(str(folder)).prepare()


def test_settings_that_name_code_of_the_hub_are_not_followed(tmp_path: Path) -> None:
    folder = tiny.open_provence(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    hostile = {"_attn_implementation": "evil/kernel", "experts_implementation": "evil/kernel"}
    config["base_model_config"] |= {**hostile, "text_config": hostile}
    (folder / "config.json").write_text(json.dumps(config))
    loaded = Provence(str(folder)).loaded
    assert "evil" not in json.dumps(loaded.model.ranker.config.to_dict())  # type: ignore[union-attr]
