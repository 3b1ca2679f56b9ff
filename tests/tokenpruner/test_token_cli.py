"""The command line, on a tiny random LLaVA with a processor of its own, saved by the test."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from tests.tokenpruner.conftest import build  # noqa: E402
from tokenpruner.base.token_method import method_from_text  # noqa: E402
from tokenpruner.cli import app  # noqa: E402
from tokenpruner.methods.divprune import DivPrune  # noqa: E402
from tokenpruner.models import loading  # noqa: E402
from tokenpruner.models.loading import load_picture  # noqa: E402

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "what", "<image>", "is", "this", "user", ":"]
# the content of a message as a list of parts, as processors of vision-language models have it
CHAT = (
    "{% for m in messages %}user : {% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image> {% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
# and as a text, as text models have it
PLAIN_CHAT = "{% for m in messages %}{{ 'user : ' + m['content'] }}{% endfor %}"


def save(folder, chat=None):
    """The LLaVA of the other tests, 16 tokens an image, and a tokenizer of ten words and numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

    words = WORDS + [str(number) for number in range(len(WORDS), 64)]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=["<image>"]
    )
    crop = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=crop),
        fast,
        patch_size=4,
        vision_feature_select_strategy="default",
        image_token="<image>",
        chat_template=chat,
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    build().to(torch.float32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    colours = torch.randint(0, 256, (20, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(colours.numpy()).resize((240, 200)).save(path)
    return path


def run(saved, photo, *more):
    command = ["run", "--model", str(saved), "--image", str(photo), "--prompt", "what is this", *map(str, more)]
    return CliRunner().invoke(app, [*command, "--max-new-tokens", "3"])


def test_an_answer_and_its_numbers(saved, photo):
    done = run(saved, photo, "--method", "stride", "--n-keep", 4)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "stride:n_keep=4" in lines
    assert any(line.split() == ["visual", "tokens", "16", "4", "25.0", "%"] for line in lines)
    assert any(line.startswith("the model as a whole") for line in lines)


def test_the_answer_is_that_of_generate(saved, photo):
    loaded = loading.load(str(saved))
    inputs = loading.encode(loaded, [load_picture(photo)], "what is this")
    assert inputs["input_ids"][0].tolist() == [5] * 16 + [4, 6, 7]
    with torch.no_grad():
        told = loaded.model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, 19:]
    wanted = loaded.processor.decode(told, skip_special_tokens=True)
    done = run(saved, photo, "--keep-ratio", 1, "--json", "--compare")
    found = json.loads(done.stdout)
    assert found["answer"] == found["all_tokens"]["answer"] == wanted
    assert (found["n_tokens"], found["visual_before"], found["visual_after"]) == (3, 16, 16)


def test_numbers_as_json(saved, photo):
    done = run(saved, photo, "--method", "fastv:layer=1", "--keep-ratio", 0.25, "--json")
    found = json.loads(done.stdout)
    assert found["method"] == "fastv:keep_ratio=0.25,layer=1"
    assert (found["visual_before"], found["visual_after"], found["layers"]) == (16, 4, [19, 7, 7])
    assert found["peak_bytes"] is None
    assert len(found["images"][0]["kept"]) == 4
    assert "all_tokens" not in found


def test_both_answers(saved, photo):
    done = run(saved, photo, "--n-keep", 2, "--compare")
    lines = done.stdout.splitlines()
    assert any(line.startswith("with all tokens (tokens said: 3, pruned 3)") for line in lines)
    assert lines[-1].startswith("the model as a whole, ms")


def test_a_drawing_of_what_the_model_saw(saved, photo, tmp_path):
    out = tmp_path / "kept.png"
    done = run(saved, photo, "--n-keep", 4, "--out", out)
    assert done.exit_code == 0, done.output
    # the square that the processor cropped, beside itself
    assert Image.open(out).size == (2 * 384 + 3 * 16, 384 + 32 + 52)
    loaded = loading.load(str(saved))
    inputs = loading.encode(loaded, [load_picture(photo)], "what")
    (shown,) = loading.as_seen(loaded, inputs, [load_picture(photo)])
    assert shown.size == (16, 16)
    middle = load_picture(photo).resize((19, 16), Image.Resampling.BICUBIC).crop((1, 0, 17, 16))
    off = np.abs(np.asarray(shown, dtype=float) - np.asarray(middle, dtype=float))
    assert off.mean() < 16


def test_two_pictures_are_two_drawings(saved, photo, tmp_path):
    done = run(saved, photo, "--image", photo, "--n-keep", 4, "--out", tmp_path / "kept.png", "--json")
    assert done.exit_code == 0, done.output
    assert [len(one["kept"]) for one in json.loads(done.stdout)["images"]] == [4, 4]
    assert (tmp_path / "kept.png").exists()
    assert (tmp_path / "kept-2.png").exists()


@pytest.mark.parametrize("chat", [CHAT, PLAIN_CHAT])
def test_chat_forms(tmp_path, photo, chat):
    loaded = loading.load(str(save(tmp_path / "model", chat)))
    inputs = loading.encode(loaded, [load_picture(photo)], "what is this")
    assert inputs["input_ids"][0].tolist() == [8, 9] + [5] * 16 + [4, 6, 7]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--method", "nope"), "tokenpruner.methods has no 'nope'; it has atp, divprune"),
        (("--keep-ratio", 1.5), "want a number in (0, 1], got 1.5"),
        (("--keep-ratio", 0.5, "--n-keep", 3), "want one of keep_ratio and n_keep, got keep_ratio=0.5 and n_keep=3"),
        (("--method", "divprune:n_keep=4", "--n-keep", 3), "want n_keep once, got divprune:n_keep=4 and n_keep=3"),
        (("--method", "fastv", "--n-keep", 3), "fastv has"),
        (("--method", "tome"), "is a vision-language model"),
        (("--out", "nowhere/kept.png"), "nowhere: want a folder that is there"),
        (("--image", "missing.png"), "missing.png: No such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(saved, photo, more, says):
    done = run(saved, photo, *more)
    assert done.exit_code == 2
    assert done.stderr.startswith("tokenpruner: ") or "tokenpruner: " in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_models_that_do_not_fit(saved, photo, tmp_path):
    assert "want a model's folder that is there, or a hub id" in run(tmp_path / "none", photo).stderr
    from transformers import LlamaConfig

    LlamaConfig().save_pretrained(tmp_path / "llama")
    assert "want a vision-language model, got one of type llama" in run(tmp_path / "llama", photo).stderr
    assert "want a picture, got something else" in run(saved, saved / "config.json").stderr
    # weights in a pickle are not read
    torch.save({}, tmp_path / "weights")
    other = tmp_path / "pickled"
    other.mkdir()
    for path in saved.iterdir():
        if path.suffix != ".safetensors":
            (other / path.name).write_bytes(path.read_bytes())
    (other / "pytorch_model.bin").write_bytes((tmp_path / "weights").read_bytes())
    done = run(other, photo)
    assert done.exit_code == 2
    assert "safetensors" in done.stderr


def test_methods_are_listed():
    done = CliRunner().invoke(app, ["methods"])
    lines = done.stdout.splitlines()
    places = [
        lines.index(next(line for line in lines if line.startswith(title))) for title in ("Before", "Inside", "In a")
    ]
    assert places == sorted(places)
    for name, place in (("divprune", 0), ("pyramiddrop", 1), ("tome", 2)):
        own = lines[places[place] : places[place + 1] if place < 2 else None]
        assert any(line.split()[:1] == [name] for line in own)


def test_the_budget_beside_the_method():
    assert method_from_text("divprune", 0.25) == DivPrune(keep_ratio=0.25)
    assert method_from_text("divprune:positions=compact", None, 3) == DivPrune(n_keep=3, positions="compact")
    assert method_from_text("divprune:n_keep_row=9") == DivPrune(n_keep_row=9)
