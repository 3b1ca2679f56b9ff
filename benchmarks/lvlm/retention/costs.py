"""What a prompt costs under a method: FLOPs of tower and decoder, bytes of the cache, milliseconds, choosing included.

Times are of one prompt of one question, the whole model's forward pass with its tower, in turn with the same pass
without pruning, so that both see the same weather; medians.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.lvlm.retention.asking import hooked, prompt, sized
from benchmarks.lvlm.retention.cases import EqualBudget
from benchmarks.lvlm.retention.subject import GRID, Picture, Subject
from benchmarks.lvlm.scene import PATCH
from prunekernels import budget
from tokenpruner import BlockMethod, Report, TokenMethod, prune
from tokenpruner.base.token_method import method_from_text
from tokenpruner.models import vision_towers
from tokenpruner.report.flops import LayerCost, layer_cost, tower_flops

WARM_UP, ROUNDS = 1, 9
# tokens of a prompt beside those of the picture
N_TEXT = 9


@dataclasses.dataclass(frozen=True)
class Costs:
    """A prompt's; of a method inside the tower `tower_gflop` is what is left of the tower's."""

    tokens: int
    tower_gflop: float
    decoder_gflop: float
    kv_mb: float
    select_ms: float
    decoder_ms: float
    whole_ms: float
    full_ms: float


@torch.inference_mode()
def costs(subject: Subject, method: TokenMethod | None, pictures: Sequence[Picture]) -> Costs:
    """Of the first question of a few pictures."""
    reports, wholes, texts = [], [], []
    for picture in pictures[: WARM_UP + ROUNDS]:
        question = picture.questions[0].text
        pixels = picture.pixels.to(subject.device)
        inputs = prompt(sized(method, pixels), question)
        reports.append(_run(subject, method, inputs))
        wholes.append(_run(subject, None, prompt(pixels, question)))
        texts.append(inputs["input_ids"].shape[1] - reports[-1].visual_before)
    own = reports[WARM_UP:]
    last, n_passes = own[-1], len(own)
    blocks = vision_towers.find(subject.whole.model.vision_tower).blocks
    n_patches = sized(method, pictures[0].pixels)[0, 0].numel() // PATCH**2
    tower: float = tower_flops(blocks, [n_patches + 1] * len(blocks))
    told = decoder = sum((report.flops_after or 0) for report in own) / n_passes
    if isinstance(method, BlockMethod):
        # it is told of tower and decoder together
        decoder = sum(decoder_flops(subject, last.visual_after + n_text) for n_text in texts[WARM_UP:]) / n_passes
        tower = told - decoder
    return Costs(
        tokens=last.visual_after,
        tower_gflop=tower / 1e9,
        decoder_gflop=decoder / 1e9,
        kv_mb=sum((report.kv_bytes_after or 0) for report in own) / n_passes / 1e6,
        select_ms=statistics.median(report.selection_ms for report in own),
        decoder_ms=statistics.median(report.prefill_ms for report in own),
        whole_ms=statistics.median(report.total_ms for report in own),
        full_ms=statistics.median(report.total_ms for report in wholes[WARM_UP:]),
    )


def _run(subject: Subject, method: TokenMethod | None, inputs: dict[str, torch.Tensor]) -> Report:
    with prune(subject.whole, hooked(method)) as report:
        subject.whole(**inputs, use_cache=True, logits_to_keep=1)
    return report


def layer_costs(subject: Subject) -> list[LayerCost]:
    """Those of the decoder's layers."""
    config, layers = subject.given.config.text_config, subject.given.model.language_model.layers
    return [cost for layer in layers if (cost := layer_cost(layer, config)) is not None]


def decoder_flops(subject: Subject, n_tokens: int) -> int:
    """Those of the decoder's layers for a prompt of `n_tokens`."""
    return sum(cost.flops(n_tokens) for cost in layer_costs(subject))


def equal_budget(subject: Subject, ratio: float, inside_tower: Sequence[str]) -> EqualBudget:
    """The budget where `ratio` of the tokens enter the decoder.

    A smaller picture, and a fraction that leaves the tower, are the largest for which tower and decoder together cost
    no more.
    """
    blocks = vision_towers.find(subject.whole.model.vision_tower).blocks
    whole = GRID[0] * GRID[1]

    def decoder(n_tokens: int) -> int:
        return decoder_flops(subject, n_tokens + N_TEXT)

    def both(lengths: Sequence[int], n_left: int) -> int:
        return tower_flops(blocks, [n + 1 for n in lengths]) + decoder(n_left)

    def merged(text: str, n_left: int) -> int:
        method = method_from_text(f"{text}:keep_ratio={n_left / whole}")
        if not isinstance(method, BlockMethod):
            raise ValueError(f"want a method inside the tower, got {text}")
        # behind the last blocks nothing may go
        gone = [*method.removals(whole, len(blocks)), *[0] * len(blocks)][: len(blocks)]
        lengths = [whole, *(whole - np.cumsum(gone)).tolist()]
        return both(lengths[:-1], lengths[-1])

    left = decoder(budget.n_keep(whole, ratio))
    most = both([whole] * len(blocks), budget.n_keep(whole, ratio))
    sides = range(GRID[0], 0, -1)
    smaller = next(side**2 for side in sides if both([side**2] * len(blocks), side**2) <= most)
    kept = {text: next(n for n in range(whole, 0, -1) if merged(text, n) <= most) / whole for text in inside_tower}
    return EqualBudget(left / decoder(whole), smaller, kept)
