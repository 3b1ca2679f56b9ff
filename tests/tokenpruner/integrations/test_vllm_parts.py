"""What the plug-in for vLLM does without vLLM: which methods it takes, what travels, what is kept, where it stands."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest
import torch

from tests.tokenpruner.conftest import SIDE, N
from tokenpruner.base.before_decoder import Context
from tokenpruner.integrations.vllm import mrope_positions
from tokenpruner.integrations.vllm.item_request import ItemRequest
from tokenpruner.integrations.vllm.kept_embeddings import evenly_spaced, kept_embeddings
from tokenpruner.integrations.vllm.mrope_positions import ShortenedImage
from tokenpruner.integrations.vllm.serve import serve_command
from tokenpruner.integrations.vllm.served_method import ServedModel, described_method, served_method
from tokenpruner.integrations.vllm.trial import try_method
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.stride import Stride
from tokenpruner.models.image_layouts import Layout

LLAVA, QWEN = ServedModel("Llava"), ServedModel("Qwen", has_mrope=True)
GRID = Layout(N, 1, ((SIDE, SIDE),))


def test_vllm_finds_the_plug_in() -> None:
    """The entry point names a function that is there."""
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    module, _, name = project["project"]["entry-points"]["vllm.general_plugins"]["prunekit"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(
    ("text", "model", "reason"),
    [
        ("fastv", LLAVA, "inside the decoder, where vLLM has no place"),
        ("tome:r=1", LLAVA, "inside the vision tower, where vLLM has no place"),
        ("downsample", LLAVA, "before the vision tower, where vLLM has no place"),
        ("visionzip", LLAVA, "reads class_attention, keys of the vision tower"),
        ("divprune:positions=keep", LLAVA, 'positions="keep".*take positions="compact"'),
        ("restore:positions=calibrated", LLAVA, 'positions="calibrated".*take positions="compact"'),
        ("divprune:positions=compact", QWEN, 'take positions="keep"'),
        ("divprune:n_keep_row=9", LLAVA, "shares tokens over images"),
        ("divprune:newlines=keep", LLAVA, "newline tokens, which vLLM does not know"),
        ("divprune:keep_ratio=2", LLAVA, "keep_ratio"),
        ("nothing_of_ours", LLAVA, "nothing_of_ours"),
        (7, LLAVA, "as text"),
    ],
)
def test_refused_by_name(text: object, model: ServedModel, reason: str) -> None:
    """What vLLM cannot do is said with what to take instead."""
    with pytest.raises(ValueError, match=reason):
        served_method(text, model)


@pytest.mark.parametrize(("model", "positions"), [(LLAVA, "compact"), (QWEN, "keep")])
def test_positions_are_those_of_the_model(model: ServedModel, positions: str) -> None:
    """Without a word they are the only ones that vLLM has there."""
    method = served_method("divprune:keep_ratio=0.1", model)
    assert method == DivPrune(keep_ratio=0.1, positions=positions)


def test_all_tokens_and_transformers_own_tower() -> None:
    """ "none" is no method, and a tower that can be read is."""
    assert served_method("none", LLAVA) is None
    shown = ServedModel("Llava", shows_tower=True)
    with pytest.raises(ValueError, match="start one with this method"):
        served_method("visionzip", shown)
    started = shown.started_with("visionzip:keep_ratio=0.1")
    assert served_method("visionzip:keep_ratio=0.5", started) is not None
    for other in ("prumerge", "visionzip:tower_layer=-3"):
        with pytest.raises(ValueError, match="start one with this method"):
            served_method(other, started)


def test_a_request_travels_as_bytes() -> None:
    """It comes back as it was, and its key has the method and the question."""
    request = ItemRequest("cdpruner:keep_ratio=0.25", (5, 70_000), 576)
    assert ItemRequest.decoded(request.encoded()) == request
    assert request.key() == {"method": "cdpruner:keep_ratio=0.25", "text": [5, 70_000]}


@pytest.mark.parametrize("text", ["divprune:n_keep=5", "cdpruner:n_keep=5", "pool"])
def test_kept_as_prune_keeps(text: str) -> None:
    """The tokens that the method picks, of what later layers add the same ones, merged alike."""
    generator = torch.Generator().manual_seed(0)
    values, question = torch.randn(N, 24, generator=generator), torch.randn(3, 8, generator=generator)
    method = described_method(text)
    assert method is not None
    kept = kept_embeddings(values, question, GRID, method)
    context = Context(values[:, :8], (SIDE, SIDE), text=question)
    picks = method.select(context)
    assert kept.index.tolist() == picks.tolist()
    merge = method.merge(context, picks)
    if merge is None:
        assert torch.equal(kept.values, values[picks])
    else:
        means = [values[merge.target == place].mean(0) for place in range(len(picks))]
        torch.testing.assert_close(kept.values, torch.stack(means))


def test_evenly_spaced_tokens_are_as_many_as_asked() -> None:
    """What stands in for an image that was encoded to NaN."""
    assert evenly_spaced(torch.full((10, 2), torch.nan), 4).index.tolist() == [0, 2, 5, 7]


def test_a_method_is_tried_before_an_image_enters() -> None:
    """What a method cannot do with an image of that size is raised here."""

    class Broken(DivPrune):
        def keep(self, context: Context, n: int) -> torch.Tensor:
            raise ValueError(f"no {context.grid}")

    with pytest.raises(ValueError, match=r"no \(2, 4\)"):
        try_method(Broken(n_keep=2), 8, {"image_grid_thw": torch.tensor([1, 4, 8])})
    try_method(Stride(n_keep=2), 8, {})


def test_positions_of_three_parts_stay() -> None:
    """Two images, shortened: every token that is left has the position that it had."""
    # 2 words, 6 tokens as 2 x 3, 1 word, 4 tokens as 2 x 2, 1 word
    sides = ((2, 3), (2, 2))
    first, second = (mrope_positions.offsets_of(Layout(h * w, 1, ((h, w),))) for h, w in sides)
    words = torch.tensor([0, 1, 5, 8])[:, None].expand(-1, 3)
    whole = torch.cat([words[:2], first + 2, words[2:3], second + 6, words[3:]]).T
    images = [ShortenedImage(2, 3, 6), ShortenedImage(6, 1, 4)]
    tokens = [7, 8, 99, 99, 99, 9, 98, 6]
    assert mrope_positions.with_whole_images(tokens, images) == [7, 8, *[99] * 6, 9, *[98] * 4, 6]
    positions = mrope_positions.marked_positions(whole, images)
    assert positions.tolist()[0] == [0, 1, -3, -3, -3, 5, -7, 8]
    stays = [0, 1, 2, 4, 7, 8, 11, 13]
    carried = mrope_positions.with_offsets(
        torch.zeros(4, 2, dtype=torch.bfloat16), torch.cat([first[[0, 2, 5]], second[[2]]])
    )
    values, offsets = mrope_positions.without_offsets(carried)
    assert values.shape == (4, 2)
    # a step over a part of the prompt, and once more over all of it, padded
    mrope_positions.put_right(
        positions[:, :4], mrope_positions.spread(offsets[:2], torch.tensor([False, False, True, True]))
    )
    is_visual = torch.tensor([False, False, True, True, True, False, True, False])
    padded = torch.cat([positions, torch.zeros(3, 2, dtype=torch.int64)], 1)
    mrope_positions.put_right(padded, mrope_positions.spread(offsets, is_visual))
    assert padded[:, :8].tolist() == whole[:, stays].tolist()
    assert not padded[:, 8:].any()


def test_far_tokens_are_written_in_any_type() -> None:
    """Half precision holds no whole number above 256 or 2048."""
    offsets = torch.tensor([[0, 300, 65_535]])
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        carried = mrope_positions.with_offsets(torch.zeros(1, 3, dtype=dtype), offsets)
        assert mrope_positions.without_offsets(carried)[1].tolist() == offsets.tolist()
    whole = mrope_positions.with_offsets(torch.zeros(1, 3), None)
    assert int(mrope_positions.without_offsets(whole)[1].max()) < 0


def test_the_command_of_the_server() -> None:
    """A method among the overrides that a user has, and vLLM's own options as they were said."""
    given = ["--port", "9", "--hf-overrides", '{"rope_theta": 2}', "--enforce-eager"]
    command = serve_command("folder", "divprune:keep_ratio=0.1", given)
    assert command[:3] == ["serve", "folder", "--hf-overrides"]
    assert json.loads(command[3]) == {"rope_theta": 2, "prunekit": "divprune:keep_ratio=0.1"}
    assert command[4:] == ["--port", "9", "--enforce-eager"]
    for more in (["--hf-overrides", "no"], ["--hf-overrides.a", "1"], ['--hf-overrides={"prunekit": "none"}']):
        with pytest.raises(ValueError, match="JSON"):
            serve_command("folder", "none", more)
    with pytest.raises(ValueError, match="inside the decoder"):
        serve_command("folder", "fastv", [])


def test_what_cannot_be_served_is_one_line() -> None:
    """Before vLLM is started, and with the line that installs it where it is missing."""
    from typer.testing import CliRunner

    from tokenpruner.cli import app

    cases = {"fastv": "inside the decoder"}
    if importlib.util.find_spec("vllm") is None:
        cases["divprune:keep_ratio=0.1"] = 'pip install "prunekit[vllm]"'
    for method, reason in cases.items():
        done = CliRunner().invoke(app, ["serve", "folder", "--method", method, "--port", "9"])
        assert done.exit_code == 2
        assert reason in done.output
        assert len(done.output.splitlines()) == 1
