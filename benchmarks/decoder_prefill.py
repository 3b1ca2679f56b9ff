"""Prefill and decoding of a LLaVA with a decoder of 1.1B random parameters, with all visual tokens and with a tenth.

    python -m benchmarks.decoder_prefill               two CPU cores: 15 minutes; nothing else should run there
    ... --visual-tokens 576 2880                       a part of it; nothing is recorded
    ... --small                                        a tiny decoder, to see that it runs; nothing is recorded

The decoder has the shape of Llama-3.2-1B, in bfloat16; the tower before it is so small that its time does not count.
A prompt is pictures of noise, 576 or 10,000 tokens each, and 64 words behind them; weights are random, so that which
tokens stay means nothing, and costs what it costs. Everything is what a user runs: generate() inside `prune`, whose
report says what choosing took and what the layers' FLOPs are. Methods take turns, so that all see the same weather.

`prefill_ms` ends when the first token's logits are there, the choosing and gathering included; `promised` is how many
times less the layers' FLOPs are, and `reached` the share of it that the clock shows. `decode_ms` is one further token,
`cache_mb` keys and values behind the prefill. `peak_mb` is what the process took on top of what it held before the call
(Linux counts it, on a CPU alone).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.harness import DEVICE, Timing, quantiles, record
from tokenpruner import prune
from tokenpruner.report.records import Prefill, Report

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

ALL_TOKENS = "all tokens"
METHODS = (
    ALL_TOKENS,
    "stride:keep_ratio=0.1",
    "divprune:keep_ratio=0.1",
    "fastv:keep_ratio=0.1",
    "pyramiddrop",
)
VISUAL_TOKENS = (576, 2880, 10_000)
ROUNDS = {576: 5, 2880: 3, 10_000: 2}
PATCH, N_WORDS, N_NEW, IMAGE = 14, 64, 9, 2
DECODER = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 32_000}  # fmt: skip
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 100}  # fmt: skip
TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 1}


@dataclass(frozen=True)
class Row:
    """One method at one number of visual tokens; `kept` is what the last layer sees of them."""

    decoder_parameters: int
    visual_tokens: int
    method: str
    kept: int
    prefill_ms: Timing
    speed_up: float
    promised: float
    reached: float
    selection_ms: float
    selection_share: float
    decode_ms: float
    cache_mb: float
    peak_mb: float | None


@dataclass
class Course:
    """What the calls of one method took."""

    prefill_ms: list[float] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    selection_ms: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    report: Report | None = None


class Clock:
    """A logits processor that notes when each token's logits are there."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if scores.is_cuda:
            torch.cuda.synchronize(scores.device)
        self.times.append(time.perf_counter())
        return scores


def sides_of(visual_tokens: int) -> tuple[int, int]:
    """Pictures, and patches a side of each: one square where the number is one, or as many of 576 as it has."""
    side = math.isqrt(visual_tokens)
    if side * side == visual_tokens:
        return 1, side
    if visual_tokens % 576:
        raise ValueError(f"want a square or a multiple of 576 as visual tokens, got {visual_tokens}")
    return visual_tokens // 576, 24


