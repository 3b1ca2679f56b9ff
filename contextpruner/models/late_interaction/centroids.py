"""Centroids and residual buckets of an index, from a sample of its tokens that hangs on no order.

A token's place in the sample comes from a hash of its own numbers and the seed, so that the same documents in another
order, or in other pieces, train the same centroids to the bit. Number of centroids as in PLAID: 2^floor(log2(16 sqrt
T)), at most T. The sample holds `SAMPLE` tokens a centroid; a twentieth of it, which trains no centroid, says what
residuals are like.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from prunekernels import residual_codes
from prunekernels._products import filled, products
from prunekernels._unit import check_rows, unit_rows
from prunekernels.kmeans import kmeans

# tokens a centroid that are trained on, and entries of the residuals that buckets are fitted to
SAMPLE, MAX_RESIDUALS = 64, 2**22

# rows that are read, and similarities that are held, at a time
ROWS, MAX_PAIRS = 2**14, 2**22


class Codebook(NamedTuple):
    """`centroids` float32 [K, D] of length 1, and of an index with residuals their `buckets`."""

    centroids: torch.Tensor
    buckets: residual_codes.Buckets | None


def n_centroids_for(n_tokens: int) -> int:
    """PLAID's number of centroids for an index of `n_tokens`."""
    return min(n_tokens, 2 ** int(math.log2(16 * math.sqrt(n_tokens)))) if n_tokens else 0


def blocks(values: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows of `values` [T, D] in float32 and of length 1, a few at a time; raises ValueError for one not finite."""
    for first in range(0, len(values), ROWS):
        rows = slice(first, min(first + ROWS, len(values)))
        block = values[rows]
        try:
            check_rows("vectors", block)
        except ValueError:
            # said again of all rows, whose numbers are the caller's
            check_rows("vectors", values)
            raise
        yield rows, unit_rows(block)


def fit(values: torch.Tensor, k: int, bits: int, iterations: int, seed: int) -> Codebook:
    """Train `k` centroids on `values` [T, D], T of at least `k`, and buckets of `bits` (0: none)."""
    n_sample = min(len(values), SAMPLE * k)
    order = torch.cat([_hashes(block, seed) for _, block in blocks(values)]).argsort(stable=True)[:n_sample]
    n_held = min(n_sample // 20, max(1, MAX_RESIDUALS // values.shape[1]))
    # too few tokens: those that train say what residuals are like as well
    n_held = n_held if n_sample - n_held >= k else 0
    sample = unit_rows(values[order.to(values.device)])
    centroids = kmeans(sample[n_held:], k, iterations=iterations, seed=seed).centroids
    if not bits:
        return Codebook(centroids, None)
    held = sample[: n_held or max(1, MAX_RESIDUALS // values.shape[1])]
    return Codebook(centroids, residual_codes.fit(held - centroids[nearest(held, centroids)], bits))


def nearest(rows: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The centroid of the largest product with each of `rows` [N, D], the lower one in a tie: int64 [N]."""
    height = max(1, MAX_PAIRS // max(len(centroids), 1))
    columns = filled(centroids)
    found = [products(block, columns)[:, : len(centroids)].argmax(1) for block in rows.split(height)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=rows.device)


def _hashes(block: torch.Tensor, seed: int) -> torch.Tensor:
    """int64 [N]: a number for each row of float32 `block` [N, D], out of its bits and the seed alone."""
    generator = torch.Generator("cpu").manual_seed(seed)
    factors = torch.randint(2**62, (block.shape[1],), generator=generator, dtype=torch.int64, device="cpu") * 2 + 1
    words = (block + 0.0).contiguous().cpu().view(torch.int32).long()
    found = (words * factors).sum(1)
    # the upper bits of a product hang on all of the lower ones: mixed down, and multiplied once more
    return (found ^ (found >> 32)) * int(factors[0])
