"""A chain in a model: the same numbers as a replay by hand, however batched and decoded, within its budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from prunekernels import budget
from tests.tokenpruner.adapters import families
from tests.tokenpruner.adapters.family_checks import fed
from tests.tokenpruner.adapters.family_checks import singles as singles_of
from tests.tokenpruner.caches import cache_from, followed
from tests.tokenpruner.inside_decoder.layer_replay import through, weights_of
from tokenpruner import Context, prepare, prune
from tokenpruner.base.layer_budget import BudgetedLayerMethod
from tokenpruner.base.schedules.one_cut import OneCut
from tokenpruner.methods.chain import Chain
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pool import Pool
from tokenpruner.methods.stride import Stride
from tokenpruner.methods.visionzip import VisionZip
from tokenpruner.report.prefill_record import PrefillCosts
from tokenpruner.report.text_table import summary

IMAGE, N = 5, 16
CLOSE = {"rtol": 0, "atol": 2e-5}
GREEDY = {"do_sample": False, "max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
RAGGED = [[2, "I", 3], [4], ["I", "I", 1], [1, "I", 2]]


def close(got, wanted):
    torch.testing.assert_close(got.double(), wanted.double(), **CLOSE)


def real(logits, report):
    """The logits of tokens, without those of padding: [tokens of all rows, vocabulary]."""
    counts = report.prefills[-1].tokens_after
    return torch.cat([own[-n:] for own, n in zip(logits, counts, strict=True)])


@torch.no_grad()
def chained(model, row, method, ratio, way):
    """`method` before the decoder, then FastV at layer 1 with the fraction `ratio`; logits and picks of each image."""
    ids = row["input_ids"][0]
    hidden = model.get_input_embeddings()(ids).clone()
    kept, picks = list(range(len(ids))), []
    places = (ids == IMAGE).nonzero().flatten().view(-1, N).tolist() if "pixel_values" in row else []
    for number, columns in enumerate(places):
        features = model.model.get_image_features(row["pixel_values"]).pooler_output[number]
        context = Context(features, (4, 4), 0, number)
        own = method.select(context)
        merge = method.merge(context, own)
        hidden[columns] = features
        for place, pick in enumerate(own.tolist()) if merge is not None else ():
            hidden[columns[pick]] = features[merge.target == place].double().mean(0)
        gone = {column for place, column in enumerate(columns) if place not in own.tolist()}
        kept = [column for column in kept if column not in gone]
        picks.append(own.tolist())
    hidden, seen = hidden[kept], None

    def places_of(kept):
        return torch.arange(len(kept)) if way == "compact" else torch.tensor(kept)

    for number, layer in enumerate(model.model.language_model.layers):
        if number == 1:
            before = kept
            for image, columns in enumerate(places):
                n = math.ceil(len(picks[image]) * ratio - 1e-9)
                ranked = sorted(picks[image], key=lambda i: (-float(seen[before.index(columns[i])]), i))  # noqa: B023
                gone = {columns[i] for i in ranked[n:]}
                picks[image] = sorted(ranked[:n])
                kept = [column for column in kept if column not in gone]
            hidden = hidden[[before.index(column) for column in kept]]
        weights = weights_of(layer, hidden, places_of(kept))
        seen = weights[:, -1].mean(0)
        hidden = through(layer, hidden, weights)
    return model.lm_head(model.model.language_model.norm(hidden)), picks


@pytest.mark.parametrize("way", ["keep", "compact"])
@pytest.mark.parametrize("method", [DivPrune(n_keep=9), Pool(n_keep=9)], ids=str)
def test_a_chain_is_its_methods_one_after_another(model, prompt, singles, method, way):
    inputs = prompt(RAGGED)
    chain = Chain((method, FastV(0.5, layer=1)), positions=way)
    with torch.no_grad(), prune(model, chain) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(singles(inputs)):
        wanted, picks = chained(model, alone, method, 0.5, way)
        close(together[row, -len(wanted) :], wanted)
        close(uncached[row, -len(wanted) :], wanted)
        assert [[*image.kept] for image in report.prefills[0].images if image.row == row] == picks
    assert f"positions={way}" in report.method
    first, second = report.prefills[0].cuts
    assert {(one.layer, len(one.kept)) for one in first} == {(0, 9)}
    assert {(one.layer, len(one.kept)) for one in second} == {(1, 5)}


@pytest.mark.parametrize("way", ["keep", "compact"])
def test_decoding_and_turns_go_on_from_its_cache(model, prompt, singles, way):
    inputs = prompt(RAGGED)
    chain = Chain((VisionZip(n_keep=9), FastV(0.5, layer=1)), positions=way)
    with prune(model, chain):
        out = model.generate(**inputs, **GREEDY)
        plain = model.generate(**inputs, **GREEDY, use_cache=False)
        close(torch.stack(out.logits), torch.stack(plain.logits))
        for row, alone in enumerate(singles(inputs)):
            own = model.generate(**alone, **GREEDY)
            close(torch.stack(own.logits)[:, 0], torch.stack(out.logits)[:, row])
        # 33 + 3 tokens, two images of 16 of which 9 and 5 are left
        assert [layer.keys.shape[2] for layer in cache_from(out).layers] == [22, 14, 14]
        assert {layer.get_seq_length() for layer in cache_from(out).layers} == {36}
        more = torch.randint(6, 62, (4, 3), generator=torch.Generator().manual_seed(1))
        again = followed(model, inputs, out, more)
        second = model.generate(**again, **GREEDY)
        whole = {name: again[name] for name in ("input_ids", "attention_mask")} | {
            "pixel_values": inputs["pixel_values"]
        }
    # what was chosen once stays: the first turn's picks do not hang on the second turn's text
    with prune(model, Chain((VisionZip(n_keep=9), First(keep_ratio=0.5)), positions=way)):
        first = model.generate(**inputs, **GREEDY)
        turn = model.generate(**followed(model, inputs, first, more), **GREEDY)
        ids = torch.cat([first.sequences, more], 1)
        mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 7), value=1)
        replayed = model.generate(input_ids=ids, attention_mask=mask, pixel_values=inputs["pixel_values"], **GREEDY)
    assert torch.equal(turn.sequences, replayed.sequences)
    close(torch.stack(turn.logits), torch.stack(replayed.logits))
    assert second.sequences.shape == (4, whole["input_ids"].shape[1] + 4)


@dataclass(frozen=True)
class First(BudgetedLayerMethod):
    """Rule: the first tokens of each image; reads nothing."""

    layer: int = 1

    @property
    def schedule(self):
        """One cut."""
        return OneCut(self.layer)

    def keep(self, context, n):
        """The first `n`."""
        return torch.arange(n)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_budget_is_held_row_by_row(model, prompt, singles, share):
    inputs = prompt(RAGGED)
    with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=share) as report:
        together = model(**inputs).logits
    for row, alone in enumerate(singles(inputs)):
        with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=share) as own:
            wanted = model(**alone).logits[0]
        close(together[row, -len(wanted) :], wanted)
        images = [image.kept for image in report.images if image.row == row]
        assert [image.kept for image in own.images] == images
        if images:
            # a token more of each image at either cut would be too many
            slack = 2 * len(images) / own.prefills[0].tokens_before[0]
            assert share - slack < own.flops_after / own.flops_before <= share


# 5.15 makes rotary tables by a matrix product, which torch counts to the layer before which positions are numbered anew
@pytest.mark.newest
def test_flops_are_those_that_torch_counts(make_model, prompt):
    """All multiplications of the layers, in eager attention, the causal half included; who picks makes none."""
    from torch.utils.flop_counter import FlopCounterMode

    model, inputs = make_model(attention="eager"), prompt([[2, "I", 3, "I", 1]])
    totals = []
    for entered in (None, prune(model, [Stride(), First()], flops_ratio=0.5)):
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            if entered is None:
                model(**inputs)
            else:
                with entered as report:
                    model(**inputs)
        counts = counter.get_flop_counts()
        names = [
            name for name in counts if name.endswith(tuple(f"language_model.layers.{layer}" for layer in range(3)))
        ]
        assert len(names) == 3
        totals.append(sum(sum(counts[name].values()) for name in names))
    assert totals == [report.flops_before, report.flops_after]
    assert 0.4 < totals[1] / totals[0] <= 0.5


def test_the_report_says_how_the_budget_was_split(model, prompt):
    with torch.no_grad(), prune(model, ["divprune", "fastv:layer=1"], flops_ratio=0.5) as report:
        model(**prompt([[2, "I", 3]]))
    first, second = report.prefills[0].chain
    assert (first.method, second.method) == ("divprune", "fastv:layer=1")
    (x,) = first.keep_ratios
    assert second.keep_ratios == (x,)
    n = budget.n_keep(16, x)
    assert (first.visual_before, first.visual_after) == (16, n)
    assert (second.visual_before, second.visual_after) == (n, budget.n_keep(n, x))
    assert report.flops_before > first.flops_after > second.flops_after == report.flops_after
    assert report.layers == [(21, 5 + n)] + [(21, 5 + budget.n_keep(n, x))] * 2
    assert f"  divprune: 16 -> {n} visual tokens, solved for {100 * x:.1f} %" in summary(report).splitlines()
    with torch.no_grad(), prune(model, ["divprune:n_keep=4", "fastv:layer=1,n_keep=2"]) as report:
        model(**prompt([[2, "I", 3]]))
    assert [share.keep_ratios for share in report.prefills[0].chain] == [(), ()]
    assert "  fastv:n_keep=2,layer=1: 4 -> 2 visual tokens" in summary(report).splitlines()


def test_a_method_alone_and_in_a_chain(model, prompt):
    inputs = prompt(RAGGED)
    for method in (DivPrune(n_keep=5), Pool(n_keep=5), FastV(0.4, layer=1)):
        found = []
        for one in (method, [method]):
            with torch.no_grad(), prune(model, one) as report:
                logits = real(model(**inputs).logits, report)
                found.append((logits, report.images, report.flops_after, report.kv_bytes_after))
        close(found[0][0], found[1][0])
        assert found[0][1:] == found[1][1:]


def test_it_learns_and_leaves_the_model_as_found(watched, prompt):
    model, _, check = watched
    inputs = prompt([[2, "I", 3], [1, "I", 1, "I", 2]])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] <= 5, -100)
    with prune(model, ["pool", "fastv:layer=1"], flops_ratio=0.5):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
    assert loss.isfinite()
    assert model.model.multi_modal_projector.linear_1.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)
    check()


def test_what_a_chain_cannot_do(model, prompt):
    inputs = prompt([[2, "I", 3]])
    with pytest.raises(ValueError, match=r"prepare\(\) hands over what enters the decoder"):
        prepare(model, Chain(), **inputs)
    with prune(model, ["divprune", "fastv"]), pytest.raises(ValueError, match="static cache"):
        model.generate(**inputs, cache_implementation="static")
    with pytest.raises(ValueError, match="want a layer from 1 to 2"), prune(model, ["divprune", "fastv:layer=3"]):
        pass
    with (
        prune(model, ["divprune", "fastv"], flops_ratio=0.01),
        pytest.raises(ValueError, match="flops_ratio of at least"),
    ):
        model(**inputs)
    with pytest.raises(ValueError, match="want a method such as"):
        prune(model, [3])


@pytest.mark.parametrize("name", families.params(["qwen3_vl", "qwen2_5_vl", "gemma3", "llava_next", "idefics3"]))
def test_families(name):
    """DeepStack, positions of three parts, masks made ahead, newlines: as the methods by themselves, row by row."""
    feed = fed(name)
    rows = [[2, "I", 3], [4], ["I", 2, "I", 1]]
    inputs = feed.encode(rows)
    with torch.no_grad():
        for method in (Stride(0.5), Pool(0.5)):
            found = []
            for one in (method, [method]):
                with prune(feed.model, one) as report:
                    logits = real(feed.model(**inputs).logits, report)
                    found.append((logits, [image.kept for image in report.images]))
            torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=2e-4)
            assert found[0][1] == found[1][1]
        with prune(feed.model, ["pool", "fastv:layer=1"], flops_ratio=0.6) as report:
            together = feed.model(**inputs)
            assert report.flops_after <= 0.6 * report.flops_before or report.flops_before is None
            step = feed.model.generate(**inputs, **(GREEDY | {"max_new_tokens": 3}))
            plain = feed.model.generate(**inputs, **(GREEDY | {"max_new_tokens": 3}), use_cache=False)
    torch.testing.assert_close(torch.stack(step.logits), torch.stack(plain.logits), rtol=0, atol=2e-4)
    assert together.logits.shape[1] < inputs["input_ids"].shape[1]
    three = name in ("qwen3_vl", "qwen2_5_vl")
    assert ("positions=keep" if three else "positions=compact") in report.method


def agrees_with_its_rows(model, inputs, rows, chain):
    """Logits and picks of a batch under `chain` are those of each row alone, with a cache and without; the report."""
    with torch.no_grad(), prune(model, chain) as report:
        together = model(**inputs).logits
        uncached = model(**inputs, use_cache=False).logits
    for row, alone in enumerate(rows):
        with torch.no_grad(), prune(model, chain) as own:
            wanted = model(**alone).logits[0]
        for got in (together, uncached):
            torch.testing.assert_close(got[row, -len(wanted) :].double(), wanted.double(), rtol=0, atol=2e-4)
        assert [one.kept for one in own.images] == [one.kept for one in report.prefills[0].images if one.row == row]
        if own.images:
            first, last = own.prefills[0].chain[0], own.prefills[0].chain[-1]
            assert last.flops_after <= first.flops_after
    return report


def test_tokens_leave_in_the_tower_first(model, prompt, singles):
    inputs = prompt(RAGGED)
    chain = Chain(("tome:r=4", "divprune", "fastv:layer=1"), 0.4)
    report = agrees_with_its_rows(model, inputs, singles(inputs), chain)
    tower, before, inside = report.prefills[0].chain
    assert (tower.method, tower.visual_before, tower.visual_after, tower.keep_ratios) == ("tome:r=4", 64, 48, ())
    assert before.visual_before == 48
    # 13 tokens of text
    assert before.visual_after == inside.visual_before == sum(report.prefills[0].layers[0]) - 13
    assert inside.visual_after == sum(report.prefills[0].layers[2]) - 13
    # the budget is the decoder's, of what all tokens of the picture would cost
    whole = sum(cost.flops(33) for cost in PrefillCosts.of(model.model.language_model).layers)
    assert inside.flops_after / (4 * whole) <= 0.4
    # what the tower leaves of an image, the next method picks among
    with torch.no_grad(), prune(model, "tome:r=4") as first:
        model(**inputs)
    for own, cut in zip(first.images, report.prefills[0].images, strict=True):
        assert {*cut.kept} < {*own.kept}


@pytest.mark.parametrize(
    "methods", [("downsample:keep_ratio=0.5", "divprune", "fastv:layer=1"), ("pixel_duplicates", "fastv:layer=1")]
)
def test_a_tower_that_is_given_less(methods):
    feed = fed("qwen2_5_vl")
    rows = [[2, "I", 3], [4], ["I", 2, "I", 1]]
    inputs = feed.encode(rows)
    report = agrees_with_its_rows(feed.model, inputs, singles_of(feed, rows, inputs), Chain(methods, 0.7))
    assert report.prefills[0].chain[0].visual_before >= report.prefills[0].chain[0].visual_after
    assert "positions=keep" in report.method
    with prune(feed.model, Chain(methods, 0.7)):
        step = feed.model.generate(**inputs, **GREEDY)
        plain = feed.model.generate(**inputs, **GREEDY, use_cache=False)
    torch.testing.assert_close(torch.stack(step.logits), torch.stack(plain.logits), rtol=0, atol=2e-4)