def new_model(side: int, is_small: bool) -> LlavaForConditionalGeneration:
    """A LLaVA-1.5 of random weights whose pictures have `side` x `side` patches."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    sizes = TINY if is_small else DECODER
    config = LlavaConfig(
        text_config=LlamaConfig(**sizes, max_position_embeddings=16_384, eos_token_id=None),
        vision_config=CLIPVisionConfig(image_size=PATCH * side, patch_size=PATCH, **TOWER),
        image_token_index=IMAGE,
        image_seq_length=side * side,
    )
    torch.manual_seed(0)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    model = model.to(torch.bfloat16).to_empty(device=DEVICE)
    model.init_weights()
    return model.eval()


def prompt(model: LlavaForConditionalGeneration, n_images: int) -> dict[str, torch.Tensor]:
    """Pictures of noise and words behind them."""
    n_visual, side = n_images * model.config.image_seq_length, model.config.vision_config.image_size
    words = torch.randint(IMAGE + 1, model.config.text_config.vocab_size, (1, N_WORDS))
    ids = torch.cat([torch.full((1, n_visual), IMAGE), words], 1).to(DEVICE)
    pixels = torch.randn(n_images, 3, side, side, dtype=torch.bfloat16).to(DEVICE)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


@torch.no_grad()
def call(model: LlavaForConditionalGeneration, method: str, inputs: dict[str, torch.Tensor], course: Course) -> None:
    """One generate(), noted in `course`."""
    held = _reset_peak()
    with nullcontext() if method == ALL_TOKENS else prune(model, method) as report:
        clock = Clock()
        model.generate(
            **inputs, do_sample=False, max_new_tokens=N_NEW, min_new_tokens=N_NEW, logits_processor=[clock],
            pad_token_id=0,
        )  # fmt: skip
    took = [1000 * (after - before) for before, after in zip(clock.times, clock.times[1:], strict=False)]
    course.prefill_ms.append(took[0])
    course.decode_ms += took[1:]
    course.peaks += [] if held is None else [_status("VmHWM") - held]
    if report is not None:
        course.report = report
        course.selection_ms.append(report.selection_ms)


def _reset_peak() -> float | None:
    """Megabytes that the process holds, its peak forgotten; None where that cannot be asked."""
    if DEVICE.type != "cpu" or not Path("/proc/self/clear_refs").exists():
        return None
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(f"{name}:"))


def rows_of(visual_tokens: int, methods: Sequence[str], rounds: int, is_small: bool) -> Iterator[Row]:
    """Every method at one number of visual tokens, in turns, behind a call that is not timed."""
    n_images, side = sides_of(visual_tokens)
    model = new_model(side, is_small)
    inputs = prompt(model, n_images)
    courses = {method: Course() for method in methods}
    call(model, methods[-1], inputs, Course())
    for number in range(rounds):
        for method, course in courses.items():
            call(model, method, inputs, course)
            print(f"{visual_tokens:,} visual tokens, round {number + 1} of {rounds}, {method}", flush=True)
    n_tower = sum(own.numel() for name, own in model.named_parameters() if "vision_tower" in name)
    whole = quantiles(courses[ALL_TOKENS].prefill_ms)
    other = next(course.report.prefills[0] for course in courses.values() if course.report is not None)
    for method, course in courses.items():
        yield _row(model.num_parameters() - n_tower, method, course, other, whole)


def _row(parameters: int, method: str, course: Course, other: Prefill, whole: Timing) -> Row:
    """`other` is a pruned pass over the same prompt: what it would have been is the pass with all tokens."""
    kept, promised, cache = other.visual_before, 1.0, other.kv_bytes_before
    if course.report is not None:
        own = course.report.prefills[0]
        kept, cache = own.visual_after, own.kv_bytes_after
        promised = (own.flops_before or 0) / (own.flops_after or 1)
    took, chosen = quantiles(course.prefill_ms), quantiles(course.selection_ms or [0.0]).p50
    speed_up = whole.p50 / took.p50
    return Row(
        parameters, other.visual_before, method, kept, took, speed_up, promised, speed_up / promised, chosen,
        chosen / took.p50, quantiles(course.decode_ms).p50, (cache or 0) / 1e6,
        quantiles(course.peaks).p50 if course.peaks else None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visual-tokens", type=int, nargs="+", default=[*VISUAL_TOKENS])
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    for n in options.visual_tokens:
        rows += rows_of(n, METHODS, 1 if options.small else ROUNDS.get(n, 3), options.small)
    for row in rows:
        print(row)
    if not options.small and options.visual_tokens == [*VISUAL_TOKENS]:
        print(record("decoder_prefill", rows))


if __name__ == "__main__":
    main()
