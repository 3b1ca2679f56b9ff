"""ATP's learned thresholds beside methods that need no training, at equal mean tokens, on a small LLaVA trained here.

python -m benchmarks.atp_training --tower .models/dinov2                     the whole run, for a GPU
python -m benchmarks.atp_training --tower .models/dinov2 --smoke             does it run: minutes of a CPU

A model is trained to answer questions about drawn scenes (`atp_scenes`, `atp_model`). Then ATP's modules are trained
with soft masks, the model frozen or trained along. What they then keep of held-out pictures, as a mean over the
decoder's layers, is what the other methods get: before the decoder, or from layer 1 on inside it. Where the model
is trained along, it is so for the others as well, through `prune()`, for as many steps. Methods inside the decoder
have read the picture in layer 0: `random inside` says what that alone is worth.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from benchmarks.atp_model import N_LAYERS, Batch, Examples, asked, batch, build, examples
from benchmarks.harness import RESULTS, record
from tokenpruner import LayerContext, LayerMethod, Report, Stage, TokenMethod, prune
from tokenpruner.methods.atp import ATP
from tokenpruner.methods.divprune import DivPrune
from tokenpruner.methods.fastv import FastV
from tokenpruner.methods.random import Random
from tokenpruner.methods.spatial import Spatial
from tokenpruner.methods.stride import Stride
from tokenpruner.training import ATPLoss, ATPModules, soften

LAYERS, RATES = (1, 3, 6), (0.5, 0.25, 0.0625)


@dataclasses.dataclass(frozen=True)
class Row:
    """A method on the held-out questions: `tokens` is the mean share of visual tokens over all layers."""

    method: str
    tuned: bool
    tokens: float
    accuracy: float
    region: float
    count: float
    colour: float
    digit: float
    questions: int
    steps: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class RandomInside(LayerMethod):
    """A random choice before layer 1, for what a choice there is worth."""

    keep_ratio: float = 0.5
    seed: int = 0

    def stages(self, n_layers: int) -> tuple[Stage, ...]:
        """One cut."""
        return (Stage(1, self.keep_ratio),)

    def importance(self, context: LayerContext) -> torch.Tensor:
        """Numbers drawn for the picture's place in the batch."""
        generator = torch.Generator().manual_seed(self.seed + 1000 * context.row)
        return torch.rand(context.n_tokens, generator=generator).to(context.hidden.device)


def main() -> None:
    """Train, compare, record."""
    options = _options()
    data, held_out = (
        examples(options.tower, n, options.tower_layers, held_out=other)
        for n, other in ((options.images, False), (options.test_images, True))
    )
    model = build(options.width, data.features.shape[-1], options.seed)
    start = time.perf_counter()
    batches = _batches(data, options, packed=True)
    _train(model, batches, nullcontext(), lambda: 0.0, (options.steps, options.rate))
    rows = [_row(model, None, held_out, options, (False, options.steps, time.perf_counter() - start))]
    for tuned in (False, True):
        rows += _compared(model, data, held_out, options, tuned)
    for row in rows:
        print(row)
    print(record("atp_training", rows, Path(options.results)))


def _compared(
    model: nn.Module, data: Examples, held_out: Examples, options: argparse.Namespace, tuned: bool
) -> list[Row]:
    """ATP, then the others at its tokens; each with a model of its own where the model is trained along."""
    own, start = copy.deepcopy(model), time.perf_counter()
    modules = ATPModules(LAYERS).to(next(model.parameters()).device)
    own.requires_grad_(tuned)
    own.atp = modules
    method, loss = ATP(layers=LAYERS, rates=RATES), ATPLoss(keep_ratio=options.keep_ratio)
    with soften(own, method, modules) as masks:
        batches = _batches(data, options, packed=False)
        _train(own, batches, nullcontext(), lambda: loss(masks.kept), (options.atp_steps, options.atp_rate))
    with tempfile.TemporaryDirectory() as folder:
        learned = dataclasses.replace(method, weights=str(modules.save(folder)))
        rows = [_row(own, learned, held_out, options, (tuned, options.atp_steps, time.perf_counter() - start))]
    mean = rows[0].tokens
    inside = max((mean * N_LAYERS - 1) / (N_LAYERS - 1), 1 / 256)
    others: list[TokenMethod] = [Random(keep_ratio=mean), Stride(keep_ratio=mean), DivPrune(keep_ratio=mean)]
    others += [Spatial(keep_ratio=mean), FastV(keep_ratio=inside, layer=1), RandomInside(keep_ratio=inside)]
    for other in others:
        own, start = copy.deepcopy(model), time.perf_counter()
        if tuned:
            batches = _batches(data, options, packed=False)
            _train(own, batches, prune(own, other), lambda: 0.0, (options.atp_steps, options.atp_rate))
        steps = options.atp_steps if tuned else 0
        rows.append(_row(own, other, held_out, options, (tuned, steps, time.perf_counter() - start)))
    return rows


