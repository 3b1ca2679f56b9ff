"""Tokens a second of the packaged pruner in each precision, beside what its integer products alone take; recorded.

    python -m benchmarks.pruner.speed               on 2 threads; the machine should do nothing else
    ... --threads 1 --tokens 128                    rows of another length; nothing is recorded

A row is what the labeler runs: question and text, `--tokens` of them. Precisions are called in turn. `floor` is the
time of the encoder's matrix products in 8 bits alone (torch's int8 product), no scales, attention or activations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch

from benchmarks.harness import Repeats, measure_in_turn, quantiles, record
from contextpruner.labelers.multilingual import MODEL
from contextpruner.models.loading import Precision
from contextpruner.models.provence_checkpoint import load_provence

TOKENS, THREADS, ROUNDS = 336, 2, Repeats(warmup=3, repeats=60, seconds=40)


@dataclass(frozen=True)
class Row:
    """Of one row of tokens at a time; times are medians."""

    precision: str
    tokens: int
    ms_per_1000_tokens: float
    tokens_a_second: float
    times_floor: float


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description="The packaged pruner's speed.")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measured(options.tokens)
    print(*rows, sep="\n")
    if (options.tokens, options.threads) == (TOKENS, THREADS):
        record("pruner_speed", rows)


@torch.inference_mode()
def measured(n_tokens: int) -> list[Row]:
    """A row for each precision, and the floor."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 70_000, (1, n_tokens), generator=draw)
    mask, types = torch.ones_like(ids), torch.zeros_like(ids)
    precisions = [one for one in get_args(Precision) if one != "float16"]
    models = [load_provence(str(MODEL), one, "cpu").model for one in precisions]
    products = _products(models[0], n_tokens)  # type: ignore[arg-type]

    def multiply() -> None:
        for numbers, weight in products:
            torch._int_mm(numbers, weight)

    def labelling(number: int) -> Callable[[], object]:
        return lambda: models[number](ids, mask, types)

    runs = [*map(labelling, range(len(models))), multiply]
    times = [quantiles(own).p50 for own in measure_in_turn(runs, [()], ROUNDS, torch.device("cpu"))]
    floor = times[-1]
    names = [*precisions, "floor: int8 products alone"]
    return [
        Row(name, n_tokens, 1000 * time / n_tokens, 1000 * n_tokens / time, time / floor)
        for name, time in zip(names, times, strict=True)
    ]


def _products(model: torch.nn.Module, n_tokens: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Numbers of 8 bits in the shapes of every linear layer of the encoder, what comes in and the weight."""
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module.out_features > 2]
    return [
        (
            torch.randint(-127, 128, (n_tokens, layer.in_features), dtype=torch.int8),
            torch.randint(-127, 128, (layer.out_features, layer.in_features), dtype=torch.int8).t(),
        )
        for layer in layers
    ]


if __name__ == "__main__":
    main()
