"""The command line, on a tiny random LLaVA with a processor of its own, saved by the test."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from prunekernels import spec  # noqa: E402
from tests.tokenpruner.saved_llava import CHAT, PLAIN_CHAT, save  # noqa: E402
from tokenpruner.base.token_method import method_from_text  # noqa: E402
from tokenpruner.cli import app  # noqa: E402
from tokenpruner.methods.atp import ATP  # noqa: E402
from tokenpruner.methods.divprune import DivPrune  # noqa: E402
from tokenpruner.models import adapter, loading  # noqa: E402
from tokenpruner.models.pictures import load_picture  # noqa: E402


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
    assert "stride:n_keep=4,positions=compact" in lines
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
    assert found["method"] == "fastv:keep_ratio=0.25,layer=1,positions=compact"
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
        (("--method", "nope"), "tokenpruner.methods has no 'nope'; it has atp, cdpruner, chain, composed"),
        (("--keep-ratio", 1.5), "want a number in (0, 1], got 1.5"),
        (("--keep-ratio", 0.5, "--n-keep", 3), "want one of keep_ratio and n_keep, got keep_ratio=0.5 and n_keep=3"),
        (("--method", "divprune:n_keep=4", "--n-keep", 3), "want n_keep once, got divprune:n_keep=4 and n_keep=3"),
        (("--method", "atp", "--n-keep", 3), "atp has no field 'n_keep'; it has layers"),
        (("--method", "downsample"), "takes pictures of one size"),
        (("--out", "nowhere/kept.png"), "cannot write nowhere/kept.png: there is no folder nowhere"),
        (("--out", "kept.jpg"), "kept.jpg: want a name that ends in .png"),
        (("--device", "nope"), "device nope: want one that is there"),
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


def test_an_output_is_never_an_input(saved, photo, tmp_path):
    before, weights = photo.read_bytes(), (saved / "model.safetensors").read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(photo)
    for out in (photo, link):
        done = run(saved, photo, "--n-keep", 4, "--out", out)
        assert done.exit_code == 2
        assert "is the input" in done.stderr
        assert not done.stdout
    # the second drawing too
    second = tmp_path / "kept-2.png"
    second.write_bytes(before)
    done = run(saved, photo, "--image", second, "--n-keep", 4, "--out", tmp_path / "kept.png")
    assert (done.exit_code, "is the input" in done.stderr) == (2, True)
    done = run(saved, photo, "--n-keep", 4, "--out", saved / "kept.png")
    assert (done.exit_code, "lies in the input" in done.stderr) == (2, True)
    assert photo.read_bytes() == second.read_bytes() == before
    assert (saved / "model.safetensors").read_bytes() == weights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept-2.png", "link.png", "photo.png"]


def test_only_a_drawing_is_replaced(saved, photo, tmp_path):
    out = tmp_path / "kept.png"
    Image.new("RGB", (5, 5)).save(out)
    before = out.read_bytes()
    done = run(saved, photo, "--n-keep", 4, "--out", out)
    assert done.exit_code == 2
    assert "is there already, and nothing that may be replaced" in done.stderr
    assert out.read_bytes() == before
    out.unlink()
    for n_keep in (4, 2):
        assert run(saved, photo, "--n-keep", n_keep, "--out", out).exit_code == 0
    assert Image.open(out).format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.png", "photo.png"]


@pytest.mark.timeout(60)
def test_pipes_are_neither_read_nor_waited_for(saved, photo, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    done = run(saved, pipe)
    assert (done.exit_code, "pipe.png: want a file, got a pipe" in done.stderr) == (2, True)
    assert run(saved, photo, "--n-keep", 4, "--out", pipe).exit_code == 2
    assert run(saved, "/dev/zero").exit_code == 2


def test_what_a_model_says_does_not_steer_the_terminal(tmp_path, photo):
    prefix = "\x1b[31m\x9b2J\x7f\u202e"
    model, out = save(tmp_path / "model", prefix=prefix), tmp_path / "a\x1b[2J.png"
    done = run(model, photo, "--n-keep", 4, "--out", out)
    assert done.exit_code == 0, done.output
    assert "\u241b[31m" in done.stdout
    assert "kept patches: " in done.stdout
    steers = ("\x1b", "\x9b", "\x7f", "\u202e")
    assert not any(letter in done.output for letter in steers)
    done = run(model, photo, "--n-keep", 4, "--json")
    assert not any(letter in done.output for letter in steers)
    assert prefix in json.loads(done.stdout)["answer"]


def test_ctrl_c_is_a_line(saved, photo, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load", stop)
    done = run(saved, photo)
    assert (done.exit_code, done.stderr) == (130, "tokenpruner: stopped\n")


def test_a_method_that_fails_on_import_is_named(tmp_path, monkeypatch):
    info = tmp_path / "more-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[tokenpruner.methods]\nbroken = broken_tokens\nfastv = broken_tokens\n"
        "[tokenpruner.adapters]\nbroken = broken_tokens\n"
    )
    (tmp_path / "broken_tokens.py").write_text("raise RuntimeError('no \\x1b[31m luck')\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = CliRunner().invoke(app, ["methods"])
    assert done.exit_code == 0, done.output
    assert "divprune" in done.stdout
    assert "broken" not in done.stdout
    assert "'broken', an entry point of more, fails on import: RuntimeError: no \u241b[31m luck" in done.stderr
    assert "tokenpruner.methods has a 'fastv' of its own, which stays" in done.stderr
    with pytest.warns(UserWarning, match="'broken', an entry point of more, fails on import"):
        kinds = adapter.kinds()
    assert [kind.__name__ for kind in kinds] == ["ColQwen2", "Idefics", "Generic"]


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
    # what stands between quotes is a value, whatever it looks like
    with pytest.raises(ValueError, match="has no 'a,n_keep=2'"):
        method_from_text('spatial:method="a,n_keep=2"', None, 3)
    with pytest.raises(ValueError, match="want n_keep once"):
        method_from_text('spatial:method="stride",n_keep=2', None, 3)
    assert method_from_text("divprune:", None, 3) == DivPrune(n_keep=3)


def test_a_path_with_a_comma_and_quotes_is_a_text_form():
    method = ATP(weights='a,b="c"/atp.safetensors')
    assert method_from_text(spec.describe(method)) == method