def _batches(data: Examples, options: argparse.Namespace, *, packed: bool) -> Iterator[Batch]:
    """Random pictures with all their questions, or with one, without end."""
    draw = random.Random(options.seed)
    while True:
        picks = draw.sample(range(len(data.questions)), options.batch)
        questions = [data.questions[pick] if packed else [draw.choice(data.questions[pick])] for pick in picks]
        yield batch(data.features[picks], [draw.sample(own, len(own)) for own in questions])


def _train(
    model: nn.Module,
    batches: Iterator[Batch],
    around: AbstractContextManager[object],
    more: Callable[[], torch.Tensor | float],
    plan: tuple[int, float],
) -> None:
    """AdamW for a plan of steps and rate, which falls to nothing; `more` is added to the loss of each step."""
    n_steps, rate = plan
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=n_steps + 1, pct_start=0.05)
    model.train()
    with around:
        for number, inputs in zip(range(n_steps), batches, strict=False):
            loss = model(**inputs, use_cache=False).loss + more()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if number % 200 == 0:
                print(f"step {number} of {n_steps}: loss {loss.item():.3f}", flush=True)
    model.eval()


@torch.no_grad()
def _row(
    model: nn.Module,
    method: TokenMethod | None,
    held_out: Examples,
    options: argparse.Namespace,
    run: tuple[bool, int, float],
) -> Row:
    """Answer every held-out question with one word."""
    model.eval()
    right: dict[str, list[bool]] = {"region": [], "count": [], "colour": [], "digit": []}
    every = [(image, question) for image, own in enumerate(held_out.questions) for question in own]
    with _pruned(model, method) as report:
        for first in range(0, len(every), options.batch):
            images, questions = zip(*every[first : first + options.batch], strict=True)
            inputs = asked(held_out.features[list(images)], questions)
            told = model(**inputs, logits_to_keep=1).logits[:, -1].argmax(-1).tolist()
            for question, token in zip(questions, told, strict=True):
                right[question.kind].append(token == question.answer_id)
    shares = {kind: sum(own) / max(len(own), 1) for kind, own in right.items()}
    total = [one for own in right.values() for one in own]
    tuned, steps, seconds = run
    name = type(method).__name__ if method is not None else "full"
    return Row(
        name,
        tuned,
        _share(report),
        sum(total) / len(total),
        **shares,
        questions=len(total),
        steps=steps,
        seconds=seconds,
    )


@contextmanager
def _pruned(model: nn.Module, method: TokenMethod | None) -> Iterator[Report | None]:
    if method is None:
        yield None
        return
    with prune(model, method) as report:
        yield report


def _share(report: Report | None) -> float:
    """The mean share of visual tokens over the layers."""
    if report is None:
        return 1.0
    dropped = sum(before - saw for before, saw in report.layers)
    return 1 - dropped / (len(report.layers) * report.visual_before)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tower", required=True, help="folder of a DINOv2 for transformers")
    parser.add_argument("--tower-layers", type=int, default=8)
    parser.add_argument("--results", default=str(RESULTS), help="folder of the record")
    sizes = {
        "images": 12000,
        "test-images": 300,
        "steps": 12000,
        "atp-steps": 3000,
        "batch": 32,
        "width": 256,
        "seed": 0,
    }
    smoke = {"images": 24, "test-images": 3, "steps": 6, "atp-steps": 3, "batch": 4, "width": 32, "seed": 0}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--atp-rate", type=float, default=3e-4)
    parser.add_argument("--keep-ratio", type=float, default=0.375, help="what ATP aims at, a mean over the layers")
    parser.add_argument("--smoke", action="store_true", help="sizes at which nothing is learned")
    options = parser.parse_args()
    if options.smoke:
        vars(options).update({name.replace("-", "_"): value for name, value in smoke.items()})
    return options


if __name__ == "__main__":
    main()
