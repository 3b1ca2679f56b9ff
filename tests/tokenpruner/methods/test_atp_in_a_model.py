"""ATP in a model: dropping and soft masks are those of a replay with our own attention."""

from __future__ import annotations

import functools

import pytest
import torch

from tests.tokenpruner.caches import with_cache
from tests.tokenpruner.methods.atp_replay import (
    GREEDY,
    RAGGED,
    N,
    close,
    replay,
    stepwise,
    trained,
)
from tokenpruner import prune
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.fastv import FastV
from tokenpruner.training import ATPLoss, ATPModules, soften


@pytest.fixture
def modules():
    return trained()


@pytest.fixture
def method(modules, tmp_path):
    return ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6, weights=str(modules.save(tmp_path)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_dropped_differs_from_image_to_image(model, prompt, singles, modules, method, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), prune(model, method) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    wanted = [replay(model, alone, method, modules) for alone in singles(inputs)]
    for row, run in enumerate(wanted):
        close(together[row, -len(run.logits) :], run.logits)
        close(uncached[row, -len(run.logits) :], run.logits)
    picks = [own for run in wanted for own in run.picks]
    assert [list(image.kept) for image in report.prefills[0].images] == picks
    assert len({len(own) for own in picks}) > 2
    assert 1 <= min(map(len, picks)) < max(map(len, picks)) < N


@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_goes_on_from_what_is_left(model, prompt, singles, modules, method, use_cache):
    inputs = prompt(RAGGED)
    with prune(model, method):
        out = model.generate(**inputs, **GREEDY, use_cache=use_cache)
    told = out.sequences[:, inputs["input_ids"].shape[1] :]
    with torch.no_grad():
        for row, alone in enumerate(singles(inputs)):
            wanted = replay(model, alone, method, modules, more=told[row, :-1].tolist())
            close(stepwise(out)[row], wanted.logits[-6:])


def test_no_weights_are_new_modules(model, prompt, tmp_path):
    inputs = prompt(RAGGED)
    path = str(ATPModules((1, 2)).save(tmp_path))
    with torch.no_grad():
        with prune(model, ATP(layers=(1, 2), rates=(0.25, 0.0625))) as report:
            wanted = model(**inputs).logits
        with prune(model, ATP(layers=(1, 2), rates=(0.25, 0.0625), weights=path)):
            assert torch.equal(model(**inputs).logits, wanted)
    assert 0 < report.visual_after < report.visual_before


@pytest.mark.parametrize("side", ["left", "right"])
def test_soft_masks_are_the_replay(model, prompt, singles, modules, method, side):
    inputs = prompt(RAGGED, side)
    with torch.no_grad(), soften(model, method, modules) as masks:
        together = model(**inputs, use_cache=False).logits
        kept = masks.kept
        assert torch.equal(model(**inputs).logits, together)
    runs = [replay(model, alone, method, modules, temperature=10.0) for alone in singles(inputs)]
    for row, run in enumerate(runs):
        close(together[row][inputs["attention_mask"][row].bool()], run.logits)
    close(kept.counts, torch.cat([run.counts for run in runs if len(run.counts)]))
    assert kept.sizes.tolist() == [N] * 5
    assert (kept.layers, kept.n_layers) == ((1, 2), 3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_attention_takes_the_masks(make_model, prompt, attention):
    model, modules = make_model(attention=attention).float(), trained().float()
    inputs = prompt([[3, "I", 2, "I", 4]])
    rounded = inputs | {"pixel_values": inputs["pixel_values"].float()}
    method = ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6)
    with torch.no_grad():
        plain = model(**rounded).logits[0]
        with soften(model, method, modules):
            got = model(**rounded).logits[0]
        # in float64 the masks are those of the replay, as tested above
        exact = make_model().double()
        lost = (plain - exact(**inputs).logits[0]).abs().max()
        with soften(exact, method, modules.double()):
            wanted = exact(**inputs).logits[0]
    # no more than twice what the model itself loses in float32
    assert (got - wanted).abs().max() <= 2 * lost


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_autocast(make_model, prompt, attention):
    model, modules = make_model(attention=attention).float(), trained().float()
    inputs = prompt(RAGGED)
    inputs["pixel_values"] = inputs["pixel_values"].float()
    real, method = inputs["attention_mask"].bool(), ATP(layers=(1, 2), rates=(0.25, 0.0625), sample_weight=1.6)

    def told():
        with soften(model, method, modules) as masks:
            return model(**inputs).logits[real].float().log_softmax(-1), masks.kept.counts

    plain = model(**inputs).logits[real].log_softmax(-1)
    exact, counts = told()
    with torch.autocast("cpu", torch.bfloat16):
        lost = (model(**inputs).logits[real].float().log_softmax(-1) - plain).abs().mean()
        rounded, rounded_counts = told()
    # no more than twice what the model itself loses
    assert (rounded - exact).abs().mean() <= 2 * lost
    assert (rounded_counts - counts).abs().max() < 0.5
    rounded.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in modules.parameters())


