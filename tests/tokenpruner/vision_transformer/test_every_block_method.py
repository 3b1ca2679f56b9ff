"""What holds for every method inside a vision transformer, whichever it is."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tokenpruner import BlockContext, BlockMethod, prune
from tokenpruner.methods.random_patches import RandomPatches
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

ALL = (*vision.TOWERS, *vision.HEADS)
NOTHING = (ToMe(r=0), ToMe(r=(0, 0)), ToMe(keep_ratio=1.0), ZeroTPrune(keep_ratio=1.0))
METHODS = (ToMe(r=3), ZeroTPrune(keep_ratio=0.3, similar=0.2))
POOLED = ("logits", "pooler_output", "image_embeds", "logits_per_image")


def allowed(model: torch.nn.Module, method: BlockMethod) -> None:
    if method.weighs and not vision.takes_mask(model):
        pytest.skip("blocks of this release take no mask")


@dataclasses.dataclass(frozen=True)
class Received(BlockMethod):
    """Keeps half of the patches behind block 1, those that receive the most attention, and a quarter behind 2."""

    reads = frozenset({"queries", "keys"})

    def removals(self, n_patches, n_blocks):
        return [0, n_patches // 2, n_patches // 4]

    def importance(self, context: BlockContext) -> torch.Tensor:
        return context.received().mean(1)[:, context.protected :]


@pytest.mark.parametrize("method", NOTHING, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_keeping_everything_is_bit_equal(name, method):
    model, images = vision.build(name), vision.pixels()
    with torch.no_grad():
        whole = vision.run(model, images)
        with prune(model, method) as report:
            same = vision.run(model, images)
    assert all(torch.equal(same[field], value) for field, value in whole.items())
    assert report.visual_after == report.visual_before == 2 * vision.N


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_a_batch_equals_its_images(name, method):
    model, images = vision.build(name), vision.pixels(4)
    allowed(model, method)
    with torch.no_grad(), prune(model, method) as report:
        batch = vision.run(model, images)
        for row in range(4):
            alone = vision.run(model, images[row : row + 1])
            for field in (*POOLED[:3], "last_hidden_state"):
                if field in alone:
                    torch.testing.assert_close(batch[field][row], alone[field][0], rtol=1e-10, atol=1e-10)
            assert report.prefills[row + 1].images[0].kept == report.prefills[0].images[row].kept


@pytest.mark.parametrize("method", [*METHODS, Received()], ids=str)
@pytest.mark.parametrize("name", vision.TOWERS)
def test_sdpa_equals_eager(name, method):
    fused, plain = (vision.build(name, attention) for attention in ("sdpa", "eager"))
    allowed(fused, method)
    with torch.no_grad(), prune(fused, method), prune(plain, method):
        one, other = (model(vision.pixels()).last_hidden_state for model in (fused, plain))
    # the softmax of transformers' eager attention is float32
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", vision.TOWERS)
def test_attention_received_against_a_loop(name):
    """Blocks of several lengths, dropped by hand."""
    model, images, first = vision.build(name), vision.pixels(3), vision.FIRST[name]
    with torch.no_grad(), prune(model, Received()) as report:
        got = model(images)
    for row, image in enumerate(images):
        with torch.no_grad():
            hidden, places = vision.entered(model, image[None])[0], list(range(first + vision.N))
            for block, n_left in zip(vision.blocks(model), (16, 8, 4, 4), strict=True):
                hidden, q, k = vision.worked(block, hidden, torch.ones(len(hidden), dtype=torch.float64))
                weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).sum(1).mean(0)[first:]
                best = sorted(weights.argsort(descending=True)[:n_left].tolist())
                keep = [*range(first), *(first + place for place in best)]
                hidden, places = hidden[keep], [places[i] for i in keep]
            last = vision.finished(model, hidden)
        torch.testing.assert_close(got.last_hidden_state[row], last, rtol=1e-10, atol=1e-10)
        wanted = vision.pooled(model, last, torch.ones(len(last)))
        torch.testing.assert_close(got.pooler_output[row], wanted, rtol=1e-10, atol=1e-10)
        assert [place + first for place in report.prefills[0].images[row].kept] == places[first:]


@pytest.mark.parametrize("name", vision.TOWERS)
def test_protected_tokens_survive(name):
    """A method that dislikes them most of all, and merging alike ones, leave them where they were."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Spy(Received):
        def importance(self, context: BlockContext) -> torch.Tensor:
            seen.append(context)
            return super().importance(context)

    model, images, first = vision.build(name), vision.pixels(), vision.FIRST[name]
    with torch.no_grad(), prune(model, Spy()) as report:
        model(images)
    assert [(own.block, own.n_blocks, own.protected, own.n_patches) for own in seen] == [
        (1, 4, first, 16),
        (2, 4, first, 8),
    ]
    assert {own.has_class for own in seen} == {first > 0}
    assert report.prefills[0].tokens_after == (4 + first,) * 2


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", vision.TOWERS)
def test_hidden_states_are_what_the_next_block_gets(name, early):
    """Also where transformers put its collecting hooks on before."""
    model, images = vision.build(name), vision.pixels()
    with torch.no_grad():
        if early:
            model(images, output_hidden_states=True)
        with prune(model, Received()):
            output = model(images, output_hidden_states=True)
    first = vision.FIRST[name]
    assert [hidden.shape[1] - first for hidden in output.hidden_states] == [16, 16, 8, 4, 4]
    torch.testing.assert_close(vision.finished(model, output.hidden_states[-1]), output.last_hidden_state)


