"""What a prompt costs under a method: FLOPs of tower and decoder, bytes of the cache, milliseconds, choosing included.

Times are of one prompt of one question, the whole model's forward pass with its tower, in turn with the same pass
without pruning, so that both see the same weather; medians.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

import torch

from benchmarks.lvlm.retention.asking import hooked, prompt, sized
from benchmarks.lvlm.retention.subject import GRID, Picture, Subject
from benchmarks.lvlm.scene import PATCH
from prunekernels import budget
from tokenpruner import Report, TokenMethod, prune
from tokenpruner.models import vision_towers
from tokenpruner.report.flops import layer_cost, tower_flops

WARM_UP, ROUNDS = 1, 9
# tokens of a prompt beside those of the picture
N_TEXT = 9


@dataclasses.dataclass(frozen=True)
class Costs:
    """A prompt's: `tower_gflop` is counted for the patches that come in, also where some leave on the way."""

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
    reports, wholes = [], []
    for picture in pictures[: WARM_UP + ROUNDS]:
        question = picture.questions[0].text
        reports.append(_run(subject, method, prompt(sized(method, picture.pixels), question)))
        wholes.append(_run(subject, None, prompt(picture.pixels, question)))
    own = reports[WARM_UP:]
    last, n_passes = own[-1], len(own)
    blocks = vision_towers.find(subject.whole.model.vision_tower).blocks
    n_patches = sized(method, pictures[0].pixels)[0, 0].numel() // PATCH**2
    return Costs(
        tokens=last.visual_after,
        tower_gflop=tower_flops(blocks, [n_patches + 1] * len(blocks)) / 1e9,
        decoder_gflop=sum((report.flops_after or 0) for report in own) / n_passes / 1e9,
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


def equal_budget(subject: Subject, ratio: float) -> tuple[float, int]:
    """The decoder's share of FLOPs where `ratio` of the tokens enter it, and the tokens of an equally dear picture.

    That is the largest smaller picture for which tower and decoder together cost no more.
    """
    config, layers = subject.whole.config.text_config, subject.whole.model.language_model.layers
    blocks = vision_towers.find(subject.whole.model.vision_tower).blocks
    known = [cost for cost in (layer_cost(layer, config) for layer in layers) if cost is not None]

    def decoder(n_tokens: int) -> int:
        return sum(cost.flops(n_tokens + N_TEXT) for cost in known)

    def tower(n_tokens: int) -> int:
        return tower_flops(blocks, [n_tokens + 1] * len(blocks))

    whole, left = GRID[0] * GRID[1], decoder(budget.n_keep(GRID[0] * GRID[1], ratio))
    smaller = (side * side for side in range(GRID[0], 0, -1))
    fits = next(n for n in smaller if tower(n) + decoder(n) <= tower(whole) + left)
    return left / decoder(whole), fits
