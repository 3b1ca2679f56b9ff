"""The report and its costs, worked by hand."""

from __future__ import annotations

import torch

from tokenpruner import Report, prune
from tokenpruner.cost import Decoder
from tokenpruner.methods.stride import Stride
from tokenpruner.report import KeptImage, Prefill
from tokenpruner.view import summary


def test_costs_by_hand():
    # width 8, two heads of 4, one key-value head, inner width 10, three layers
    decoder = Decoder(n_layers=3, hidden=8, attention=8, key_value=4, mlp=10)
    # per layer for 5 tokens behind 2: 4*5*8*12 + 4*5*7*8 + 6*5*8*10
    assert decoder.flops(5, 2) == 3 * (1920 + 1120 + 2400)
    assert decoder.kv_bytes(5, 2) == 2 * 3 * 4 * 5 * 2


def test_costs_from_a_config(model):
    decoder = Decoder.from_config(model.config.text_config)
    assert decoder == Decoder(n_layers=3, hidden=32, attention=32, key_value=16, mlp=48)


def test_flops_agree_with_the_layers(make_model):
    """Against the multiplications that torch counts: all of them in eager attention, the causal half included."""
    from torch.utils.flop_counter import FlopCounterMode

    model, counter = make_model(attention="eager"), FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.model.language_model(inputs_embeds=torch.randn(1, 7, 32, dtype=torch.float64), use_cache=False)
    counts = counter.get_flop_counts()
    counted = sum(sum(counts[f"LlamaModel.layers.{layer}"].values()) for layer in range(3))
    assert counted == Decoder.from_config(model.config.text_config).flops(7)


def test_the_report_by_hand(model, prompt):
    inputs = prompt([[2, "I", 3], [4], ["I", "I", 1]])
    with torch.no_grad(), prune(model, Stride(keep_ratio=0.25)) as report:
        assert (report.visual_before, report.prefill_ms, report.images) == (0, 0, [])
        model(**inputs)
        model(**prompt([[9]]))
        model(**prompt([[1, "I", 1]]))
    first, second = report.prefills
    assert report.method == "stride:keep_ratio=0.25"
    assert (first.tokens_before, first.tokens_after) == ((21, 4, 33), (9, 4, 9))
    assert (second.tokens_before, second.tokens_after) == ((18,), (6,))
    assert [(image.row, image.image) for image in report.images] == [(0, 0), (2, 0), (2, 1), (0, 0)]
    assert report.images[1] == KeptImage(2, 0, 16, (5, 7, 13, 15), (4, 4), columns=tuple(range(16)))
    assert (report.visual_before, report.visual_after) == (64, 16)
    assert (report.tokens_before, report.tokens_after) == (76, 28)
    # 3 layers, 16 wide keys and as wide values, 8 bytes
    assert (report.kv_bytes_before, report.kv_bytes_after) == (76 * 768, 28 * 768)
    decoder = Decoder.from_config(model.config.text_config)
    assert first.flops_after == 2 * decoder.flops(9) + decoder.flops(4)
    assert first.flops_before == decoder.flops(21) + decoder.flops(4) + decoder.flops(33)
    assert all(prefill.selection_ms > 0 and prefill.prefill_ms > 0 for prefill in report.prefills)


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
        cache = model(input_ids=whole["input_ids"][:, :21], pixel_values=whole["pixel_values"][:1]).past_key_values
        model(input_ids=whole["input_ids"][:, 21:], pixel_values=whole["pixel_values"][1:], past_key_values=cache)
    decoder = Decoder.from_config(model.config.text_config)
    assert report.prefills[1].flops_before == decoder.flops(20, 21)
    assert report.prefills[1].flops_after == decoder.flops(8, 9)


def test_the_summary():
    prefill = Prefill(
        images=(KeptImage(0, 0, 16, (1, 2)),),
        tokens_before=(20,),
        tokens_after=(6,),
        selection_ms=1.25,
        prefill_ms=30.0,
        flops_before=4_000_000_000,
        flops_after=1_000_000_000,
        kv_bytes_before=3_000_000,
        kv_bytes_after=900_000,
    )
    assert summary(Report("stride", [prefill])).splitlines() == [
        "stride",
        "                          before       after    left",
        "visual tokens                 16           2  12.5 %",
        "all tokens                    20           6  30.0 %",
        "decoder GFLOPs                 4           1  25.0 %",
        "KV cache MB                    3         0.9  30.0 %",
        "selection 1.2 ms, decoder prefill 30.0 ms (1 image in 1 pass)",
    ]
    assert "0 images in 0 passes" in summary(Report())
