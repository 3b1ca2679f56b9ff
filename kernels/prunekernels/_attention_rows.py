"""The rows of attention that count, and plain torch's column sums over them: the reference of attention_received.

On a CPU each sequence is computed by itself, padding cut away, so that neither padding nor other sequences decide how
its numbers are rounded; some heads at a time, so that their scores stay in its cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

# a score that softmax cannot see, finite so that a row without keys has no inf - inf
HIDDEN = -1e30

# scores that are held at a time: 1 MiB of float32, which a core's own cache holds
MAX_SCORES = 2**18


class Rows(NamedTuple):
    """The query rows that count, ready for either backend."""

    q: torch.Tensor  # [B, H, R, D]
    lse: torch.Tensor | None  # [B, H, R]
    positions: torch.Tensor  # int64 [B, R]: the last key that a row sees
    numbers: torch.Tensor  # int64 [B, R]: the sequence of a row, 0 where it does not count
    key_numbers: torch.Tensor  # int64 [B, N]
    scale: float  # of the scores
    sees_all: bool  # whether every row sees every key


class Run(NamedTuple):
    """Query rows of samples and the keys that any of them may see; `numbered` where some see others than the rest.

    Several samples stand in one run where all their rows see all keys, or may see them up to a row's own.
    """

    samples: slice
    rows: slice | torch.Tensor
    keys: slice
    numbered: bool


class Piece(NamedTuple):
    """Scores [h, r, n] of some heads, rows and keys, HIDDEN where none may look; `heads` counts through samples."""

    heads: slice
    rows: slice | torch.Tensor
    keys: slice
    scores: torch.Tensor


def plain_rows(
    q: torch.Tensor,
    k: torch.Tensor,
    scale: float,
    lse: torch.Tensor | None = None,
    causal: bool = False,
    query_rows: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> Rows:
    """The rows that `attention_received` describes; nothing is checked, a row past the last is the last."""
    n_samples, n_queries, n_keys = len(q), q.shape[2], k.shape[2]
    device = q.device
    key_numbers = torch.ones(n_samples, n_keys, dtype=torch.int64, device=device) if mask is None else mask.long()
    at_keys = causal or n_queries == n_keys
    if at_keys:
        numbers = key_numbers[:, n_keys - n_queries :]
    else:
        numbers = torch.ones(n_samples, n_queries, dtype=torch.int64, device=device)
    positions = torch.arange(n_keys - n_queries, n_keys, device=device).expand(n_samples, -1)
    if query_rows is not None:
        chosen = query_rows.expand(n_samples, -1)
        index = chosen.clamp(min=0, max=max(n_queries - 1, 0))
        numbers = numbers.gather(1, index).masked_fill(chosen < 0, 0)
        positions = positions.gather(1, index)
        q = q.gather(2, index[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[3]))
        lse = None if lse is None else lse.gather(2, index[:, None].expand(-1, q.shape[1], -1))
    if not causal:
        positions = torch.full_like(positions, n_keys)
    sees_all = not causal and mask is None and query_rows is None
    return Rows(q, lse, positions.contiguous(), numbers.contiguous(), key_numbers.contiguous(), scale, sees_all)


def columns_torch(rows: Rows, k: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """sum_i weights_i softmax_j(scale q_i . k_j) for `weights` [B, H, R]; returns [B, H, N] in at least float32."""
    dtype = torch.promote_types(k.dtype, torch.float32)
    received = torch.zeros(weights.shape[0] * weights.shape[1], k.shape[2], dtype=dtype, device=k.device)
    weights, lse = weights.flatten(0, 1), None if rows.lse is None else rows.lse.flatten(0, 1)
    for heads, block, keys, scores in _pieces(rows, k):
        weight = weights[heads, block].to(dtype)
        hidden = None if rows.sees_all else scores <= HIDDEN
        if lse is None:
            probabilities = torch.softmax(scores, -1, out=scores)
        else:
            probabilities = scores.sub_(lse[heads, block, None].to(dtype)).exp_()
        if hidden is not None:
            # a row that sees no key attends to nothing, rather than to all alike
            probabilities.masked_fill_(hidden, 0)
        received[heads, keys] += (weight[:, None] @ probabilities)[:, 0]
    return received.unflatten(0, rows.q.shape[:2])


def log_sum_exp_torch(rows: Rows, k: torch.Tensor) -> torch.Tensor:
    """The rows' log-sum-exp of the scaled scores, [B, H, R]; HIDDEN where a row sees no key."""
    dtype = torch.promote_types(k.dtype, torch.float32)
    found = torch.full(rows.q.shape[:3], HIDDEN, dtype=dtype, device=k.device)
    for heads, block, _, scores in _pieces(rows, k):
        found.flatten(0, 1)[heads, block] = scores.logsumexp(-1)
    return found