def test_attentions_have_the_lengths_of_their_blocks():
    model, images = vision.build("vit", "eager"), vision.pixels()
    with torch.no_grad(), prune(model, ToMe(r=3)):
        attentions = model(images, output_attentions=True).attentions
    assert [own.shape[-1] for own in attentions] == [17, 14, 11, 8]


@pytest.mark.parametrize("name", ["vit", "dinov2", "siglip"])
def test_larger_pictures(name):
    model, images = vision.build(name), vision.pixels(side=24)
    options = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    with torch.no_grad(), prune(model, Received()) as report:
        got = model(images, **options)
    assert got.last_hidden_state.shape[1] == 9 + vision.FIRST[name]
    assert report.images[0].grid == (6, 6)
    assert report.images[0].size == 36


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_pictures_of_one_colour(method):
    """All patches tie but for their positions; with those gone, all ties go to the lower index."""
    model = vision.build("vit")
    with torch.no_grad():
        model.embeddings.position_embeddings.zero_()
    images = torch.zeros(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad(), prune(model, method) as report:
        output = model(images)
    assert output.last_hidden_state.isfinite().all()
    assert report.images[0].kept == report.images[1].kept


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused(method, bad):
    model, images = vision.build("vit"), vision.pixels()
    with torch.no_grad():
        whole = model(images).pooler_output
        with prune(model, method) as report:
            broken = images.clone()
            broken[1, 0, 3, 3] = bad
            with pytest.raises(ValueError, match="NaN|not finite|sum to 1"):
                model(broken)
            assert not report.prefills
            model(images)
        assert torch.equal(model(images).pooler_output, whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ["vit", "siglip"])
def test_other_dtypes(name, method, dtype):
    model, images = vision.build(name).to(dtype), vision.pixels().to(dtype)
    with torch.no_grad(), prune(model, method):
        output = model(images)
    assert output.pooler_output.dtype == dtype
    assert output.pooler_output.isfinite().all()


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", ["vit", "siglip"])
def test_autocast(name, method):
    model, images = vision.build(name).float(), vision.pixels().float()
    with torch.no_grad(), prune(model, method):
        plain = model(images).pooler_output
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(images).pooler_output
    assert mixed.isfinite().all()
    assert mixed.shape == plain.shape


def test_the_report_by_hand():
    """16 wide, MLP of 24, 17, 14 and 9 tokens."""
    model, images = vision.build("vit", n_blocks=3), vision.pixels(2)
    with torch.no_grad(), prune(model, ToMe(r=(3, 5))) as report:
        model(images)
        model(images[:1])
    first, second = report.prefills
    linear = 4 * 16 * 16 + 2 * 16 * 24
    whole = 3 * (2 * 17 * linear + 4 * 17 * 17 * 16)
    left = 2 * (17 + 14 + 9) * linear + 4 * (17**2 + 14**2 + 9**2) * 16
    assert (first.flops_before, first.flops_after) == (2 * whole, 2 * left)
    assert (second.flops_before, second.flops_after) == (whole, left)
    assert (first.tokens_before, first.tokens_after) == ((17, 17), (9, 9))
    assert first.layers == ((17, 17), (14, 14), (9, 9))
    assert report.layers == [(51, 51), (51, 42), (51, 27)]
    assert [len(image.kept) for cut in first.cuts for image in cut] == [13, 13, 8, 8]
    assert first.cuts[1] == first.images
    assert set(first.cuts[1][0].kept) < set(first.cuts[0][0].kept)
    assert first.part == "vision transformer"
    assert (report.visual_before, report.visual_after) == (48, 24)
    assert report.images[0].grid == (4, 4)
    assert report.method == "tome:r=3/5"
    assert all(0 < own.selection_ms < own.prefill_ms for own in report.prefills)


def test_flops_agree_with_the_blocks():
    from torch.utils.flop_counter import FlopCounterMode

    model, counter = vision.build("dinov2", "eager"), FlopCounterMode(display=False)
    with torch.no_grad(), prune(model, Received()) as report, counter:
        model(vision.pixels(1))
    counts = counter.get_flop_counts()
    # the method's own product of queries and keys does not count
    counted = sum(sum(own.values()) for name, own in counts.items() if name.startswith("Dinov2Model.encoder.layer."))
    leaves = [name for name in counts if name.startswith("Dinov2Model.encoder.layer.") and name.count(".") == 3]
    assert counted >= sum(sum(counts[name].values()) for name in leaves) > 0
    assert report.flops_after == sum(sum(counts[name].values()) for name in leaves)


def test_threads_do_not_mix():
    """Two threads in one model, each with pictures of its own size."""
    model = vision.build("dinov2")
    inputs = [vision.pixels(2, side=side) for side in (16, 24)]
    with torch.no_grad(), prune(model, Received()):
        wanted = [model(own).last_hidden_state for own in inputs]
        wrong: list[int] = []

        def work(number: int) -> None:
            with torch.no_grad():
                for _ in range(15):
                    if not torch.equal(model(inputs[number]).last_hidden_state, wanted[number]):
                        wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_random_patches():
    """Uniform over the patches, by seed and block, the same for every image; the counts are those of Zero-TPrune."""
    context = BlockContext(torch.zeros(3, 17, 4), 1, 4, 1)
    picks = [RandomPatches(seed=seed).keep(context, 4) for seed in range(2000)]
    assert all(torch.equal(own[0], own[2]) for own in picks)
    counts = torch.bincount(torch.cat([own[0] for own in picks]), minlength=16)
    # 2000 draws with probability 1/4: standard deviation 19
    assert (counts - 500).abs().max() < 5 * 19.4
    other = dataclasses.replace(context, block=2)
    assert not torch.equal(RandomPatches().importance(other), RandomPatches().importance(context))
    for ratio, blocks in ((0.4, None), (0.25, (1, 3))):
        chosen = {"keep_ratio": ratio, "blocks": blocks}
        assert RandomPatches(**chosen).removals(196, 12) == ZeroTPrune(**chosen).removals(196, 12)
    with pytest.raises(ValueError, match="want blocks in ascending order"):
        RandomPatches(blocks=(3, 1))


def test_two_models_do_not_mix():
    one, other, images = vision.build("vit"), vision.build("vit", seed=1), vision.pixels()
    with torch.no_grad():
        whole = other(images).pooler_output
        with prune(one, ToMe(r=3)), prune(other, Received()) as report:
            merged = one(images)
            other(images)
        with prune(one, ToMe(r=3)):
            assert torch.equal(other(images).pooler_output, whole)
            assert torch.equal(one(images).pooler_output, merged.pooler_output)
    assert len(report.prefills) == 1