def test_hard_masks_are_what_dropping_gives(model, prompt, singles, modules, method):
    """The limit of a high temperature, at every token that is left."""
    inputs = prompt(RAGGED, "right")
    with torch.no_grad():
        with prune(model, method):
            dropped = model(**inputs).logits
        with soften(model, method, modules, temperature=1e8) as masks:
            soft = model(**inputs).logits
            counts = masks.kept.counts
    for row, alone in enumerate(singles(inputs)):
        kept = replay(model, alone, method, modules).kept
        close(soft[row, kept], dropped[row, -len(kept) :])
    with torch.no_grad(), prune(model, method) as report:
        model(**inputs)
    assert counts[:, -1].round().tolist() == [len(image.kept) for image in report.images]


def test_modules_are_parameters_of_the_model(model, modules, tmp_path):
    model.atp = modules
    assert sum(name.startswith("atp.cuts") for name, _ in model.named_parameters()) == 20
    modules.save(tmp_path)
    assert torch.equal(ATPModules.load(tmp_path).cuts[1].embed.weight, model.atp.cuts[1].embed.weight)


def test_text_alone_is_not_masked(model, prompt, modules, method):
    text = prompt([[5], [3]])
    with torch.no_grad():
        wanted = model(**text).logits
        with soften(model, method, modules) as masks:
            assert torch.equal(model(**text).logits, wanted)
            assert ATPLoss()(masks.kept).item() == 0


def test_the_model_is_left_as_it_was(watched, modules, method):
    model, inputs, check = watched
    with soften(model, method, modules) as masks:
        model(**inputs)
        assert masks.kept.counts.shape == (1, 2)
    check()
    broken = trained()
    broken.cuts[1].forward = functools.partial(exec, "raise RuntimeError('inside')")
    with soften(model, method, broken), pytest.raises((RuntimeError, TypeError)):
        model(**inputs)
    check()


def test_refusals(watched, modules, method):
    from transformers import DynamicCache

    model, inputs, check = watched
    with soften(model, method, modules) as masks:
        with pytest.raises(ValueError, match="want a forward pass first"):
            masks.kept  # noqa: B018
        with pytest.raises(ValueError, match="want no generate"):
            model.generate(**inputs)
        with pytest.raises(ValueError, match="is being pruned already"), prune(model, method):
            pass
        cache = DynamicCache(config=model.config.text_config)
        model(**{name: value[1:, -4:] for name, value in inputs.items() if value.ndim == 2}, **with_cache(model, cache))
        with pytest.raises(ValueError, match="want whole sequences"):
            model(input_ids=torch.tensor([[7]]), **with_cache(model, cache))
    for wrong, match in (
        ({"modules": ATPModules((1,))}, r"want modules for the layers \(1, 2\), got some for \(1,\)"),
        ({"method": FastV()}, "want a method with learned thresholds"),
        ({"temperature": 0.0}, "want a temperature above 0"),
    ):
        with pytest.raises(ValueError, match=match), soften(model, **{"method": method, "modules": modules, **wrong}):
            pass
    check()