def _pieces(rows: Rows, k: torch.Tensor) -> Iterator[Piece]:
    """All scores that may be seen, at most MAX_SCORES at a time where a row has no more of them.

    Those of a piece are gone when the next one is asked for.
    """
    dtype, n_groups = torch.promote_types(k.dtype, torch.float32), k.shape[1]
    group = rows.q.shape[1] // max(n_groups, 1)
    for run in _runs(rows):
        q = rows.q[run.samples].unflatten(1, (n_groups, group)).flatten(0, 1)
        own_k, base = k[run.samples, :, run.keys].flatten(0, 1), run.samples.start * n_groups
        index = torch.arange(rows.q.shape[2], device=k.device)[run.rows]
        a_row = max(1, group * own_k.shape[1])
        n_rows = max(1, min(len(index), MAX_SCORES // a_row))
        n_heads = max(1, min(len(q), MAX_SCORES // (a_row * n_rows)))
        # the scores of all pieces are written to one place, which stays in cache
        memory = torch.empty(n_heads * a_row * n_rows, dtype=dtype, device=k.device)
        for first_row in range(0, len(index), n_rows):
            block = run.rows if n_rows == len(index) else index[first_row : first_row + n_rows]
            seen = run._replace(rows=block, keys=_seen_keys(rows, run, block))
            n_keys = seen.keys.stop - seen.keys.start
            for first in range(0, len(own_k), n_heads):
                some = (q[first : first + n_heads, :, block].to(dtype) * rows.scale).flatten(1, 2)
                scores = memory[: len(some) * some.shape[1] * n_keys].view(len(some), some.shape[1], n_keys)
                torch.bmm(some, own_k[first : first + n_heads, :n_keys].to(dtype).mT, out=scores)
                scores = scores.view(len(some) * group, -1, n_keys)
                heads = slice((base + first) * group, (base + first) * group + len(scores))
                yield Piece(heads, block, seen.keys, _hidden(scores, rows, seen))


def _runs(rows: Rows) -> Iterator[Run]:
    """The sequences of each sample by themselves, where looking at their numbers makes no device wait."""
    n_samples, n_keys = rows.key_numbers.shape
    every = slice(None)
    if rows.sees_all or not rows.numbers.is_cpu:
        together = 1 if not rows.sees_all else n_samples
        for sample in range(0, n_samples, together):
            yield Run(slice(sample, sample + together), every, slice(0, n_keys), not rows.sees_all)
        return
    for sample, (numbers, key_numbers) in enumerate(zip(rows.numbers, rows.key_numbers, strict=True)):
        alone = slice(sample, sample + 1)
        found, lengths = key_numbers.unique_consecutive(return_counts=True)
        if len(found.unique()) != len(found):
            yield Run(alone, every, slice(0, n_keys), True)
            continue
        ends = lengths.cumsum(0)
        for number, first, end in zip(found.tolist(), (ends - lengths).tolist(), ends.tolist(), strict=True):
            own = (numbers == number).nonzero().flatten()
            if number and len(own):
                yield Run(alone, every if len(own) == len(numbers) else own, slice(first, end), False)


def _seen_keys(rows: Rows, run: Run, block: slice | torch.Tensor) -> slice:
    """The keys of a run up to the last that any row of `block` sees."""
    if rows.sees_all or not rows.positions.is_cpu:
        return run.keys
    last = rows.positions[run.samples.start, block].max()
    return slice(run.keys.start, max(run.keys.start, min(run.keys.stop, int(last) + 1)))


def _hidden(scores: torch.Tensor, rows: Rows, run: Run) -> torch.Tensor:
    if rows.sees_all:
        return scores
    sample, keys = run.samples.start, torch.arange(run.keys.start, run.keys.stop, device=scores.device)
    seen = keys <= rows.positions[sample, run.rows, None]
    if run.numbered:
        numbers = rows.numbers[sample, run.rows, None]
        seen &= (numbers == rows.key_numbers[sample, run.keys]) & (numbers != 0)
    return scores.masked_fill_(~seen, HIDDEN)
