"""Every kernel in each dtype: against the torch reference on the same device, and again and again for the same bits.

A race shows as two runs that differ. The first call's seconds are those of compiling and loading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.harness import DEVICE
from benchmarks.kernel_cases import Tensors, made, random, segment_ids
from benchmarks.kernel_checks import UnequalError, same, same_indices, same_picks, same_volume
from benchmarks.kernel_peers import flash_lse
from benchmarks.kernel_rows import reason
from prunekernels.attention_received import attention_received
from prunekernels.bipartite_merge import bipartite_merge
from prunekernels.dpp_map import dpp_map
from prunekernels.el2n import el2n
from prunekernels.farthest_point import farthest_point
from prunekernels.max_cosine import max_cosine
from prunekernels.page_rank import page_rank
from prunekernels.token_stats import token_stats

IS_GPU = DEVICE.type == "cuda"
# runs beside the first; the interpreter has no races and no time
REPEATS = 20 if IS_GPU else 1
DTYPES = (torch.float32, torch.bfloat16, torch.float16) if IS_GPU else (torch.float32, torch.bfloat16)
Form = tuple[Callable[[int], Tensors], Callable[..., object], Callable[..., str]]


@dataclass(frozen=True)
class Checked:
    """`difference` is the largest error over the largest number, or the share of unequal indices."""

    kernel: str
    agrees: bool
    difference: float | None
    same_bits: bool
    runs: int
    first_call_seconds: float
    note: str


@dataclass(frozen=True)
class Check:
    """`compute(*make(0), backend)` by the kernel and by torch; `compare` refuses what rounding does not explain."""

    name: str
    make: Callable[[int], Tensors]
    compute: Callable[..., object]
    compare: Callable[..., str]

    def run(self) -> Checked:
        """Raises what the kernel raises; a result that is wrong is a row."""
        inputs = self.make(0)
        start = time.monotonic()
        first = self.compute(*inputs, backend="triton")
        _wait()
        seconds = time.monotonic() - start
        reference = self.compute(*inputs, backend="torch")
        pairs = list(zip(_tensors(first), _tensors(reference), strict=True))
        difference = max(_difference(ours, theirs) for ours, theirs in pairs)
        is_same = all(
            all(map(torch.equal, _tensors(first), _tensors(self.compute(*inputs, backend="triton"))))
            for _ in range(REPEATS)
        )
        try:
            note, agrees = self.compare(inputs, first, reference), True
        except UnequalError as error:
            note, agrees = reason(error), False
        finite = difference if difference < float("inf") else None
        return Checked(self.name, agrees, finite, is_same, REPEATS + 1, round(seconds, 3), note)


def checks() -> list[Check]:
    """All forms in all dtypes; those with two dtypes, or one by nature, once."""
    found = []
    for dtype in DTYPES:
        word = str(dtype).removeprefix("torch.")
        found += [Check(f"{name}, {word}", *form) for name, form in _forms(dtype).items()]
    return found + [Check(name, *form) for name, form in _mixed().items()]


def _forms(dtype: torch.dtype) -> dict[str, Form]:
    # the interpreter takes a second for what a GPU does in a microsecond
    n, patches, words = (300, 576, 1500) if IS_GPU else (40, 72, 190)
    draw = partial(random, dtype=dtype)
    x, hidden = draw(patches, 128), draw(n, 96)
    head = made(hidden, _scaled(draw(words, 96, other=True), 0.1), lambda _: torch.arange(n, device=DEVICE) % words)
    graph = made(lambda seed: random(6, n // 2, n // 2)(seed).softmax(-1).to(dtype))
    batch, narrow = draw(3, n, 32), draw(3, n, 16, other=True)
    # halves do not sum to 1 within what page_rank wants of a row
    ranks = {"page_rank": (graph, partial(page_rank, iterations=7), same)} if dtype == torch.float32 else {}
    forms: dict[str, Form] = {
        "farthest_point": (made(x), partial(farthest_point, n=30), partial(same_picks, cosine=True)),
        "dpp_map": (made(x, lambda seed: random(patches)(seed).sigmoid() + 0.1), partial(dpp_map, n=20), same_volume),
        "token_stats": (head, token_stats, same),
        "el2n": (made(draw(n, 1000), lambda _: torch.arange(n, device=DEVICE)), el2n, same),
        "max_cosine": (made(hidden), _similarity, partial(same, absolute=1e-5)),
        "max_cosine, groups": (made(hidden, lambda _: segment_ids(n, 5)), _similarity, partial(same, absolute=1e-5)),
        "bipartite_merge": (made(batch, narrow), _target, same_indices),
        "farthest_point, sets": (made(draw(3, patches, 64)), _sets(farthest_point, patches), same_indices),
    }
    for dims in (64, 80, 128, 256) if IS_GPU else (64,):
        q, k = draw(2, 4, n, dims), draw(2, 2, n, dims, other=True)
        forms[f"attention_received, causal, {dims} dims"] = made(q, k), partial(attention_received, causal=True), same
        forms[f"attention_received, {dims} dims"] = made(q, k), attention_received, same
    forms["attention_received, padded"] = made(q, k, _padding(n)), _masked, same
    forms["page_rank of queries and keys"] = made(q, draw(2, 4, n, dims, other=True)), _attention_rank, same
    return ranks | forms


def _mixed() -> dict[str, Form]:
    """Two dtypes in a call, one slice of the vocabulary, a log-sum-exp that is given."""
    n = 300 if IS_GPU else 40
    half = torch.bfloat16
    labels, rows = (lambda _: torch.arange(n, device=DEVICE) % 60), random(60, 96, other=True)
    q, k = random(1, 4, n, 64), random(1, 2, n, 64, dtype=half, other=True)

    def with_lse(seed: int) -> Tensors:
        dtype = half if IS_GPU else torch.float32
        queries, keys = (random(1, 4, n, 64, dtype=dtype, other=other)(seed) for other in (False, True))
        return queries, keys, flash_lse(queries, keys, keys)

    return {
        "token_stats, one slice": (made(random(n, 96), _scaled(rows, 0.1), labels), token_stats, same),
        "token_stats, bfloat16 hidden, float32 weight": (
            made(random(n, 96, dtype=half), _scaled(rows, 0.1), labels), token_stats, same,
        ),
        "attention_received, float32 queries, bfloat16 keys": (
            made(q, k), partial(attention_received, causal=True), partial(same, absolute=1e-2),
        ),
        "attention_received, log-sum-exp given": (with_lse, partial(attention_received, causal=True), same),
    }  # fmt: skip


def _similarity(x: torch.Tensor, groups: torch.Tensor | None = None, backend: str = "auto") -> torch.Tensor:
    return max_cosine(x, groups=groups, backend=backend).similarity  # type: ignore[arg-type]


def _target(tokens: torch.Tensor, metric: torch.Tensor, backend: str) -> torch.Tensor:
    return bipartite_merge(tokens, metric, tokens.shape[1] // 8, protected=1, backend=backend).target  # type: ignore[arg-type]


def _masked(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor, backend: str) -> torch.Tensor:
    return attention_received(q, k, causal=True, mask=mask, backend=backend)  # type: ignore[arg-type]


def _attention_rank(q: torch.Tensor, k: torch.Tensor, backend: str) -> torch.Tensor:
    return page_rank((q, k), 3, backend=backend)  # type: ignore[arg-type]


def _sets(pick: Callable[..., torch.Tensor], n: int) -> Callable[..., torch.Tensor]:
    return partial(pick, n=[9, 1, 20], sizes=[n, n // 3, n - 1])


def _padding(n: int) -> Callable[[int], torch.Tensor]:
    return lambda _: torch.arange(n, device=DEVICE) >= torch.tensor([[0], [n // 3]], device=DEVICE)


def _scaled(draw: Callable[[int], torch.Tensor], factor: float) -> Callable[[int], torch.Tensor]:
    return lambda seed: draw(seed) * factor


def _tensors(result: object) -> list[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        return [result]
    return [item for item in result if isinstance(item, torch.Tensor)]  # type: ignore[attr-defined]


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    if not ours.is_floating_point():
        return float((ours != theirs).double().mean())
    error = float((ours.double() - theirs.double()).abs().max())
    return error / max(float(theirs.double().abs().max()), torch.finfo(torch.float32).tiny)


def _wait() -> None:
    if IS_GPU:
        torch.cuda.synchronize()
