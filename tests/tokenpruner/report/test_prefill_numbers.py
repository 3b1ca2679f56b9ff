"""The report and its costs, worked by hand."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
import torch

from tests.tokenpruner.caches import cache_from, with_cache
from tokenpruner import Report, prune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.pyramiddrop import PyramidDrop
from tokenpruner.methods.stride import Stride
from tokenpruner.report.flops import LayerCost, layer_cost
from tokenpruner.report.records import LAST, KeptImage, Prefill
from tokenpruner.report.text_table import summary


def cost(n, past=0):
    """FLOPs of the three layers: 32 wide, four heads of 8, two of them for keys, inner width 48."""
    return 3 * (4 * n * 32 * (32 + 16) + 4 * n * (n + past) * 32 + 6 * n * 32 * 48)


def test_costs_by_hand(model):
    layer = model.model.language_model.layers[1]
    found = layer_cost(layer, model.config.text_config)
    assert found == LayerCost(4 * 32 * 48 + 6 * 32 * 48, 4 * 32, 2 * 32 * 64)
    assert 3 * found.flops(5, 2) == cost(5, 2)
    assert found.skipping_flops(5, 5, 2) == found.flops(5, 2)
    # queries, keys and values of all five, two of them computed
    wanted = 5 * 2 * 32 * 64 + 2 * (4 * 32 * 48 + 6 * 32 * 48) + 2 * 7 * 4 * 32
    assert found.skipping_flops(5, 2, 2) == wanted


def test_flops_agree_with_the_layers(make_model):
    """Against the multiplications that torch counts: all of them in eager attention, the causal half included."""
    from torch.utils.flop_counter import FlopCounterMode

    model, counter = make_model(attention="eager"), FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.model.language_model(inputs_embeds=torch.randn(1, 7, 32, dtype=torch.float64), use_cache=False)
    counts = counter.get_flop_counts()
    counted = sum(sum(counts[f"LlamaModel.layers.{layer}"].values()) for layer in range(3))
    assert counted == cost(7)


def test_the_report_by_hand(model, prompt):
    inputs = prompt([[2, "I", 3], [4], ["I", "I", 1]])
    with torch.no_grad(), prune(model, Stride(keep_ratio=0.25)) as report:
        assert (report.visual_before, report.prefill_ms, report.images) == (0, 0, [])
        model(**inputs)
        model(**prompt([[9]]))
        model(**prompt([[1, "I", 1]]))
    first, second = report.prefills
    assert report.method == "stride:keep_ratio=0.25,positions=compact"
    assert (first.tokens_before, first.tokens_after) == ((21, 4, 33), (9, 4, 9))
    assert (second.tokens_before, second.tokens_after) == ((18,), (6,))
    assert [(image.row, image.image) for image in report.images] == [(0, 0), (2, 0), (2, 1), (0, 0)]
    assert report.images[1] == KeptImage(2, 0, 16, (5, 7, 13, 15), (4, 4), columns=range(16))
    assert (report.visual_before, report.visual_after) == (64, 16)
    assert (report.tokens_before, report.tokens_after) == (76, 28)
    # 3 layers, 16 wide keys and as wide values, 8 bytes, rows filled up to the longest one
    assert (report.kv_bytes_before, report.kv_bytes_after) == ((3 * 33 + 18) * 768, (3 * 9 + 6) * 768)
    assert (first.flops_before, first.flops_after) == (3 * cost(33), 3 * cost(9))
    assert (second.flops_before, second.flops_after) == (cost(18), cost(6))
    assert all(0 < prefill.selection_ms < prefill.prefill_ms for prefill in report.prefills)


def test_a_report_counts_every_pass(model, prompt):
    inputs, kind = prompt([[2, "I", 3]]), {"do_sample": False, "max_new_tokens": 4}
    with prune(model, Stride(keep_ratio=0.25)) as report:
        model.generate(**inputs, **kind)
        assert len(report.prefills) == 1
        model.generate(**inputs, **kind, use_cache=False)
    assert [sum(prefill.tokens_after) for prefill in report.prefills] == [9, 9, 10, 11, 12]


def test_costs_of_a_second_turn(model, prompt):
    whole = prompt([[2, "I", 3, "I", 4]])
    with torch.no_grad(), prune(model, Stride(keep_ratio=0.25)) as report:
        cache = cache_from(model(input_ids=whole["input_ids"][:, :21], pixel_values=whole["pixel_values"][:1]))
        model(input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], **with_cache(model, cache))
    assert (report.prefills[1].flops_before, report.prefills[1].flops_after) == (cost(20, 21), cost(8, 9))
    # what the cache holds behind each turn
    assert [prefill.kv_bytes_after for prefill in report.prefills] == [9 * 768, (9 + 8) * 768]
    assert [prefill.kv_bytes_before for prefill in report.prefills] == [21 * 768, (21 + 20) * 768]


def test_tokens_of_each_layer(model, prompt):
    inputs = prompt([[2, "I", 3], [4]])
    for method, after in ((Stride(keep_ratio=0.25), [13, 13, 13]), (FastV(layer=1, keep_ratio=0.25), [25, 13, 13])):
        with torch.no_grad(), prune(model, method) as report:
            model(**inputs)
            model(**inputs)
        assert report.layers == [(50, 2 * n) for n in after]


def test_what_is_left_behind_each_cut(model, prompt):
    # three layers, three stages
    method = PyramidDrop(n_stages=3)
    with torch.no_grad(), prune(model, method) as report:
        model(**prompt([["I", 2, "I", 3]]))
    (prefill,) = report.prefills
    first, second = prefill.cuts
    assert [(image.layer, len(image.kept)) for image in (*first, *second)] == [(1, 8), (1, 8), (2, 4), (2, 4)]
    assert all({*later.kept} < {*earlier.kept} for earlier, later in zip(first, second, strict=True))
    assert prefill.images == second


def test_calls_are_measured_as_a_whole(model, prompt):
    inputs, kind = prompt([[2, "I", 3]]), {"do_sample": False, "max_new_tokens": 4}
    slow = model.model.vision_tower.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    with prune(model, Stride(keep_ratio=0.25)) as report:
        model.generate(**inputs, **kind)
        assert len(report.calls_ms) == 1
        with torch.no_grad():
            model(**inputs)
            # nothing to prune: nobody waits for it
            model(**prompt([[3]]))
        with pytest.raises(ValueError, match="Image features and image tokens do not match"):
            model(**inputs | {"input_ids": inputs["input_ids"] + 1})
        with pytest.raises(ValueError, match="static cache"):
            model.generate(**inputs, cache_implementation="static")
        model.generate(**prompt([[3]]), **kind)
    slow.remove()
    assert len(report.calls_ms) == 3
    # the image encoder counts, wherever it runs; the decoder's own time is without it
    assert min(report.calls_ms[:2]) > 50
    assert report.total_ms == sum(report.calls_ms)
    assert report.total_ms > report.prefill_ms > report.selection_ms
    assert report.peak_bytes is None


def test_threads_are_measured_apart(model, prompt):
    inputs = prompt([[2, "I", 3]])

    def run():
        with torch.no_grad():
            model(**inputs)
        model.generate(**inputs, do_sample=False, max_new_tokens=2)

    with prune(model, Stride(keep_ratio=0.25)) as report:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(report.calls_ms) == len(report.prefills) == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_of_a_gpu(model, prompt):
    model = model.to("cuda")
    inputs = {name: value.to("cuda") for name, value in prompt([[2, "I", 3]]).items()}
    with torch.no_grad(), prune(model, Stride(keep_ratio=0.25)) as report:
        model(**inputs)
    assert report.peak_bytes == torch.cuda.max_memory_allocated() > 0


def prefill(**changes):
    known = Prefill(
        images=(KeptImage(0, 0, 16, (1, 2)),),
        tokens_before=(20,),
        tokens_after=(6,),
        selection_ms=1.25,
        prefill_ms=30.0,
        flops_before=4_000_000_000,
        flops_after=1_000_000_000,
        kv_bytes_before=3_000_000,
        kv_bytes_after=900_000,
        layers=((6,),) * 4,
    )
    return dataclasses.replace(known, **changes)


def test_a_report_of_a_long_run_is_bounded():
    report, wanted = Report("stride"), 3 * LAST + 7
    for number in range(wanted):
        report.add(prefill(flops_before=number))
        report.add_call(0.5)
    assert (len(report.prefills), len(report.images), len(report.calls_ms)) == (LAST, LAST, LAST)
    assert report.prefills[0].flops_before == wanted - LAST
    # the sums are of all of them
    assert (report.n_passes, report.n_images, report.n_calls) == (wanted, wanted, wanted)
    assert (report.visual_before, report.visual_after) == (16 * wanted, 2 * wanted)
    assert (report.tokens_before, report.tokens_after) == (20 * wanted, 6 * wanted)
    assert report.flops_before == sum(range(wanted))
    assert (report.kv_bytes_before, report.total_ms) == (3_000_000 * wanted, 0.5 * wanted)
    assert report.layers == [(20 * wanted, 6 * wanted)] * 4
    assert f"({wanted} images in {wanted} passes)" in summary(report)
    assert f"({wanted} calls)" in summary(report)
    report.clear()
    assert report == Report("stride")


def test_the_summary():
    assert summary(Report("stride", [prefill()])).splitlines() == [
        "stride",
        "                                  before       after    left",
        "visual tokens                         16           2  12.5 %",
        "all tokens                            20           6  30.0 %",
        "decoder GFLOPs                         4           1  25.0 %",
        "KV cache MB                            3         0.9  30.0 %",
        "selection 1.2 ms, decoder 30.0 ms (1 image in 1 pass)",
    ]
    assert "0 images in 0 passes" in summary(Report())


def test_what_is_not_known_is_told_as_unknown():
    report = Report("stride", [prefill(), prefill(flops_before=None, flops_after=None)])
    assert (report.flops_before, report.flops_after, report.kv_bytes_before) == (None, None, 6_000_000)
    assert summary(report).splitlines()[4] == "decoder GFLOPs                   unknown     unknown       -"


def test_the_summary_of_unequal_layers_and_of_calls():
    frames = tuple(KeptImage(0, 0, 8, (1,), frame=frame) for frame in (0, 1))
    one = prefill(images=frames, layers=((20,), (20,), (12,), (6,)), flops_before=8_120_400_000_000)
    assert summary(Report("fastv", [one, one], [100.0, 20.04], 2_340_000_000)).splitlines()[4:] == [
        "decoder GFLOPs                    16,241           2   0.0 %",
        "KV cache MB                            6         1.8  30.0 %",
        "  layers 0 to 1                       40          40 100.0 %",
        "  layer 2                             40          24  60.0 %",
        "  layer 3                             40          12  30.0 %",
        "selection 2.5 ms, decoder 60.0 ms (4 images and frames in 2 passes)",
        "the model as a whole 120.0 ms (2 calls), peak memory 2.34 GB",
    ]


def test_the_summary_of_a_vision_transformer_and_of_what_was_not_run():
    vision = prefill(part="vision transformer", kv_bytes_before=0, kv_bytes_after=0)
    said = summary(Report("tome", [vision]))
    assert "vision transformer GFLOPs              4           1  25.0 %" in said
    assert "KV cache" not in said
    assert said.endswith("selection 1.2 ms, vision transformer 30.0 ms (1 image in 1 pass)")
    assert summary(Report("stride", [prefill(prefill_ms=None)])).endswith("selection 1.2 ms (1 image in 1 pass)")
