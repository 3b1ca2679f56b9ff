"""The core's primitives side by side with what a user would write, and with the floor measured in the same run.

    PYTHONPATH=.:kernels python benchmarks/kernels.py        runs the tests first; red tests stop it

The peers are plain torch: for `farthest_point` the published greedy loop of DivPrune, which takes the minimum over
all picks afresh in each step, and for k-center the form that keeps every distance to every pick; for `max_cosine`
each group's whole matrix; for `token_stats` the head and log_softmax; for `attention_received` the whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.harness import DEVICE, Timing, copy_bandwidth, gemm_rate, input_sets, measure, record, require_green
from prunekernels.attention_received import attention_received
from prunekernels.farthest_point import farthest_point
from prunekernels.max_cosine import max_cosine
from prunekernels.token_stats import token_stats

NAMES = ("farthest_point", "max_cosine", "token_stats", "attention_received")
IS_GPU = DEVICE.type == "cuda"
# what a model's numbers are here: halves on a GPU, where they have units of their own
HALF = torch.bfloat16 if IS_GPU else torch.float32


@dataclass(frozen=True)
class Row:
    """Milliseconds as p20 / p50 / p80; the floor is the larger of FLOPs over GEMM rate and bytes over copy rate."""

    case: str
    ours_ms: Timing
    plain_torch_ms: Timing
    speed_up: float
    floor_ms: float
    over_floor: float


@dataclass(frozen=True)
class Case:
    """Two functions of one input, and the fewest FLOPs and bytes that the job needs."""

    name: str
    make: Callable[[int], tuple[torch.Tensor, ...]]
    ours: Callable[..., object]
    plain: Callable[..., object]
    flops: float
    n_bytes: float
    is_slow: bool = False


def published_loop(x: torch.Tensor, n: int) -> torch.Tensor:
    """DivPrune's pseudo-code: all distances, then the minimum over all picks in every step."""
    unit = F.normalize(x.float(), dim=-1)
    distances = 1 - unit @ unit.T
    picks = [int(distances.topk(2, dim=0, largest=False).values[1].argmax())]
    while len(picks) < n:
        picks.append(int(distances[picks].amin(0).argmax()))
    return torch.tensor(picks)


def all_distances_kept(x: torch.Tensor, n: int) -> torch.Tensor:
    """k-center with every distance to every pick in memory."""
    kept, picks = x.new_full((len(x), n), torch.inf), [0]
    for step in range(n):
        kept[:, step] = (x - x[picks[-1]]).square().sum(1)
        picks.append(int(kept.amin(1).argmax()))
    return torch.tensor(picks[:n])


def groups_whole(x: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Each group's whole matrix of cosines, below its diagonal."""
    unit, best = F.normalize(x, dim=-1), x.new_full((len(x),), -1)
    for group in range(int(groups.max()) + 1):
        rows = (groups == group).nonzero().flatten()
        cosines = (unit[rows] @ unit[rows].T).tril(-1) - torch.ones(len(rows), len(rows), device=x.device).triu()
        best[rows] = cosines.amax(1)
    return best


def head_and_softmax(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The same numbers from stored logits."""
    log_p = F.linear(hidden, weight).float().log_softmax(-1)
    p = log_p.exp()
    own = log_p.gather(1, labels[:, None])[:, 0]
    return -own, -(p * log_p).sum(1), p.square().sum(1), own.exp()


def eager_columns(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The whole matrix of causal attention, summed over its rows."""
    n = q.shape[2]
    scores = (q @ k.mT).float() * q.shape[-1] ** -0.5
    hidden = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1).sum(2)


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[int], torch.Tensor]:
    return lambda seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def _alone(make: Callable[[int], torch.Tensor]) -> Callable[[int], tuple[torch.Tensor, ...]]:
    return lambda seed: (make(seed),)


def cases() -> list[Case]:
    """Shapes of real models: LLaVA-1.5 and LLaVA-NeXT, SmolLM2's head, attention over 4,096 tokens."""
    found = []
    for name, n, picks in (("LLaVA-1.5", 576, 57), ("LLaVA-NeXT", 2880, 283)):
        x = _random(n, 4096, dtype=HALF)
        found.append(
            Case(f"farthest_point, {name}: {picks} of {n} x 4096", _alone(x), partial(farthest_point, n=picks),
                 partial(published_loop, n=picks), 2 * n * n * 4096, n * 4096 * HALF.itemsize)
        )  # fmt: skip
    x, groups = _random(20000, 384), torch.randint(0, 500, (50000,), generator=torch.Generator().manual_seed(0))
    found.append(
        Case("farthest_point, k-center: 1,000 of 20,000 x 384", _alone(x),
             partial(farthest_point, n=1000, metric="euclidean", start=0), partial(all_distances_kept, n=1000),
             2 * 1000 * 20000 * 384, 1000 * 20000 * 384 * 4, is_slow=True)
    )  # fmt: skip
    y, groups = _random(50000, 256), groups.to(DEVICE)
    found.append(
        Case("max_cosine, 50,000 x 256 in 500 groups", lambda seed: (y(seed), groups),
             lambda y, g: max_cosine(y, groups=g), groups_whole, 50000 * 100 * 256, 50000 * 256 * 4)
    )  # fmt: skip
    h, w, t, v, d = _random(2048, 576, dtype=HALF), _random(49152, 576, dtype=HALF), 2048, 49152, 576
    found.append(
        Case("token_stats, SmolLM2's head: 2,048 tokens, 49,152 words",
             lambda seed: (h(seed), w(seed) * 0.05, torch.arange(t, device=DEVICE) * 7 % v),
             token_stats, head_and_softmax, 2 * t * v * d, v * d * HALF.itemsize)
    )  # fmt: skip
    n = 4096 if IS_GPU else 2048
    q, k = _random(1, 8, n, 64, dtype=HALF), _random(1, 8, n, 64, dtype=HALF)
    found.append(
        Case(f"attention_received, 8 heads, {n:,} tokens, causal, its own log-sum-exp",
             lambda seed: (q(seed), k(seed + 99)), lambda q, k: attention_received(q, k, causal=True),
             eager_columns, 2 * n * n * 64 * 8, 4 * n * 64 * 8)
    )  # fmt: skip
    return found


def main() -> None:
    """Run the tests, then every case; append the record."""
    require_green([f"tests/kernels/test_{name}.py" for name in NAMES])
    torch.set_num_threads(2)
    copy, rates = copy_bandwidth(), {dtype: gemm_rate(dtype) for dtype in {torch.float32, HALF}}
    rows = []
    for case in cases():
        inputs = input_sets(case.make, at_most=1 if case.is_slow else 4)
        warmup, repeats = (0, 1) if case.is_slow and not IS_GPU else (1, 10)
        ours, plain = (measure(run, inputs, warmup=warmup, repeats=repeats) for run in (case.ours, case.plain))
        floor = 1e3 * max(case.flops / rates[inputs[0][0].dtype], case.n_bytes / copy)
        rows.append(Row(case.name, ours, plain, plain.p50 / ours.p50, floor, ours.p50 / floor))
        print(f"{case.name}: {ours.p50:.3g} ms, plain torch {plain.p50:.3g} ms, floor {floor:.3g} ms", flush=True)
    print(record("kernels", rows))


if __name__ == "__main__":
    main()
